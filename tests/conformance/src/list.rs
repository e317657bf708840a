//! Checks of the lists of workflows, open runs, due timers and jobs.

use std::sync::Arc;
use std::time::Duration;

use engine::ids::{self, JobKey, RunKey};
use engine::ports::{Consistency, ListCursor, NewItem, Ports};
use engine::run::{Progress, RunState, RunUpdate, WorkflowRecord};
use protocol::Millis;

use crate::fixture::{
    NOW, commit_new, eventually, fresh_labels, fresh_run, job_now, new_workflow, put_jobs, secs, source, waiting,
};

fn cursor(workflow: &WorkflowRecord) -> ListCursor {
    ListCursor { created_at: workflow.created_at, id: workflow.id.clone() }
}

/// Pages list each workflow once, newest first; workflows of the same millisecond by their ids.
pub async fn workflows_are_listed_once_newest_first<P: Ports + 'static>(ports: Arc<P>) {
    // No other workflow was created at these times.
    let [a, b, c, d, ..] = ids::random();
    let base = 1_000_000_000_000 + u64::from(u32::from_be_bytes([a, b, c, d])) * 100;
    let mut mine = Vec::new();
    for n in 0..25 {
        let (mut workflow, control) = new_workflow(RunState::New);
        // Three in each millisecond.
        workflow.created_at = Millis(base + n / 3);
        commit_new(&*ports, &workflow, &control).await;
        mine.push(workflow);
    }
    mine.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    let before = ListCursor { created_at: Millis(base + 90), id: mine[0].id.clone() };
    let expected = mine.clone();
    let all = async || {
        let mut seen: Vec<WorkflowRecord> = Vec::new();
        loop {
            let after = seen.last().map_or(before.clone(), cursor);
            let page = ports.workflows(Some(&after), 4).await?;
            assert!(page.len() <= 4);
            let (mine, others): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|workflow| workflow.created_at >= Millis(base));
            let end = mine.is_empty() || !others.is_empty();
            seen.extend(mine);
            assert!(seen.len() <= expected.len(), "more than there are");
            if end {
                return Ok(seen);
            }
        }
    };
    eventually(all, |seen| *seen == expected).await;
    let newest = eventually(|| ports.workflows(None, 1000), |page| !page.is_empty()).await;
    assert!(newest.is_sorted_by(|a, b| (b.created_at, &b.id) < (a.created_at, &a.id)), "each once, newest first");
}

/// A timer is listed from its due time on, and while it is firing.
pub async fn due_timers_are_of_open_or_cancelling_runs<P: Ports + 'static>(ports: Arc<P>) {
    // Earlier than the timers of other checks, so that it is on the first page.
    let due = NOW - Duration::from_hours(1000);
    let listed = async |run: &RunKey, by| Ok(ports.timers_due(by).await?.iter().any(|listed| listed == run));
    let becomes = async |run: &RunKey, by, is: bool| eventually(|| listed(run, by), |now| *now == is).await;
    let update = async |run: &RunKey, update| ports.update_control(run, update).await.expect("the store answers");
    let (workflow, control) = new_workflow(RunState::New);
    commit_new(&*ports, &workflow, &control).await;
    becomes(&control.run, due, false).await;
    update(&control.run, RunUpdate::Open { at: NOW, opener: 1 }).await;
    update(&control.run, RunUpdate::Arm { due }).await;
    becomes(&control.run, due, true).await;
    becomes(&control.run, due - secs(1), false).await;
    update(&control.run, RunUpdate::Fire { by: Some(due) }).await;
    becomes(&control.run, due - secs(1), true).await;
    update(&control.run, RunUpdate::Cancel { at: NOW }).await;
    update(&control.run, RunUpdate::Arm { due }).await;
    becomes(&control.run, due - secs(1), false).await;
    becomes(&control.run, due, true).await;
    update(&control.run, RunUpdate::Finish(Progress::default())).await;
    becomes(&control.run, due, false).await;
}

/// The timers of many runs, earliest first, each once.
pub async fn timers_of_many_runs_are_listed_earliest_first<P: Ports + 'static>(ports: Arc<P>) {
    const RUNS: u64 = 64;
    // Earlier than the timers of other checks, so that they are on the first page.
    let first = NOW - Duration::from_hours(2000);
    let mut runs = Vec::new();
    for n in 0..RUNS {
        let (workflow, control) = new_workflow(RunState::New);
        commit_new(&*ports, &workflow, &control).await;
        let due = first + secs(n);
        for update in [RunUpdate::Open { at: NOW, opener: 1 }, RunUpdate::Arm { due }] {
            ports.update_control(&control.run, update).await.expect("the store answers");
        }
        runs.push(control.run);
    }
    let due = |by| {
        let ports = &ports;
        async move { ports.timers_due(by).await }
    };
    eventually(|| due(first + secs(RUNS)), |listed| *listed == runs).await;
    eventually(|| due(first + secs(9)), |listed| *listed == runs[..10]).await;
    for run in &runs {
        ports.update_control(run, RunUpdate::Finish(Progress::default())).await.expect("the store answers");
    }
}

/// Jobs of several runs are read in the order of the keys, also one that is asked for twice. A missing one is `None`.
pub async fn jobs_of_several_runs_are_read_in_the_requested_order<P: Ports + 'static>(ports: Arc<P>) {
    let labels = fresh_labels();
    let jobs: Vec<_> = (0..150).map(|index| waiting(&fresh_run(), index, &[1000], &labels)).collect();
    put_jobs(&*ports, &jobs).await;
    let mut keys: Vec<JobKey> = jobs.iter().map(|job| job.key.clone()).collect();
    keys.insert(7, JobKey::new(&fresh_run(), 7));
    keys.push(jobs[0].key.clone());
    let found = ports.jobs(&keys, Consistency::Strong).await.expect("the store answers");
    let mut expected: Vec<_> = jobs.iter().cloned().chain([jobs[0].clone()]).map(Some).collect();
    expected.insert(7, None);
    assert_eq!(found, expected);
    assert_eq!(ports.jobs(&[], Consistency::Strong).await.expect("the store answers"), []);
}

/// Pages start at any index. Jobs can also be read by indexes in any order; a missing job is `None`. Jobs of another run
/// are never returned.
pub async fn jobs_are_listed_in_order<P: Ports + 'static>(ports: Arc<P>) {
    const JOBS: u32 = 700;
    let labels = fresh_labels();
    let (run, other) = (fresh_run(), fresh_run());
    let jobs: Vec<_> = (0..JOBS).map(|index| waiting(&run, index, &[index + 1], &labels)).collect();
    put_jobs(&*ports, &[waiting(&other, 0, &[], &labels), waiting(&other, JOBS + 1, &[], &labels)]).await;
    for some in jobs.rchunks(25) {
        put_jobs(&*ports, some).await;
    }
    for start in [0, 1, 255, 256, 257, 698, 699, 700, 5000] {
        let mut seen = Vec::new();
        let mut from = start;
        loop {
            let page = ports.jobs_from(&run, from, 1000, Consistency::Strong).await.expect("the store answers");
            let Some(last) = page.last() else { break };
            from = last.key.index + 1;
            seen.extend(page);
        }
        let expected = jobs.get(start as usize..).unwrap_or_default();
        assert_eq!(seen.len(), expected.len(), "from {start} on");
        assert_eq!(seen, expected, "from {start} on");
    }
    let few = ports.jobs_from(&run, 250, 3, Consistency::Strong).await.expect("the store answers");
    assert_eq!(few, jobs[250..253], "no more than the caller asks for");
    let mut places: Vec<u32> = (0..300).map(|n| (n * 11 + 3) % JOBS).collect();
    places.extend([JOBS, 9999]);
    let found = ports.jobs_at(&run, &places, Consistency::Strong).await.expect("the store answers");
    let expected: Vec<_> = places.iter().map(|&place| jobs.get(place as usize).cloned()).collect();
    assert_eq!(found, expected);
    assert_eq!(ports.jobs_at(&run, &[], Consistency::Strong).await.expect("the store answers"), []);
    assert_eq!(job_now(&*ports, &JobKey::new(&run, JOBS)).await, None);
    // A batch whose answer was lost is written again.
    let again = vec![NewItem::Job(Box::new(jobs[0].clone())), NewItem::Definition(run.clone(), source("jobs: {}"))];
    for _ in 0..2 {
        ports.put_new(again.clone()).await.expect("the store answers");
    }
    assert_eq!(job_now(&*ports, &jobs[0].key).await.as_ref(), Some(&jobs[0]));
}
