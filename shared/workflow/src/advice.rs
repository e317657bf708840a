//! Reports keys that the file must not have, each with advice.

use super::keys::{Level, SCHEDULE};
use super::node::{Entry, Path};
use super::report::{Report, nearest, quote};

/// Reports every key that isn't one of `level`.
pub(super) fn check_keys(report: &mut Report, entries: &[Entry], path: Path<'_>, level: Level) {
    for Entry { key, key_at, .. } in entries {
        if level.has(key) {
            continue;
        }
        if let Some(until_then) = later(key, level) {
            let message = format!("{} is not supported yet; {until_then}", quote(key));
            report.add("not_supported_yet", *key_at, path.key(key), message);
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

/// For keys that a later version will have: what to do until then.
fn later(key: &str, level: Level) -> Option<&'static str> {
    if level == Level::On && key == "schedule" {
        return Some(SCHEDULE);
    }
    if !matches!(level, Level::Workflow | Level::Job) {
        return None;
    }
    Some(match key {
        "approve" => "require a label, and start a worker with it when the job may run",
        "files" => "keep files in a store of your own, and pass their addresses on as outputs",
        "each" => "write a `matrix`, whose values are known when the workflow is submitted",
        "schedule" => SCHEDULE,
        "priority" => "give urgent jobs a label, and workers of their own",
        "max_parallel" | "max-parallel" => "as many jobs run at the same time as workers have their labels",
        "timeout" if level == Level::Workflow => "write `timeout` on each job, or once in `defaults`",
        "include" if level == Level::Workflow => "put the files together before you submit them",
        _ => return None,
    })
}

/// For keys that people bring from other systems: what to write, or that there is no such thing.
fn instead(key: &str, level: Level) -> Option<&'static str> {
    Some(match key {
        "id" if level == Level::Job => "a job's id is its key under `jobs`",
        "branches-ignore" | "tags-ignore" | "paths-ignore" => {
            "write patterns that begin with `!`, the last match decides"
        }
        "types" => "a pull request starts a run when it is opened, reopened, or has a new commit or another base",
        "pull_request_target" => "write `pull_request`; the link's `rights` say what a fork's commit may ask for",
        "workflow_dispatch" | "manual" if level == Level::On => "leave it out; every workflow can be started by hand",
        "<<" => "merge keys are not supported; write `defaults`, or an anchor for a whole value",
        "true" if level == Level::Workflow => "write `on`",
        "runs-on" | "runs_on" | "tags" | "required_labels" | "agents" | "pool" => {
            "write `labels`, a list; a worker must have all of them"
        }
        "depends_on" | "depends-on" | "dependsOn" | "dependencies" | "requires" | "after" | "stage" => {
            "write `needs`, a list of jobs"
        }
        "command" | "commands" | "cmd" | "script" | "before_script" | "after_script" => "write `run`",
        "uses" => {
            "there are no actions; write `checkout: true` on the job for a checkout, and what else an action does as `run`"
        }
        "with" | "args" => "write the workflow's `inputs`, and `\"$INPUT_NAME\"` in `run`",
        "workflow_dispatch" | "spec" | "parameters" => "write `inputs`",
        "when" | "exit_codes" | "exit_status" if level == Level::Retry => {
            "write `lost`, `timeout` or `exit: {<code>: <tries>}`"
        }
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
        "on_failure" | "onExit" | "on_exit" | "on_failure_callback" | "notify" | "post" => {
            "write `on_failure` on the workflow, or a job with `if: always` that needs the last ones"
        }
        "strategy" | "parallel" => "write `matrix` on the job",
        "fail-fast" => "there is no such thing; a combination that fails stops no other",
        "interruptible" | "cancel-in-progress" | "cancel_in_progress" => {
            "write `concurrency: {group: <name>, when_newer: cancel}` on the workflow"
        }
        "exclude" | "include" if level == Level::Job => "write it in the job's `matrix`",
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
        "working-directory" | "working_directory" | "cwd" | "dir" => {
            "write `workdir`, a path below the job's own folder, or `cd` in `run`"
        }
        "default" if level == Level::Workflow => "write `defaults`",
        "extends" => "write `defaults`, or an anchor for a whole value",
        "resource_group" | "concurrency_group" | "mutex" => "write `concurrency: <name>` on the job",
        "environment" if level == Level::Job => {
            "for a place such as production write `labels: production` and `concurrency: production`; for variables write `env`"
        }
        "environment" | "variables" | "vars" => "write `env`",
        "outputs" | "artifacts" => {
            "outputs aren't declared; print `::set-output name=value`, and a job that needs this one receives them"
        }
        "cache" => "there is no cache; a job runs in its worker's directory, which stays",
        "retryStrategy" | "retry_strategy" => "write `retry: {max: 2, lost: 2, timeout: 1, exit: {75: 3}}`",
        "limit" | "attempts" if level == Level::Retry => "write `max`, the tries after the first",
        "run" if level == Level::Defaults => "write its keys in `defaults` itself, such as `shell`",
        "retries" | "max_retries" | "max_attempts" if level != Level::Retry => {
            if matches!(level, Level::Job | Level::Defaults) { "write `retries`" } else { "write `retries` on the job" }
        }
        "run-name" | "title" => "write `name`",
        "triggers" | "trigger" => "write `on`",
        "branches" | "stages" | "workflow" | "version" => "there is no such thing; leave it out",
        _ => return None,
    })
}
