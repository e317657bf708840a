//! The ports in memory, for tests and for a server without persistence.
//!
//! Every read is strong. The change feed and the queues are lists; `Scheduling::drain` processes them.

mod access;
mod artifacts;
mod jobs;
mod registry;
mod runs;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::access::AuditEntry;
use protocol::requests::LogPiece;
use protocol::{Millis, Outputs, TokenName, WorkerId, WorkflowId};

use engine::access::TokenRecord;
use engine::ids::{JobKey, PoolId, RunKey, Ticket, Waits};
use engine::job::{JobRecord, JobSpec};
use engine::messages::ChangeEvent;
use engine::messages::{BatchTask, Reconcile, Work};
use engine::ports::{AuditCursor, Dispatcher, Idempotency, LocalWork, Pool, PoolQueue, Source, Stored, WorkerRecord};
use engine::run::{Control, WorkflowRecord};

/// The store, its change feed and its queues.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    workflows: BTreeMap<WorkflowId, WorkflowRecord>,
    controls: HashMap<RunKey, Control>,
    definitions: HashMap<RunKey, Source>,
    jobs: BTreeMap<JobKey, JobRecord>,
    specs: HashMap<JobKey, JobSpec>,
    shards: HashMap<(JobKey, u32), Waits>,
    ready: BTreeSet<(PoolId, Millis, JobKey)>,
    timers: BTreeSet<(Millis, RunKey)>,
    idempotency: HashMap<String, Idempotency>,
    outputs: HashMap<(JobKey, String), Outputs>,
    logs: BTreeMap<(JobKey, u32, u64), LogPiece>,
    pools: BTreeMap<PoolId, Pool>,
    workers: BTreeMap<WorkerId, WorkerRecord>,
    tokens: BTreeMap<TokenName, TokenRecord>,
    audit: BTreeMap<AuditCursor, AuditEntry>,
    feed: VecDeque<ChangeEvent>,
    batches: VecDeque<BatchTask>,
    reconciles: VecDeque<Reconcile>,
    armed: Option<Armed>,
}

/// The callback of [`LocalWork::on_timer_set`].
type Armed = std::sync::Arc<dyn Fn(Millis) + Send + Sync>;

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the oldest change event off the feed.
    pub fn next_event(&self) -> Option<ChangeEvent> {
        self.state().feed.pop_front()
    }

    /// Takes the oldest batch task off its queue.
    pub fn next_batch(&self) -> Option<BatchTask> {
        self.state().batches.pop_front()
    }
}

impl LocalWork for Memory {
    async fn next_work(&self) -> Stored<Option<(u64, Work)>> {
        let state = self.state();
        let event = state.feed.front().cloned().map(|event| (EVENT, Work::ChangeEvent(event)));
        let batch = || state.batches.front().cloned().map(|batch| (BATCH_TASK, Work::BatchTask(batch)));
        let reconcile = || state.reconciles.front().cloned().map(|reconcile| (RECONCILE, Work::Reconcile(reconcile)));
        Ok(event.or_else(batch).or_else(reconcile))
    }

    async fn work_done(&self, number: u64) -> Stored<()> {
        let mut state = self.state();
        match number {
            EVENT => drop(state.feed.pop_front()),
            BATCH_TASK => drop(state.batches.pop_front()),
            _ => drop(state.reconciles.pop_front()),
        }
        Ok(())
    }

    async fn next_timer(&self) -> Stored<Option<Millis>> {
        Ok(self.state().timers.first().map(|(due, _)| *due))
    }

    fn on_timer_set(&self, tell: Box<dyn Fn(Millis) + Send + Sync>) {
        self.state().armed = Some(tell.into());
    }
}

/// Numbers of work items: each names the first item of its list. Only one caller processes a list.
const EVENT: u64 = 0;
const BATCH_TASK: u64 = 1;
const RECONCILE: u64 = 2;

impl Dispatcher for Memory {
    async fn send_ticket(&self, _queue: &PoolQueue, _ticket: Ticket) -> Stored<()> {
        Ok(())
    }

    async fn send_batch(&self, batch: BatchTask) -> Stored<()> {
        self.state().batches.push_back(batch);
        Ok(())
    }

    async fn send_timer(&self, _run: &RunKey, at: Millis, _now: Millis) -> Stored<()> {
        let armed = self.state().armed.clone();
        if let Some(tell) = armed {
            tell(at);
        }
        Ok(())
    }

    async fn send_reconcile(&self, reconcile: Reconcile) -> Stored<()> {
        self.state().reconciles.push_back(reconcile);
        Ok(())
    }
}
