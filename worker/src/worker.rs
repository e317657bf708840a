//! The worker: registers, claims, runs, and ends when it is told to.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use protocol::requests::{Claim, FEATURE_OUTPUTS_URL, FEATURE_SECRETS, Register, Transport};
use protocol::wire::{Claimed, QueueInfo, Registered};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::config::{ConfigError, WorkerConfig};
use crate::executor::{AnyExecutor, Executor};
use crate::job::{self, Clock};
use crate::retry::{Backoff, retry};
use crate::shell::ShellExecutor;
use crate::source::{self, ClaimResult, ClaimTrigger, Source};
use crate::task::AbortOnDrop;
use client::{Client, ClientError};

/// A draining worker ends when claims found nothing for this long.
const DRAIN: Duration = Duration::from_secs(10);
/// The longest pause between claims that fail.
const ERROR_PAUSE: Duration = Duration::from_secs(30);
/// How long the deregister may take.
const UNREGISTER: Duration = Duration::from_secs(5);
/// A worker that waits for a ticket looks this often at most whether it is time to end.
const LOOK: Duration = Duration::from_millis(100);
/// How long after the deregister a claim that waits should be answered.
const HEARD: Duration = Duration::from_millis(500);

/// Why a worker can't work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A setting can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server's address can't be used.
    #[error(transparent)]
    Client(ClientError),
    /// The server was reached and doesn't take this worker.
    #[error("the server doesn't take this worker: {0}")]
    Refused(ClientError),
}

/// How far a worker is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Working,
    /// Takes nothing new.
    Draining,
    /// Stops what runs.
    Stopping,
}

/// Ends a worker from elsewhere. Clones end the same one.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<Stage>);

impl Shutdown {
    /// Take nothing new, finish what runs, end.
    pub fn drain(&self) {
        self.advance(Stage::Draining);
    }

    /// Take nothing new, stop what runs with the grace, report it as lost and retryable, end.
    pub fn stop(&self) {
        self.advance(Stage::Stopping);
    }

    fn advance(&self, to: Stage) {
        self.0.send_if_modified(|stage| {
            let later = *stage < to;
            *stage = to.max(*stage);
            later
        });
    }
}

/// A worker. Several may live in one process, each with an id of its own.
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
    stage: watch::Sender<Stage>,
}

impl Worker {
    /// One that runs shell commands.
    #[must_use]
    pub fn new(config: WorkerConfig) -> Self {
        Self { config, executor: Arc::new(ShellExecutor), stage: watch::Sender::new(Stage::Working) }
    }

    /// Runs jobs with `executor` instead.
    #[must_use]
    pub fn with_executor(mut self, executor: impl Executor) -> Self {
        self.executor = Arc::new(executor);
        self
    }

    /// What ends it.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        Shutdown(self.stage.clone())
    }

    /// Works until it is shut down, or until there is nothing more to do for it (`once`, `idle_exit`, `drain`).
    ///
    /// A server that isn't there, or is busy, is waited for. Fails if a setting can't be used or the server refuses to
    /// register the worker. If the future is dropped, its jobs are killed and their leases run out.
    pub async fn run(self) -> Result<(), WorkerError> {
        self.config.check()?;
        let token = self.config.token.clone().map(|token| token.0);
        let client = Client::new(&self.config.server_url, token).map_err(WorkerError::Client)?;
        let config = Arc::new(self.config);
        let mut stage = self.stage.subscribe();
        tracing::info!("worker {} for {} with labels [{}]", config.worker_id, client.server_url(), config.labels);
        let registered = tokio::select! {
            registered = register(&client, &config) => registered.map_err(WorkerError::Refused)?,
            _ = stage.wait_for(|stage| *stage >= Stage::Draining) => return Ok(()),
        };
        let every = heartbeat_time(&registered);
        let (queues, listed) = watch::channel(registered.queues);
        let heartbeats = AbortOnDrop::spawn(heartbeats(client.clone(), Arc::clone(&config), every, queues));
        let around = Clock { config, client, executor: self.executor, stage };
        let result = match source::open(&around.config, listed).await {
            Ok(source) => {
                Claiming::new(around.clone(), self.stage, source).run().await;
                Ok(())
            }
            Err(error) => Err(error),
        };
        drop(heartbeats);
        let deregister = around.client.unregister(&around.config.worker_id);
        if !matches!(timeout(UNREGISTER, deregister).await, Ok(Ok(()))) {
            tracing::info!("the server didn't hear the deregister; it will notice the silence");
        }
        tracing::info!("worker {} ended", around.config.worker_id);
        result
    }
}

async fn register(client: &Client, config: &WorkerConfig) -> Result<Registered, ClientError> {
    let register = Register {
        worker_id: config.worker_id.clone(),
        labels: config.labels.clone(),
        transport: config.transport,
        exclusive: config.exclusive,
        features: vec![FEATURE_OUTPUTS_URL.to_owned(), FEATURE_SECRETS.to_owned()],
    };
    retry("registering", || None, || client.register(&register)).await
}

/// How often the server wants to hear from the worker.
fn heartbeat_time(answer: &Registered) -> Duration {
    Duration::from_secs(answer.heartbeat_secs.max(1))
}

/// Each answer lists the queues anew.
async fn heartbeats(
    client: Client,
    config: Arc<WorkerConfig>,
    mut every: Duration,
    queues: watch::Sender<Vec<QueueInfo>>,
) {
    loop {
        sleep(every).await;
        let answer = match client.worker_heartbeat(&config.worker_id).await {
            Err(error) if error.status() == Some(404) => register(&client, &config).await,
            answer => answer,
        };
        match answer {
            Ok(answer) => {
                every = heartbeat_time(&answer);
                queues.send_replace(answer.queues);
            }
            Err(error) if error.is_transient() => tracing::debug!("worker heartbeat: {error}"),
            Err(error) => tracing::warn!("worker heartbeat: {error}"),
        }
    }
}

/// Takes jobs while there are free slots.
struct Claiming {
    around: Clock,
    stage: watch::Sender<Stage>,
    source: Box<dyn Source>,
    claim: Claim,
    jobs: JoinSet<()>,
    slots: HashMap<Id, usize>,
    free: BTreeSet<usize>,
    taken: usize,
    /// Since when nothing ran, and since when claims were answered that there is nothing.
    idle_since: Instant,
    empty_since: Option<Instant>,
}

impl Claiming {
    fn new(around: Clock, stage: watch::Sender<Stage>, source: Box<dyn Source>) -> Self {
        let config = &around.config;
        let asks_once = config.drain || config.idle_exit.is_some() || config.transport != Transport::Http;
        let claim = Claim {
            worker_id: config.worker_id.clone(),
            labels: config.labels.clone(),
            lease_ttl_secs: config.lease_ttl_secs,
            wait_secs: if asks_once { 0 } else { config.wait_secs },
            exclusive: config.exclusive,
            ticket: None,
        };
        let free = (0..config.concurrency).collect();
        Self {
            around,
            stage,
            source,
            claim,
            jobs: JoinSet::new(),
            slots: HashMap::new(),
            free,
            taken: 0,
            idle_since: Instant::now(),
            empty_since: None,
        }
    }

    async fn run(mut self) {
        let mut delays = Backoff::new(self.around.config.poll.max(Duration::from_millis(100)), ERROR_PAUSE);
        while self.wants_more() {
            let Some(slot) = self.free.first().copied() else {
                self.pause(Duration::MAX).await;
                continue;
            };
            let Some(trigger) = self.trigger().await else { continue };
            match self.ask(trigger.ticket.clone()).await {
                Ok(Some(claimed)) => {
                    trigger.was(ClaimResult::Given);
                    delays.reset();
                    self.start(claimed, slot);
                }
                Ok(None) => {
                    trigger.was(ClaimResult::Nothing);
                    delays.reset();
                    self.empty_since.get_or_insert_with(Instant::now);
                    if let Some(pause) = self.source.pause() {
                        self.pause(pause).await;
                    }
                }
                Err(error) => {
                    trigger.was(ClaimResult::Failed);
                    self.empty_since = None;
                    let delay = delays.grow();
                    tracing::warn!("claim: {error}; the next in {:.1} s", delay.as_secs_f32());
                    self.pause(delay).await;
                }
            }
        }
        self.finish().await;
    }

    /// Waits for a reason to claim, as [`Self::pause`] does. `None`: first see what has changed, or whether it is time
    /// to end.
    async fn trigger(&mut self) -> Option<ClaimTrigger> {
        tokio::select! {
            biased;
            _ = self.around.stage.changed() => None,
            trigger = self.source.trigger(self.free.len()) => Some(trigger),
            Some(ended) = self.jobs.join_next_with_id() => {
                self.ended(ended);
                None
            }
            () = sleep(self.around.config.poll.max(LOOK)) => None,
        }
    }

    /// A claim that waits is answered early once the server has heard a deregister. To drop it instead could lose a job that
    /// it was just given.
    async fn ask(&self, ticket: Option<String>) -> Result<Option<Claimed>, ClientError> {
        let Clock { client, config, .. } = &self.around;
        let claim = Claim { ticket, ..self.claim.clone() };
        let claim = client.claim(&claim);
        tokio::pin!(claim);
        let mut stage = self.around.stage.clone();
        tokio::select! {
            answer = &mut claim => return answer,
            _ = stage.wait_for(|stage| *stage > Stage::Working), if self.claim.wait_secs > 0 => {}
        }
        loop {
            // The deregister may overtake the claim, so it is said until it is heard.
            let deregister = timeout(UNREGISTER, client.unregister(&config.worker_id));
            tokio::select! {
                answer = &mut claim => return answer,
                () = async { drop(deregister.await); sleep(HEARD).await } => {}
            }
        }
    }

    fn wants_more(&self) -> bool {
        let config = &self.around.config;
        let over = |since: Option<Instant>, limit: Option<Duration>| {
            self.jobs.is_empty() && since.zip(limit).is_some_and(|(since, limit)| since.elapsed() >= limit)
        };
        let done = *self.around.stage.borrow() > Stage::Working
            || (config.once && self.taken > 0)
            || over(Some(self.idle_since), config.idle_exit)
            || over(self.empty_since, config.drain.then_some(DRAIN));
        !done
    }

    fn start(&mut self, claimed: Claimed, slot: usize) {
        self.taken += 1;
        self.free.remove(&slot);
        let task = self.jobs.spawn(job::run(self.around.clone(), claimed, slot));
        self.slots.insert(task.id(), slot);
        self.empty_since = None;
    }

    /// Waits, but no longer than until a job ends (which may have made others ready) or the stage changes.
    async fn pause(&mut self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            Some(ended) = self.jobs.join_next_with_id() => self.ended(ended),
            _ = self.around.stage.changed() => {}
            never = self.source.no_room() => match never {},
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
        self.free.extend(self.slots.remove(&id));
        self.idle_since = Instant::now();
        self.empty_since = None;
    }

    /// Waits for what runs; after the shutdown's own grace it is stopped.
    async fn finish(mut self) {
        if !self.jobs.is_empty() {
            tracing::info!("taking no more jobs; {} still run", self.jobs.len());
        }
        let deadline = shutdown_deadline(self.around.stage.clone(), self.around.config.shutdown_grace);
        tokio::pin!(deadline);
        while !self.jobs.is_empty() {
            tokio::select! {
                Some(ended) = self.jobs.join_next_with_id() => self.ended(ended),
                never = self.source.no_room() => match never {},
                () = &mut deadline, if *self.around.stage.borrow() < Stage::Stopping => {
                    Shutdown(self.stage.clone()).stop();
                }
            }
        }
        self.source.end().await;
    }
}

/// Ends when the grace is over that begins when the worker is told to end; a worker may also end without.
async fn shutdown_deadline(mut stage: watch::Receiver<Stage>, grace: Option<Duration>) {
    let Some(grace) = grace else { return std::future::pending().await };
    if stage.wait_for(|stage| *stage >= Stage::Draining).await.is_err() {
        return std::future::pending().await;
    }
    sleep(grace).await;
}
