//! Reports: which reads they cost, and what they answer after a cancel.

use std::time::Duration;

use engine::EngineError;
use engine::error::LeaseLost;
use engine::ports::LogStore;
use protocol::requests::{Fail, FailCause, LogPiece};
use protocol::wire::{Cause, Stream};
use protocol::{Millis, Status, limits};

use crate::common::Queues;
use crate::{ONE, World, at_once, ready};

#[tokio::test]
async fn outputs_of_256_bytes_are_stored_in_the_record_without_another_read() {
    let overhead = r#"{"v":""}"#.len();
    for (size, reads, writes) in [(256, 0, 0), (257, 1, 1)] {
        let world = ready(ONE).await;
        let claimed = world.take("w").await;
        world.store().forget_calls();
        world.complete_with(&claimed, &[("v", &"x".repeat(size - overhead))]).await;
        assert_eq!((world.store().calls("job"), world.store().calls("put_outputs")), (reads, writes), "{size} bytes");
    }
}

fn lost<T: std::fmt::Debug>(result: Result<T, EngineError>) -> LeaseLost {
    match result {
        Err(EngineError::LeaseLost(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn heartbeat_after_the_lease_expired_is_refused_even_if_no_timer_has_fired() {
    let world = ready(ONE).await;
    let claimed = world.take("w").await;
    let heartbeat = async || world.engine.reports().heartbeat(&claimed.lease.lease_id.0).await;
    world.clock.advance(Duration::from_millis(29_999));
    heartbeat().await.expect("in time");
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(lost(heartbeat().await), LeaseLost::Ended);
}

#[tokio::test]
async fn heartbeat_of_a_job_counts_as_one_of_its_worker() {
    let world = ready(ONE).await;
    let mut claim = crate::claim_of("w");
    claim.lease_ttl_secs = 600;
    let claimed = world.engine.claims().claim(claim).await.expect("answered").expect("ready");
    world.clock.advance(Duration::from_mins(2));
    world.engine.reports().heartbeat(&claimed.lease.lease_id.0).await.expect("live");
    let worker = &world.engine.workers().list().await.expect("answered")[0];
    assert_eq!(worker.last_heartbeat_ms, world.time());
}

#[tokio::test]
async fn lease_names_its_workflow_and_job_for_the_audit_log() {
    let world = ready(ONE).await;
    let claimed = world.take("w").await;
    let (workflow, job) = world.engine.reports().subject_of(&claimed.lease.lease_id.0).await.expect("known");
    assert_eq!((workflow, job.as_str()), (world.id.clone(), "a"));
    assert!(world.engine.reports().subject_of("nonsense").await.is_none());
}

#[tokio::test]
async fn reports_after_a_cancel_are_refused_as_cancelled_before_and_after_the_job_is_marked() {
    let world = ready("jobs: {a: {run: x}, b: {run: x, retries: 1}}").await;
    let (one, other) = (world.take("w").await, world.take("w").await);
    world.engine.runs().cancel(&world.id).await.expect("it runs");
    let piece: LogPiece = serde_json::from_value(serde_json::json!({ "sequence": 0, "data": "x" })).expect("a piece");
    let logs = async || world.engine.reports().append_logs(&one.lease.lease_id.0, vec![piece.clone()]).await;
    assert_eq!(lost(world.complete(&one).await), LeaseLost::Cancelled);
    assert_eq!(lost(logs().await), LeaseLost::Cancelled);
    assert!(world.engine.reports().heartbeat(&one.lease.lease_id.0).await.expect("answered").cancelled);
    world.settle().await;
    assert_eq!(world.status().await, Status::Cancelled);
    assert_eq!(lost(world.complete(&one).await), LeaseLost::Cancelled);
    assert_eq!(lost(world.fail(&other, true).await), LeaseLost::Cancelled);
    let answer = world.engine.reports().heartbeat(&one.lease.lease_id.0).await.expect("its own job was cancelled");
    assert!(answer.cancelled && answer.lease.worker_id.as_str() == "w");
}

#[tokio::test]
async fn report_of_a_lost_attempt_after_the_end_of_the_run_is_refused_as_ended() {
    let world = ready(ONE).await;
    let claimed = world.take("w").await;
    world.clock.advance(Duration::from_secs(30));
    world.engine.scheduling().fire_all_timers().await.expect("the store answers");
    world.settle().await;
    assert_eq!(world.status().await, Status::Failure);
    assert_eq!(lost(world.complete(&claimed).await), LeaseLost::Ended);
    assert_eq!(lost(world.engine.reports().heartbeat(&claimed.lease.lease_id.0).await), LeaseLost::Ended);
}

#[tokio::test]
async fn report_of_an_expired_lease_in_a_cancelled_run_is_refused_as_cancelled() {
    let world = ready("jobs: {a: {run: x, retries: 1}}").await;
    let claimed = world.take("w").await;
    world.clock.advance(Duration::from_secs(30));
    world.engine.scheduling().fire_all_timers().await.expect("the store answers");
    world.engine.runs().cancel(&world.id).await.expect("it runs");
    assert_eq!(lost(world.complete(&claimed).await), LeaseLost::Cancelled);
    world.settle().await;
    assert_eq!(lost(world.complete(&claimed).await), LeaseLost::Ended, "its attempt had ended before the cancel");
}

#[tokio::test]
async fn last_return_ends_the_job_keeps_its_attempt_and_may_be_repeated() {
    let world = ready(ONE).await;
    let back = || Fail {
        error: "its disk is gone".to_owned(),
        retryable: true,
        exit_code: None,
        cause: Some(FailCause::Worker),
    };
    let mut last = None;
    for n in 0..limits::RETURNS {
        let claimed = world.take(&format!("w{n}")).await;
        world.engine.reports().fail(&claimed.lease.lease_id.0, back()).await.expect("accepted");
        last = Some(claimed);
    }
    let job = world.now().await.jobs.remove(0);
    assert_eq!(job.status, Status::Failure);
    let attempt = job.attempts.last().expect("kept");
    assert_eq!((attempt.attempt, attempt.cause), (limits::RETURNS - 1, Cause::Returned));
    let last = last.expect("the last claim");
    world.engine.reports().fail(&last.lease.lease_id.0, back()).await.expect("the same report");
}

#[tokio::test]
async fn error_text_of_exactly_the_limit_is_kept_whole() {
    let world = ready(ONE).await;
    let claimed = world.take("w").await;
    let error = "x".repeat(limits::ERROR_TEXT);
    let fail = Fail { error: error.clone(), retryable: false, exit_code: Some(7), cause: None };
    world.engine.reports().fail(&claimed.lease.lease_id.0, fail).await.expect("accepted");
    assert_eq!(world.now().await.jobs[0].error, Some(error));
}

#[tokio::test]
async fn log_piece_without_a_time_gets_the_time_of_its_arrival() {
    let world = ready(ONE).await;
    let claimed = world.take("w").await;
    let piece =
        |sequence, at| LogPiece { sequence, data: "x".to_owned(), timestamp_ms: Millis(at), stream: Stream::Stdout };
    world.engine.reports().append_logs(&claimed.lease.lease_id.0, vec![piece(0, 0), piece(1, 5)]).await.expect("live");
    let stored = at_once(world.store().memory().read(&world.key(0), 0, None, 1000));
    assert_eq!(stored.iter().map(|piece| piece.timestamp_ms).collect::<Vec<_>>(), [world.time(), Millis(5)]);
}

impl World {
    async fn first_job(&self) -> protocol::wire::Job {
        self.now().await.jobs.remove(0)
    }
}

#[tokio::test]
async fn job_shows_its_exit_code_and_its_error_as_output_only_once_it_failed() {
    let world = ready("jobs: {a: {run: x, retries: 1}, b: {run: x, needs: a}}").await;
    let first = world.take("w").await;
    world.fail(&first, true).await.expect("accepted");
    let job = world.first_job().await;
    assert_eq!((job.exit_code, job.output, job.finished_at_ms), (None, None, None));
    assert_eq!(job.error.as_deref(), Some("it broke"));
    let second = world.take("w").await;
    world.fail(&second, true).await.expect("accepted");
    let job = world.first_job().await;
    assert_eq!(
        (job.exit_code, job.output.as_deref(), job.finished_at_ms),
        (Some(1), Some("it broke"), Some(world.time()))
    );
    assert_eq!(world.now().await.jobs[1].depends_on[0].as_str(), "a");
    let world = ready(ONE).await;
    let claimed = world.take("w").await;
    world.complete(&claimed).await.expect("accepted");
    assert_eq!(world.first_job().await.exit_code, Some(0));
    let outputs = async |attempt| world.engine.queries().outputs(&world.id, &claimed.job.job_id, attempt).await;
    assert_eq!(outputs(Some(0)).await.expect("it succeeded").len(), 1);
    assert_eq!(outputs(Some(1)).await.expect("no such attempt").len(), 0);
}

#[tokio::test]
async fn log_page_that_ends_at_the_size_of_an_answer_says_that_more_follows() {
    let world = ready(ONE).await;
    let claimed = world.take("w").await;
    let piece = |sequence, length: usize| LogPiece {
        sequence,
        data: "\"".repeat(length),
        timestamp_ms: Millis(1),
        stream: Stream::Stdout,
    };
    let pieces = vec![piece(0, 900_000), piece(1, 900_000)];
    world.engine.reports().append_logs(&claimed.lease.lease_id.0, pieces).await.expect("live");
    let page = async |after| {
        let page = world.engine.queries().logs(&world.id, &claimed.job.job_id, after, None).await.expect("there");
        (page.chunks.iter().map(|chunk| chunk.sequence).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(page(None).await, (vec![0], true));
    assert_eq!(page(Some(0)).await, (vec![1], false));
}

#[tokio::test]
async fn log_of_an_attempt_has_ended_once_the_next_attempt_began() {
    let world = ready("jobs: {a: {run: x, retries: 1}}").await;
    let first = world.take("w").await;
    let ended = async |attempt| {
        let page = world.engine.queries().logs(&world.id, &first.job.job_id, None, Some(attempt)).await;
        page.expect("there").ended
    };
    assert!(!ended(0).await);
    world.fail(&first, true).await.expect("accepted");
    assert_eq!([ended(0).await, ended(1).await, ended(2).await], [true, false, false]);
}
