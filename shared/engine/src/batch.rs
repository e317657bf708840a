//! Long work in a run, in steps of bounded size. A step that is repeated, or repeated from its start, does no harm.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::try_join_all;
use protocol::Millis;

use crate::Scheduling;
use crate::error::Result;
use crate::ids::{JobIndex, JobKey, RunKey};
use crate::job::{Change, End, JobOutcome, JobRecord, JobUpdate, Phase, Precondition};
use crate::messages::{BatchKind, BatchTask};
use crate::ports::{Consistency, Dispatcher, JobStore, RunStore, WorkerRegistry};
use crate::run::RunState;

/// A step ends after this long, or as many writes as [`crate::Tuning`] says, and asks for the next.
const TIME: Duration = Duration::from_secs(10);

/// Jobs that are changed at once: each change is one write of one record, and waiting for one after the other would take
/// most of the time.
const AT_ONCE: usize = 32;

/// How much a step has done.
struct Budget {
    writes: usize,
    began: Millis,
}

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// Does one step of long work, and asks for the next if there is more.
    pub async fn run_batch(self, batch: BatchTask) -> Result<()> {
        let mut budget = Budget { writes: 0, began: self.engine.now() };
        let next = match batch.kind {
            BatchKind::Roots => self.batch_roots(&batch, &mut budget).await?,
            BatchKind::Dependents { of } => self.batch_dependents(&batch, of, &mut budget).await?,
            BatchKind::Skip => self.batch_skip(&batch, &mut budget).await?,
            BatchKind::Cancel => self.batch_cancel(&batch, &mut budget).await?,
            BatchKind::Delete { jobs } => {
                let more = self.engine.ports.delete_some(&batch.run, jobs).await?;
                more.then_some(batch.from)
            }
        };
        if let Some(from) = next {
            self.engine.timers().ask_for(BatchTask { from, ..batch }).await?;
        }
        Ok(())
    }

    fn spent(self, budget: &Budget) -> bool {
        budget.writes >= self.engine.tuning.batch_writes || self.engine.now().since(budget.began) >= TIME
    }

    async fn state(self, run: &RunKey) -> Result<Option<RunState>> {
        Ok(self.engine.ports.control(run, Consistency::Strong).await?.map(|control| control.state))
    }

    async fn batch_roots(self, batch: &BatchTask, budget: &mut Budget) -> Result<Option<JobIndex>> {
        if self.state(&batch.run).await? != Some(RunState::Open) {
            return Ok(None);
        }
        let mut jobs = self.engine.records().forward(&batch.run, batch.from, Consistency::Strong);
        loop {
            let some = jobs.some(AT_ONCE).await?;
            let Some(first) = some.first() else { break };
            if self.spent(budget) {
                return Ok(Some(first.key.index));
            }
            let writes = try_join_all(some.iter().map(|job| self.start_root(job))).await?;
            budget.writes += writes.into_iter().sum::<usize>();
        }
        // A re-run that keeps everything has nothing to start, and nobody else would close it.
        self.finish_if_done(&batch.run).await?;
        Ok(None)
    }

    /// Makes it ready if it needs nothing; how many writes that took.
    async fn start_root(self, job: &JobRecord) -> Result<usize> {
        match &job.phase {
            Phase::Waiting { on } if on.is_empty() => {
                self.make_ready(job).await?;
                Ok(1)
            }
            Phase::Ready { .. } => self.dispatch_if_ready(job).await.map(|()| 0),
            _ => Ok(0),
        }
    }

    async fn batch_dependents(self, batch: &BatchTask, of: JobIndex, budget: &mut Budget) -> Result<Option<JobIndex>> {
        let key = JobKey::new(&batch.run, of);
        let Some(job) = self.engine.ports.job(&key, Consistency::Strong).await? else { return Ok(None) };
        let spec = self.engine.records().spec(&job).await?;
        let open = self.state(&batch.run).await? == Some(RunState::Open);
        let mut all_ended = true;
        let rest = spec.dependents.get(batch.from as usize..).unwrap_or_default();
        for (place, dependents) in (batch.from..).step_by(AT_ONCE).zip(rest.chunks(AT_ONCE)) {
            if self.spent(budget) {
                return Ok(Some(place));
            }
            let keys: Vec<JobKey> = dependents.iter().map(|&index| JobKey::new(&batch.run, index)).collect();
            if open {
                for promotion in try_join_all(keys.iter().map(|key| self.promote(key, of))).await? {
                    budget.writes += promotion.writes;
                    all_ended &= promotion.ended;
                }
            } else {
                let records = self.engine.ports.jobs_at(&batch.run, dependents, Consistency::Eventual).await?;
                all_ended &= records.iter().all(|record| record.as_ref().is_some_and(JobRecord::is_ended));
            }
        }
        if all_ended {
            self.finish_if_done(&batch.run).await?;
        }
        Ok(None)
    }

    /// Skips, in order, every waiting job with a need that failed or was skipped. Each failure has a
    /// batch of its own. This batch remembers what it skipped, and reads the needs before its start.
    async fn batch_skip(self, batch: &BatchTask, budget: &mut Budget) -> Result<Option<JobIndex>> {
        let mut blocks_dependents: HashMap<JobIndex, bool> = HashMap::new();
        let mut jobs = self.engine.records().forward(&batch.run, batch.from, Consistency::Strong);
        while let Some(job) = jobs.next().await? {
            if self.spent(budget) {
                return Ok(Some(job.key.index));
            }
            let mut blocks_others = job.blocks_dependents();
            if matches!(job.phase, Phase::Waiting { .. }) && self.is_blocked(&job, &mut blocks_dependents).await? {
                budget.writes += 1;
                // Refused, it may have been cancelled instead, and that blocks nothing.
                let now = self.end_unless(&job, Precondition::Waiting, JobOutcome::Skipped).await?;
                blocks_others = now.is_some_and(|job| job.blocks_dependents());
            }
            blocks_dependents.insert(job.key.index, blocks_others);
        }
        self.finish_if_done(&batch.run).await?;
        Ok(None)
    }

    async fn is_blocked(self, job: &JobRecord, blocks_dependents: &mut HashMap<JobIndex, bool>) -> Result<bool> {
        let spec = self.engine.records().spec(job).await?;
        let unknown: Vec<JobIndex> =
            spec.needs.iter().copied().filter(|need| !blocks_dependents.contains_key(need)).collect();
        for page in unknown.chunks(100) {
            let needs = self.engine.ports.jobs_at(&job.key.run, page, Consistency::Strong).await?;
            for (index, need) in page.iter().zip(needs) {
                blocks_dependents.insert(*index, need.is_some_and(|need| need.blocks_dependents()));
            }
        }
        Ok(spec.needs.iter().any(|need| blocks_dependents.get(need) == Some(&true)))
    }

    async fn batch_cancel(self, batch: &BatchTask, budget: &mut Budget) -> Result<Option<JobIndex>> {
        let mut jobs = self.engine.records().forward(&batch.run, batch.from, Consistency::Strong);
        loop {
            let some = jobs.some(AT_ONCE).await?;
            let Some(first) = some.first() else { break };
            if self.spent(budget) {
                return Ok(Some(first.key.index));
            }
            let left = some.iter().filter(|job| !job.is_ended());
            let cancel = |job| self.end_unless(job, Precondition::NotEnded, JobOutcome::Cancelled);
            budget.writes += try_join_all(left.map(cancel)).await?.len();
        }
        self.finish_if_done(&batch.run).await?;
        Ok(None)
    }

    /// Ends a job if it is as expected; the record as it is then.
    async fn end_unless(self, job: &JobRecord, expect: Precondition, outcome: JobOutcome) -> Result<Option<JobRecord>> {
        let change = Change::End(End::unreported(outcome, self.engine.now()));
        Ok(self.engine.ports.update(&job.key, JobUpdate { expect, change }).await?.record())
    }
}
