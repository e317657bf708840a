//! Workers and pools: what their records cost, and what the lists show.

use std::time::Duration;

use engine::access::Grant;
use engine::ports::{Consistency, HEARD_EVERY, WorkerRegistry};
use engine::{Engine, EngineError};
use protocol::access::{Allowed, NewToken, Permissions};
use protocol::requests::{Register, Transport};
use protocol::wire::{PoolInfo, WorkerStatus};
use protocol::{Label, LabelSet, TokenName, limits};
use serde_json::json;

use crate::common::StoppedClock;
use crate::store::Watched;
use crate::{ONE, World, claim_of, engine, ready, ready_on};

fn labels(text: &str) -> LabelSet {
    LabelSet::from_comma_separated(text).expect("labels")
}

/// The engine for the caller with a new token of this name, which allows these labels.
async fn with_token(engine: &Engine<Watched>, name: &str, allowed: &str, exclusive: bool) -> Engine<Watched> {
    let allowed: Vec<Label> = labels(allowed).iter().cloned().collect();
    let new = NewToken {
        name: TokenName::new(name).expect("a name"),
        permissions: Permissions {
            labels: Allowed::Only(allowed.into_iter().collect()),
            exclusive,
            ..Permissions::all()
        },
        expires_in_secs: 10_000_000,
    };
    let text = engine.tokens().create(new).await.expect("made").token;
    let grant: Grant = engine.tokens().grant_of(&text).await.expect("good");
    engine.acting_for(grant)
}

fn register(worker: &str, has: &str, more: &serde_json::Value) -> Register {
    let mut text = json!({ "worker_id": worker, "labels": labels(has) });
    text.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    serde_json::from_value(text).expect("a registration")
}

async fn listed(engine: &Engine<Watched>, worker: &str) -> protocol::wire::WorkerInfo {
    let all = engine.workers().list().await.expect("answered");
    all.into_iter().find(|info| info.worker_id.as_str() == worker).expect("listed")
}

#[tokio::test]
async fn labels_that_a_token_does_not_allow_are_refused_and_named() {
    let (engine, _) = engine();
    let caller = with_token(&engine, "staging", "staging,gpu", false).await;
    let registration = register("w", "gpu,production", &json!({}));
    let errors = [
        caller.workers().register(registration).await.map(drop).expect_err("not allowed"),
        caller
            .claims()
            .claim(protocol::requests::Claim { labels: labels("gpu,production"), ..claim_of("w") })
            .await
            .map(drop)
            .expect_err("not allowed"),
    ];
    for error in errors {
        let EngineError::LabelsNotAllowed { refused, allowed } = error else { panic!("{error}") };
        assert_eq!((refused, allowed.as_str()), (labels("production"), "gpu,staging"));
    }
}

#[tokio::test]
async fn only_a_worker_that_polls_queues_is_given_those_of_the_pools_it_may_serve() {
    let yaml = "jobs: {a: {run: x, labels: gpu}, b: {run: x, labels: arm}, c: {run: x}}";
    let world = ready_on(Watched::with_queues(), yaml).await;
    let queues = async |engine: &Engine<Watched>, exclusive: bool, transport: &str| {
        let more = json!({ "transport": transport, "exclusive": exclusive });
        let registered = engine.workers().register(register("w", "gpu", &more)).await.expect("registered");
        let mut queues: Vec<_> = registered.queues.iter().map(|queue| queue.labels.to_string()).collect();
        queues.sort();
        queues
    };
    let plain = &world.engine;
    assert_eq!(queues(plain, false, "http").await, Vec::<String>::new());
    assert_eq!(queues(plain, false, "sqs").await, ["", "gpu"]);
    assert_eq!(queues(plain, true, "sqs").await, ["gpu"]);
    let beaten = plain.workers().heartbeat(&"w".parse().expect("an id"), None).await.expect("registered");
    assert_eq!(beaten.queues.len(), 1, "the registration holds for heartbeats");
    let stored = plain
        .ports()
        .worker(&"w".parse().expect("an id"), plain.now(), Consistency::Strong)
        .await
        .expect("read")
        .expect("kept");
    assert_eq!((stored.transport, stored.exclusive), (Transport::Sqs, true));
    let exclusive = with_token(plain, "e", "gpu", true).await;
    assert_eq!(queues(&exclusive, false, "sqs").await, ["gpu"]);
}

#[tokio::test]
async fn exclusive_is_stored_if_the_worker_or_its_token_says_so() {
    let (engine, _) = engine();
    let token = with_token(&engine, "e", "gpu", true).await;
    for (caller, says, stored) in [(&engine, false, false), (&engine, true, true), (&token, false, true)] {
        let id = format!("w-{says}-{stored}");
        caller.workers().register(register(&id, "gpu", &json!({ "exclusive": says }))).await.expect("registered");
        let worker =
            engine.ports().worker(&id.parse().expect("an id"), engine.now(), Consistency::Strong).await.expect("read");
        assert_eq!(worker.expect("kept").exclusive, stored, "{id}");
    }
}

#[tokio::test]
async fn id_of_a_worker_without_a_token_is_free_for_others_after_its_silence() {
    for (silence, free) in
        [(limits::WORKER_SILENCE.saturating_sub(Duration::from_millis(1)), false), (limits::WORKER_SILENCE, true)]
    {
        let (engine, clock) = engine();
        let caller = with_token(&engine, "staging", "staging", false).await;
        engine.workers().register(register("w", "production", &json!({}))).await.expect("registered");
        clock.advance(silence);
        let taken = caller.workers().register(register("w", "staging", &json!({}))).await;
        assert_eq!(taken.is_ok(), free, "{silence:?}");
    }
}

#[tokio::test]
async fn worker_that_registers_again_was_seen_then() {
    let (engine, clock) = engine();
    for _ in 0..2 {
        engine.workers().register(register("w", "gpu", &json!({}))).await.expect("registered");
        assert_eq!(listed(&engine, "w").await.last_heartbeat_ms, engine.now());
        clock.advance(Duration::from_hours(1));
    }
}

#[tokio::test]
async fn claims_of_one_kind_are_told_apart_by_exclusive_from_the_claim_or_the_record() {
    let (engine, _) = engine();
    engine.workers().register(register("e", "", &json!({ "exclusive": true }))).await.expect("registered");
    engine.workers().register(register("p", "", &json!({}))).await.expect("registered");
    let kind = async |worker: &str, exclusive| {
        engine.workers().claim_kind(&worker.parse().expect("an id"), exclusive).await.expect("answered")
    };
    let exclusive = kind("unknown", true).await;
    assert_eq!([kind("e", false).await, kind("p", true).await], [exclusive.clone(), exclusive.clone()]);
    assert_ne!(kind("p", false).await, exclusive);
}

#[tokio::test]
async fn claims_with_a_token_write_the_workers_record_once_in_half_a_minute() {
    let world = ready(ONE).await;
    let caller = with_token(&world.engine, "t", "", false).await;
    let claim = async || drop(caller.claims().claim(claim_of("w")).await.expect("answered"));
    claim().await;
    world.store().forget_calls();
    world.clock.advance(HEARD_EVERY.saturating_sub(Duration::from_millis(1)));
    claim().await;
    assert_eq!((world.store().calls("worker"), world.store().calls("put_worker")), (0, 0));
    world.clock.advance(Duration::from_millis(1));
    claim().await;
    assert_eq!(world.store().calls("put_worker"), 1);
}

/// A job with label `gpu` runs on `busy`; two more are ready. `idle` and `paused` could run them.
async fn busy() -> (World, std::sync::Arc<StoppedClock>) {
    let world =
        ready("jobs: {a: {run: x, labels: gpu}, b: {run: x, labels: gpu}, c: {run: x, labels: gpu}, d: {run: x}}")
            .await;
    for (worker, has, more) in [
        ("busy", "gpu", &json!({})),
        ("idle", "gpu", &json!({})),
        ("paused", "gpu", &json!({ "paused": "disk" })),
        ("plain", "", &json!({})),
    ] {
        world.engine.workers().register(register(worker, has, more)).await.expect("registered");
    }
    for _ in 0..2 {
        let claim = protocol::requests::Claim {
            labels: labels("gpu"),
            exclusive: true,
            lease_ttl_secs: 120,
            ..claim_of("busy")
        };
        world.engine.claims().claim(claim).await.expect("answered").expect("ready");
    }
    let clock = world.clock.clone();
    (world, clock)
}

async fn gpu_pool(world: &World) -> PoolInfo {
    let pools = world.engine.workers().pools().await.expect("answered");
    let pools = world.engine.workers().count_pools(pools).await.expect("answered");
    pools.into_iter().find(|pool| pool.labels == labels("gpu")).expect("listed")
}

#[tokio::test]
async fn pool_shows_its_running_and_waiting_jobs_and_the_workers_that_could_run_them() {
    let (world, clock) = busy().await;
    let pool = gpu_pool(&world).await;
    assert_eq!((pool.running, pool.waiting, pool.workers_online), (2, 1, 2), "a paused worker does not count");
    clock.advance(limits::WORKER_SILENCE.saturating_sub(Duration::from_millis(1)));
    assert_eq!(gpu_pool(&world).await.workers_online, 2);
    clock.advance(Duration::from_millis(1));
    assert_eq!(gpu_pool(&world).await.workers_online, 1, "silent workers are online while they hold a lease");
    clock.advance(Duration::from_mins(2).saturating_sub(limits::WORKER_SILENCE));
    let pool = gpu_pool(&world).await;
    assert_eq!((pool.running, pool.workers_online), (0, 0), "at the end of the lease");
}

#[tokio::test]
async fn worker_is_busy_until_its_lease_ends_and_idle_until_it_is_silent() {
    let (world, clock) = busy().await;
    let status = async |worker: &str| listed(&world.engine, worker).await.status;
    assert_eq!([status("busy").await, status("idle").await], [WorkerStatus::Busy, WorkerStatus::Idle]);
    clock.advance(limits::WORKER_SILENCE.saturating_sub(Duration::from_millis(1)));
    assert_eq!([status("busy").await, status("idle").await], [WorkerStatus::Busy, WorkerStatus::Idle]);
    clock.advance(Duration::from_millis(1));
    assert_eq!([status("busy").await, status("idle").await], [WorkerStatus::Busy, WorkerStatus::Offline]);
    clock.advance(Duration::from_mins(2).saturating_sub(limits::WORKER_SILENCE));
    assert_eq!(status("busy").await, WorkerStatus::Offline);
}
