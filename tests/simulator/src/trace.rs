//! The story of a seed, for a person: when, who, what, and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use engine::ids::{JobKey, RunKey};
use engine::job::{JobOutcome, JobRecord, OutputsRef, Phase};
use engine::ports::{Committed, Idempotency, Pool, PoolQueue, ReadyHead, StoreError, Stored, Updated, WorkerRecord};
use engine::run::{Control, Timer, WorkflowRecord};
use protocol::{Millis, Outputs, WorkflowId};

use crate::world::World;

/// Lines told so far, if anybody listens, and short names for long ids.
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

    /// One line. Not put together unless somebody listens.
    pub(crate) fn say(&mut self, clock: Millis, line: impl FnOnce() -> String) {
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

    /// A job by its place in the order of its run, which is how keys and needs name it.
    pub(crate) fn job(&self, key: &JobKey) -> String {
        format!("{}/#{}", self.run(&key.run), key.index)
    }

    /// A time of day, from the beginning on.
    pub(crate) fn at(&self, at: Millis) -> String {
        let began = self.began.unwrap_or_default();
        let millis = i128::from(at.0) - i128::from(began.0);
        format!("{}.{:03}", millis / 1000, millis.unsigned_abs() % 1000)
    }
}

impl World {
    /// What a call of the handler that goes on did.
    pub(crate) fn say_done<T: Tell>(&mut self, what: Option<&str>, answer: &Stored<T>, then: &str) {
        let Some(what) = what else { return };
        let line = format!("{} {what}: {}{then}", self.handler_name(self.gates.current), answer.tell(&self.trace));
        self.say(|| line);
    }

    pub(crate) fn handler_name(&self, handler: u32) -> String {
        let task = self.who.get(&handler).map_or_else(String::new, |who| who.task.to_string());
        format!("[{handler} {task}]")
    }
}

/// A set of places as `#1 #2`.
pub(crate) fn places<'a>(places: impl IntoIterator<Item = &'a u32>) -> String {
    let text: Vec<String> = places.into_iter().map(|place| format!("#{place}")).collect();
    if text.is_empty() { "nothing".to_owned() } else { text.join(" ") }
}

/// What a person is told of an answer.
pub(crate) trait Tell {
    fn tell(&self, trace: &Trace) -> String;
}

impl<T: Tell> Tell for Stored<T> {
    fn tell(&self, trace: &Trace) -> String {
        match self {
            Ok(answer) => answer.tell(trace),
            Err(StoreError::Unavailable(how)) => format!("UNAVAILABLE, {how}"),
            Err(error) => error.to_string(),
        }
    }
}

impl<T: Tell> Tell for Option<T> {
    fn tell(&self, trace: &Trace) -> String {
        self.as_ref().map_or_else(|| "not there".to_owned(), |some| some.tell(trace))
    }
}

impl<T: Tell> Tell for Vec<T> {
    fn tell(&self, trace: &Trace) -> String {
        if self.is_empty() {
            return "none".to_owned();
        }
        self.iter().map(|one| one.tell(trace)).collect::<Vec<_>>().join("; ")
    }
}

impl<T: Tell> Tell for Updated<T> {
    fn tell(&self, trace: &Trace) -> String {
        match self {
            Self::Done(record) => format!("done: {}", record.tell(trace)),
            Self::ConditionFailed(record) => format!("REFUSED: {}", record.tell(trace)),
        }
    }
}

impl Tell for () {
    fn tell(&self, _: &Trace) -> String {
        "done".to_owned()
    }
}

impl Tell for bool {
    fn tell(&self, _: &Trace) -> String {
        if *self { "yes".to_owned() } else { "no".to_owned() }
    }
}

impl Tell for RunKey {
    fn tell(&self, trace: &Trace) -> String {
        trace.run(self)
    }
}

impl Tell for JobRecord {
    fn tell(&self, trace: &Trace) -> String {
        let phase = match &self.phase {
            Phase::Waiting { on } => format!("waits for {}", places(on)),
            Phase::Ready { at, .. } => format!("ready from {}", trace.at(*at)),
            Phase::Running(lease) => {
                format!("held by {} until {} (fence {:.4})", lease.worker, trace.at(lease.until), lease.fence.as_str())
            }
            Phase::Ended(ending) => match &ending.outcome {
                JobOutcome::Success(OutputsRef::Inline(outputs)) => format!("success with {}", outputs.tell(trace)),
                JobOutcome::Success(OutputsRef::External { id, .. }) => format!("success with outputs at {id:.4}"),
                JobOutcome::Failure { .. } => "failure".to_owned(),
                JobOutcome::Skipped => "skipped".to_owned(),
                JobOutcome::Cancelled => "cancelled".to_owned(),
            },
        };
        format!("#{} {} {phase}", self.key.index, self.id)
    }
}

impl Tell for engine::job::JobSpec {
    fn tell(&self, _: &Trace) -> String {
        format!("needs {}", places(&self.needs))
    }
}

impl Tell for Control {
    fn tell(&self, trace: &Trace) -> String {
        let timer = match self.timer {
            Timer::Off => "no timer".to_owned(),
            Timer::Firing => "firing".to_owned(),
            Timer::Due(at) => format!("timer at {}", trace.at(at)),
        };
        format!("{}, {timer}, done below #{} of {}", self.state.as_ref(), self.done_below, self.jobs)
    }
}

impl Tell for WorkflowRecord {
    fn tell(&self, trace: &Trace) -> String {
        let ended = self.ended.map_or_else(|| "not ended".to_owned(), |end| format!("ended: {}", end.status));
        format!("{}, {ended}", trace.run(&self.run))
    }
}

impl Tell for Committed {
    fn tell(&self, _: &Trace) -> String {
        match self {
            Self::Yes => "yes",
            Self::KeyTaken => "the key is taken",
            Self::Superseded => "the workflow has moved on",
        }
        .to_owned()
    }
}

impl Tell for Idempotency {
    fn tell(&self, trace: &Trace) -> String {
        trace.workflow(&self.workflow)
    }
}

impl Tell for BTreeSet<u32> {
    fn tell(&self, _: &Trace) -> String {
        places(self)
    }
}

impl Tell for ReadyHead {
    fn tell(&self, trace: &Trace) -> String {
        trace.job(&self.job)
    }
}

impl Tell for (u64, Option<Millis>) {
    fn tell(&self, _: &Trace) -> String {
        self.0.to_string()
    }
}

impl Tell for Outputs {
    fn tell(&self, _: &Trace) -> String {
        let pairs: Vec<String> = self.iter().map(|(name, value)| format!("{name}={value:.12}")).collect();
        format!("{{{}}}", pairs.join(" "))
    }
}

impl Tell for Pool {
    fn tell(&self, _: &Trace) -> String {
        let labels: Vec<&str> = self.labels.iter().map(protocol::Label::as_str).collect();
        format!("[{}]", labels.join(" "))
    }
}

impl Tell for PoolQueue {
    fn tell(&self, _: &Trace) -> String {
        "a queue".to_owned()
    }
}

impl Tell for WorkerRecord {
    fn tell(&self, trace: &Trace) -> String {
        format!("{}, seen at {}", self.id, trace.at(self.last_seen))
    }
}

impl Tell for String {
    fn tell(&self, _: &Trace) -> String {
        self.clone()
    }
}

impl Tell for protocol::requests::LogPiece {
    fn tell(&self, _: &Trace) -> String {
        self.sequence.to_string()
    }
}
