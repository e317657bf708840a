//! Checks of conditional updates: every store applies `JobUpdate` and `RunUpdate` exactly as the engine does.

use std::sync::Arc;
use std::time::Duration;

use engine::ids::{JobKey, PoolId};
use engine::job::{
    Change, Completion, End, JobOutcome, JobRecord, JobUpdate, NextLease, OutputsRef, Phase, Precondition, Returned,
    Used,
};
use engine::ports::{Consistency, Ports, Updated};
use engine::run::{Progress, RunState, RunUpdate};
use futures::future::join_all;
use protocol::wire::SkippedBecause;
use protocol::{JobId, LabelSet, Millis, WorkerId, limits};

use crate::fixture::{
    NOW, become_ready, change, commit_new, control_now, failed_attempt, fence, fresh_labels, fresh_run, job_now, lease,
    new_workflow, new_workflow_in_a_group, outputs_of, put_jobs, report, secs, waiting,
};

/// The history of a job: its needs, and the changes that follow.
struct Life {
    what: &'static str,
    waits: Vec<u32>,
    /// The job begins as kept by a re-run, with these outputs.
    kept: Option<OutputsRef>,
    then: Vec<Change>,
}

fn inline() -> OutputsRef {
    OutputsRef::Inline(outputs_of(&[("url", "s3://b/ä?x=1&y=\"2\""), ("empty", ""), ("lines", "a\nb\r\n\t")]))
}

fn apart() -> OutputsRef {
    OutputsRef::External { id: "0123abcd".to_owned(), size: 70_000 }
}

fn end(outcome: JobOutcome, reported: Option<u32>, error: Option<&str>) -> Change {
    let failed =
        matches!(outcome, JobOutcome::Failure { .. }).then(|| vec![failed_attempt(0, NOW), failed_attempt(1, NOW)]);
    let next = matches!(outcome, JobOutcome::Success(_)).then(|| NextLease { index: 9, masked: "0a".repeat(16) });
    let (last_report, error) = (reported.map(report), error.map(str::to_owned));
    Change::End(End { outcome, at: NOW + secs(9), last_report, error, failed, next })
}

fn remove(member: u32) -> Change {
    Change::RemoveNeed { member, failed: false }
}

fn remove_failed(member: u32) -> Change {
    Change::RemoveNeed { member, failed: true }
}

fn skipped(because: SkippedBecause) -> Change {
    end(JobOutcome::Skipped(because), None, None)
}

/// Every phase, by every sequence of changes that the engine makes.
fn all_lives(pool: &PoolId) -> Vec<Life> {
    [lives(pool), conditional_lives(pool)].into_iter().flatten().collect()
}

/// Those of jobs without conditions.
fn lives(pool: &PoolId) -> Vec<Life> {
    let ready = |at| Change::BecomeReady { pool: pool.clone(), at, until: None };
    let ready_until = |until| Change::BecomeReady { pool: pool.clone(), at: NOW, until: Some(until) };
    let started = |n, until| vec![ready(NOW), Change::Start(lease(n, until))];
    let live = || started(1, NOW + secs(30));
    let again = || {
        let mut changes = live();
        changes.push(Change::Retry {
            pool: pool.clone(),
            at: NOW,
            until: Some(NOW + secs(7)),
            attempt: 1,
            used: Used { max: 1, lost: 2, timeout: 3, exit: vec![0, 2], returned: 0 },
            last_report: report(1),
            error: "exit code 2: \"ünlucky\"\nsecond line".to_owned(),
            failed: vec![failed_attempt(0, NOW)],
            returned: None,
        });
        changes
    };
    let returned = |by: &[(&str, Duration)]| {
        let mut changes = live();
        let by = by.iter().map(|(id, ago)| (WorkerId::new(*id).expect("an id"), NOW - *ago)).collect();
        let returned = Some(Returned { by, times: 3, failed_claims: 2 });
        let used = Used { returned: 4, ..Used::default() };
        changes.push(match again().pop() {
            Some(Change::Retry { pool, at, attempt, last_report, error, failed, .. }) => {
                Change::Retry { pool, at, until: None, attempt, used, last_report, error, failed, returned }
            }
            _ => unreachable!("the last change is a retry"),
        });
        changes
    };
    let after = |mut changes: Vec<Change>, last: Change| {
        changes.push(last);
        changes
    };
    let waiting = |what, waits: &[u32], then| Life::of(what, waits, then);
    let from_none = |what, then| Life::of(what, &[], then);
    let success = |outputs| end(JobOutcome::Success(outputs), Some(1), None);
    let failure = |exit_code| end(JobOutcome::Failure { exit_code }, Some(1), Some("it broke"));
    vec![
        waiting("waiting for two", &[1, 2], vec![]),
        waiting("waiting for one", &[1], vec![]),
        waiting("waiting for one that is left", &[1, 2], vec![remove(2)]),
        waiting("waiting for two of which none was dropped", &[1, 2], vec![remove(5)]),
        from_none("waiting for nothing", vec![]),
        waiting("waiting for nothing any more", &[1], vec![remove(1)]),
        waiting("ready, its only need met in the same write", &[1], vec![ready(NOW)]),
        waiting("blocked, its only need met in the same write", &[1], vec![Change::Block { at: NOW }]),
        from_none("blocked, then ready", vec![Change::Block { at: NOW }, ready_until(NOW + secs(1))]),
        from_none("cancelled while blocked", vec![Change::Block { at: NOW }, end(JobOutcome::Cancelled, None, None)]),
        from_none("ready now", vec![ready(NOW)]),
        from_none("ready later", vec![ready(NOW + secs(1))]),
        from_none("ready until this moment", vec![ready_until(NOW)]),
        from_none("ready for a while", vec![ready_until(NOW + secs(1))]),
        waiting("given with the completion of its only need", &[1], vec![Change::Start(lease(1, NOW + secs(30)))]),
        from_none("held, after it was ready for a while", vec![ready_until(NOW), Change::Start(lease(1, NOW))]),
        from_none("held live", live()),
        from_none("held until this moment", started(1, NOW)),
        from_none("held by another until later", started(2, NOW + secs(60))),
        from_none("lease renewed", after(live(), Change::Renew { until: NOW + secs(60) })),
        from_none("tried again", again()),
        from_none("given back by a worker just now", returned(&[("worker-1", Duration::ZERO)])),
        from_none("given back by a worker before its pause", returned(&[("worker-1", limits::RETURN_PAUSE)])),
        from_none("given back by claims", returned(&[])),
        from_none(
            "given back by several workers",
            returned(&[("a.b", secs(2)), ("worker-1", secs(1)), ("worker-2", Duration::ZERO), ("zä:", secs(3))]),
        ),
        from_none(
            "given back by several workers, of which one may have it again",
            returned(&[("worker-1", limits::RETURN_PAUSE), ("worker-2", Duration::ZERO)]),
        ),
        from_none(
            "given back and held again",
            after(returned(&[("worker-2", Duration::ZERO)]), Change::Start(lease(1, NOW + secs(30)))),
        ),
        from_none(
            "given back and tried again after a failure",
            [returned(&[("worker-1", Duration::ZERO)]), vec![Change::Start(lease(1, NOW))], again().split_off(2)]
                .concat(),
        ),
        from_none("held again", after(again(), Change::Start(lease(1, NOW + secs(30))))),
        from_none("succeeded", after(live(), success(inline()))),
        from_none("succeeded without outputs", after(live(), success(OutputsRef::Inline(outputs_of(&[]))))),
        from_none("succeeded with outputs apart", after(live(), success(apart()))),
        from_none(
            "succeeded when tried again",
            after(after(again(), Change::Start(lease(3, NOW + secs(30)))), success(inline())),
        ),
        from_none("failed", after(live(), failure(Some(-7)))),
        from_none("failed without an exit code", after(live(), failure(None))),
        waiting("cancelled while waiting", &[1], vec![end(JobOutcome::Cancelled, None, None)]),
        from_none("cancelled while ready", vec![ready(NOW), end(JobOutcome::Cancelled, None, None)]),
        from_none("cancelled while held", after(live(), end(JobOutcome::Cancelled, None, None))),
        from_none("cancelled before it was tried again", after(again(), end(JobOutcome::Cancelled, None, None))),
        Life { what: "kept", waits: vec![], kept: Some(inline()), then: vec![] },
        Life { what: "kept with outputs apart", waits: vec![], kept: Some(apart()), then: vec![] },
    ]
}

/// Those of jobs that look at how their needs ended, and of skipped ones.
fn conditional_lives(pool: &PoolId) -> Vec<Life> {
    let ready = || Change::BecomeReady { pool: pool.clone(), at: NOW, until: None };
    let held = |n| Change::Start(lease(n, NOW));
    let waiting = |what, waits: &[u32], then| Life::of(what, waits, then);
    vec![
        waiting("waiting for one, and another failed", &[1, 2], vec![remove_failed(2)]),
        waiting("waiting for one, and two others failed", &[1, 2, 3], vec![remove_failed(2), remove_failed(3)]),
        waiting("waiting for one, one failed and one passed", &[1, 2, 3], vec![remove_failed(2), remove(3)]),
        waiting("waiting for nothing any more, and one failed", &[1], vec![remove_failed(1)]),
        waiting("ready after a need failed", &[1, 2], vec![remove_failed(2), ready()]),
        waiting("held after a need failed", &[1, 2], vec![remove_failed(2), ready(), held(1)]),
        waiting("skipped", &[1, 2], vec![skipped(SkippedBecause::Condition)]),
        waiting(
            "skipped because of a job",
            &[1, 2],
            vec![skipped(SkippedBecause::Job(JobId::new("ä").expect("an id")))],
        ),
        waiting("skipped after a need failed", &[1, 2], vec![remove_failed(2), skipped(SkippedBecause::Condition)]),
        waiting(
            "skipped by its exit code",
            &[],
            vec![ready(), held(1), end(JobOutcome::Skipped(SkippedBecause::Exit), Some(1), None)],
        ),
    ]
}

impl Life {
    fn of(what: &'static str, waits: &[u32], then: Vec<Change>) -> Self {
        Self { what, waits: waits.to_vec(), kept: None, then }
    }

    /// The first record.
    fn beginning(&self, key: &JobKey, labels: &LabelSet) -> JobRecord {
        let mut job = waiting(&key.run, key.index, &self.waits, labels);
        if let Some(outputs) = &self.kept {
            job.phase =
                Phase::Ended(Completion { outcome: JobOutcome::Success(outputs.clone()), at: NOW, lease: None });
        }
        job
    }

    /// Applies the history in the store. Returns the last record.
    async fn live(&self, ports: &impl Ports, key: &JobKey, labels: &LabelSet) -> JobRecord {
        let mut job = self.beginning(key, labels);
        put_jobs(ports, std::slice::from_ref(&job)).await;
        for next in &self.then {
            job = change(ports, &job, next.clone()).await;
        }
        job
    }
}

fn ready_for(pool: &PoolId, by: Millis, worker: &str) -> Precondition {
    Precondition::Ready { pool: pool.clone(), by, worker: WorkerId::new(worker).expect("an id") }
}

fn expectations(pool: &PoolId) -> Vec<Precondition> {
    let other = PoolId::from_stored("0".repeat(32));
    let mut all = vec![
        Precondition::Waiting,
        Precondition::WaitingOnlyOn(1),
        Precondition::WaitingOnlyOn(2),
        Precondition::WaitingOnNothing,
        Precondition::Blocked,
        Precondition::NotEnded,
        Precondition::ReadyOver { now: NOW },
        Precondition::ReadyOver { now: NOW - secs(1) },
        ready_for(&other, NOW, "worker-1"),
        ready_for(pool, NOW, "a.b"),
    ];
    for by in [NOW - secs(1), NOW, NOW + secs(1)] {
        all.extend(["worker-1", "worker-2"].map(|worker| ready_for(pool, by, worker)));
    }
    for principal in [1, 2] {
        all.push(Precondition::Held { fence: fence(principal) });
        for now in [NOW - secs(1), NOW, NOW + secs(30)] {
            all.push(Precondition::HeldLive { fence: fence(principal), now });
            all.push(Precondition::HeldOver { fence: fence(principal), until: now });
            for until in [NOW + secs(29), NOW + secs(30), NOW + secs(61)] {
                all.push(Precondition::HeldLiveUntil { fence: fence(principal), now, until });
            }
        }
    }
    all
}

/// For every phase and every precondition: the store refuses the update exactly if [`Precondition::holds`] is false, returns
/// the current record, and leaves it unchanged.
pub async fn update_applies_exactly_if_its_precondition_holds<P: Ports + 'static>(ports: Arc<P>) {
    let labels = fresh_labels();
    let pool = PoolId::of(&labels);
    let ports = &*ports;
    let of_a_life = async |life: Life| {
        let run = fresh_run();
        let mut job = life.live(ports, &JobKey::new(&run, 0), &labels).await;
        for (index, expect) in (1..).zip(expectations(&pool)) {
            let update = JobUpdate { expect, change: end(JobOutcome::Cancelled, None, Some("ended by a check")) };
            let answer = ports.update(&job.key, update.clone()).await.expect("the store answers");
            if let Some(expected) = update.apply(&job) {
                assert_eq!(answer, Updated::Done(expected.clone()), "{}: {update:?}", life.what);
                assert_eq!(job_now(ports, &job.key).await, Some(expected), "{}: after {update:?}", life.what);
                job = life.live(ports, &JobKey::new(&run, index), &labels).await;
            } else {
                assert_eq!(answer, Updated::ConditionFailed(Some(job.clone())), "{}: {update:?}", life.what);
                assert_eq!(job_now(ports, &job.key).await.as_ref(), Some(&job), "{}: after {update:?}", life.what);
            }
        }
    };
    for some in chunks(all_lives(&pool), 8) {
        join_all(some.into_iter().map(of_a_life)).await;
    }
}

fn chunks<T>(all: Vec<T>, size: usize) -> Vec<Vec<T>> {
    let mut chunks: Vec<Vec<T>> = Vec::new();
    for one in all {
        match chunks.last_mut() {
            Some(last) if last.len() < size => last.push(one),
            _ => chunks.push(vec![one]),
        }
    }
    chunks
}

/// After every change, in every order that the engine makes them, a strong read returns the record of
/// [`JobUpdate::apply`].
pub async fn change_leaves_the_record_that_the_engine_computes<P: Ports + 'static>(ports: Arc<P>) {
    let labels = fresh_labels();
    let run = fresh_run();
    for (index, life) in (0..).zip(all_lives(&PoolId::of(&labels))) {
        let key = JobKey::new(&run, index);
        let mut job = life.beginning(&key, &labels);
        put_jobs(&*ports, std::slice::from_ref(&job)).await;
        assert_eq!(job_now(&*ports, &key).await.as_ref(), Some(&job), "{}: as it began", life.what);
        for next in life.then {
            job = change(&*ports, &job, next.clone()).await;
            assert_eq!(job_now(&*ports, &key).await.as_ref(), Some(&job), "{}: after {next:?}", life.what);
        }
        let page = ports.jobs_at(&run, &[index], Consistency::Strong).await.expect("the store answers");
        assert_eq!(page, [Some(job.clone())], "{}", life.what);
        let page = ports.jobs_from(&run, index, 1000, Consistency::Strong).await.expect("the store answers");
        assert_eq!(page, [job], "{}", life.what);
    }
}

/// Every update in every state of a run: the result is that of [`RunUpdate::apply`]. A refusal returns the record.
pub async fn control_changes_as_the_engine_computes<P: Ports + 'static>(ports: Arc<P>) {
    let at = NOW + secs(5);
    let to = |done_below, failed, cancelled| RunUpdate::Advance(Progress { done_below, failed, cancelled });
    let finish = |done_below, failed, cancelled| RunUpdate::Finish(Progress { done_below, failed, cancelled });
    let open = RunUpdate::Open { at, opener: u64::MAX };
    let cancel = RunUpdate::Cancel { at: at + secs(1) };
    let arm = |after| RunUpdate::Arm { due: NOW + secs(after) };
    let look = |after| RunUpdate::Fire { by: Some(NOW + secs(after)) };
    let anyway = RunUpdate::Fire { by: None };
    let block = RunUpdate::Block { at, opener: 7 };
    let admit = RunUpdate::Admit { at: at + secs(2) };
    let supersede = RunUpdate::Supersede { at: at + secs(1) };
    let lives_in_a_group: [&[RunUpdate]; 8] = [
        &[],
        &[block],
        &[block, arm(9), cancel],
        &[block, anyway, admit],
        &[block, admit, cancel],
        &[block, supersede],
        &[block, admit, supersede, finish(3, false, true)],
        &[block, admit, finish(3, false, false)],
    ];
    let lives: [&[RunUpdate]; 11] = [
        &[open, arm(9)],
        &[open, arm(9), look(9)],
        &[open, anyway, arm(30), cancel],
        &[],
        &[open],
        &[cancel],
        &[open, cancel],
        &[open, to(1, false, false)],
        &[open, to(2, true, false), cancel],
        &[open, to(3, true, true), finish(3, true, true)],
        &[cancel, finish(3, false, true)],
    ];
    let updates = [
        open,
        block,
        admit,
        cancel,
        arm(8),
        arm(9),
        arm(31),
        look(8),
        look(9),
        anyway,
        to(0, true, true),
        to(1, true, false),
        to(2, false, true),
        to(3, false, false),
        finish(3, true, false),
    ];
    let all = lives.into_iter().map(|life| (false, life)).chain(lives_in_a_group.into_iter().map(|life| (true, life)));
    for (in_a_group, life) in all {
        for update in updates {
            let new = if in_a_group { new_workflow_in_a_group() } else { new_workflow(RunState::New) };
            let (workflow, mut control) = new;
            commit_new(&*ports, &workflow, &control).await;
            for step in life {
                control = step.apply(&control).expect("a life that is possible");
                let answer = ports.update_control(&control.run, *step).await.expect("the store answers");
                assert_eq!(answer, Updated::Done(control.clone()), "{life:?}");
            }
            let answer = ports.update_control(&control.run, update).await.expect("the store answers");
            let (expected, now) = match update.apply(&control) {
                Some(new) => (Updated::Done(new.clone()), new),
                None => (Updated::ConditionFailed(Some(control.clone())), control),
            };
            assert_eq!(answer, expected, "{life:?}, then {update:?}");
            assert_eq!(control_now(&*ports, &now.run).await.as_ref(), Some(&now), "{life:?}, then {update:?}");
            close(&*ports, &now.run).await;
        }
    }
}

/// Ends the run, so that it isn't listed in other checks.
async fn close(ports: &impl Ports, run: &engine::ids::RunKey) {
    ports.update_control(run, RunUpdate::Cancel { at: NOW }).await.expect("the store answers");
    ports.update_control(run, RunUpdate::Finish(Progress::default())).await.expect("the store answers");
}

/// An update of a record that doesn't exist is refused and creates none.
pub async fn update_of_a_missing_record_creates_none<P: Ports + 'static>(ports: Arc<P>) {
    let labels = fresh_labels();
    let run = fresh_run();
    let absent = waiting(&run, 0, &[], &labels);
    for change in [become_ready(&absent, NOW), remove(1), end(JobOutcome::Cancelled, None, None)] {
        for expect in [Precondition::NotEnded, Precondition::Waiting, Precondition::WaitingOnNothing] {
            let update = JobUpdate { expect, change: change.clone() };
            let answer = ports.update(&absent.key, update).await.expect("the store answers");
            assert_eq!(answer, Updated::ConditionFailed(None), "{change:?}");
        }
    }
    assert_eq!(job_now(&*ports, &absent.key).await, None);
    for update in
        [RunUpdate::Open { at: NOW, opener: 1 }, RunUpdate::Cancel { at: NOW }, RunUpdate::Finish(Progress::default())]
    {
        let answer = ports.update_control(&run, update).await.expect("the store answers");
        assert_eq!(answer, Updated::ConditionFailed(None), "{update:?}");
    }
    assert_eq!(control_now(&*ports, &run).await, None);
    let left = ports.drop_from_shard(&absent.key, 0, 1, true).await.expect("the store answers");
    assert!(left == engine::ports::ShardWaits::default());
}
