//! What a claim gives a worker: the command, the environment, and whether a function can return all of it. Pure.

use std::collections::BTreeMap;

use protocol::wire::{Backoff, Condition, InputValues, QueuedJob, RetryPolicy, WORKER_VARIABLES};
use protocol::{JobId, OutputName, Outputs, Secrets, Status, limit, limits};

use crate::job::{JobRecord, JobSpec};
use crate::run::Control;
use workflow::{CheckoutFrom, EnvValue, input_variable, needs_variables};

/// Names of existing outputs in the error about one that doesn't exist.
const OUTPUTS_NAMED: usize = 20;

/// Returns the size of the payload as a function returns it, as text within its gateway's JSON. A smaller payload than
/// [`limits::ANSWER_ESCAPED`] is only estimated. `upstream` is the size of its outputs as JSON.
pub(crate) fn escaped_size(queued: &QueuedJob, upstream: usize) -> usize {
    let env: usize = queued.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    // They are in `env` too.
    let inputs: usize = queued.inputs.iter().map(|(name, value)| name.len() + value.len()).sum();
    let secrets: usize = queued.secrets.iter().map(|(name, value)| name.as_str().len() + value.reveal().len()).sum();
    let statuses: usize = queued.upstream_status.keys().map(|id| id.as_str().len() + 16).sum();
    // An escaped character of the payload is up to 7 bytes: `\\u0001`.
    let most = (queued.command.len() + env + inputs + secrets + statuses + upstream) * 7;
    if most < limits::ANSWER_ESCAPED {
        return most;
    }
    size_in_json(&serde_json::to_string(queued).unwrap_or_default())
}

/// Returns the size of a JSON text as text within JSON, without its quotes.
pub(crate) fn size_in_json(json: &str) -> usize {
    json.len() + json.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

/// Returns why no function can return the payload, if it is too large although it has no outputs.
pub(crate) fn too_large_without_outputs(queued: &QueuedJob) -> Option<String> {
    let size = escaped_size(queued, 0);
    let text = || {
        format!(
            "its command, env and secrets are {size} bytes in the answer to a claim, in which quotes, backslashes and \
             control characters take several bytes and env counts twice; {}. Put long texts in files that the job reads",
            limit!(ANSWER_ESCAPED)
        )
    };
    (size > limits::ANSWER_ESCAPED).then(text)
}

pub(crate) fn queued_job(
    job: &JobRecord,
    spec: &JobSpec,
    control: &Control,
    env: Vec<(String, String)>,
    checkout: Option<&CheckoutFrom>,
) -> QueuedJob {
    QueuedJob {
        job_id: job.id.clone(),
        workflow_id: control.workflow.clone(),
        command: checkout.map_or_else(|| spec.command(&env), |from| spec.command_with_checkout(&env, from)),
        required_labels: spec.labels.clone(),
        retry_policy: RetryPolicy { max_retries: spec.retry.max, backoff: spec.retry.backoff },
        attempt: job.attempt,
        upstream_outputs: BTreeMap::new(),
        upstream_status: BTreeMap::new(),
        enqueued_at_ms: job.ready_at.unwrap_or_default(),
        delayed_until_ms: job
            .ready_at
            .filter(|_| job.attempt > 0 && job.returned.is_none() && spec.retry.backoff != Backoff::None)
            .unwrap_or_default(),
        name: spec.name.clone(),
        run: control.number,
        env: env.into_iter().collect(),
        timeout_secs: job.limits.timeout.map(u64::from),
        checkout: checkout.is_some(),
        outputs_from: spec.outputs_from,
        programs: spec.programs.clone(),
        matrix: spec.matrix.clone(),
        inputs: InputValues::new(),
        upstream_outputs_url: None,
        secrets: Secrets::new(),
    }
}

/// What a job is given at a claim.
pub(crate) struct Given<'a> {
    pub inputs: &'a InputValues,
    /// The outputs of its needs.
    pub upstream: &'a BTreeMap<JobId, Outputs>,
    /// How its needs ended.
    pub statuses: &'a BTreeMap<JobId, Status>,
    /// The secrets that are set in its environment.
    pub secrets: &'a Secrets,
}

/// Builds the job's environment: the values of its matrix and of the run's inputs and, if it has an `if`, how its needs ended;
/// then its own variables. Variables that the worker sets are left out. An output of a job that didn't succeed is empty.
///
/// # Errors
/// Why a variable can't have its value, for people.
pub(crate) fn environment(spec: &JobSpec, given: &Given<'_>) -> Result<Vec<(String, String)>, String> {
    let Given { inputs, upstream, statuses, secrets } = *given;
    let mut env = Vec::with_capacity(spec.matrix.len() + inputs.len() + spec.env.len() + secrets.len());
    env.extend(spec.matrix_variables().map(|(name, value)| (name, value.to_owned())));
    env.extend(inputs.iter().map(|(name, value)| (input_variable(name), value.clone())));
    if matches!(spec.condition, Condition::Failure | Condition::Always) {
        let variables = needs_variables(statuses);
        let told = variables.len() <= limits::NEEDS_VARIABLES;
        env.extend(variables.into_iter().filter(|_| told).map(|(name, status)| (name, status.to_string())));
    }
    for (name, given) in spec.env.iter().filter(|(name, _)| !WORKER_VARIABLES.contains(&name.as_str())) {
        let value = match given {
            EnvValue::Text(text) => text.clone(),
            EnvValue::Input(input) => inputs.get(input).cloned().unwrap_or_default(),
            EnvValue::Output { job, output } => {
                let outputs = upstream.get(job);
                let value = outputs.and_then(|outputs| outputs.get(output));
                let empty = String::new();
                let ended_otherwise = statuses.get(job).is_some_and(|status| *status != Status::Success);
                let value = value.or_else(|| ended_otherwise.then_some(&empty));
                let value = value.ok_or_else(|| no_such_output(name, job, output, outputs))?;
                fits_variable(value).map_err(|why| format!("env `{name}` can't be `{job}.{output}`: {why}"))?;
                value.clone()
            }
        };
        env.push((name.clone(), value));
    }
    env.extend(secrets.iter().map(|(name, value)| (name.as_str().to_owned(), value.reveal().to_owned())));
    Ok(env)
}

fn no_such_output(name: &str, job: &JobId, output: &OutputName, outputs: Option<&Outputs>) -> String {
    let names: Vec<String> = outputs.into_iter().flat_map(Outputs::keys).map(|name| format!("`{name}`")).collect();
    let given = match names.len() {
        0 => "it gave none".to_owned(),
        number if number > OUTPUTS_NAMED => {
            format!("it gave {} and {} more", names[..OUTPUTS_NAMED].join(", "), number - OUTPUTS_NAMED)
        }
        _ => format!("it gave {}", names.join(", ")),
    };
    format!("env `{name}` can't be `{job}.{output}`: job `{job}` gave no output `{output}`; {given}")
}

/// Checks that an environment variable can have this value.
fn fits_variable(value: &str) -> Result<(), String> {
    if value.contains('\0') {
        return Err("the output has a NUL character, which no environment variable can hold".to_owned());
    }
    if value.len() > limits::ENV_VALUE {
        return Err(format!(
            "the output is {} bytes; a variable may have at most {}. Read it from the file $UPSTREAM_OUTPUTS instead",
            value.len(),
            limits::ENV_VALUE
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
