//! Cancels and deletes workflows.

use protocol::WorkflowId;

use crate::Runs;
use crate::error::{EngineError, Result};
use crate::ids::RunKey;
use crate::messages::{BatchKind, BatchTask};
use crate::ports::{Consistency, Dispatcher, JobStore, RunStore, WorkerRegistry};
use crate::run::{Control, GroupOfRun, RunState, RunUpdate};

/// Attempts to queue the deletion of a run's records.
const DELETE_TRIES: usize = 3;

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Runs<'_, P> {
    /// Cancels a workflow's current run. After the response, no job of the run starts and no report is accepted. A
    /// batch task marks the remaining jobs as cancelled. A run that has ended stays as it is.
    pub async fn cancel(self, id: &WorkflowId) -> Result<()> {
        let workflow = self.engine.records().workflow_record(id).await?;
        self.engine.authorization().may_touch(&workflow).await?;
        if workflow.ended.is_none() {
            let now = self.engine.now();
            self.engine.ports.update_control(&workflow.run, RunUpdate::Cancel { at: now }).await?;
            self.engine.caches.cancelled.insert(workflow.run, (), now);
        }
        Ok(())
    }

    /// Deletes a workflow that isn't running. A batch task removes its records, outputs and logs afterwards.
    ///
    /// # Errors
    /// [`EngineError::InvalidState`] while it runs.
    pub async fn delete(self, id: &WorkflowId) -> Result<()> {
        let workflow = self.engine.records().workflow_record(id).await?;
        self.engine.authorization().may_touch(&workflow).await?;
        let control = self.engine.ports.control(&workflow.run, Consistency::Strong).await?;
        let Some(control) = control else { return Err(EngineError::WorkflowNotFound(id.clone())) };
        let running = || EngineError::InvalidState {
            workflow: id.clone(),
            status: control.status_while_active(),
            fix: "cancel it, wait until it has finished, then delete it",
        };
        if workflow.ended.is_none() && control.state != RunState::New {
            return Err(running());
        }
        self.end_before_removal(&control).await?;
        if !self.engine.ports.delete_workflow(&workflow).await? {
            if self.engine.ports.workflow(id, Consistency::Strong).await?.is_some() {
                return Err(running());
            }
            // The workflow is gone: this request's own write was applied but its response was lost, or another request
            // deleted it.
            if self.engine.ports.control(&workflow.run, Consistency::Strong).await?.is_some() {
                return Ok(());
            }
        }
        self.delete_records(&workflow.run, control.jobs).await;
        if let Some(group) = &control.group {
            self.admit_after_removal(group, &workflow.run).await;
        }
        Ok(())
    }

    /// Writes the end of a run in a group, before the run is removed. The change event of the end admits the next run, also if
    /// the process stops after the removal.
    pub(crate) async fn end_before_removal(self, control: &Control) -> Result<()> {
        if control.group.is_some() && control.state.has_begun() {
            self.engine.scheduling().finish_if_done(&control.run).await?;
        }
        Ok(())
    }

    /// Admits the next run of a group after a run of it was removed: a change event that could not be processed is lost with the
    /// run's record. If this fails, the timer of a waiting run does it.
    pub(crate) async fn admit_after_removal(self, group: &GroupOfRun, run: &RunKey) {
        if let Err(error) = self.engine.scheduling().admit(&group.key, run).await {
            tracing::warn!(%run, %error, "a group is free; the timer of a run that waits for it will admit that run");
        }
    }

    /// Queues the batch task that deletes a run's records. The workflow is deleted even if this fails: then the records
    /// remain until they expire.
    pub(crate) async fn delete_records(self, run: &RunKey, jobs: u32) {
        let batch = BatchTask::new(run.clone(), BatchKind::Delete { jobs }, 0);
        for tried in 1..=DELETE_TRIES {
            match self.engine.ports.send_batch(batch.clone()).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%run, %error, tried, "records of a deleted run remain"),
            }
        }
    }
}
