//! Processes change events, queued messages and timers in one process, for stores without streams and queues.

use std::collections::HashSet;
use std::time::Duration;

use protocol::{Millis, limits};

use crate::Scheduling;
use crate::error::{EngineError, Result};
use crate::forge::store::ForgeStore;
use crate::ids::RunKey;
use crate::messages::{ChangeEvent, QueueMessage, Reconcile, Work};
use crate::ports::{Consistency, Dispatcher, JobStore, LocalWork, RunStore, StoreError, WorkerRegistry};
use crate::run::{MAX_TIMER_DELAY, RunUpdate};

/// Expired workflows that one call lists.
const EXPIRED: usize = 100;
/// Open runs that one call lists.
const RUNS: usize = 1000;
/// A timer that can't be moved, because its run's control record can't be read, is tried again after this long.
const UNREADABLE_AGAIN: Duration = Duration::from_secs(1);

impl<P: LocalWork + ForgeStore + RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// Processes all listed work until the list is empty. Only one caller may run this at a time.
    ///
    /// An item is removed from the list after it is processed. If the process stops in between, the item is processed
    /// again, which has no further effect. An item whose records can't be read, or whose task has run too many batches, is dropped, so
    /// that it doesn't block the items behind it.
    pub async fn drain(self) -> Result<()> {
        while self.drain_one().await? {}
        Ok(())
    }

    /// Processes one item of listed work. Returns false if the list is empty.
    pub async fn drain_one(self) -> Result<bool> {
        let Some((number, work)) = self.engine.ports.next_work().await? else { return Ok(false) };
        let done = match &work {
            Work::ChangeEvent(ChangeEvent::ReportChanged(_, report))
            | Work::Reconcile(Reconcile::Report(_, report)) => self.engine.forges().mark(report).await,
            Work::ChangeEvent(event) => self.on_change(event).await,
            Work::BatchTask(batch) => self.on_message(QueueMessage::BatchTask(batch.clone()), true).await,
            Work::Reconcile(reconcile) => self.on_message(QueueMessage::Reconcile(reconcile.clone()), true).await,
        };
        match done {
            Err(error @ (EngineError::Store(StoreError::Corrupt(_)) | EngineError::EndlessTask { .. })) => {
                tracing::error!(?work, %error, "giving up a piece of work");
            }
            done => done?,
        }
        self.engine.ports.work_done(number).await?;
        Ok(true)
    }

    /// Fires the timers of all open and cancelling runs. A process that stopped between claiming a job and arming the
    /// run's timer left a lease that no timer covers.
    pub async fn fire_all_timers(self) -> Result<()> {
        let mut after = None;
        loop {
            let runs = self.engine.ports.active_runs(after.as_ref(), RUNS).await?;
            let Some(last) = runs.last() else { return Ok(()) };
            after = Some(last.clone());
            for run in runs {
                self.fire_timer(&run).await?;
            }
        }
    }

    /// Deletes workflows that have been kept for [`limits::RETENTION`], for a store that doesn't remove expired records
    /// by itself.
    pub async fn expire_workflows(self) -> Result<()> {
        loop {
            let before = self.engine.now() - limits::RETENTION;
            let expired = self.engine.ports.expired(before, EXPIRED).await?;
            let mut deleted = 0;
            for workflow in &expired {
                let control = self.engine.ports.control(&workflow.run, Consistency::Strong).await?;
                if let Some(control) = control
                    && self.engine.ports.delete_workflow(workflow).await?
                {
                    self.engine.runs().delete_records(&workflow.run, control.jobs).await;
                    deleted += 1;
                }
            }
            // Those that were not deleted have changed since they were listed.
            if deleted < EXPIRED {
                return Ok(());
            }
        }
    }

    /// Fires a run's timer. A run whose records can't be read is skipped, so that it doesn't block the others: its timer is armed for
    /// later. Returns false if its control record can't be read either, so that the timer stays due.
    async fn fire_timer(self, run: &RunKey) -> Result<bool> {
        match self.on_message(QueueMessage::Timer(run.clone()), true).await {
            Err(EngineError::Store(error @ StoreError::Corrupt(_))) => {
                tracing::error!(%run, %error, "skipping the timer of a run");
            }
            done => return done.map(|()| true),
        }
        let later = RunUpdate::Arm { due: self.engine.now() + MAX_TIMER_DELAY };
        match self.engine.ports.update_control(run, later).await {
            Ok(_) => Ok(true),
            Err(StoreError::Corrupt(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Fires all due timers. Returns when the next timer is due, or when to try those again that could not be moved.
    pub async fn run_timers(self) -> Result<Option<Millis>> {
        let mut unmoved = HashSet::new();
        loop {
            let mut due = self.engine.ports.timers_due(self.engine.now()).await?;
            due.retain(|run| !unmoved.contains(run));
            if due.is_empty() {
                let again = self.engine.now() + UNREADABLE_AGAIN;
                return if unmoved.is_empty() { Ok(self.engine.ports.next_timer().await?) } else { Ok(Some(again)) };
            }
            for run in due {
                if !self.fire_timer(&run).await? {
                    unmoved.insert(run);
                }
            }
        }
    }
}
