//! What a claim carries: outputs inline or under a URL, and the delay before an attempt.

use std::time::Duration;

use protocol::requests::{FEATURE_OUTPUTS_URL, Register};
use protocol::wire::{Claimed, Job};
use protocol::{Millis, Status, limits};

use crate::store::Watched;
use crate::{World, ready, ready_on};

/// A value whose outputs `{"v":"..."}` have this size as JSON.
fn of_size(size: usize) -> String {
    "x".repeat(size - r#"{"v":""}"#.len())
}

/// The last job of a run, which needs one job for each of these values.
struct Fan {
    world: World,
    claimed: Option<Claimed>,
}

async fn fan(values: &[String], features: &[&str]) -> Fan {
    let jobs: String = (0..values.len()).map(|n| format!("j{n}: {{run: x}}, ")).collect();
    let needs: Vec<String> = (0..values.len()).map(|n| format!("j{n}")).collect();
    let yaml = format!("jobs: {{{jobs}end: {{run: x, needs: [{}]}}}}", needs.join(", "));
    let world = ready_on(Watched::with_urls(), &yaml).await;
    let register = serde_json::json!({ "worker_id": "w", "features": features });
    let register: Register = serde_json::from_value(register).expect("a worker");
    world.engine.workers().register(register).await.expect("registered");
    for value in values {
        let claimed = world.take("w").await;
        world.complete_with(&claimed, &[("v", value)]).await;
    }
    world.store().forget_calls();
    let claimed = world.claim("w").await;
    Fan { world, claimed }
}

impl Fan {
    async fn end(&self) -> Job {
        self.world.now().await.jobs.pop().expect("the last job")
    }
}

#[tokio::test]
async fn outputs_up_to_the_limit_are_in_the_claim_and_larger_ones_under_a_url() {
    let mut values = vec![of_size(limits::UPSTREAM_INLINE / 4); 4];
    let fits = fan(&values, &[FEATURE_OUTPUTS_URL]).await;
    let job = fits.claimed.expect("given").job;
    assert_eq!((job.upstream_outputs.len(), job.upstream_outputs_url), (4, None));
    assert_eq!(fits.world.store().calls("publish"), 0);
    values[0].push('x');
    let over = fan(&values, &["other", FEATURE_OUTPUTS_URL]).await;
    let job = over.claimed.expect("given").job;
    assert_eq!((job.upstream_outputs.len(), job.upstream_outputs_url.is_some()), (0, true));
    let refused = fan(&values, &["other"]).await;
    assert!(refused.claimed.is_none());
    let error = refused.end().await.error.expect("why");
    assert!(error.contains("4000001 bytes") && error.contains(FEATURE_OUTPUTS_URL), "{error}");
}

#[tokio::test]
async fn outputs_that_grow_over_the_limit_as_text_in_json_are_under_a_url() {
    let quotes = "\"".repeat(500_000);
    let fan = fan(&[quotes.clone(), quotes.clone(), quotes], &[FEATURE_OUTPUTS_URL]).await;
    assert!(fan.claimed.expect("given").job.upstream_outputs_url.is_some());
}

#[tokio::test]
async fn job_whose_needs_gave_more_than_the_limit_fails_and_at_the_limit_is_given() {
    let mut values = vec![of_size(limits::UPSTREAM / 32); 32];
    assert!(fan(&values, &[FEATURE_OUTPUTS_URL]).await.claimed.is_some());
    values[0].push('x');
    let over = fan(&values, &[FEATURE_OUTPUTS_URL]).await;
    assert!(over.claimed.is_none());
    let end = over.end().await;
    assert_eq!(end.status, Status::Failure);
    assert!(end.error.as_deref().expect("why").contains("32000001 bytes"), "{:?}", end.error);
}

#[tokio::test]
async fn only_an_attempt_after_a_delay_says_until_when_it_was_delayed() {
    let delays = async |retry: &str| {
        let world = ready(&format!("jobs: {{a: {{run: x, retry: {{max: 2, {retry}}}}}}}")).await;
        let first = world.take("w").await;
        world.fail(&first, true).await.expect("accepted");
        let at = world.job(0).ready_at;
        world.clock.advance(Duration::from_mins(1));
        let second = world.take("w").await;
        assert_eq!(Some(second.job.enqueued_at_ms), at);
        (first.job.delayed_until_ms, second.job.delayed_until_ms, at.expect("ready"))
    };
    let (first, second, at) = delays("delay: 60").await;
    assert_eq!((first, second), (Millis(0), at));
    let (first, second, _) = delays("delay: 0").await;
    assert_eq!((first, second), (Millis(0), Millis(0)));
}

/// The error of a job whose variable is an output that isn't there, of a job with this many others.
async fn error_among(count: usize) -> String {
    let world = ready("jobs: {a: {run: x}, b: {run: x, needs: a, env: {V: {from: a.none}}}}").await;
    let claimed = world.take("w").await;
    let names: Vec<String> = (0..count).map(|n| format!("o{n}")).collect();
    let outputs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    world.complete_with(&claimed, &outputs).await;
    assert!(world.claim("w").await.is_none());
    world.now().await.jobs[1].error.clone().expect("why")
}

#[tokio::test]
async fn error_about_a_missing_output_names_twenty_others_and_counts_the_rest() {
    let error = error_among(20).await;
    assert!(error.contains("`o19`") && !error.contains("more"), "{error}");
    let error = error_among(22).await;
    assert!(error.ends_with("and 2 more"), "{error}");
}

#[tokio::test]
async fn variable_may_have_an_output_of_exactly_the_limit() {
    let world = ready("jobs: {a: {run: x}, b: {run: x, needs: a, env: {V: {from: a.v}}}}").await;
    let claimed = world.take("w").await;
    world.complete_with(&claimed, &[("v", &"x".repeat(limits::ENV_VALUE))]).await;
    assert_eq!(world.take("w").await.job.env["V"].len(), limits::ENV_VALUE);
}
