//! What a claim costs doesn't grow with the jobs that wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::Engine;
use engine::ids::{JobKey, PoolId, RunKey};
use engine::job::{JobRecord, JobSettings, JobSpec, Phase};
use engine::ports::{Commit, Committed, NewItem, Pool, RunStore, WorkerRegistry};
use engine::run::WorkflowRecord;
use protocol::requests::Claim;
use protocol::{JobId, LabelSet, Millis, WorkerId, WorkflowId};

use super::examined::steps;
use super::reads::open_control;
use crate::store::Sqlite;

const POOLS: u32 = 50;
const CLAIMS: u32 = 20;

fn labels(text: &str) -> LabelSet {
    LabelSet::from_comma_separated(text).expect("labels")
}

fn labels_of(pool: u32) -> LabelSet {
    labels(&format!("pool-{pool}"))
}

fn run_key() -> RunKey {
    RunKey::new([7; 16])
}

/// Puts as many jobs in each pool's ready list.
async fn fill(store: &Sqlite, from: &mut u32, jobs: impl Fn(u32) -> u32) {
    let spec = |labels: &LabelSet| JobSpec {
        settings: JobSettings { labels: labels.clone(), ..JobSettings::new("job", "true") },
        needs: Vec::new(),
        dependents: Vec::new(),
        conditional: Vec::new(),
        position: 0,
    };
    let mut items = Vec::new();
    for pool in 0..POOLS {
        let labels = labels_of(pool);
        for n in 0..jobs(pool) {
            let at = Millis(1000 + u64::from(n));
            let id = JobId::new(format!("job-{from}")).expect("an id");
            let phase = Phase::Ready { at, until: None };
            items.push(NewItem::Job(Box::new(JobRecord {
                pool: PoolId::of(&labels),
                spec: Some(Arc::new(spec(&labels))),
                ready_at: Some(at),
                ..JobRecord::first(JobKey::new(&run_key(), *from), id, phase)
            })));
            *from += 1;
        }
    }
    for some in items.chunks(1000) {
        store.put_new(some.to_vec()).await.expect("written");
    }
}

async fn open_run(store: &Sqlite) {
    let workflow = WorkflowRecord {
        id: WorkflowId::new("wf-claims").expect("an id"),
        name: "claims".to_owned(),
        trigger: "manual".to_owned(),
        created_at: Millis(1000),
        run: run_key(),
        number: 1,
        ended: None,
        source: None,
    };
    let control = open_control(&workflow, 100_000);
    let commit = Commit { workflow, replaces: None, control, idempotency: None };
    assert_eq!(store.commit(commit).await.expect("written"), Committed::Yes);
    store.add_pools((0..POOLS).map(|pool| Pool::of(labels_of(pool))).collect(), Millis::now()).await.expect("written");
}

/// Claims some jobs; the steps of each claim, the fewest and the most, and the median of the times.
async fn claims(engine: &Engine<Sqlite>, worker: &str, labels: &LabelSet) -> (u64, u64, Duration) {
    let request = || Claim {
        worker_id: WorkerId::new(worker).expect("an id"),
        labels: labels.clone(),
        lease_ttl_secs: 30,
        ..serde_json::from_str(r#"{"worker_id":"w","labels":[],"lease_ttl_secs":30}"#).expect("a claim")
    };
    // The first registers the worker.
    engine.claims().claim(request()).await.expect("answered").expect("a job");
    let (mut fewest, mut most, mut times) = (u64::MAX, 0, Vec::new());
    for _ in 0..CLAIMS {
        steps();
        let began = Instant::now();
        engine.claims().claim(request()).await.expect("answered").expect("a job");
        times.push(began.elapsed());
        let taken = steps();
        fewest = fewest.min(taken);
        most = most.max(taken);
    }
    times.sort();
    (fewest, most, times[times.len() / 2])
}

/// In memory, all statements run on this thread, so that what they examine can be counted.
#[tokio::test]
async fn a_claim_examines_the_same_number_of_rows_with_100_and_with_100_000_waiting_jobs() {
    let engine = Engine::new(Sqlite::in_memory());
    let (one, all) = (labels_of(0), labels(&(0..POOLS).map(|n| format!("pool-{n}")).collect::<Vec<_>>().join(",")));
    open_run(engine.ports()).await;
    let mut next = 0;
    let mut examined = Vec::new();
    // Each time one pool has enough that the claims don't empty it.
    let rounds: [(u32, &dyn Fn(u32) -> u32); 3] =
        [(100, &|pool| if pool == 0 { 51 } else { 1 }), (10_000, &|_| 198), (100_000, &|_| 1_800)];
    for (waiting, jobs) in rounds {
        fill(engine.ports(), &mut next, jobs).await;
        for (pools, labels) in [(1, &one), (POOLS, &all)] {
            let (fewest, most, time) = claims(&engine, &format!("worker-{pools}"), labels).await;
            println!(
                "{waiting:6} jobs wait in {POOLS} pools, the worker covers {pools:2}: {fewest} to {most} steps, {time:?}"
            );
            examined.push((waiting, pools, most));
        }
    }
    let of = |waiting, pools| {
        examined.iter().find(|entry| (entry.0, entry.1) == (waiting, pools)).expect("it was measured").2
    };
    assert_eq!(of(100, 1), of(100_000, 1), "one pool of 50");
    assert_eq!(of(10_000, POOLS), of(100_000, POOLS), "all pools, each with more than a read gives");
}

#[tokio::test]
async fn claim_examines_no_pool_without_ready_jobs() {
    let engine = Engine::new(Sqlite::in_memory());
    open_run(engine.ports()).await;
    fill(engine.ports(), &mut 0, |pool| if pool == 0 { 60 } else { 1 }).await;
    let (_, before, _) = claims(&engine, "worker", &labels_of(0)).await;
    let unused = (0..2000).map(|n| Pool::of(labels(&format!("unused-{n}")))).collect();
    engine.ports().add_pools(unused, Millis::now()).await.expect("written");
    let (_, after, _) = claims(&engine, "worker", &labels_of(0)).await;
    assert_eq!(after, before);
}

#[tokio::test]
async fn claim_examines_no_pool_whose_first_label_the_worker_lacks() {
    let engine = Engine::new(Sqlite::in_memory());
    open_run(engine.ports()).await;
    let mut next = 0;
    fill(engine.ports(), &mut next, |pool| if pool == 0 { 60 } else { 0 }).await;
    let (_, before, _) = claims(&engine, "worker", &labels_of(0)).await;
    fill(engine.ports(), &mut next, |pool| u32::from(pool != 0)).await;
    let (_, after, _) = claims(&engine, "worker", &labels_of(0)).await;
    // Each of the 49 pools would take more steps than that.
    assert!(after.abs_diff(before) < 10, "{before} steps, then {after}");
}
