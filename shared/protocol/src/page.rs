//! Answers for programs that show runs, such as the page: short forms of a workflow, and what changes in its run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::access::{Allowed, Scope};
use crate::{JobId, Label, LabelSet, Millis, SecretName, Status, TokenName, WorkerId, WorkflowId};

/// Whether the server asks for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// No: every caller has all permissions.
    None,
    /// Yes.
    Token,
}

/// The caller and what its token allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Me {
    /// Whether the server asks for a token.
    pub auth: Auth,
    /// The token's name.
    pub name: Option<TokenName>,
    /// What the caller may do.
    pub scopes: BTreeSet<Scope>,
    /// The labels that the token allows.
    pub labels: Allowed<Label>,
    /// The secrets that the token allows.
    pub secrets: Allowed<SecretName>,
    /// When the token expires.
    pub expires_at_ms: Option<Millis>,
}

/// A workflow without its jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// The id that the engine chose.
    pub id: WorkflowId,
    /// The name from the definition.
    pub name: String,
    /// The status of the current run.
    pub status: Status,
    /// The number of the current run, from 1.
    pub run: u32,
    /// When the workflow was submitted.
    pub created_at_ms: Millis,
    /// When the current run was started.
    pub started_at_ms: Option<Millis>,
    /// When the current run became final.
    pub finished_at_ms: Option<Millis>,
    /// The number of jobs.
    pub jobs: u32,
    /// The number of jobs whose status is final.
    pub done: u32,
    /// Present and true if `done` is the least that it can be: the run has too many jobs to read them for a list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done_is_least: bool,
}

/// The jobs of a run and what each needs. It never changes within a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Graph {
    /// The number of the run.
    pub run: u32,
    /// The sets of labels that jobs require.
    pub labels: Vec<LabelSet>,
    /// The names of the stacks. A stack is a set of jobs that look alike, so that they can be shown as one.
    pub stacks: Vec<String>,
    /// The jobs, each after all that it needs.
    pub jobs: Vec<GraphJob>,
}

/// A job of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GraphJob(
    /// The id.
    pub JobId,
    /// The name, if it isn't the id. Absent in the graph of a run whose names don't fit an answer.
    pub Option<String>,
    /// The indexes of the jobs that it directly needs.
    pub Vec<u32>,
    /// The index of its labels.
    pub u32,
    /// The index of its stack.
    pub Option<u32>,
);

/// The state of a job: of its current or last attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobState(
    /// The job's index in the graph.
    pub u32,
    /// The status.
    pub Status,
    /// The attempt's number, from 0.
    pub u32,
    /// When the job became ready, or the earliest start.
    pub Option<Millis>,
    /// When the attempt began.
    pub Option<Millis>,
    /// When the job ended.
    pub Option<Millis>,
    /// The attempt's worker.
    pub Option<WorkerId>,
);

/// The data of an event `snapshot`: a run and all its jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The number of the run.
    pub run: u32,
    /// The workflow's name.
    pub name: String,
    /// When the workflow was submitted.
    pub created_at_ms: Millis,
    /// When the run was started.
    pub started_at_ms: Option<Millis>,
    /// When the run became final.
    pub finished_at_ms: Option<Millis>,
    /// The run's status.
    pub status: Status,
    /// All jobs.
    pub jobs: Vec<JobState>,
}

/// The data of an event `jobs`: the jobs that changed. A job may be sent again unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsChanged {
    /// The run's status.
    pub status: Status,
    /// The jobs.
    pub jobs: Vec<JobState>,
}

/// The data of an event `rerun`: the workflow was started again. A `snapshot` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rerun {
    /// The number of the new run.
    pub run: u32,
}

/// The data of an event `end`: the run is final, and all its jobs were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The run's status.
    pub status: Status,
    /// When the run became final.
    pub finished_at_ms: Option<Millis>,
}
