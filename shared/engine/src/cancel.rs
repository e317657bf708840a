//! Cancelling and deleting.

use protocol::{Status, WorkflowId};

use crate::Runs;
use crate::error::{EngineError, Result};
use crate::messages::{BatchKind, BatchTask};
use crate::ports::{Consistency, Dispatcher, JobStore, RunStore};
use crate::run::{RunState, RunUpdate};

impl<P: RunStore + JobStore + Dispatcher> Runs<'_, P> {
    /// Cancels a workflow's current run. Once answered, nothing of it starts and no report that arrives counts; what
    /// hasn't ended is shown as cancelled as the walk reaches it. A run that is final already stays as it is.
    pub async fn cancel(self, id: &WorkflowId) -> Result<()> {
        let workflow = self.engine.records().workflow_record(id).await?;
        self.engine.authorization().may_touch(&workflow).await?;
        if workflow.ended.is_none() {
            self.engine.ports.update_control(&workflow.run, RunUpdate::Cancel { at: self.engine.now() }).await?;
        }
        Ok(())
    }

    /// Deletes a workflow that isn't running. Its records, outputs and logs go afterwards, by a walk.
    ///
    /// # Errors
    /// [`EngineError::InvalidState`] while it runs.
    pub async fn delete(self, id: &WorkflowId) -> Result<()> {
        let workflow = self.engine.records().workflow_record(id).await?;
        self.engine.authorization().may_touch(&workflow).await?;
        let running = || EngineError::InvalidState {
            workflow: id.clone(),
            status: Status::Running,
            fix: "cancel it, wait until it has finished, then delete it",
        };
        let control = self.engine.ports.control(&workflow.run, Consistency::Strong).await?;
        let Some(control) = control else { return Err(EngineError::WorkflowNotFound(id.clone())) };
        if workflow.ended.is_none() && control.state != RunState::New {
            return Err(running());
        }
        if !self.engine.ports.delete_workflow(&workflow).await? {
            if self.engine.ports.workflow(id, Consistency::Strong).await?.is_some() {
                return Err(running());
            }
            // Gone all the same: our own write, whose answer was lost, or somebody else's, of a later run.
            if self.engine.ports.control(&workflow.run, Consistency::Strong).await?.is_some() {
                return Ok(());
            }
        }
        let kind = BatchKind::Delete { jobs: control.jobs };
        self.engine.timers().ask_for(BatchTask { run: workflow.run, kind, from: 0 }).await
    }
}
