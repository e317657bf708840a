//! A store in memory that counts its calls, fails where a test says so, and has queues and URLs.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use engine::access::TokenRecord;
use engine::forge::store::{DueKind, ForgeItems, Item};
use engine::ids::{GroupKey, JobIndex, JobKey, PoolId, Random, RunKey, Ticket, Unit};
use engine::job::{JobRecord, JobSpec, JobUpdate, OutputsRef};
use engine::messages::{BatchTask, Reconcile, Work};
use engine::ports::{
    ArtifactStore, AuditCursor, AuditStore, Commit, Committed, Consistency, Dispatcher, GroupStore, Idempotency,
    JobStore, ListCursor, LocalWork, LogStore, NewItem, Place, Pool, PoolQueue, ReadyHead, RunStore, ShardWaits,
    Source, StoreError, Stored, TokenStore, Updated, WorkerRecord, WorkerRegistry,
};
use engine::run::{Control, RunEnd, RunUpdate, WorkflowRecord};
use memory::Memory;
use protocol::access::AuditEntry;
use protocol::requests::LogPiece;
use protocol::wire::InputValues;
use protocol::{LabelSet, Millis, Outputs, TokenName, WorkerId, WorkflowId};

use crate::common::Queues;

/// What happens to a call.
pub enum Fault {
    /// It fails with this error, and nothing is done.
    Fails(StoreError),
    /// It is done, and then fails as unavailable.
    Unanswered,
    /// Its answer is lost, so the client library sends it again and returns the second answer.
    SentTwice,
    /// Something else is done to the store just before, and then this happens.
    Then(Box<dyn FnOnce(&Memory) + Send>, Box<Fault>),
    /// Nothing.
    None,
}

/// Something else is done to the store just before a call.
pub fn after(other: impl FnOnce(&Memory) + Send + 'static) -> Fault {
    Fault::Then(Box::new(other), Box::new(Fault::None))
}

pub fn unavailable() -> Fault {
    Fault::Fails(StoreError::Unavailable("throttled".to_owned()))
}

pub fn corrupt() -> Fault {
    Fault::Fails(StoreError::Corrupt("half a record".to_owned()))
}

/// A store in memory. See the module.
#[derive(Default)]
pub struct Watched {
    memory: Memory,
    state: Mutex<State>,
    queues: bool,
    urls: bool,
}

#[derive(Default)]
struct State {
    calls: Vec<&'static str>,
    faults: VecDeque<(&'static str, Fault)>,
    /// Updates of jobs that have begun and not ended, and the largest such number.
    updates: (usize, usize),
    tickets: Vec<(String, Ticket)>,
    timers: Vec<Millis>,
    /// Records that lists of workflows and pages of jobs returned.
    workflows_read: usize,
    jobs_read: usize,
}

impl Watched {
    /// A store of which each pool has a queue, named by its labels.
    pub fn with_queues() -> Self {
        Self { queues: true, ..Self::default() }
    }

    /// A store that publishes documents under URLs.
    pub fn with_urls() -> Self {
        Self { urls: true, ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics in here")
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        let mut state = self.state();
        let faults = std::mem::take(&mut state.faults);
        *state = State { faults, ..State::default() };
    }

    /// The number of calls of this name.
    pub fn calls(&self, name: &str) -> usize {
        self.state().calls.iter().filter(|call| **call == name).count()
    }

    /// The records of workflows that lists returned.
    pub fn workflows_read(&self) -> usize {
        self.state().workflows_read
    }

    /// The records of jobs that pages of jobs returned.
    pub fn jobs_read(&self) -> usize {
        self.state().jobs_read
    }

    /// Lets the next calls of this name go like this, one after the other.
    pub fn next_calls(&self, name: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults.into_iter().map(|fault| (name, fault)));
    }

    /// The jobs whose tickets were sent, with the labels of the queue.
    pub fn tickets(&self) -> Vec<(String, JobIndex)> {
        self.state().tickets.iter().map(|(queue, ticket)| (queue.clone(), ticket.job.index)).collect()
    }

    /// The times for which timer messages were sent.
    pub fn timers(&self) -> Vec<Millis> {
        self.state().timers.clone()
    }

    /// The largest number of updates of jobs at one time.
    pub fn updates_at_once(&self) -> usize {
        self.state().updates.1
    }

    fn update_begins(&self) {
        let mut state = self.state();
        state.updates.0 += 1;
        state.updates.1 = state.updates.1.max(state.updates.0);
    }

    fn fault(&self, name: &'static str) -> Fault {
        let mut state = self.state();
        state.calls.push(name);
        let at = state.faults.iter().position(|(of, _)| *of == name);
        let fault = at.and_then(|at| state.faults.remove(at)).map_or(Fault::None, |(_, fault)| fault);
        drop(state);
        match fault {
            Fault::Then(other, fault) => {
                other(&self.memory);
                *fault
            }
            fault => fault,
        }
    }
}

impl Queues for Watched {
    fn memory(&self) -> &Memory {
        &self.memory
    }
}

macro_rules! call {
    ($self:ident.$name:ident($($argument:ident),*)) => {
        match $self.fault(stringify!($name)) {
            Fault::None | Fault::Then(..) => $self.memory.$name($($argument),*).await,
            Fault::Fails(error) => Err(error),
            Fault::Unanswered => {
                $self.memory.$name($($argument),*).await?;
                Err(StoreError::Unavailable("the answer was lost".to_owned()))
            }
            Fault::SentTwice => {
                $self.memory.$name($(Clone::clone(&$argument)),*).await?;
                $self.memory.$name($($argument),*).await
            }
        }
    };
}

/// Declares methods that count and forward a call.
macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {$(
        #[allow(clippy::clone_on_copy, reason = "one text for all methods")]
        async fn $name(&self $(, $argument: $type)*) -> Stored<$answer> {
            call!(self.$name($($argument),*))
        }
    )+};
}

impl RunStore for Watched {
    forward! {
        put_new(items: Vec<NewItem>) -> ();
        commit(commit: Commit) -> Committed;
        idempotency(key: &str, now: Millis) -> Option<Idempotency>;
        workflow(id: &WorkflowId, how: Consistency) -> Option<WorkflowRecord>;
        end_workflow(id: &WorkflowId, run: &RunKey, end: RunEnd) -> bool;
        definition(run: &RunKey) -> Option<Source>;
        inputs(run: &RunKey) -> Option<InputValues>;
        control(run: &RunKey, how: Consistency) -> Option<Control>;
        update_control(run: &RunKey, update: RunUpdate) -> Updated<Control>;
        timers_due(by: Millis) -> Vec<RunKey>;
        renew(workflow: &WorkflowRecord, jobs: u32) -> ();
        delete_workflow(as_read: &WorkflowRecord) -> bool;
        delete_some(run: &RunKey, jobs: u32) -> bool;
        check_writable() -> ();
    }

    #[allow(clippy::clone_on_copy, reason = "one text for all methods")]
    async fn workflows(&self, after: Option<&ListCursor>, limit: usize) -> Stored<Vec<WorkflowRecord>> {
        let found = call!(self.workflows(after, limit))?;
        self.state().workflows_read += found.len();
        Ok(found)
    }
}

impl JobStore for Watched {
    forward! {
        job(key: &JobKey, how: Consistency) -> Option<JobRecord>;
        jobs(keys: &[JobKey], how: Consistency) -> Vec<Option<JobRecord>>;
        jobs_at(run: &RunKey, indexes: &[JobIndex], how: Consistency) -> Vec<Option<JobRecord>>;
        specs(run: &RunKey, indexes: &[JobIndex]) -> Vec<JobSpec>;
        wait_shard(key: &JobKey, shard: u32, how: Consistency) -> ShardWaits;
        drop_from_shard(key: &JobKey, shard: u32, member: u32, failed: bool) -> ShardWaits;
        ready_heads(pool: &PoolId, now: Millis) -> Vec<ReadyHead>;
        ready_count(pool: &PoolId, most: usize) -> (u64, Option<Millis>);
    }

    #[allow(clippy::clone_on_copy, reason = "one text for all methods")]
    async fn jobs_from(&self, run: &RunKey, from: JobIndex, most: usize, how: Consistency) -> Stored<Vec<JobRecord>> {
        let found = call!(self.jobs_from(run, from, most, how))?;
        self.state().jobs_read += found.len();
        Ok(found)
    }

    async fn update(&self, key: &JobKey, update: JobUpdate) -> Stored<Updated<JobRecord>> {
        self.update_begins();
        tokio::task::yield_now().await;
        let answer = async { call!(self.update(key, update)) }.await;
        self.state().updates.0 -= 1;
        answer
    }
}

impl GroupStore for Watched {
    forward! {
        put_place(group: &GroupKey, place: &Place) -> ();
        remove_place(group: &GroupKey, place: &Place) -> ();
        places(group: &GroupKey, after: Option<&Place>, most: usize) -> Vec<Place>;
        holder(group: &GroupKey, how: Consistency) -> Option<Unit>;
        hold(group: &GroupKey, before: Option<&Unit>, next: &Unit) -> bool;
    }
}

impl ArtifactStore for Watched {
    forward! {
        put_outputs(job: &JobKey, id: &str, outputs: &Outputs) -> ();
        outputs(job: &JobKey, id: &str, size: usize, how: Consistency) -> Option<Outputs>;
        copy_outputs(from: &JobKey, to: &JobKey, outputs: &OutputsRef) -> ();
    }

    async fn publish(&self, job: &JobKey, document: Bytes) -> Stored<Option<String>> {
        let stored = call!(self.publish(job, document))?;
        Ok(if self.urls { Some("https://bucket/document".to_owned()) } else { stored })
    }
}

impl LogStore for Watched {
    forward! {
        append(job: &JobKey, attempt: u32, pieces: Vec<LogPiece>, before: u64) -> ();
        size(job: &JobKey, attempt: u32) -> u64;
        read(job: &JobKey, attempt: u32, after: Option<u64>, bytes: usize) -> Vec<LogPiece>;
        follow(job: &JobKey, attempt: u32, until: Millis) -> ();
        followed_until(job: &JobKey, attempt: u32) -> Option<Millis>;
    }
}

impl WorkerRegistry for Watched {
    forward! {
        add_pools(pools: Vec<Pool>, now: Millis) -> ();
        put_worker(worker: WorkerRecord) -> bool;
        worker(id: &WorkerId, now: Millis, how: Consistency) -> Option<WorkerRecord>;
        workers(now: Millis, most: usize) -> Vec<WorkerRecord>;
        remove_worker(id: &WorkerId) -> ();
    }

    async fn pools(&self, now: Millis) -> Stored<Vec<Pool>> {
        Ok(self.add_queues(call!(self.pools(now))?, now))
    }

    async fn ready_pools(&self, labels: &LabelSet) -> Stored<Option<Vec<Pool>>> {
        Ok(call!(self.ready_pools(labels))?.map(|pools| self.add_queues(pools, Millis(0))))
    }

    fn has_queues(&self) -> bool {
        self.queues || self.memory.has_queues()
    }

    async fn want_queue(&self, pool: &Pool, now: Millis) -> Stored<Option<PoolQueue>> {
        let stored = call!(self.want_queue(pool, now))?;
        Ok(if self.queues { Some(queue(pool, now)) } else { stored })
    }
}

impl Watched {
    fn add_queues(&self, pools: Vec<Pool>, now: Millis) -> Vec<Pool> {
        let queue = |pool: Pool| Pool { queue: self.queues.then(|| queue(&pool, now)), ..pool };
        pools.into_iter().map(queue).collect()
    }
}

fn queue(pool: &Pool, now: Millis) -> PoolQueue {
    PoolQueue { url: pool.labels.to_string(), wanted_at: now }
}

impl TokenStore for Watched {
    forward! {
        put_token(token: TokenRecord, now: Millis) -> bool;
        token(name: &TokenName) -> Option<TokenRecord>;
        tokens(now: Millis) -> Vec<TokenRecord>;
        remove_token(name: &TokenName) -> bool;
    }
}

impl AuditStore for Watched {
    forward! {
        record(entry: AuditEntry, id: Random) -> ();
        entries(after: Option<&AuditCursor>, limit: usize) -> Vec<(AuditCursor, AuditEntry)>;
    }
}

impl Dispatcher for Watched {
    forward! {
        send_batch(batch: BatchTask) -> ();
        send_reconcile(reconcile: Reconcile) -> ();
    }

    async fn send_ticket(&self, queue: &PoolQueue, ticket: Ticket) -> Stored<()> {
        self.state().tickets.push((queue.url.clone(), ticket.clone()));
        call!(self.send_ticket(queue, ticket))
    }

    async fn send_timer(&self, run: &RunKey, at: Millis, now: Millis) -> Stored<()> {
        self.state().timers.push(at);
        call!(self.send_timer(run, at, now))
    }
}

impl ForgeItems for Watched {
    forward! {
        put_item(item: Item) -> bool;
        item(list: &str, sort: &str) -> Option<Item>;
        items(list: &str, prefix: &str, after: Option<&str>, newest_first: bool, limit: usize) -> Vec<Item>;
        remove_item(list: &str, sort: &str) -> bool;
        items_due(kind: DueKind, by: Millis, limit: usize) -> Vec<Item>;
        next_due(kind: DueKind) -> Option<Millis>;
    }
}

impl LocalWork for Watched {
    forward! {
        next_work() -> Option<(u64, Work)>;
        work_done(number: u64) -> ();
        expired(before: Millis, limit: usize) -> Vec<WorkflowRecord>;
        active_runs(after: Option<&RunKey>, limit: usize) -> Vec<RunKey>;
        next_timer() -> Option<Millis>;
    }

    fn on_timer_set(&self, tell: Box<dyn Fn(Millis) + Send + Sync>) {
        self.memory.on_timer_set(tell);
    }
}
