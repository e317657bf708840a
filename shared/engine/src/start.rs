//! Starts a run of a workflow: the first run or a re-run.

use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::requests::{GivenInputs, Only};
use protocol::wire::InputValues;
use protocol::{LabelSet, WorkflowId};

use crate::Runs;
use crate::error::{EngineError, Result};
use crate::forge::rights;
use crate::forge::store::ForgeStore;
use crate::ids::forge::ReportKey;
use crate::ids::{JobKey, RunKey};
use crate::job::{Completion, JobRecord, JobSpec, OutputsRef, Phase};
use crate::plan::{self, Kept, Planned};
use crate::planted::Bug;
use crate::ports::{
    ArtifactStore, Commit, Committed, Consistency, Dispatcher, JobStore, RunStore, Source, Updated, WorkerRegistry,
};
use crate::run::{Control, GroupOfRun, RunState, RunUpdate, WorkflowRecord};
use crate::submit::new_control;

/// A workflow that is started within this time after its submission is not renewed.
const SUBMITTED_LONG_AGO: Duration = Duration::from_hours(24);
/// Outputs copied concurrently for a re-run.
const COPIES_AT_ONCE: usize = 100;

impl<P: ForgeStore + RunStore + JobStore + ArtifactStore + WorkerRegistry + Dispatcher> Runs<'_, P> {
    /// Starts a new workflow, or re-runs a finished one under the next run number.
    ///
    /// The response means that the run is open. The handler of the run's change event makes the jobs ready.
    ///
    /// # Errors
    /// [`EngineError::InvalidState`] while it runs, [`EngineError::WorkflowNotFound`], [`EngineError::Moved`],
    /// [`EngineError::Inputs`], [`EngineError::InputsFixed`]; [`EngineError::LinkRights`] if a forge started it and its link's rights
    /// don't allow it any more.
    pub async fn start(self, id: &WorkflowId, only: Option<Only>, inputs: Option<GivenInputs>) -> Result<()> {
        let workflow = self.engine.records().workflow_record(id).await?;
        self.engine.authorization().may_touch(&workflow).await?;
        if workflow.ended.is_some() {
            return Box::pin(self.start_again(workflow, only, inputs)).await;
        }
        if inputs.is_some() {
            return Err(EngineError::InputsFixed("the workflow has those of its submission until it has run once"));
        }
        self.keep_from_now(&workflow).await?;
        let opener = self.engine.random().iter().take(8).fold(0, |opener, byte| opener << 8 | u64::from(*byte));
        let at = self.engine.now();
        let mut updated = self.engine.ports.update_control(&workflow.run, RunUpdate::Open { at, opener }).await?;
        if matches!(&updated, Updated::ConditionFailed(Some(control)) if control.state == RunState::New) {
            // The run has a group.
            updated = self.engine.ports.update_control(&workflow.run, RunUpdate::Block { at, opener }).await?;
        }
        match updated {
            Updated::Done(control) => self.started(&control).await,
            // This request's own write was applied, but its response was lost.
            Updated::ConditionFailed(Some(control))
                if matches!(control.state, RunState::Blocked | RunState::Open) && control.opener == Some(opener) =>
            {
                self.started(&control).await;
            }
            Updated::ConditionFailed(None) => return Err(EngineError::WorkflowNotFound(id.clone())),
            Updated::ConditionFailed(Some(control)) => {
                return Err(EngineError::InvalidState {
                    workflow: id.clone(),
                    status: control.status_while_active(),
                    fix: "wait until it has finished, or cancel it",
                });
            }
        }
        Ok(())
    }

    /// Sets the first timer of a started run. A run that waits for its turn gets its place in its group.
    async fn started(self, control: &Control) {
        self.engine.timers().first_timer(control).await;
        self.engine.scheduling().place_started_run(control).await;
    }

    /// Keeps the records of a workflow that was submitted long ago for [`protocol::limits::RETENTION`] from now on, so
    /// that they don't expire while it runs.
    async fn keep_from_now(self, workflow: &WorkflowRecord) -> Result<()> {
        if self.engine.now().since(workflow.created_at) < SUBMITTED_LONG_AGO {
            return Ok(());
        }
        match self.engine.ports.control(&workflow.run, Consistency::Strong).await? {
            Some(control) if control.state == RunState::New => {
                Ok(self.engine.ports.renew(workflow, control.jobs).await?)
            }
            _ => Ok(()),
        }
    }

    async fn start_again(self, old: WorkflowRecord, only: Option<Only>, given: Option<GivenInputs>) -> Result<()> {
        if given.is_some() && only.is_some() {
            return Err(EngineError::InputsFixed("the jobs that are kept ran with those of the last run"));
        }
        let now = self.engine.now();
        let records = self.engine.records().all_jobs(&old.run, Consistency::Strong).await?;
        let specs = self.engine.records().specs_of(&old.run, &records).await;
        let specs = self.engine.records().unless_deleted(&old, specs).await?;
        let old_control = self.engine.ports.control(&old.run, Consistency::Strong).await?;
        let report = old_control.as_ref().and_then(|control| control.report.clone());
        let report_of = report.as_ref();
        let with_inputs = given.is_some();
        let source = &self.engine.ports.definition(&old.run).await?;
        if let Some(report) = report_of {
            self.is_allowed_again(report, &old.run, source.as_ref(), &specs).await?;
        }
        let inputs = &match given {
            Some(given) => {
                let values = self.engine.ports.inputs(&old.run).await?.unwrap_or_default();
                resolve(source.as_ref(), &with_forge_inputs(given, values, report.is_some()))?
            }
            None if specs.iter().any(|spec| spec.has_inputs) => {
                self.engine.ports.inputs(&old.run).await?.unwrap_or_default()
            }
            None => InputValues::new(),
        };
        let (records, specs, before) = (records.as_slice(), specs.as_slice(), &old);
        let keeps = match only {
            Some(Only::Failed) => plan::keeps(records.iter().zip(specs), self.engine.has(Bug::KeepsAllPassed)),
            None => vec![false; records.len()],
        };
        let keeps = keeps.as_slice();
        let stage = |run: RunKey| async move {
            let jobs = records.iter().zip(specs).zip(keeps);
            let again = jobs.map(|((record, spec), keep)| self.again(record, spec, &run, *keep).boxed());
            let again: Vec<_> = again.collect();
            let again = stream::iter(again).buffered(COPIES_AT_ONCE).try_collect().await;
            let jobs: Vec<Planned> = self.engine.records().unless_deleted(before, again).await?;
            self.engine.submissions().stage(&run, &jobs, source.clone(), inputs, (report_of, now)).await?;
            Ok(jobs)
        };
        let (run, jobs) = self.engine.submissions().under_a_fresh_key(stage).await?;
        let new = WorkflowRecord { run: run.clone(), number: old.number + 1, ended: None, ..old.clone() };
        if let Some(control) = &old_control {
            self.end_before_removal(control).await?;
        }
        let old_group = old_control.and_then(|control| control.group);
        let group = if with_inputs { group_of(source.as_ref(), inputs)? } else { old_group.clone() };
        let mut control = Control { report, ..new_control(&new, &jobs, Some(now), group) };
        if self.engine.has(Bug::RerunOpensAtOnce) {
            (control.state, control.opened_at) = (RunState::Open, Some(now));
        }
        let id = new.id.clone();
        let commit = Commit { workflow: new, replaces: Some(old.run), control: control.clone(), idempotency: None };
        match self.engine.ports.commit(commit).await? {
            Committed::Yes => {}
            _ if self.engine.submissions().is_current(&id, &run).await? => {}
            Committed::KeyTaken | Committed::Superseded => return Err(EngineError::Moved(id)),
        }
        self.started(&control).await;
        if let Some(old) = old_group.filter(|old| control.group.as_ref().is_none_or(|group| group.key != old.key)) {
            self.admit_after_removal(&old, &run).await;
        }
        Ok(())
    }

    /// Checks the rights of a run that a forge started, as its link gives them now. Its jobs may ask for no more, whoever starts it.
    async fn is_allowed_again(
        self,
        report: &ReportKey,
        run: &RunKey,
        source: Option<&Source>,
        specs: &[JobSpec],
    ) -> Result<()> {
        let key = &report.repository;
        let refused = |reason: String| EngineError::LinkRights { link: key.link.clone(), reason };
        let link = self.engine.ports.link(key).await?;
        let link = link.ok_or_else(|| refused("it was removed, or has another repository".to_owned()))?;
        let Some(source) = source else { return Err(refused("the run's definition is gone".to_owned())) };
        let definition = source.read().map_err(EngineError::Definition)?;
        let inputs = self.engine.ports.inputs(run).await?.unwrap_or_default();
        let labels: Vec<&LabelSet> = specs.iter().map(|spec| &spec.labels).collect();
        let origin = rights::origin_of_run(report.event, &inputs);
        match rights::refused_again(&definition, &labels, &link.rights, origin) {
            Some(reason) => Err(refused(reason)),
            None => Ok(()),
        }
    }

    /// Returns the job as planned for the next run. The outputs of a job that is kept are copied, so that deleting the old
    /// run can't remove them.
    async fn again(self, old: &JobRecord, spec: &JobSpec, run: &RunKey, keep: bool) -> Result<Planned> {
        let kept = match &old.phase {
            Phase::Ended(Completion { outcome, .. }) if keep => {
                if let Some(outputs @ OutputsRef::External { .. }) = old.outputs() {
                    self.engine.ports.copy_outputs(&old.key, &JobKey::new(run, old.key.index), outputs).await?;
                }
                Some(Kept { outcome: outcome.clone(), error: old.error.clone() })
            }
            _ => None,
        };
        Ok(Planned { id: old.id.clone(), spec: spec.clone(), kept })
    }
}

/// The group of a new run with these inputs, as the definition says.
fn group_of(source: Option<&Source>, inputs: &InputValues) -> Result<Option<GroupOfRun>> {
    let definition = source.map(Source::read).transpose().map_err(EngineError::Definition)?;
    let group = definition.and_then(|definition| definition.concurrency);
    Ok(group.map(|group| GroupOfRun::new(&group, inputs)))
}

/// Adds what a forge gave the run before, which nobody gives again. In a run that a forge started they can't be replaced: who gets a
/// credential is decided by them.
fn with_forge_inputs(mut given: GivenInputs, before: InputValues, is_of_forge: bool) -> GivenInputs {
    for (name, value) in before.into_iter().filter(|(name, _)| workflow::FORGE_INPUTS.contains(&name.as_str())) {
        if is_of_forge {
            given.insert(name, value.into());
        } else if !value.is_empty() {
            given.entry(name).or_insert_with(|| value.into());
        }
    }
    given
}

/// The values of a new run's inputs, as the definition declares them.
fn resolve(source: Option<&Source>, given: &GivenInputs) -> Result<InputValues> {
    let definition = source.map(Source::read);
    let declared = definition.transpose().map_err(EngineError::Definition)?.map(|definition| definition.inputs);
    workflow::resolve_inputs(&declared.unwrap_or_default(), given).map_err(EngineError::Inputs)
}
