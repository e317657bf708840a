//! Promotion: makes a job ready after its last need succeeded.

use futures::future::join_all;

use crate::Scheduling;
use crate::error::Result;
use crate::ids::{JobIndex, JobKey, Ticket};
use crate::job::{Change, JobRecord, JobUpdate, Phase, Precondition};
use crate::plan;
use crate::planted::Bug;
use crate::ports::{Consistency, Dispatcher, JobStore, RunStore, StoreError, Updated, WorkerRegistry};

/// The result of a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promotion {
    /// True if the dependent has ended.
    pub ended: bool,
    /// The number of writes.
    pub writes: usize,
}

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// Removes `need` from the needs of a dependent in the same run, and makes the dependent ready if that was its
    /// last need.
    ///
    /// The caller must have read the run's control record strongly and found it open.
    ///
    /// Needs are *removed* from a set, so a repeated call has no further effect. An absent member proves nothing, so
    /// the ready step follows in any case. The precondition of the ready step (the job is waiting and has no needs
    /// left) resolves every race.
    pub(crate) async fn promote(self, run_job: &JobKey, need: JobIndex) -> Result<Promotion> {
        let Some(record) = self.engine.records().job_surely(run_job).await? else {
            return Ok(Promotion { ended: true, writes: 0 });
        };
        let Phase::Waiting { on } = &record.phase else {
            self.dispatch_if_ready(&record).await?;
            return Ok(Promotion { ended: record.is_ended(), writes: 0 });
        };
        if record.sharded {
            return self.promote_sharded(&record, need).await;
        }
        if on.len() == 1 && on.contains(&need) {
            let update = JobUpdate { expect: Precondition::WaitingOnlyOn(need), change: self.ready(&record) };
            if let Updated::Done(ready) = self.engine.ports.update(run_job, update).await? {
                self.dispatch_if_ready(&ready).await?;
                return Ok(Promotion { ended: false, writes: 1 });
            }
            // The eventual read was stale. Decide on the current record.
            let Some(record) = self.engine.ports.job(run_job, Consistency::Strong).await? else {
                return Ok(Promotion { ended: true, writes: 1 });
            };
            return self.remove_and_ready(record, need, 1).await;
        }
        self.remove_and_ready(record, need, 0).await
    }

    async fn promote_sharded(self, record: &JobRecord, need: JobIndex) -> Result<Promotion> {
        let spec = self.engine.records().spec(record).await?;
        let shard = plan::shard_of(&spec, need, self.engine.tuning.shard)
            .ok_or_else(|| StoreError::Corrupt(format!("job {} doesn't need {need}", record.key)))?;
        let mut writes = 0;
        let mut left = self.engine.ports.wait_shard(&record.key, shard, Consistency::Eventual).await?;
        if left.is_empty() {
            left = self.engine.ports.wait_shard(&record.key, shard, Consistency::Strong).await?;
        }
        if left.contains(&need) {
            left = self.engine.ports.drop_from_shard(&record.key, shard, need).await?;
            writes += 1;
        }
        if !left.is_empty() {
            // A shard doesn't prove that its job still waits: the job may have been skipped or cancelled.
            let record = self.engine.ports.job(&record.key, Consistency::Strong).await?;
            return Ok(Promotion { ended: record.is_none_or(|record| record.is_ended()), writes });
        }
        self.remove_and_ready(record.clone(), shard, writes).await
    }

    async fn remove_and_ready(self, mut record: JobRecord, member: u32, mut writes: usize) -> Result<Promotion> {
        if self.engine.has(Bug::AbsentMeansDone)
            && matches!(&record.phase, Phase::Waiting { on } if !on.contains(&member))
        {
            return Ok(Promotion { ended: false, writes });
        }
        if matches!(&record.phase, Phase::Waiting { on } if on.contains(&member)) {
            let update = JobUpdate { expect: Precondition::Waiting, change: Change::RemoveNeed(member) };
            writes += 1;
            let key = record.key.clone();
            match self.engine.ports.update(&key, update).await?.record() {
                Some(now) => record = now,
                None => return Ok(Promotion { ended: true, writes }),
            }
        }
        if !matches!(&record.phase, Phase::Waiting { on } if on.is_empty()) {
            self.dispatch_if_ready(&record).await?;
            return Ok(Promotion { ended: record.is_ended(), writes });
        }
        let ended = self.make_ready(&record).await?.is_none_or(|record| record.is_ended());
        Ok(Promotion { ended, writes: writes + 1 })
    }

    /// Makes a waiting job without remaining needs ready, or blocked if it has a group, and dispatches it. Returns the current record.
    pub(crate) async fn make_ready(self, record: &JobRecord) -> Result<Option<JobRecord>> {
        let update = JobUpdate { expect: Precondition::WaitingOnNothing, change: self.ready(record) };
        let record = self.engine.ports.update(&record.key, update).await?.record();
        if let Some(record) = &record {
            self.dispatch_if_ready(record).await?;
        }
        Ok(record)
    }

    /// Dispatches a ready job, and gives a blocked one its place in its group. Also called for jobs that are ready or blocked
    /// already, because the process that made them so may have stopped before this step.
    pub(crate) async fn dispatch_if_ready(self, record: &JobRecord) -> Result<()> {
        match record.phase {
            Phase::Blocked { .. } if self.engine.has(Bug::BlockedPassedBy) => Ok(()),
            Phase::Blocked { .. } => self.found_blocked(record).await,
            _ => self.dispatch(record).await,
        }
    }

    /// Keeps the pool of a ready job listed, sends a ticket if a worker polls the pool's queue, and arms the run's timer if the
    /// job has a start delay or a queue timeout.
    pub(crate) async fn dispatch(self, record: &JobRecord) -> Result<()> {
        let Phase::Ready { at, until } = record.phase else { return Ok(()) };
        self.engine.workers().renew_pool(record).await?;
        let delayed = at > self.engine.now();
        if let Some(due) = if delayed { Some(at) } else { until } {
            self.engine.timers().arm_after_write(&record.key.run, due).await?;
        }
        if delayed || !self.engine.ports.has_queues() {
            return Ok(());
        }
        let pools = self.engine.workers().known_pools().await?;
        let pool = pools.iter().find(|pool| pool.id == record.pool);
        if let Some(queue) = pool.and_then(|pool| pool.live_queue(self.engine.now())) {
            let ticket = Ticket { pool: record.pool.clone(), job: record.key.clone() };
            self.engine.ports.send_ticket(queue, ticket).await?;
        }
        Ok(())
    }

    pub(crate) async fn promote_inline(self, job: &JobRecord) -> Result<()> {
        let spec = self.engine.records().spec(job).await?;
        let first = spec.dependents.iter().take(self.engine.tuning.inline_promotions);
        let keys: Vec<JobKey> = first.map(|&dependent| JobKey::new(&job.key.run, dependent)).collect();
        for done in join_all(keys.iter().map(|key| self.promote(key, job.key.index))).await {
            done?;
        }
        Ok(())
    }
}
