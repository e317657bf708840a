//! Wakes waiting claims and log streams.

use std::sync::atomic::{AtomicU64, Ordering};

use protocol::Millis;
use tokio::sync::{Notify, watch};

use crate::waiting::Waiting;

/// Everything that is waited for in the process.
#[derive(Default)]
pub struct Signals {
    /// There may be listed work.
    pub work: Notify,
    /// Claims that wait for a job.
    pub waiting: Waiting,
    /// When the first timer is due.
    pub timer: Timer,
    /// Something changed that a reader may want to see.
    changes: watch::Sender<()>,
    stop: watch::Sender<bool>,
}

impl Signals {
    /// A request, or a piece of work, may have changed something.
    pub fn changed(&self) {
        self.work.notify_one();
        self.changes.send_replace(());
    }

    /// Jobs may have become ready.
    pub fn may_be_ready(&self) {
        self.changed();
        self.waiting.wake();
    }

    /// The engine's clock is ahead of what the timers were set by.
    pub fn clock_moved(&self) {
        self.timer.look();
        self.may_be_ready();
    }

    /// For those who read what changes.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Ends waits and streams, and takes no more requests.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves once [`Self::stop`] was called.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // Without a sender there is nobody left to stop for.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }
}

/// When the first timer is due, as far as is known. Wakes who waits for it when an earlier one is set.
pub struct Timer {
    next: AtomicU64,
    earlier: Notify,
}

impl Default for Timer {
    fn default() -> Self {
        Self { next: AtomicU64::new(u64::MAX), earlier: Notify::new() }
    }
}

impl Timer {
    /// One was set.
    pub fn armed(&self, at: Millis) {
        if at.0 < self.next.load(Ordering::Acquire) {
            self.look();
        }
    }

    /// Wakes the task that fires due timers.
    pub fn look(&self) {
        self.earlier.notify_one();
    }

    /// Records that due timers are being read. A timer set from now on may be missed, and is signalled.
    pub fn forget(&self) {
        self.next.store(u64::MAX, Ordering::Release);
    }

    /// What was found.
    pub fn set(&self, next: Option<Millis>) {
        self.next.store(next.map_or(u64::MAX, |at| at.0), Ordering::Release);
    }

    /// Resolves when a timer is due earlier than the time that was set.
    pub async fn earlier(&self) {
        self.earlier.notified().await;
    }
}
