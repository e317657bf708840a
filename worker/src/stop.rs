//! Stopping a job, and stopping a worker.

use tokio_util::sync::CancellationToken;

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

/// Ends a worker from another task. Clones end the same worker.
#[derive(Clone, Debug)]
pub struct Shutdown {
    pub(crate) stopping: CancellationToken,
    /// A child of `stopping`.
    pub(crate) draining: CancellationToken,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        let stopping = CancellationToken::new();
        Self { draining: stopping.child_token(), stopping }
    }

    /// Claims no more jobs, finishes running ones, ends.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Claims no more jobs, stops running ones within the grace, reports them as lost and retryable, ends.
    pub fn stop(&self) {
        self.stopping.cancel();
    }
}
