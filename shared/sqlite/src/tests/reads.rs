//! What a status of a waiting run, a list of pools and a list of workers cost doesn't grow with the open runs.

use std::sync::Arc;

use engine::Engine;
use engine::ids::{JobKey, PoolId, RunKey};
use engine::job::{JobRecord, JobSettings, JobSpec, Phase};
use engine::ports::{Commit, Committed, NewItem, Pool, RunStore, WorkerRegistry};
use engine::run::{Control, RunState, Timer, WorkflowRecord};
use protocol::{JobId, LabelSet, Millis, WorkflowId};

use super::examined::steps;
use crate::store::Sqlite;

/// The control record of a workflow's open first run with so many jobs.
pub(super) fn open_control(workflow: &WorkflowRecord, jobs: u32) -> Control {
    Control {
        run: workflow.run.clone(),
        workflow: workflow.id.clone(),
        number: workflow.number,
        jobs,
        state: RunState::Open,
        done_below: 0,
        failed: false,
        cancelled: false,
        opened_at: Some(Millis(1000)),
        group: None,
        blocked_at: None,
        opener: None,
        report: None,
        superseded: false,
        timer: Timer::Firing,
    }
}

/// An open run of this workflow with one job in each phase.
pub(super) async fn open(store: &Sqlite, n: u32, phases: Vec<Phase>) -> WorkflowId {
    let mut random = [0; 16];
    random[..4].copy_from_slice(&n.to_be_bytes());
    let workflow = WorkflowRecord {
        id: WorkflowId::new(format!("wf-{n}")).expect("an id"),
        name: "open".to_owned(),
        trigger: "manual".to_owned(),
        created_at: Millis(1000),
        run: RunKey::new(random),
        number: 1,
        ended: None,
        source: None,
    };
    let control = open_control(&workflow, u32::try_from(phases.len()).expect("few"));
    let (id, run) = (workflow.id.clone(), workflow.run.clone());
    let spec = JobSpec {
        settings: JobSettings::new("job", "true"),
        needs: Vec::new(),
        dependents: Vec::new(),
        conditional: Vec::new(),
        position: 0,
    };
    let job = |(index, phase): (u32, Phase)| {
        let id = JobId::new(format!("job-{index}")).expect("an id");
        NewItem::Job(Box::new(JobRecord {
            pool: PoolId::of(&LabelSet::default()),
            spec: Some(Arc::new(spec.clone())),
            ready_at: Some(Millis(1000)),
            ..JobRecord::first(JobKey::new(&run, index), id, phase)
        }))
    };
    store.put_new((0..).zip(phases).map(job).collect()).await.expect("written");
    let commit = Commit { workflow, replaces: None, control, idempotency: None };
    assert_eq!(store.commit(commit).await.expect("written"), Committed::Yes);
    id
}

/// Steps of a status, of a list of pools and of a list of workers.
async fn steps_of_reads(engine: &Engine<Sqlite>, id: &WorkflowId) -> [u64; 3] {
    steps();
    let workflow = engine.queries().workflow(id).await.expect("answered");
    assert_eq!(workflow.jobs.iter().filter_map(|job| job.waiting_for.as_ref()?.busy).collect::<Vec<_>>(), [1]);
    let status = steps();
    let pools = engine.workers().pools().await.expect("answered");
    let pools = engine.workers().count_pools(pools).await.expect("answered");
    assert_eq!(pools.iter().map(|pool| (pool.waiting, pool.running)).collect::<Vec<_>>(), [(1, 1)]);
    let pools = steps();
    assert!(engine.workers().list().await.expect("answered")[0].current_job.is_some());
    [status, pools, steps()]
}

/// In memory, all statements run on this thread, so that what they examine can be counted.
#[tokio::test]
async fn reads_of_what_waits_examine_as_many_rows_with_500_open_runs_as_with_one_other() {
    let engine = Engine::new(Sqlite::in_memory());
    let store = engine.ports();
    let ready = || Phase::Ready { at: Millis(1000), until: None };
    let id = open(store, 0, vec![ready(), ready()]).await;
    store.add_pools(vec![Pool::of(LabelSet::default())], Millis::now()).await.expect("written");
    let claim = serde_json::from_str(r#"{"worker_id":"w","labels":[],"lease_ttl_secs":30}"#).expect("a claim");
    engine.claims().claim(claim).await.expect("answered").expect("a job");
    let waiting = || vec![Phase::Waiting { on: [7].into() }; 3];
    // A read of a run's jobs ends at the next run, so there is one.
    open(store, 1, waiting()).await;
    let with_one = steps_of_reads(&engine, &id).await;
    for n in 2..=500 {
        open(store, n, waiting()).await;
    }
    let with_many = steps_of_reads(&engine, &id).await;
    println!("steps of a status, of a list of pools and of a list of workers: {with_one:?}");
    assert_eq!(with_many, with_one);
}
