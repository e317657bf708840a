//! What a store that is worked off in its own process also offers.

use std::sync::Arc;
use std::time::Duration;

use engine::ids::JobKey;
use engine::job::{Change, Ending, JobRecord, Outcome, OutputsRef, Phase};
use engine::notice::Notice;
use engine::ports::{Local, Ports, Walk, WalkKind, Work};
use engine::run::{Progress, RunState, RunUpdate};

use crate::fixture::{
    NOW, become_ready, change, commit_new, fresh_labels, fresh_run, hold, new_workflow, outputs_of, put_jobs, report,
    secs, waiting,
};

/// Takes all work off the list, seeing that each piece is given until it is done.
async fn work_off(ports: &impl Local) -> Vec<Work> {
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
    Work::Notice(Notice::JobEnded(Box::new(job.clone())))
}

async fn update(ports: &impl Ports, run: &engine::ids::RunKey, update: RunUpdate) -> engine::run::Control {
    ports.update_control(run, update).await.expect("the store answers").record().expect("it is there")
}

fn end(outcome: Outcome) -> Change {
    Change::End { outcome, at: NOW, last_report: None, error: None }
}

/// A run opened at once or later, a cancel, and every end of a job, with the record as it was then.
pub async fn what_something_follows_from_is_listed_in_order_until_it_is_done<P: Local + 'static>(ports: Arc<P>) {
    assert_eq!(work_off(&*ports).await, []);
    let (workflow, opened) = new_workflow(&*ports, RunState::Open);
    commit_new(&*ports, &workflow, &opened).await;
    let (workflow, new) = new_workflow(&*ports, RunState::New);
    commit_new(&*ports, &workflow, &new).await;
    let opened_later = update(&*ports, &new.run, RunUpdate::Open { at: NOW }).await;
    let labels = fresh_labels(&*ports);
    let skipped = waiting(&new.run, 0, &[4], &labels);
    let run = waiting(&new.run, 1, &[], &labels);
    put_jobs(&*ports, &[skipped.clone(), run.clone()]).await;
    let skipped = change(&*ports, &skipped, end(Outcome::Skipped)).await;
    let run = change(&*ports, &run, become_ready(&run, NOW)).await;
    let run = change(&*ports, &run, Change::Start(hold(1, NOW))).await;
    let success = end(Outcome::Success(OutputsRef::Inline(outputs_of(&[("a", "1\n\"ä\"")]))));
    let run = change(&*ports, &run, success).await;
    let cancelling = update(&*ports, &opened.run, RunUpdate::Cancel { at: NOW }).await;
    let expected = [
        Work::Notice(Notice::RunOpened(opened)),
        Work::Notice(Notice::RunOpened(opened_later)),
        ended(&skipped),
        ended(&run),
        Work::Notice(Notice::RunCancelling(cancelling)),
    ];
    assert_eq!(work_off(&*ports).await, expected);
    assert_eq!(work_off(&*ports).await, [], "once done, it is off the list");
    let last = waiting(&new.run, 2, &[], &labels);
    put_jobs(&*ports, std::slice::from_ref(&last)).await;
    let last = change(&*ports, &last, end(Outcome::Cancelled)).await;
    assert_eq!(work_off(&*ports).await, [ended(&last)]);
}

/// Jobs that a run begins with, kept ones too; every change that isn't an end; refusals; progress and the end of a run.
pub async fn nothing_is_listed_that_nothing_follows_from<P: Local + 'static>(ports: Arc<P>) {
    let labels = fresh_labels(&*ports);
    let run = fresh_run(&*ports);
    let mut kept = waiting(&run, 0, &[], &labels);
    let outcome = Outcome::Success(OutputsRef::Inline(outputs_of(&[])));
    kept.phase = Phase::Ended(Ending { outcome, at: NOW, hold: None });
    let job = waiting(&run, 1, &[8], &labels);
    put_jobs(&*ports, &[kept, job.clone()]).await;
    let job = change(&*ports, &job, Change::DropNeed(8)).await;
    let job = change(&*ports, &job, become_ready(&job, NOW)).await;
    let job = change(&*ports, &job, Change::Start(hold(1, NOW))).await;
    let job = change(&*ports, &job, Change::Renew { until: NOW + secs(9) }).await;
    let again = Change::TryAgain {
        pool: job.pool.clone(),
        at: NOW,
        attempt: 1,
        retries_used: 1,
        last_report: report(1),
        error: String::new(),
    };
    change(&*ports, &job, again).await;
    let (workflow, new) = new_workflow(&*ports, RunState::New);
    commit_new(&*ports, &workflow, &new).await;
    assert_eq!(work_off(&*ports).await, []);
    update(&*ports, &new.run, RunUpdate::Open { at: NOW }).await;
    assert_eq!(work_off(&*ports).await.len(), 1);
    update(&*ports, &new.run, RunUpdate::Open { at: NOW }).await;
    let progress = Progress { done_below: 1, failed: true, cancelled: false };
    update(&*ports, &new.run, RunUpdate::Advance(progress)).await;
    update(&*ports, &new.run, RunUpdate::Finish).await;
    update(&*ports, &new.run, RunUpdate::Cancel { at: NOW }).await;
    assert_eq!(work_off(&*ports).await, []);
}

/// Of every kind, in order, also what is asked for while another piece is worked on.
pub async fn long_work_is_listed_until_it_is_done<P: Local + 'static>(ports: Arc<P>) {
    let run = fresh_run(&*ports);
    let kinds = [
        WalkKind::Roots,
        WalkKind::Dependents { of: 3 },
        WalkKind::Skip,
        WalkKind::Cancel,
        WalkKind::Delete { jobs: 10_000 },
    ];
    let walk = |kind, from| Walk { run: run.clone(), kind, from };
    for kind in kinds {
        ports.walk(walk(kind, 1)).await.expect("the store answers");
    }
    let (number, first) = ports.next_work().await.expect("the store answers").expect("there is work");
    assert_eq!(first, Work::Walk(walk(kinds[0], 1)));
    ports.walk(walk(kinds[0], 500)).await.expect("the store answers");
    ports.work_done(number).await.expect("the store answers");
    let mut expected: Vec<Work> = kinds[1..].iter().map(|kind| Work::Walk(walk(*kind, 1))).collect();
    expected.push(Work::Walk(walk(kinds[0], 500)));
    assert_eq!(work_off(&*ports).await, expected);
}

/// A hold is listed while it lasts, at the end it has now, and when it is over until something ends it.
pub async fn leases_are_over_in_the_order_of_their_ends<P: Local + 'static>(ports: Arc<P>) {
    let labels = fresh_labels(&*ports);
    let run = fresh_run(&*ports);
    let overdue = async |now| ports.overdue(now).await.expect("the store answers");
    assert_eq!(overdue(NOW).await, (vec![], None));
    let mut jobs = Vec::new();
    for (index, until) in [(0, 30), (1, 10), (2, 20)] {
        let job = waiting(&run, index, &[], &labels);
        put_jobs(&*ports, std::slice::from_ref(&job)).await;
        let job = change(&*ports, &job, become_ready(&job, NOW)).await;
        jobs.push(change(&*ports, &job, Change::Start(hold(index, NOW + secs(until)))).await);
    }
    let keys = |places: &[u32]| -> Vec<JobKey> { places.iter().map(|&place| JobKey::new(&run, place)).collect() };
    assert_eq!(overdue(NOW).await, (vec![], Some(NOW + secs(10))));
    assert_eq!(overdue(NOW + secs(9)).await, (vec![], Some(NOW + secs(10))));
    assert_eq!(overdue(NOW + secs(10)).await, (keys(&[1]), Some(NOW + secs(20))));
    assert_eq!(overdue(NOW + secs(29)).await, (keys(&[1, 2]), Some(NOW + secs(30))));
    assert_eq!(overdue(NOW + secs(99)).await, (keys(&[1, 2, 0]), None));
    let renewed = change(&*ports, &jobs[1], Change::Renew { until: NOW + secs(40) }).await;
    assert_eq!(overdue(NOW + secs(29)).await, (keys(&[2]), Some(NOW + secs(30))));
    change(&*ports, &jobs[2], end(Outcome::Cancelled)).await;
    assert_eq!(overdue(NOW + secs(29)).await, (vec![], Some(NOW + secs(30))));
    let again = Change::TryAgain {
        pool: renewed.pool.clone(),
        at: NOW,
        attempt: 1,
        retries_used: 1,
        last_report: report(1),
        error: String::new(),
    };
    change(&*ports, &renewed, again).await;
    assert_eq!(overdue(NOW + secs(99)).await, (keys(&[0]), None));
    while ports.delete_some(&run, 3).await.expect("the store answers") {}
    assert_eq!(overdue(NOW + secs(99)).await, (vec![], None), "of a deleted run none is over");
}

/// The clock moves on by as much, and what was to last until then is over.
pub async fn time_passes_when_it_is_told_to<P: Local + 'static>(ports: Arc<P>) {
    let before = ports.now();
    let job = waiting(&fresh_run(&*ports), 0, &[], &fresh_labels(&*ports));
    put_jobs(&*ports, std::slice::from_ref(&job)).await;
    let job = change(&*ports, &job, become_ready(&job, before)).await;
    let until = before + Duration::from_mins(30);
    change(&*ports, &job, Change::Start(hold(1, until))).await;
    assert_eq!(ports.overdue(ports.now()).await.expect("the store answers"), (vec![], Some(until)));
    ports.pass(Duration::from_hours(1));
    ports.pass(Duration::from_millis(1));
    let after = ports.now();
    assert!(after.since(before) >= Duration::from_millis(3_600_001));
    assert!(after.since(before) < Duration::from_mins(62));
    assert_eq!(ports.overdue(after).await.expect("the store answers"), (vec![job.key], None));
}
