//! Why something waits.

use serde::{Deserialize, Serialize};

use crate::{JobId, LabelSet, Millis, WorkerId, WorkflowId};

/// Why a queued job doesn't run yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WaitingFor {
    /// The first reason that applies.
    pub reason: WaitReason,
    /// When the wait began.
    pub since_ms: Millis,
    /// With `needs`: the jobs that must still end or pass. Of a job that waits for the run: some that have not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<JobId>>,
    /// With `missing_labels`: the labels that the nearest worker lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<LabelSet>,
    /// With `missing_labels`: the online worker that lacks the fewest labels. With `exclusive`: an online worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<WorkerId>,
    /// With `busy`: the number of busy workers that could run the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<usize>,
    /// With `delayed`: the earliest start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<Millis>,
    /// With `concurrency`: the group, with the values of its inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// With `concurrency`: the job or run that has the group now, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<GroupHolder>,
    /// With `concurrency`: how many wait in front of this one. At most 1,000 are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<usize>,
    /// The paused workers that could run the job otherwise. They don't count as online.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paused: Vec<PausedWorker>,
}

impl WaitingFor {
    /// A wait for this reason, without details.
    #[must_use]
    pub fn new(reason: WaitReason, since_ms: Millis) -> Self {
        Self {
            reason,
            since_ms,
            needs: None,
            missing: None,
            nearest: None,
            busy: None,
            until_ms: None,
            group: None,
            holder: None,
            ahead: None,
            paused: Vec::new(),
        }
    }
}

/// The job or run that has a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GroupHolder {
    /// Its workflow.
    pub workflow: WorkflowId,
    /// The job. A run that has a group has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
}

/// A worker that takes no jobs for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PausedWorker {
    /// The worker's id.
    pub worker_id: WorkerId,
    /// Why it is paused.
    pub reason: String,
}

/// The reason why a queued job waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Jobs that it needs have not passed, or, with another condition, have not ended.
    Needs,
    /// No worker is online.
    NoWorker,
    /// No online worker has all labels of the job.
    MissingLabels,
    /// The job requires no label, and the online workers take only jobs that require one.
    Exclusive,
    /// The workers that have all labels are busy.
    Busy,
    /// The delay before the next attempt has not passed.
    Delayed,
    /// Another job or run has the group, or others wait in front of this one.
    Concurrency,
}
