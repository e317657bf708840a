//! The texts of the commands that show one answer.

use std::collections::BTreeSet;

use protocol::SecretName;
use protocol::wire::{Cause, WaitReason, WaitingFor};

use super::*;
use crate::tests::{self as data, NOW, before, job, job_id, lines, started, waits, worker, workflow};

#[test]
fn status_says_what_a_forge_started_and_what_a_newer_run_cancelled() {
    let source = RunSource {
        forge: "github".to_owned(),
        repository: "acme/app".to_owned(),
        event: "pull_request".to_owned(),
        name: Some("x$(id)".to_owned()),
        commit: "4c1f0b5d".repeat(5),
        pull_request: Some(12),
        url: "https://github.com/acme/app/pull/12".to_owned(),
    };
    let workflow = Workflow { source: Some(Box::new(source)), superseded: true, ..workflow(Status::Cancelled, vec![]) };
    let text = status_text(&workflow, NOW, Paint::PLAIN);
    assert!(
        text.contains("\npull request on x$(id) of acme/app at 4c1f0b5d4c, https://github.com/acme/app/pull/12\n"),
        "{text}"
    );
    assert!(text.contains("\na newer run of its group cancelled it\n"), "{text}");
}

#[test]
fn a_status_shows_what_each_job_did_or_why_it_did_not() {
    let build = Job {
        outputs: data::outputs(&[("url", "s3://b/a"), ("v", "1")]),
        ..started("build", Status::Success, "w1", 40)
    };
    let test = started("test", Status::Running, "w2", 8);
    let test = Job { attempt: 1, max_retries: 2, duration_secs: Some(8), ..test };
    let missing = WaitingFor {
        missing: Some(data::labels("gpu")),
        nearest: Some(worker("w2", "", None).worker_id),
        ..waits(WaitReason::MissingLabels)
    };
    let train =
        Job { required_labels: data::labels("gpu"), waiting_for: Some(missing), ..job("train", Status::Queued) };
    let needs = WaitingFor { needs: Some(vec![job_id("test"), job_id("train")]), ..waits(WaitReason::Needs) };
    let deploy = Job { waiting_for: Some(needs), ..job("deploy", Status::Queued) };
    let workflow = workflow(Status::Running, vec![build, test, train, deploy]);
    assert_eq!(
        status_text(&workflow, NOW, Paint::PLAIN),
        lines(&[
            "deploy  running  wf-0123",
            "run 1, started 2025-12-31 23:58:55 UTC (1 min ago)",
            "",
            "JOB     STATUS   TRY     TIME   WORKER  LABELS",
            "build   success          38 s   w1              url=s3://b/a  v=1",
            "test    running  2 of 3  8.0 s  w2",
            "train   queued                          gpu     waits: no worker online has all its labels (gpu); w2 comes nearest and lacks gpu",
            "deploy  queued                                  waits for test and train"
        ])
    );
}

#[test]
fn a_status_of_what_ended_shows_errors_and_what_they_cost() {
    let error = Some("exit code 3\n".to_owned());
    let failed = Job { error, exit_code: Some(3), ..started("a", Status::Failure, "w1", 40) };
    let skipped = Job { depends_on: vec![job_id("a")], ..job("b", Status::Skipped) };
    let jobs = vec![failed, skipped, job("c", Status::Cancelled), job("d", Status::Success)];
    assert_eq!(
        status_text(&workflow(Status::Failure, jobs), NOW, Paint::PLAIN),
        lines(&[
            "deploy  failure  wf-0123",
            "run 1, started 2025-12-31 23:58:55 UTC (1 min ago), took 1 min 3 s",
            "",
            "JOB  STATUS     TIME  WORKER",
            "a    failure    38 s  w1      exit code 3",
            "b    skipped                  skipped, as a failed",
            "c    cancelled",
            "d    success                  reused from an earlier run"
        ])
    );
    let waiting = workflow(Status::Queued, vec![job("a", Status::Queued)]);
    assert_eq!(
        status_text(&waiting, NOW, Paint::PLAIN),
        lines(&[
            "deploy  queued  wf-0123",
            "run 1, submitted 2025-12-31 23:58:50 UTC (1 min ago), not started",
            "",
            "JOB  STATUS",
            "a    queued  waits for the workflow to be started"
        ])
    );
}

#[test]
fn a_status_shows_every_attempt_that_failed_below_its_job() {
    let lost = data::failed(0, Cause::Lost, 31, "the worker was lost: its lease ended without a report");
    let late = data::failed(1, Cause::Timeout, 60, "it ran longer than its timeout of 60 s");
    let tries = |number, attempts, job| Job { attempt: number, max_retries: 2, attempts, ..job };
    let build = tries(2, vec![lost.clone(), late], started("build", Status::Success, "w2", 9));
    let delayed = WaitingFor { until_ms: Some(NOW + Duration::from_secs(20)), ..waits(WaitReason::Delayed) };
    let queued = Job { waiting_for: Some(delayed), error: Some(lost.error.clone()), ..job("test", Status::Queued) };
    let test = tries(1, vec![lost], queued);
    let once = data::tried(started("once", Status::Failure, "w1", 5), 0..1);
    let once = Job { error: Some("exit code 0".to_owned()), ..once };
    assert_eq!(
        jobs_text(&workflow(Status::Running, vec![build, test, once]), NOW, Paint::PLAIN),
        lines(&[
            "JOB    STATUS   TRY     TIME   WORKER",
            "build  success  3 of 3  7.0 s  w2",
            "  attempt 1: lost after 31 s on w1: the worker was lost: its lease ended without a report",
            "  attempt 2: timed out after 1 min on w1: it ran longer than its timeout of 60 s",
            "test   queued   2 of 3                 waits: it failed, and is tried again in 20 s (try 2 of 3)",
            "  attempt 1: lost after 31 s on w1: the worker was lost: its lease ended without a report",
            "once   failure          3.0 s  w1      exit code 0"
        ])
    );
}

#[test]
fn lists_are_aligned() {
    let long = Workflow { name: "a longer name".to_owned(), run: 12, ..workflow(Status::Failure, vec![]) };
    let jobs = vec![job("a", Status::Success), job("b", Status::Queued)];
    assert_eq!(
        list_text(&[workflow(Status::Running, jobs), long], NOW, Paint::PLAIN),
        lines(&[
            "ID       NAME           STATUS   RUN  DONE    SUBMITTED  TOOK",
            "wf-0123  deploy         running  1    1 of 2  1 min ago",
            "wf-0123  a longer name  failure  12   0 of 0  1 min ago  1 min 3 s"
        ])
    );
}

#[test]
fn workers_are_listed_with_labels_and_jobs() {
    let offline =
        WorkerInfo { status: WorkerStatus::Offline, last_heartbeat_ms: before(4000), ..worker("c", "", None) };
    let paused = WorkerInfo { paused: Some("its disk is full".to_owned()), ..worker("d", "", None) };
    let workers = [worker("a", "docker,gpu", Some("train")), worker("b-long-name", "", None), offline, paused];
    assert_eq!(
        workers_text(&workers, NOW, Paint::PLAIN),
        lines(&[
            "WORKER       STATUS   LABELS       JOB    HEARD    KNOWN FOR",
            "a            busy     docker, gpu  train  5 s ago  2 h",
            "b-long-name  idle     (none)              5 s ago  2 h",
            "c            offline  (none)              1 h ago  2 h",
            "d            paused   (none)              5 s ago  2 h",
            "  paused: its disk is full"
        ])
    );
}

#[test]
fn pools_are_listed_with_their_waiting_jobs_and_workers() {
    let pool = |labels, waiting, oldest_ms| PoolInfo {
        waiting_is_capped: false,
        labels: data::labels(labels),
        secrets: BTreeSet::new(),
        waiting,
        oldest_ms,
        running: 1,
        workers_online: 2,
    };
    assert_eq!(
        pools_text(&[pool("", 0, None), pool("gpu,linux", 12, Some(75_400))], Paint::PLAIN),
        lines(&[
            "LABELS      WAITING  OLDEST      RUNNING  WORKERS ONLINE",
            "(none)      0                    1        2",
            "gpu, linux  12       1 min 15 s  1        2"
        ])
    );
    let many = PoolInfo { waiting_is_capped: true, ..pool("", 10_000, None) };
    assert!(pools_text(&[many], Paint::PLAIN).contains("(none)  10000 or more  "));
    let secrets = ["KEY", "TOKEN"].map(|name| SecretName::new(name).expect("a name")).into();
    let text = pools_text(&[PoolInfo { secrets, ..pool("gpu", 0, None) }], Paint::PLAIN);
    assert!(text.contains("\ngpu with secrets KEY and TOKEN  0"), "{text}");
}

#[test]
fn outputs_keep_their_lines_and_their_control_characters_are_escaped() {
    let outputs = data::outputs(&[("a", "1\r"), ("notes", "two\r\n\x1blines\n"), ("z", "")]);
    assert_eq!(outputs_text(&outputs), "a = 1\\r\nnotes =\n  two\\r\n  \\u{1b}lines\nz = \n");
}
