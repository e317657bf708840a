//! Removes a need that has ended from a waiting job, and makes the job ready, blocked or skipped after its last need.

use futures::future::join_all;

use crate::Scheduling;
use crate::error::Result;
use crate::ids::{JobIndex, JobKey, Ticket};
use crate::job::{Change, JobRecord, JobUpdate, NeedResult, Phase, Precondition};
use crate::plan;
use crate::planted::Bug;
use crate::ports::{Consistency, Dispatcher, JobStore, RunStore, ShardWaits, StoreError, Updated, WorkerRegistry};

/// What the end of a need did to a dependent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// True if the dependent has ended.
    pub ended: bool,
    /// The number of writes.
    pub writes: usize,
}

/// A member of a waiting job's set that has ended: a need, or a shard without members.
#[derive(Clone, Copy)]
struct Member {
    number: u32,
    failed: bool,
}

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// Removes `need`, which ended with `result`, from the needs of a dependent in the same run. If that was its last
    /// need, the dependent becomes ready or, if its condition doesn't hold, is skipped. A dependent that is skipped by a
    /// batch task instead keeps the need.
    ///
    /// The caller must have read the run's control record strongly and found it open.
    ///
    /// Needs are *removed* from a set, so a repeated call has no further effect. The write that removes a failed need
    /// also sets the record's flag, so whoever removes the last need decides from a record that knows of all. An absent
    /// member proves nothing, so the last step follows in any case. Its precondition (the job is waiting and has no
    /// needs left) resolves every race.
    pub(crate) async fn resolve_need(self, dependent: &JobKey, need: JobIndex, result: NeedResult) -> Result<Resolved> {
        let Some(record) = self.engine.records().job_surely(dependent).await? else {
            return Ok(Resolved { ended: true, writes: 0 });
        };
        let Phase::Waiting { on } = &record.phase else {
            self.dispatch_or_place(&record).await?;
            return Ok(Resolved { ended: record.is_ended(), writes: 0 });
        };
        if !result.removes_need_of(record.condition) {
            return Ok(Resolved { ended: false, writes: 0 });
        }
        let failed = result == NeedResult::Failed;
        if record.sharded {
            return self.resolve_in_shard(&record, need, failed).await;
        }
        let member = Member { number: need, failed };
        if on.len() == 1 && on.contains(&need) && !self.engine.has(Bug::FlagWrittenLater) {
            let change = record.after_last_need(record.need_failed || failed, self.engine.now());
            let update = JobUpdate { expect: Precondition::WaitingOnlyOn(need), change };
            if let Updated::Done(record) = self.engine.ports.update(dependent, update).await? {
                self.dispatch_or_place(&record).await?;
                return Ok(Resolved { ended: record.is_ended(), writes: 1 });
            }
            // The eventual read was stale. Decide on the current record.
            let Some(record) = self.engine.ports.job(dependent, Consistency::Strong).await? else {
                return Ok(Resolved { ended: true, writes: 1 });
            };
            return self.remove_and_decide(record, member, 1).await;
        }
        self.remove_and_decide(record, member, 0).await
    }

    async fn resolve_in_shard(self, record: &JobRecord, need: JobIndex, failed: bool) -> Result<Resolved> {
        let spec = self.engine.records().spec(record).await?;
        let shard = plan::shard_of(&spec, need, self.engine.tuning.shard)
            .ok_or_else(|| StoreError::Corrupt(format!("job {} doesn't need {need}", record.key)))?;
        let mut writes = 0;
        let mut left = self.engine.ports.wait_shard(&record.key, shard, Consistency::Eventual).await?;
        if left.members.is_empty() {
            left = self.engine.ports.wait_shard(&record.key, shard, Consistency::Strong).await?;
        }
        if left.members.contains(&need) {
            left = self.engine.ports.drop_from_shard(&record.key, shard, need, failed).await?;
            writes += 1;
        }
        let ShardWaits { members, need_failed } = left;
        if !members.is_empty() {
            // A shard doesn't prove that its job still waits: the job may have been skipped or cancelled.
            let record = self.engine.ports.job(&record.key, Consistency::Strong).await?;
            return Ok(Resolved { ended: record.is_none_or(|record| record.is_ended()), writes });
        }
        self.remove_and_decide(record.clone(), Member { number: shard, failed: need_failed }, writes).await
    }

    async fn remove_and_decide(self, mut record: JobRecord, member: Member, mut writes: usize) -> Result<Resolved> {
        let Member { number, failed } = member;
        if self.engine.has(Bug::AbsentMeansDone)
            && matches!(&record.phase, Phase::Waiting { on } if !on.contains(&number))
        {
            return Ok(Resolved { ended: false, writes });
        }
        if matches!(&record.phase, Phase::Waiting { on } if on.contains(&number)) {
            let later = self.engine.has(Bug::FlagWrittenLater);
            let change = Change::RemoveNeed { member: number, failed: failed && !later };
            writes += 1;
            let key = record.key.clone();
            let update = JobUpdate { expect: Precondition::Waiting, change };
            match self.engine.ports.update(&key, update).await?.record() {
                Some(now) => record = now,
                None => return Ok(Resolved { ended: true, writes }),
            }
            if later && failed {
                let change = Change::RemoveNeed { member: number, failed };
                let update = JobUpdate { expect: Precondition::Waiting, change };
                match self.engine.ports.update(&key, update).await?.record() {
                    Some(now) => record = now,
                    None => return Ok(Resolved { ended: true, writes }),
                }
            }
        }
        if !matches!(&record.phase, Phase::Waiting { on } if on.is_empty()) {
            self.dispatch_or_place(&record).await?;
            return Ok(Resolved { ended: record.is_ended(), writes });
        }
        let ended = self.decide(&record, record.need_failed).await?.is_none_or(|record| record.is_ended());
        Ok(Resolved { ended, writes: writes + 1 })
    }

    /// Makes a waiting job without remaining needs ready, or blocked if it has a group, and dispatches it. Skips it if its
    /// condition doesn't hold.
    /// Returns the current record.
    pub(crate) async fn decide(self, record: &JobRecord, need_failed: bool) -> Result<Option<JobRecord>> {
        let change = record.after_last_need(need_failed, self.engine.now());
        let update = JobUpdate { expect: Precondition::WaitingOnNothing, change };
        let record = self.engine.ports.update(&record.key, update).await?.record();
        if let Some(record) = &record {
            self.dispatch_or_place(record).await?;
        }
        Ok(record)
    }

    /// Dispatches a ready job, and gives a blocked one its place in its group. Also called for jobs that are ready or blocked
    /// already, because the process that made them so may have stopped before this step.
    pub(crate) async fn dispatch_or_place(self, record: &JobRecord) -> Result<()> {
        match record.phase {
            Phase::Blocked { .. } if self.engine.has(Bug::BlockedPassedBy) => Ok(()),
            Phase::Blocked { .. } => self.place_and_admit(record).await,
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

    /// Tells the first dependents of a job that succeeded.
    pub(crate) async fn promote_inline(self, job: &JobRecord) -> Result<()> {
        let spec = self.engine.records().spec(job).await?;
        let first = spec.dependents.iter().take(self.engine.tuning.inline_promotions);
        let keys: Vec<JobKey> = first.map(|&dependent| JobKey::new(&job.key.run, dependent)).collect();
        for done in join_all(keys.iter().map(|key| self.resolve_need(key, job.key.index, NeedResult::Passed))).await {
            done?;
        }
        Ok(())
    }
}
