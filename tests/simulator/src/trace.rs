//! The trace of a seed for a person: time, handler, call and result.

use std::collections::{BTreeMap, BTreeSet};

use engine::ids::{JobKey, RunKey};
use engine::job::{JobOutcome, JobRecord, OutputsRef, Phase};
use engine::ports::{
    Committed, Idempotency, Pool, PoolQueue, ReadyHead, ShardWaits, StoreError, Stored, Updated, WorkerRecord,
};
use engine::run::{Control, Timer, WorkflowRecord};
use protocol::{Millis, Outputs, WorkflowId};

/// The lines so far, if the trace is enabled, and short names for long ids.
#[derive(Default)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
    began: Option<Millis>,
    runs: BTreeMap<RunKey, String>,
    workflows: BTreeMap<WorkflowId, String>,
}

impl Trace {
    pub(crate) fn enabled() -> Self {
        Self { lines: Some(Vec::new()), ..Self::default() }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.lines.is_some()
    }

    /// Adds a line. `line` is called only if the trace is enabled.
    pub(crate) fn log(&mut self, clock: Millis, line: impl FnOnce() -> String) {
        let began = *self.began.get_or_insert(clock);
        if let Some(lines) = &mut self.lines {
            let millis = clock.since(began).as_millis();
            lines.push(format!("{:6}.{:03}  {}", millis / 1000, millis % 1000, line()));
        }
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }

    pub(crate) fn name_run(&mut self, run: &RunKey) {
        let next = format!("run{}", self.runs.len() + 1);
        self.runs.entry(run.clone()).or_insert(next);
    }

    pub(crate) fn name_workflow(&mut self, id: &WorkflowId) {
        let next = format!("wf{}", self.workflows.len() + 1);
        self.workflows.entry(id.clone()).or_insert(next);
    }

    pub(crate) fn run(&self, run: &RunKey) -> String {
        self.runs.get(run).cloned().unwrap_or_else(|| format!("run {:.6}", run.as_str()))
    }

    pub(crate) fn workflow(&self, id: &WorkflowId) -> String {
        self.workflows.get(id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// A job by its index in the run, as in keys and needs.
    pub(crate) fn job(&self, key: &JobKey) -> String {
        format!("{}/#{}", self.run(&key.run), key.index)
    }

    /// A time, in seconds since the beginning.
    pub(crate) fn at(&self, at: Millis) -> String {
        let began = self.began.unwrap_or_default();
        let millis = i128::from(at.0) - i128::from(began.0);
        format!("{}.{:03}", millis / 1000, millis.unsigned_abs() % 1000)
    }
}

/// Indexes as `#1 #2`.
pub(crate) fn list_indexes<'a>(indexes: impl IntoIterator<Item = &'a u32>) -> String {
    let text: Vec<String> = indexes.into_iter().map(|index| format!("#{index}")).collect();
    if text.is_empty() { "nothing".to_owned() } else { text.join(" ") }
}

/// The text of a value in the trace.
pub(crate) trait Describe {
    fn describe(&self, trace: &Trace) -> String;
}

impl<T: Describe> Describe for Stored<T> {
    fn describe(&self, trace: &Trace) -> String {
        match self {
            Ok(answer) => answer.describe(trace),
            Err(StoreError::Unavailable(how)) => format!("UNAVAILABLE, {how}"),
            Err(error) => error.to_string(),
        }
    }
}

impl<T: Describe> Describe for Option<T> {
    fn describe(&self, trace: &Trace) -> String {
        self.as_ref().map_or_else(|| "not there".to_owned(), |some| some.describe(trace))
    }
}

impl<T: Describe> Describe for Vec<T> {
    fn describe(&self, trace: &Trace) -> String {
        if self.is_empty() {
            return "none".to_owned();
        }
        self.iter().map(|one| one.describe(trace)).collect::<Vec<_>>().join("; ")
    }
}

impl<T: Describe> Describe for Updated<T> {
    fn describe(&self, trace: &Trace) -> String {
        match self {
            Self::Done(record) => format!("done: {}", record.describe(trace)),
            Self::ConditionFailed(record) => format!("REFUSED: {}", record.describe(trace)),
        }
    }
}

impl Describe for () {
    fn describe(&self, _: &Trace) -> String {
        "done".to_owned()
    }
}

impl Describe for bool {
    fn describe(&self, _: &Trace) -> String {
        if *self { "yes".to_owned() } else { "no".to_owned() }
    }
}

impl Describe for Millis {
    fn describe(&self, _: &Trace) -> String {
        self.0.to_string()
    }
}

impl Describe for RunKey {
    fn describe(&self, trace: &Trace) -> String {
        trace.run(self)
    }
}

impl Describe for JobRecord {
    fn describe(&self, trace: &Trace) -> String {
        let phase = match &self.phase {
            Phase::Waiting { on } => format!("waits for {}", list_indexes(on)),
            Phase::Blocked { at } => format!("blocked since {}", trace.at(*at)),
            Phase::Ready { at, .. } => format!("ready from {}", trace.at(*at)),
            Phase::Running(lease) => {
                format!(
                    "leased to {} until {} (fence {:.4})",
                    lease.worker,
                    trace.at(lease.until),
                    lease.fence.as_str()
                )
            }
            Phase::Ended(ending) => match &ending.outcome {
                JobOutcome::Success(OutputsRef::Inline(outputs)) => format!("success with {}", outputs.describe(trace)),
                JobOutcome::Success(OutputsRef::External { id, .. }) => format!("success with outputs at {id:.4}"),
                JobOutcome::Failure { .. } => "failure".to_owned(),
                JobOutcome::Skipped(because) => format!("skipped because of {because:?}"),
                JobOutcome::Cancelled => "cancelled".to_owned(),
            },
        };
        format!("#{} {} {phase}", self.key.index, self.id)
    }
}

impl Describe for engine::job::JobSpec {
    fn describe(&self, _: &Trace) -> String {
        format!("needs {}", list_indexes(&self.needs))
    }
}

impl Describe for Control {
    fn describe(&self, trace: &Trace) -> String {
        let timer = match self.timer {
            Timer::Off => "no timer".to_owned(),
            Timer::Firing => "firing".to_owned(),
            Timer::Due(at) => format!("timer at {}", trace.at(at)),
        };
        format!("{}, {timer}, done below #{} of {}", self.state.as_ref(), self.done_below, self.jobs)
    }
}

impl Describe for WorkflowRecord {
    fn describe(&self, trace: &Trace) -> String {
        let ended = self.ended.map_or_else(|| "not ended".to_owned(), |end| format!("ended: {}", end.status));
        format!("{}, {ended}", trace.run(&self.run))
    }
}

impl Describe for Committed {
    fn describe(&self, _: &Trace) -> String {
        match self {
            Self::Yes => "yes",
            Self::KeyTaken => "the key is taken",
            Self::Superseded => "the workflow has moved on",
        }
        .to_owned()
    }
}

impl Describe for Idempotency {
    fn describe(&self, trace: &Trace) -> String {
        trace.workflow(&self.workflow)
    }
}

impl Describe for ShardWaits {
    fn describe(&self, _: &Trace) -> String {
        format!("{}{}", list_indexes(&self.members), if self.need_failed { ", and one failed" } else { "" })
    }
}

impl Describe for BTreeSet<u32> {
    fn describe(&self, _: &Trace) -> String {
        list_indexes(self)
    }
}

impl Describe for ReadyHead {
    fn describe(&self, trace: &Trace) -> String {
        trace.job(&self.job)
    }
}

impl Describe for (u64, Option<Millis>) {
    fn describe(&self, _: &Trace) -> String {
        self.0.to_string()
    }
}

impl Describe for Outputs {
    fn describe(&self, _: &Trace) -> String {
        let pairs: Vec<String> = self.iter().map(|(name, value)| format!("{name}={value:.12}")).collect();
        format!("{{{}}}", pairs.join(" "))
    }
}

impl Describe for protocol::wire::InputValues {
    fn describe(&self, _: &Trace) -> String {
        let pairs: Vec<String> = self.iter().map(|(name, value)| format!("{name}={value:.12}")).collect();
        format!("{{{}}}", pairs.join(" "))
    }
}

impl Describe for Pool {
    fn describe(&self, _: &Trace) -> String {
        let labels: Vec<&str> = self.labels.iter().map(protocol::Label::as_str).collect();
        format!("[{}]", labels.join(" "))
    }
}

impl Describe for PoolQueue {
    fn describe(&self, _: &Trace) -> String {
        "a queue".to_owned()
    }
}

impl Describe for WorkerRecord {
    fn describe(&self, trace: &Trace) -> String {
        format!("{}, seen at {}", self.id, trace.at(self.last_seen))
    }
}

impl Describe for String {
    fn describe(&self, _: &Trace) -> String {
        self.clone()
    }
}

impl Describe for protocol::requests::LogPiece {
    fn describe(&self, _: &Trace) -> String {
        self.sequence.to_string()
    }
}
