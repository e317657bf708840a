//! Tests of what the promises cost and how exact they are: the size of records, shards, times of leases, and writes of a step.

use std::time::Duration;

use common::World;
use engine::ids::RunKey;
use engine::job::JobRecord;
use engine::plan::{planned, records};
use engine::ports::NewItem;
use engine::{Engine, Tuning};
use protocol::{Millis, limits};
use workflow::from_yaml;

mod common;

/// The records of a job `end` with this many needs, and shards of three.
fn with_needs(count: usize) -> (JobRecord, Vec<usize>) {
    let needs: Vec<String> = (0..count).map(|n| format!("n{n}")).collect();
    let jobs: String = needs.iter().map(|need| format!("  {need}: {{run: x}}\n")).collect();
    let yaml = format!("jobs:\n{jobs}  end: {{run: x, needs: [{}]}}\n", needs.join(", "));
    let jobs = planned(&from_yaml(&yaml).expect("a definition"));
    let items = records(&RunKey::new([0; 16]), &jobs, 3, Millis(0));
    let mut shards = Vec::new();
    let mut end = None;
    for item in items {
        match item {
            NewItem::WaitShard(_, _, members) => shards.push(members.len()),
            NewItem::Job(job) if job.id.as_str() == "end" => end = Some(*job),
            _ => {}
        }
    }
    (end.expect("a job `end`"), shards)
}

#[test]
fn a_job_stores_its_needs_in_shards_only_above_the_size_of_a_shard() {
    let (job, shards) = with_needs(3);
    assert_eq!((job.sharded, shards), (false, Vec::new()));
    let (job, shards) = with_needs(4);
    assert_eq!((job.sharded, shards), (true, vec![3, 1]));
}

#[test]
fn defaults_are_not_stored() {
    let (job, _) = with_needs(1);
    let stored = serde_json::to_value(&job).expect("a record is JSON");
    for field in ["has_secrets", "limits", "used", "failed", "next"] {
        assert!(stored.get(field).is_none(), "{field} in {stored}");
    }
    let mut tried = job;
    tried.used.lost = 1;
    tried.limits.timeout = Some(60);
    let stored = serde_json::to_value(&tried).expect("a record is JSON");
    assert_eq!(stored["used"], serde_json::json!({ "lost": 1 }), "{stored}");
    assert_eq!(serde_json::from_value::<JobRecord>(stored).expect("it reads back"), tried);
}

#[tokio::test]
async fn a_lease_says_when_it_was_granted_and_renewed() {
    let world = World::started("jobs: {build: {run: x}}").await;
    world.tell(&world.events()).await;
    world.clock.advance(Duration::from_secs(7));
    let before = world.engine.now();
    let claimed = world.claim("w").await.expect("a job");
    assert!((before..=world.engine.now()).contains(&claimed.lease.granted_at_ms), "{:?}", claimed.lease);
    world.clock.advance(Duration::from_secs(5));
    let before = world.engine.now();
    let beat = world.engine.reports().heartbeat(&claimed.lease.lease_id.0).await.expect("a live lease");
    assert!((before..=world.engine.now()).contains(&beat.lease.granted_at_ms), "{:?}", beat.lease);
}

#[tokio::test]
async fn a_batch_step_makes_no_more_writes_than_it_may() {
    let (engine, clock) = common::engine();
    let engine: Engine<_> = engine.with_tuning(Tuning { batch_writes: 3, ..Tuning::default() });
    let yaml = "jobs: {a: {run: x}, b: {run: x}, c: {run: x}, d: {run: x}, e: {run: x}, f: {run: x}, g: {run: x}}";
    let world = World::started_on(engine, clock, yaml).await;
    let ready = async || world.engine.workers().pools().await.expect("memory answers")[0].waiting;
    world.tell(&world.events()).await;
    assert_eq!(ready().await, 3);
    let next = world.engine.ports().next_batch().expect("the next step");
    world.engine.scheduling().run_batch(next).await.expect("memory answers");
    assert_eq!(ready().await, 6);
}

#[tokio::test]
async fn a_worker_that_only_claims_stays_online() {
    let world = World::started("jobs: {build: {run: x, labels: gpu}}").await;
    world.tell(&world.events()).await;
    for _ in 0..10 {
        world.claim("w").await;
        world.clock.advance(limits::WORKER_SILENCE / 3);
    }
    let workers = world.engine.workers().list().await.expect("memory answers");
    let seen = world.engine.now().since(workers[0].last_heartbeat_ms);
    assert!(seen < limits::WORKER_SILENCE, "seen {seen:?} ago");
}
