//! Batch tasks: operations on many jobs of a run, in batches of bounded size. A batch can be repeated, also from its
//! start.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::try_join_all;
use protocol::Millis;
use protocol::wire::SkippedBecause;

use crate::Scheduling;
use crate::error::{EngineError, Result};
use crate::ids::{JobIndex, JobKey, RunKey};
use crate::job::{Change, End, JobOutcome, JobRecord, JobUpdate, NeedResult, Phase, Precondition};
use crate::messages::{BatchKind, BatchTask};
use crate::planted::Bug;
use crate::ports::{Consistency, Dispatcher, JobStore, RunStore, WorkerRegistry};
use crate::run::RunState;

/// A batch ends after this time or after [`crate::Tuning::batch_writes`] writes, and queues the next batch.
const TIME: Duration = Duration::from_secs(10);

/// A task ends with an error after this many batches. The tasks continue themselves through a queue, and no service
/// stops a task that would never end. At [`crate::Tuning::batch_writes`] writes each, no task of a run needs as many,
/// except the deletion of millions of log records.
const BATCHES: u32 = 10_000;

/// Jobs updated concurrently. Each update is one write of one record; sequential writes would take most of the time.
const AT_ONCE: usize = 32;

/// The writes that a job of a group takes more than another: its place, the holder, one more change, and the removal of its place.
const GROUP_WRITES: usize = 4;

/// The progress of a batch.
struct Budget {
    writes: usize,
    began: Millis,
}

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// Runs one batch of a task. Queues the next batch if work remains.
    ///
    /// # Errors
    /// [`EngineError::EndlessTask`] if the task has run 10,000 batches. Nothing was done then.
    pub async fn run_batch(self, batch: BatchTask) -> Result<()> {
        if batch.batches >= BATCHES {
            return Err(EngineError::EndlessTask { batches: batch.batches, kind: batch.kind, run: batch.run });
        }
        let mut budget = Budget { writes: 0, began: self.engine.now() };
        let next = match &batch.kind {
            BatchKind::Roots => self.batch_roots(&batch, &mut budget).await?,
            BatchKind::Dependents { of } => self.batch_dependents(&batch, *of, &mut budget).await?,
            BatchKind::Skip => self.batch_skip(&batch, &mut budget).await?,
            BatchKind::Cancel => self.batch_cancel(&batch, &mut budget).await?,
            BatchKind::Admit { group } => self.admit_some(group).await?.then_some(batch.from),
            BatchKind::Delete { jobs } => {
                let more = self.engine.ports.delete_some(&batch.run, *jobs).await?;
                more.then_some(batch.from)
            }
        };
        if let Some(from) = next {
            self.engine.timers().ask_for(BatchTask { from, batches: batch.batches + 1, ..batch }).await?;
        }
        Ok(())
    }

    fn spent(self, budget: &Budget) -> bool {
        let counted = !self.engine.has(Bug::WritesNotCounted);
        (counted && budget.writes >= self.engine.tuning.batch_writes) || self.engine.now().since(budget.began) >= TIME
    }

    /// The number of jobs updated concurrently next, so that the batch ends near its number of writes.
    fn left(self, budget: &Budget) -> usize {
        self.engine.tuning.batch_writes.saturating_sub(budget.writes).clamp(1, AT_ONCE)
    }

    async fn state(self, run: &RunKey) -> Result<Option<RunState>> {
        Ok(self.engine.ports.control(run, Consistency::Strong).await?.map(|control| control.state))
    }

    async fn batch_roots(self, batch: &BatchTask, budget: &mut Budget) -> Result<Option<JobIndex>> {
        if self.state(&batch.run).await? != Some(RunState::Open) {
            return Ok(None);
        }
        // A re-run that keeps every job has no job to start. Nothing else would close such a run.
        self.for_each_job(batch, budget, |job| self.start_root(job)).await
    }

    /// Makes a job ready if it has no unmet needs. Returns the number of writes.
    async fn start_root(self, job: JobRecord) -> Result<usize> {
        match &job.phase {
            Phase::Waiting { .. } if job.waits_for_run() && !self.engine.has(Bug::HandlerAtOnce) => Ok(0),
            Phase::Waiting { on } if on.is_empty() => {
                self.decide(&job, job.need_failed).await?;
                Ok(if job.group.is_some() { 1 + GROUP_WRITES } else { 1 })
            }
            Phase::Ready { .. } | Phase::Blocked { .. } => self.dispatch_or_place(&job).await.map(|()| 0),
            _ => Ok(0),
        }
    }

    async fn batch_cancel(self, batch: &BatchTask, budget: &mut Budget) -> Result<Option<JobIndex>> {
        let cancel = |job: JobRecord| async move {
            if job.is_ended() {
                return Ok(0);
            }
            self.end_if(&job, Precondition::NotEnded, JobOutcome::Cancelled).await.map(|_| 1)
        };
        self.for_each_job(batch, budget, cancel).await
    }

    /// Applies `step` to the jobs of the run, some at once, and then closes the run if all have ended. `step` returns
    /// the number of its writes. Returns the index at which the next batch starts, if the budget is spent.
    async fn for_each_job<F>(
        self,
        batch: &BatchTask,
        budget: &mut Budget,
        step: impl Fn(JobRecord) -> F + Send,
    ) -> Result<Option<JobIndex>>
    where
        F: Future<Output = Result<usize>> + Send,
    {
        let mut jobs = self.engine.records().forward(&batch.run, batch.from, Consistency::Strong);
        loop {
            let page = jobs.some(self.left(budget)).await?;
            let Some(first) = page.first() else { break };
            if self.spent(budget) {
                return Ok(Some(first.key.index));
            }
            budget.writes += try_join_all(page.into_iter().map(&step)).await?.into_iter().sum::<usize>();
        }
        self.finish_if_done(&batch.run).await?;
        Ok(None)
    }

    /// Removes a job that has ended from the needs of its dependents: of all if it passed, otherwise of those that have an `if`.
    async fn batch_dependents(self, batch: &BatchTask, of: JobIndex, budget: &mut Budget) -> Result<Option<JobIndex>> {
        let key = JobKey::new(&batch.run, of);
        let Some(job) = self.engine.ports.job(&key, Consistency::Strong).await? else { return Ok(None) };
        let Some(result) = job.need_result() else { return Ok(None) };
        let spec = self.engine.records().spec(&job).await?;
        let affected = if result == NeedResult::Passed { &spec.dependents } else { &spec.conditional };
        let open = self.state(&batch.run).await? == Some(RunState::Open);
        let mut all_ended = true;
        let rest = affected.get(batch.from as usize..).unwrap_or_default();
        for (position, dependents) in (batch.from..).step_by(AT_ONCE).zip(rest.chunks(AT_ONCE)) {
            if self.spent(budget) {
                return Ok(Some(position));
            }
            let keys: Vec<JobKey> = dependents.iter().map(|&index| JobKey::new(&batch.run, index)).collect();
            if open {
                for resolved in try_join_all(keys.iter().map(|key| self.resolve_need(key, of, result))).await? {
                    budget.writes += resolved.writes;
                    all_ended &= resolved.ended;
                }
            } else {
                all_ended &= self.have_ended(&batch.run, dependents).await?;
            }
        }
        if all_ended
            && (affected.len() == spec.dependents.len() || self.have_ended(&batch.run, &spec.dependents).await?)
        {
            self.finish_if_done(&batch.run).await?;
        }
        Ok(None)
    }

    /// Returns true if all these jobs have ended, by eventual reads.
    pub(crate) async fn have_ended(self, run: &RunKey, jobs: &[JobIndex]) -> Result<bool> {
        for page in jobs.chunks(100) {
            let records = self.engine.ports.jobs_at(run, page, Consistency::Eventual).await?;
            if !records.iter().flatten().all(JobRecord::is_ended) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Skips, in index order, every waiting job without an `if` that has a need that failed or was skipped. Each job that
    /// failed, or was skipped by its own condition, starts a batch of its own. The batch remembers which jobs it skipped; it
    /// reads needs with an index below its start.
    async fn batch_skip(self, batch: &BatchTask, budget: &mut Budget) -> Result<Option<JobIndex>> {
        let mut stopping: HashMap<JobIndex, Option<SkippedBecause>> = HashMap::new();
        let mut jobs = self.engine.records().forward(&batch.run, batch.from, Consistency::Strong);
        while let Some(mut job) = jobs.next().await? {
            if self.spent(budget) {
                return Ok(Some(job.key.index));
            }
            if matches!(job.phase, Phase::Waiting { .. })
                && job.needs_success()
                && let Some(because) = self.stopped_by(&job, &mut stopping).await?
            {
                budget.writes += 1;
                // If the update was refused, the job may have been cancelled, and a cancelled job stops no
                // dependents.
                match self.end_if(&job, Precondition::Waiting, JobOutcome::Skipped(because)).await? {
                    Some(current) => job = current,
                    None => continue,
                }
            }
            if matches!(job.phase, Phase::Blocked { .. }) {
                self.dispatch_or_place(&job).await?;
            }
            stopping.insert(job.key.index, job.skips_dependents());
        }
        self.finish_if_done(&batch.run).await?;
        Ok(None)
    }

    /// Returns why the job can't run, if a need of it failed or was skipped. `stopping` caches the needs read so far.
    async fn stopped_by(
        self,
        job: &JobRecord,
        stopping: &mut HashMap<JobIndex, Option<SkippedBecause>>,
    ) -> Result<Option<SkippedBecause>> {
        let spec = self.engine.records().spec(job).await?;
        let stops = |need: Option<JobRecord>| need.and_then(|need| need.skips_dependents());
        self.engine.records().look_up(&job.key.run, &spec.needs, stopping, stops).await?;
        Ok(spec.needs.iter().find_map(|need| stopping.get(need).cloned().flatten()))
    }

    /// Ends a job if the precondition holds. Returns the current record.
    async fn end_if(self, job: &JobRecord, expect: Precondition, outcome: JobOutcome) -> Result<Option<JobRecord>> {
        let change = Change::End(End::unreported(outcome, self.engine.now()));
        Ok(self.engine.ports.update(&job.key, JobUpdate { expect, change }).await?.record())
    }
}
