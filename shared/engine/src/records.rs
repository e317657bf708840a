//! Reads of stored records that several use cases share.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use futures::TryFutureExt;
use protocol::{JobId, Outputs, WorkflowId};

use crate::Records;
use crate::cache::Cache;
use crate::error::{EngineError, Result};
use crate::ids::{JobIndex, JobKey, LeaseToken, RunKey};
use crate::job::{JobRecord, JobSpec, LeaseRecord, OutputsRef};
use crate::ports::{ArtifactStore, Consistency, JobStore, RunStore, StoreError, Stored};
use crate::run::{Control, WorkflowRecord};

/// Jobs that a read of a page asks for, unless the pages grow. A store returns fewer.
const PAGE: usize = 1000;
/// How much larger each next page is, if the pages grow.
const GROWTH: usize = 8;
/// Specs read in one call.
const SPECS: usize = 100;
/// Runs whose job ids are cached, so that a lookup by id reads one record.
const RUNS_CACHED: usize = 32;

/// The index of each job id, by run. It never changes within a run.
pub(crate) type NamesCache = Cache<RunKey, Arc<HashMap<JobId, JobIndex>>>;

pub(crate) fn names_cache() -> NamesCache {
    Cache::new(Duration::MAX, RUNS_CACHED)
}

/// Reads eventually, and strongly if that finds nothing.
pub(crate) async fn surely<T, F>(read: impl Fn(Consistency) -> F) -> Result<Option<T>>
where
    F: Future<Output = Stored<Option<T>>>,
{
    match read(Consistency::Eventual).await? {
        Some(found) => Ok(Some(found)),
        None => Ok(read(Consistency::Strong).await?),
    }
}

/// A run's jobs in index order, read page by page.
pub(crate) struct Forward<'a, P> {
    ports: &'a P,
    run: &'a RunKey,
    how: Consistency,
    next: JobIndex,
    /// The number of jobs that the next read asks for.
    most: usize,
    page: vec::IntoIter<JobRecord>,
}

impl<'a, P: JobStore> Records<'a, P> {
    /// Reads the jobs of a run, starting at `from`.
    pub(crate) fn forward(self, run: &'a RunKey, from: JobIndex, how: Consistency) -> Forward<'a, P> {
        Forward { ports: &self.engine.ports, run, how, next: from, most: PAGE, page: Vec::new().into_iter() }
    }

    /// As [`Self::forward`], for a caller that expects to need few jobs: the first read asks for one, each next read for
    /// more.
    pub(crate) fn forward_from_few(self, run: &'a RunKey, from: JobIndex, how: Consistency) -> Forward<'a, P> {
        Forward { most: 1, ..self.forward(run, from, how) }
    }
}

impl<P: JobStore> Records<'_, P> {
    /// Returns all jobs of a run, in index order.
    pub(crate) async fn all_jobs(self, run: &RunKey, how: Consistency) -> Result<Vec<JobRecord>> {
        let mut jobs = Vec::new();
        let mut forward = self.forward(run, 0, how);
        while let Some(job) = forward.next().await? {
            jobs.push(job);
        }
        Ok(jobs)
    }

    /// Returns a job. Reads strongly if an eventual read doesn't find it.
    pub(crate) async fn job_surely(self, key: &JobKey) -> Result<Option<JobRecord>> {
        surely(|how| self.engine.ports.job(key, how)).await
    }

    /// Returns a job's spec, from its record or from where it is stored apart.
    pub(crate) async fn spec(self, record: &JobRecord) -> Result<Cow<'_, JobSpec>> {
        if let Some(spec) = &record.spec {
            return Ok(Cow::Borrowed(spec));
        }
        let found = self.engine.ports.specs(&record.key.run, &[record.key.index]).await?.pop();
        Ok(Cow::Owned(found.ok_or_else(|| no_spec(record))?))
    }

    /// Returns the specs of these jobs, in their order.
    pub(crate) async fn specs_of(self, run: &RunKey, records: &[JobRecord]) -> Result<Vec<JobSpec>> {
        let apart: Vec<JobIndex> = records.iter().filter(|job| job.spec.is_none()).map(|job| job.key.index).collect();
        let mut read = HashMap::new();
        for page in apart.chunks(SPECS) {
            read.extend(page.iter().copied().zip(self.engine.ports.specs(run, page).await?));
        }
        let spec = |job: &JobRecord| match &job.spec {
            Some(spec) => Ok(spec.as_ref().clone()),
            None => read.remove(&job.key.index).ok_or_else(|| no_spec(job)),
        };
        Ok(records.iter().map(spec).collect::<Result<_, _>>()?)
    }

    /// Adds a fact about each of these jobs to `known`, unless it is there. Reads strongly.
    pub(crate) async fn look_up<T: Send>(
        self,
        run: &RunKey,
        indexes: &[JobIndex],
        known: &mut HashMap<JobIndex, T>,
        fact: impl Fn(Option<JobRecord>) -> T + Send,
    ) -> Result<()> {
        let unknown: Vec<JobIndex> = indexes.iter().copied().filter(|index| !known.contains_key(index)).collect();
        for page in unknown.chunks(100) {
            let records = self.engine.ports.jobs_at(run, page, Consistency::Strong).await?;
            known.extend(page.iter().copied().zip(records.into_iter().map(&fact)));
        }
        Ok(())
    }

    /// Returns the job and its lease, if the job runs under this lease. Reads strongly if an eventual read doesn't show
    /// that.
    pub(crate) async fn held(self, token: &LeaseToken) -> Result<Option<(JobRecord, LeaseRecord)>> {
        let held = |job: Option<JobRecord>| {
            let job = job.filter(|job| job.is_running_under(&token.fence()))?;
            let lease = job.lease()?.clone();
            Some((job, lease))
        };
        surely(|how| self.engine.ports.job(&token.job, how).map_ok(held)).await
    }
}

fn no_spec(job: &JobRecord) -> StoreError {
    StoreError::Corrupt(format!("job {} has no spec", job.key))
}

impl<P: RunStore> Records<'_, P> {
    /// Reads the workflow strongly.
    pub(crate) async fn workflow_record(self, id: &WorkflowId) -> Result<WorkflowRecord> {
        let found = self.engine.ports.workflow(id, Consistency::Strong).await?;
        found.ok_or_else(|| EngineError::WorkflowNotFound(id.clone()))
    }

    /// Returns a run's control record. Reads strongly if an eventual read doesn't find it, because the run may be new.
    pub(crate) async fn control_surely(self, run: &RunKey) -> Result<Option<Control>> {
        surely(|how| self.engine.ports.control(run, how)).await
    }

    /// Returns true if the error was caused by the concurrent deletion of the run.
    pub(crate) async fn is_deleted(self, run: &RunKey, error: &EngineError) -> Result<bool> {
        let missing = matches!(error, EngineError::Store(StoreError::Corrupt(_)));
        Ok(missing && self.engine.ports.control(run, Consistency::Strong).await?.is_none())
    }

    /// Returns `found`, or [`EngineError::WorkflowNotFound`] if the workflow was deleted concurrently.
    pub(crate) async fn unless_deleted<T: Send>(self, workflow: &WorkflowRecord, found: Result<T>) -> Result<T> {
        match found {
            Err(error) if self.is_deleted(&workflow.run, &error).await? => {
                Err(EngineError::WorkflowNotFound(workflow.id.clone()))
            }
            found => found,
        }
    }
}

impl<P: ArtifactStore> Records<'_, P> {
    /// Returns a job's outputs, inline or external. Returns `{}` if the job gave none.
    pub(crate) async fn outputs_of(self, job: &JobRecord) -> Result<Outputs> {
        match job.outputs() {
            None => Ok(Outputs::new()),
            Some(OutputsRef::Inline(outputs)) => Ok(outputs.clone()),
            Some(OutputsRef::External { id, size }) => {
                let outputs = surely(|how| self.engine.ports.outputs(&job.key, id, *size, how)).await?;
                let missing = || StoreError::Corrupt(format!("the outputs of job {} are missing", job.key));
                Ok(outputs.ok_or_else(missing)?)
            }
        }
    }
}

impl<P: RunStore + JobStore> Records<'_, P> {
    /// Returns a job of a workflow's current run by its id.
    pub(crate) async fn job_by_id(self, workflow: &WorkflowId, id: &JobId) -> Result<JobRecord> {
        self.job_of(&self.workflow_record(workflow).await?, id).await
    }

    /// Returns a job of a workflow's current run, as of this record.
    pub(crate) async fn job_of(self, record: &WorkflowRecord, id: &JobId) -> Result<JobRecord> {
        let no_job = || EngineError::NoJob { workflow: record.id.clone(), job: id.clone() };
        let names = match self.engine.caches.names.get(&record.run, self.engine.now()) {
            Some(names) => names,
            None => self.read_names(&record.run).await?,
        };
        let index = *names.get(id).ok_or_else(no_job)?;
        let found = self.engine.ports.jobs_at(&record.run, &[index], Consistency::Strong).await?.pop();
        found.flatten().ok_or_else(no_job)
    }

    pub(crate) async fn read_names(self, run: &RunKey) -> Result<Arc<HashMap<JobId, JobIndex>>> {
        let jobs = self.all_jobs(run, Consistency::Strong).await?;
        let names: Arc<HashMap<_, _>> = Arc::new(jobs.into_iter().map(|job| (job.id, job.key.index)).collect());
        self.engine.caches.names.insert(run.clone(), Arc::clone(&names), self.engine.now());
        Ok(names)
    }
}

impl<P: JobStore> Forward<'_, P> {
    /// Returns the next job, or `None` after the last.
    pub(crate) async fn next(&mut self) -> Stored<Option<JobRecord>> {
        if self.page.len() == 0 {
            self.page = self.ports.jobs_from(self.run, self.next, self.most, self.how).await?.into_iter();
            self.most = (self.most * GROWTH).min(PAGE);
        }
        let job = self.page.next();
        if let Some(job) = &job {
            self.next = job.key.index + 1;
        }
        Ok(job)
    }

    /// Returns up to `most` of the next jobs, or none after the last.
    pub(crate) async fn some(&mut self, most: usize) -> Stored<Vec<JobRecord>> {
        let mut some = Vec::with_capacity(most);
        while some.len() < most
            && let Some(job) = self.next().await?
        {
            some.push(job);
        }
        Ok(some)
    }
}
