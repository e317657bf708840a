//! The ports in memory: for tests, and for a server that keeps nothing.
//!
//! Every read is strong. What a change feed and a queue are elsewhere are lists here; [`Engine::settle`] works them off.

mod artifacts;
mod jobs;
mod registry;
mod runs;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::requests::LogPiece;
use protocol::{Millis, Outputs, WorkerId, WorkflowId};

use crate::error::Outcome;
use crate::ids::{JobKey, PoolId, Random, RunKey, Ticket, Waits};
use crate::job::{JobRecord, JobSpec};
use crate::notice::Notice;
use crate::ports::{Dispatcher, Idempotency, Pool, PoolQueue, Stored, Surroundings, Walk, WorkerRecord};
use crate::run::{Control, WorkflowRecord};
use crate::Engine;

/// The store, its change feed and its queues.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
    /// Milliseconds that this store's clock is ahead of the machine's.
    ahead: AtomicU64,
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
    idempotency: HashMap<String, Idempotency>,
    outputs: HashMap<(JobKey, String), Outputs>,
    logs: BTreeMap<(JobKey, u32, u64), LogPiece>,
    pools: BTreeMap<PoolId, Pool>,
    workers: BTreeMap<WorkerId, WorkerRecord>,
    feed: VecDeque<Notice>,
    walks: VecDeque<Walk>,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves this store's clock forward.
    pub fn pass(&self, time: Duration) {
        self.ahead.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
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

impl Engine<Memory> {
    /// Tells the engine of all changes and does all long work, until there is neither.
    pub async fn settle(&self) -> Outcome<()> {
        loop {
            if let Some(notice) = self.ports().next_notice() {
                self.on_notice(&notice).await?;
            } else if let Some(walk) = self.ports().next_walk() {
                self.walk_step(walk).await?;
            } else {
                return Ok(());
            }
        }
    }
}

impl Dispatcher for Memory {
    async fn ticket(&self, _queue: &PoolQueue, _ticket: Ticket) -> Stored<()> {
        Ok(())
    }

    async fn walk(&self, walk: Walk) -> Stored<()> {
        self.state().walks.push_back(walk);
        Ok(())
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
