//! The ports in memory: for tests, and for a server that keeps nothing.
//!
//! Every read is strong. What a change feed and a queue are elsewhere are lists here; `Engine::settle` works them off.

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

use crate::ids::{JobKey, PoolId, Random, RunKey, Ticket, Waits};
use crate::job::{JobRecord, JobSpec};
use crate::notice::Notice;
use crate::ports::{Dispatcher, Idempotency, Local, Pool, PoolQueue, Stored, Surroundings, Walk, Work, WorkerRecord};
use crate::run::{Control, WorkflowRecord};

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
    leases: BTreeSet<(Millis, JobKey)>,
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
        Ok(notice.or_else(|| state.walks.front().cloned().map(|walk| (WALK, Work::Walk(walk)))))
    }

    async fn work_done(&self, number: u64) -> Stored<()> {
        let mut state = self.state();
        if number == NOTICE {
            drop(state.feed.pop_front());
        } else {
            drop(state.walks.pop_front());
        }
        Ok(())
    }

    async fn overdue(&self, now: Millis) -> Stored<(Vec<JobKey>, Option<Millis>)> {
        let state = self.state();
        let over = state.leases.range(..=(now, JobKey::last())).map(|(_, key)| key.clone()).collect();
        let next = state.leases.range((now, JobKey::last())..).next().map(|(until, _)| *until);
        Ok((over, next))
    }

    fn pass(&self, time: Duration) {
        self.ahead.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What a piece of work is known by here: only ever the first of its list, by one worker.
const NOTICE: u64 = 0;
const WALK: u64 = 1;

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
