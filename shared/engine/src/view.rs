//! Workflows and jobs as the API shows them.

use std::collections::HashMap;

use futures::future::try_join_all;
use protocol::wire::{Job, WaitingFor, Workflow};
use protocol::{JobId, Millis, Outputs, Status, WorkflowId, limits};

use crate::Queries;
use crate::error::{EngineError, Result};
use crate::ids::JobIndex;
use crate::job::{JobOutcome, JobRecord, JobSpec, OutputsRef, Phase};
use crate::ports::{ArtifactStore, Consistency, JobStore, ListCursor, RunStore, Source, WorkerRegistry};
use crate::run::{Control, RunState, WorkflowRecord};
use crate::why::{self, Queued};
use crate::workers::OnlineWorker;

/// A page of the list of workflows.
#[derive(Clone, Debug)]
pub struct WorkflowPage {
    /// Newest first.
    pub workflows: Vec<Workflow>,
    /// The cursor of the next page.
    pub next: Option<ListCursor>,
}

/// How much data of a job is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// The record, small external outputs, and the reason why the job waits.
    Full,
    /// Only the record.
    Listed,
}

impl<P: RunStore + JobStore + ArtifactStore + WorkerRegistry> Queries<'_, P> {
    /// Returns the definition of a workflow, as submitted.
    ///
    /// # Errors
    /// [`EngineError::WorkflowNotFound`].
    pub async fn definition(self, id: &WorkflowId) -> Result<Source> {
        let workflow = self.engine.records().workflow_record(id).await?;
        let source = self.engine.ports.definition(&workflow.run).await?;
        source.ok_or_else(|| EngineError::WorkflowNotFound(id.clone()))
    }

    /// Returns a workflow with its current run.
    ///
    /// # Errors
    /// [`EngineError::WorkflowNotFound`].
    pub async fn workflow(self, id: &WorkflowId) -> Result<Workflow> {
        let record = self.engine.records().workflow_record(id).await?;
        self.assemble(record, Detail::Full).await
    }

    /// Returns workflows, newest first, optionally only those with `status`.
    ///
    /// The page ends before the response would exceed [`limits::ANSWER`].
    pub async fn workflows(
        self,
        mut after: Option<ListCursor>,
        limit: usize,
        skip: usize,
        status: Option<Status>,
    ) -> Result<WorkflowPage> {
        let mut workflows = Vec::new();
        let mut skip = skip;
        let mut size = 0;
        loop {
            let page = self.engine.ports.workflows(after.as_ref(), limit.clamp(1, 100)).await?;
            if page.is_empty() {
                return Ok(WorkflowPage { workflows, next: None });
            }
            for record in page {
                let cursor = ListCursor { created_at: record.created_at, id: record.id.clone() };
                if status.is_some() && status != Some(self.status_of(&record).await?) {
                    after = Some(cursor);
                    continue;
                }
                if skip > 0 {
                    skip -= 1;
                    after = Some(cursor);
                    continue;
                }
                let workflow = match self.assemble(record, Detail::Listed).await {
                    // The workflow was deleted after the list was read.
                    Err(EngineError::WorkflowNotFound(_)) => {
                        after = Some(cursor);
                        continue;
                    }
                    assembled => assembled?,
                };
                size += json_size(&workflow);
                if workflows.len() == limit || (size > limits::ANSWER * 4 / 5 && !workflows.is_empty()) {
                    return Ok(WorkflowPage { workflows, next: after });
                }
                workflows.push(workflow);
                after = Some(cursor);
            }
        }
    }

    async fn status_of(self, record: &WorkflowRecord) -> Result<Status> {
        if let Some(end) = record.ended {
            return Ok(end.status);
        }
        let control = self.engine.ports.control(&record.run, Consistency::Eventual).await?;
        Ok(open_status(control.map(|control| control.state)))
    }

    async fn assemble(self, record: WorkflowRecord, detail: Detail) -> Result<Workflow> {
        let control = self.engine.ports.control(&record.run, Consistency::Strong).await?;
        let control = control.ok_or_else(|| EngineError::WorkflowNotFound(record.id.clone()))?;
        let mut records = self.engine.records().all_jobs(&record.run, Consistency::Eventual).await?;
        if records.len() != control.jobs as usize {
            records = self.engine.records().all_jobs(&record.run, Consistency::Strong).await?;
        }
        let specs = self.engine.records().specs_of(&record.run, &records).await;
        let specs = self.engine.records().unless_deleted(&record, specs).await?;
        let waits = records.iter().any(|job| matches!(job.phase, Phase::Ready { .. }));
        let online = if waits && detail == Detail::Full { self.engine.workers().online().await? } else { Vec::new() };
        let ids: HashMap<JobIndex, &JobRecord> = records.iter().map(|job| (job.key.index, job)).collect();
        let view = View { control: &control, jobs: &ids, online: &online, detail, now: self.engine.now() };
        let mut jobs: Vec<(u32, Job)> =
            records.iter().zip(&specs).map(|(job, spec)| (spec.position, view.job(job, spec))).collect();
        if detail == Detail::Full {
            let filled = self.fill_outputs(&records, &mut jobs).await;
            self.engine.records().unless_deleted(&record, filled).await?;
        }
        jobs.sort_by_key(|(place, _)| *place);
        let status = record.ended.map_or_else(|| open_status(Some(control.state)), |end| end.status);
        Ok(Workflow {
            id: record.id,
            name: record.name,
            trigger: record.trigger,
            jobs: jobs.into_iter().map(|(_, job)| job).collect(),
            status,
            run: record.number,
            created_at_ms: record.created_at,
            started_at_ms: control.opened_at,
            finished_at_ms: record.ended.map(|end| end.at),
        })
    }

    /// Reads small external outputs into `jobs`, which has the order of `records`.
    async fn fill_outputs(self, records: &[JobRecord], jobs: &mut [(u32, Job)]) -> Result<()> {
        let small = |job: &JobRecord| matches!(job.outputs(), Some(OutputsRef::External { size, .. }) if *size <= limits::OUTPUTS_IN_STATUS);
        let places: Vec<usize> = (0..records.len()).filter(|&at| small(&records[at])).collect();
        for page in places.chunks(16) {
            let outputs = try_join_all(page.iter().map(|&at| self.engine.records().outputs_of(&records[at]))).await?;
            for (&at, outputs) in page.iter().zip(outputs) {
                jobs[at].1.outputs = outputs;
                jobs[at].1.outputs_truncated = false;
            }
        }
        Ok(())
    }

    /// Returns true if a worker should stop a job of this workflow.
    ///
    /// # Errors
    /// [`EngineError::WorkflowNotFound`], [`EngineError::NoJob`].
    pub async fn is_cancelled(self, workflow: &WorkflowId, id: &JobId) -> Result<bool> {
        let job = self.engine.records().job_by_id(workflow, id).await?;
        if job.is_ended() {
            return Ok(job.status() == Status::Cancelled);
        }
        let control = self.engine.records().control_surely(&job.key.run).await?;
        Ok(control.is_none_or(|control| control.state == RunState::Cancelling))
    }

    /// Returns all outputs of a job. Returns `{}` if the job didn't succeed, gave no outputs, or succeeded in an
    /// attempt other than `attempt`.
    ///
    /// # Errors
    /// [`EngineError::WorkflowNotFound`], [`EngineError::NoJob`].
    pub async fn outputs(self, workflow: &WorkflowId, id: &JobId, attempt: Option<u32>) -> Result<Outputs> {
        let job = self.engine.records().job_by_id(workflow, id).await?;
        if attempt.is_some_and(|attempt| attempt != job.attempt) {
            return Ok(Outputs::new());
        }
        self.engine.records().outputs_of(&job).await
    }
}

fn open_status(state: Option<RunState>) -> Status {
    if state == Some(RunState::New) { Status::Queued } else { Status::Running }
}

fn json_size(workflow: &Workflow) -> usize {
    serde_json::to_vec(workflow).map_or(0, |json| json.len())
}

/// The data needed to show the jobs of a run.
struct View<'a> {
    control: &'a Control,
    jobs: &'a HashMap<JobIndex, &'a JobRecord>,
    online: &'a [OnlineWorker],
    detail: Detail,
    now: Millis,
}

impl View<'_> {
    fn job(&self, job: &JobRecord, spec: &JobSpec) -> Job {
        let (finished_at, exit_code) = match &job.phase {
            Phase::Ended(ending) => {
                let code = match ending.outcome {
                    JobOutcome::Failure { exit_code } => exit_code,
                    JobOutcome::Success(_) if ending.lease.is_some() => Some(0),
                    _ => None,
                };
                (Some(ending.at), code)
            }
            _ => (None, None),
        };
        let started_at = job.lease().map(|lease| lease.started_at);
        let outputs = match job.outputs() {
            Some(OutputsRef::Inline(outputs)) => outputs.clone(),
            _ => Outputs::new(),
        };
        let failed = job.status() == Status::Failure;
        Job {
            id: job.id.clone(),
            name: spec.name.clone(),
            status: job.status(),
            command: spec.script.clone(),
            depends_on: self.ids(&spec.needs),
            required_labels: spec.labels.clone(),
            secrets: spec.secrets.clone(),
            max_retries: spec.retry.max,
            attempt: job.attempt,
            attempts: job.failed.clone(),
            duration_secs: started_at.map(|at| finished_at.unwrap_or(self.now).since(at).as_secs()),
            started_at,
            output: job.error.clone().filter(|_| failed),
            metadata: spec.passthrough.metadata.clone(),
            ports: spec.passthrough.ports.clone(),
            children: spec.passthrough.children.clone(),
            collapsed: spec.passthrough.collapsed.clone(),
            waiting_for: self.waiting_for(job, spec),
            outputs,
            outputs_truncated: matches!(job.outputs(), Some(OutputsRef::External { .. })),
            worker_id: job.lease().map(|lease| lease.worker.clone()),
            exit_code,
            error: job.error.clone(),
            finished_at_ms: finished_at,
        }
    }

    fn ids(&self, indexes: &[JobIndex]) -> Vec<JobId> {
        indexes.iter().filter_map(|index| self.jobs.get(index)).map(|job| job.id.clone()).collect()
    }

    fn waiting_for(&self, job: &JobRecord, spec: &JobSpec) -> Option<WaitingFor> {
        if self.control.state != RunState::Open || self.detail == Detail::Listed {
            return None;
        }
        let queued = match &job.phase {
            Phase::Waiting { .. } => {
                let undone =
                    |index: &&JobIndex| self.jobs.get(*index).is_none_or(|need| need.status() != Status::Success);
                let needs: Vec<JobIndex> = spec.needs.iter().filter(undone).copied().collect();
                if needs.is_empty() {
                    // The write that makes the job ready is in progress.
                    return None;
                }
                Queued::Waiting { needs: self.ids(&needs), since: self.control.opened_at.unwrap_or_default() }
            }
            Phase::Ready { at, .. } => Queued::Ready { at: *at },
            _ => return None,
        };
        Some(why::waiting_for(queued, &spec.labels, self.online, self.now))
    }
}
