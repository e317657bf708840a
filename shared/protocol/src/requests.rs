//! Request bodies. Unknown fields are ignored; fields with a default may be left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::LEASE_SECS;
#[cfg(feature = "schema")]
use crate::limits::LEASE_TTL_SECS;
use crate::wire::Stream;
use crate::{LabelSet, Millis, WorkerId};

/// `POST /api/workers/register`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Register {
    /// The id that the worker chose. A repeated registration replaces the earlier one.
    pub worker_id: WorkerId,
    /// The worker's labels.
    #[serde(default)]
    pub labels: LabelSet,
    /// How the worker learns of ready jobs.
    #[serde(default)]
    pub transport: Transport,
    /// True if the worker takes only jobs that require at least one of its labels.
    #[serde(default)]
    pub exclusive: bool,
    /// Optional protocol features that the worker supports: `outputs_url`, `secrets`. Unknown ones are ignored.
    #[serde(default)]
    pub features: Vec<String>,
    /// Why the worker claims no jobs at present; absent if it does. Cut at [`PAUSED`](crate::limits::PAUSED).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

/// `POST /api/workers/{id}/heartbeat`; the body is optional.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkerHeartbeat {
    /// Why the worker claims no jobs at present; absent if it does. Cut at [`PAUSED`](crate::limits::PAUSED).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

/// The feature of a worker that fetches `upstream_outputs_url`.
pub const FEATURE_OUTPUTS_URL: &str = "outputs_url";

/// The feature of a worker that takes a job's secrets from `secrets`; for others they are in `env` and `command` too.
pub const FEATURE_SECRETS: &str = "secrets";

/// How a worker learns of ready jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// By claims.
    #[default]
    Http,
    /// By tickets from the queues of its pools.
    Sqs,
}

/// `POST /api/jobs/claim`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Claim {
    /// The worker. It need not be registered.
    pub worker_id: WorkerId,
    /// The worker's labels.
    #[serde(default)]
    pub labels: LabelSet,
    /// The lease's time to live in seconds.
    #[serde(default = "default_ttl")]
    #[cfg_attr(feature = "schema", schemars(range(min = *LEASE_TTL_SECS.start(), max = *LEASE_TTL_SECS.end())))]
    pub lease_ttl_secs: u32,
    /// How long the server may wait for a job, in seconds. `wfg serve` waits; the functions answer at once.
    #[serde(default)]
    pub wait_secs: u32,
    /// True if the worker takes only jobs that require at least one of its labels. It holds for the worker's later claims,
    /// until a registration without it.
    #[serde(default)]
    pub exclusive: bool,
    /// The ticket from an SQS message. The answer to a stale ticket is `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

fn default_ttl() -> u32 {
    LEASE_SECS
}

/// `POST /api/jobs/{lease_id}/complete`; the body is optional.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Complete {
    /// The outputs by name. The engine checks the names.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "crate::Outputs"))]
    pub outputs: BTreeMap<String, String>,
    /// Asks for a job that this completion makes ready, under a lease as from a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
}

/// A worker that asks for its next job: the fields of a claim.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Next {
    /// The worker.
    pub worker_id: WorkerId,
    /// The worker's labels.
    #[serde(default)]
    pub labels: LabelSet,
    /// The lease's time to live in seconds.
    #[serde(default = "default_ttl")]
    #[cfg_attr(feature = "schema", schemars(range(min = *LEASE_TTL_SECS.start(), max = *LEASE_TTL_SECS.end())))]
    pub lease_ttl_secs: u32,
    /// True if the worker takes only jobs that require at least one of its labels. It holds for the worker's later claims,
    /// until a registration without it.
    #[serde(default)]
    pub exclusive: bool,
}

/// `POST /api/jobs/{lease_id}/fail`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fail {
    /// The error text for people, shown as the job's error.
    #[serde(default)]
    pub error: String,
    /// True if another attempt could succeed.
    #[serde(default)]
    pub retryable: bool,
    /// The command's exit code, if it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Whose failure it is; absent: the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailCause>,
}

/// Whose failure a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FailCause {
    /// The worker's: it can't run jobs at present. The job goes back without using a try.
    Worker,
    /// The job's. So is any other word.
    #[serde(other)]
    Job,
}

/// `POST /api/jobs/{lease_id}/logs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Logs {
    /// The pieces, in any order.
    pub chunks: Vec<LogPiece>,
}

/// A piece of a log as a worker sends it. The lease determines its job; ids in the piece are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogPiece {
    /// The sequence number in the attempt. A number that is sent twice is shown once.
    pub sequence: u64,
    /// One or more lines.
    pub data: String,
    /// When the worker read the line; 0 means when the piece arrived.
    #[serde(default)]
    pub timestamp_ms: Millis,
    /// The stream.
    #[serde(default = "stdout")]
    pub stream: Stream,
}

fn stdout() -> Stream {
    Stream::Stdout
}

/// The values that a client gives for inputs: texts, numbers, true or false.
pub type GivenInputs = BTreeMap<String, Value>;

/// A form of the body of `POST /api/workflows`: a definition, and values for its inputs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SubmitWithInputs {
    /// The text of a workflow file in YAML, or the same as an object.
    #[cfg_attr(feature = "schema", schemars(schema_with = "text_or_object"))]
    pub definition: Value,
    /// Values for the inputs.
    #[serde(default)]
    pub inputs: GivenInputs,
}

#[cfg(feature = "schema")]
fn text_or_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["string", "object"] })
}

/// `POST /api/workflows/{id}/run`; the body is optional.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Run {
    /// The jobs to run again. Default: all.
    #[serde(default)]
    pub only: Option<Only>,
    /// Other values for the inputs. Default: those of the last run. Not with `only`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<GivenInputs>,
}

/// The jobs that a re-run runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Only {
    /// The jobs that didn't succeed. The others keep their results and outputs.
    Failed,
}
