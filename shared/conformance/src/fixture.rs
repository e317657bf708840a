//! What the checks are made of.

use std::future::Future;
use std::time::Duration;

use engine::ids::{Fence, JobIndex, JobKey, PoolId, ReportHash, RunKey};
use engine::job::{Change, Expect, Hold, JobRecord, JobSpec, JobUpdate, Kept, LastReport, Phase};
use engine::ports::{Commit, Committed, Consistency, NewItem, Ports, Stored, Updated};
use engine::run::{Control, RunState, WorkflowRecord};
use protocol::wire::OutputsFrom;
use protocol::{JobId, LabelSet, Millis, Outputs, WorkerId, WorkflowId};

/// When it is, in checks that don't ask the store.
pub(crate) const NOW: Millis = Millis(1_750_000_000_000);
/// How long "eventually" may take.
const EVENTUALLY: Duration = Duration::from_secs(10);

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A name that nothing else has.
pub(crate) fn name(ports: &impl Ports, what: &str) -> String {
    format!("{what}-{}", &hex::encode(ports.random())[..20])
}

pub(crate) fn fresh_run(ports: &impl Ports) -> RunKey {
    RunKey::new(ports.random())
}

/// A label set, and so a pool, that nothing else has.
pub(crate) fn fresh_labels(ports: &impl Ports) -> LabelSet {
    LabelSet::from_comma_separated(&name(ports, "label")).expect("a label")
}

pub(crate) fn fence(n: u32) -> Fence {
    Fence::from_stored(format!("{n:032x}"))
}

pub(crate) fn hold(n: u32, until: Millis) -> Hold {
    let worker = WorkerId::new(format!("worker-{n}")).expect("an id");
    Hold { fence: fence(n), worker, ttl_secs: 30, started_at: NOW, until }
}

pub(crate) fn report(n: u32) -> LastReport {
    LastReport { fence: fence(n), report: ReportHash::of(["report", &n.to_string()]) }
}

pub(crate) fn outputs_of(pairs: &[(&str, &str)]) -> Outputs {
    let name = |name: &str| protocol::OutputName::new(name).expect("a name");
    pairs.iter().map(|(key, value)| (name(key), (*value).to_owned())).collect()
}

pub(crate) fn spec(labels: &LabelSet) -> JobSpec {
    JobSpec {
        name: "Bäu \"all\"".to_owned(),
        script: "echo \"::set-output a=1\"\ntrue".to_owned(),
        env: Vec::new(),
        labels: labels.clone(),
        needs: Vec::new(),
        dependents: vec![7, 9],
        max_retries: 2,
        outputs_from: OutputsFrom::default(),
        place: 3,
        kept: Kept { metadata: serde_json::json!({ "x": [1, null, "é"] }), ..Kept::default() },
    }
}

/// A job as a run begins with it.
pub(crate) fn waiting(run: &RunKey, index: JobIndex, on: &[JobIndex], labels: &LabelSet) -> JobRecord {
    JobRecord {
        key: JobKey::new(run, index),
        id: JobId::new(format!("job-{index}")).expect("an id"),
        pool: PoolId::of(labels),
        spec: Some(Box::new(spec(labels))),
        sharded: false,
        attempt: 0,
        retries_used: 0,
        last_report: None,
        error: None,
        ready_at: None,
        phase: Phase::Waiting { on: on.iter().copied().collect() },
    }
}

pub(crate) async fn put_jobs(ports: &impl Ports, jobs: &[JobRecord]) {
    let items = jobs.iter().map(|job| NewItem::Job(Box::new(job.clone()))).collect();
    ports.put_new(items).await.expect("the store answers");
}

pub(crate) async fn job_now(ports: &impl Ports, key: &JobKey) -> Option<JobRecord> {
    ports.job(key, Consistency::Strong).await.expect("the store answers")
}

/// Changes a job as nothing can refuse; the record must then be what the engine says.
pub(crate) async fn change(ports: &impl Ports, record: &JobRecord, change: Change) -> JobRecord {
    let update = JobUpdate { expect: Expect::NotEnded, change };
    let expected = update.apply(record).expect("nothing ended it yet");
    let answer = ports.update(&record.key, update.clone()).await.expect("the store answers");
    assert_eq!(answer, Updated::Done(expected.clone()), "answer to {update:?}");
    expected
}

pub(crate) fn become_ready(job: &JobRecord, at: Millis) -> Change {
    Change::BecomeReady { pool: job.pool.clone(), at }
}

/// A workflow of its own, with its control, not yet committed.
pub(crate) fn new_workflow(ports: &impl Ports, state: RunState) -> (WorkflowRecord, Control) {
    let workflow = WorkflowRecord {
        id: WorkflowId::new(name(ports, "wf")).expect("an id"),
        name: "Näme, with \"all\" kinds".to_owned(),
        trigger: "manual".to_owned(),
        created_at: NOW,
        run: fresh_run(ports),
        number: 1,
        ended: None,
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

/// Asks until the answer is right, or says what it is.
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

/// Starts all at once, each on a task of its own.
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
