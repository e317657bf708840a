//! The lists of workers and pools that the API shows, and the workers that a waiting job could get.
//!
//! Nothing here reads runs: what a worker runs is in its own record. So the cost doesn't grow with the open runs.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use protocol::wire::{PoolInfo, WorkerInfo, WorkerStatus};
use protocol::{JobId, LabelSet, Millis, WorkerId, limits};

use crate::cache::Cache;
use crate::eligibility::Eligible;
use crate::error::{EngineError, Result};
use crate::ids::{JobKey, PoolId, RunKey};
use crate::job::Phase;
use crate::ports::{Consistency, HeldJob, JobStore, Pool, RunStore, WorkerRecord, WorkerRegistry};
use crate::run::RunState;
use crate::{Tuning, Workers};

/// The workers are read at most this often.
const FLEET_TTL: Duration = Duration::from_secs(5);
/// Jobs that one call reads.
const JOBS: usize = 100;
/// Calls made concurrently.
const AT_ONCE: usize = 8;
/// Runs that this process cancelled, until their jobs have left the ready lists.
const CANCELLED_RUNS: usize = 16;
const CANCELLED_TTL: Duration = Duration::from_mins(1);

/// The workers and their jobs, as one cache entry.
pub(crate) type FleetCache = Cache<(), Arc<Fleet>>;

pub(crate) fn fleet_cache(tuning: &Tuning) -> FleetCache {
    Cache::new(FLEET_TTL.min(tuning.pools_ttl * 5), 1)
}

/// The runs that this process cancelled lately. Their jobs may still be in ready lists, and never start.
pub(crate) type CancelledCache = Cache<RunKey, ()>;

pub(crate) fn cancelled_cache() -> CancelledCache {
    Cache::new(CANCELLED_TTL, CANCELLED_RUNS)
}

/// The workers seen within a day, and the jobs that they run.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    workers: Vec<WorkerRecord>,
    /// The job that each busy worker took last.
    current: HashMap<WorkerId, JobId>,
    /// The number of running jobs of each pool.
    running: HashMap<PoolId, u64>,
}

/// An online worker.
#[derive(Clone, Debug)]
pub struct OnlineWorker {
    /// The worker's id.
    pub id: WorkerId,
    /// The worker's labels.
    pub labels: LabelSet,
    /// True if the worker takes only jobs that require one of its labels.
    pub exclusive: bool,
    /// True if the worker holds a lease.
    pub busy: bool,
    /// Why the worker takes no jobs for now, if it is paused.
    pub paused: Option<String>,
}

impl OnlineWorker {
    /// The worker as the eligibility rule sees it. The permissions of its token are not stored, so they are not part
    /// of this.
    pub(crate) fn eligible(&self) -> Eligible<'_> {
        Eligible { labels: &self.labels, exclusive: self.exclusive, grant: None }
    }
}

impl Fleet {
    fn online(&self, now: Millis) -> Vec<OnlineWorker> {
        let online = |worker: &&WorkerRecord| is_online(worker, now) || self.current.contains_key(&worker.id);
        let shown = |worker: &WorkerRecord| OnlineWorker {
            busy: self.current.contains_key(&worker.id),
            id: worker.id.clone(),
            labels: worker.labels.clone(),
            exclusive: worker.exclusive,
            paused: worker.paused.clone(),
        };
        self.workers.iter().filter(online).map(shown).collect()
    }
}

/// The jobs that the records of workers name, oldest entry first. If several workers held a job one after the other, only the
/// last one holds it.
fn latest_of_each_job(workers: &[WorkerRecord], now: Millis) -> Vec<(&WorkerId, &HeldJob)> {
    let named = workers.iter().flat_map(|worker| worker.holds.iter().map(|held| (&worker.id, held)));
    let mut named: Vec<_> = named.filter(|(_, held)| held.until > now).collect();
    // Of entries of the same time, the last of a record is the latest.
    named.reverse();
    named.sort_by_key(|(_, held)| Reverse(held.at));
    let mut seen = HashSet::new();
    named.retain(|(_, held)| seen.insert(&held.job));
    named.reverse();
    named
}

impl<P: RunStore + JobStore + WorkerRegistry> Workers<'_, P> {
    /// Returns the workers and what they run, possibly some seconds old.
    async fn fleet(self) -> Result<Arc<Fleet>> {
        let (cache, now) = (&self.engine.caches.fleet, self.engine.now());
        if let Some(fleet) = cache.get(&(), now) {
            return Ok(fleet);
        }
        let workers = self.engine.ports.workers(now, limits::WORKERS_LISTED).await?;
        let workers: Vec<WorkerRecord> = workers.into_iter().map(|worker| self.as_known(worker)).collect();
        let named = latest_of_each_job(&workers, now);
        let old: Vec<(&WorkerId, &HeldJob)> = named.iter().copied().filter(|(_, held)| !held.is_young(now)).collect();
        let still_run = self.those_that_run(&old).await?;
        let mut fleet = Fleet::default();
        for (worker, held) in named.into_iter().filter(|(_, held)| held.is_young(now) || still_run.contains(&held.job))
        {
            fleet.current.insert(worker.clone(), held.id.clone());
            *fleet.running.entry(held.pool.clone()).or_default() += 1;
        }
        fleet.workers = workers;
        let fleet = Arc::new(fleet);
        cache.insert((), Arc::clone(&fleet), now);
        Ok(fleet)
    }

    /// Reads jobs, and returns those that run under a lease of their worker.
    async fn those_that_run(self, named: &[(&WorkerId, &HeldJob)]) -> Result<HashSet<JobKey>> {
        let now = self.engine.now();
        let page = |page: Vec<(WorkerId, JobKey)>| async move {
            let keys: Vec<JobKey> = page.iter().map(|(_, job)| job.clone()).collect();
            let jobs = self.engine.ports.jobs(&keys, Consistency::Eventual).await?;
            let runs =
                page.iter().zip(jobs).filter_map(|((worker, _), job)| job.filter(|job| job.is_held_by(worker, now)));
            Ok::<_, EngineError>(runs.map(|job| job.key).collect::<Vec<_>>())
        };
        let owned = |named: &[(&WorkerId, &HeldJob)]| {
            named.iter().map(|(worker, held)| ((*worker).clone(), held.job.clone())).collect::<Vec<_>>()
        };
        let pages: Vec<Vec<(WorkerId, JobKey)>> = named.chunks(JOBS).map(owned).collect();
        let found = stream::iter(pages.into_iter().map(page)).buffer_unordered(AT_ONCE);
        let found: Vec<Vec<JobKey>> = found.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Returns the online workers.
    pub(crate) async fn online(self) -> Result<Vec<OnlineWorker>> {
        Ok(self.fleet().await?.online(self.engine.now()))
    }

    /// Lists the workers seen within a day, by id; at most [`limits::WORKERS_LISTED`], those seen last.
    pub async fn list(self) -> Result<Vec<WorkerInfo>> {
        let now = self.engine.now();
        let fleet = self.fleet().await?;
        let shown = |worker: &WorkerRecord| {
            let current_job = fleet.current.get(&worker.id).cloned();
            WorkerInfo {
                worker_id: worker.id.clone(),
                labels: worker.labels.clone(),
                exclusive: worker.exclusive,
                registered_at_ms: worker.registered_at,
                last_heartbeat_ms: worker.last_seen,
                status: match (&current_job, is_online(worker, now)) {
                    (Some(_), _) => WorkerStatus::Busy,
                    (None, true) => WorkerStatus::Idle,
                    (None, false) => WorkerStatus::Offline,
                },
                current_job,
                paused: worker.paused.clone(),
            }
        };
        let mut workers: Vec<WorkerInfo> = fleet.workers.iter().map(shown).collect();
        workers.sort_by(|a, b| a.worker_id.cmp(&b.worker_id));
        Ok(workers)
    }

    /// Lists all pools with recent jobs, by their labels.
    pub async fn pools(self) -> Result<Vec<Pool>> {
        let mut pools = self.engine.ports.pools(self.engine.now()).await?;
        pools.sort_by(|a, b| (&a.labels, &a.secrets).cmp(&(&b.labels, &b.secrets)));
        Ok(pools)
    }

    /// Counts the jobs and workers of some pools, at most [`limits::POOLS_LISTED`] of them.
    pub async fn count_pools(self, pools: Vec<Pool>) -> Result<Vec<PoolInfo>> {
        let now = self.engine.now();
        let fleet = self.fleet().await?;
        let online = fleet.online(now);
        let cancelled = self.cancelled_jobs().await?;
        let mut shown = Vec::with_capacity(pools.len());
        for some in pools.chunks(AT_ONCE) {
            let most = limits::WAITING_COUNTED;
            let counts = try_join_all(some.iter().map(|pool| self.engine.ports.ready_count(&pool.id, most))).await?;
            for (pool, (ready, oldest)) in some.iter().zip(counts) {
                let waiting = ready.saturating_sub(cancelled.get(&pool.id).copied().unwrap_or(0));
                let oldest = oldest.filter(|_| waiting > 0).map(|at| now.since(at).as_millis());
                let able = |worker: &&OnlineWorker| worker.paused.is_none() && pool.admits(worker.eligible()).is_ok();
                shown.push(PoolInfo {
                    labels: pool.labels.clone(),
                    secrets: pool.secrets.clone(),
                    waiting,
                    waiting_is_capped: ready >= limits::WAITING_COUNTED as u64,
                    oldest_ms: oldest.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
                    running: fleet.running.get(&pool.id).copied().unwrap_or(0),
                    workers_online: online.iter().filter(able).count() as u64,
                });
            }
        }
        Ok(shown)
    }

    /// Returns the number of jobs in each pool's ready list that never start, because this process cancelled their run. They
    /// leave the list within moments.
    async fn cancelled_jobs(self) -> Result<HashMap<PoolId, u64>> {
        let cache = &self.engine.caches.cancelled;
        let mut jobs = HashMap::new();
        for (run, ()) in cache.entries_at(self.engine.now()) {
            let control = self.engine.ports.control(&run, Consistency::Eventual).await?;
            let Some(control) = control.filter(|control| control.state == RunState::Cancelling) else {
                cache.remove(&run);
                continue;
            };
            let mut forward = self.engine.records().forward(&run, control.done_below, Consistency::Eventual);
            while let Some(job) = forward.next().await? {
                if matches!(job.phase, Phase::Ready { .. }) {
                    *jobs.entry(job.pool).or_default() += 1;
                }
            }
        }
        Ok(jobs)
    }
}

fn is_online(worker: &WorkerRecord, now: Millis) -> bool {
    now.since(worker.last_seen) < limits::WORKER_SILENCE
}
