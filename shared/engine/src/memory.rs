//! The ports in memory: for tests, and for a server that keeps nothing.
//!
//! Every read is strong. What a change feed and a queue are elsewhere are lists here; `Engine::settle` works them off.

mod access;
mod artifacts;
mod jobs;
mod registry;
mod runs;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::access::AuditEntry;
use protocol::requests::LogPiece;
use protocol::{Millis, Outputs, SecretName, Secrets, TokenName, WorkerId, WorkflowId};

use crate::access::TokenRecord;
use crate::ids::{JobKey, PoolId, Random, RunKey, Ticket, Waits};
use crate::job::{JobRecord, JobSpec};
use crate::notice::Notice;
use crate::ports::{
    AuditCursor, Dispatcher, Idempotency, Local, Pool, PoolQueue, Repair, SecretSource, SecretStore, Stored,
    Surroundings, Walk, Work, WorkerRecord,
};
use crate::run::{Control, WorkflowRecord};

/// The store, its change feed and its queues.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
    /// Milliseconds that this store's clock is ahead of the machine's.
    ahead: AtomicU64,
    secrets: Option<Box<dyn SecretSource>>,
}

#[derive(Default)]
struct State {
    workflows: BTreeMap<WorkflowId, WorkflowRecord>,
    controls: HashMap<RunKey, Control>,
    definitions: HashMap<RunKey, String>,
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
    feed: VecDeque<Notice>,
    walks: VecDeque<Walk>,
    repairs: VecDeque<Repair>,
    armed: Option<Armed>,
}

/// Who is told of a timer that was set.
type Armed = std::sync::Arc<dyn Fn(Millis) + Send + Sync>;

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The store, with secrets from there. Without, there are none.
    #[must_use]
    pub fn with_secrets(self, source: impl SecretSource + 'static) -> Self {
        Self { secrets: Some(Box::new(source)), ..self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next change that nobody was told of.
    pub fn next_notice(&self) -> Option<Notice> {
        self.state().feed.pop_front()
    }

    /// The next step of long work that was asked for.
    pub fn next_walk(&self) -> Option<Walk> {
        self.state().walks.pop_front()
    }
}

impl Local for Memory {
    async fn next_work(&self) -> Stored<Option<(u64, Work)>> {
        let state = self.state();
        let notice = state.feed.front().cloned().map(|notice| (NOTICE, Work::Notice(notice)));
        let walk = || state.walks.front().cloned().map(|walk| (WALK, Work::Walk(walk)));
        let repair = || state.repairs.front().cloned().map(|repair| (REPAIR, Work::Repair(repair)));
        Ok(notice.or_else(walk).or_else(repair))
    }

    async fn work_done(&self, number: u64) -> Stored<()> {
        let mut state = self.state();
        match number {
            NOTICE => drop(state.feed.pop_front()),
            WALK => drop(state.walks.pop_front()),
            _ => drop(state.repairs.pop_front()),
        }
        Ok(())
    }

    async fn next_timer(&self) -> Stored<Option<Millis>> {
        Ok(self.state().timers.first().map(|(due, _)| *due))
    }

    fn when_armed(&self, tell: Box<dyn Fn(Millis) + Send + Sync>) {
        self.state().armed = Some(tell.into());
    }

    fn pass(&self, time: Duration) {
        self.ahead.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What a piece of work is known by here: only ever the first of its list, by one worker.
const NOTICE: u64 = 0;
const WALK: u64 = 1;
const REPAIR: u64 = 2;

impl Dispatcher for Memory {
    async fn ticket(&self, _queue: &PoolQueue, _ticket: Ticket) -> Stored<()> {
        Ok(())
    }

    async fn walk(&self, walk: Walk) -> Stored<()> {
        self.state().walks.push_back(walk);
        Ok(())
    }

    async fn timer(&self, _run: &RunKey, at: Millis) -> Stored<()> {
        let armed = self.state().armed.clone();
        if let Some(tell) = armed {
            tell(at);
        }
        Ok(())
    }

    async fn repair(&self, repair: Repair) -> Stored<()> {
        self.state().repairs.push_back(repair);
        Ok(())
    }
}

impl SecretStore for Memory {
    async fn secrets(&self, names: &BTreeSet<SecretName>) -> Stored<Secrets> {
        self.secrets.as_ref().map_or_else(|| Ok(Secrets::new()), |source| source.read(names))
    }
}

impl Surroundings for Memory {
    fn now(&self) -> Millis {
        Millis::now() + Duration::from_millis(self.ahead.load(Ordering::Relaxed))
    }

    fn random(&self) -> Random {
        crate::ids::random()
    }

    fn pools_stay_known(&self) -> Duration {
        Duration::ZERO
    }
}
