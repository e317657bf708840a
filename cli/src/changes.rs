//! Finds what changed between two observed states of a workflow. No I/O.

use std::collections::HashMap;
use std::time::Duration;

use protocol::wire::{Job, Stream, WaitReason, Workflow};
use protocol::{JobId, LabelSet, Millis, Status, WorkerId};

/// How long a job must have waited for one reason before the reason is reported.
const LONG_WAIT: Duration = Duration::from_secs(3);

/// What changed. Every change but the first two is about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another run of the workflow has begun.
    RunBegan,
    /// The workflow has not been started, or its run waits for its turn.
    NotStarted,
    /// There may be more in the log of an attempt. If `last`, nothing will be added later.
    Log { attempt: u32, last: bool },
    /// This attempt failed, and another one follows.
    AttemptFailed(u32),
    /// A worker started the current attempt.
    Started,
    /// The job has waited for some time, for a reason that was not reported yet.
    Waits,
    /// The job ended.
    Ended,
}

/// Formats changes.
pub trait Reporter {
    /// Text about the workflow: [`Change::RunBegan`] or [`Change::NotStarted`].
    fn workflow(&mut self, _workflow: &Workflow, _change: Change) -> String {
        String::new()
    }
    /// Text about a job.
    fn job(&mut self, workflow: &Workflow, job: &Job, change: Change) -> String;
    /// A line of a job's log.
    fn log_line(&mut self, job: &JobId, attempt: u32, stream: Stream, line: &str) -> String;
    /// The picture that is drawn after each observation.
    fn picture(&mut self, _workflow: &Workflow, _now: Millis) -> String {
        String::new()
    }
    /// The text after the last change.
    fn closing(&mut self, workflow: &Workflow, now: Millis) -> String;
}

/// The last observed state of a run.
pub struct Changes {
    run: u32,
    jobs: HashMap<JobId, LastState>,
    reported_not_started: bool,
}

/// The last observed state of a job.
#[derive(Default)]
struct LastState {
    attempt: u32,
    started: bool,
    ended: bool,
    wait: Option<Wait>,
}

/// A reason to wait, the time from which it holds, and whether it was reported.
struct Wait {
    reason: Reason,
    since: Millis,
    reported: bool,
}

/// What makes a reason to wait another one.
type Reason = (WaitReason, Option<LabelSet>, Option<WorkerId>, Vec<WorkerId>);

impl Changes {
    /// Starts without an observed state of this workflow.
    pub fn new(workflow: &Workflow) -> Self {
        Self { run: workflow.run, jobs: HashMap::new(), reported_not_started: false }
    }

    /// Whether the end of every job was observed.
    pub fn all_ended(&self, workflow: &Workflow) -> bool {
        workflow.jobs.iter().all(|job| self.jobs.get(&job.id).is_some_and(|last| last.ended))
    }

    /// Returns the changes since the last call, by the times at which they happened. `now` is this machine's time.
    pub fn observe<'a>(&mut self, workflow: &'a Workflow, now: Millis) -> Vec<(Option<&'a Job>, Change)> {
        let mut changes = Vec::new();
        if workflow.run != self.run {
            self.run = workflow.run;
            self.jobs.clear();
            changes.push((None, Change::RunBegan));
        }
        if workflow.status == Status::Queued {
            // Nobody has the group of the run or waits for it: the run starts within moments.
            let waiting = workflow.waiting_for.as_ref();
            if waiting.is_some_and(|waiting| waiting.holder.is_none() && waiting.ahead.unwrap_or(0) == 0) {
                return changes;
            }
            let reported = std::mem::replace(&mut self.reported_not_started, true);
            changes.extend((!reported).then_some((None, Change::NotStarted)));
            return changes;
        }
        let mut jobs: Vec<&Job> = workflow.jobs.iter().collect();
        jobs.sort_by_key(|job| job.started_at.or(job.finished_at_ms).unwrap_or(Millis(u64::MAX)));
        for job in jobs {
            let of_job = self.jobs.entry(job.id.clone()).or_default().observe(job, now);
            changes.extend(of_job.into_iter().map(|change| (Some(job), change)));
        }
        changes
    }
}

impl LastState {
    fn observe(&mut self, job: &Job, now: Millis) -> Vec<Change> {
        let mut changes = Vec::new();
        while self.attempt < job.attempt {
            changes.extend([Change::Log { attempt: self.attempt, last: true }, Change::AttemptFailed(self.attempt)]);
            *self = Self { attempt: self.attempt + 1, ..Self::default() };
        }
        if self.ended {
            return changes;
        }
        if job.status == Status::Queued {
            // A claim of this attempt may have failed.
            self.started = false;
            changes.extend(self.waits(job, now).then_some(Change::Waits));
            return changes;
        }
        self.wait = None;
        if job.worker_id.is_some() && !self.started {
            self.started = true;
            changes.push(Change::Started);
        }
        self.ended = job.status.is_final();
        if self.started {
            changes.push(Change::Log { attempt: job.attempt, last: self.ended });
        }
        changes.extend(self.ended.then_some(Change::Ended));
        changes
    }

    /// Whether to report why the job waits: once for each reason, after [`LONG_WAIT`]. Waiting for needed jobs is not reported.
    fn waits(&mut self, job: &Job, now: Millis) -> bool {
        let Some(waiting) = job.waiting_for.as_ref().filter(|waiting| waiting.reason != WaitReason::Needs) else {
            self.wait = None;
            return false;
        };
        let paused = waiting.paused.iter().map(|worker| worker.worker_id.clone()).collect();
        let reason = (waiting.reason, waiting.missing.clone(), waiting.nearest.clone(), paused);
        let last = self.wait.take().filter(|wait| wait.reason == reason);
        let wait = self.wait.insert(last.unwrap_or(Wait { reason, since: now, reported: false }));
        let due = !wait.reported && now.since(wait.since) >= LONG_WAIT;
        wait.reported |= due;
        due
    }
}
