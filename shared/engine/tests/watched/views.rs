//! What a status and a list read, and where a list ends.

use std::time::Duration;

use engine::ports::{RunStore, StoreError};
use engine::run::{Progress, RunEnd, RunUpdate};
use engine::submit::Submission;
use engine::view::WorkflowPage;
use engine::{Engine, EngineError};
use protocol::wire::WaitReason;
use protocol::{Status, limits};

use crate::common::{Queues, submission};
use crate::store::{Fault, Watched, after};
use crate::{ONE, World, at_once, engine, ready};

#[tokio::test]
async fn store_that_can_not_be_written_is_reported_and_asked_once_a_second() {
    let world = ready(ONE).await;
    let check = async || world.engine.queries().check_writable().await;
    world.store().next_calls("check_writable", [Fault::Fails(StoreError::DiskFull("/data".to_owned()))]);
    for _ in 0..2 {
        let error = check().await.expect_err("full").to_string();
        assert!(error.contains("/data"), "{error}");
    }
    world.clock.advance(Duration::from_secs(1));
    check().await.expect("there is room again");
    assert_eq!(world.store().calls("check_writable"), 2);
}

/// The pages of jobs and the lists of workers that a status reads.
async fn reads(world: &World) -> (usize, usize) {
    world.store().forget_calls();
    world.engine.queries().workflow(&world.id).await.expect("answered");
    (world.store().calls("jobs_from"), world.store().calls("workers"))
}

#[tokio::test]
async fn status_reads_each_job_once_and_workers_only_if_a_job_is_ready() {
    // A page of jobs, and the page behind it, which is empty.
    let world = ready(ONE).await;
    assert_eq!(reads(&world).await, (2, 1));
    let claimed = world.take("w").await;
    assert_eq!(reads(&world).await, (2, 0));
    world.complete(&claimed).await.expect("accepted");
    world.settle().await;
    assert_eq!(world.status().await, Status::Success);
    assert_eq!(reads(&world).await, (2, 0));
    let cancelled = ready(ONE).await;
    cancelled.engine.runs().cancel(&cancelled.id).await.expect("it runs");
    assert_eq!(reads(&cancelled).await, (2, 0));
    let listed = ready(ONE).await;
    listed.store().forget_calls();
    let page = list(&listed.engine, 10, 0).await;
    assert_eq!(listed.store().calls("workers"), 0);
    assert_eq!(page.workflows[0].jobs[0].waiting_for, None, "a list gives no reasons");
}

#[tokio::test]
async fn status_of_an_ended_run_reads_its_jobs_again_if_some_have_not_ended() {
    let world = ready(ONE).await;
    at_once(world.store().memory().update_control(&world.run(), RunUpdate::Finish(engine::run::Progress::default())));
    assert_eq!(reads(&world).await.0, 4, "the first read may have been old");
}

#[tokio::test]
async fn status_of_a_run_that_ended_after_its_workflow_was_read_is_the_runs() {
    let world = ready(ONE).await;
    let memory = world.store().memory();
    let progress = Progress { done_below: 1, failed: true, cancelled: false };
    at_once(memory.update_control(&world.run(), RunUpdate::Advance(progress)));
    at_once(memory.update_control(&world.run(), RunUpdate::Finish(progress)));
    assert_eq!(world.status().await, Status::Failure);
}

#[tokio::test]
async fn status_of_a_run_that_ends_while_it_is_read_has_the_end_time() {
    let world = ready(ONE).await;
    let (workflow, run, at) = (world.id.clone(), world.run(), world.time());
    let ends = after(move |memory| {
        let progress = Progress { done_below: 1, failed: false, cancelled: false };
        at_once(memory.end_workflow(
            &workflow,
            &run,
            RunEnd { status: Status::Success, at, jobs: 1, started_at: None },
        ));
        at_once(memory.update_control(&run, RunUpdate::Finish(progress)));
    });
    world.store().next_calls("control", [ends]);
    let now = world.now().await;
    assert_eq!((now.status, now.finished_at_ms), (Status::Success, Some(at)));
}

#[tokio::test]
async fn ready_job_says_for_which_worker_it_waits_and_a_cancelled_one_does_not() {
    let world = ready("jobs: {a: {run: x}, b: {run: x, needs: a}}").await;
    let reasons = async || {
        let jobs = world.now().await.jobs;
        jobs.into_iter().map(|job| job.waiting_for).collect::<Vec<_>>()
    };
    let waits = reasons().await;
    assert_eq!(waits[0].as_ref().expect("ready").reason, WaitReason::NoWorker);
    assert_eq!(waits[1].as_ref().expect("waits").needs.as_ref().expect("needs")[0].as_str(), "a");
    let claimed = world.take("w").await;
    let back = protocol::requests::Fail {
        error: "its disk is gone".to_owned(),
        retryable: true,
        exit_code: None,
        cause: Some(protocol::requests::FailCause::Worker),
    };
    world.engine.reports().fail(&claimed.lease.lease_id.0, back).await.expect("accepted");
    let wait = reasons().await.remove(0).expect("ready");
    assert_eq!((wait.reason, wait.until_ms), (WaitReason::Delayed, Some(world.time() + limits::RETURN_PAUSE)));
    world.engine.runs().cancel(&world.id).await.expect("it runs");
    assert_eq!(reasons().await, [None, None]);
}

async fn list(engine: &Engine<Watched>, limit: usize, skip: usize) -> WorkflowPage {
    engine.queries().workflows(None, limit, skip, None).await.expect("answered")
}

/// Submits a workflow whose command has this length.
async fn submit(engine: &Engine<Watched>, length: usize) {
    let submission: Submission = submission(&format!("jobs: {{a: {{run: {}}}}}", "x".repeat(length)), false);
    engine.submissions().submit(submission).await.expect("accepted");
}

#[tokio::test]
async fn list_passes_over_as_many_workflows_as_it_is_told() {
    let (engine, clock) = engine();
    for length in 1..=4 {
        submit(&engine, length).await;
        clock.advance(Duration::from_secs(1));
    }
    let commands = async |limit, skip| {
        let page = list(&engine, limit, skip).await;
        page.workflows.iter().map(|workflow| workflow.jobs[0].command.len()).collect::<Vec<_>>()
    };
    assert_eq!(commands(10, 0).await, [4, 3, 2, 1]);
    assert_eq!(commands(1, 2).await, [2]);
    assert_eq!(commands(10, 3).await, [1]);
}

#[tokio::test]
async fn list_ends_before_four_fifths_of_the_largest_answer() {
    let (engine, clock) = engine();
    let sizes = async || {
        let page = list(&engine, 10, 0).await;
        let of = |workflow: &protocol::wire::Workflow| serde_json::to_vec(workflow).expect("JSON").len();
        (page.workflows.iter().map(of).collect::<Vec<usize>>(), page.next)
    };
    submit(&engine, 500_000).await;
    let around = sizes().await.0[0] - 500_000;
    let rest = limits::ANSWER * 4 / 5 - 3 * (1_000_000 + around) - (500_000 + around);
    let submit_next = async |length| {
        clock.advance(Duration::from_secs(1));
        submit(&engine, length).await;
    };
    submit_next(rest - around).await;
    for _ in 0..3 {
        submit_next(1_000_000).await;
    }
    let (fits, next) = sizes().await;
    assert_eq!((fits.iter().sum::<usize>(), fits.len(), next), (limits::ANSWER * 4 / 5, 5, None));
    // The oldest workflow doesn't fit any more.
    submit_next(1).await;
    let (fits, next) = sizes().await;
    assert_eq!(fits.len(), 5);
    assert!(next.is_some());
}

#[tokio::test]
async fn workflow_that_is_larger_than_an_answer_is_listed_alone() {
    let (engine, clock) = engine();
    submit(&engine, 1).await;
    clock.advance(Duration::from_secs(1));
    let mut large = submission(&format!("jobs: {{a: {{run: {}}}}}", "x".repeat(1_000_000)), false);
    let job = large.definition.jobs[0].clone();
    large.definition.jobs = (0..5)
        .map(|n| workflow::JobDefinition { id: format!("j{n}").parse().expect("an id"), ..job.clone() })
        .collect();
    engine.submissions().submit(large).await.expect("accepted");
    let page = list(&engine, 10, 0).await;
    assert_eq!(page.workflows.iter().map(|workflow| workflow.jobs.len()).collect::<Vec<_>>(), [5]);
    assert!(page.next.is_some());
}

#[tokio::test]
async fn list_by_status_stops_after_a_thousand_others() {
    let (engine, clock) = engine();
    engine.submissions().submit(submission(ONE, true)).await.expect("accepted");
    clock.advance(Duration::from_secs(1));
    for _ in 0..limits::LIST_SCAN {
        engine.submissions().submit(submission(ONE, false)).await.expect("accepted");
    }
    let page = engine.queries().workflows(None, 100, 0, Some(Status::Running)).await.expect("answered");
    assert_eq!((page.workflows.len(), page.next.is_some()), (0, true));
    let page = engine.queries().workflows(page.next, 100, 0, Some(Status::Running)).await.expect("answered");
    assert_eq!(page.workflows.len(), 1);
    let error = engine.queries().workflow(&"wf-none".parse().expect("an id")).await.expect_err("none");
    assert!(matches!(error, EngineError::WorkflowNotFound(_)), "{error}");
}
