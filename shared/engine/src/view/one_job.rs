//! One job, as the API shows it.

use std::collections::HashMap;

use futures::future::try_join_all;
use protocol::wire::Job;
use protocol::{JobId, WorkflowId};

use super::{Detail, UNDONE_NAMED, View};
use crate::Queries;
use crate::error::{EngineError, Result};
use crate::ids::{JobIndex, RunKey};
use crate::job::{JobRecord, Phase};
use crate::ports::{ArtifactStore, Consistency, GroupStore, JobStore, RunStore, WorkerRegistry};
use crate::run::RunState;
use crate::why::PoolWorkers;

/// Records read in one call.
const PAGE: usize = 100;

impl<P: RunStore + JobStore + ArtifactStore + WorkerRegistry + GroupStore> Queries<'_, P> {
    /// Returns a job of a workflow's current run. Reads the job and those that it needs, and no others once this process
    /// knows the run's job ids.
    ///
    /// # Errors
    /// [`EngineError::WorkflowNotFound`], [`EngineError::NoJob`].
    pub async fn job(self, workflow: &WorkflowId, id: &JobId) -> Result<Job> {
        let workflow = self.engine.records().workflow_record(workflow).await?;
        let record = self.engine.records().job_of(&workflow, id).await?;
        let control = self.engine.ports.control(&workflow.run, Consistency::Strong).await?;
        let control = control.ok_or_else(|| EngineError::WorkflowNotFound(workflow.id.clone()))?;
        let spec = self.engine.records().spec(&record).await;
        let spec = self.engine.records().unless_deleted(&workflow, spec).await?;
        // The job of `on_failure` needs none, and waits for the others.
        let awaited: Vec<JobIndex> = if record.waits_for_run() && matches!(record.phase, Phase::Waiting { .. }) {
            (control.done_below..record.key.index).take(UNDONE_NAMED).collect()
        } else {
            spec.needs.clone()
        };
        let needs = self.needed(&workflow.run, &awaited).await?;
        let waits = control.state == RunState::Open && matches!(record.phase, Phase::Ready { .. });
        let online = if waits { self.engine.workers().online().await? } else { Vec::new() };
        let pools = waits.then(|| (&record.pool, PoolWorkers::of(&spec.labels, &online))).into_iter().collect();
        let jobs: HashMap<JobIndex, &JobRecord> =
            needs.iter().chain([&record]).map(|job| (job.key.index, job)).collect();
        let groups = self.group_queues(&control, std::slice::from_ref(&record)).await?;
        let (detail, now) = (Detail::Full, self.engine.now());
        let view = View { control: &control, jobs: &jobs, pools: &pools, groups: &groups, detail, now };
        let mut shown = [(0, view.job(&record, &spec))];
        let filled = self.fill_outputs(std::slice::from_ref(&record), &mut shown).await;
        self.engine.records().unless_deleted(&workflow, filled).await?;
        let [(_, job)] = shown;
        Ok(job)
    }

    /// Returns the jobs with these indexes. Reads them strongly if an eventual read doesn't find one.
    async fn needed(self, run: &RunKey, indexes: &[JobIndex]) -> Result<Vec<JobRecord>> {
        let page = |page| async move {
            let found = self.engine.ports.jobs_at(run, page, Consistency::Eventual).await?;
            if found.iter().all(Option::is_some) {
                return Ok(found);
            }
            self.engine.ports.jobs_at(run, page, Consistency::Strong).await
        };
        let mut needed = Vec::with_capacity(indexes.len());
        for some in indexes.chunks(PAGE * 8) {
            let pages = try_join_all(some.chunks(PAGE).map(page)).await?;
            needed.extend(pages.into_iter().flatten().flatten());
        }
        Ok(needed)
    }
}
