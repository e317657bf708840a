//! The messages that the change feed and the queues carry.

use serde::{Deserialize, Serialize};

use crate::ids::forge::ReportKey;
use crate::ids::{GroupKey, JobIndex, JobKey, RunKey};
use crate::job::JobRecord;
use crate::run::{Control, RunState};

/// A change that the engine must act on. Delivered at least once. Changes of one record are delivered in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeEvent {
    /// A job ended. Carries the record as of that change.
    JobEnded(Box<JobRecord>),
    /// A run was opened.
    RunOpened(Control),
    /// A run of a group was started, and waits for its turn.
    RunBlocked(Control),
    /// A run began to be cancelled.
    RunCancelling(Control),
    /// A run of a group became final.
    RunEnded(Control),
    /// The state of a run, or of one of its jobs, has changed that a forge is told.
    ReportChanged(RunKey, ReportKey),
}

impl ChangeEvent {
    /// Returns the event for a control record that was written, given the run's state before, if it existed.
    #[must_use]
    pub fn of_run(before: Option<RunState>, control: &Control) -> Option<Self> {
        match control.state {
            state if before == Some(state) => None,
            RunState::Open => Some(Self::RunOpened(control.clone())),
            RunState::Blocked => Some(Self::RunBlocked(control.clone())),
            RunState::Cancelling => Some(Self::RunCancelling(control.clone())),
            RunState::Final if control.group.is_some() => Some(Self::RunEnded(control.clone())),
            RunState::New | RunState::Final => None,
        }
    }

    /// Returns the event for a job that a forge is told of, if its state for people has changed.
    #[must_use]
    pub fn of_reported_job(before: &JobRecord, job: &JobRecord) -> Option<Self> {
        let report = job.report.clone().filter(|_| before.status() != job.status())?;
        Some(Self::ReportChanged(job.key.run.clone(), report))
    }

    /// Returns the event for a run that a forge is told of, if its state has changed.
    #[must_use]
    pub fn of_reported_run(before: Option<RunState>, control: &Control) -> Option<Self> {
        let report = control.report.clone().filter(|_| before != Some(control.state))?;
        Some(Self::ReportChanged(control.run.clone(), report))
    }

    /// Returns the changed record's address.
    #[must_use]
    pub fn place(&self) -> Reconcile {
        match self {
            Self::ReportChanged(run, report) => Reconcile::Report(run.clone(), report.clone()),
            Self::JobEnded(job) => Reconcile::Job(job.key.clone()),
            Self::RunOpened(control)
            | Self::RunBlocked(control)
            | Self::RunCancelling(control)
            | Self::RunEnded(control) => Reconcile::Run(control.run.clone()),
        }
    }
}

/// A change as the feed delivers it.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivered {
    /// A change that the engine must act on.
    Event(ChangeEvent),
    /// A changed record whose content in the feed can't be read.
    Unreadable(Reconcile),
}

impl Delivered {
    /// Returns the changed record's address.
    #[must_use]
    pub fn place(&self) -> Reconcile {
        match self {
            Self::Event(event) => event.place(),
            Self::Unreadable(place) => place.clone(),
        }
    }
}

impl Reconcile {
    pub(crate) fn run(&self) -> &RunKey {
        match self {
            Self::Job(key) => &key.run,
            Self::Run(run) | Self::Report(run, _) => run,
        }
    }
}

/// A message from a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueMessage {
    /// One batch of a task.
    BatchTask(BatchTask),
    /// A run's timer.
    Timer(RunKey),
    /// A record whose change event could not be processed.
    Reconcile(Reconcile),
    /// A delivery or a report of a forge is due. Whoever receives it wakes what handles them.
    ForgesDue,
}

/// The record whose change event could not be processed. A retry processes the record's current state, not the state
/// in the event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconcile {
    /// A job's record.
    Job(JobKey),
    /// A run's control record.
    Run(RunKey),
    /// A report, whose states are told again.
    Report(RunKey, ReportKey),
}

/// An operation on many jobs of a run, done in batches of bounded size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchTask {
    /// The run.
    pub run: RunKey,
    /// The operation.
    pub kind: BatchKind,
    /// The index at which the next batch starts.
    pub from: JobIndex,
    /// The number of batches that this task has run.
    #[serde(default)]
    pub batches: u32,
}

impl BatchTask {
    /// A task that starts at an index.
    #[must_use]
    pub fn new(run: RunKey, kind: BatchKind, from: JobIndex) -> Self {
        Self { run, kind, from, batches: 0 }
    }

    /// The rest of this task, to be counted from zero again.
    #[must_use]
    pub fn counted_anew(self) -> Self {
        Self { batches: 0, ..self }
    }
}

/// The operation of a batch task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchKind {
    /// Makes jobs without needs ready.
    Roots,
    /// Tells the dependents of a job that it has ended: all if it passed, otherwise those that have an `if`. `from` is a
    /// position in the list of these.
    Dependents {
        /// The job.
        of: JobIndex,
    },
    /// Skips jobs that can no longer start.
    Skip,
    /// Cancels jobs that haven't ended.
    Cancel,
    /// Removes places of a group that are no longer needed, and gives the turn to the next.
    Admit {
        /// The group.
        group: GroupKey,
    },
    /// Removes all records of a deleted run.
    Delete {
        /// The number of jobs of the run.
        jobs: u32,
    },
}

/// An item of work that a local store has listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A change that the engine must act on.
    ChangeEvent(ChangeEvent),
    /// One batch of a task.
    BatchTask(BatchTask),
    /// A record whose change event could not be processed.
    Reconcile(Reconcile),
}
