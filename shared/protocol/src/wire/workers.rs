//! Workers, their queues, and pools.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{JobId, LabelSet, Millis, SecretName, WorkerId};

/// The answer of a healthy server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// The server's version.
    pub version: String,
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
