//! Workers and pools: registration, worker heartbeats, and the lists that the API shows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use protocol::access::Scope;
use protocol::requests::{Register, Transport};
use protocol::wire::{PoolInfo, QueueInfo, Registered, WorkerInfo, WorkerStatus};
use protocol::{JobId, LabelSet, Millis, TokenName, WorkerId, limit, limits};

use crate::cache::Cache;
use crate::eligibility::Eligible;
use crate::error::{EngineError, Result};
use crate::ids::PoolId;
use crate::job::{JobRecord, Phase, cut};
use crate::planted::Bug;
use crate::ports::{Consistency, HEARD_EVERY, JobStore, Pool, RunStore, WorkerRecord, WorkerRegistry};
use crate::run::RunState;
use crate::{Tuning, Workers};

/// The list of running jobs is computed from the open runs at most this often, so that the hot path needs no extra
/// write.
const RUNNING_TTL: Duration = Duration::from_secs(5);
/// Bounds the cache: a client may claim under a fresh worker id each time.
const WORKERS_CACHED: usize = 4096;
/// Bounds the cache of renewed pools.
const RENEWED_POOLS: usize = 4096;

/// The number of workers of a token is read at most this often.
const OWNED_TTL: Duration = Duration::from_mins(1);
/// Tokens whose numbers of workers are cached.
const TOKENS_CACHED: usize = 1000;

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

/// Workers that gave a job back within [`limits::RETURN_PAUSE`], as far as this process knows.
pub(crate) type ReturnersCache = Cache<WorkerId, ()>;

pub(crate) fn returners_cache() -> ReturnersCache {
    Cache::new(limits::RETURN_PAUSE, WORKERS_CACHED)
}

/// The number of workers of each token.
pub(crate) type OwnedCache = Cache<TokenName, usize>;

pub(crate) fn owned_cache() -> OwnedCache {
    Cache::new(OWNED_TTL, TOKENS_CACHED)
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
    /// The number of jobs in each pool's ready list that never start, because their run was cancelled.
    pub cancelled: HashMap<PoolId, u64>,
}

/// What decides, besides labels and token, which jobs a claim can get. Claims of one kind find the same jobs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimKind {
    /// True if the worker takes only jobs that require one of its labels.
    exclusive: bool,
    /// The worker, if it gave a job back just before: there are jobs that only this worker isn't given.
    alone: Option<WorkerId>,
}

impl Running {
    fn cancelled(&self, pool: &PoolId) -> u64 {
        self.cancelled.get(pool).copied().unwrap_or(0)
    }
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
    /// [`EngineError::Labels`] for over 64 labels, [`EngineError::LabelsNotAllowed`], [`EngineError::WorkerTaken`],
    /// [`EngineError::TooMuch`] for features, and for more workers than a token may have.
    pub async fn register(self, request: Register) -> Result<Registered> {
        request.labels.at_most(limit!(LABELS_PER_WORKER))?;
        check_features(&request.features)?;
        self.engine.caller.check_labels(&request.labels)?;
        let now = self.engine.now();
        let before = self.engine.ports.worker(&request.worker_id, now).await?;
        let worker = WorkerRecord {
            transport: request.transport,
            exclusive: request.exclusive || self.engine.caller.permissions.exclusive,
            features: request.features,
            paused: cut_reason(request.paused),
            ..self.record_for_caller(request.worker_id, request.labels, before).await?
        };
        self.keep_worker(worker.clone()).await?;
        self.registered(&worker).await
    }

    /// Records a heartbeat of a registered worker, and whether the worker is paused.
    ///
    /// # Errors
    /// [`EngineError::NoWorker`] if it isn't registered, [`EngineError::WorkerTaken`], [`EngineError::LabelsNotAllowed`].
    pub async fn heartbeat(self, id: &WorkerId, paused: Option<String>) -> Result<Registered> {
        let worker =
            self.engine.ports.worker(id, self.engine.now()).await?.ok_or_else(|| EngineError::NoWorker(id.clone()))?;
        self.may_act_as(&worker)?;
        self.engine.caller.check_labels(&worker.labels)?;
        let worker = self.seen_now(worker, cut_reason(paused)).await?;
        self.registered(&worker).await
    }

    /// Removes a worker's record. Its leases stay valid until they expire.
    ///
    /// # Errors
    /// [`EngineError::WorkerTaken`], [`EngineError::LabelsNotAllowed`].
    pub async fn unregister(self, id: &WorkerId) -> Result<()> {
        if self.engine.caller.name.is_some()
            && !self.engine.caller.has(&[Scope::Admin])
            && let Some(worker) = self.engine.ports.worker(id, self.engine.now()).await?
        {
            self.may_act_as(&worker)?;
            self.engine.caller.check_labels(&worker.labels)?;
        }
        self.engine.caches.workers.remove(id);
        Ok(self.engine.ports.remove_worker(id).await?)
    }

    /// Refuses to act as a worker of another token. Otherwise a machine for staging could take over the id of a
    /// production worker, online or absent.
    fn may_act_as(self, worker: &WorkerRecord) -> Result<()> {
        match (&worker.owner, &self.engine.caller.name) {
            (Some(owner), Some(caller)) if owner != caller => Err(EngineError::WorkerTaken(worker.id.clone())),
            // Registered without a token.
            (None, Some(_)) if self.engine.now().since(worker.last_seen) < limits::WORKER_SILENCE => {
                self.engine.caller.check_labels(&worker.labels)
            }
            _ => Ok(()),
        }
    }

    /// Returns the caller's record of a worker that is seen now: the earlier one with these labels, or a new one.
    async fn record_for_caller(
        self,
        id: WorkerId,
        labels: LabelSet,
        before: Option<WorkerRecord>,
    ) -> Result<WorkerRecord> {
        let now = self.engine.now();
        if let Some(before) = &before {
            self.may_act_as(before)?;
        }
        let owner = self.engine.caller.name.clone();
        if let Some(token) = &owner
            && before.as_ref().is_none_or(|before| before.owner.is_none())
        {
            self.count_worker(token).await?;
        }
        let new = WorkerRecord {
            id,
            labels: LabelSet::default(),
            transport: Transport::Http,
            exclusive: false,
            features: Vec::new(),
            registered_at: now,
            last_seen: now,
            owner: None,
            paused: None,
        };
        let before = before.unwrap_or(new);
        Ok(WorkerRecord { labels, last_seen: now, owner: owner.or(before.owner.clone()), ..before })
    }

    /// Refuses one more worker of a token that has [`limits::WORKERS_PER_TOKEN`]. The number is read again every
    /// minute, and this process's new workers are added to it.
    async fn count_worker(self, token: &TokenName) -> Result<()> {
        let (owned, now) = (&self.engine.caches.owned, self.engine.now());
        let number = if let Some(number) = owned.get(token, now) {
            number
        } else {
            let workers = self.engine.ports.workers(now).await?;
            let number = workers.iter().filter(|worker| worker.owner.as_ref() == Some(token)).count();
            owned.insert(token.clone(), number, now);
            number
        };
        let what = || format!("the number of workers that token `{token}` has within a day");
        EngineError::over(limit!(WORKERS_PER_TOKEN), what, number + 1)?;
        owned.change(token, now, |number| *number += 1);
        Ok(())
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

    /// Returns the kind of a worker's claims. The stored record is read if the claim doesn't say that it is exclusive.
    pub async fn claim_kind(self, id: &WorkerId, exclusive: bool) -> Result<ClaimKind> {
        let now = self.engine.now();
        let exclusive = exclusive
            || match self.engine.caches.workers.get(id, now) {
                Some(worker) => worker.exclusive,
                None => self.engine.ports.worker(id, now).await?.is_some_and(|worker| worker.exclusive),
            };
        let alone = self.engine.caches.returners.get(id, now).map(|()| id.clone());
        Ok(ClaimKind { exclusive, alone })
    }

    /// Counts a claim as a heartbeat of the worker, and registers a worker that isn't registered.
    pub(crate) async fn heard_claiming(
        self,
        id: &WorkerId,
        labels: &LabelSet,
        exclusive: bool,
    ) -> Result<WorkerRecord> {
        let now = self.engine.now();
        let is_as_claimed = |worker: &WorkerRecord| {
            worker.labels == *labels
                && (worker.exclusive || !exclusive)
                && worker.paused.is_none()
                && (self.engine.caller.name.is_none() || worker.owner == self.engine.caller.name)
        };
        let cached = self.engine.caches.workers.get(id, now);
        let cached = cached.filter(|_| !self.engine.has(Bug::WorkerAlwaysRead));
        if let Some(worker) = cached.filter(|worker| is_as_claimed(worker) && was_seen_recently(worker, now)) {
            return Ok(worker);
        }
        let before = self.engine.ports.worker(id, now).await?;
        if let Some(worker) = before.as_ref().filter(|worker| is_as_claimed(worker)) {
            return self.seen_now(worker.clone(), None).await;
        }
        let known = self.record_for_caller(id.clone(), labels.clone(), before).await?;
        // A paused worker doesn't claim.
        let worker = WorkerRecord { exclusive: exclusive || known.exclusive, paused: None, ..known };
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
            let paused = worker.paused.clone();
            self.seen_now(worker, paused).await?;
        }
        Ok(())
    }

    async fn seen_now(self, worker: WorkerRecord, paused: Option<String>) -> Result<WorkerRecord> {
        let now = self.engine.now();
        let seen = was_seen_recently(&worker, now) || self.engine.has(Bug::WorkerNeverSeen);
        if seen && worker.paused == paused {
            self.engine.caches.workers.insert(worker.id.clone(), worker.clone(), now);
            return Ok(worker);
        }
        let worker = WorkerRecord { last_seen: now, paused, ..worker };
        self.keep_worker(worker.clone()).await?;
        Ok(worker)
    }

    async fn keep_worker(self, worker: WorkerRecord) -> Result<()> {
        if !self.engine.ports.put_worker(worker.clone()).await? {
            return Err(EngineError::WorkerTaken(worker.id));
        }
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
            let cancelled = control.state == RunState::Cancelling;
            while let Some(job) = jobs.next().await? {
                match &job.phase {
                    Phase::Running(lease) if lease.until > now => {
                        running.by_worker.insert(lease.worker.clone(), job.id.clone());
                        *running.by_pool.entry(job.pool.clone()).or_default() += 1;
                    }
                    Phase::Ready { .. } if cancelled => {
                        *running.cancelled.entry(job.pool.clone()).or_default() += 1;
                    }
                    _ => {}
                }
            }
        }
        let running = Arc::new(running);
        // Cancelled jobs leave their ready lists within moments.
        if running.cancelled.is_empty() {
            self.engine.caches.running.insert((), Arc::clone(&running), now);
        }
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
                paused: worker.paused,
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
                    exclusive: worker.exclusive,
                    registered_at_ms: worker.registered_at,
                    last_heartbeat_ms: worker.last_seen,
                    current_job,
                    status,
                    paused: worker.paused,
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
            .map(|(pool, (ready, oldest))| (ready.saturating_sub(running.cancelled(&pool.id)), oldest, pool))
            .map(|(waiting, oldest, pool)| PoolInfo {
                waiting,
                oldest_ms: oldest
                    .filter(|_| waiting > 0)
                    .map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)),
                running: running.by_pool.get(&pool.id).copied().unwrap_or(0),
                workers_online: online
                    .iter()
                    .filter(|worker| worker.paused.is_none() && pool.admits(worker.eligible()).is_ok())
                    .count() as u64,
                labels: pool.labels,
                secrets: pool.secrets,
            })
            .collect())
    }
}

fn check_features(features: &[String]) -> Result<()> {
    EngineError::over(limit!(FEATURES), || "the number of `features`".to_owned(), features.len())?;
    features.iter().enumerate().try_for_each(|(n, feature)| {
        EngineError::over(limit!(FEATURE), || format!("the length in bytes of `features[{n}]`"), feature.len())
    })
}

fn cut_reason(paused: Option<String>) -> Option<String> {
    paused.map(|reason| cut(reason, limits::PAUSED))
}

/// Returns true if the worker's `last_seen` is too recent to be rewritten.
fn was_seen_recently(worker: &WorkerRecord, now: Millis) -> bool {
    now.since(worker.last_seen) < HEARD_EVERY
}

fn is_online(worker: &WorkerRecord, now: Millis) -> bool {
    now.since(worker.last_seen) < limits::WORKER_SILENCE
}
