//! Tests of jobs that are given back: by a worker that can't run them, and by a claim that fails after it took one.

use std::time::Duration;

use common::World;
use engine::EngineError;
use engine::error::LeaseLost;
use protocol::requests::{Fail, FailCause};
use protocol::wire::{Cause, Claimed, Job};
use protocol::{Status, limits};

mod common;

const ONE: &str = "jobs: {a: {run: x}}";

async fn give_back(world: &World, claimed: &Claimed) -> Result<(), EngineError> {
    let fail = Fail {
        error: "its working directory is gone".to_owned(),
        retryable: true,
        exit_code: None,
        cause: Some(FailCause::Worker),
    };
    world.engine.reports().fail(&claimed.lease.lease_id.0, fail).await
}

async fn job(world: &World) -> Job {
    world.now().await.jobs.remove(0)
}

#[tokio::test]
async fn returned_job_uses_no_try_and_goes_to_another_worker_at_once() {
    let world = World::ready(ONE).await;
    let first = world.claim("ill").await.expect("ready");
    give_back(&world, &first).await.expect("accepted");
    let waiting = job(&world).await;
    assert_eq!((waiting.status, waiting.attempt, waiting.returned), (Status::Queued, 1, 1));
    assert_eq!(waiting.error.as_deref(), Some("its working directory is gone"));
    assert_eq!(waiting.attempts.iter().map(|attempt| attempt.cause).collect::<Vec<_>>(), [Cause::Returned]);
    let second = world.claim("well").await.expect("another worker has it at once");
    assert_eq!((second.job.attempt, second.job.delayed_until_ms.0), (1, 0));
    world.fail(&second, true).await.expect("accepted");
    assert_eq!(job(&world).await.status, Status::Failure, "its only try was the second attempt");
}

#[tokio::test]
async fn worker_that_gave_a_job_back_is_not_given_it_again_for_a_minute() {
    let world = World::ready("jobs: {a: {run: x}, b: {run: x}}").await;
    let first = world.claim("ill").await.expect("ready");
    give_back(&world, &first).await.expect("accepted");
    let other = world.claim("ill").await.expect("the other job");
    assert_ne!(other.job.job_id, first.job.job_id);
    world.clock.advance(limits::RETURN_PAUSE.saturating_sub(Duration::from_millis(1)));
    assert!(world.claim("ill").await.is_none());
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.claim("ill").await.expect("the job again").job.job_id, first.job.job_id);
}

#[tokio::test]
async fn workers_that_gave_a_job_back_do_not_take_it_from_each_other() {
    let world = World::ready(ONE).await;
    for ill in ["ill-1", "ill-2", "ill-3", "ill-4"] {
        let claimed = world.claim(ill).await.expect("it has not given the job back");
        give_back(&world, &claimed).await.expect("accepted");
        world.clock.advance(Duration::from_secs(1));
    }
    for ill in ["ill-1", "ill-2", "ill-3", "ill-4"] {
        assert!(world.claim(ill).await.is_none(), "{ill} gave it back within the minute");
    }
    world.clock.advance(limits::RETURN_PAUSE.saturating_sub(Duration::from_secs(4)));
    assert!(world.claim("ill-2").await.is_none());
    assert!(world.claim("ill-1").await.is_some(), "its minute is over");
}

#[tokio::test]
async fn repeated_return_is_accepted_once() {
    let world = World::ready(ONE).await;
    let first = world.claim("ill").await.expect("ready");
    for _ in 0..3 {
        give_back(&world, &first).await.expect("accepted");
    }
    assert_eq!(job(&world).await.returned, 1);
    let fail = world.fail(&first, true).await;
    assert!(matches!(fail, Err(EngineError::LeaseLost(LeaseLost::Reported))), "{fail:?}");
}

#[tokio::test]
async fn job_that_is_given_back_too_often_in_a_row_fails_with_the_last_reason() {
    let world = World::ready("jobs: {a: {run: x, retries: 1}}").await;
    for n in 1..limits::RETURNS {
        let claimed = world.claim(&format!("w{n}")).await.expect("ready");
        give_back(&world, &claimed).await.expect("accepted");
    }
    let claimed = world.claim("w").await.expect("ready");
    world.fail(&claimed, true).await.expect("accepted");
    for n in 1..=limits::RETURNS {
        assert_eq!(job(&world).await.status, Status::Queued, "return {n} of the next row");
        let claimed = world.claim(&format!("v{n}")).await.expect("ready");
        give_back(&world, &claimed).await.expect("accepted");
    }
    let failed = job(&world).await;
    assert_eq!(failed.status, Status::Failure);
    let error = failed.error.expect("an error");
    assert!(error.contains("20 times in a row") && error.contains("its working directory is gone"), "{error}");
    assert!(failed.attempts.iter().any(|attempt| attempt.cause == Cause::Failure), "the true failure is kept");
}

#[tokio::test]
async fn returns_do_not_count_for_the_delay_of_a_retry() {
    let world =
        World::ready("jobs: {a: {run: x, retry: {max: 2, backoff: exponential, delay: 10, max_delay: 300}}}").await;
    for worker in ["w1", "w2", "w3"] {
        let claimed = world.claim(worker).await.expect("ready");
        give_back(&world, &claimed).await.expect("accepted");
    }
    let claimed = world.claim("w4").await.expect("ready");
    world.fail(&claimed, true).await.expect("accepted");
    world.clock.advance(Duration::from_millis(9_999));
    assert!(world.claim("w4").await.is_none());
    world.clock.advance(Duration::from_millis(1));
    let again = world.claim("w4").await.expect("ready after the delay of the first retry");
    assert_eq!(again.job.delayed_until_ms, world.engine.now());
}
