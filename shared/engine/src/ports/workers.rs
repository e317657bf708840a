//! Pools, workers, and their port.

use std::collections::BTreeSet;
use std::future::{Future, ready};
use std::time::Duration;

use protocol::requests::Transport;
use protocol::wire::Endpoints;
use protocol::{JobId, LabelSet, Millis, SecretName, TokenName, WorkerId, limits};
use serde::{Deserialize, Serialize};

use super::{Consistency, Stored};
use crate::ids::{JobKey, PoolId};

/// A pool: the jobs that require the same labels and name the same secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Computed from labels and secrets.
    pub id: PoolId,
    /// The labels that its jobs require.
    pub labels: LabelSet,
    /// The secrets that its jobs name. Only workers whose token allows all of them may run its jobs.
    pub secrets: BTreeSet<SecretName>,
    /// The pool's queue, if a worker that polls SQS has registered for the pool.
    pub queue: Option<PoolQueue>,
}

impl Pool {
    /// Creates the pool of a label set, without secrets or a queue.
    #[must_use]
    pub fn of(labels: LabelSet) -> Self {
        Self::with_secrets(labels, BTreeSet::new())
    }

    /// Creates the pool of a label set and these secrets, without a queue.
    #[must_use]
    pub fn with_secrets(labels: LabelSet, secrets: BTreeSet<SecretName>) -> Self {
        Self { id: PoolId::with_secrets(&labels, &secrets), labels, secrets, queue: None }
    }

    /// Returns the queue if a worker has registered for it within the last hour.
    #[must_use]
    pub fn live_queue(&self, now: Millis) -> Option<&PoolQueue> {
        self.queue.as_ref().filter(|queue| now.since(queue.wanted_at) < QUEUE_WANTED)
    }
}

/// Tickets are sent to a queue until this long after a worker last registered for it.
pub const QUEUE_WANTED: Duration = Duration::from_hours(1);

/// A pool's queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolQueue {
    /// The queue's URL.
    pub url: String,
    /// When a worker last registered for it.
    pub wanted_at: Millis,
}

/// A worker's stored record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// The id that the worker chose.
    pub id: WorkerId,
    /// The worker's labels.
    pub labels: LabelSet,
    /// How the worker learns of jobs.
    pub transport: Transport,
    /// True if the worker takes only jobs that require one of its labels.
    pub exclusive: bool,
    /// Optional protocol features that the worker supports.
    pub features: Vec<String>,
    /// When the worker first registered.
    pub registered_at: Millis,
    /// When the worker was last seen, accurate to [`HEARD_EVERY`].
    pub last_seen: Millis,
    /// The token that registered the worker or claimed for it first. No other token may act as this worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<TokenName>,
    /// Why the worker takes no jobs for now, if it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// Jobs that the worker was seen to hold. Some may have ended since, and others may be missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<HeldJob>,
}

impl WorkerRecord {
    /// Returns true if this record may replace `other`: the other one has no token, or the same one, or counts as removed.
    #[must_use]
    pub fn may_replace(&self, other: &Self) -> bool {
        other.owner.is_none() || other.owner == self.owner || other.last_seen + limits::WORKER_KEPT <= self.last_seen
    }
}

/// A job as the record of the worker that holds it names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldJob {
    /// The job.
    pub job: JobKey,
    /// The id that the author chose.
    pub id: JobId,
    /// The job's pool.
    pub pool: PoolId,
    /// When the job was taken, or this entry was last renewed.
    pub at: Millis,
    /// The entry is dropped after this time. Later than the lease's expiry as of `at`.
    pub until: Millis,
}

/// The minimum time between two writes of a worker's `last_seen`.
pub const HEARD_EVERY: Duration = Duration::from_secs(30);

/// Pools and workers.
pub trait WorkerRegistry: Send + Sync {
    /// Adds pools, or renews those that exist. Each is listed for at least three quarters of [`limits::POOL_TIME`] after
    /// `now`: a pool that was added in the quarter before need not be written again.
    fn add_pools(&self, pools: Vec<Pool>, now: Millis) -> impl Future<Output = Stored<()>> + Send;
    /// Returns the pools that are listed at `now`. Eventually consistent.
    fn pools(&self, now: Millis) -> impl Future<Output = Stored<Vec<Pool>>> + Send;
    /// Returns the pools with ready jobs that a worker with these labels may cover, whether or not they are listed. `None`: the
    /// store doesn't know, and a job may be ready in any listed pool.
    fn ready_pools(&self, labels: &LabelSet) -> impl Future<Output = Stored<Option<Vec<Pool>>>> + Send;
    /// True if [`Self::want_queue`] may return a queue.
    fn has_queues(&self) -> bool;
    /// Creates the pool's queue if none is known, and records that a worker wants it now. Returns `None` if the store has no
    /// queues.
    fn want_queue(&self, pool: &Pool, now: Millis) -> impl Future<Output = Stored<Option<PoolQueue>>> + Send;
    /// Stores a worker and replaces its earlier record if [`WorkerRecord::may_replace`] allows it. Returns true if it did.
    fn put_worker(&self, worker: WorkerRecord) -> impl Future<Output = Stored<bool>> + Send;
    /// Returns a worker, if it was seen within [`limits::WORKER_KEPT`].
    fn worker(
        &self,
        id: &WorkerId,
        now: Millis,
        how: Consistency,
    ) -> impl Future<Output = Stored<Option<WorkerRecord>>> + Send;
    /// Returns the workers seen within [`limits::WORKER_LISTED`], up to `most` of them, those seen last. Eventually consistent.
    fn workers(&self, now: Millis, most: usize) -> impl Future<Output = Stored<Vec<WorkerRecord>>> + Send;
    /// Removes a worker.
    fn remove_worker(&self, id: &WorkerId) -> impl Future<Output = Stored<()>> + Send;
    /// Returns the addresses that workers may call past the gateway. Only functions have them.
    fn endpoints(&self) -> impl Future<Output = Stored<Option<Endpoints>>> + Send {
        ready(Ok(None))
    }
}
