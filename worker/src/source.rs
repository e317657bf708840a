//! Sources of claim triggers. This one polls the server; `sqs` polls the queues of pools.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::time::Duration;

use client::retry::jittered;
use tokio::sync::oneshot;

use crate::executor::Boxed;

/// Tells a worker when to claim. Dropping one of its futures loses no trigger.
pub(crate) trait Source: Send + Sync {
    /// Resolves when a claim may find a job. `free` is the number of free slots, at least one.
    fn trigger(&mut self, free: usize) -> Boxed<'_, ClaimTrigger>;

    /// Polled while no slot is free: triggers that arrive are released to other workers.
    fn release(&mut self) -> Boxed<'_, Infallible>;

    /// Pause after a claim that found no job; `None` if the next trigger decides.
    fn pause(&self) -> Option<Duration>;

    /// Ends the source after the last claim. Results of claims are still reported to the queues.
    fn end(self: Box<Self>) -> Boxed<'static, ()>;
}

/// A reason to claim.
#[derive(Debug, Default)]
pub(crate) struct ClaimTrigger {
    /// The ticket that the claim carries.
    pub ticket: Option<String>,
    result: Option<oneshot::Sender<ClaimResult>>,
}

/// The result of a claim. A trigger that is dropped without a result was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimResult {
    /// A job was claimed.
    Claimed,
    /// No job was available.
    NoJob,
    /// The claim failed.
    Failed,
}

impl ClaimTrigger {
    /// A trigger whose source receives the result of the claim.
    #[cfg(feature = "sqs")]
    pub fn new(ticket: Option<String>) -> (Self, oneshot::Receiver<ClaimResult>) {
        let (sender, receiver) = oneshot::channel();
        (Self { ticket, result: Some(sender) }, receiver)
    }

    /// Reports the result of the claim to the source.
    pub fn report(self, result: ClaimResult) {
        if let Some(sender) = self.result {
            // The source may have ended.
            let _ = sender.send(result);
        }
    }
}

/// Triggers a claim whenever a slot is free, with a pause after a claim that found no job.
pub(crate) struct PollingSource {
    pub poll: Duration,
}

impl Source for PollingSource {
    fn trigger(&mut self, _free: usize) -> Boxed<'_, ClaimTrigger> {
        Box::pin(ready(ClaimTrigger::default()))
    }

    fn release(&mut self) -> Boxed<'_, Infallible> {
        Box::pin(pending())
    }

    fn pause(&self) -> Option<Duration> {
        Some(jittered(self.poll))
    }

    fn end(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(ready(()))
    }
}
