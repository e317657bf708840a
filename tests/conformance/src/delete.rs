//! Checks of the deletion of workflows and runs.

use std::sync::Arc;

use engine::ids::{JobKey, PoolId, RunKey};
use engine::job::{Change, JobRecord};
use engine::ports::{Commit, Committed, Consistency, ListCursor, NewItem, Ports};
use engine::run::{RunEnd, RunState, WorkflowRecord};
use futures::future::try_join_all;
use protocol::requests::LogPiece;
use protocol::wire::Stream;
use protocol::{LabelSet, Millis, Outputs, Status};

use crate::fixture::{
    NOW, become_ready, change, commit_new, control_now, control_of, eventually, fresh_labels, fresh_run, job_now,
    lease, new_workflow, outputs_of, put_jobs, secs, source, spec, try_again, waiting, workflow_now,
};

/// Deletes the control record too, and the entry in the list. Refused if the run is open, or the workflow was changed after it
/// was read.
pub async fn workflow_is_deleted_only_as_read_and_not_while_active<P: Ports + 'static>(ports: Arc<P>) {
    let delete = async |workflow: &WorkflowRecord| ports.delete_workflow(workflow).await.expect("the store answers");
    let there = async |workflow: &WorkflowRecord| {
        let (record, control) = (workflow_now(&*ports, &workflow.id).await, control_now(&*ports, &workflow.run).await);
        assert_eq!(record.is_some(), control.is_some(), "both or none");
        record.is_some()
    };
    let (new, control) = new_workflow(RunState::New);
    assert!(!delete(&new).await, "it isn't there");
    commit_new(&*ports, &new, &control).await;
    let moved = WorkflowRecord { run: fresh_run(), ..new.clone() };
    assert!(!delete(&moved).await, "another run is current");
    assert!(there(&new).await);
    assert!(delete(&new).await);
    assert!(!there(&new).await);
    assert!(!delete(&new).await, "it is gone");
    let here = ListCursor { created_at: new.created_at + secs(1), id: new.id.clone() };
    let listed = async || {
        let page = ports.workflows(Some(&here), 1000).await?;
        Ok(page.iter().any(|workflow| workflow.id == new.id))
    };
    eventually(listed, |listed| !listed).await;

    let (open, control) = new_workflow(RunState::Open);
    commit_new(&*ports, &open, &control).await;
    assert!(!delete(&open).await, "it is open");
    assert!(there(&open).await);
    let end = RunEnd { status: Status::Success, at: NOW };
    let ended = WorkflowRecord { ended: Some(end), ..open.clone() };
    assert!(!delete(&ended).await, "it hasn't ended yet");
    assert!(there(&open).await);
    assert!(ports.end_workflow(&open.id, &open.run, end).await.expect("the store answers"));
    assert!(!delete(&open).await, "it has ended since it was read");
    assert!(there(&open).await);
    let again = WorkflowRecord { run: fresh_run(), number: 2, ..open.clone() };
    let replaces = Commit {
        workflow: again.clone(),
        replaces: Some(open.run.clone()),
        control: control_of(&again, RunState::New),
        idempotency: None,
    };
    assert_eq!(ports.commit(replaces).await.expect("the store answers"), Committed::Yes);
    assert!(!delete(&ended).await, "it was run again since it was read");
    assert!(there(&again).await);
    assert!(ports.end_workflow(&again.id, &again.run, end).await.expect("the store answers"));
    assert!(delete(&WorkflowRecord { ended: Some(end), ..again.clone() }).await);
    assert!(!there(&again).await);
}

/// The number of jobs: enough for several steps.
const JOBS: u32 = 300;

struct Written {
    run: RunKey,
    jobs: Vec<JobRecord>,
    outputs: Outputs,
    log: Vec<LogPiece>,
}

/// Stores a run with jobs, a second attempt of a job, specs, shards, outputs and logs.
async fn written(ports: &impl Ports, labels: &LabelSet) -> Written {
    let run = fresh_run();
    let mut jobs: Vec<_> = (0..JOBS).map(|index| waiting(&run, index, &[], labels)).collect();
    for some in jobs.chunks(25) {
        put_jobs(ports, some).await;
    }
    for index in [3, 280] {
        let ready = change(ports, &jobs[index], become_ready(&jobs[index], NOW)).await;
        let held = change(ports, &ready, Change::Start(lease(1, NOW + secs(30)))).await;
        let again = try_again(&held, NOW);
        jobs[index] = change(ports, &held, again).await;
    }
    let key = |index| JobKey::new(&run, index);
    let items = vec![
        NewItem::Spec(key(7), Box::new(spec(labels))),
        NewItem::WaitShard(key(299), 1, [1, 2].into()),
        NewItem::Definition(run.clone(), source("jobs: {}")),
    ];
    ports.put_new(items).await.expect("the store answers");
    let outputs = outputs_of(&[("big", &"x".repeat(70_000))]);
    ports.put_outputs(&key(3), "large", &outputs).await.expect("the store answers");
    let small = outputs_of(&[("small", "x")]);
    ports.put_outputs(&key(280), "small", &small).await.expect("the store answers");
    let log =
        vec![LogPiece { sequence: 1, data: "a line".to_owned(), timestamp_ms: Millis(5), stream: Stream::Stdout }];
    for (index, attempt) in [(3, 0), (3, 1), (280, 1)] {
        ports.append(&key(index), attempt, log.clone(), 0).await.expect("the store answers");
    }
    Written { run, jobs, outputs, log }
}

/// Counts a run's records: jobs, wait shards, outputs and the definition, log pieces.
async fn left(ports: &impl Ports, written: &Written) -> (usize, usize, usize, usize) {
    let key = |index| JobKey::new(&written.run, index);
    let mut jobs = 0;
    for page in written.jobs.chunks(100) {
        let places: Vec<u32> = page.iter().map(|job| job.key.index).collect();
        let found = ports.jobs_at(&written.run, &places, Consistency::Strong).await.expect("the store answers");
        jobs += found.iter().flatten().count();
    }
    let mut shards =
        ports.wait_shard(&key(299), 1, Consistency::Strong).await.expect("the store answers").members.len();
    shards += usize::from(job_now(ports, &key(7)).await.is_some());
    let mut outputs = 0;
    for (index, id, size) in [(3, "large", 70_012), (280, "small", 13)] {
        let found = ports.outputs(&key(index), id, size, Consistency::Strong).await.expect("the store answers");
        outputs += usize::from(found.is_some());
    }
    outputs += usize::from(ports.definition(&written.run).await.expect("the store answers").is_some());
    let mut logs = 0;
    for (index, attempt) in [(3, 0), (3, 1), (280, 1)] {
        logs += ports.read(&key(index), attempt, None, 1000).await.expect("the store answers").len();
    }
    (jobs, shards, outputs, logs)
}

/// Repeated steps delete jobs, entries of ready lists, shards, outputs and logs, and nothing of another run.
pub async fn deleted_run_leaves_nothing_and_other_runs_stay<P: Ports + 'static>(ports: Arc<P>) {
    let (labels, others) = (fresh_labels(), fresh_labels());
    let (pool, other_pool) = (PoolId::of(&labels), PoolId::of(&others));
    let (gone, stays) = tokio::join!(written(&*ports, &labels), written(&*ports, &others));
    let all = (JOBS as usize, 3, 3, 3);
    assert_eq!(left(&*ports, &gone).await, all);
    let mut steps = 0;
    while ports.delete_some(&gone.run, JOBS).await.expect("the store answers") {
        steps += 1;
        assert!(steps < 100, "it doesn't come to an end");
    }
    assert_eq!(left(&*ports, &gone).await, (0, 0, 0, 0));
    assert_eq!(ports.jobs_from(&gone.run, 0, 1000, Consistency::Strong).await.expect("the store answers"), []);
    eventually(|| ports.ready_count(&pool, 1000), |count| *count == (0, None)).await;
    assert!(!ports.delete_some(&gone.run, JOBS).await.expect("the store answers"), "there is nothing left");

    assert_eq!(left(&*ports, &stays).await, all);
    eventually(|| ports.ready_count(&other_pool, 1000), |count| count.0 == 2).await;
    let key = JobKey::new(&stays.run, 3);
    assert_eq!(job_now(&*ports, &key).await.as_ref(), Some(&stays.jobs[3]));
    let found = ports.outputs(&key, "large", 70_012, Consistency::Strong).await.expect("the store answers");
    assert!(found == Some(stays.outputs));
    assert_eq!(ports.read(&key, 1, None, 1000).await.expect("the store answers"), stays.log);
    while ports.delete_some(&stays.run, JOBS).await.expect("the store answers") {}
}

/// A run that is renewed, because it is started long after its submission, keeps its records as they are.
pub async fn renewed_run_stays_as_it_is<P: Ports + 'static>(ports: Arc<P>) {
    let labels = fresh_labels();
    let written = written(&*ports, &labels).await;
    let (mut workflow, _) = new_workflow(RunState::New);
    workflow.run.clone_from(&written.run);
    let control = control_of(&workflow, RunState::New);
    commit_new(&*ports, &workflow, &control).await;
    let before = left(&*ports, &written).await;
    ports.renew(&workflow, JOBS).await.expect("the store answers");
    assert_eq!(left(&*ports, &written).await, before);
    assert_eq!(workflow_now(&*ports, &workflow.id).await.as_ref(), Some(&workflow));
    assert_eq!(control_now(&*ports, &workflow.run).await, Some(control));
    let key = JobKey::new(&written.run, 3);
    assert_eq!(job_now(&*ports, &key).await.as_ref(), Some(&written.jobs[3]));
    let absent = WorkflowRecord { run: fresh_run(), id: new_workflow(RunState::New).0.id, ..workflow };
    ports.renew(&absent, JOBS).await.expect("the store answers");
    assert_eq!(workflow_now(&*ports, &absent.id).await, None, "nothing is made by it");
    while ports.delete_some(&written.run, JOBS).await.expect("the store answers") {}
}

/// One step deletes a few hundred records at most, also of one long log.
pub async fn step_of_a_deletion_is_bounded<P: Ports + 'static>(ports: Arc<P>) {
    const BATCHES: usize = 700;
    /// The most records of a step.
    const STEP: usize = 500;
    let run = fresh_run();
    let job = waiting(&run, 0, &[], &fresh_labels());
    put_jobs(&*ports, std::slice::from_ref(&job)).await;
    let piece = |sequence| LogPiece { sequence, data: "x".to_owned(), timestamp_ms: NOW, stream: Stream::Stdout };
    for some in (0..BATCHES as u64).collect::<Vec<_>>().chunks(32) {
        let appended = some.iter().map(|sequence| ports.append(&job.key, 0, vec![piece(*sequence)], *sequence));
        try_join_all(appended).await.expect("the store answers");
    }
    let count = async || ports.read(&job.key, 0, None, BATCHES).await.expect("the store answers").len();
    let mut before = count().await;
    assert_eq!(before, BATCHES);
    while ports.delete_some(&run, 1).await.expect("the store answers") {
        let now = count().await;
        assert!(before - now <= STEP, "a step deleted {} records", before - now);
        before = now;
    }
    assert_eq!((count().await, job_now(&*ports, &job.key).await), (0, None));
}
