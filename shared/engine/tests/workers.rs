//! Tests of worker records: registrations, claims and heartbeats.

use std::time::Duration;

use common::World;
use engine::ports::{Consistency, HEARD_EVERY, WorkerRecord, WorkerRegistry};
use engine::{Engine, Tuning};
use memory::Memory;
use protocol::access::{NewToken, Permissions};
use protocol::requests::{Claim, Fail, FailCause, Register, Transport};
use protocol::wire::WorkerStatus;
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
    let kept = worker(&engine, "w").await;
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
    let (id, how) = (id.parse().expect("an id"), Consistency::Strong);
    engine.ports().worker(&id, engine.now(), how).await.expect("read").expect("known")
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
async fn one_token_can_not_have_more_workers_than_the_limit_and_no_more_are_listed() {
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
    engine.workers().register(register("even-more", None)).await.expect("another caller's");
    assert_eq!(engine.workers().list().await.expect("listed").len(), limits::WORKERS_LISTED);
}

fn token(name: &str) -> NewToken {
    NewToken { name: name.parse().expect("a name"), permissions: Permissions::all(), expires_in_secs: 3600 }
}

#[tokio::test]
async fn worker_record_is_read_again_after_half_a_minute_and_not_before() {
    let (engine, clock) = common::engine();
    let claim_now = async || engine.claims().claim(claim("w", false)).await.expect("answered");
    let id = "w".parse().expect("an id");
    let stored = async || engine.ports().worker(&id, engine.now(), Consistency::Strong).await.expect("read");
    let is_stored = async || stored().await.is_some();
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

#[tokio::test]
async fn worker_is_busy_until_its_job_ends_is_given_back_or_loses_its_lease() {
    let world = World::ready("jobs: {a: {run: x, retries: 3}}").await;
    let shown = async || {
        let workers = world.engine.workers();
        let worker = workers.list().await.expect("listed").remove(0);
        let pools = workers.count_pools(workers.pools().await.expect("listed")).await.expect("counted");
        (worker.current_job.map(|job| job.to_string()), worker.status, pools[0].running)
    };
    let (idle, busy) = ((None, WorkerStatus::Idle, 0), (Some("a".to_owned()), WorkerStatus::Busy, 1));
    let claimed = world.claim("w").await.expect("a job");
    assert_eq!(shown().await, busy);
    world.fail(&claimed, true).await.expect("accepted");
    assert_eq!(shown().await, idle, "although the job is tried again");

    let claimed = world.claim("w").await.expect("the job again");
    assert_eq!(shown().await, busy);
    let back = Fail { error: "no disk".into(), retryable: true, exit_code: None, cause: Some(FailCause::Worker) };
    world.engine.reports().fail(&claimed.lease.lease_id.0, back).await.expect("accepted");
    assert_eq!(shown().await, idle, "given back");

    world.clock.advance(limits::RETURN_PAUSE);
    let claimed = world.claim("w").await.expect("the job again");
    world.clock.advance(Duration::from_secs(29));
    assert_eq!(shown().await, busy, "the lease is valid");
    world.engine.reports().heartbeat(&claimed.lease.lease_id.0).await.expect("held");
    world.clock.advance(Duration::from_secs(29));
    assert_eq!(shown().await, busy, "the lease was renewed");
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(shown().await, idle, "the worker died");
    world.clock.advance(limits::WORKER_SILENCE);
    assert_eq!(shown().await, (None, WorkerStatus::Offline, 0));
}

#[tokio::test]
async fn other_processes_see_what_a_worker_runs_within_ten_seconds_of_a_claim_or_from_a_heartbeat_on() {
    let jobs = (0..4).map(|n| format!("j{n}: {{run: x}}")).collect::<Vec<_>>().join(", ");
    let world = World::ready(&format!("jobs: {{{jobs}}}")).await;
    // Another process on the same store has caches of its own.
    let other = world.engine.clone().with_tuning(Tuning::default());
    let running = async || {
        let listed = other.workers().list().await.expect("listed");
        listed.into_iter().filter_map(|worker| worker.current_job).map(|job| job.to_string()).collect::<Vec<_>>()
    };
    let first = world.claim("w").await.expect("a job");
    assert_eq!(running().await, [first.job.job_id.to_string()], "a claim writes the job into the worker's record");
    world.complete(&first).await.expect("accepted");
    let second = world.claim("w").await.expect("a job");
    assert_eq!(running().await, [first.job.job_id.to_string()], "the next job within ten seconds costs no write");
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(running().await, Vec::<String>::new(), "a job that has ended is not shown for longer");
    other.reports().heartbeat(&second.lease.lease_id.0).await.expect("held");
    assert_eq!(running().await, [second.job.job_id.to_string()], "a heartbeat names the job");
    world.complete(&second).await.expect("accepted");
    let third = world.claim("w").await.expect("a job");
    assert_eq!(running().await, [third.job.job_id.to_string()]);
}

#[tokio::test]
async fn job_that_went_to_another_worker_is_shown_with_that_one_only() {
    let world = World::ready("jobs: {a: {run: x, retries: 3}}").await;
    let first = world.claim("first").await.expect("a job");
    world.clock.advance(Duration::from_secs(31));
    world.engine.scheduling().run_timers().await.expect("the lease is over");
    let second = world.claim("second").await.expect("the job again");
    let other = world.engine.clone().with_tuning(Tuning::default());
    let busy = async || {
        let listed = other.workers().list().await.expect("listed");
        let busy = listed.into_iter().filter(|worker| worker.current_job.is_some());
        let pools = other.workers().count_pools(other.workers().pools().await.expect("listed")).await.expect("counted");
        (busy.map(|worker| worker.worker_id.to_string()).collect::<Vec<_>>(), pools[0].running)
    };
    assert_eq!(busy().await, (vec!["second".to_owned()], 1));
    world.clock.advance(Duration::from_secs(20));
    assert_eq!(busy().await, (vec!["second".to_owned()], 1));
    assert!(world.complete(&first).await.is_err());
    world.complete(&second).await.expect("accepted");
    assert_eq!(busy().await, (Vec::new(), 0));
}

#[tokio::test]
async fn worker_with_a_long_lease_is_shown_with_its_job_without_any_heartbeat() {
    let world = World::ready("jobs: {a: {run: x}, b: {run: x}}").await;
    let long = |lease_ttl_secs| Claim { lease_ttl_secs, ..claim("w", false) };
    world.engine.claims().claim(long(30)).await.expect("answered").expect("a job");
    let held = world.engine.claims().claim(long(43_200)).await.expect("answered").expect("a job");
    world.clock.advance(Duration::from_hours(11));
    let other = world.engine.clone().with_tuning(Tuning::default());
    let listed = other.workers().list().await.expect("listed").remove(0);
    assert_eq!((listed.current_job, listed.status), (Some(held.job.job_id), WorkerStatus::Busy));
}

#[tokio::test]
async fn waiting_jobs_of_a_pool_are_counted_up_to_a_limit() {
    let jobs: Vec<String> = (0..limits::JOBS).map(|n| format!("j{n}: {{run: x}}")).collect();
    let world = World::ready(&format!("jobs: {{{}}}", jobs.join(", "))).await;
    world.send_batch().await;
    let counted = async || {
        let workers = world.engine.workers();
        let pool = workers.count_pools(workers.pools().await.expect("listed")).await.expect("counted").remove(0);
        (pool.waiting, pool.waiting_is_capped)
    };
    assert_eq!(counted().await, (limits::WAITING_COUNTED as u64, true));
    world.claim("w").await.expect("a job");
    assert_eq!(counted().await, (limits::WAITING_COUNTED as u64 - 1, false));
}
