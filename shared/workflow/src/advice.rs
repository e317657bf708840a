//! Reports keys that the file must not have, each with advice.

use super::keys::Level;
use super::node::{Entry, Path};
use super::report::{Report, nearest, quote};

/// Reports every key that isn't one of `level`.
pub(super) fn check_keys(report: &mut Report, entries: &[Entry], path: Path<'_>, level: Level) {
    for Entry { key, key_at, .. } in entries {
        if level.has(key) {
            continue;
        }
        let advice = if report.is_full() { String::new() } else { advice(key, level) };
        let message = format!("{} is not a key of {}{advice}", quote(key), level.name());
        report.add("unknown_key", *key_at, path.key(key), message);
    }
}

/// What to add to the message about an unknown key: what to write instead, or which keys there are.
fn advice(key: &str, level: Level) -> String {
    if let Some(advice) = instead(key, level) {
        return format!(": {advice}");
    }
    if let Some(near) = nearest(key, level.names(), &mut usize::MAX.clone()) {
        return format!("; did you mean `{near}`?");
    }
    let elsewhere = Level::WRITTEN.into_iter().find(|other| other.has(key));
    match elsewhere {
        Some(other) => format!(", but of {}", other.name()),
        None => format!("; its keys are {}", level.names().collect::<Vec<_>>().join(", ")),
    }
}

/// For keys that people bring from other systems: what to write, or that there is no such thing.
fn instead(key: &str, level: Level) -> Option<&'static str> {
    Some(match key {
        "id" if level == Level::Job => "a job's id is its key under `jobs`",
        "<<" => "merge keys are not supported; write `defaults`, or an anchor for a whole value",
        "true" if level == Level::Workflow => "write `on`",
        "runs-on" | "runs_on" | "tags" | "required_labels" | "agents" | "pool" => {
            "write `labels`, a list; a worker must have all of them"
        }
        "depends_on" | "depends-on" | "dependsOn" | "dependencies" | "requires" | "after" | "stage" => {
            "write `needs`, a list of jobs"
        }
        "command" | "commands" | "cmd" | "script" | "before_script" | "after_script" => "write `run`",
        "uses" => "there are no actions; write what it does as `run`",
        "with" | "args" => "write the workflow's `inputs`, and `\"$INPUT_NAME\"` in `run`",
        "workflow_dispatch" | "spec" | "parameters" => "write `inputs`",
        "needs" | "if" | "allow_failure" | "matrix" if level == Level::OnFailure => {
            "it runs after all other jobs, if one of them failed; write a job with `if` instead"
        }
        "if" if level == Level::Step => "a step has no condition; test it in its `run`",
        "when" | "trigger_rule" => {
            "write `if: success`, `failure` or `always` on a job, which look at the jobs in `needs`"
        }
        "if" | "only" | "except" | "rules" => {
            "a condition is `if: success`, `failure` or `always` on a job; test anything else in `run`, and end it with \
             `exit 0`, or with the code of `skip_exit`"
        }
        "on_failure" | "onExit" | "on_exit" | "on_failure_callback" | "notify" => {
            "write `on_failure` on the workflow, or a job with `if: always` that needs the last ones"
        }
        "strategy" | "parallel" => "write `matrix` on the job",
        "fail-fast" => "there is no such thing; a combination that fails stops no other",
        "max-parallel" | "max_parallel" => "not supported yet; workers limit how many jobs run at the same time",
        "timeout-minutes" | "timeout_minutes" => "write `timeout`, in seconds or as `90s`, `30m` or `6h`",
        "permissions" | "id-token" => "there are no permissions; a job has those of its worker",
        "continue-on-error" | "allow_failure" | "ignore_errors" | "soft_fail" => {
            if level == Level::Step {
                "end its command with `|| true`"
            } else {
                "write `allow_failure: true` on a job"
            }
        }
        "container" | "image" | "services" | "docker" => {
            "there are no containers; start them in `run`, and require a label of workers that can"
        }
        "working-directory" | "working_directory" | "workdir" | "cwd" => "write `cd` in `run`",
        "default" if level == Level::Workflow => "write `defaults`",
        "extends" => "write `defaults`, or an anchor for a whole value",
        "resource_group" | "concurrency_group" | "mutex" => "write `concurrency: <name>` on the job",
        "interruptible" | "cancel-in-progress" | "cancel_in_progress" => {
            "write `concurrency: {group: <name>, when_newer: cancel}` on the workflow"
        }
        "environment" => "write `env` for variables; for a place to deploy to, `labels` and `concurrency`",
        "variables" | "vars" => "write `env`",
        "outputs" | "artifacts" => {
            "outputs aren't declared; print `::set-output name=value`, and a job that needs this one receives them"
        }
        "cache" => "there is no cache; a job runs in its worker's directory, which stays",
        "retries" | "max_retries" | "max_attempts" if level != Level::Retry => {
            if matches!(level, Level::Job | Level::Defaults) { "write `retries`" } else { "write `retries` on the job" }
        }
        "run-name" | "title" => "write `name`",
        "triggers" | "trigger" => "write `on`",
        "branches" | "stages" | "workflow" | "version" => "there is no such thing; leave it out",
        _ => return None,
    })
}
