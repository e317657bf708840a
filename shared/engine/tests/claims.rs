//! Tests of claims and of what they give to a worker, and of reports that are refused.

use std::collections::BTreeMap;
use std::time::Duration;

use common::World;
use engine::EngineError;
use protocol::wire::{Claimed, WORKER_VARIABLES};
use protocol::{Status, limits};

mod common;

async fn complete(world: &World, claimed: &Claimed, outputs: &[(&str, &str)]) -> Result<(), EngineError> {
    let outputs = outputs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    world.engine.reports().complete(&claimed.lease.lease_id.0, outputs, None).await.map(drop)
}

/// The error of the second job, whose variable `V` is output `value` of the first, which gives these outputs.
async fn error_with(outputs: &[(&str, &str)]) -> String {
    let world = World::ready("jobs: {a: {run: x}, b: {run: x, needs: a, retries: 3, env: {V: {from: a.value}}}}").await;
    let first = world.claim("w").await.expect("ready");
    complete(&world, &first, outputs).await.expect("accepted");
    assert!(world.claim("w").await.is_none(), "no worker can run it");
    let mut job = world.now().await.jobs.remove(1);
    assert_eq!(job.status, Status::Failure, "no retry would help");
    job.error.take().expect("an error")
}

#[tokio::test]
async fn variable_from_an_output_that_does_not_exist_fails_the_job_and_lists_the_outputs() {
    let error = error_with(&[("valeu", "1"), ("other", "2")]).await;
    assert!(error.contains("`V`") && error.contains("`a.value`") && error.contains("`other`, `valeu`"), "{error}");
    assert!(error_with(&[]).await.contains("it gave none"));
}

#[tokio::test]
async fn output_that_no_variable_can_hold_fails_the_job_and_names_the_limit() {
    let error = error_with(&[("value", &"x".repeat(200_000))]).await;
    assert!(error.contains("`V`") && error.contains("200000 bytes") && error.contains("131072"), "{error}");
    let error = error_with(&[("value", "a\0b")]).await;
    assert!(error.contains("`V`") && error.contains("NUL"), "{error}");
}

#[tokio::test]
async fn variables_that_the_worker_sets_are_not_in_the_payload() {
    let world = World::ready("jobs: {a: {run: x}, b: {run: x, needs: a, env: {V: {from: a.value}}}}").await;
    let first = world.claim("w").await.expect("ready");
    complete(&world, &first, &[("value", "1")]).await.expect("accepted");
    let second = world.claim("w").await.expect("ready");
    assert_eq!(second.job.env, BTreeMap::from([("V".to_owned(), "1".to_owned())]));
    for name in WORKER_VARIABLES {
        assert!(!second.job.command.contains(name), "{name}");
    }
}

#[tokio::test]
async fn large_outputs_are_not_stored_for_a_lost_lease() {
    let world = World::ready("jobs: {a: {run: x, retries: 1}}").await;
    let first = world.claim("w").await.expect("ready");
    let large = [("value", "x".repeat(1000))];
    let large: Vec<(&str, &str)> = large.iter().map(|(name, value)| (*name, value.as_str())).collect();
    world.clock.advance(Duration::from_secs(30));
    complete(&world, &first, &large).await.expect_err("the lease has expired");
    assert_eq!(world.engine.ports().external_outputs(), 0);
    world.engine.scheduling().run_timers().await.expect("memory answers");
    let second = world.claim("w").await.expect("the second try");
    complete(&world, &first, &large).await.expect_err("the lease is another's");
    assert_eq!(world.engine.ports().external_outputs(), 0);
    for _ in 0..2 {
        complete(&world, &second, &large).await.expect("accepted, and again");
        assert_eq!(world.engine.ports().external_outputs(), 1);
    }
}

#[tokio::test]
async fn lease_of_a_job_says_when_it_was_granted() {
    let world = World::ready("jobs: {a: {run: x}, b: {run: x, timeout: 10}}").await;
    let now = world.engine.now();
    let claimed = [world.claim("w").await.expect("ready"), world.claim("w").await.expect("ready")];
    for Claimed { job, lease } in claimed {
        let lasts = if job.timeout_secs.is_some() { 10 } else { 30 };
        let ends = lease.granted_at_ms + Duration::from_secs(lease.ttl_secs.into());
        assert_eq!(ends, now + Duration::from_secs(lasts), "{lease:?}");
        world.clock.advance(Duration::from_secs(2));
        let renewed = world.engine.reports().heartbeat(&lease.lease_id.0).await.expect("held").lease;
        let ends = renewed.granted_at_ms + Duration::from_secs(renewed.ttl_secs.into());
        let expected =
            if lasts == 10 { now + Duration::from_secs(10) } else { world.engine.now() + Duration::from_secs(30) };
        assert_eq!(ends, expected, "{renewed:?}");
    }
}

#[tokio::test]
async fn of_two_starts_in_one_millisecond_one_is_accepted() {
    let world = World::new_workflow("jobs: {a: {run: x}}").await;
    let start = || async { world.engine.runs().start(&world.id, None, None).await };
    let answers = [start().await, start().await];
    assert!(answers[0].is_ok(), "{answers:?}");
    assert!(matches!(answers[1], Err(EngineError::InvalidState { .. })), "{answers:?}");
}

#[tokio::test]
async fn ticket_over_its_limit_is_refused_with_its_size_and_the_name_of_the_limit() {
    let world = World::ready("jobs: {a: {run: x}}").await;
    let claim = |size: usize| {
        let claim = serde_json::json!({ "worker_id": "w", "ticket": "x".repeat(size) });
        world.engine.claims().claim(serde_json::from_value(claim).expect("a claim"))
    };
    assert!(claim(limits::TICKET).await.expect("at the limit").is_none(), "it names no job");
    let error = claim(limits::TICKET + 1).await.expect_err("over the limit").to_string();
    assert!(error.contains("`ticket` is 201; at most 200 are allowed (limit TICKET)"), "{error}");
}
