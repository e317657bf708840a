//! Sources of claim triggers. This one polls the server; `sqs` polls the queues of pools.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::time::Duration;

use client::retry::jittered;
use tokio::sync::oneshot;

use crate::executor::Boxed;

/// The longest pause between claims that the server refuses as too many.
const MAX_PAUSE: Duration = Duration::from_secs(30);

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

/// The least pause between claims after the server refused some as too many (429). Each refusal doubles it, and each other
/// answer shortens it only by a tenth: the claims of many workers settle at the rate that the server takes. Heartbeats and
/// reports keep their own pace.
#[derive(Debug)]
pub(crate) struct Pace {
    first: Duration,
    pause: Duration,
}

impl Pace {
    /// Without a pause. The first refusal causes a pause of `first`.
    pub fn new(first: Duration) -> Self {
        Self { first, pause: Duration::ZERO }
    }

    /// The server refused a claim as one too many.
    pub fn refused(&mut self) {
        self.pause = (self.pause * 2).clamp(self.first, MAX_PAUSE);
    }

    /// The server took a claim.
    pub fn taken(&mut self) {
        let shorter = self.pause.mul_f64(0.9);
        self.pause = if shorter < self.first { Duration::ZERO } else { shorter };
    }

    /// The next pause, or `None` if the server takes all claims.
    pub fn pause(&self) -> Option<Duration> {
        (!self.pause.is_zero()).then(|| jittered(self.pause))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_of_claims_falls_fast_and_rises_slowly() {
        let mut pace = Pace::new(Duration::from_secs(1));
        assert_eq!(pace.pause(), None);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            pace.refused();
            assert_eq!(pace.pause, Duration::from_secs(seconds));
        }
        for taken in 0..32 {
            assert!(pace.pause() > Some(Duration::from_millis(500)), "after {taken} answers");
            pace.taken();
        }
        pace.taken();
        assert_eq!(pace.pause(), None);
    }
}
