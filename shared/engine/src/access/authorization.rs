//! Which workflows a caller may submit, start, cancel and delete: those that ask for nothing its token doesn't name.

use crate::Engine;
use crate::error::Result;
use crate::ports::{Consistency, Ports};
use crate::run::WorkflowRecord;
use workflow::Definition;

impl<P: Ports> Engine<P> {
    /// Refuses a definition whose jobs ask for labels that the caller's may not.
    pub(crate) fn may_ask_for(&self, definition: &Definition) -> Result<()> {
        let labels = definition.jobs.iter().flat_map(|job| &job.settings.labels).cloned().collect();
        self.caller.check_labels(&labels)?;
        self.caller.check_secrets(definition.jobs.iter().flat_map(|job| &job.settings.secrets))
    }

    /// Refuses a workflow that the caller couldn't have submitted: else a token for staging could start a deploy to
    /// production again, or cancel it.
    pub(crate) async fn may_touch(&self, workflow: &WorkflowRecord) -> Result<()> {
        if self.caller.is_unlimited() {
            return Ok(());
        }
        let records = self.all_jobs(&workflow.run, Consistency::Strong).await?;
        let specs = self.specs_of(&workflow.run, &records).await;
        let specs = self.unless_deleted(workflow, specs).await?;
        let labels = specs.iter().flat_map(|spec| &spec.labels).cloned().collect();
        self.caller.check_labels(&labels)?;
        self.caller.check_secrets(specs.iter().flat_map(|spec| &spec.secrets))
    }
}
