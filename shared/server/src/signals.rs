//! Wakes waiting claims and log streams.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use protocol::Millis;
use tokio::sync::{Mutex, MutexGuard, Notify, watch};

use crate::waiting::Waiting;

/// The events that tasks of this process wait for.
#[derive(Default)]
pub struct Signals {
    /// Processes the listed work.
    pub work: Work,
    /// Claims that wait for a job.
    pub waiting: Waiting,
    /// The earliest timer.
    pub timer: Timer,
    /// Stored data changed.
    changes: watch::Sender<()>,
    stop: watch::Sender<bool>,
}

impl Signals {
    /// Wakes the change processing and the log streams.
    pub fn changed(&self) {
        self.work.is_listed();
        self.changes.send_replace(());
    }

    /// As [`Self::changed`]. Wakes waiting claims too.
    pub fn may_be_ready(&self) {
        self.work.is_listed();
        self.worked();
    }

    /// Wakes the log streams and the waiting claims, after the change processing itself changed something.
    pub fn worked(&self) {
        self.changes.send_replace(());
        self.waiting.wake();
    }

    /// Wakes everything that depends on the time, after a test moved the engine's clock.
    pub fn clock_moved(&self) {
        self.timer.look();
        self.may_be_ready();
    }

    /// Subscribes to changes of stored data.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Ends waiting claims, streams and the server.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves once [`Self::stop`] was called.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // Without a sender the server is gone.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }
}

/// The processing of the work that the store lists: by one task at a time, which the first who knows of work starts in its own
/// runtime. So a report's consequences follow on the thread that took the report, and no other thread is woken for them.
#[derive(Default)]
pub struct Work {
    /// Starts a task that takes its [turn](Self::turn).
    start: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// A task was started and has not yet begun to look.
    is_due: AtomicBool,
    turn: Mutex<()>,
}

impl Work {
    /// Sets how a task is started. It is set once.
    pub fn start_with(&self, start: impl Fn() + Send + Sync + 'static) {
        let _ = self.start.set(Box::new(start));
    }

    /// Reports that the store may list work. To be called in a runtime.
    pub fn is_listed(&self) {
        if let Some(start) = self.start.get()
            && !self.is_due.swap(true, Ordering::AcqRel)
        {
            start();
        }
    }

    /// Waits until no other task processes the work. What is listed from now on starts another task.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        let turn = self.turn.lock().await;
        self.is_due.store(false, Ordering::Release);
        turn
    }
}

/// The time of the earliest known timer. Wakes the task that waits for it when an earlier one is set.
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
    /// Reports that a timer was set.
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

    /// Records the earliest timer that was found.
    pub fn set(&self, next: Option<Millis>) {
        self.next.store(next.map_or(u64::MAX, |at| at.0), Ordering::Release);
    }

    /// Resolves when a timer is due earlier than the time that was set.
    pub async fn earlier(&self) {
        self.earlier.notified().await;
    }
}
