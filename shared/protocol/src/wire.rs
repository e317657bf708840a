//! Response bodies. A client ignores fields that it does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{AsRefStr, Display, EnumString, VariantArray};

pub use crate::errors::{ErrorBody, ErrorInfo, Problem};
use crate::{JobId, Label, LabelSet, LeaseId, Millis, Outputs, SecretName, Secrets, WorkerId, WorkflowId};

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
    /// Present and true if fields of jobs were left out or shortened, because the answer would be too large.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
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

/// Where a worker reads outputs from.
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

/// The values of a run's inputs, by name.
pub type InputValues = BTreeMap<String, String>;

/// The variables that a worker sets for each job. A job's `env` can't set them.
pub const WORKER_VARIABLES: [&str; 9] = [
    "WORKFLOW_ID",
    "JOB_ID",
    "JOB_ATTEMPT",
    "JOB_DIR",
    "JOB_SCRIPTS",
    "WORKER_SLOT",
    "UPSTREAM_OUTPUTS",
    "UPSTREAM_STATUS",
    "WORKFLOW_OUTPUT",
];

/// A claimed job, with everything that a worker needs to run it. `Debug` shows only its ids, because its command may
/// contain secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QueuedJob {
    /// The job's id in its workflow.
    pub job_id: JobId,
    /// The job's workflow.
    pub workflow_id: WorkflowId,
    /// The command, with exports of the environment, for workers that read no other field.
    pub command: String,
    /// The labels that the job requires.
    pub required_labels: LabelSet,
    /// The retry policy. The engine applies it; a worker may show it.
    pub retry_policy: RetryPolicy,
    /// The attempt's number, from 0.
    pub attempt: u32,
    /// The outputs of each directly needed job, `{}` for a job without outputs.
    pub upstream_outputs: BTreeMap<JobId, Outputs>,
    /// How each directly needed job ended. For the workflow's `on_failure`: up to 100 of the jobs that failed without
    /// `allow_failure`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub upstream_status: BTreeMap<JobId, Status>,
    /// When the job became ready.
    pub enqueued_at_ms: Millis,
    /// The end of the delay before this attempt; 0 if there was none.
    pub delayed_until_ms: Millis,
    /// The job's name, for people.
    #[serde(default)]
    pub name: String,
    /// The number of the workflow's run.
    #[serde(default)]
    pub run: u32,
    /// The environment, also in `command`. For executors that don't use a shell.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The engine's time limit for the attempt.
    #[serde(default)]
    pub timeout_secs: Option<u64>,
    /// Where outputs are read from.
    #[serde(default)]
    pub outputs_from: OutputsFrom,
    /// Programs that the workflow file names to read its scripts. The job can't run on a machine without one of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub programs: BTreeSet<String>,
    /// The axes of the matrix that the job is a combination of, each with its value. They are also in `env`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matrix: BTreeMap<String, String>,
    /// The values of the run's inputs. They are also in `env`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: InputValues,
    /// The URL of `upstream_outputs` as JSON, if they exceed [`crate::limits::UPSTREAM_INLINE`]. It needs no token and is
    /// valid for a few minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_outputs_url: Option<String>,
    /// Secrets to set in the job's environment and to mask in its log. They are also in `env` and `command`, unless the
    /// worker registered [`crate::requests::FEATURE_SECRETS`].
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

/// A worker's lease of an attempt. It expires at `granted_at_ms + ttl_secs`, unless renewed. An expired lease is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lease {
    /// The id that every report about the attempt must carry.
    pub lease_id: LeaseId,
    /// The job.
    pub job_id: JobId,
    /// The job's workflow.
    pub workflow_id: WorkflowId,
    /// The worker that holds the lease.
    pub worker_id: WorkerId,
    /// The time to live in seconds, from the grant or the last heartbeat.
    pub ttl_secs: u32,
    /// When it was granted or last renewed.
    pub granted_at_ms: Millis,
}

/// The answer to a claim that received a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Claimed {
    /// The job to run.
    pub job: QueuedJob,
    /// The lease of the attempt.
    pub lease: Lease,
}

/// The answer to a job's heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Heartbeat {
    /// The lease; renewed, unless `cancelled`.
    pub lease: Lease,
    /// True if the worker must stop the job. Its reports are refused.
    pub cancelled: bool,
}

/// The answer to `complete` and `fail`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reported {
    /// The next job, if the request asked for one and one was ready.
    pub next: Option<Claimed>,
}

/// The stream that a log line was written to.
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
    /// The sequence number in the attempt. A number that is sent twice is shown once.
    pub sequence: u64,
    /// One or more lines.
    pub data: String,
    /// When the worker read the line.
    pub timestamp_ms: Millis,
    /// The stream.
    pub stream: Stream,
}

/// A pool's queue, for workers that poll SQS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QueueInfo {
    /// The queue's URL, from which tickets are received.
    pub url: String,
    /// The labels that its jobs require.
    pub labels: LabelSet,
}

/// The answer to a push of log pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Appended {
    /// True if somebody reads the log at present. Otherwise the worker may push less often.
    pub followed: bool,
}

/// The answer to a registration and to a worker's heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Registered {
    /// The queues of the pools whose labels the worker has, if it polls SQS.
    pub queues: Vec<QueueInfo>,
    /// The interval between heartbeats, in seconds.
    pub heartbeat_secs: u64,
    /// The lease that the server recommends for claims, in seconds. A worker may claim with another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ttl_secs: Option<u32>,
    /// Addresses past the gateway, if the server has any. A worker may ignore them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
}

/// Addresses that serve a worker's calls in place of the server's own: the same paths, bodies and tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Endpoints {
    /// For claims, and for the worker's heartbeats and removal.
    pub claim: String,
    /// For what is reported on a leased job: heartbeats, logs, success and failure.
    pub complete: String,
}

/// The status of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WorkerStatus {
    /// Online and running nothing.
    Idle,
    /// Runs a job.
    Busy,
    /// Not seen for [`crate::limits::WORKER_SILENCE`].
    Offline,
}

/// A worker, as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkerInfo {
    /// The id that the worker chose.
    pub worker_id: WorkerId,
    /// The worker's labels.
    pub labels: LabelSet,
    /// True if the worker takes only jobs that require at least one of its labels.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
    /// When the worker was first seen.
    pub registered_at_ms: Millis,
    /// When the worker was last seen, accurate to 30 s.
    pub last_heartbeat_ms: Millis,
    /// The job that the worker runs.
    pub current_job: Option<JobId>,
    /// The status.
    pub status: WorkerStatus,
    /// Why the worker takes no jobs for now, if it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

/// A pool: the jobs that require one set of labels and name the same secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolInfo {
    /// The labels that its jobs require.
    pub labels: LabelSet,
    /// The secrets that its jobs name. A worker's token must allow all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
    /// The number of ready jobs.
    pub waiting: u64,
    /// True if the count ended at `waiting`: there may be more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting_is_capped: bool,
    /// How long the oldest ready job has waited.
    pub oldest_ms: Option<u64>,
    /// The number of running jobs.
    pub running: u64,
    /// The number of online workers that have the labels, regardless of the secrets that their tokens allow.
    pub workers_online: u64,
}
