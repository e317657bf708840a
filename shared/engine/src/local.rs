//! Working off, in one process, what streams, queues and timers bring elsewhere.

use protocol::Millis;

use crate::Scheduling;
use crate::error::{EngineError, Result};
use crate::ids::RunKey;
use crate::messages::{QueueMessage, Work};
use crate::ports::{Dispatcher, JobStore, LocalWork, RunStore, StoreError, WorkerRegistry};
use crate::run::{MAX_TIMER_DELAY, RunUpdate};

impl<P: LocalWork + RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// Does all work that is listed, until there is none. One caller at a time.
    ///
    /// A piece is taken off its list once it is done: stopped in between, it is done again, which does no harm. One whose
    /// records can't be read is given up, so that what is behind it goes on.
    pub async fn drain(self) -> Result<()> {
        while self.drain_one().await? {}
        Ok(())
    }

    /// Does one piece of listed work. Whether there was any.
    pub async fn drain_one(self) -> Result<bool> {
        let Some((number, work)) = self.engine.ports.next_work().await? else { return Ok(false) };
        let done = match &work {
            Work::ChangeEvent(event) => self.on_change(event).await,
            Work::BatchTask(batch) => self.on_message(QueueMessage::BatchTask(batch.clone()), true).await,
            Work::Reconcile(reconcile) => self.on_message(QueueMessage::Reconcile(reconcile.clone()), true).await,
        };
        match done {
            Err(EngineError::Store(error @ StoreError::Corrupt(_))) => {
                tracing::error!(?work, %error, "giving up a piece of work");
            }
            done => done?,
        }
        self.engine.ports.work_done(number).await?;
        Ok(true)
    }

    /// Looks at every run that is open or being cancelled: a process that was stopped between taking a job and setting its
    /// timer has left a lease that no timer knows of.
    pub async fn look_at_all(self) -> Result<()> {
        for run in self.engine.ports.open_runs().await? {
            self.look_at(run).await?;
        }
        Ok(())
    }

    /// One whose records can't be read is left alone, so that the others go on.
    async fn look_at(self, run: RunKey) -> Result<()> {
        match self.on_message(QueueMessage::Timer(run.clone()), true).await {
            Err(EngineError::Store(error @ StoreError::Corrupt(_))) => {
                tracing::error!(%run, %error, "giving up a look");
                Ok(self
                    .engine
                    .ports
                    .update_control(&run, RunUpdate::Arm { due: self.engine.now() + MAX_TIMER_DELAY })
                    .await
                    .map(drop)?)
            }
            done => done,
        }
    }

    /// Looks at every run whose timer is due. When the next one will be.
    pub async fn run_timers(self) -> Result<Option<Millis>> {
        loop {
            let due = self.engine.ports.timers_due(self.engine.now()).await?;
            if due.is_empty() {
                return Ok(self.engine.ports.next_timer().await?);
            }
            for run in due {
                self.look_at(run).await?;
            }
        }
    }
}
