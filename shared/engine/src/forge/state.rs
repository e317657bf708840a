//! The states that a forge is told.

use serde::{Deserialize, Serialize};

/// The state of a run, of a job, or of a file without a run. Each forge has a table from these to its own states, without a
/// default arm, so that a new state can't be told as passed by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display, strum::VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TargetState {
    /// It waits: for its needs, a worker or its turn.
    Queued,
    /// A fork's commit waits for an approval.
    WaitsForApproval,
    /// It runs.
    Running,
    /// It succeeded.
    Success,
    /// It failed.
    Failure,
    /// It failed, and `allow_failure` lets the run go on.
    FailureAllowed,
    /// It ended at a time limit.
    TimedOut,
    /// There was nothing to do: its condition didn't hold, it ended with `skip_exit`, or `paths` leaves the change out.
    Skipped,
    /// It didn't run because a job that it needs failed.
    NeedFailed,
    /// It was cancelled, also by a newer run.
    Cancelled,
    /// The file isn't valid, or asks for more than it may.
    Invalid,
}

impl TargetState {
    /// True if nothing follows without a new run. Such states are told first.
    #[must_use]
    pub fn is_end(self) -> bool {
        match self {
            Self::Queued | Self::WaitsForApproval | Self::Running => false,
            Self::Success
            | Self::Failure
            | Self::FailureAllowed
            | Self::TimedOut
            | Self::Skipped
            | Self::NeedFailed
            | Self::Cancelled
            | Self::Invalid => true,
        }
    }
}

/// A problem at a line of a file, for a check run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// The path in the repository.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// The text.
    pub message: String,
}
