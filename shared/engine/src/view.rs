//! Workflows and jobs as the API shows them.

pub mod changes;
pub mod graph;
mod one_job;
pub mod summary;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::future::try_join_all;
use protocol::wire::{InputValues, Job, SkippedBecause, WaitingFor, Workflow};
use protocol::{JobId, Millis, Outputs, Status, WorkerId, WorkflowId, limits};

use crate::Queries;
use crate::cache::Cache;
use crate::error::{EngineError, Result};
use crate::group_view::GroupQueue;
use crate::ids::{GroupKey, JobIndex, PoolId, Unit};
use crate::job::{Completion, JobOutcome, JobRecord, JobSpec, NeedResult, OutputsRef, Phase};
use crate::plan::{self, Planned};
use crate::planted::Bug;
use crate::ports::{
    ArtifactStore, Consistency, JobStore, ListCursor, NewItem, RunStore, Source, Stored, WorkerRegistry,
};
use crate::run::{Control, RunState, WorkflowRecord};
use crate::why::{self, PoolWorkers, Queued};

/// A page of the list of workflows.
#[derive(Clone, Debug)]
pub struct WorkflowPage {
    /// Newest first.
    pub workflows: Vec<Workflow>,
    /// The cursor of the next page.
    pub next: Option<ListCursor>,
    /// The number of workflows that the next page must still skip.
    pub skip: usize,
}

/// Whether the store could be written.
pub(crate) type WritableCache = Cache<(), Stored<()>>;

pub(crate) fn writable_cache() -> WritableCache {
    Cache::new(Duration::from_secs(1), 1)
}

/// The jobs that the job of `on_failure` is shown to wait for, at most.
const UNDONE_NAMED: usize = 100;

/// The workers that gave back a job that nobody gave back.
static NOBODY: BTreeMap<WorkerId, Millis> = BTreeMap::new();

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

    /// Checks that the store can be written. The answer may be a second old.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn check_writable(self) -> Result<()> {
        let (cache, now) = (&self.engine.caches.writable, self.engine.now());
        if let Some(known) = cache.get(&(), now) {
            return Ok(known?);
        }
        let found = self.engine.ports.check_writable().await;
        cache.insert((), found.clone(), now);
        Ok(found?)
    }

    /// Returns a workflow with its current run.
    ///
    /// # Errors
    /// [`EngineError::WorkflowNotFound`].
    pub async fn workflow(self, id: &WorkflowId) -> Result<Workflow> {
        let record = self.engine.records().workflow_record(id).await?;
        self.assemble(record, Detail::Full).await
    }

    /// As [`Self::workflow`], without what jobs wait for, outputs that are stored apart, and the run's inputs.
    pub(crate) async fn states_of(self, id: &WorkflowId) -> Result<Workflow> {
        let record = self.engine.records().workflow_record(id).await?;
        self.assemble(record, Detail::Listed).await
    }

    /// Returns workflows, newest first, after the first `skip` ones, optionally only those with `status`.
    ///
    /// The page ends before the response would exceed [`limits::ANSWER`], and after [`limits::LIST_SCAN`] workflows with
    /// another status. Then it may have fewer than `limit` workflows, or none, although more follow.
    pub async fn workflows(
        self,
        mut after: Option<ListCursor>,
        limit: usize,
        mut skip: usize,
        status: Option<Status>,
    ) -> Result<WorkflowPage> {
        let mut workflows = Vec::new();
        let (mut size, mut passed) = (0, 0);
        while passed < limits::LIST_SCAN {
            let page = self.engine.ports.workflows(after.as_ref(), limit.clamp(1, 100)).await?;
            if page.is_empty() {
                return Ok(WorkflowPage { workflows, next: None, skip: 0 });
            }
            let wanted = try_join_all(page.iter().map(|record| self.has_status(record, status))).await?;
            for (record, wanted) in page.into_iter().zip(wanted) {
                let cursor = ListCursor { created_at: record.created_at, id: record.id.clone() };
                if !wanted {
                    passed += 1;
                } else if skip > 0 {
                    skip -= 1;
                } else if let Some(workflow) = self.listed(record, status).await? {
                    size += json_size(&workflow);
                    if workflows.len() == limit || (size > limits::ANSWER * 4 / 5 && !workflows.is_empty()) {
                        return Ok(WorkflowPage { workflows, next: after, skip });
                    }
                    workflows.push(workflow);
                }
                after = Some(cursor);
            }
        }
        Ok(WorkflowPage { workflows, next: after, skip })
    }

    async fn has_status(self, record: &WorkflowRecord, status: Option<Status>) -> Result<bool> {
        let Some(status) = status else { return Ok(true) };
        let control = match record.ended {
            Some(_) => None,
            None => self.engine.ports.control(&record.run, Consistency::Eventual).await?,
        };
        Ok(status_of(record, control.as_ref()) == status)
    }

    /// Returns a workflow as lists show it, or `None` if it was deleted or changed its status after the list was read.
    async fn listed(self, record: WorkflowRecord, status: Option<Status>) -> Result<Option<Workflow>> {
        match self.assemble(record, Detail::Listed).await {
            Err(EngineError::WorkflowNotFound(_)) => Ok(None),
            assembled => Ok(Some(assembled?).filter(|workflow| status.is_none_or(|status| status == workflow.status))),
        }
    }

    async fn assemble(self, record: WorkflowRecord, detail: Detail) -> Result<Workflow> {
        let control = self.engine.ports.control(&record.run, Consistency::Strong).await?;
        let control = control.ok_or_else(|| EngineError::WorkflowNotFound(record.id.clone()))?;
        let record = self.with_end(record, &control).await?;
        let mut records = self.engine.records().all_jobs(&record.run, Consistency::Eventual).await?;
        // An eventual read may lag behind the control record.
        let over = control.state == RunState::Final;
        let stale = records.len() != control.jobs as usize || (over && !records.iter().all(JobRecord::is_ended));
        if stale || self.engine.has(Bug::StatusReadsTwice) {
            records = self.engine.records().all_jobs(&record.run, Consistency::Strong).await?;
        }
        let specs = self.engine.records().specs_of(&record.run, &records).await;
        let specs = self.engine.records().unless_deleted(&record, specs).await?;
        let is_ready = |job: &JobRecord| matches!(job.phase, Phase::Ready { .. });
        let waits = detail == Detail::Full && control.state == RunState::Open && records.iter().any(is_ready);
        let online = if waits { self.engine.workers().online().await? } else { Vec::new() };
        let ids: HashMap<JobIndex, &JobRecord> = records.iter().map(|job| (job.key.index, job)).collect();
        let mut pools = HashMap::new();
        for (job, spec) in records.iter().zip(&specs).filter(|(job, _)| waits && is_ready(job)) {
            pools.entry(&job.pool).or_insert_with(|| PoolWorkers::of(&spec.labels, &online));
        }
        let groups = match detail {
            Detail::Full => self.group_queues(&control, &records).await?,
            Detail::Listed => HashMap::new(),
        };
        let view =
            View { control: &control, jobs: &ids, pools: &pools, groups: &groups, detail, now: self.engine.now() };
        let waiting_for = view.run_waits_for();
        let mut jobs: Vec<(u32, Job)> =
            records.iter().zip(&specs).map(|(job, spec)| (spec.position, view.job(job, spec))).collect();
        if detail == Detail::Full {
            let filled = self.fill_outputs(&records, &mut jobs).await;
            self.engine.records().unless_deleted(&record, filled).await?;
        }
        let inputs = match specs.first() {
            Some(spec) if spec.has_inputs && detail == Detail::Full => self.engine.ports.inputs(&control.run).await?,
            _ => None,
        };
        Ok(Workflow { inputs: inputs.unwrap_or_default(), waiting_for, ..workflow(record, &control, jobs) })
    }

    /// Reads the workflow's record again if its run ended after it was read. Otherwise an ended workflow would have no end
    /// time. A record that names a newer run is not used.
    async fn with_end(self, record: WorkflowRecord, control: &Control) -> Result<WorkflowRecord> {
        if control.state != RunState::Final || record.ended.is_some() {
            return Ok(record);
        }
        let now = self.engine.records().workflow_record(&record.id).await?;
        Ok(if now.run == record.run { now } else { record })
    }

    /// Reads small external outputs into `jobs`, which has the order of `records`.
    async fn fill_outputs(self, records: &[JobRecord], jobs: &mut [(u32, Job)]) -> Result<()> {
        let small = |job: &JobRecord| matches!(job.outputs(), Some(OutputsRef::External { size, .. }) if *size <= limits::OUTPUTS_IN_STATUS);
        let indexes: Vec<usize> = (0..records.len()).filter(|&at| small(&records[at])).collect();
        for page in indexes.chunks(16) {
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
        let control = self.engine.ports.control(&job.key.run, Consistency::Strong).await?;
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

impl<P> Queries<'_, P> {
    /// Returns a workflow as it was committed, without reading it back.
    pub(crate) fn committed(self, record: WorkflowRecord, control: &Control, planned: &[Planned]) -> Workflow {
        let now = self.engine.now();
        let items = plan::records(&control.run, planned, usize::MAX, now);
        let records = items.into_iter().filter_map(|item| if let NewItem::Job(job) = item { Some(*job) } else { None });
        let records: Vec<JobRecord> = records.collect();
        let ids = records.iter().map(|job| (job.key.index, job)).collect();
        let groups = HashMap::new();
        let view = View { control, jobs: &ids, pools: &HashMap::new(), groups: &groups, detail: Detail::Full, now };
        let waiting_for = view.run_waits_for();
        let jobs =
            records.iter().zip(planned).map(|(job, planned)| (planned.spec.position, view.job(job, &planned.spec)));
        Workflow { waiting_for, ..workflow(record, control, jobs.collect()) }
    }
}

/// Builds a workflow from its records. Sorts the jobs by their position in the definition.
fn workflow(record: WorkflowRecord, control: &Control, mut jobs: Vec<(u32, Job)>) -> Workflow {
    jobs.sort_by_key(|(position, _)| *position);
    Workflow {
        status: status_of(&record, Some(control)),
        id: record.id,
        name: record.name,
        trigger: record.trigger,
        jobs: jobs.into_iter().map(|(_, job)| job).collect(),
        run: record.number,
        created_at_ms: record.created_at,
        started_at_ms: control.opened_at,
        finished_at_ms: record.ended.map(|end| end.at),
        waiting_for: None,
        inputs: InputValues::new(),
        source: record.source,
        superseded: control.superseded,
        truncated: false,
    }
}

fn status_of(record: &WorkflowRecord, control: Option<&Control>) -> Status {
    match (record.ended, control) {
        (Some(end), _) => end.status,
        (None, Some(Control { state: RunState::New | RunState::Blocked, .. })) => Status::Queued,
        // The workflow's record was read before the run ended.
        (None, Some(control)) if control.state == RunState::Final => control.progress().status(),
        (None, _) => Status::Running,
    }
}

fn json_size(workflow: &Workflow) -> usize {
    serde_json::to_vec(workflow).map_or(0, |json| json.len())
}

/// The data needed to show the jobs of a run.
struct View<'a> {
    control: &'a Control,
    jobs: &'a HashMap<JobIndex, &'a JobRecord>,
    pools: &'a HashMap<&'a PoolId, PoolWorkers<'a>>,
    groups: &'a HashMap<GroupKey, GroupQueue>,
    detail: Detail,
    now: Millis,
}

impl View<'_> {
    fn job(&self, job: &JobRecord, spec: &JobSpec) -> Job {
        let (finished_at, exit_code) = match &job.phase {
            Phase::Ended(ending) => {
                let code = match ending.outcome {
                    JobOutcome::Failure { exit_code } => exit_code,
                    JobOutcome::Skipped(SkippedBecause::Exit) if ending.lease.is_some() => {
                        spec.skip_exit.map(i32::from)
                    }
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
            status: self.status(job),
            command: spec.script.clone(),
            depends_on: self.ids(&spec.needs),
            condition: spec.condition,
            allow_failure: spec.allow_failure,
            skipped_because: match &job.phase {
                Phase::Ended(Completion { outcome: JobOutcome::Skipped(because), .. }) => Some(because.clone()),
                _ => None,
            },
            required_labels: spec.labels.clone(),
            secrets: spec.secrets.clone(),
            matrix: spec.matrix.clone(),
            concurrency: spec.concurrency.clone(),
            max_retries: spec.retry.max,
            attempt: job.attempt,
            returned: job.used.returned,
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

    /// The status to show. A job that had not started when its run was cancelled never starts, even if its record
    /// does not say so yet.
    fn status(&self, job: &JobRecord) -> Status {
        match job.status() {
            Status::Queued if self.control.state == RunState::Cancelling => Status::Cancelled,
            status => status,
        }
    }

    fn ids(&self, indexes: &[JobIndex]) -> Vec<JobId> {
        indexes.iter().filter_map(|index| self.jobs.get(index)).map(|job| job.id.clone()).collect()
    }

    /// What the run waits for, if it waits for its turn.
    fn run_waits_for(&self) -> Option<WaitingFor> {
        let (group, since) = (self.control.group.as_ref()?, self.control.blocked_at?);
        if self.control.state != RunState::Blocked || self.detail == Detail::Listed {
            return None;
        }
        let unit = Unit::Run(self.control.run.clone());
        let queue = self.groups.get(&group.key).map(|queue| queue.ahead_of(&unit, since)).unwrap_or_default();
        Some(why::waiting_for(Queued::Blocked { since, group: group.shown.clone(), queue }, self.now))
    }

    /// The jobs that a waiting job waits for. For the job of `on_failure`, some of those that have not ended.
    fn undone(&self, job: &JobRecord, spec: &JobSpec) -> Vec<JobIndex> {
        let is = |index: JobIndex, done: fn(&JobRecord) -> bool| self.jobs.get(&index).is_some_and(|need| done(need));
        if job.waits_for_run() {
            let all = 0..self.control.jobs.saturating_sub(1);
            return all.filter(|&index| !is(index, JobRecord::is_ended)).take(UNDONE_NAMED).collect();
        }
        let done = if job.needs_success() {
            |need: &JobRecord| need.need_result() == Some(NeedResult::Passed)
        } else {
            JobRecord::is_ended
        };
        spec.needs.iter().copied().filter(|&index| !is(index, done)).collect()
    }

    fn waiting_for(&self, job: &JobRecord, spec: &JobSpec) -> Option<WaitingFor> {
        if self.control.state != RunState::Open || self.detail == Detail::Listed {
            return None;
        }
        let queued = match &job.phase {
            Phase::Waiting { .. } => {
                // Empty while the write that makes the job ready is in progress.
                let needs = self.undone(job, spec);
                Queued::Waiting { needs: self.ids(&needs), since: self.control.opened_at.unwrap_or_default() }
            }
            Phase::Blocked { at } => {
                let queue = self.groups.get(&job.group_key()?);
                let queue = queue.map(|queue| queue.ahead_of(&Unit::Job(job.key.clone()), *at)).unwrap_or_default();
                Queued::Blocked { since: *at, group: job.group.as_ref()?.to_string(), queue }
            }
            Phase::Ready { at, .. } => {
                let returned_by = job.returned.as_ref().map_or(&NOBODY, |returned| &returned.by);
                Queued::Ready { at: *at, returned_by, workers: self.pools.get(&job.pool)? }
            }
            _ => return None,
        };
        Some(why::waiting_for(queued, self.now))
    }
}
