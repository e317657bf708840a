//! Which keys there are, and what to say about the others.

use super::node::{Entry, Path};
use super::report::{Report, nearest, quote};

/// A place with keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Workflow,
    Job,
    Retry,
    Step,
    Reference,
}

impl Level {
    const ALL: [Self; 5] = [Self::Workflow, Self::Job, Self::Retry, Self::Step, Self::Reference];

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Workflow => &["name", "on", "env", "jobs"],
            Self::Job => &[
                "name",
                "needs",
                "run",
                "labels",
                "retries",
                "retry",
                "timeout",
                "queue_timeout",
                "steps",
                "outputs_from",
                "metadata",
                "env",
                "secrets",
            ],
            Self::Retry => &["max", "lost", "timeout", "backoff", "delay", "max_delay"],
            Self::Step => &["id", "name", "run", "env"],
            Self::Reference => &["from"],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Workflow => "a workflow",
            Self::Job => "a job",
            Self::Retry => "`retry`",
            Self::Step => "a step",
            Self::Reference => "a value from an output",
        }
    }
}

/// The value of a key, with its place.
pub(super) fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.key == key)
}

/// Reports every key that isn't one of `level`.
pub(super) fn check(report: &mut Report, entries: &[Entry], path: Path<'_>, level: Level) {
    for Entry { key, key_at, .. } in entries {
        if level.keys().contains(&key.as_str()) {
            continue;
        }
        let advice = if report.is_full() { String::new() } else { advice(key, level) };
        let message = format!("{} is not a key of {}{advice}", quote(key), level.name());
        report.add("unknown_key", *key_at, path.key(key), message);
    }
}

fn advice(key: &str, level: Level) -> String {
    if let Some(advice) = instead(key, level) {
        return format!(": {advice}");
    }
    if let Some(near) = nearest(key, level.keys().iter().copied(), &mut usize::MAX.clone()) {
        return format!("; did you mean `{near}`?");
    }
    let elsewhere = Level::ALL.into_iter().find(|other| other.keys().contains(&key));
    match elsewhere {
        Some(other) => format!(", but of {}", other.name()),
        None => format!("; its keys are {}", level.keys().join(", ")),
    }
}

/// For keys that people bring from other systems: what to write, or that there is no such thing.
fn instead(key: &str, level: Level) -> Option<&'static str> {
    Some(match key {
        "id" if level == Level::Job => "a job's id is its key under `jobs`",
        "<<" => "merge keys are not supported; write the keys out",
        "true" if level == Level::Workflow => "write `on`",
        "runs-on" | "runs_on" | "tags" | "required_labels" | "agents" | "pool" => {
            "write `labels`, a list; a worker must have all of them"
        }
        "depends_on" | "depends-on" | "dependsOn" | "dependencies" | "requires" | "after" | "stage" => {
            "write `needs`, a list of jobs"
        }
        "command" | "commands" | "cmd" | "script" | "before_script" | "after_script" => "write `run`",
        "uses" => "there are no actions; write what it does as `run`",
        "with" | "inputs" | "args" => "there are no inputs; give values in `env`",
        "if" | "when" | "only" | "except" | "rules" => {
            "there are no conditions; a job runs when all it needs succeeded, and may test more in its `run`"
        }
        "strategy" | "matrix" | "fail-fast" | "max-parallel" | "parallel" => {
            "there is no matrix; write a job for each combination"
        }
        "timeout-minutes" | "timeout_minutes" => "write `timeout`, in seconds or as `90s`, `30m` or `6h`",
        "permissions" | "id-token" => "there are no permissions; a job has those of its worker",
        "continue-on-error" | "allow_failure" | "ignore_errors" => {
            "a failed job always stops those that need it; end its command with `|| true`"
        }
        "container" | "image" | "services" | "docker" => {
            "there are no containers; start them in `run`, and require a label of workers that can"
        }
        "working-directory" | "working_directory" | "workdir" | "cwd" => "write `cd` in `run`",
        "shell" | "defaults" => "every `run` is read by `sh`; to use another shell, call it there",
        "concurrency" | "resource_group" => "limits on runs at the same time are not supported",
        "environment" | "variables" | "vars" => "write `env`",
        "outputs" | "artifacts" => {
            "outputs aren't declared; print `::set-output name=value`, and a job that needs this one receives them"
        }
        "cache" => "there is no cache; a job runs in its worker's directory, which stays",
        "retries" | "max_retries" | "max_attempts" if level != Level::Retry => {
            if level == Level::Job {
                "write `retries`"
            } else {
                "write `retries` on the job"
            }
        }
        "run-name" | "title" => "write `name`",
        "triggers" | "trigger" => "write `on`",
        "branches" | "stages" | "workflow" | "version" => "there is no such thing; leave it out",
        _ => return None,
    })
}
