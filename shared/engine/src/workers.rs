//! Workers and pools: registration, worker heartbeats, and the records of what workers hold.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use protocol::access::Scope;
use protocol::requests::{Register, Transport};
use protocol::wire::{Endpoints, QueueInfo, Registered};
use protocol::{LabelSet, Millis, TokenName, WorkerId, limit, limits};

use crate::cache::Cache;
use crate::eligibility::Eligible;
use crate::error::{EngineError, Result};
use crate::held::NAMED_EVERY;
use crate::ids::{JobKey, PoolId};
use crate::job::{JobRecord, cut};
use crate::planted::Bug;
use crate::ports::{Consistency, HEARD_EVERY, HeldJob, JobStore, Pool, RunStore, WorkerRecord, WorkerRegistry};
use crate::{Tuning, Workers};

/// Bounds the cache: a client may claim under a fresh worker id each time.
const WORKERS_CACHED: usize = 4096;
/// Queues made concurrently when a worker registers.
const QUEUES_AT_ONCE: usize = 16;
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

/// Workers whose record this process wrote to name a job within [`NAMED_EVERY`].
pub(crate) type NamedCache = Cache<WorkerId, ()>;

pub(crate) fn named_cache() -> NamedCache {
    Cache::new(NAMED_EVERY, WORKERS_CACHED)
}

/// The number of workers of each token.
pub(crate) type OwnedCache = Cache<TokenName, usize>;

pub(crate) fn owned_cache() -> OwnedCache {
    Cache::new(OWNED_TTL, TOKENS_CACHED)
}

/// What decides, besides labels and token, which jobs a claim can get. Claims of one kind find the same jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClaimKind {
    /// True if the worker takes only jobs that require one of its labels.
    exclusive: bool,
    /// The worker, if it gave a job back just before: there are jobs that only this worker isn't given.
    alone: Option<WorkerId>,
}

impl<P: WorkerRegistry> Workers<'_, P> {
    /// Adds the pools of jobs that are submitted or became ready, but for those that this process has added or renewed lately.
    pub(crate) async fn add_pools(self, mut pools: Vec<Pool>) -> Result<()> {
        let (renewed, now) = (&self.engine.caches.renewed_pools, self.engine.now());
        pools.retain(|pool| renewed.get(&pool.id, now).is_none());
        if pools.is_empty() {
            return Ok(());
        }
        let ids: Vec<PoolId> = pools.iter().map(|pool| pool.id.clone()).collect();
        self.engine.ports.add_pools(pools, now).await?;
        for id in ids {
            renewed.insert(id, (), now);
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
        let before = self.engine.ports.worker(&request.worker_id, now, Consistency::Strong).await?;
        let before = before.map(|worker| self.as_known(worker));
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
        let worker = self.engine.ports.worker(id, self.engine.now(), Consistency::Strong).await?;
        let worker = self.as_known(worker.ok_or_else(|| EngineError::NoWorker(id.clone()))?);
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
            && let Some(worker) = self.engine.ports.worker(id, self.engine.now(), Consistency::Strong).await?
        {
            self.may_act_as(&worker)?;
            self.engine.caller.check_labels(&worker.labels)?;
        }
        self.engine.caches.workers.remove(id);
        self.engine.caches.named.remove(id);
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
            holds: Vec::new(),
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
            let workers = self.engine.ports.workers(now, usize::MAX).await?;
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
            let pools = self.engine.ports.pools(now).await?.into_iter().filter(|pool| pool.admits(eligible).is_ok());
            let wanted = stream::iter(pools).map(|pool| self.queue_of(pool, now)).buffered(QUEUES_AT_ONCE);
            queues = wanted.filter_map(ready).collect().await;
        }
        Ok(Registered {
            queues,
            heartbeat_secs: limits::WORKER_HEARTBEAT.as_secs(),
            lease_ttl_secs: Some(self.engine.tuning.lease_secs),
            endpoints: self.endpoints().await,
        })
    }

    /// Returns the addresses past the gateway. Without them, because they can't be read, a worker calls the gateway.
    async fn endpoints(self) -> Option<Endpoints> {
        match self.engine.ports.endpoints().await {
            Ok(endpoints) => endpoints,
            Err(error) => {
                tracing::warn!(%error, "the function URLs for workers can't be read");
                None
            }
        }
    }

    /// Returns the queue of a pool. A pool whose queue can't be made is left out: the worker asks again with each heartbeat, and
    /// without a queue its claims find the pool's jobs too, only later.
    async fn queue_of(self, pool: Pool, now: Millis) -> Option<QueueInfo> {
        match self.engine.ports.want_queue(&pool, now).await {
            Ok(queue) => queue.map(|queue| QueueInfo { url: queue.url, labels: pool.labels }),
            Err(error) => {
                tracing::warn!(pool = pool.id.as_str(), %error, "the queue of a pool can't be made");
                None
            }
        }
    }

    /// Returns the kind of a worker's claims. The stored record is read if the claim doesn't say that it is exclusive.
    pub async fn claim_kind(self, id: &WorkerId, exclusive: bool) -> Result<ClaimKind> {
        let now = self.engine.now();
        let exclusive = exclusive || self.is_exclusive(id).await?;
        let alone = self.engine.caches.returners.get(id, now).map(|()| id.clone());
        Ok(ClaimKind { exclusive, alone })
    }

    async fn is_exclusive(self, id: &WorkerId) -> Result<bool> {
        let now = self.engine.now();
        if let Some(worker) = self.engine.caches.workers.get(id, now) {
            return Ok(worker.exclusive);
        }
        let worker = self.engine.ports.worker(id, now, Consistency::Eventual).await?;
        Ok(worker.is_some_and(|worker| worker.exclusive))
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
        let before = self.read_worker(id, |worker| is_as_claimed(worker) && was_seen_recently(worker, now)).await?;
        if let Some(worker) = before.as_ref().filter(|worker| is_as_claimed(worker)) {
            return self.seen_now(worker.clone(), None).await;
        }
        let known = self.record_for_caller(id.clone(), labels.clone(), before).await?;
        // A paused worker doesn't claim.
        let worker = WorkerRecord { exclusive: exclusive || known.exclusive, paused: None, ..known };
        self.keep_worker(worker.clone()).await?;
        Ok(worker)
    }

    /// Counts a job's heartbeat as a heartbeat of its worker, if the worker is registered. Also names the job in the worker's
    /// record, if it isn't named there.
    pub(crate) async fn heard_running(self, id: &WorkerId, job: &JobRecord) -> Result<()> {
        let now = self.engine.now();
        let is_stored = |worker: &WorkerRecord| was_seen_recently(worker, now) && worker.names(&job.key, now);
        if self.engine.caches.workers.get(id, now).is_some_and(|worker| is_stored(&worker)) {
            return Ok(());
        }
        let Some(mut worker) = self.read_worker(id, is_stored).await? else { return Ok(()) };
        if is_stored(&worker) {
            self.engine.caches.workers.insert(id.clone(), worker, now);
            return Ok(());
        }
        if !was_seen_recently(&worker, now) && !self.engine.has(Bug::WorkerNeverSeen) {
            worker.last_seen = now;
        }
        if let Some(held) = HeldJob::of(job, now) {
            worker.hold(held);
        }
        self.keep_worker(worker).await
    }

    /// Names a job that a worker took in the worker's record. The record is written at most every [`NAMED_EVERY`]; a job that
    /// runs for longer is named by a heartbeat. If this fails, only a list lacks the job.
    pub(crate) async fn took(self, id: &WorkerId, job: &JobRecord) {
        let now = self.engine.now();
        let Some(held) = HeldJob::of(job, now) else { return };
        self.engine.caches.workers.change(id, now, |worker| worker.hold(held.clone()));
        if self.engine.caches.named.get(id, now).is_some() && held.beats_soon(now) {
            return;
        }
        self.engine.caches.named.insert(id.clone(), (), now);
        if let Err(error) = self.name_job(id, held).await {
            tracing::warn!(worker = %id, %error, "the record of a worker could not be given the job that it took");
        }
    }

    async fn name_job(self, id: &WorkerId, held: HeldJob) -> Result<()> {
        let worker = self.engine.ports.worker(id, self.engine.now(), Consistency::Strong).await?;
        let Some(worker) = worker else { return Ok(()) };
        let mut worker = self.as_known(worker);
        worker.hold(held);
        self.keep_worker(worker).await
    }

    /// A worker no longer holds a job. Only this process's copy of the worker's record says so: others read the job.
    pub(crate) fn let_go(self, id: &WorkerId, job: &JobKey) {
        let now = self.engine.now();
        self.engine.caches.workers.change(id, now, |worker| worker.let_go(job, now));
    }

    /// A worker's record as read, with what this process knows of the jobs that the worker holds.
    pub(crate) fn as_known(self, worker: WorkerRecord) -> WorkerRecord {
        match self.engine.caches.workers.get(&worker.id, self.engine.now()) {
            Some(known) => worker.with_holds_of(&known),
            None => worker,
        }
    }

    /// Reads a worker's record. Reads strongly if the caller may have to write it, because an eventual read isn't `enough`.
    async fn read_worker(
        self,
        id: &WorkerId,
        enough: impl Fn(&WorkerRecord) -> bool + Send,
    ) -> Result<Option<WorkerRecord>> {
        let now = self.engine.now();
        let read = self.engine.ports.worker(id, now, Consistency::Eventual).await?.map(|worker| self.as_known(worker));
        if read.as_ref().is_some_and(enough) {
            return Ok(read);
        }
        let read = self.engine.ports.worker(id, now, Consistency::Strong).await?;
        Ok(read.map(|worker| self.as_known(worker)))
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

    /// Returns the pools in which a claim of a worker with these labels looks for jobs. Possibly from the cache.
    pub(crate) async fn pools_for(self, labels: &LabelSet) -> Result<Arc<Vec<Pool>>> {
        match self.engine.ports.ready_pools(labels).await? {
            Some(pools) => Ok(Arc::new(pools)),
            None => self.known_pools().await,
        }
    }

    /// Returns the listed pools, possibly from the cache.
    pub(crate) async fn known_pools(self) -> Result<Arc<Vec<Pool>>> {
        let now = self.engine.now();
        if let Some(pools) = self.engine.caches.pools.get(&(), now) {
            return Ok(pools);
        }
        let pools = Arc::new(self.engine.ports.pools(now).await?);
        self.engine.caches.pools.insert((), Arc::clone(&pools), now);
        Ok(pools)
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
