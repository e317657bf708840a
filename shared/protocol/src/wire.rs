//! Response bodies. A client ignores fields that it does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{AsRefStr, Display, EnumString, VariantArray};

pub use crate::errors::{ErrorBody, ErrorInfo, Problem};
use crate::{JobId, LabelSet, LeaseId, Millis, Outputs, SecretName, Secrets, WorkerId, WorkflowId};

/// Where a job or a workflow stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, AsRefStr, VariantArray,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = String, parse_err_fn = not_a_status)]
pub enum Status {
    /// Not started: a job that waits for its needs or a worker, a workflow that wasn't run yet.
    Queued,
    /// A worker holds a lease on it; of a workflow, it was run and isn't final.
    Running,
    /// Ended well.
    Success,
    /// Ended badly, with no tries left.
    Failure,
    /// Never started, since something it needs failed or was skipped.
    Skipped,
    /// Ended by a cancel.
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

/// A workflow and its current run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Workflow {
    /// Chosen by the engine.
    pub id: WorkflowId,
    /// From the definition.
    pub name: String,
    /// From the definition; it starts nothing.
    pub trigger: String,
    /// In the definition's order.
    pub jobs: Vec<Job>,
    /// Of the current run.
    pub status: Status,
    /// 1 for the first run; a re-run counts up.
    pub run: u32,
    /// When it was submitted.
    pub created_at_ms: Millis,
    /// When the current run was started.
    pub started_at_ms: Option<Millis>,
    /// When the current run became final.
    pub finished_at_ms: Option<Millis>,
}

/// A job of a workflow, as a status shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Job {
    /// Chosen by the author.
    pub id: JobId,
    /// For people.
    pub name: String,
    /// In the current run.
    pub status: Status,
    /// What a worker runs.
    pub command: String,
    /// The jobs it directly needs.
    pub depends_on: Vec<JobId>,
    /// All of these a worker must have.
    pub required_labels: LabelSet,
    /// The secrets that it is given, by name only.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
    /// Tries on top of the first.
    pub max_retries: u32,
    /// From 0.
    pub attempt: u32,
    /// The attempts that failed before the current or last one, and the last one too if it failed; the latest ones, of
    /// very many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// From start to end, or to now.
    pub duration_secs: Option<u64>,
    /// Of the current attempt, in milliseconds since 1970.
    pub started_at: Option<Millis>,
    /// The error's text, if it failed.
    pub output: Option<String>,
    /// Kept as submitted.
    #[serde(default)]
    pub metadata: Value,
    /// Kept as submitted.
    #[serde(default)]
    pub ports: Value,
    /// Kept as submitted.
    #[serde(default)]
    pub children: Value,
    /// Kept as submitted.
    #[serde(default)]
    pub collapsed: Value,
    /// Why it doesn't run yet.
    pub waiting_for: Option<WaitingFor>,
    /// What it gave, up to [`crate::limits::OUTPUTS_IN_STATUS`].
    pub outputs: Outputs,
    /// Present and true when there is more than `outputs` shows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outputs_truncated: bool,
    /// Who ran its latest attempt.
    pub worker_id: Option<WorkerId>,
    /// Of its command, when it failed and the worker told.
    pub exit_code: Option<i32>,
    /// Why it failed, was skipped or cancelled.
    pub error: Option<String>,
    /// When it became final.
    pub finished_at_ms: Option<Millis>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attempt {
    /// From 0.
    pub attempt: u32,
    /// What ended it.
    pub cause: Cause,
    /// For people; the beginning of it, if it is long.
    pub error: String,
    /// Who ran it, if a worker had taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<WorkerId>,
    /// Of its command, if the worker told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Millis>,
    /// When it ended.
    pub finished_at_ms: Millis,
}

/// What ended an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// Its worker said that it failed.
    Failure,
    /// Its worker was not heard of until the lease ended.
    Lost,
    /// It ran longer than the job's `timeout`.
    Timeout,
    /// No worker took it within the job's `queue_timeout`.
    QueueTimeout,
}

/// Why a queued job doesn't run yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WaitingFor {
    /// The reason that comes first.
    pub reason: WaitReason,
    /// Since when the job waits for this.
    pub since_ms: Millis,
    /// With `needs`: those that aren't done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<JobId>>,
    /// With `missing_labels`: those that the nearest worker lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<LabelSet>,
    /// With `missing_labels`: the online worker that lacks fewest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<WorkerId>,
    /// With `busy`: how many online workers have all its labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<usize>,
    /// With `delayed`: when it may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<Millis>,
}

/// What a queued job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Jobs it needs aren't done.
    Needs,
    /// No worker is online.
    NoWorker,
    /// No online worker has all its labels.
    MissingLabels,
    /// The workers that have them are busy.
    Busy,
    /// A retry's delay isn't over.
    Delayed,
}

/// Delay between tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Backoff {
    /// At once.
    #[default]
    None,
    /// The same delay every time.
    Fixed {
        /// Seconds.
        delay_secs: u64,
    },
    /// `base * 2^(n-1)` before try n+1, capped.
    Exponential {
        /// Seconds before the second try.
        base_secs: u64,
        /// The most, in seconds.
        max_secs: u64,
    },
}

/// How a claimed job is retried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RetryPolicy {
    /// Tries on top of the first.
    pub max_retries: u32,
    /// Delay between tries.
    pub backoff: Backoff,
}

/// Where a worker looks for outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OutputsFrom {
    /// Standard output and the output file.
    #[default]
    Both,
    /// Standard output only.
    Stdout,
    /// The output file only: untrusted text in the log sets nothing.
    File,
}

/// A claimed job, with all a worker needs to run it. `Debug` shows only which it is: its command may hold secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QueuedJob {
    /// Within its workflow.
    pub job_id: JobId,
    /// Whose job it is.
    pub workflow_id: WorkflowId,
    /// Complete in itself: with its environment, for workers that know nothing else.
    pub command: String,
    /// What the claiming worker's labels cover.
    pub required_labels: LabelSet,
    /// Retries are the engine's business; a worker may show this.
    pub retry_policy: RetryPolicy,
    /// From 0.
    pub attempt: u32,
    /// An entry for every job directly needed, `{}` if it gave none, and for no other.
    pub upstream_outputs: BTreeMap<JobId, Outputs>,
    /// When it became ready.
    pub enqueued_at_ms: Millis,
    /// 0: not delayed.
    pub delayed_until_ms: Millis,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Which run of the workflow.
    #[serde(default)]
    pub run: u32,
    /// Already in `command`; here for executors that don't use a shell.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The engine's own time limit for the attempt.
    #[serde(default)]
    pub timeout_secs: Option<u64>,
    /// Where outputs are read from.
    #[serde(default)]
    pub outputs_from: OutputsFrom,
    /// Instead of `upstream_outputs` when those are over [`crate::limits::UPSTREAM_INLINE`]: where to GET them as
    /// JSON, without a token, for a few minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_outputs_url: Option<String>,
    /// What is to be set in its environment and hidden in its log. Already in `env` and `command`, unless the worker
    /// registered [`crate::requests::FEATURE_SECRETS`].
    #[serde(default, skip_serializing_if = "Secrets::is_empty", with = "crate::secrets::revealed")]
    #[cfg_attr(feature = "schema", schemars(with = "std::collections::BTreeMap<SecretName, String>"))]
    pub secrets: Secrets,
}

impl fmt::Debug for QueuedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("QueuedJob");
        shown.field("job_id", &self.job_id).field("workflow_id", &self.workflow_id).field("attempt", &self.attempt);
        shown.finish_non_exhaustive()
    }
}

/// A worker's hold on an attempt. Past `granted_at_ms + ttl_secs` it is refused everywhere, unless renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lease {
    /// What every word about this attempt must carry.
    pub lease_id: LeaseId,
    /// The job.
    pub job_id: JobId,
    /// The job's workflow.
    pub workflow_id: WorkflowId,
    /// Who holds it.
    pub worker_id: WorkerId,
    /// Seconds it runs from the grant or the last heartbeat.
    pub ttl_secs: u32,
    /// When it was granted or last renewed.
    pub granted_at_ms: Millis,
}

/// A claim's answer, when there was a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Claimed {
    /// What to run.
    pub job: QueuedJob,
    /// The hold on it.
    pub lease: Lease,
}

/// A heartbeat's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Heartbeat {
    /// Renewed, unless `cancelled`.
    pub lease: Lease,
    /// Stop the job; what it reports is refused.
    pub cancelled: bool,
}

/// The answer to `complete` and `fail`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reported {
    /// The next job, if one was asked for and could be given.
    pub next: Option<Claimed>,
}

/// Where a log line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a job's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogChunk {
    /// The job's workflow.
    pub workflow_id: WorkflowId,
    /// The job.
    pub job_id: JobId,
    /// Counts up within an attempt; a number sent twice is shown once.
    pub sequence: u64,
    /// One or more lines.
    pub data: String,
    /// When the worker read it.
    pub timestamp_ms: Millis,
    /// Where it came from.
    pub stream: Stream,
}

/// A pool's queue, for workers that poll SQS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QueueInfo {
    /// Where to receive tickets.
    pub url: String,
    /// What its jobs require.
    pub labels: LabelSet,
}

/// The answer to a registration and to a worker's heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Registered {
    /// The queues of the pools the worker covers, if it polls SQS.
    pub queues: Vec<QueueInfo>,
    /// How often it should send a heartbeat.
    pub heartbeat_secs: u64,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WorkerStatus {
    /// Online and running nothing.
    Idle,
    /// It holds a lease.
    Busy,
    /// Not heard of for [`crate::limits::WORKER_SILENCE`].
    Offline,
}

/// A worker, as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkerInfo {
    /// Chosen by itself.
    pub worker_id: WorkerId,
    /// What it can do.
    pub labels: LabelSet,
    /// When it was first heard of.
    pub registered_at_ms: Millis,
    /// When it was last heard of; up to 30 s behind.
    pub last_heartbeat_ms: Millis,
    /// The job it holds a lease on.
    pub current_job: Option<JobId>,
    /// What it does.
    pub status: WorkerStatus,
}

/// A pool: the jobs that require one set of labels and name the same secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolInfo {
    /// What its jobs require.
    pub labels: LabelSet,
    /// The secrets that its jobs name; a worker's token must allow all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
    /// Jobs ready for a worker.
    pub waiting: u64,
    /// How long the oldest of them has waited.
    pub oldest_ms: Option<u64>,
    /// Jobs that run.
    pub running: u64,
    /// Online workers that cover the labels, whatever secrets their tokens allow.
    pub workers_online: u64,
}
