//! The ports: what the engine needs from stores and queues. A call is *one* atomic operation; the engine composes
//! sequences.
//!
//! A write is visible to every [`Consistency::Strong`] read that begins after the write was answered, and to
//! [`Consistency::Eventual`] reads some time later. A write whose response was lost may have been applied.

mod access;
mod followed;
mod group;
mod workers;

use std::future::{Future, ready};

use bytes::Bytes;
use protocol::requests::LogPiece;
use protocol::wire::InputValues;
use protocol::{Millis, Outputs, WorkflowId};
use serde::{Deserialize, Serialize};

pub use access::{AUDIT_KEPT, AuditCursor, AuditStore, SecretStore, TokenStore};
pub use followed::FollowedLogs;
pub use group::{GroupStore, Place};
pub use workers::{HEARD_EVERY, HeldJob, Pool, PoolQueue, QUEUE_WANTED, WorkerRecord, WorkerRegistry};

pub use crate::stored::{StoreError, Stored};

use crate::forge::store::ForgeItems;
use crate::ids::{JobIndex, JobKey, PoolId, ReportHash, RunKey, Ticket, Waits};
use crate::job::{JobRecord, JobSpec, JobUpdate, OutputsRef};
use crate::messages::{BatchTask, Reconcile, Work};
use crate::run::{Control, RunEnd, RunUpdate, WorkflowRecord};
use workflow::{Definition, Problem};

/// How fresh a read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// May be some seconds old. Costs half of a strong read.
    Eventual,
    /// Includes every write answered before the read began.
    Strong,
}

/// The result of a conditional write.
#[derive(Clone, Debug, PartialEq)]
pub enum Updated<T> {
    /// Applied. Carries the new record.
    Done(T),
    /// Not applied. Carries the current record, or `None` if there is none.
    ConditionFailed(Option<T>),
}

impl<T> Updated<T> {
    /// Returns the current record, whether or not the write was applied.
    pub fn record(self) -> Option<T> {
        match self {
            Self::Done(record) => Some(record),
            Self::ConditionFailed(record) => record,
        }
    }
}

/// A record that a submission or re-run writes before the commit makes it visible.
#[derive(Clone, Debug)]
pub enum NewItem {
    /// A job. A large spec is stored apart as [`NewItem::Spec`].
    Job(Box<JobRecord>),
    /// A large spec.
    Spec(JobKey, Box<JobSpec>),
    /// One shard of the needs of a job with many needs.
    WaitShard(JobKey, u32, Waits),
    /// The definition as submitted.
    Definition(RunKey, Source),
    /// The values of a run's inputs.
    Inputs(RunKey, InputValues),
}

/// A definition as submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The media type, such as `application/yaml`.
    pub content_type: String,
    /// The text.
    pub text: String,
}

impl Source {
    /// Reads the definition, as JSON or YAML by its media type.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn read(&self) -> Result<Definition, Vec<Problem>> {
        let read = if self.content_type.contains("json") { workflow::from_json } else { workflow::from_yaml };
        read(&self.text)
    }
}

/// The transaction that makes a run visible.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The workflow's new record.
    pub workflow: WorkflowRecord,
    /// For a re-run: the run that must still be current and must have ended.
    pub replaces: Option<RunKey>,
    /// The run's control record.
    pub control: Control,
    /// For a submission with an idempotency key: the response that a repeat receives.
    pub idempotency: Option<Idempotency>,
}

impl Commit {
    /// Returns true if the workflow's current record allows the commit.
    #[must_use]
    pub fn fits(&self, current: Option<&WorkflowRecord>) -> bool {
        match (&self.replaces, current) {
            (None, None) => true,
            (Some(run), Some(current)) => current.run == *run && current.ended.is_some(),
            _ => false,
        }
    }
}

/// A response stored for repeats of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The name of the client's token, `#`, and the key that the client sent.
    pub key: String,
    /// The hash of the request's body and query.
    pub body: ReportHash,
    /// The workflow that the request created.
    pub workflow: WorkflowId,
    /// The entry counts as absent after this time.
    pub expires: Millis,
}

/// The result of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The run is visible.
    Yes,
    /// Another submission used the key first.
    KeyTaken,
    /// The workflow's current run is no longer the one in `replaces`.
    Superseded,
}

/// Workflows and runs.
pub trait RunStore: Send + Sync {
    /// Writes records of a run that isn't committed yet. Not atomic: nothing reads these records before the commit.
    fn put_new(&self, items: Vec<NewItem>) -> impl Future<Output = Stored<()>> + Send;
    /// Commits a run, or changes nothing.
    fn commit(&self, commit: Commit) -> impl Future<Output = Stored<Committed>> + Send;
    /// Returns the stored response of an idempotency key, if it hasn't expired.
    fn idempotency(&self, key: &str, now: Millis) -> impl Future<Output = Stored<Option<Idempotency>>> + Send;
    /// A workflow.
    fn workflow(
        &self,
        id: &WorkflowId,
        how: Consistency,
    ) -> impl Future<Output = Stored<Option<WorkflowRecord>>> + Send;
    /// Sets a workflow's end if `run` is still its current run and hasn't ended. Returns true if it did.
    fn end_workflow(&self, id: &WorkflowId, run: &RunKey, end: RunEnd) -> impl Future<Output = Stored<bool>> + Send;
    /// Returns up to `limit` workflows, newest first, starting after `after`.
    fn workflows(
        &self,
        after: Option<&ListCursor>,
        limit: usize,
    ) -> impl Future<Output = Stored<Vec<WorkflowRecord>>> + Send;
    /// Returns the definition that a run was made from, or `None` if the run has none.
    fn definition(&self, run: &RunKey) -> impl Future<Output = Stored<Option<Source>>> + Send;
    /// Returns the values of a run's inputs, or `None` if they were not stored.
    fn inputs(&self, run: &RunKey) -> impl Future<Output = Stored<Option<InputValues>>> + Send;
    /// Returns a run's control record.
    fn control(&self, run: &RunKey, how: Consistency) -> impl Future<Output = Stored<Option<Control>>> + Send;
    /// Updates a run's control record.
    fn update_control(&self, run: &RunKey, update: RunUpdate) -> impl Future<Output = Stored<Updated<Control>>> + Send;
    /// Returns active runs whose timer is firing or was due by `by`, earliest first, up to some hundreds, or some thousands on AWS.
    /// Eventually consistent.
    fn timers_due(&self, by: Millis) -> impl Future<Output = Stored<Vec<RunKey>>> + Send;
    /// Keeps all records of a run for [`protocol::limits::RETENTION`] from now on. The run has not been started; the
    /// caller starts it afterwards. Without this call, a store may remove them that long after they were written.
    fn renew(&self, workflow: &WorkflowRecord, jobs: u32) -> impl Future<Output = Stored<()>> + Send;
    /// Deletes a workflow and its control record, if the workflow is still as read and its run is new or final.
    /// Returns true if it did.
    fn delete_workflow(&self, as_read: &WorkflowRecord) -> impl Future<Output = Stored<bool>> + Send;
    /// Deletes up to a few hundred records of a run, including logs and outputs. Returns true if any are left.
    fn delete_some(&self, run: &RunKey, jobs: u32) -> impl Future<Output = Stored<bool>> + Send;
    /// Fails if the store can't be written now, for example because its disk is full. Changes nothing. A store that can't tell
    /// returns `Ok`.
    fn check_writable(&self) -> impl Future<Output = Stored<()>> + Send {
        ready(Ok(()))
    }
}

/// The position at which a list of workflows continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCursor {
    /// The creation time of the last workflow returned.
    pub created_at: Millis,
    /// The id of the last workflow returned.
    pub id: WorkflowId,
}

/// Jobs. Whoever changes a job may also have to change the group in which it takes turns.
pub trait JobStore: GroupStore + Send + Sync {
    /// A job.
    fn job(&self, key: &JobKey, how: Consistency) -> impl Future<Output = Stored<Option<JobRecord>>> + Send;
    /// Returns the jobs with these indexes, in this order; up to a few hundred.
    fn jobs_at(
        &self,
        run: &RunKey,
        indexes: &[JobIndex],
        how: Consistency,
    ) -> impl Future<Output = Stored<Vec<Option<JobRecord>>>> + Send;
    /// Returns jobs of any runs, in the order of `keys`.
    fn jobs(&self, keys: &[JobKey], how: Consistency) -> impl Future<Output = Stored<Vec<Option<JobRecord>>>> + Send;
    /// Returns jobs in index order, starting at `from`: at most `most`, and as many as one read returns. An empty result
    /// means that no jobs are left.
    fn jobs_from(
        &self,
        run: &RunKey,
        from: JobIndex,
        most: usize,
        how: Consistency,
    ) -> impl Future<Output = Stored<Vec<JobRecord>>> + Send;
    /// Returns specs that are stored apart, in the order of `indexes`.
    fn specs(&self, run: &RunKey, indexes: &[JobIndex]) -> impl Future<Output = Stored<Vec<JobSpec>>> + Send;
    /// Updates a job's record.
    fn update(&self, key: &JobKey, update: JobUpdate) -> impl Future<Output = Stored<Updated<JobRecord>>> + Send;
    /// Returns a shard of a job's needs. An absent shard is empty.
    fn wait_shard(&self, key: &JobKey, shard: u32, how: Consistency)
    -> impl Future<Output = Stored<ShardWaits>> + Send;
    /// Removes a member from a shard. If `failed`, the same write sets the shard's flag. Returns the shard afterwards.
    fn drop_from_shard(
        &self,
        key: &JobKey,
        shard: u32,
        member: u32,
        failed: bool,
    ) -> impl Future<Output = Stored<ShardWaits>> + Send;
    /// Returns the oldest jobs of a pool's ready list that may start by `now`. The number of results doesn't grow with
    /// the list. Eventually consistent.
    fn ready_heads(&self, pool: &PoolId, now: Millis) -> impl Future<Output = Stored<Vec<ReadyHead>>> + Send;
    /// Returns the number of jobs in a pool's ready list, counted up to `most`, and since when the oldest is ready.
    fn ready_count(&self, pool: &PoolId, most: usize) -> impl Future<Output = Stored<(u64, Option<Millis>)>> + Send;
}

/// A shard of the needs of a job that has many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardWaits {
    /// The needs that the job still waits for.
    pub members: Waits,
    /// True if a need that was removed from the shard failed.
    pub need_failed: bool,
}

/// An entry of a pool's ready list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadyHead {
    /// When the job became ready.
    pub at: Millis,
    /// The job.
    pub job: JobKey,
}

/// Outputs that are too large for a job's record.
pub trait ArtifactStore: Send + Sync {
    /// Stores outputs under a fresh id.
    fn put_outputs(&self, job: &JobKey, id: &str, outputs: &Outputs) -> impl Future<Output = Stored<()>> + Send;
    /// Reads outputs of this size. Returns `None` if they aren't there (or not yet, for an eventual read).
    fn outputs(
        &self,
        job: &JobKey,
        id: &str,
        size: usize,
        how: Consistency,
    ) -> impl Future<Output = Stored<Option<Outputs>>> + Send;
    /// Copies external outputs to a job of a new run. The id stays the same. Outputs that don't exist are
    /// [`StoreError::Corrupt`].
    fn copy_outputs(&self, from: &JobKey, to: &JobKey, outputs: &OutputsRef)
    -> impl Future<Output = Stored<()>> + Send;
    /// Stores a document for a few minutes and returns the URL from which a client may GET it. Returns `None` if the
    /// store has no URLs because responses may have any size.
    fn publish(&self, job: &JobKey, document: Bytes) -> impl Future<Output = Stored<Option<String>>> + Send;
}

/// Logs.
pub trait LogStore: Send + Sync {
    /// Stores a batch of log pieces. A repeated call has no further effect. `before` is the size of the attempt's log so
    /// far, as [`Self::size`] returns it; a store may keep it with the batch.
    fn append(
        &self,
        job: &JobKey,
        attempt: u32,
        pieces: Vec<LogPiece>,
        before: u64,
    ) -> impl Future<Output = Stored<()>> + Send;
    /// Returns about how many bytes of text the log of an attempt has. A piece that was sent twice may count twice.
    fn size(&self, job: &JobKey, attempt: u32) -> impl Future<Output = Stored<u64>> + Send;
    /// Returns the pieces after a sequence number, ascending and without duplicates, up to about `bytes`.
    fn read(
        &self,
        job: &JobKey,
        attempt: u32,
        after: Option<u64>,
        bytes: usize,
    ) -> impl Future<Output = Stored<Vec<LogPiece>>> + Send;
    /// Notes that somebody reads the log of an attempt until `until`. A hint for the pace of its worker: a store may lose it.
    fn follow(&self, job: &JobKey, attempt: u32, until: Millis) -> impl Future<Output = Stored<()>> + Send;
    /// Returns until when somebody reads the log of an attempt, as far as it was noted. The read may be eventual.
    fn followed_until(&self, job: &JobKey, attempt: u32) -> impl Future<Output = Stored<Option<Millis>>> + Send;
}

/// Sends messages. Each is delivered at least once, at some later time, in any order.
pub trait Dispatcher: Send + Sync {
    /// Sends a ticket for a ready job to the pool's queue.
    fn send_ticket(&self, queue: &PoolQueue, ticket: Ticket) -> impl Future<Output = Stored<()>> + Send;
    /// Queues a batch task.
    fn send_batch(&self, batch: BatchTask) -> impl Future<Output = Stored<()>> + Send;
    /// Sends a run's timer message, to be delivered at `at`, which is at most [`crate::run::MAX_TIMER_DELAY`] after `now`. May
    /// send none if `at` is over a minute after `now`: the sweep then finds the timer overdue.
    fn send_timer(&self, run: &RunKey, at: Millis, now: Millis) -> impl Future<Output = Stored<()>> + Send;
    /// Queues a record for reconciliation, so that its change event doesn't block the events behind it.
    fn send_reconcile(&self, reconcile: Reconcile) -> impl Future<Output = Stored<()>> + Send;
}

/// The change feed and the queues of a store that one process uses alone. They are lists that the process itself
/// consumes. Other stores have streams and queues instead.
pub trait LocalWork: Send + Sync {
    /// Returns the oldest item of work that isn't done, with its number. Repeated calls return the same item until it
    /// is done.
    fn next_work(&self) -> impl Future<Output = Stored<Option<(u64, Work)>>> + Send;
    /// Returns false if no work is listed. A store that would have to read for the answer returns true.
    fn may_have_work(&self) -> bool {
        true
    }
    /// Removes an item of work from the list.
    fn work_done(&self, number: u64) -> impl Future<Output = Stored<()>> + Send;
    /// Returns up to `limit` workflows whose current run is not active, and was started before `before`, or
    /// submitted before if it was never started. Other stores remove these by themselves.
    fn expired(&self, before: Millis, limit: usize) -> impl Future<Output = Stored<Vec<WorkflowRecord>>> + Send;
    /// Returns up to `limit` active runs in the order of their keys, after this one.
    fn active_runs(&self, after: Option<&RunKey>, limit: usize) -> impl Future<Output = Stored<Vec<RunKey>>> + Send;
    /// Returns when the first timer of an active run is due.
    fn next_timer(&self) -> impl Future<Output = Stored<Option<Millis>>> + Send;
    /// Registers a callback that receives the due time of every timer armed after this call.
    fn on_timer_set(&self, tell: Box<dyn Fn(Millis) + Send + Sync>);
}

/// All ports together. Only a caller that assembles an engine needs this; a use case names the ports that it uses.
pub trait Ports:
    RunStore + JobStore + ArtifactStore + LogStore + WorkerRegistry + TokenStore + AuditStore + ForgeItems + Dispatcher
{
}

impl<T> Ports for T where
    T: RunStore
        + JobStore
        + ArtifactStore
        + LogStore
        + WorkerRegistry
        + TokenStore
        + AuditStore
        + ForgeItems
        + Dispatcher
{
}

/// All ports of a store that one process uses alone.
pub trait Local: Ports + LocalWork {}

impl<T: Ports + LocalWork> Local for T {}
