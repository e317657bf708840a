//! The worker: registers, claims jobs, runs them, and shuts down.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use protocol::requests::{Claim, FEATURE_OUTPUTS_URL, FEATURE_SECRETS, Register, Transport};
use protocol::wire::{Claimed, QueueInfo, Registered};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::attempts::Attempts;
use crate::config::WorkerConfig;
use crate::error::WorkerError;
use crate::executor::{AnyExecutor, Executor};
use crate::job::{self, WorkerContext};
use crate::shell::ShellExecutor;
use crate::source::{ClaimResult, ClaimTrigger, Pace, PollingSource, Source};
use crate::stop::Shutdown;
use crate::terms::LeaseTerms;
use client::retry::{Backoff, retry, retry_after};
use client::{Client, ClientError};

/// With `drain`, the worker ends when claims have found no job for this long.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest pause between failing claims.
const ERROR_PAUSE: Duration = Duration::from_secs(30);
/// Timeout of a deregister request.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest interval at which a worker that waits for a ticket checks whether it must end.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// First pause after a failure of the worker itself. Each is twice as long as the one before.
const RECOVERY: Duration = Duration::from_secs(5);
/// Longest pause after a failure of the worker itself.
const MAX_RECOVERY: Duration = Duration::from_mins(5);
/// Pause before the deregister is repeated while a claim still waits.
const DEREGISTER_INTERVAL: Duration = Duration::from_millis(500);

/// A worker. One process may run several, each with its own id.
///
/// ```no_run
/// use workflow_graph_worker_sdk::{Worker, WorkerConfig};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = Worker::new(WorkerConfig { concurrency: 4, ..WorkerConfig::default() });
/// let shutdown = worker.shutdown();
/// let running = tokio::spawn(worker.run());
/// shutdown.drain();
/// running.await??;
/// # Ok(())
/// # }
/// ```
pub struct Worker {
    config: WorkerConfig,
    executor: Arc<dyn AnyExecutor>,
    shutdown: Shutdown,
}

impl Worker {
    /// A worker that runs jobs as shell commands.
    #[must_use]
    pub fn new(config: WorkerConfig) -> Self {
        Self { config, executor: Arc::new(ShellExecutor), shutdown: Shutdown::new() }
    }

    /// Runs jobs with `executor` instead.
    #[must_use]
    pub fn with_executor(mut self, executor: impl Executor) -> Self {
        self.executor = Arc::new(executor);
        self
    }

    /// A handle that shuts the worker down.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Runs until it is shut down or, with `once`, `idle_exit` or `drain`, until it has no more to do.
    ///
    /// Retries while the server is unreachable or busy. Fails if a setting can't be used or the server refuses to register
    /// the worker. Dropping the future kills its jobs; their leases expire.
    pub async fn run(self) -> Result<(), WorkerError> {
        self.config.check()?;
        let token = self.config.token.clone().map(|token| token.0).filter(|token| !token.is_empty());
        let client = Client::new(&self.config.server_url, token).map_err(WorkerError::Client)?;
        let mut config = self.config;
        // A relative directory that was removed and made again would still be the removed one.
        config.workdir = std::path::absolute(&config.workdir).unwrap_or(config.workdir);
        let config = Arc::new(config);
        tracing::info!("worker {} for {} with labels [{}]", config.worker_id, client.server_url(), config.labels);
        let registered = tokio::select! {
            registered = register(&client, &config, None) => registered.map_err(WorkerError::Refused)?,
            () = self.shutdown.draining.cancelled() => return Ok(()),
        };
        let every = heartbeat_time(&registered);
        let lease = LeaseTerms::new(config.lease_ttl_secs);
        lease.recommend(registered.lease_ttl_secs);
        client.use_endpoints(registered.endpoints.as_ref());
        let (queues, listed) = watch::channel(registered.queues);
        let (paused, reasons) = watch::channel(None);
        let (executor, shutdown, attempts) = (self.executor, self.shutdown, Attempts::default());
        let context = WorkerContext { config, client, executor, shutdown, attempts, lease, paused };
        let heartbeats = AbortOnDropHandle::new(tokio::spawn(heartbeats(context.clone(), every, queues, reasons)));
        let result = match open_source(&context.config, listed).await {
            Ok(source) => {
                ClaimLoop::new(context.clone(), source).run().await;
                Ok(())
            }
            Err(error) => Err(error),
        };
        drop(heartbeats);
        let deregister = context.client.deregister(&context.config.worker_id);
        if !matches!(timeout(DEREGISTER_TIMEOUT, deregister).await, Ok(Ok(()))) {
            tracing::info!("the deregister didn't reach the server; it will notice missing heartbeats");
        }
        tracing::info!("worker {} ended", context.config.worker_id);
        result
    }
}

async fn register(client: &Client, config: &WorkerConfig, paused: Option<String>) -> Result<Registered, ClientError> {
    let register = Register {
        worker_id: config.worker_id.clone(),
        labels: config.labels.clone(),
        transport: config.transport,
        exclusive: config.exclusive,
        features: vec![FEATURE_OUTPUTS_URL.to_owned(), FEATURE_SECRETS.to_owned()],
        paused,
    };
    retry("registering", || None, || client.register(&register)).await
}

/// The interval between heartbeats that the server asks for.
fn heartbeat_time(answer: &Registered) -> Duration {
    Duration::from_secs(answer.heartbeat_secs.max(1))
}

/// Sends the worker's heartbeats: at the interval that the server asks for, and when the worker pauses or continues. Each
/// answer contains the current list of queues, the recommended lease, and addresses past the gateway.
async fn heartbeats(
    context: WorkerContext,
    mut every: Duration,
    queues: watch::Sender<Vec<QueueInfo>>,
    mut reasons: watch::Receiver<Option<String>>,
) {
    let WorkerContext { client, config, lease, .. } = context;
    loop {
        tokio::select! {
            () = sleep(every) => {}
            Ok(()) = reasons.changed() => {}
        }
        let paused = reasons.borrow_and_update().clone();
        let answer = match client.worker_heartbeat(&config.worker_id, paused.clone()).await {
            Err(error) if error.status() == Some(404) => register(&client, &config, paused).await,
            answer => answer,
        };
        match answer {
            Ok(answer) => {
                every = heartbeat_time(&answer);
                lease.recommend(answer.lease_ttl_secs);
                client.use_endpoints(answer.endpoints.as_ref());
                queues.send_replace(answer.queues);
            }
            Err(error) if error.is_transient() => tracing::debug!("worker heartbeat: {error}"),
            Err(error) => tracing::warn!("worker heartbeat: {error}"),
        }
    }
}

/// Opens the source of the configured transport. `queues` are those of the pools that the worker covers, updated by heartbeats.
#[cfg_attr(not(feature = "sqs"), expect(unused_variables, clippy::unused_async, reason = "only `sqs` uses them"))]
async fn open_source(
    config: &WorkerConfig,
    queues: watch::Receiver<Vec<QueueInfo>>,
) -> Result<Box<dyn Source>, WorkerError> {
    match config.transport {
        #[cfg(feature = "sqs")]
        protocol::requests::Transport::Sqs => Ok(Box::new(crate::sqs::Tickets::open(config, queues).await?)),
        _ => Ok(Box::new(PollingSource { poll: config.poll })),
    }
}

/// Claims jobs while slots are free.
struct ClaimLoop {
    context: WorkerContext,
    source: Box<dyn Source>,
    claim: Claim,
    jobs: JoinSet<()>,
    slots: HashMap<Id, usize>,
    free: BTreeSet<usize>,
    taken: usize,
    /// When the last job ended.
    idle_since: Instant,
    /// When claims began to find no job, or the worker paused.
    empty_since: Option<Instant>,
    /// The next pause before the executor's check.
    recovery: Duration,
}

impl ClaimLoop {
    fn new(context: WorkerContext, source: Box<dyn Source>) -> Self {
        let config = &context.config;
        let asks_once = config.drain || config.idle_exit.is_some() || config.transport != Transport::Http;
        let claim = Claim {
            worker_id: config.worker_id.clone(),
            labels: config.labels.clone(),
            lease_ttl_secs: context.lease.secs(),
            wait_secs: if asks_once { 0 } else { config.wait_secs },
            exclusive: config.exclusive,
            ticket: None,
        };
        let free = (0..config.concurrency).collect();
        Self {
            context,
            source,
            claim,
            jobs: JoinSet::new(),
            slots: HashMap::new(),
            free,
            taken: 0,
            idle_since: Instant::now(),
            empty_since: None,
            recovery: RECOVERY,
        }
    }

    async fn run(mut self) {
        let first = self.context.config.poll.max(Duration::from_millis(100));
        let (mut delays, mut pace) = (Backoff::new(first, ERROR_PAUSE), Pace::new(first));
        while self.wants_jobs() {
            if self.context.paused.borrow().is_some() {
                self.recover().await;
                continue;
            }
            let Some(slot) = self.free.first().copied() else {
                self.pause(Duration::MAX).await;
                continue;
            };
            let Some(trigger) = self.trigger().await else { continue };
            match self.claim(trigger.ticket.clone()).await {
                Ok(Some(claimed)) => {
                    trigger.report(ClaimResult::Claimed);
                    delays.reset();
                    pace.taken();
                    self.start(claimed, slot);
                }
                Ok(None) => {
                    trigger.report(ClaimResult::NoJob);
                    delays.reset();
                    pace.taken();
                    self.empty_since.get_or_insert_with(Instant::now);
                    if let Some(pause) = self.source.pause().max(pace.pause()) {
                        self.pause(pause).await;
                    }
                }
                Err(error) => {
                    trigger.report(ClaimResult::Failed);
                    self.empty_since = None;
                    let delay = if error.status() == Some(429) {
                        pace.refused();
                        pace.pause().unwrap_or_default().max(retry_after(&error))
                    } else {
                        delays.grow()
                    };
                    tracing::warn!("claim: {error}; the next in {:.1} s", delay.as_secs_f32());
                    self.pause(delay).await;
                }
            }
        }
        self.finish().await;
    }

    /// Waits, then checks whether jobs can be run again. The pauses grow until a job has run.
    async fn recover(&mut self) {
        let due = Instant::now() + self.recovery;
        let reason = self.context.paused.borrow().clone().unwrap_or_default();
        tracing::warn!("paused, the next check in {} s: {reason}", self.recovery.as_secs());
        self.recovery = (self.recovery * 2).min(MAX_RECOVERY);
        while Instant::now() < due && self.wants_jobs() {
            self.empty_since.get_or_insert_with(Instant::now);
            self.pause(due.saturating_duration_since(Instant::now())).await;
        }
        let WorkerContext { executor, config, paused, shutdown, .. } = &self.context;
        let checked = tokio::select! {
            biased;
            () = shutdown.draining.cancelled() => return,
            checked = executor.check_boxed(&config.workdir) => checked,
        };
        match checked {
            Ok(()) => {
                tracing::info!("the check succeeded; claiming jobs again");
                paused.send_replace(None);
            }
            Err(failure) => drop(paused.send_replace(Some(failure.error))),
        }
    }

    /// Waits for a reason to claim. `None`: a job ended, the worker shuts down or time passed, so the loop's conditions must be
    /// checked first.
    async fn trigger(&mut self) -> Option<ClaimTrigger> {
        tokio::select! {
            biased;
            () = self.context.shutdown.draining.cancelled() => None,
            trigger = self.source.trigger(self.free.len()) => Some(trigger),
            Some(ended) = self.jobs.join_next_with_id() => {
                self.ended(ended);
                None
            }
            () = sleep(self.context.config.poll.max(MIN_CHECK_INTERVAL)) => None,
        }
    }

    /// Sends a claim. On shutdown a claim that waits is not dropped, since its answer may hold a job: a deregister makes the
    /// server answer it early.
    async fn claim(&self, ticket: Option<String>) -> Result<Option<Claimed>, ClientError> {
        let WorkerContext { client, config, lease, shutdown, .. } = &self.context;
        let claim = Claim { ticket, lease_ttl_secs: lease.secs(), ..self.claim.clone() };
        let claim = client.claim(&claim);
        tokio::pin!(claim);
        tokio::select! {
            answer = &mut claim => return answer,
            () = shutdown.draining.cancelled(), if self.claim.wait_secs > 0 => {}
        }
        loop {
            // The deregister may overtake the claim, so it is repeated until the claim is answered.
            let deregister = timeout(DEREGISTER_TIMEOUT, client.deregister(&config.worker_id));
            tokio::select! {
                answer = &mut claim => return answer,
                () = async { drop(deregister.await); sleep(DEREGISTER_INTERVAL).await } => {}
            }
        }
    }

    fn wants_jobs(&self) -> bool {
        let config = &self.context.config;
        let elapsed = |since: Option<Instant>, limit: Option<Duration>| {
            self.jobs.is_empty() && since.zip(limit).is_some_and(|(since, limit)| since.elapsed() >= limit)
        };
        let done = self.context.shutdown.draining.is_cancelled()
            || (config.once && self.taken > 0)
            || elapsed(Some(self.idle_since), config.idle_exit)
            || elapsed(self.empty_since, config.drain.then_some(DRAIN));
        !done
    }

    fn start(&mut self, claimed: Claimed, slot: usize) {
        self.taken += 1;
        self.free.remove(&slot);
        let task = self.jobs.spawn(job::run(self.context.clone(), claimed, slot));
        self.slots.insert(task.id(), slot);
        self.empty_since = None;
    }

    /// Waits for `time`, or until a job ends (which may have made others ready) or the worker shuts down.
    async fn pause(&mut self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            Some(ended) = self.jobs.join_next_with_id() => self.ended(ended),
            () = self.context.shutdown.draining.cancelled() => {}
            never = self.source.release() => match never {},
        }
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!("a job's task failed: {error}");
                error.id()
            }
        };
        if self.context.paused.borrow().is_none() {
            self.recovery = RECOVERY;
        }
        self.free.extend(self.slots.remove(&id));
        self.idle_since = Instant::now();
        self.empty_since = None;
    }

    /// Waits for running jobs; stops them when the shutdown grace has passed.
    async fn finish(mut self) {
        while let Some(ended) = self.jobs.try_join_next_with_id() {
            self.ended(ended);
        }
        if !self.jobs.is_empty() {
            tracing::info!("claiming no more jobs; {} still run", self.jobs.len());
        }
        let deadline = shutdown_deadline(self.context.shutdown.clone(), self.context.config.shutdown_grace);
        tokio::pin!(deadline);
        while !self.jobs.is_empty() {
            tokio::select! {
                Some(ended) = self.jobs.join_next_with_id() => self.ended(ended),
                never = self.source.release() => match never {},
                () = &mut deadline, if !self.context.shutdown.stopping.is_cancelled() => self.context.shutdown.stop(),
            }
        }
        self.source.end().await;
    }
}

/// Resolves when the grace, which starts with the shutdown, has passed. Pending if there is no grace or no shutdown.
async fn shutdown_deadline(shutdown: Shutdown, grace: Option<Duration>) {
    let Some(grace) = grace else { return std::future::pending().await };
    shutdown.draining.cancelled().await;
    sleep(grace).await;
}
