//! When to claim: at any time, or when a pool's queue says that there is something.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::pin::Pin;
use std::time::Duration;

use protocol::wire::QueueInfo;
use tokio::sync::{oneshot, watch};

use crate::WorkerConfig;
use crate::retry::random_fraction;
use crate::worker::WorkerError;

pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What tells a worker to claim. Its futures may be dropped at any point without losing an trigger.
pub(crate) trait Source: Send + Sync {
    /// Resolves when a claim may bring a job. `room` slots are free, at least one.
    fn trigger(&mut self, room: usize) -> Boxed<'_, ClaimTrigger>;

    /// For while nothing can be taken: whatever comes goes back to where other workers find it.
    fn no_room(&mut self) -> Boxed<'_, Infallible>;

    /// How long to wait after a claim that brought nothing; `None`: the next trigger will say.
    fn pause(&self) -> Option<Duration>;

    /// Ends it, once nothing more is taken. What was decided is still told to the queues.
    fn end(self: Box<Self>) -> Boxed<'static, ()>;
}

/// Opens what the configuration says. `queues` are those of the pools that the worker covers, and change.
#[cfg_attr(not(feature = "sqs"), expect(unused_variables, clippy::unused_async, reason = "only queues need them"))]
pub(crate) async fn open(
    config: &WorkerConfig,
    queues: watch::Receiver<Vec<QueueInfo>>,
) -> Result<Box<dyn Source>, WorkerError> {
    match config.transport {
        #[cfg(feature = "sqs")]
        protocol::requests::Transport::Sqs => Ok(Box::new(crate::sqs::Tickets::open(config, queues).await?)),
        _ => Ok(Box::new(Asking { poll: config.poll })),
    }
}

/// A reason to claim.
#[derive(Debug, Default)]
pub(crate) struct ClaimTrigger {
    /// What the claim carries.
    pub ticket: Option<String>,
    verdict: Option<oneshot::Sender<ClaimResult>>,
}

/// How a claim went. An trigger that is dropped without one wasn't used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimResult {
    /// It brought a job.
    Given,
    /// It was answered that there is none.
    Nothing,
    /// It wasn't answered.
    Failed,
}

impl ClaimTrigger {
    /// One whose giver wants to know how the claim went.
    #[cfg(feature = "sqs")]
    pub fn new(ticket: Option<String>) -> (Self, oneshot::Receiver<ClaimResult>) {
        let (sender, receiver) = oneshot::channel();
        (Self { ticket, verdict: Some(sender) }, receiver)
    }

    /// Says how the claim went.
    pub fn was(self, verdict: ClaimResult) {
        if let Some(sender) = self.verdict {
            // Whoever gave the trigger may have ended.
            let _ = sender.send(verdict);
        }
    }
}

/// Claims whenever a slot is free, and pauses when there was nothing.
struct Asking {
    poll: Duration,
}

impl Source for Asking {
    fn trigger(&mut self, _room: usize) -> Boxed<'_, ClaimTrigger> {
        Box::pin(ready(ClaimTrigger::default()))
    }

    fn no_room(&mut self) -> Boxed<'_, Infallible> {
        Box::pin(pending())
    }

    fn pause(&self) -> Option<Duration> {
        Some(jittered(self.poll))
    }

    fn end(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(ready(()))
    }
}

/// Give or take a quarter, so that many workers don't ask as one.
pub(crate) fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.75 + random_fraction() / 2.0)
}
