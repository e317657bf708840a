//! Making a job ready once its last need succeeded.

use std::borrow::Cow;

use crate::Engine;
use crate::error::{EngineError, Result};
use crate::ids::{JobIndex, JobKey, Ticket};
use crate::job::{Change, JobRecord, JobSpec, JobUpdate, Phase, Precondition};
use crate::plan;
use crate::planted::Bug;
use crate::ports::{Consistency, Ports, StoreError, Updated};

/// What promoting found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promotion {
    /// Whether the dependent has ended.
    pub ended: bool,
    /// Writes it took.
    pub writes: usize,
}

impl<P: Ports> Engine<P> {
    /// Tells the job `dependent` that `need`, of the same run, succeeded; makes it ready if that was its last.
    ///
    /// Only for an open run: the caller has read its control strongly.
    ///
    /// Members are *removed* from a set, so that doing it twice is the same as once, and a member that is absent proves
    /// nothing: the ready step follows in any case. The ready step's condition, that the job still waits and for
    /// nothing, settles every race.
    pub(crate) async fn promote(&self, run_job: &JobKey, need: JobIndex) -> Result<Promotion> {
        let Some(record) = self.job_surely(run_job).await? else { return Ok(Promotion { ended: true, writes: 0 }) };
        let Phase::Waiting { on } = &record.phase else {
            self.dispatch_if_ready(&record).await?;
            return Ok(Promotion { ended: record.is_ended(), writes: 0 });
        };
        if record.sharded {
            return self.promote_sharded(&record, need).await;
        }
        if on.len() == 1 && on.contains(&need) {
            let update = JobUpdate { expect: Precondition::WaitingOnlyOn(need), change: self.ready(&record) };
            if let Updated::Done(ready) = self.ports.update(run_job, update).await? {
                self.dispatch_if_ready(&ready).await?;
                return Ok(Promotion { ended: false, writes: 1 });
            }
            // The read was stale. What is there now decides.
            let Some(record) = self.ports.job(run_job, Consistency::Strong).await? else {
                return Ok(Promotion { ended: true, writes: 1 });
            };
            return self.remove_and_ready(record, need, 1).await;
        }
        self.remove_and_ready(record, need, 0).await
    }

    async fn promote_sharded(&self, record: &JobRecord, need: JobIndex) -> Result<Promotion> {
        let spec = self.spec(record).await?;
        let shard = plan::shard_of(&spec, need, self.tuning.shard)
            .ok_or_else(|| StoreError::Corrupt(format!("job {} doesn't need {need}", record.key)))?;
        let mut writes = 0;
        let mut left = self.ports.wait_shard(&record.key, shard, Consistency::Eventual).await?;
        if left.is_empty() {
            left = self.ports.wait_shard(&record.key, shard, Consistency::Strong).await?;
        }
        if left.contains(&need) {
            left = self.ports.drop_from_shard(&record.key, shard, need).await?;
            writes += 1;
        }
        if !left.is_empty() {
            // A shard proves nothing about its job, which may have been skipped or cancelled meanwhile.
            let record = self.ports.job(&record.key, Consistency::Strong).await?;
            return Ok(Promotion { ended: record.is_none_or(|record| record.is_ended()), writes });
        }
        self.remove_and_ready(record.clone(), shard, writes).await
    }

    async fn remove_and_ready(&self, mut record: JobRecord, member: u32, mut writes: usize) -> Result<Promotion> {
        if self.has(Bug::AbsentMeansDone) && matches!(&record.phase, Phase::Waiting { on } if !on.contains(&member)) {
            return Ok(Promotion { ended: false, writes });
        }
        if matches!(&record.phase, Phase::Waiting { on } if on.contains(&member)) {
            let update = JobUpdate { expect: Precondition::Waiting, change: Change::RemoveNeed(member) };
            writes += 1;
            let key = record.key.clone();
            match self.ports.update(&key, update).await?.record() {
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

    /// Makes a job that waits for nothing ready, and dispatches it; the record as it is then.
    pub(crate) async fn make_ready(&self, record: &JobRecord) -> Result<Option<JobRecord>> {
        let update = JobUpdate { expect: Precondition::WaitingOnNothing, change: self.ready(record) };
        let record = self.ports.update(&record.key, update).await?.record();
        if let Some(record) = &record {
            self.dispatch_if_ready(record).await?;
        }
        Ok(record)
    }

    fn ready(&self, record: &JobRecord) -> Change {
        let at = self.ports.now();
        Change::BecomeReady { pool: record.pool.clone(), at, until: record.limits.ready_until(at) }
    }

    /// Sends a ticket for a job that may start, if a worker polls its pool's queue, and sets the timer for one that may
    /// start later or not wait for ever. Also for one found ready: whoever made it so may have stopped before this.
    pub(crate) async fn dispatch_if_ready(&self, record: &JobRecord) -> Result<()> {
        let Phase::Ready { at, until } = record.phase else { return Ok(()) };
        let delayed = at > self.ports.now();
        if let Some(due) = if delayed { Some(at) } else { until } {
            self.arm_after_write(&record.key.run, due).await?;
        }
        if delayed {
            return Ok(());
        }
        let pools = self.known_pools().await?;
        let pool = pools.iter().find(|pool| pool.id == record.pool);
        if let Some(queue) = pool.and_then(|pool| pool.live_queue(self.ports.now())) {
            let ticket = Ticket { pool: record.pool.clone(), job: record.key.clone() };
            self.ports.send_ticket(queue, ticket).await?;
        }
        Ok(())
    }

    /// A job, read eventually, and strongly if it isn't there.
    async fn job_surely(&self, key: &JobKey) -> Result<Option<JobRecord>> {
        match self.ports.job(key, Consistency::Eventual).await? {
            Some(record) => Ok(Some(record)),
            None => Ok(self.ports.job(key, Consistency::Strong).await?),
        }
    }

    /// A job's spec, from its record or from where it is kept apart.
    pub(crate) async fn spec<'a>(&self, record: &'a JobRecord) -> Result<Cow<'a, JobSpec>> {
        if let Some(spec) = &record.spec {
            return Ok(Cow::Borrowed(spec));
        }
        let found = self.ports.specs(&record.key.run, &[record.key.index]).await?.pop();
        let spec = found.ok_or_else(|| StoreError::Corrupt(format!("job {} has no spec", record.key)));
        Ok(Cow::Owned(spec.map_err(EngineError::from)?))
    }
}
