//! What a worker is given with a job, and the answers to its reports.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{RetryPolicy, Status};
use crate::{JobId, LabelSet, LeaseId, Millis, Outputs, Secrets, WorkerId, WorkflowId};

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

/// The variables that a worker sets for jobs. A job's `env` can't set them.
pub const WORKER_VARIABLES: [&str; 10] = [
    "WORKFLOW_ID",
    "JOB_ID",
    "JOB_ATTEMPT",
    "JOB_DIR",
    "JOB_SCRIPTS",
    "WORKER_SLOT",
    "UPSTREAM_OUTPUTS",
    "UPSTREAM_STATUS",
    "WORKFLOW_OUTPUT",
    CHECKOUT_TOKEN,
];

/// The variable that has the credential of a job's checkout. No `env` and no secret of a workflow file has its name.
pub const CHECKOUT_TOKEN: &str = "CHECKOUT_TOKEN";

/// The beginning of the names of secrets of links to forges. No job may name one. The roles of the Lambda functions tell them apart
/// by these beginnings.
pub const FORGE_SECRET: &str = "FORGE_";
/// The beginning of the names of secrets that sign deliveries.
pub const FORGE_WEBHOOK: &str = "FORGE_WEBHOOK_";
/// The beginning of the names of forges' tokens.
pub const FORGE_TOKEN: &str = "FORGE_TOKEN_";
/// The beginning of the names of the keys of Apps.
pub const FORGE_APP_KEY: &str = "FORGE_APP_KEY_";

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
    /// True if the command begins with a checkout. The worker then leaves `env` to the command, so that no variable of the
    /// workflow file reaches git while a credential is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checkout: bool,
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
    #[cfg_attr(feature = "schema", schemars(with = "std::collections::BTreeMap<crate::SecretName, String>"))]
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
