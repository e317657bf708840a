//! Timers: one for each run. When it is due, somebody looks at the run and ends what is over.
//!
//! Whoever writes a due time into a job's record reads the run's control strongly *afterwards*, and sets the timer if
//! it isn't due by then. Whoever looks says so in the control *first*, and reads the jobs strongly afterwards. So
//! either the one sees that somebody looks, and sets the timer again, or the other sees the due time.

use std::time::Duration;

use futures::future::try_join_all;
use protocol::Millis;

use crate::Timers;
use crate::error::Result;
use crate::ids::RunKey;
use crate::messages::BatchTask;
use crate::ports::{Consistency, Dispatcher, RunStore, Updated};
use crate::run::{Control, MAX_TIMER_DELAY, RunUpdate, Timer};

/// A timer that is overdue by this much has lost its message.
const LATE: Duration = Duration::from_secs(10);
/// A run in which long work was asked for is looked at after this, in case its message was lost.
const WALKED_BY: Duration = Duration::from_mins(1);
/// Messages sent at once.
const AT_ONCE: usize = 32;

impl<P: RunStore + Dispatcher> Timers<'_, P> {
    /// Sets the run's timer to `due` unless an earlier one is set. `control` was read strongly after the write that made
    /// `due` a time to look at.
    pub(crate) async fn arm(self, control: &Control, due: Millis) -> Result<()> {
        let due = due.min(self.engine.now() + MAX_TIMER_DELAY);
        let update = RunUpdate::Arm { due };
        if update.apply(control).is_none() {
            return Ok(());
        }
        self.set_timer(&control.run, due).await
    }

    async fn set_timer(self, run: &RunKey, due: Millis) -> Result<()> {
        let ours = match self.engine.ports.update_control(run, RunUpdate::Arm { due }).await? {
            Updated::Done(_) => true,
            // Our own write, whose answer was lost; or the same by another, whose message may be.
            Updated::ConditionFailed(now) => now.is_some_and(|now| now.timer == Timer::Due(due)),
        };
        if ours {
            self.engine.ports.send_timer(run, due, self.engine.now()).await?;
        }
        Ok(())
    }

    /// As [`Self::arm`], by whoever can't go on because the store failed, and doesn't know whether its write was done. If
    /// this fails too, the look that is due anyway finds what is over, at most [`MAX_TIMER_DELAY`] later.
    pub(crate) async fn arm_in_doubt(self, run: &RunKey, due: Millis) {
        let due = due.min(self.engine.now() + MAX_TIMER_DELAY);
        if let Err(error) = self.set_timer(run, due).await {
            tracing::warn!(%run, %error, "the timer of a lease could not be set");
        }
    }

    /// As [`Self::arm`], for whoever hasn't read the control since its write.
    pub(crate) async fn arm_after_write(self, run: &RunKey, due: Millis) -> Result<()> {
        match self.engine.ports.control(run, Consistency::Strong).await? {
            Some(control) => self.arm(&control, due).await,
            None => Ok(()),
        }
    }

    /// Asks for a step of long work, and for a look at the run in case the message is lost.
    pub(crate) async fn ask_for(self, batch: BatchTask) -> Result<()> {
        let run = batch.run.clone();
        self.engine.ports.send_batch(batch).await?;
        self.arm_after_write(&run, self.engine.now() + WALKED_BY).await
    }

    /// Asks again for a look at every run whose timer is overdue: its message was lost. How many there were; in a system
    /// where nothing was lost, none.
    pub async fn sweep(self) -> Result<usize> {
        let now = self.engine.now();
        let late = self.engine.ports.timers_due(now - LATE).await?;
        for some in late.chunks(AT_ONCE) {
            try_join_all(some.iter().map(|run| self.engine.ports.send_timer(run, now, self.engine.now()))).await?;
        }
        Ok(late.len())
    }

    /// Asks for the look that every run gets, if nothing else is due in it before. The run is open whether or not this
    /// works, and the sweep asks again.
    pub(crate) async fn first_timer(self, control: &Control) {
        if let Timer::Due(at) = control.timer
            && let Err(error) = self.engine.ports.send_timer(&control.run, at, self.engine.now()).await
        {
            tracing::warn!(run = %control.run, %error, "the first timer was not set");
        }
    }
}
