//! Response bodies. A client ignores fields that it does not know.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{AsRefStr, Display, EnumString, VariantArray};

mod claims;
mod waiting;
mod workers;

pub use crate::errors::{ErrorBody, ErrorInfo, Problem};
use crate::{JobId, Label, LabelSet, Millis, Outputs, SecretName, WorkerId, WorkflowId};
pub use claims::*;
pub use waiting::*;
pub use workers::*;

/// The status of a job or a workflow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, AsRefStr, VariantArray,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = String, parse_err_fn = not_a_status)]
pub enum Status {
    /// A job that waits for its needs or for a worker; a workflow that hasn't been started.
    Queued,
    /// A job that a worker holds a lease on; a workflow that was started and isn't final.
    Running,
    /// Succeeded.
    Success,
    /// Failed, with no tries left.
    Failure,
    /// Did not run to its end, because its condition didn't hold, a job that it needs failed or was skipped, or its
    /// attempt ended with its `skip_exit`.
    Skipped,
    /// Cancelled.
    Cancelled,
}

impl Status {
    /// Every status, in the order in which they occur.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied()
    }

    /// Returns true if the status can't change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

fn not_a_status(text: &str) -> String {
    let all: Vec<&str> = Status::VARIANTS.iter().map(AsRef::as_ref).collect();
    format!("{text:?} is not a status; it is one of {}", all.join(", "))
}

/// When a job runs, depending on how the jobs ended that it needs. A need *passed* if it succeeded, or failed with
/// `allow_failure`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display, EnumString)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Condition {
    /// After every need passed.
    #[default]
    Success,
    /// After all needs have ended, if one of them failed.
    Failure,
    /// After all needs have ended.
    Always,
    /// After all other jobs of the run have ended, if one of them failed. The workflow's `on_failure` has it.
    OnFailure,
}

/// Why a job was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SkippedBecause {
    /// This job failed, and the skipped job needs it, directly or through other skipped jobs.
    Job(JobId),
    /// The condition of the job, or of a job that it needs, didn't hold.
    Condition,
    /// The attempt of the job, or of a job that it needs, ended with the exit code `skip_exit`.
    Exit,
}

/// A workflow and its current run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Workflow {
    /// The id that the engine chose.
    pub id: WorkflowId,
    /// The name from the definition.
    pub name: String,
    /// `on` from the definition. It starts nothing.
    pub trigger: String,
    /// The jobs, in the definition's order.
    pub jobs: Vec<Job>,
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
    /// Why the run waits, if it waits for its turn in a group. Its status is then `queued`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// The values of the run's inputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: InputValues,
    /// What started the workflow, if a forge did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<RunSource>>,
    /// Present and true if a newer run of its group cancelled the run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
    /// Present and true if fields of jobs were left out or shortened, because the answer would be too large.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// The change at a forge that started a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunSource {
    /// `github`, `gitlab` or `gitea`.
    pub forge: String,
    /// The repository's name at that time, such as `acme/app`.
    pub repository: String,
    /// `push`, `tag`, `pull_request` or `merge_group`.
    pub event: String,
    /// The branch or tag. Absent if a pull request's branch is gone.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The commit.
    pub commit: String,
    /// The pull request's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<u64>,
    /// The page of the pull request or commit at the forge.
    pub url: String,
}

/// A job of a workflow, as a status shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Job {
    /// The id that the author chose.
    pub id: JobId,
    /// The name, for people.
    pub name: String,
    /// The status in the current run.
    pub status: Status,
    /// The command that a worker runs.
    pub command: String,
    /// The jobs that it directly needs.
    pub depends_on: Vec<JobId>,
    /// When it runs. Absent: after every need passed.
    #[serde(default, rename = "if", skip_serializing_if = "is_default")]
    pub condition: Condition,
    /// True if its failure doesn't fail the run, and counts as passed for the jobs that need it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_failure: bool,
    /// Why the job was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_because: Option<SkippedBecause>,
    /// The labels that a worker must have.
    pub required_labels: LabelSet,
    /// The names of the secrets that the job receives.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
    /// The axes of the matrix that the job is a combination of, each with its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matrix: BTreeMap<String, String>,
    /// The group whose jobs run one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Label>,
    /// Attempts after the first.
    pub max_retries: u32,
    /// The number of the current or last attempt, from 0.
    pub attempt: u32,
    /// The number of attempts that were given back without using a try. The tries used are `attempt - returned`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub returned: u32,
    /// The failed attempts, oldest first. Only the latest are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The duration of the current or last attempt, up to now if it runs.
    pub duration_secs: Option<u64>,
    /// When the current or last attempt began, in milliseconds since 1970.
    pub started_at: Option<Millis>,
    /// The error text, if the job failed.
    pub output: Option<String>,
    /// As submitted.
    #[serde(default)]
    pub metadata: Value,
    /// As submitted.
    #[serde(default)]
    pub ports: Value,
    /// As submitted.
    #[serde(default)]
    pub children: Value,
    /// As submitted.
    #[serde(default)]
    pub collapsed: Value,
    /// Why the job doesn't run yet.
    pub waiting_for: Option<WaitingFor>,
    /// The outputs, up to [`crate::limits::OUTPUTS_IN_STATUS`].
    pub outputs: Outputs,
    /// True if the job has more outputs than `outputs` shows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outputs_truncated: bool,
    /// The worker of the current or last attempt.
    pub worker_id: Option<WorkerId>,
    /// The command's exit code, if the job has ended and the worker reported it.
    pub exit_code: Option<i32>,
    /// The error text of the latest failed attempt.
    pub error: Option<String>,
    /// When the job ended.
    pub finished_at_ms: Option<Millis>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attempt {
    /// The attempt's number, from 0.
    pub attempt: u32,
    /// Why the attempt ended.
    pub cause: Cause,
    /// The error text for people. A long text is cut.
    pub error: String,
    /// The worker, if one had claimed the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<WorkerId>,
    /// The command's exit code, if the worker reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When the worker claimed the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Millis>,
    /// When the attempt ended.
    pub finished_at_ms: Millis,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// The worker reported a failure.
    Failure,
    /// The lease expired without a report of the worker.
    Lost,
    /// The attempt ran longer than the job's `timeout`.
    Timeout,
    /// No worker claimed the job within its `queue_timeout`.
    QueueTimeout,
    /// The attempt was given back, because of trouble that isn't the job's. It used no try.
    Returned,
}

/// The delay between attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Backoff {
    /// No delay.
    #[default]
    None,
    /// A constant delay.
    Fixed {
        /// The delay in seconds.
        delay_secs: u64,
    },
    /// `base * 2^(n-1)` before attempt n+1, at most `max`.
    Exponential {
        /// Seconds before the second attempt.
        base_secs: u64,
        /// The maximum in seconds.
        max_secs: u64,
    },
}

/// The retry policy of a claimed job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub max_retries: u32,
    /// The delay between attempts.
    pub backoff: Backoff,
}
