//! The requests so far and what follows from them. The checks compare the engine's state with this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::ids::{JobKey, RunKey};
use protocol::{Label, LabelSet, Millis, Outputs, WorkerId, WorkflowId};

use crate::graph::{Allowed, Ends, Graph};
use crate::task::AttemptResult;

/// The memory of the checks.
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) violation: Option<String>,
    pub(crate) runs: BTreeMap<RunKey, Run>,
    pub(crate) graphs: BTreeMap<WorkflowId, Arc<Graph>>,
    /// The accepted report under each fence, and its step.
    pub(crate) accepted: BTreeMap<String, (u64, AttemptResult)>,
    pub(crate) attempts_reported: BTreeSet<(JobKey, u32)>,
    /// The step in which the attempt under each fence began.
    pub(crate) began: BTreeMap<String, u64>,
    /// The next job of the completion under each fence, and its own fence.
    pub(crate) next: BTreeMap<String, (JobKey, String)>,
    pub(crate) tries: BTreeMap<JobKey, Tries>,
    /// The outputs of each accepted success.
    pub(crate) outputs: BTreeMap<JobKey, Outputs>,
    /// Runs that were deleted completely.
    pub(crate) gone: BTreeSet<RunKey>,
    /// By run, the index below which a handler counted all jobs as ended, and the step in which it ended.
    pub(crate) counted: BTreeMap<RunKey, (u32, u64)>,
    /// The latest reads of each worker's record by the claims of each process.
    pub(crate) worker_reads: BTreeMap<(usize, WorkerId), Vec<Millis>>,
    /// Workers whose record shows an earlier claim than their latest.
    pub(crate) overtaken: BTreeSet<WorkerId>,
    /// When a run of each group was last started.
    pub(crate) started: BTreeMap<Label, Millis>,
    /// When the drain began.
    pub(crate) drained_at: Option<Millis>,
    /// The workflow of each idempotency key, by the first answer.
    pub(crate) keys: BTreeMap<String, WorkflowId>,
}

/// The attempts of a job.
#[derive(Default)]
pub(crate) struct Tries {
    pub(crate) begun: u32,
    /// Retryable failures, losses and timeouts, by the budget that they used.
    pub(crate) max: u32,
    pub(crate) lost: u32,
    pub(crate) timeouts: u32,
    /// Attempts that workers gave back, in all and in a row.
    pub(crate) returned: u32,
    pub(crate) returned_in_a_row: u32,
    /// Claims that took the job and failed, in all and in a row.
    pub(crate) claims_failed: u32,
    pub(crate) claims_failed_in_a_row: u32,
}

/// A committed run.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the run")]
pub(crate) struct Run {
    /// The jobs by index.
    pub(crate) jobs: Vec<ExpectedJob>,
    /// A cancel was written.
    pub(crate) cancelled: bool,
    pub(crate) deleted: bool,
    /// The group of the run.
    pub(crate) group: Option<Label>,
    /// A newer run of the group cancels this one.
    pub(crate) yields: bool,
    /// The run got its turn.
    pub(crate) opened: bool,
    /// The step in which a cancel or delete was answered. Nothing later may start or count.
    pub(crate) barrier: Option<u64>,
}

/// The requested properties of a job.
pub(crate) struct ExpectedJob {
    pub(crate) needs: Vec<u32>,
    pub(crate) labels: LabelSet,
    pub(crate) allowed: Allowed,
    pub(crate) group: Option<Label>,
    pub(crate) ends: Ends,
    /// A re-run kept it.
    pub(crate) kept: bool,
}

/// What a job that has ended is to the jobs that need it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// What must become of a waiting job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Runs,
    IsSkipped,
}
