//! What `wfg why` says about a job, for each reason to wait and each end.

use protocol::wire::PausedWorker;

use super::*;
use crate::tests::{NOW, before, job, job_id, labels, lines, outputs, started, waits, worker, workflow};

/// The output of `wfg why` for the last of these jobs.
fn why(jobs: Vec<Job>, workers: &[WorkerInfo]) -> String {
    let workflow = workflow(Status::Running, jobs);
    let view = View { workflow: &workflow, workers, now: NOW };
    view.full(workflow.jobs.last().expect("a job"), &remote())
}

fn remote() -> Remote {
    Remote::new("http://engine:3000", None).expect("a good address")
}

fn queued(requires: &str, waiting: WaitingFor) -> Job {
    Job { required_labels: labels(requires), waiting_for: Some(waiting), ..job("deploy", Status::Queued) }
}

#[test]
fn why_of_a_job_with_needs_shows_the_state_of_each_need() {
    let build = Job { outputs: outputs(&[("v", "1")]), ..started("build", Status::Success, "w1", 30) };
    let test = started("test", Status::Running, "w2", 8);
    let scan = Job { required_labels: labels("gpu"), ..queued("gpu", waits(WaitReason::NoWorker)) };
    let scan = Job { id: job_id("scan"), ..scan };
    let needs = WaitingFor { needs: Some(vec![job_id("test"), job_id("scan")]), ..waits(WaitReason::Needs) };
    let depends_on = vec![job_id("build"), job_id("test"), job_id("scan")];
    let deploy = Job { depends_on, ..queued("", needs) };
    assert_eq!(
        why(vec![build, test, scan, deploy], &[]),
        lines(&[
            "deploy has waited for 12 s: 2 of the 3 jobs it needs aren't done.",
            "  test runs on w2 for 8 s",
            "  scan waits: no worker is online"
        ])
    );
}

#[test]
fn why_of_missing_labels_names_them_and_the_nearest_worker() {
    let waiting = WaitingFor {
        missing: Some(labels("gpu")),
        nearest: Some(worker("w2", "", None).worker_id),
        ..waits(WaitReason::MissingLabels)
    };
    let workers = [worker("w1", "", None), worker("w2", "linux", Some("train"))];
    assert_eq!(
        why(vec![queued("gpu,linux", waiting)], &workers),
        lines(&[
            "deploy has waited for 12 s: no worker online has all its labels (gpu, linux); w2 comes nearest and lacks gpu.",
            "  w1 (no labels) lacks gpu, linux",
            "  w2 (linux) lacks gpu",
            "  start one: wfg --server http://engine:3000 worker --labels gpu,linux"
        ])
    );
}

#[test]
fn why_of_busy_workers_counts_them_and_shows_their_jobs() {
    let busy = |number| WaitingFor { busy: Some(number), ..waits(WaitReason::Busy) };
    let workers = [worker("w1", "gpu", Some("train")), worker("w2", "gpu,x", Some("eval")), worker("w3", "", None)];
    assert_eq!(
        why(vec![queued("gpu", busy(2))], &workers),
        lines(&[
            "deploy has waited for 12 s: 2 of 2 workers online with all its labels (gpu) are busy.",
            "  w1 runs train",
            "  w2 runs eval"
        ])
    );
    let workers = [worker("w1", "gpu", Some("train")), worker("w2", "gpu", None)];
    assert_eq!(
        why(vec![queued("gpu", busy(1))], &workers),
        lines(&[
            "deploy has waited for 12 s: 1 of 2 workers online with all its labels (gpu) is busy.",
            "  w1 runs train",
            "  w2 is free, and takes it when it asks next"
        ])
    );
    assert_eq!(
        why(vec![queued("", busy(0))], &workers[1..]),
        lines(&[
            "deploy has waited for 12 s: it is ready, and no worker has asked for it yet.",
            "  w2 is free, and takes it when it asks next"
        ])
    );
}

#[test]
fn why_counts_no_exclusive_worker_as_able_to_run_a_job_without_labels() {
    let busy = WaitingFor { busy: Some(1), ..waits(WaitReason::Busy) };
    let exclusive = WorkerInfo { exclusive: true, ..worker("w2", "gpu", None) };
    assert_eq!(
        why(vec![queued("", busy)], &[worker("w1", "", Some("train")), exclusive]),
        lines(&["deploy has waited for 12 s: 1 of 1 worker online is busy.", "  w1 runs train"])
    );
}

#[test]
fn why_without_a_worker_shows_how_to_start_one() {
    assert_eq!(
        why(vec![queued("gpu,linux", waits(WaitReason::NoWorker))], &[]),
        lines(&[
            "deploy has waited for 12 s: no worker is online.",
            "  start one: wfg --server http://engine:3000 worker --labels gpu,linux"
        ])
    );
    assert_eq!(
        why(vec![queued("", waits(WaitReason::Exclusive))], &[worker("w1", "gpu", None)]),
        lines(&[
            "deploy has waited for 12 s: it requires no label, and every online worker is exclusive.",
            "  online: w1; an exclusive worker takes only jobs that require one of its labels",
            "  start one: wfg --server http://engine:3000 worker"
        ])
    );
}

#[test]
fn why_names_paused_workers_and_the_attempt_that_was_given_back() {
    let reason = "its directory /srv/work is gone".to_owned();
    let paused = vec![PausedWorker { worker_id: worker("w1", "", None).worker_id, reason: reason.clone() }];
    let attempts = vec![crate::tests::failed(0, Cause::Returned, 1, &reason)];
    let waiting = WaitingFor { paused, ..waits(WaitReason::NoWorker) };
    let deploy = Job { attempt: 1, returned: 1, attempts, ..queued("", waiting) };
    assert_eq!(
        why(vec![deploy], &[WorkerInfo { paused: Some(reason), ..worker("w1", "", None) }]),
        lines(&[
            "deploy has waited for 12 s: w1 is paused: its directory /srv/work is gone.",
            "  attempt 1: given back after 1.0 s on w1: its directory /srv/work is gone",
            "  a paused worker goes on by itself once the cause is mended",
            "  start one: wfg --server http://engine:3000 worker"
        ])
    );
}

#[test]
fn a_pause_is_the_reason_if_no_other_worker_could_run_the_job() {
    let reason = "no space left on device";
    let paused = |id: &str| PausedWorker { worker_id: worker(id, "", None).worker_id, reason: reason.to_owned() };
    let nobody = WaitingFor { paused: vec![paused("w1"), paused("w2")], ..waits(WaitReason::NoWorker) };
    let deploy = queued("", nobody);
    assert_eq!(
        brief(&deploy, &workflow(Status::Running, vec![]), NOW),
        format!("waits: w1 is paused: {reason}; w2 is paused: {reason}")
    );
    let lacks =
        WaitingFor { missing: Some(labels("gpu")), paused: vec![paused("w1")], ..waits(WaitReason::MissingLabels) };
    assert_eq!(
        why(vec![queued("gpu", lacks)], &[worker("w2", "linux", None)]),
        lines(&[
            &format!("deploy has waited for 12 s: w1 is paused: {reason}."),
            "  a paused worker goes on by itself once the cause is mended",
            "  w2 (linux) lacks gpu",
            "  start one: wfg --server http://engine:3000 worker --labels gpu"
        ])
    );
    let busy = WaitingFor { busy: Some(1), paused: vec![paused("w1")], ..waits(WaitReason::Busy) };
    assert_eq!(
        why(vec![queued("", busy)], &[worker("w2", "", Some("train"))]),
        lines(&[
            "deploy has waited for 12 s: 1 of 1 worker online is busy.",
            &format!("  w1 is paused: {reason}"),
            "  w2 runs train"
        ])
    );
}

#[test]
fn why_of_a_retry_shows_its_time_and_the_last_error() {
    let waiting = WaitingFor { until_ms: Some(Millis(NOW.0 + 9000)), ..waits(WaitReason::Delayed) };
    let error = Some("exit code 7".to_owned());
    let deploy = Job { attempt: 1, max_retries: 2, error, ..queued("", waiting) };
    assert_eq!(
        why(vec![deploy], &[]),
        lines(&[
            "deploy has waited for 12 s: it failed, and is tried again in 9 s (try 2 of 3).",
            "  the last try failed: exit code 7"
        ])
    );
}

#[test]
fn why_of_a_job_whose_claim_failed_shows_the_reason_and_when_it_is_tried_again() {
    let waiting = WaitingFor { until_ms: Some(Millis(NOW.0 + 9000)), ..waits(WaitReason::Delayed) };
    let reason = "a worker claimed it, but it could not be given: the secrets can't be read";
    let attempts = vec![crate::tests::failed(0, Cause::Returned, 1, reason)];
    let deploy = Job { error: Some(reason.to_owned()), attempts, ..queued("", waiting) };
    assert_eq!(
        why(vec![deploy], &[]),
        lines(&[
            "deploy has waited for 12 s: it was given back, and is tried again in 9 s (try 1 of 1).",
            &format!("  attempt 1: given back after 1.0 s on w1: {reason}")
        ])
    );
}

#[test]
fn why_of_a_job_that_does_not_wait_shows_its_state() {
    assert_eq!(
        why(vec![started("a", Status::Running, "w1", 75)], &[]),
        lines(&["a doesn't wait: it runs on w1 for 1 min 15 s."])
    );
    let failed = Job { error: Some("exit code 3".to_owned()), ..started("a", Status::Failure, "w1", 75) };
    let skipped = Job { depends_on: vec![job_id("a")], ..job("b", Status::Skipped) };
    let because = |because, condition| {
        let job = Job { skipped_because: Some(because), condition, ..job("c", Status::Skipped) };
        why(vec![failed.clone(), skipped.clone(), job], &[])
    };
    assert_eq!(
        because(SkippedBecause::Job(job_id("a")), Condition::Success),
        lines(&["c doesn't wait: it was skipped, as a failed."])
    );
    assert_eq!(
        because(SkippedBecause::Condition, Condition::Failure),
        lines(&["c doesn't wait: it was skipped, as none of the jobs it needs failed."])
    );
    assert_eq!(
        because(SkippedBecause::Condition, Condition::OnFailure),
        lines(&["c doesn't wait: it was skipped, as no job failed."])
    );
    let by_exit = Job { skipped_because: Some(SkippedBecause::Exit), ..started("c", Status::Skipped, "w1", 3) };
    assert_eq!(
        why(vec![Job { exit_code: Some(78), ..by_exit }], &[]),
        lines(&["c doesn't wait: it was skipped by its exit code 78."])
    );
    let allowed = Job { allow_failure: true, ..failed.clone() };
    assert_eq!(why(vec![allowed], &[]), lines(&["a doesn't wait: it failed (allowed): exit code 3."]));
    assert_eq!(why(vec![failed.clone()], &[]), lines(&["a doesn't wait: it failed: exit code 3."]));
    assert_eq!(why(vec![failed, skipped.clone()], &[]), lines(&["b doesn't wait: it was skipped, as a failed."]));
    assert_eq!(
        why(vec![skipped, Job { depends_on: vec![job_id("b")], ..job("c", Status::Skipped) }], &[]),
        lines(&["c doesn't wait: it was skipped, as b was skipped."])
    );
    assert_eq!(why(vec![job("a", Status::Queued)], &[]), lines(&["a waits: it is about to be ready."]));
}

#[test]
fn why_of_a_workflow_shows_jobs_that_could_start_first() {
    let needs = WaitingFor { needs: Some(vec![job_id("b")]), ..waits(WaitReason::Needs) };
    let a = Job { id: job_id("a"), depends_on: vec![job_id("b")], ..queued("", needs) };
    let b = Job { id: job_id("b"), ..queued("", WaitingFor { since_ms: before(2), ..waits(WaitReason::NoWorker) }) };
    let all = |workflow: &Workflow| View { workflow, workers: &[], now: NOW }.all(&remote());
    assert_eq!(
        all(&workflow(Status::Running, vec![a, b])),
        lines(&[
            "b has waited for 2 s: no worker is online.",
            "  start one: wfg --server http://engine:3000 worker",
            "",
            "a has waited for 12 s: b isn't done.",
            "  b waits: no worker is online"
        ])
    );
    let ended = vec![job("a", Status::Success), job("b", Status::Success), job("c", Status::Failure)];
    assert_eq!(all(&workflow(Status::Failure, ended)), lines(&["No job of deploy waits: 2 success and 1 failure."]));
    assert_eq!(
        all(&workflow(Status::Queued, vec![job("a", Status::Queued)])),
        lines(&["deploy hasn't been started; `wfg --server http://engine:3000 rerun wf-0123` does."])
    );
}
