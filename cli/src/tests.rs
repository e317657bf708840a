//! Tests of the command line; jobs, workers and workflows for the tests of the modules.

use std::collections::{BTreeMap, BTreeSet};

use clap::{CommandFactory, Parser};
use protocol::wire::{Attempt, Cause, Condition, Job, WaitReason, WaitingFor, WorkerInfo, WorkerStatus, Workflow};
use protocol::{JobId, LabelSet, Millis, OutputName, Outputs, Status, WorkerId, WorkflowId};
use serde_json::Value;

use super::{Cli, Command};

#[test]
fn arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn an_invalid_id_is_refused_before_a_request_is_sent() {
    let error = Cli::try_parse_from(["wfg", "status", "a/b"]).err().expect("refused").to_string();
    assert!(error.contains("workflow id \"a/b\" has the character '/'"), "{error}");
}

#[test]
fn the_server_of_a_worker_may_be_given_before_or_after_the_command() {
    for args in [["wfg", "--server", "http://x:1", "worker"], ["wfg", "worker", "--server", "http://x:1"]] {
        let Command::Worker(worker) = Cli::try_parse_from(args).expect("good").command else { panic!("a worker") };
        assert_eq!(worker.server_url, "http://x:1");
    }
}

#[test]
fn watch_and_no_run_exclude_each_other() {
    assert!(Cli::try_parse_from(["wfg", "submit", "f", "--watch", "--no-run"]).is_err());
}

/// The long help of a command, in one line.
fn help(command: &str) -> String {
    let mut wfg = Cli::command();
    let command = wfg.find_subcommand_mut(command).expect("a command");
    command.render_long_help().to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn help_of_list_names_every_status() {
    let help = help("list");
    for status in Status::all() {
        assert!(help.contains(status.as_ref()), "{status}: {help}");
    }
}

#[test]
fn help_of_audit_names_every_action() {
    let help = help("audit");
    for words in [
        "every submit, start, cancel and delete",
        "every token created or revoked",
        "every link",
        "every approval",
        "every branch or tag started by hand",
        "every commit whose states are no longer sent",
        "every refused attempt",
    ] {
        assert!(help.contains(words), "{words}: {help}");
    }
}

#[test]
fn help_of_definition_says_what_submit_adds() {
    assert!(help("definition").contains("`wfg submit` sends the file's name"), "{}", help("definition"));
}

/// The time that tests take for now.
pub const NOW: Millis = Millis(1_767_225_600_000);

/// So many seconds before [`NOW`].
pub fn before(secs: u64) -> Millis {
    Millis(NOW.0 - secs * 1000)
}

pub fn labels(text: &str) -> LabelSet {
    LabelSet::from_comma_separated(text).expect("good labels")
}

pub fn job_id(text: &str) -> JobId {
    JobId::new(text).expect("a good id")
}

pub fn outputs(pairs: &[(&str, &str)]) -> Outputs {
    pairs.iter().map(|(name, value)| (OutputName::new(*name).expect("good"), (*value).to_owned())).collect()
}

/// A job without a known reason to wait.
pub fn job(id: &str, status: Status) -> Job {
    Job {
        id: job_id(id),
        name: id.to_owned(),
        status,
        command: "true".to_owned(),
        depends_on: Vec::new(),
        condition: Condition::default(),
        allow_failure: false,
        skipped_because: None,
        required_labels: LabelSet::default(),
        secrets: BTreeSet::new(),
        matrix: BTreeMap::new(),
        concurrency: None,
        max_retries: 0,
        attempt: 0,
        returned: 0,
        attempts: Vec::new(),
        duration_secs: None,
        started_at: None,
        output: None,
        metadata: Value::Null,
        ports: Value::Null,
        children: Value::Null,
        collapsed: Value::Null,
        waiting_for: None,
        outputs: Outputs::new(),
        outputs_truncated: false,
        worker_id: None,
        exit_code: None,
        error: None,
        finished_at_ms: None,
    }
}

/// A job that a worker started this many seconds ago. With a final status it ended two seconds ago.
pub fn started(id: &str, status: Status, worker: &str, secs: u64) -> Job {
    Job {
        worker_id: WorkerId::new(worker).ok(),
        started_at: Some(before(secs)),
        finished_at_ms: status.is_final().then(|| before(2)),
        ..job(id, status)
    }
}

/// An attempt that ended two seconds ago on w1, after this many seconds.
pub fn failed(attempt: u32, cause: Cause, secs: u64, error: &str) -> Attempt {
    Attempt {
        attempt,
        cause,
        error: error.to_owned(),
        worker_id: WorkerId::new("w1").ok(),
        exit_code: None,
        started_at: Some(before(2 + secs)),
        finished_at_ms: before(2),
    }
}

/// The job with these failed attempts. The error of each has the number of the attempt as exit code.
pub fn tried(job: Job, attempts: std::ops::Range<u32>) -> Job {
    let attempts = attempts.map(|n| failed(n, Cause::Failure, 3, &format!("exit code {n}"))).collect();
    Job { attempts, ..job }
}

/// A wait for this reason that began twelve seconds ago.
pub fn waits(reason: WaitReason) -> WaitingFor {
    WaitingFor::new(reason, before(12))
}

pub fn workflow(status: Status, jobs: Vec<Job>) -> Workflow {
    Workflow {
        id: WorkflowId::new("wf-0123").expect("a good id"),
        name: "deploy".to_owned(),
        trigger: "manual".to_owned(),
        jobs,
        status,
        run: 1,
        created_at_ms: before(70),
        started_at_ms: (status != Status::Queued).then(|| before(65)),
        finished_at_ms: status.is_final().then(|| before(2)),
        waiting_for: None,
        inputs: BTreeMap::new(),
        source: None,
        superseded: false,
        truncated: false,
    }
}

pub fn worker(id: &str, has: &str, current_job: Option<&str>) -> WorkerInfo {
    WorkerInfo {
        worker_id: WorkerId::new(id).expect("a good id"),
        labels: labels(has),
        exclusive: false,
        registered_at_ms: before(7200),
        last_heartbeat_ms: before(5),
        current_job: current_job.map(job_id),
        paused: None,
        status: if current_job.is_some() { WorkerStatus::Busy } else { WorkerStatus::Idle },
    }
}

/// Lines as they are shown.
pub fn lines(all: &[&str]) -> String {
    all.iter().flat_map(|line| [line, "\n"]).collect()
}
