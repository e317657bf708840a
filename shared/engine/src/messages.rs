//! The messages that the change feed and the queues carry.

use serde::{Deserialize, Serialize};

use crate::ids::{JobIndex, JobKey, RunKey};
use crate::job::JobRecord;
use crate::run::Control;

/// A change that something follows from. Told at least once, maybe again, in the order of changes of one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeEvent {
    /// A job ended, with the record as it was then.
    JobEnded(Box<JobRecord>),
    /// A run was opened.
    RunOpened(Control),
    /// A run began to be cancelled.
    RunCancelling(Control),
}

impl ChangeEvent {
    /// Where it was.
    #[must_use]
    pub fn place(&self) -> Reconcile {
        match self {
            Self::JobEnded(job) => Reconcile::Job(job.key.clone()),
            Self::RunOpened(control) | Self::RunCancelling(control) => Reconcile::Run(control.run.clone()),
        }
    }
}

impl Reconcile {
    pub(crate) fn run(&self) -> &RunKey {
        match self {
            Self::Job(key) => &key.run,
            Self::Run(run) => run,
        }
    }
}

/// What a queue brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueMessage {
    /// A step of long work.
    BatchTask(BatchTask),
    /// A look at a run.
    Timer(RunKey),
    /// A change that could not be handled when it came.
    Reconcile(Reconcile),
}

/// Where a change was that could not be handled. What is there now is what is handled then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconcile {
    /// In a job.
    Job(JobKey),
    /// In a run's control.
    Run(RunKey),
}

/// Long work in a run, done in steps of bounded size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchTask {
    /// The run.
    pub run: RunKey,
    /// What to do.
    pub kind: BatchKind,
    /// Where the next step begins.
    pub from: JobIndex,
}

/// What a walk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchKind {
    /// Makes the jobs that need nothing ready.
    Roots,
    /// Promotes the dependents of a job that succeeded; `from` counts among them.
    Dependents {
        /// The job.
        of: JobIndex,
    },
    /// Skips what can't start any more.
    Skip,
    /// Cancels what hasn't ended.
    Cancel,
    /// Removes all records of a deleted run.
    Delete {
        /// How many jobs it had.
        jobs: u32,
    },
}

/// A piece of work that a local store has listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A change that something follows from.
    ChangeEvent(ChangeEvent),
    /// A step of long work.
    BatchTask(BatchTask),
    /// A change that could not be handled when it came.
    Reconcile(Reconcile),
}
