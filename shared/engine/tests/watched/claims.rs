//! Claims whose calls fail or are sent twice, and completions that ask for the next job.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::EngineError;
use engine::error::LeaseLost;
use protocol::requests::Next;
use protocol::wire::Claimed;

use crate::store::{Fault, corrupt, unavailable};
use crate::{ONE, World, claim_of, ready};

#[tokio::test]
async fn claim_whose_write_is_sent_twice_gets_the_job() {
    let world = ready(ONE).await;
    world.store().next_calls("update", [Fault::SentTwice]);
    world.take("w").await;
}

#[tokio::test]
async fn only_a_claim_that_fails_for_the_jobs_own_reason_counts_towards_its_returns() {
    let world = ready(ONE).await;
    let fails = async |fault: Fault| {
        // The first read of the control record arms the timer, the second one confirms the claim.
        world.store().next_calls("control", [Fault::None, fault]);
        world.engine.claims().claim(claim_of("w")).await.expect_err("it can't be confirmed");
        let returned = world.job(0).returned.expect("it was given back");
        world.clock.advance(Duration::from_secs(5));
        returned.times
    };
    assert_eq!([fails(unavailable()).await, fails(corrupt()).await, fails(unavailable()).await], [0, 1, 1]);
}

const CHAIN: &str = "jobs: {a: {run: x}, b: {run: x, needs: a}}";

async fn complete_for_next(world: &World, claimed: &Claimed) -> Result<Option<Claimed>, EngineError> {
    let next: Next = serde_json::from_value(serde_json::json!({ "worker_id": "w" })).expect("a next job");
    world.engine.reports().complete(&claimed.lease.lease_id.0, BTreeMap::new(), Some(next)).await
}

#[tokio::test]
async fn completion_whose_next_job_the_store_withholds_is_repeated_for_it() {
    let world = ready(CHAIN).await;
    let first = world.take("w").await;
    // The first update ends the job, the second one gives the next.
    world.store().next_calls("update", [Fault::None, unavailable()]);
    let error = complete_for_next(&world, &first).await.expect_err("the store was unavailable");
    assert!(matches!(error, EngineError::Store(_)), "{error}");
    complete_for_next(&world, &first).await.expect("accepted before");
}

#[tokio::test]
async fn completion_whose_next_job_can_not_be_given_is_accepted_all_the_same() {
    let world = ready(CHAIN).await;
    let first = world.take("w").await;
    world.store().next_calls("update", [Fault::None, corrupt()]);
    assert!(complete_for_next(&world, &first).await.expect("accepted").is_none());
    assert_eq!(world.take("w").await.job.job_id.as_str(), "b", "it is ready for any worker");
}

#[tokio::test]
async fn dependent_that_waits_for_another_job_is_not_tried_as_the_next() {
    let world = ready("jobs: {a: {run: x}, b: {run: x}, end: {run: x, needs: [a, b]}}").await;
    let first = world.take("w").await;
    world.store().forget_calls();
    assert!(complete_for_next(&world, &first).await.expect("accepted").is_none());
    assert_eq!(world.store().calls("update"), 2, "the job's end and the need that it leaves");
}

#[tokio::test]
async fn report_of_an_attempt_that_was_lost_is_refused_as_ended_and_of_another_result_as_reported() {
    let world = ready("jobs: {a: {run: x, retries: 2}}").await;
    let lost = world.take("w").await;
    world.clock.advance(Duration::from_secs(30));
    world.engine.scheduling().fire_all_timers().await.expect("the store answers");
    let refused = |result: Result<(), EngineError>| match result {
        Err(EngineError::LeaseLost(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(world.complete(&lost).await), LeaseLost::Ended);
    let second = world.take("w").await;
    world.fail(&second, true).await.expect("accepted");
    assert_eq!(refused(world.complete(&second).await), LeaseLost::Reported);
    assert_eq!(refused(world.complete(&lost).await), LeaseLost::Ended, "the last report is another attempt's");
}
