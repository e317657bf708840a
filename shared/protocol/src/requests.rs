//! Request bodies. Unknown fields are ignored; fields with a default may be left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use crate::limits::LEASE_TTL_SECS;
use crate::wire::Stream;
use crate::{LabelSet, Millis, WorkerId};

/// `POST /api/workers/register`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Register {
    /// Chosen by the worker; the same one again replaces what was known.
    pub worker_id: WorkerId,
    /// What it can do.
    #[serde(default)]
    pub labels: LabelSet,
    /// How it learns of jobs.
    #[serde(default)]
    pub transport: Transport,
    /// Take only jobs that ask for at least one of its labels.
    #[serde(default)]
    pub exclusive: bool,
    /// What it understands beyond the basic protocol; `outputs_url` and `secrets` are such. Others are
    /// ignored.
    #[serde(default)]
    pub features: Vec<String>,
}

/// The feature of a worker that fetches `upstream_outputs_url`.
pub const FEATURE_OUTPUTS_URL: &str = "outputs_url";

/// The feature of a worker that takes a job's secrets from `secrets`; for others they are in `env` and `command` too.
pub const FEATURE_SECRETS: &str = "secrets";

/// How a worker learns of jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// It asks.
    #[default]
    Http,
    /// It polls its pools' queues.
    Sqs,
}

/// `POST /api/jobs/claim`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Claim {
    /// Who asks. Registration isn't required.
    pub worker_id: WorkerId,
    /// What it can do.
    #[serde(default)]
    pub labels: LabelSet,
    /// How long the lease runs.
    #[serde(default = "default_ttl")]
    #[cfg_attr(feature = "schema", schemars(range(min = *LEASE_TTL_SECS.start(), max = *LEASE_TTL_SECS.end())))]
    pub lease_ttl_secs: u32,
    /// A hint: one process waits this long for a job, Lambda answers at once.
    #[serde(default)]
    pub wait_secs: u32,
    /// Take only jobs that ask for at least one of its labels.
    #[serde(default)]
    pub exclusive: bool,
    /// What an SQS message said; a stale one gives `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

fn default_ttl() -> u32 {
    30
}

/// `POST /api/jobs/{lease_id}/complete`; the body is optional.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Complete {
    /// Names and values, as given; names are checked by the engine.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "crate::Outputs"))]
    pub outputs: BTreeMap<String, String>,
    /// Asks for a job that this completion makes ready, to be held under the same terms as a claim's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
}

/// Who asks for its next job: the fields of a claim.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Next {
    /// Who asks.
    pub worker_id: WorkerId,
    /// What it can do.
    #[serde(default)]
    pub labels: LabelSet,
    /// How long the lease runs.
    #[serde(default = "default_ttl")]
    #[cfg_attr(feature = "schema", schemars(range(min = *LEASE_TTL_SECS.start(), max = *LEASE_TTL_SECS.end())))]
    pub lease_ttl_secs: u32,
    /// Take only jobs that ask for at least one of its labels.
    #[serde(default)]
    pub exclusive: bool,
}

/// `POST /api/jobs/{lease_id}/fail`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fail {
    /// For people; shown as the job's error.
    #[serde(default)]
    pub error: String,
    /// Whether another try could help.
    #[serde(default)]
    pub retryable: bool,
    /// Of the command, if it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

/// `POST /api/jobs/{lease_id}/logs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Logs {
    /// In any order.
    pub chunks: Vec<LogPiece>,
}

/// A piece of a log as a worker sends it. Whose it is, its lease says; ids that it may carry are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogPiece {
    /// Counts up within an attempt; a number sent twice is shown once.
    pub sequence: u64,
    /// One or more lines.
    pub data: String,
    /// When the worker read it; 0: when it arrived.
    #[serde(default)]
    pub timestamp_ms: Millis,
    /// Where it came from.
    #[serde(default = "stdout")]
    pub stream: Stream,
}

fn stdout() -> Stream {
    Stream::Stdout
}

/// `POST /api/workflows/{id}/run`; the body is optional.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Run {
    /// Which jobs run again; default: all.
    #[serde(default)]
    pub only: Option<Only>,
}

/// Which jobs a re-run runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Only {
    /// Those that didn't succeed; the others are kept, with their outputs.
    Failed,
}
