//! Workers and pools: registration, worker heartbeats, and the lists that the API shows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use protocol::requests::{Register, Transport};
use protocol::wire::{PoolInfo, QueueInfo, Registered, WorkerInfo, WorkerStatus};
use protocol::{JobId, LabelSet, Millis, WorkerId, limits};

use crate::cache::Cache;
use crate::eligibility::Eligible;
use crate::error::{EngineError, Result};
use crate::ids::PoolId;
use crate::job::{JobRecord, Phase};
use crate::planted::Bug;
use crate::ports::{Consistency, HEARD_EVERY, JobStore, Pool, RunStore, WorkerRecord, WorkerRegistry};
use crate::{Tuning, Workers};

/// The list of running jobs is computed from the open runs at most this often, so that the hot path needs no extra
/// write.
const RUNNING_TTL: Duration = Duration::from_secs(5);
/// Bounds the cache: a client may claim under a fresh worker id each time.
const WORKERS_CACHED: usize = 4096;
/// Bounds the cache of renewed pools.
const RENEWED_POOLS: usize = 4096;

/// The pools in which a job may be ready, as one cache entry.
pub(crate) type PoolsCache = Cache<(), Arc<Vec<Pool>>>;
/// Worker records, as last written or read.
pub(crate) type WorkersCache = Cache<WorkerId, WorkerRecord>;
/// The running jobs, as one cache entry.
pub(crate) type RunningCache = Cache<(), Arc<Running>>;

pub(crate) fn pools_cache(tuning: &Tuning) -> PoolsCache {
    Cache::new(tuning.pools_ttl, 1)
}

/// The pools that this process has added or renewed lately.
pub(crate) type RenewedPoolsCache = Cache<PoolId, ()>;

pub(crate) fn renewed_pools_cache() -> RenewedPoolsCache {
    // A pool whose job waits is renewed by the run's timer, which fires every 15 minutes.
    Cache::new(limits::POOL_TIME / 4, RENEWED_POOLS)
}

pub(crate) fn workers_cache() -> WorkersCache {
    Cache::new(HEARD_EVERY, WORKERS_CACHED)
}

pub(crate) fn running_cache(tuning: &Tuning) -> RunningCache {
    Cache::new(RUNNING_TTL.min(tuning.pools_ttl * 5), 1)
}

/// The running jobs, by worker and by pool.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// A job that each busy worker runs.
    pub by_worker: HashMap<WorkerId, JobId>,
    /// The number of running jobs of each pool.
    pub by_pool: HashMap<PoolId, u64>,
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
}

impl OnlineWorker {
    /// The worker as the eligibility rule sees it. The permissions of its token are not stored, so they are not part
    /// of this.
    pub(crate) fn eligible(&self) -> Eligible<'_> {
        Eligible { labels: &self.labels, exclusive: self.exclusive, grant: None }
    }
}

impl<P: WorkerRegistry> Workers<'_, P> {
    /// Adds the pools of jobs that are submitted.
    pub(crate) async fn add_pools(self, pools: Vec<Pool>) -> Result<()> {
        let now = self.engine.now();
        let ids: Vec<PoolId> = pools.iter().map(|pool| pool.id.clone()).collect();
        self.engine.ports.add_pools(pools, now).await?;
        for id in ids {
            self.engine.caches.renewed_pools.insert(id, (), now);
        }
        Ok(())
    }
}

impl<P: RunStore + JobStore + WorkerRegistry> Workers<'_, P> {
    /// Registers a worker and replaces its earlier record. If the worker polls SQS, also creates the queues of the
    /// pools that it covers.
    ///
    /// # Errors
    /// [`EngineError::Labels`] for over 64 labels, [`EngineError::LabelsNotAllowed`], [`EngineError::TooMuch`] for
    /// features.
    pub async fn register(self, request: Register) -> Result<Registered> {
        request.labels.at_most(limits::LABELS_PER_WORKER)?;
        check_features(&request.features)?;
        self.engine.caller.check_labels(&request.labels)?;
        let now = self.engine.now();
        let before = self.engine.ports.worker(&request.worker_id, self.engine.now()).await?;
        before.as_ref().map_or(Ok(()), |before| self.may_be(before))?;
        let worker = WorkerRecord {
            id: request.worker_id,
            labels: request.labels,
            transport: request.transport,
            exclusive: request.exclusive || self.engine.caller.permissions.exclusive,
            features: request.features,
            registered_at: before.map_or(now, |worker| worker.registered_at),
            last_seen: now,
        };
        self.keep_worker(worker.clone()).await?;
        self.registered(&worker).await
    }

    /// Records a heartbeat of a registered worker.
    ///
    /// # Errors
    /// [`EngineError::NoWorker`] if it isn't registered, [`EngineError::LabelsNotAllowed`].
    pub async fn heartbeat(self, id: &WorkerId) -> Result<Registered> {
        let worker =
            self.engine.ports.worker(id, self.engine.now()).await?.ok_or_else(|| EngineError::NoWorker(id.clone()))?;
        self.engine.caller.check_labels(&worker.labels)?;
        let worker = self.seen_now(worker).await?;
        self.registered(&worker).await
    }

    /// Removes a worker's record. Its leases stay valid until they expire.
    ///
    /// # Errors
    /// [`EngineError::LabelsNotAllowed`].
    pub async fn unregister(self, id: &WorkerId) -> Result<()> {
        if !self.engine.caller.is_unlimited()
            && let Some(worker) = self.engine.ports.worker(id, self.engine.now()).await?
        {
            self.may_be(&worker)?;
        }
        self.engine.caches.workers.remove(id);
        Ok(self.engine.ports.remove_worker(id).await?)
    }

    /// Refuses to act for an online worker whose labels the caller's token doesn't allow. Otherwise a machine for
    /// staging could change or remove the registration of a production worker.
    fn may_be(self, worker: &WorkerRecord) -> Result<()> {
        if self.engine.now().since(worker.last_seen) >= limits::WORKER_SILENCE {
            return Ok(());
        }
        self.engine.caller.check_labels(&worker.labels)
    }

    async fn registered(self, worker: &WorkerRecord) -> Result<Registered> {
        let mut queues = Vec::new();
        if worker.transport == Transport::Sqs {
            let now = self.engine.now();
            let eligible = Eligible {
                labels: &worker.labels,
                exclusive: worker.exclusive || self.engine.caller.permissions.exclusive,
                grant: Some(&self.engine.caller),
            };
            for pool in self.engine.ports.pools(now).await? {
                if pool.admits(eligible).is_err() {
                    continue;
                }
                if let Some(queue) = self.engine.ports.want_queue(&pool, now).await? {
                    queues.push(QueueInfo { url: queue.url, labels: pool.labels });
                }
            }
        }
        Ok(Registered { queues, heartbeat_secs: limits::WORKER_HEARTBEAT.as_secs() })
    }

    /// Counts a claim as a heartbeat of the worker, and registers a worker that isn't registered.
    pub(crate) async fn heard_claiming(
        self,
        id: &WorkerId,
        labels: &LabelSet,
        exclusive: bool,
    ) -> Result<WorkerRecord> {
        let now = self.engine.now();
        let cached = self.engine.caches.workers.get(id, now);
        let cached = cached.filter(|_| !self.engine.has(Bug::WorkerAlwaysRead));
        if let Some(worker) = cached.filter(|worker| worker.labels == *labels && was_seen_recently(worker, now)) {
            return Ok(worker);
        }
        let worker = match self.engine.ports.worker(id, self.engine.now()).await? {
            Some(worker) if worker.labels == *labels => return self.seen_now(worker).await,
            Some(worker) => {
                self.may_be(&worker)?;
                WorkerRecord { labels: labels.clone(), exclusive, last_seen: now, ..worker }
            }
            None => WorkerRecord {
                id: id.clone(),
                labels: labels.clone(),
                transport: Transport::Http,
                exclusive,
                features: Vec::new(),
                registered_at: now,
                last_seen: now,
            },
        };
        self.keep_worker(worker.clone()).await?;
        Ok(worker)
    }

    /// Counts a job's heartbeat as a heartbeat of its worker, if the worker is registered.
    pub(crate) async fn heard_running(self, id: &WorkerId) -> Result<()> {
        let now = self.engine.now();
        if self.engine.caches.workers.get(id, now).is_some_and(|worker| was_seen_recently(&worker, now)) {
            return Ok(());
        }
        if let Some(worker) = self.engine.ports.worker(id, self.engine.now()).await? {
            self.seen_now(worker).await?;
        }
        Ok(())
    }

    async fn seen_now(self, worker: WorkerRecord) -> Result<WorkerRecord> {
        let now = self.engine.now();
        if was_seen_recently(&worker, now) || self.engine.has(Bug::WorkerNeverSeen) {
            self.engine.caches.workers.insert(worker.id.clone(), worker.clone(), now);
            return Ok(worker);
        }
        let worker = WorkerRecord { last_seen: now, ..worker };
        self.keep_worker(worker.clone()).await?;
        Ok(worker)
    }

    async fn keep_worker(self, worker: WorkerRecord) -> Result<()> {
        self.engine.ports.put_worker(worker.clone()).await?;
        self.engine.caches.workers.insert(worker.id.clone(), worker, self.engine.now());
        Ok(())
    }

    /// Keeps the pool of a ready job listed, so that claims find the job. Writes only if this process hasn't renewed the
    /// pool lately.
    pub(crate) async fn renew_pool(self, job: &JobRecord) -> Result<()> {
        if self.engine.caches.renewed_pools.get(&job.pool, self.engine.now()).is_some() {
            return Ok(());
        }
        let spec = self.engine.records().spec(job).await?;
        self.add_pools(vec![Pool::with_secrets(spec.labels.clone(), spec.secrets.clone())]).await
    }

    /// Returns the pools in which a job may be ready, possibly from the cache.
    pub(crate) async fn known_pools(self) -> Result<Arc<Vec<Pool>>> {
        let now = self.engine.now();
        if let Some(pools) = self.engine.caches.pools.get(&(), now) {
            return Ok(pools);
        }
        let pools = Arc::new(self.engine.ports.ready_pools(now).await?);
        self.engine.caches.pools.insert((), Arc::clone(&pools), now);
        Ok(pools)
    }

    /// Returns the running jobs, possibly some seconds old.
    async fn running(self) -> Result<Arc<Running>> {
        let now = self.engine.now();
        if let Some(running) = self.engine.caches.running.get(&(), now) {
            return Ok(running);
        }
        let mut running = Running::default();
        for run in self.engine.ports.open_runs().await? {
            let Some(control) = self.engine.ports.control(&run, Consistency::Eventual).await? else { continue };
            let mut jobs = self.engine.records().forward(&run, control.done_below, Consistency::Eventual);
            while let Some(job) = jobs.next().await? {
                if let Phase::Running(lease) = &job.phase
                    && lease.until > now
                {
                    running.by_worker.insert(lease.worker.clone(), job.id.clone());
                    *running.by_pool.entry(job.pool.clone()).or_default() += 1;
                }
            }
        }
        let running = Arc::new(running);
        self.engine.caches.running.insert((), Arc::clone(&running), now);
        Ok(running)
    }

    /// Returns the online workers.
    pub(crate) async fn online(self) -> Result<Vec<OnlineWorker>> {
        let now = self.engine.now();
        let running = self.running().await?;
        let workers = self.engine.ports.workers(self.engine.now()).await?;
        Ok(workers
            .into_iter()
            .filter(|worker| is_online(worker, now) || running.by_worker.contains_key(&worker.id))
            .map(|worker| OnlineWorker {
                busy: running.by_worker.contains_key(&worker.id),
                id: worker.id,
                labels: worker.labels,
                exclusive: worker.exclusive,
            })
            .collect())
    }

    /// Lists all workers seen within a day, by id.
    pub async fn list(self) -> Result<Vec<WorkerInfo>> {
        let now = self.engine.now();
        let running = self.running().await?;
        let mut workers = self.engine.ports.workers(self.engine.now()).await?;
        workers.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(workers
            .into_iter()
            .map(|worker| {
                let current_job = running.by_worker.get(&worker.id).cloned();
                let status = match (&current_job, is_online(&worker, now)) {
                    (Some(_), _) => WorkerStatus::Busy,
                    (None, true) => WorkerStatus::Idle,
                    (None, false) => WorkerStatus::Offline,
                };
                WorkerInfo {
                    worker_id: worker.id,
                    labels: worker.labels,
                    registered_at_ms: worker.registered_at,
                    last_heartbeat_ms: worker.last_seen,
                    current_job,
                    status,
                }
            })
            .collect())
    }

    /// Lists all pools with recent jobs, by their labels.
    pub async fn pools(self) -> Result<Vec<PoolInfo>> {
        let now = self.engine.now();
        let running = self.running().await?;
        let online = self.online().await?;
        let mut pools = self.engine.ports.pools(now).await?;
        pools.sort_by(|a, b| (&a.labels, &a.secrets).cmp(&(&b.labels, &b.secrets)));
        let counts = try_join_all(pools.iter().map(|pool| self.engine.ports.ready_count(&pool.id))).await?;
        Ok(pools
            .into_iter()
            .zip(counts)
            .map(|(pool, (waiting, oldest))| PoolInfo {
                waiting,
                oldest_ms: oldest.map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)),
                running: running.by_pool.get(&pool.id).copied().unwrap_or(0),
                workers_online: online.iter().filter(|worker| pool.admits(worker.eligible()).is_ok()).count() as u64,
                labels: pool.labels,
                secrets: pool.secrets,
            })
            .collect())
    }
}

fn check_features(features: &[String]) -> Result<()> {
    EngineError::over(|| "the number of `features`".to_owned(), features.len(), limits::FEATURES)?;
    features.iter().enumerate().try_for_each(|(n, feature)| {
        EngineError::over(|| format!("the length in bytes of `features[{n}]`"), feature.len(), limits::FEATURE)
    })
}

/// Returns true if the worker's `last_seen` is too recent to be rewritten.
fn was_seen_recently(worker: &WorkerRecord, now: Millis) -> bool {
    now.since(worker.last_seen) < HEARD_EVERY
}

fn is_online(worker: &WorkerRecord, now: Millis) -> bool {
    now.since(worker.last_seen) < limits::WORKER_SILENCE
}
