//! Checks of the port `Local`: the change feed, the queue and the timers of a store in one process.

use std::sync::Arc;

use engine::ids::{GroupKey, JobKey, RunKey};
use engine::job::{Change, Completion, JobOutcome, JobRecord, OutputsRef, Phase};
use engine::messages::ChangeEvent;
use engine::messages::{BatchKind, BatchTask, Reconcile, Work};
use engine::ports::{Commit, Committed, Local, Ports};
use engine::run::{Progress, RunEnd, RunState, RunUpdate, WorkflowRecord};
use protocol::wire::SkippedBecause;
use protocol::{Label, Status};

use crate::fixture::{
    NOW, become_ready, change, commit_new, control_now, control_of, end, fresh_labels, fresh_run, lease, new_workflow,
    outputs_of, put_jobs, secs, try_again, waiting,
};

/// Processes the whole list, and checks that each entry is listed until it is done.
async fn process(ports: &impl Local) -> Vec<Work> {
    let mut all = Vec::new();
    while let Some((number, work)) = ports.next_work().await.expect("the store answers") {
        let again = ports.next_work().await.expect("the store answers");
        assert_eq!(again, Some((number, work.clone())), "the same one until it is done");
        ports.work_done(number).await.expect("the store answers");
        all.push(work);
    }
    all
}

fn ended(job: &JobRecord) -> Work {
    Work::ChangeEvent(ChangeEvent::JobEnded(Box::new(job.clone())))
}

async fn update(ports: &impl Ports, run: &RunKey, update: RunUpdate) -> engine::run::Control {
    ports.update_control(run, update).await.expect("the store answers").record().expect("it is there")
}

/// Events of a run opened at the commit or later, of a cancel, and of every kind of end of a job, each with the record as
/// of then.
pub async fn change_events_are_listed_in_order_until_done<P: Local + 'static>(ports: Arc<P>) {
    assert_eq!(process(&*ports).await, []);
    let (workflow, opened) = new_workflow(RunState::Open);
    commit_new(&*ports, &workflow, &opened).await;
    let (workflow, new) = new_workflow(RunState::New);
    commit_new(&*ports, &workflow, &new).await;
    let opened_later = update(&*ports, &new.run, RunUpdate::Open { at: NOW, opener: 1 }).await;
    let labels = fresh_labels();
    let skipped = waiting(&new.run, 0, &[4], &labels);
    let run = waiting(&new.run, 1, &[], &labels);
    put_jobs(&*ports, &[skipped.clone(), run.clone()]).await;
    let skipped = change(&*ports, &skipped, end(JobOutcome::Skipped(SkippedBecause::Condition))).await;
    let run = change(&*ports, &run, become_ready(&run, NOW)).await;
    let run = change(&*ports, &run, Change::Start(lease(1, NOW))).await;
    let success = end(JobOutcome::Success(OutputsRef::Inline(outputs_of(&[("a", "1\n\"ä\"")]))));
    let run = change(&*ports, &run, success).await;
    let cancelling = update(&*ports, &opened.run, RunUpdate::Cancel { at: NOW }).await;
    let expected = [
        Work::ChangeEvent(ChangeEvent::RunOpened(opened)),
        Work::ChangeEvent(ChangeEvent::RunOpened(opened_later)),
        ended(&skipped),
        ended(&run),
        Work::ChangeEvent(ChangeEvent::RunCancelling(cancelling)),
    ];
    assert_eq!(process(&*ports).await, expected);
    assert_eq!(process(&*ports).await, [], "once done, it is off the list");
    let last = waiting(&new.run, 2, &[], &labels);
    put_jobs(&*ports, std::slice::from_ref(&last)).await;
    let last = change(&*ports, &last, end(JobOutcome::Cancelled)).await;
    assert_eq!(process(&*ports).await, [ended(&last)]);
}

/// New jobs, also those that a re-run keeps; changes that don't end a job; refused updates; progress and the end of a run.
pub async fn updates_without_an_event_are_not_listed<P: Local + 'static>(ports: Arc<P>) {
    let labels = fresh_labels();
    let run = fresh_run();
    let mut kept = waiting(&run, 0, &[], &labels);
    let outcome = JobOutcome::Success(OutputsRef::Inline(outputs_of(&[])));
    kept.phase = Phase::Ended(Completion { outcome, at: NOW, lease: None });
    let job = waiting(&run, 1, &[8], &labels);
    put_jobs(&*ports, &[kept, job.clone()]).await;
    let job = change(&*ports, &job, Change::RemoveNeed { member: 8, failed: false }).await;
    let job = change(&*ports, &job, become_ready(&job, NOW)).await;
    let job = change(&*ports, &job, Change::Start(lease(1, NOW))).await;
    let job = change(&*ports, &job, Change::Renew { until: NOW + secs(9) }).await;
    let again = try_again(&job, NOW);
    change(&*ports, &job, again).await;
    let (workflow, new) = new_workflow(RunState::New);
    commit_new(&*ports, &workflow, &new).await;
    assert_eq!(process(&*ports).await, []);
    update(&*ports, &new.run, RunUpdate::Open { at: NOW, opener: 1 }).await;
    assert_eq!(process(&*ports).await.len(), 1);
    update(&*ports, &new.run, RunUpdate::Open { at: NOW, opener: 1 }).await;
    let progress = Progress { done_below: 1, failed: true, cancelled: false };
    update(&*ports, &new.run, RunUpdate::Advance(progress)).await;
    update(&*ports, &new.run, RunUpdate::Finish(progress)).await;
    update(&*ports, &new.run, RunUpdate::Cancel { at: NOW }).await;
    assert_eq!(process(&*ports).await, []);
}

/// A queued reconcile is listed until it is done.
pub async fn a_reconcile_is_listed_until_it_is_done<P: Local + 'static>(ports: Arc<P>) {
    let run = fresh_run();
    let reconciles = [Reconcile::Run(run.clone()), Reconcile::Job(JobKey::new(&run, 3))];
    for reconcile in &reconciles {
        ports.send_reconcile(reconcile.clone()).await.expect("the store answers");
    }
    assert_eq!(process(&*ports).await, reconciles.map(Work::Reconcile));
}

/// Batch tasks of every kind, in order, also those added while another is processed.
pub async fn a_batch_task_is_listed_until_it_is_done<P: Local + 'static>(ports: Arc<P>) {
    let run = fresh_run();
    let kinds = [
        BatchKind::Roots,
        BatchKind::Dependents { of: 3 },
        BatchKind::Skip,
        BatchKind::Cancel,
        BatchKind::Admit { group: GroupKey::of_jobs(&Label::new("db").expect("a label")) },
        BatchKind::Delete { jobs: 10_000 },
    ];
    let batch = |kind, from| BatchTask::new(run.clone(), kind, from);
    for kind in kinds.clone() {
        ports.send_batch(batch(kind, 1)).await.expect("the store answers");
    }
    let (number, first) = ports.next_work().await.expect("the store answers").expect("there is work");
    assert_eq!(first, Work::BatchTask(batch(kinds[0].clone(), 1)));
    ports.send_batch(batch(kinds[0].clone(), 500)).await.expect("the store answers");
    ports.work_done(number).await.expect("the store answers");
    let mut expected: Vec<Work> = kinds[1..].iter().map(|kind| Work::BatchTask(batch(kind.clone(), 1))).collect();
    expected.push(Work::BatchTask(batch(kinds[0].clone(), 500)));
    assert_eq!(process(&*ports).await, expected);
}

/// Only timers of open or cancelling runs count, with their current due times. The callback receives each armed time.
pub async fn next_timer_is_the_earliest<P: Local + 'static>(ports: Arc<P>) {
    let due = async |by| ports.timers_due(by).await.expect("the store answers");
    let next = async || ports.next_timer().await.expect("the store answers");
    assert_eq!((due(NOW + secs(9999)).await, next().await), (vec![], None));
    let mut runs = Vec::new();
    for after in [30, 10, 20] {
        let (workflow, opened) = new_workflow(RunState::Open);
        commit_new(&*ports, &workflow, &opened).await;
        update(&*ports, &opened.run, RunUpdate::Arm { due: NOW + secs(after) }).await;
        runs.push(opened.run);
    }
    let (workflow, new) = new_workflow(RunState::New);
    commit_new(&*ports, &workflow, &new).await;
    let of = |places: &[usize]| -> Vec<_> { places.iter().map(|&place| runs[place].clone()).collect() };
    assert_eq!((due(NOW + secs(9)).await, next().await), (vec![], Some(NOW + secs(10))));
    assert_eq!(due(NOW + secs(10)).await, of(&[1]));
    assert_eq!(due(NOW + secs(99)).await, of(&[1, 2, 0]));
    update(&*ports, &runs[0], RunUpdate::Fire { by: None }).await;
    assert_eq!(due(NOW).await, of(&[0]), "one that is looked at counts as due");
    update(&*ports, &runs[0], RunUpdate::Arm { due: NOW + secs(40) }).await;
    update(&*ports, &runs[1], RunUpdate::Finish(Progress::default())).await;
    assert_eq!((due(NOW + secs(99)).await, next().await), (of(&[2, 0]), Some(NOW + secs(20))));
    let (told, tells) = std::sync::mpsc::channel();
    ports.on_timer_set(Box::new(move |at| told.send(at).expect("somebody listens")));
    ports.send_timer(&runs[2], NOW + secs(20), NOW).await.expect("the store answers");
    assert_eq!(tells.try_recv(), Ok(NOW + secs(20)));
}

/// The commit of a re-run deletes the control record of the run that it replaces, and queues the deletion of its other
/// records.
pub async fn replaced_run_is_deleted<P: Local + 'static>(ports: Arc<P>) {
    let (workflow, control) = new_workflow(RunState::Open);
    commit_new(&*ports, &workflow, &control).await;
    let end = RunEnd { status: Status::Success, at: NOW, jobs: 1, started_at: None };
    assert!(ports.end_workflow(&workflow.id, &workflow.run, end).await.expect("the store answers"));
    process(&*ports).await;
    let again = WorkflowRecord { run: fresh_run(), number: 2, ..workflow.clone() };
    let commit = Commit {
        control: control_of(&again, RunState::New),
        workflow: again,
        replaces: Some(workflow.run.clone()),
        idempotency: None,
    };
    assert_eq!(ports.commit(commit).await.expect("the store answers"), Committed::Yes);
    assert_eq!(control_now(&*ports, &workflow.run).await, None);
    let delete = BatchTask::new(workflow.run, BatchKind::Delete { jobs: control.jobs }, 0);
    assert_eq!(process(&*ports).await, [Work::BatchTask(delete)]);
}

/// A workflow expires by the start of its current run, or by its submission if it was never started, and not while it is
/// open.
pub async fn workflows_expire_after_their_start_and_not_while_active<P: Local + 'static>(ports: Arc<P>) {
    let expired = async |before| {
        let found = ports.expired(before, 10).await.expect("the store answers");
        found.into_iter().map(|workflow| workflow.id).collect::<Vec<_>>()
    };
    let (new, control) = new_workflow(RunState::New);
    commit_new(&*ports, &new, &control).await;
    assert!(expired(NOW).await.is_empty());
    assert_eq!(expired(NOW + secs(1)).await.first(), Some(&new.id));
    update(&*ports, &new.run, RunUpdate::Open { at: NOW + secs(10), opener: 2 }).await;
    assert!(expired(NOW + secs(99)).await.is_empty(), "it is open");
    update(&*ports, &new.run, RunUpdate::Finish(Progress::default())).await;
    let end = RunEnd { status: Status::Success, at: NOW + secs(20), jobs: 1, started_at: None };
    assert!(ports.end_workflow(&new.id, &new.run, end).await.expect("the store answers"));
    assert!(expired(NOW + secs(10)).await.is_empty());
    assert_eq!(expired(NOW + secs(11)).await, [new.id]);
}

/// A run is listed after it was opened or cancelled, until it is final.
pub async fn active_runs_are_open_or_cancelling<P: Local + 'static>(ports: Arc<P>) {
    let listed = async |run: &RunKey| {
        let runs = ports.active_runs(None, 1000).await.expect("the store answers");
        runs.iter().filter(|listed| *listed == run).count()
    };
    let becomes = async |run: &RunKey, open: bool| assert_eq!(listed(run).await, usize::from(open));
    let update = async |run: &RunKey, change| update(&*ports, run, change).await;

    let (workflow, control) = new_workflow(RunState::Open);
    commit_new(&*ports, &workflow, &control).await;
    becomes(&control.run, true).await;
    update(&control.run, RunUpdate::Cancel { at: NOW }).await;
    becomes(&control.run, true).await;
    update(&control.run, RunUpdate::Finish(Progress::default())).await;
    becomes(&control.run, false).await;

    let (workflow, control) = new_workflow(RunState::New);
    commit_new(&*ports, &workflow, &control).await;
    becomes(&control.run, false).await;
    update(&control.run, RunUpdate::Open { at: NOW, opener: 1 }).await;
    becomes(&control.run, true).await;
    update(&control.run, RunUpdate::Finish(Progress::default())).await;
    becomes(&control.run, false).await;

    let (workflow, control) = new_workflow(RunState::New);
    commit_new(&*ports, &workflow, &control).await;
    update(&control.run, RunUpdate::Cancel { at: NOW }).await;
    becomes(&control.run, true).await;
    update(&control.run, RunUpdate::Finish(Progress::default())).await;
    becomes(&control.run, false).await;
}

/// Each run once, for any page length.
pub async fn active_runs_come_in_pages_in_the_order_of_their_keys<P: Local + 'static>(ports: Arc<P>) {
    let mut expected = Vec::new();
    for _ in 0..20 {
        let (workflow, control) = new_workflow(RunState::Open);
        commit_new(&*ports, &workflow, &control).await;
        expected.push(control.run);
    }
    expected.sort();
    for limit in [1, 7, 20, 1000] {
        let mut listed: Vec<RunKey> = Vec::new();
        loop {
            let page = ports.active_runs(listed.last(), limit).await.expect("the store answers");
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            listed.extend(page);
        }
        assert_eq!(listed, expected, "{limit} in a page");
    }
}
