//! Which workflows a caller may submit, start, cancel and delete: those that ask for nothing its token doesn't name.

use crate::Authorization;
use crate::error::Result;
use crate::ports::{Consistency, JobStore, RunStore};
use crate::run::WorkflowRecord;
use workflow::Definition;

impl<P> Authorization<'_, P> {
    /// Refuses a definition whose jobs ask for labels that the caller's may not.
    pub(crate) fn may_ask_for(self, definition: &Definition) -> Result<()> {
        let labels = definition.jobs.iter().flat_map(|job| &job.settings.labels).cloned().collect();
        self.engine.caller.check_labels(&labels)?;
        self.engine.caller.check_secrets(definition.jobs.iter().flat_map(|job| &job.settings.secrets))
    }
}

impl<P: RunStore + JobStore> Authorization<'_, P> {
    /// Refuses a workflow that the caller couldn't have submitted: else a token for staging could start a deploy to
    /// production again, or cancel it.
    pub(crate) async fn may_touch(self, workflow: &WorkflowRecord) -> Result<()> {
        if self.engine.caller.is_unlimited() {
            return Ok(());
        }
        let records = self.engine.records().all_jobs(&workflow.run, Consistency::Strong).await?;
        let specs = self.engine.records().specs_of(&workflow.run, &records).await;
        let specs = self.engine.records().unless_deleted(workflow, specs).await?;
        let labels = specs.iter().flat_map(|spec| &spec.labels).cloned().collect();
        self.engine.caller.check_labels(&labels)?;
        self.engine.caller.check_secrets(specs.iter().flat_map(|spec| &spec.secrets))
    }
}
