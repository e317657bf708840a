//! Tests of worker records: registrations, claims and heartbeats.

use std::time::Duration;

use common::World;
use engine::Engine;
use engine::ports::{HEARD_EVERY, WorkerRecord, WorkerRegistry};
use memory::Memory;
use protocol::access::{NewToken, Permissions};
use protocol::requests::{Claim, Register, Transport};
use protocol::{LabelSet, limits};

mod common;

#[tokio::test]
async fn features_over_their_limit_are_refused_and_others_stored_whole() {
    let engine = Engine::new(Memory::new());
    let with = async |features: Vec<String>| {
        let id = "w".parse().expect("an id");
        let labels = LabelSet::default();
        engine
            .workers()
            .register(Register {
                worker_id: id,
                labels,
                transport: Transport::Http,
                exclusive: false,
                features,
                paused: None,
            })
            .await
            .map_err(|error| error.to_string())
    };
    let many = |count: usize| (0..count).map(|n| format!("feature-{n}")).collect::<Vec<_>>();
    with(many(limits::FEATURES)).await.expect("at the limit");
    let kept = engine.ports().worker(&"w".parse().expect("an id"), engine.now()).await.expect("read").expect("known");
    assert_eq!(kept.features, many(limits::FEATURES));
    let error = with(many(limits::FEATURES + 1)).await.expect_err("one too many");
    assert!(error.contains("features") && error.contains("65") && error.contains("64"), "{error}");
    let error = with(vec!["x".into(), "x".repeat(limits::FEATURE + 1)]).await.expect_err("too long");
    assert!(error.contains("features[1]") && error.contains("65"), "{error}");
}

fn claim(worker: &str, exclusive: bool) -> Claim {
    Claim { exclusive, ..serde_json::from_value(serde_json::json!({ "worker_id": worker })).expect("a claim") }
}

#[tokio::test]
async fn exclusive_holds_for_later_claims_that_do_not_say_it() {
    let world = World::ready("jobs: {a: {run: x}}").await;
    let claims = world.engine.claims();
    for exclusive in [true, false] {
        assert!(claims.claim(claim("w", exclusive)).await.expect("answered").is_none(), "{exclusive}");
    }
    world.clock.advance(Duration::from_hours(1));
    assert!(claims.claim(claim("w", false)).await.expect("answered").is_none(), "also an hour later");
    world.engine.workers().register(register("w", None)).await.expect("registered");
    assert!(!worker(&world.engine, "w").await.exclusive);
    assert!(claims.claim(claim("w", false)).await.expect("answered").is_some(), "until it registers without it");
}

fn register(worker: &str, paused: Option<&str>) -> Register {
    let text = serde_json::json!({ "worker_id": worker, "paused": paused });
    serde_json::from_value(text).expect("a registration")
}

async fn worker(engine: &Engine<Memory>, id: &str) -> WorkerRecord {
    engine.ports().worker(&id.parse().expect("an id"), engine.now()).await.expect("read").expect("known")
}

#[tokio::test]
async fn paused_worker_says_why_until_it_says_otherwise_or_claims() {
    let (engine, _clock) = common::engine();
    let id = "w".parse().expect("an id");
    let paused = async || engine.workers().list().await.expect("listed").remove(0).paused;
    let long = "ä".repeat(limits::PAUSED);
    engine.workers().register(register("w", Some(&long))).await.expect("registered");
    let cut = paused().await.expect("paused");
    assert!(cut.len() <= limits::PAUSED + '…'.len_utf8() && cut.starts_with('ä'), "{}", cut.len());
    engine.workers().heartbeat(&id, None).await.expect("known");
    assert_eq!(paused().await, None, "though it was seen just before");
    engine.workers().heartbeat(&id, Some("its disk is full".to_owned())).await.expect("known");
    assert_eq!(paused().await.as_deref(), Some("its disk is full"));
    assert!(engine.claims().claim(claim("w", false)).await.expect("answered").is_none());
    assert_eq!(paused().await, None, "a paused worker doesn't claim");
}

#[tokio::test]
async fn one_token_can_not_have_more_workers_than_the_limit() {
    let (engine, clock) = common::engine();
    let token = engine.tokens().create(token("ci")).await.expect("made").token;
    let ci = engine.acting_for(engine.tokens().grant_of(&token).await.expect("good"));
    ci.workers().register(register("w0", None)).await.expect("registered");
    let one = worker(&engine, "w0").await;
    for n in 1..limits::WORKERS_PER_TOKEN - 1 {
        let other = WorkerRecord { id: format!("w{n}").parse().expect("an id"), ..one.clone() };
        engine.ports().put_worker(other).await.expect("stored");
    }
    clock.advance(Duration::from_secs(61));
    ci.workers().register(register("last", None)).await.expect("at the limit");
    let error = ci.claims().claim(claim("more", false)).await.expect_err("one too many").to_string();
    assert!(error.contains("10001") && error.contains("at most 10000") && error.contains("`ci`"), "{error}");
    ci.workers().register(register("w0", None)).await.expect("a known one");
    engine.workers().register(register("more", None)).await.expect("another caller's");
}

fn token(name: &str) -> NewToken {
    NewToken { name: name.parse().expect("a name"), permissions: Permissions::all(), expires_in_secs: 3600 }
}

#[tokio::test]
async fn worker_record_is_read_again_after_half_a_minute_and_not_before() {
    let (engine, clock) = common::engine();
    let claim_now = async || engine.claims().claim(claim("w", false)).await.expect("answered");
    let id = "w".parse().expect("an id");
    let is_stored = async || engine.ports().worker(&id, engine.now()).await.expect("read").is_some();
    claim_now().await;
    // Removed by another process.
    engine.ports().remove_worker(&id).await.expect("memory answers");
    clock.advance(HEARD_EVERY.saturating_sub(Duration::from_millis(1)));
    claim_now().await;
    assert!(!is_stored().await, "a claim doesn't write the record each time");
    clock.advance(Duration::from_millis(1));
    claim_now().await;
    assert!(is_stored().await);
    let seen = worker(&engine, "w").await.last_seen;
    assert_eq!(seen, engine.now());
}

#[tokio::test]
async fn worker_that_only_claims_stays_online() {
    let (engine, clock) = common::engine();
    for _ in 0..10 {
        engine.claims().claim(claim("w", false)).await.expect("answered");
        clock.advance(limits::WORKER_SILENCE / 3);
    }
    let seen = engine.now().since(worker(&engine, "w").await.last_seen);
    assert!(seen < limits::WORKER_SILENCE, "seen {seen:?} ago");
}
