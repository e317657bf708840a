//! Stopping a job, and stopping a worker.

use tokio::sync::watch;

/// Why a job is stopped before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// Its workflow was cancelled.
    Cancelled,
    /// It reached its `timeout`.
    TimedOut,
    /// The server says that the lease no longer holds the job.
    LeaseLost,
    /// The lease ended because no heartbeat got through.
    LeaseEnded,
    /// The worker shuts down.
    Shutdown,
}

/// The stage of a worker's shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Working,
    /// Claims no more jobs.
    Draining,
    /// Stops running jobs.
    Stopping,
}

/// Ends a worker from another task. Clones end the same worker.
#[derive(Clone, Debug)]
pub struct Shutdown(pub(crate) watch::Sender<Stage>);

impl Shutdown {
    /// Claims no more jobs, finishes running ones, ends.
    pub fn drain(&self) {
        self.advance(Stage::Draining);
    }

    /// Claims no more jobs, stops running ones within the grace, reports them as lost and retryable, ends.
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
