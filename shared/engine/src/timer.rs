//! Run timers. Each run has one timer. When it fires, a handler scans the run and ends whatever has expired.
//!
//! A process that writes a due time into a job's record reads the run's control record strongly *afterwards*, and arms
//! the timer if it isn't due by then. A handler marks the timer as firing *first*, and reads the jobs strongly
//! afterwards. So either the first process sees that the timer is firing and arms it again, or the handler sees the
//! due time.

use std::time::Duration;

use futures::future::join_all;
use protocol::Millis;

use crate::Timers;
use crate::error::Result;
use crate::ids::RunKey;
use crate::messages::BatchTask;
use crate::planted::Bug;
use crate::ports::{Consistency, Dispatcher, RunStore, Updated};
use crate::run::{Control, MAX_TIMER_DELAY, RunUpdate, Timer};

/// A timer that is overdue by this much has lost its message.
const LATE: Duration = Duration::from_secs(10);
/// After a batch task is queued, the run's timer fires within this time, in case the task's message is lost.
const BATCH_RETRY: Duration = Duration::from_mins(1);
/// Messages sent concurrently.
const AT_ONCE: usize = 32;

impl<P: RunStore + Dispatcher> Timers<'_, P> {
    /// Arms the run's timer for `due`, unless an earlier time is set. `control` must have been read strongly after the
    /// write that set the due time.
    pub(crate) async fn arm(self, control: &Control, due: Millis) -> Result<()> {
        let due = due.min(self.engine.now() + MAX_TIMER_DELAY);
        let update = RunUpdate::Arm { due };
        if update.apply(control).is_none() {
            return Ok(());
        }
        self.set_timer(&control.run, due).await
    }

    async fn set_timer(self, run: &RunKey, due: Millis) -> Result<()> {
        let updated = self.engine.ports.update_control(run, RunUpdate::Arm { due }).await?;
        if matches!(updated, Updated::ConditionFailed(_)) && self.engine.has(Bug::TimerNotSent) {
            return Ok(());
        }
        // If the write was refused, it may have been this process's own, whose response was lost, or an equal one of
        // another process, whose message may be lost. A message that is sent twice does no harm.
        if updated.record().is_some_and(|control| control.timer == Timer::Due(due)) {
            self.engine.ports.send_timer(run, due, self.engine.now()).await?;
        }
        Ok(())
    }

    /// Like [`Self::arm`], for a caller that failed on a store error and doesn't know whether its write was applied.
    /// If this fails too, the run's next timer finds the expired lease, at most [`MAX_TIMER_DELAY`] later.
    pub(crate) async fn arm_in_doubt(self, run: &RunKey, due: Millis) {
        let due = due.min(self.engine.now() + MAX_TIMER_DELAY);
        if let Err(error) = self.set_timer(run, due).await {
            tracing::warn!(%run, %error, "the timer of a lease could not be set");
        }
    }

    /// Like [`Self::arm`], for a caller that hasn't read the control record since its write.
    pub(crate) async fn arm_after_write(self, run: &RunKey, due: Millis) -> Result<()> {
        match self.engine.ports.control(run, Consistency::Strong).await? {
            Some(control) => self.arm(&control, due).await,
            None => Ok(()),
        }
    }

    /// Queues a batch task, and arms the run's timer in case the message is lost.
    pub(crate) async fn ask_for(self, batch: BatchTask) -> Result<()> {
        let run = batch.run.clone();
        self.engine.ports.send_batch(batch).await?;
        self.arm_after_write(&run, self.engine.now() + BATCH_RETRY).await
    }

    /// Sends the timer message again for every run whose timer is overdue, because its message was lost. Returns the
    /// number of such runs: 0 if no message was lost.
    pub async fn sweep(self) -> Result<usize> {
        let now = self.engine.now();
        let late = self.engine.ports.timers_due(now - LATE).await?;
        let mut failed = Ok(());
        for some in late.chunks(AT_ONCE) {
            // One that can't be sent keeps no other from being sent.
            let sent = join_all(some.iter().map(|run| self.engine.ports.send_timer(run, now, self.engine.now()))).await;
            failed = sent.into_iter().fold(failed, Result::and);
        }
        Ok(failed.map(|()| late.len())?)
    }

    /// Sends the first timer message of a run. The run is open even if this fails; the sweep sends the message again.
    pub(crate) async fn first_timer(self, control: &Control) {
        if let Timer::Due(at) = control.timer
            && let Err(error) = self.engine.ports.send_timer(&control.run, at, self.engine.now()).await
        {
            tracing::warn!(run = %control.run, %error, "the first timer was not set");
        }
    }
}
