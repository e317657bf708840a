//! Records and helpers that the checks share.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use engine::ids::{self, Fence, GroupKey, JobIndex, JobKey, PoolId, ReportHash, RunKey};
use engine::job::{
    Budgets, Change, End, ExitBudget, JobOutcome, JobRecord, JobSettings, JobSpec, JobUpdate, LastReport, LeaseRecord,
    Passthrough, Phase, Precondition, Retry, TimeLimits, Used,
};
use engine::ports::{Commit, Committed, Consistency, NewItem, Ports, Source, Stored, Updated};
use engine::run::{Control, GroupOfRun, MAX_TIMER_DELAY, RunState, Timer, WorkflowRecord};
use protocol::wire::{Attempt, Backoff, Cause, Condition};
use protocol::{JobId, Label, LabelSet, Millis, Outputs, SecretName, WorkerId, WorkflowId};

/// The current time in checks that don't ask the store.
pub(crate) const NOW: Millis = Millis(1_750_000_000_000);
/// How long "eventually" may take.
const EVENTUALLY: Duration = Duration::from_secs(10);

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A unique name.
pub(crate) fn name(what: &str) -> String {
    format!("{what}-{}", &hex::encode(ids::random())[..20])
}

pub(crate) fn fresh_run() -> RunKey {
    RunKey::new(ids::random())
}

/// A unique label set, and so a unique pool.
pub(crate) fn fresh_labels() -> LabelSet {
    LabelSet::from_comma_separated(&name("label")).expect("a label")
}

pub(crate) fn fence(n: u32) -> Fence {
    Fence::from_stored(format!("{n:032x}"))
}

pub(crate) fn lease(n: u32, until: Millis) -> LeaseRecord {
    let worker = WorkerId::new(format!("worker-{n}")).expect("an id");
    LeaseRecord { fence: fence(n), worker, ttl_secs: 30, started_at: NOW, until }
}

pub(crate) fn report(n: u32) -> LastReport {
    LastReport { fence: fence(n), report: ReportHash::of(["report", &n.to_string()]) }
}

pub(crate) fn outputs_of(pairs: &[(&str, &str)]) -> Outputs {
    let name = |name: &str| protocol::OutputName::new(name).expect("a name");
    pairs.iter().map(|(key, value)| (name(key), (*value).to_owned())).collect()
}

pub(crate) fn spec(labels: &LabelSet) -> JobSpec {
    let settings = JobSettings {
        labels: labels.clone(),
        secrets: [SecretName::new("DEPLOY_KEY").expect("a name")].into(),
        retry: Retry {
            max: 2,
            budgets: Budgets { lost: Some(5), timeout: None },
            exit: vec![ExitBudget { first: 130, last: 145, tries: 2 }],
            backoff: Backoff::Exponential { base_secs: 10, max_secs: 300 },
        },
        passthrough: Passthrough { metadata: serde_json::json!({ "x": [1, null, "é"] }), ..Passthrough::default() },
        ..JobSettings::new("Bäu \"all\"", "echo \"::set-output a=1\"\ntrue")
    };
    JobSpec { settings, needs: Vec::new(), dependents: vec![7, 9], conditional: vec![9], position: 3 }
}

/// A job of a new run.
pub(crate) fn waiting(run: &RunKey, index: JobIndex, on: &[JobIndex], labels: &LabelSet) -> JobRecord {
    let id = JobId::new(format!("job-{index}")).expect("an id");
    let phase = Phase::Waiting { on: on.iter().copied().collect() };
    JobRecord {
        pool: PoolId::of(labels),
        spec: Some(Arc::new(spec(labels))),
        has_secrets: index.is_multiple_of(2),
        group: (index % 4 == 1).then(|| Label::new("Ein/Gröup#1").expect("a label")),
        condition: if index.is_multiple_of(4) { Condition::Always } else { Condition::Success },
        allow_failure: index.is_multiple_of(5),
        limits: TimeLimits { timeout: (index % 2 == 1).then_some(60), queue_timeout: (index % 3 == 1).then_some(600) },
        ..JobRecord::first(JobKey::new(run, index), id, phase)
    }
}

pub(crate) async fn put_jobs(ports: &impl Ports, jobs: &[JobRecord]) {
    let items = jobs.iter().map(|job| NewItem::Job(Box::new(job.clone()))).collect();
    ports.put_new(items).await.expect("the store answers");
}

pub(crate) async fn job_now(ports: &impl Ports, key: &JobKey) -> Option<JobRecord> {
    ports.job(key, Consistency::Strong).await.expect("the store answers")
}

/// Changes a job that has not ended. The record must then be the one that the engine computes.
pub(crate) async fn change(ports: &impl Ports, record: &JobRecord, change: Change) -> JobRecord {
    let expect = match (&change, &record.phase) {
        // The engine starts a waiting job only with this precondition.
        (Change::Start(_), Phase::Waiting { on }) => {
            Precondition::WaitingOnlyOn(*on.first().expect("it waits for one"))
        }
        _ => Precondition::NotEnded,
    };
    let update = JobUpdate { expect, change };
    let expected = update.apply(record).expect("nothing ended it yet");
    let answer = ports.update(&record.key, update.clone()).await.expect("the store answers");
    assert_eq!(answer, Updated::Done(expected.clone()), "answer to {update:?}");
    expected
}

pub(crate) fn become_ready(job: &JobRecord, at: Millis) -> Change {
    Change::BecomeReady { pool: job.pool.clone(), at, until: None }
}

/// The change after a failed first attempt.
pub(crate) fn try_again(job: &JobRecord, at: Millis) -> Change {
    Change::Retry {
        pool: job.pool.clone(),
        at,
        until: None,
        attempt: 1,
        used: Used { max: 1, ..Used::default() },
        last_report: report(1),
        error: "exit code 2: \"ünlucky\"\nsecond line".to_owned(),
        failed: vec![failed_attempt(0, at)],
        returned: None,
    }
}

pub(crate) fn failed_attempt(attempt: u32, at: Millis) -> Attempt {
    Attempt {
        attempt,
        cause: Cause::Lost,
        error: "it was \"lost\"".to_owned(),
        worker_id: WorkerId::new("worker-1").ok(),
        exit_code: None,
        started_at: Some(NOW),
        finished_at_ms: at,
    }
}

/// An end without a report.
pub(crate) fn end(outcome: JobOutcome) -> Change {
    Change::End(End::unreported(outcome, NOW))
}

/// As [`new_workflow`], new, with a group of its own.
pub(crate) fn new_workflow_in_a_group() -> (WorkflowRecord, Control) {
    let (workflow, control) = new_workflow(RunState::New);
    let name = Label::new(&name("group")).expect("a label");
    let key = GroupKey::of_runs(&name, ["eu", ""]);
    let group = GroupOfRun { key, name, shown: "group (region=eu, x=)".to_owned(), yields: true };
    (workflow, Control { group: Some(group), ..control })
}

/// A new workflow with its control record, not yet committed.
pub(crate) fn new_workflow(state: RunState) -> (WorkflowRecord, Control) {
    let workflow = WorkflowRecord {
        id: WorkflowId::new(name("wf")).expect("an id"),
        name: "Näme, with \"all\" kinds".to_owned(),
        trigger: "manual".to_owned(),
        created_at: NOW,
        run: fresh_run(),
        number: 1,
        ended: None,
        source: None,
    };
    let control = control_of(&workflow, state);
    (workflow, control)
}

pub(crate) fn control_of(workflow: &WorkflowRecord, state: RunState) -> Control {
    Control {
        run: workflow.run.clone(),
        workflow: workflow.id.clone(),
        number: workflow.number,
        jobs: 3,
        state,
        done_below: 0,
        failed: false,
        cancelled: false,
        opened_at: (state != RunState::New).then_some(NOW),
        group: None,
        blocked_at: None,
        opener: None,
        report: None,
        superseded: false,
        timer: if state.is_active() { Timer::Due(NOW + MAX_TIMER_DELAY) } else { Timer::Off },
    }
}

pub(crate) async fn commit_new(ports: &impl Ports, workflow: &WorkflowRecord, control: &Control) {
    let commit = Commit { workflow: workflow.clone(), replaces: None, control: control.clone(), idempotency: None };
    assert_eq!(ports.commit(commit).await.expect("the store answers"), Committed::Yes);
}

pub(crate) async fn workflow_now(ports: &impl Ports, id: &WorkflowId) -> Option<WorkflowRecord> {
    ports.workflow(id, Consistency::Strong).await.expect("the store answers")
}

pub(crate) async fn control_now(ports: &impl Ports, run: &RunKey) -> Option<Control> {
    ports.control(run, Consistency::Strong).await.expect("the store answers")
}

/// Repeats `ask` until the answer is right. Panics with the last answer.
pub(crate) async fn eventually<T, F>(ask: impl Fn() -> F, right: impl Fn(&T) -> bool) -> T
where
    T: std::fmt::Debug,
    F: Future<Output = Stored<T>>,
{
    let began = std::time::Instant::now();
    loop {
        let answer = ask().await.expect("the store answers");
        if right(&answer) {
            return answer;
        }
        assert!(began.elapsed() < EVENTUALLY, "still not right after {EVENTUALLY:?}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs all calls concurrently, each on its own task.
pub(crate) async fn at_once<T, F>(calls: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await.expect("the call doesn't panic"));
    }
    answers
}

/// A definition as submitted.
pub(crate) fn source(text: &str) -> Source {
    Source { content_type: "application/yaml".to_owned(), text: text.to_owned() }
}
