//! The store: all records behind one lock.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::access::TokenRecord;
use engine::forge::store::Item;
use engine::ids::{GroupKey, JobKey, PoolId, RunKey, Unit};
use engine::job::{JobRecord, JobSpec};
use engine::messages::{BatchTask, ChangeEvent, Reconcile};
use engine::ports::{AuditCursor, FollowedLogs, Idempotency, Place, Pool, ShardWaits, Source, WorkerRecord};
use engine::run::{Control, WorkflowRecord};
use protocol::access::AuditEntry;
use protocol::requests::LogPiece;
use protocol::wire::InputValues;
use protocol::{Label, Millis, Outputs, TokenName, WorkerId, WorkflowId};

/// The store, its change feed and its queues.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
    pub(crate) followed: FollowedLogs,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) workflows: BTreeMap<WorkflowId, WorkflowRecord>,
    pub(crate) controls: HashMap<RunKey, Control>,
    pub(crate) definitions: HashMap<RunKey, Source>,
    pub(crate) inputs: HashMap<RunKey, InputValues>,
    pub(crate) jobs: BTreeMap<JobKey, JobRecord>,
    pub(crate) specs: HashMap<JobKey, JobSpec>,
    pub(crate) shards: HashMap<(JobKey, u32), ShardWaits>,
    pub(crate) ready: BTreeSet<(PoolId, Millis, JobKey)>,
    pub(crate) places: BTreeMap<(GroupKey, (Millis, String)), Place>,
    pub(crate) holders: HashMap<GroupKey, Unit>,
    pub(crate) timers: BTreeSet<(Millis, RunKey)>,
    pub(crate) idempotency: HashMap<String, Idempotency>,
    pub(crate) outputs: HashMap<(JobKey, String), Outputs>,
    pub(crate) logs: BTreeMap<(JobKey, u32, u64), LogPiece>,
    /// With the time at which the pool was last added.
    pub(crate) pools: BTreeMap<PoolId, (Pool, Millis)>,
    /// The pools by the first of their labels, so that a claim looks at no others.
    pub(crate) pools_by_label: BTreeMap<Option<Label>, BTreeSet<PoolId>>,
    pub(crate) workers: BTreeMap<WorkerId, WorkerRecord>,
    pub(crate) tokens: BTreeMap<TokenName, TokenRecord>,
    pub(crate) audit: BTreeMap<AuditCursor, AuditEntry>,
    /// Items about forges by their lists and places.
    pub(crate) forge_items: BTreeMap<(String, String), Item>,
    pub(crate) feed: VecDeque<ChangeEvent>,
    pub(crate) batches: VecDeque<BatchTask>,
    pub(crate) reconciles: VecDeque<Reconcile>,
    pub(crate) armed: Option<Armed>,
}

/// The callback of [`LocalWork::on_timer_set`].
type Armed = std::sync::Arc<dyn Fn(Millis) + Send + Sync>;

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // No change is half done when something panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the oldest change event off the feed.
    pub fn next_event(&self) -> Option<ChangeEvent> {
        self.state().feed.pop_front()
    }

    /// The number of outputs that are stored apart.
    pub fn external_outputs(&self) -> usize {
        self.state().outputs.len()
    }

    /// The numbers of idempotency keys, tokens and workers, expired or not.
    pub fn expiring(&self) -> [usize; 3] {
        let state = self.state();
        [state.idempotency.len(), state.tokens.len(), state.workers.len()]
    }

    /// Takes the oldest batch task off its queue.
    pub fn next_batch(&self) -> Option<BatchTask> {
        self.state().batches.pop_front()
    }
}
