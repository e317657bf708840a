//! What the engine needs of the world. A call is *one* atomic store or queue operation; sequences are the engine's.
//!
//! A write is seen by every [`Consistency::Strong`] read that begins after it was answered, and by an
//! [`Consistency::Eventual`] one some time later. A write whose answer was lost may have happened.

mod access;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use protocol::requests::{LogPiece, Transport};
use protocol::{LabelSet, Millis, Outputs, SecretName, WorkerId, WorkflowId};
use serde::{Deserialize, Serialize};

pub use access::{AUDIT_KEPT, AuditCursor, AuditStore, SecretStore, TokenStore};

use crate::ids::{JobIndex, JobKey, PoolId, ReportHash, RunKey, Ticket, Waits};
use crate::job::{JobRecord, JobSpec, JobUpdate, OutputsRef};
use crate::messages::{BatchTask, Reconcile, Work};
use crate::run::{Control, RunEnd, RunUpdate, WorkflowRecord};

/// Why a store or queue didn't answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Throttled, out of reach or timed out: the same call may go through later. A write may have happened.
    #[error("the store did not answer: {0}")]
    Unavailable(String),
    /// A record isn't what the engine wrote.
    #[error("a stored record can't be read: {0}")]
    Corrupt(String),
}

/// A port's answer.
pub type Stored<T> = Result<T, StoreError>;

/// How fresh a read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Maybe some seconds old, at half the price.
    Eventual,
    /// As of now.
    Strong,
}

/// A conditional write's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Updated<T> {
    /// Done: the record as it is now.
    Done(T),
    /// What it expects doesn't hold: the record as it is, or `None` if there is none.
    ConditionFailed(Option<T>),
}

impl<T> Updated<T> {
    /// The record, whatever became of the write.
    pub fn record(self) -> Option<T> {
        match self {
            Self::Done(record) => Some(record),
            Self::ConditionFailed(record) => record,
        }
    }
}

/// What a submission or re-run writes before anything can see it.
#[derive(Clone, Debug)]
pub enum NewItem {
    /// A job; its spec goes in the record, or apart if it is large, as [`NewItem::Spec`].
    Job(Box<JobRecord>),
    /// A large spec.
    Spec(JobKey, Box<JobSpec>),
    /// A shard of a job's many needs.
    WaitShard(JobKey, u32, Waits),
    /// The definition as submitted.
    Definition(RunKey, Source),
}

/// A definition as submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The media type, such as `application/yaml`.
    pub content_type: String,
    /// The text.
    pub text: String,
}

/// The one write that makes a run real.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The workflow as it will be.
    pub workflow: WorkflowRecord,
    /// For a re-run: the run that must still be current, and have ended.
    pub replaces: Option<RunKey>,
    /// The run's control record.
    pub control: Control,
    /// For a submission with a key: what a repeat will find.
    pub idempotency: Option<Idempotency>,
}

/// An answer kept for a repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The name of the client's token, `#`, and what the client sent.
    pub key: String,
    /// Of the request's body and query.
    pub body: ReportHash,
    /// The answer.
    pub workflow: WorkflowId,
    /// After this it counts as absent.
    pub expires: Millis,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The run is real.
    Yes,
    /// Another submission with the key came first.
    KeyTaken,
    /// The workflow is no longer as `replaces` says.
    Superseded,
}

/// Workflows and runs.
pub trait RunStore: Send + Sync {
    /// Writes records of a run that isn't committed yet. Not atomic: nothing reads them before the commit.
    fn put_new(&self, items: Vec<NewItem>) -> impl Future<Output = Stored<()>> + Send;
    /// Makes a run real, or changes nothing.
    fn commit(&self, commit: Commit) -> impl Future<Output = Stored<Committed>> + Send;
    /// The answer kept under a key, if it hasn't expired.
    fn idempotency(&self, key: &str, now: Millis) -> impl Future<Output = Stored<Option<Idempotency>>> + Send;
    /// A workflow.
    fn workflow(
        &self,
        id: &WorkflowId,
        how: Consistency,
    ) -> impl Future<Output = Stored<Option<WorkflowRecord>>> + Send;
    /// Sets a workflow's end, if `run` is still its current run and hasn't ended. Whether it did.
    fn end_workflow(&self, id: &WorkflowId, run: &RunKey, end: RunEnd) -> impl Future<Output = Stored<bool>> + Send;
    /// Up to `limit` workflows, newest first, from the one after `after` on.
    fn workflows(
        &self,
        after: Option<&ListCursor>,
        limit: usize,
    ) -> impl Future<Output = Stored<Vec<WorkflowRecord>>> + Send;
    /// The definition that a run was made from; `None` if the run has none.
    fn definition(&self, run: &RunKey) -> impl Future<Output = Stored<Option<Source>>> + Send;
    /// A run's control record.
    fn control(&self, run: &RunKey, how: Consistency) -> impl Future<Output = Stored<Option<Control>>> + Send;
    /// Changes it.
    fn update_control(&self, run: &RunKey, update: RunUpdate) -> impl Future<Output = Stored<Updated<Control>>> + Send;
    /// All runs that are open or cancelling, eventually.
    fn open_runs(&self) -> impl Future<Output = Stored<Vec<RunKey>>> + Send;
    /// Open and cancelling runs whose timer was due by then or is being looked at, the earliest first, up to a few
    /// hundred; eventually.
    fn timers_due(&self, by: Millis) -> impl Future<Output = Stored<Vec<RunKey>>> + Send;
    /// Deletes a workflow and its control, if it is as read and its run is new or final. Whether it did.
    fn delete_workflow(&self, as_read: &WorkflowRecord) -> impl Future<Output = Stored<bool>> + Send;
    /// Deletes up to a few hundred of what is left of a run, logs and outputs too. Whether anything is left.
    fn delete_some(&self, run: &RunKey, jobs: u32) -> impl Future<Output = Stored<bool>> + Send;
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCursor {
    /// Of the last workflow seen.
    pub created_at: Millis,
    /// Of the last workflow seen.
    pub id: WorkflowId,
}

/// Jobs.
pub trait JobStore: Send + Sync {
    /// A job.
    fn job(&self, key: &JobKey, how: Consistency) -> impl Future<Output = Stored<Option<JobRecord>>> + Send;
    /// Jobs at these places, in this order; up to a few hundred.
    fn jobs_at(
        &self,
        run: &RunKey,
        indexes: &[JobIndex],
        how: Consistency,
    ) -> impl Future<Output = Stored<Vec<Option<JobRecord>>>> + Send;
    /// Jobs in order from `from` on: as many as one read gives. Empty: there are no more.
    fn jobs_from(
        &self,
        run: &RunKey,
        from: JobIndex,
        how: Consistency,
    ) -> impl Future<Output = Stored<Vec<JobRecord>>> + Send;
    /// Specs stored apart, in this order.
    fn specs(&self, run: &RunKey, indexes: &[JobIndex]) -> impl Future<Output = Stored<Vec<JobSpec>>> + Send;
    /// Changes a job.
    fn update(&self, key: &JobKey, update: JobUpdate) -> impl Future<Output = Stored<Updated<JobRecord>>> + Send;
    /// A shard of a job's many needs; an empty or absent one is an empty set.
    fn wait_shard(&self, key: &JobKey, shard: u32, how: Consistency) -> impl Future<Output = Stored<Waits>> + Send;
    /// Removes a member from a shard; what is left.
    fn drop_from_shard(&self, key: &JobKey, shard: u32, member: u32) -> impl Future<Output = Stored<Waits>> + Send;
    /// The oldest jobs of a pool's ready list that may start by `now`, eventually; their number doesn't depend on how
    /// many wait.
    fn ready_heads(&self, pool: &PoolId, now: Millis) -> impl Future<Output = Stored<Vec<ReadyHead>>> + Send;
    /// How many wait in a pool's ready list, and since when the oldest does.
    fn ready_count(&self, pool: &PoolId) -> impl Future<Output = Stored<(u64, Option<Millis>)>> + Send;
}

/// An entry of a ready list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadyHead {
    /// Since when.
    pub at: Millis,
    /// Which job.
    pub job: JobKey,
}

/// Outputs that don't fit a job's record.
pub trait ArtifactStore: Send + Sync {
    /// Keeps outputs under a fresh id.
    fn put_outputs(&self, job: &JobKey, id: &str, outputs: &Outputs) -> impl Future<Output = Stored<()>> + Send;
    /// Reads outputs of this size; `None` if they aren't there (yet, for an eventual read).
    fn outputs(
        &self,
        job: &JobKey,
        id: &str,
        size: usize,
        how: Consistency,
    ) -> impl Future<Output = Stored<Option<Outputs>>> + Send;
    /// Copies kept outputs under a new run, keeping the id.
    fn copy_outputs(&self, from: &JobKey, to: &JobKey, outputs: &OutputsRef)
    -> impl Future<Output = Stored<()>> + Send;
    /// Keeps a document for a few minutes and says where a client may GET it. `None`: answers may be of any size here.
    fn publish(&self, job: &JobKey, document: Bytes) -> impl Future<Output = Stored<Option<String>>> + Send;
}

/// Logs.
pub trait LogStore: Send + Sync {
    /// Keeps a batch. The same batch again changes nothing.
    fn append(&self, job: &JobKey, attempt: u32, pieces: Vec<LogPiece>) -> impl Future<Output = Stored<()>> + Send;
    /// Pieces after a sequence number, ascending, each once, up to about `bytes`.
    fn read(
        &self,
        job: &JobKey,
        attempt: u32,
        after: Option<u64>,
        bytes: usize,
    ) -> impl Future<Output = Stored<Vec<LogPiece>>> + Send;
}

/// A pool: a label set that some job requires, with the secrets that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Follows from labels and secrets.
    pub id: PoolId,
    /// What its jobs require.
    pub labels: LabelSet,
    /// What its jobs are given; only workers whose token allows all of them get its jobs.
    pub secrets: BTreeSet<SecretName>,
    /// Its queue, if a worker that polls SQS has registered for it.
    pub queue: Option<PoolQueue>,
}

impl Pool {
    /// The pool of a label set, of jobs that name no secrets, without a queue.
    #[must_use]
    pub fn of(labels: LabelSet) -> Self {
        Self::with_secrets(labels, BTreeSet::new())
    }

    /// The pool of a label set, of jobs that name these secrets, without a queue.
    #[must_use]
    pub fn with_secrets(labels: LabelSet, secrets: BTreeSet<SecretName>) -> Self {
        Self { id: PoolId::with_secrets(&labels, &secrets), labels, secrets, queue: None }
    }

    /// The queue, if a worker has registered for it within the hour.
    #[must_use]
    pub fn live_queue(&self, now: Millis) -> Option<&PoolQueue> {
        self.queue.as_ref().filter(|queue| now.since(queue.wanted_at) < QUEUE_WANTED)
    }
}

/// Tickets go to a queue this long after a worker last asked for it.
pub const QUEUE_WANTED: Duration = Duration::from_hours(1);

/// A pool's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolQueue {
    /// Where.
    pub url: String,
    /// When a worker last registered for it.
    pub wanted_at: Millis,
}

/// A worker, as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Chosen by itself.
    pub id: WorkerId,
    /// What it can do.
    pub labels: LabelSet,
    /// How it learns of jobs.
    pub transport: Transport,
    /// Whether it takes only jobs that ask for one of its labels.
    pub exclusive: bool,
    /// What it understands beyond the basic protocol.
    pub features: Vec<String>,
    /// When it was first heard of.
    pub registered_at: Millis,
    /// When it was last heard of, to within [`HEARD_EVERY`].
    pub last_seen: Millis,
}

/// A worker's `last_seen` is rewritten at most this often.
pub const HEARD_EVERY: Duration = Duration::from_secs(30);

/// A worker not heard of for this long is forgotten.
pub const WORKER_KEPT: Duration = Duration::from_hours(24);

/// Pools and workers.
pub trait WorkerRegistry: Send + Sync {
    /// Adds pools that aren't there.
    fn add_pools(&self, pools: Vec<Pool>) -> impl Future<Output = Stored<()>> + Send;
    /// All pools, eventually.
    fn pools(&self) -> impl Future<Output = Stored<Vec<Pool>>> + Send;
    /// Sees that a pool has a queue, and notes that a worker wants it now. `None`: there are no queues here.
    fn want_queue(&self, pool: &Pool, now: Millis) -> impl Future<Output = Stored<Option<PoolQueue>>> + Send;
    /// Keeps a worker, replacing what was known.
    fn put_worker(&self, worker: WorkerRecord) -> impl Future<Output = Stored<()>> + Send;
    /// A worker, if it was heard of within a day.
    fn worker(&self, id: &WorkerId, now: Millis) -> impl Future<Output = Stored<Option<WorkerRecord>>> + Send;
    /// All workers heard of within a day, eventually.
    fn workers(&self, now: Millis) -> impl Future<Output = Stored<Vec<WorkerRecord>>> + Send;
    /// Forgets a worker.
    fn remove_worker(&self, id: &WorkerId) -> impl Future<Output = Stored<()>> + Send;
}

/// Messages. Each is delivered at least once, at some time, in any order.
pub trait Dispatcher: Send + Sync {
    /// Tells the pool's queue that a job is ready.
    fn send_ticket(&self, queue: &PoolQueue, ticket: Ticket) -> impl Future<Output = Stored<()>> + Send;
    /// Asks for a step of long work.
    fn send_batch(&self, batch: BatchTask) -> impl Future<Output = Stored<()>> + Send;
    /// Sends a run's timer message, to be delivered at `at`, which is at most [`crate::run::MAX_TIMER_DELAY`] after `now`.
    fn send_timer(&self, run: &RunKey, at: Millis, now: Millis) -> impl Future<Output = Stored<()>> + Send;
    /// Sets aside a change that could not be handled, so that those behind it go on.
    fn send_reconcile(&self, reconcile: Reconcile) -> impl Future<Output = Stored<()>> + Send;
}

/// The change feed and the queues of a store that one process uses alone: they are lists that the process itself
/// consumes. Other stores have streams and queues for this.
pub trait LocalWork: Send + Sync {
    /// The oldest piece of work that isn't done, with the number it is known by. The same one until it is done.
    fn next_work(&self) -> impl Future<Output = Stored<Option<(u64, Work)>>> + Send;
    /// Takes a piece of work off the list.
    fn work_done(&self, number: u64) -> impl Future<Output = Stored<()>> + Send;
    /// When the first timer of an open or cancelling run is due.
    fn next_timer(&self) -> impl Future<Output = Stored<Option<Millis>>> + Send;
    /// Calls this with the time of every timer that is set from now on.
    fn on_timer_set(&self, tell: Box<dyn Fn(Millis) + Send + Sync>);
}

/// All ports. Only for callers that assemble an engine: a use case names the ports that it uses.
pub trait Ports:
    RunStore + JobStore + ArtifactStore + LogStore + WorkerRegistry + TokenStore + AuditStore + Dispatcher
{
}

impl<T> Ports for T where
    T: RunStore + JobStore + ArtifactStore + LogStore + WorkerRegistry + TokenStore + AuditStore + Dispatcher
{
}

/// All ports of a store that one process uses alone.
pub trait Local: Ports + LocalWork {}

impl<T: Ports + LocalWork> Local for T {}
