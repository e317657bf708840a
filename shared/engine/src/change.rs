//! What the change feed tells, and what follows from it. The feed is the guarantee: what a request left undone is
//! done here, and what it did is found done.

use crate::Scheduling;
use crate::error::Result;
use crate::job::{JobOutcome, JobRecord, Phase};
use crate::messages::{BatchKind, BatchTask, ChangeEvent, QueueMessage, Reconcile};
use crate::ports::{Consistency, Dispatcher, JobStore, RunStore, WorkerRegistry};
use crate::run::RunState;

/// A change that can't be handled so often in succession is set aside.
const TRIES: usize = 3;

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// As [`Self::on_change`]; what fails three times is set aside, so that the changes behind it go on.
    ///
    /// # Errors
    /// If it can't even be set aside: it must be told again.
    pub async fn on_change_or_reconcile(self, event: &ChangeEvent) -> Result<()> {
        for tried in 1..=TRIES {
            match self.on_change(event).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(place = ?event.place(), %error, tried, "a change could not be handled"),
            }
        }
        Ok(self.engine.ports.send_reconcile(event.place()).await?)
    }

    /// Handles what was set aside, as it is now.
    pub async fn on_reconcile(self, reconcile: &Reconcile) -> Result<()> {
        match reconcile {
            Reconcile::Job(key) => match self.engine.ports.job(key, Consistency::Strong).await? {
                Some(job) if job.is_ended() => self.on_change(&ChangeEvent::JobEnded(Box::new(job))).await,
                _ => Ok(()),
            },
            Reconcile::Run(run) => {
                let Some(control) = self.engine.ports.control(run, Consistency::Strong).await? else { return Ok(()) };
                match control.state {
                    RunState::Open => self.on_change(&ChangeEvent::RunOpened(control)).await,
                    RunState::Cancelling => self.on_change(&ChangeEvent::RunCancelling(control)).await,
                    RunState::New | RunState::Final => Ok(()),
                }
            }
        }
    }

    /// Does what a queue's message asks for. `again`: it was received before.
    pub async fn on_message(self, message: QueueMessage, again: bool) -> Result<()> {
        let (run, done) = match message {
            QueueMessage::BatchTask(batch) => (batch.run.clone(), Box::pin(self.run_batch(batch)).await),
            QueueMessage::Timer(run) => (run.clone(), Box::pin(self.on_timer(&run, again)).await),
            QueueMessage::Reconcile(reconcile) => (reconcile.run().clone(), self.on_reconcile(&reconcile).await),
        };
        match done {
            Err(error) if self.engine.records().is_deleted(&run, &error).await? => Ok(()),
            done => done,
        }
    }

    /// Does what follows from a change. Repeating it does nothing more.
    pub async fn on_change(self, event: &ChangeEvent) -> Result<()> {
        // Boxed, as below: the whole tree of futures is too deep for the compiler to lay out in one.
        match Box::pin(self.follow(event)).await {
            Err(error) if self.engine.records().is_deleted(event.place().run(), &error).await? => Ok(()),
            done => done,
        }
    }

    async fn follow(self, event: &ChangeEvent) -> Result<()> {
        match event {
            ChangeEvent::RunOpened(control) => {
                let batch = BatchTask { run: control.run.clone(), kind: BatchKind::Roots, from: 0 };
                Box::pin(self.run_batch(batch)).await
            }
            ChangeEvent::RunCancelling(control) => {
                let batch = BatchTask { run: control.run.clone(), kind: BatchKind::Cancel, from: 0 };
                self.engine.timers().ask_for(batch).await
            }
            ChangeEvent::JobEnded(job) => self.on_job_ended(job).await,
        }
    }

    async fn on_job_ended(self, job: &JobRecord) -> Result<()> {
        let Phase::Ended(ending) = &job.phase else { return Ok(()) };
        let run = job.key.run.clone();
        if matches!(ending.outcome, JobOutcome::Success(_)) {
            let kind = BatchKind::Dependents { of: job.key.index };
            return Box::pin(self.run_batch(BatchTask { run, kind, from: 0 })).await;
        }
        let spec = self.engine.records().spec(job).await?;
        if matches!(ending.outcome, JobOutcome::Failure { .. }) && !spec.dependents.is_empty() {
            self.engine
                .timers()
                .ask_for(BatchTask { run: run.clone(), kind: BatchKind::Skip, from: job.key.index + 1 })
                .await?;
        }
        for page in spec.dependents.chunks(100) {
            let dependents = self.engine.ports.jobs_at(&run, page, Consistency::Eventual).await?;
            if !dependents.iter().flatten().all(JobRecord::is_ended) {
                return Ok(());
            }
        }
        self.finish_if_done(&run).await
    }
}
