//! Authorization of workflows. A caller may submit, start, cancel and delete a workflow only if its token allows all
//! labels and secrets of the workflow's jobs, and the names of all its groups as labels.

use crate::Authorization;
use crate::error::Result;
use crate::ports::{Consistency, JobStore, RunStore};
use crate::run::WorkflowRecord;
use workflow::Definition;

impl<P> Authorization<'_, P> {
    /// Refuses a definition whose jobs require labels that the caller's token doesn't allow, or that has such groups.
    pub(crate) fn may_ask_for(self, definition: &Definition) -> Result<()> {
        let labels = definition.jobs.iter().flat_map(|job| &job.settings.labels).cloned().collect();
        self.engine.caller.check_labels(&labels)?;
        let groups = definition.jobs.iter().filter_map(|job| job.settings.concurrency.clone());
        let groups = groups.chain(definition.concurrency.as_ref().map(|group| group.group.clone())).collect();
        self.engine.caller.check_groups(&groups)?;
        self.engine.caller.check_secrets(definition.jobs.iter().flat_map(|job| &job.settings.secrets))
    }
}

impl<P: RunStore + JobStore> Authorization<'_, P> {
    /// Refuses a workflow that the caller couldn't have submitted. Otherwise a token for staging could start a
    /// production deployment again, or cancel it.
    pub(crate) async fn may_touch(self, workflow: &WorkflowRecord) -> Result<()> {
        if self.engine.caller.is_unlimited() {
            return Ok(());
        }
        let records = self.engine.records().all_jobs(&workflow.run, Consistency::Strong).await?;
        let specs = self.engine.records().specs_of(&workflow.run, &records).await;
        let specs = self.engine.records().unless_deleted(workflow, specs).await?;
        let labels = specs.iter().flat_map(|spec| &spec.labels).cloned().collect();
        self.engine.caller.check_labels(&labels)?;
        let control = self.engine.ports.control(&workflow.run, Consistency::Strong).await?;
        let groups = specs.iter().filter_map(|spec| spec.concurrency.clone());
        let groups = groups.chain(control.and_then(|control| control.group).map(|group| group.name)).collect();
        self.engine.caller.check_groups(&groups)?;
        self.engine.caller.check_secrets(specs.iter().flat_map(|spec| &spec.secrets))
    }
}
