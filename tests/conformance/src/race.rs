//! Checks of concurrent conditional writes: exactly one wins, and no update is lost.

use std::sync::Arc;
use std::time::Duration;

use engine::ids::ReportHash;
use engine::job::{Change, JobOutcome, JobUpdate, Phase, Precondition};
use engine::ports::{Commit, Committed, Idempotency, Ports, StoreError, Stored, Updated};
use engine::run::{Progress, RunEnd, RunState, RunUpdate, WorkflowRecord};
use protocol::{Millis, Status, WorkerId};

use crate::fixture::{
    NOW, at_once, become_ready, change, commit_new, control_now, control_of, end, fresh_labels, fresh_run, job_now,
    lease, name, new_workflow, put_jobs, secs, waiting, workflow_now,
};

/// Number of concurrent calls.
const MANY: u32 = 20;

/// One of many claimers gets the job. The others get the winner's record.
pub async fn one_of_twenty_concurrent_starts_wins<P: Ports + 'static>(ports: Arc<P>) {
    let labels = fresh_labels();
    for index in 0..5 {
        let job = waiting(&fresh_run(), index, &[], &labels);
        put_jobs(&*ports, std::slice::from_ref(&job)).await;
        let job = change(&*ports, &job, become_ready(&job, NOW)).await;
        let answers = at_once((0..MANY).map(|n| {
            let (ports, key) = (Arc::clone(&ports), job.key.clone());
            let expect =
                Precondition::Ready { pool: job.pool.clone(), by: NOW, worker: WorkerId::new("w").expect("an id") };
            let update = JobUpdate { expect, change: Change::Start(lease(n, NOW + secs(30))) };
            async move { ports.update(&key, update).await.expect("the store answers") }
        }))
        .await;
        let now = job_now(&*ports, &job.key).await.expect("it is there");
        let done: Vec<_> = answers.iter().filter(|answer| matches!(answer, Updated::Done(_))).collect();
        assert_eq!(done, [&Updated::Done(now.clone())]);
        let refused = Updated::ConditionFailed(Some(now));
        assert_eq!(answers.iter().filter(|answer| **answer == refused).count(), MANY as usize - 1);
    }
}

/// No concurrent removal of another need undoes a removal.
pub async fn twenty_concurrent_removals_of_needs_all_take_effect<P: Ports + 'static>(ports: Arc<P>) {
    let all: Vec<u32> = (0..=MANY).collect();
    let job = waiting(&fresh_run(), 0, &all, &fresh_labels());
    put_jobs(&*ports, std::slice::from_ref(&job)).await;
    let answers = at_once((0..MANY).map(|need| {
        let (ports, key) = (Arc::clone(&ports), job.key.clone());
        let update =
            JobUpdate { expect: Precondition::Waiting, change: Change::RemoveNeed { member: need, failed: false } };
        async move { ports.update(&key, update).await.expect("the store answers") }
    }))
    .await;
    assert!(answers.iter().all(|answer| matches!(answer, Updated::Done(_))), "{answers:?}");
    let now = job_now(&*ports, &job.key).await.expect("it is there");
    assert_eq!(now.phase, Phase::Waiting { on: [MANY].into() });
}

/// Concurrent commits. A store whose transactions conflict may refuse one with [`StoreError::Unavailable`]; it is
/// repeated. Exactly one succeeds and the others get `refusal`. Returns the commits, the successful one first.
async fn one_commits<P: Ports + 'static>(ports: &Arc<P>, commits: Vec<Commit>, refusal: Committed) -> Vec<Commit> {
    let answers = at_once(commits.iter().cloned().map(|commit| {
        let ports = Arc::clone(ports);
        async move {
            for _ in 0..100 {
                match ports.commit(commit.clone()).await {
                    Ok(committed) => return committed,
                    Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(error) => panic!("{error}"),
                }
            }
            panic!("a commit that fails a hundred times")
        }
    }))
    .await;
    let (won, lost): (Vec<_>, Vec<_>) =
        commits.into_iter().zip(&answers).partition(|(_, answer)| **answer == Committed::Yes);
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(lost.iter().all(|(_, answer)| **answer == refusal), "{answers:?}");
    let all: Vec<Commit> = won.into_iter().chain(lost).map(|(commit, _)| commit).collect();
    for (n, commit) in all.iter().enumerate() {
        assert_eq!(control_now(&**ports, &commit.control.run).await.is_some(), n == 0);
    }
    all
}

/// Of concurrent submissions with one key, exactly one is committed.
pub async fn one_of_twenty_concurrent_commits_with_one_key_wins<P: Ports + 'static>(ports: Arc<P>) {
    let key = name("key");
    let commit = |_| {
        let (mut workflow, control) = new_workflow(RunState::New);
        workflow.created_at = Millis::now();
        let idempotency = Some(Idempotency {
            key: key.clone(),
            body: ReportHash::of(["body"]),
            workflow: workflow.id.clone(),
            expires: Millis::now() + secs(24 * 3600),
        });
        Commit { workflow, replaces: None, control, idempotency }
    };
    let commits = one_commits(&ports, (0..MANY).map(commit).collect(), Committed::KeyTaken).await;
    let kept = ports.idempotency(&key, Millis::now()).await.expect("the store answers").expect("it was just stored");
    assert_eq!(kept.workflow, commits[0].workflow.id);
    for (n, commit) in commits.iter().enumerate() {
        assert_eq!(workflow_now(&*ports, &commit.workflow.id).await.is_some(), n == 0);
    }
}

/// Of concurrent re-runs, exactly one becomes the workflow's next run.
pub async fn one_of_twenty_concurrent_reruns_wins<P: Ports + 'static>(ports: Arc<P>) {
    let (mut workflow, control) = new_workflow(RunState::New);
    workflow.ended = Some(RunEnd { status: Status::Failure, at: NOW });
    commit_new(&*ports, &workflow, &control).await;
    let commit = |_| {
        let next = WorkflowRecord { run: fresh_run(), number: 2, ended: None, ..workflow.clone() };
        let control = control_of(&next, RunState::New);
        Commit { workflow: next, replaces: Some(workflow.run.clone()), control, idempotency: None }
    };
    let commits = one_commits(&ports, (0..MANY).map(commit).collect(), Committed::Superseded).await;
    assert_eq!(workflow_now(&*ports, &workflow.id).await.as_ref(), Some(&commits[0].workflow));
}

/// A failure and a cancel at the same time end the job once.
pub async fn concurrent_cancel_and_end_have_one_winner<P: Ports + 'static>(ports: Arc<P>) {
    let labels = fresh_labels();
    for _ in 0..10 {
        let job = waiting(&fresh_run(), 0, &[], &labels);
        put_jobs(&*ports, std::slice::from_ref(&job)).await;
        let job = change(&*ports, &job, become_ready(&job, NOW)).await;
        let principal = lease(1, NOW + secs(30));
        let job = change(&*ports, &job, Change::Start(principal.clone())).await;
        let updates = [
            JobUpdate {
                expect: Precondition::HeldLive { fence: principal.fence.clone(), now: NOW },
                change: end(JobOutcome::Failure { exit_code: Some(1) }),
            },
            JobUpdate { expect: Precondition::NotEnded, change: end(JobOutcome::Cancelled) },
        ];
        let answers: Vec<Stored<Updated<_>>> = at_once(updates.map(|update| {
            let (ports, key) = (Arc::clone(&ports), job.key.clone());
            async move { ports.update(&key, update).await }
        }))
        .await;
        let now = job_now(&*ports, &job.key).await.expect("it is there");
        let mut answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("the store answers")).collect();
        answers.sort_by_key(|answer| matches!(answer, Updated::ConditionFailed(_)));
        assert_eq!(answers, [Updated::Done(now.clone()), Updated::ConditionFailed(Some(now))]);
    }
    let (workflow, control) = new_workflow(RunState::Open);
    commit_new(&*ports, &workflow, &control).await;
    let cancelled = ports.update_control(&control.run, RunUpdate::Cancel { at: NOW }).await.expect("the store answers");
    assert!(matches!(cancelled, Updated::Done(_)));
    let updates =
        at_once((0..MANY).map(|_| {
            let (ports, run) = (Arc::clone(&ports), control.run.clone());
            async move {
                ports.update_control(&run, RunUpdate::Finish(Progress::default())).await.expect("the store answers")
            }
        }))
        .await;
    assert_eq!(updates.iter().filter(|answer| matches!(answer, Updated::Done(_))).count(), 1);
}
