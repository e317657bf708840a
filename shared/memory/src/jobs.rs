//! Jobs in memory.

use engine::ids::{JobIndex, JobKey, PoolId, RunKey};
use engine::job::{JobRecord, JobSpec, JobUpdate};
use engine::messages::ChangeEvent;
use engine::ports::{Consistency, JobStore, ReadyHead, ShardWaits, Stored, Updated};
use protocol::Millis;

use crate::store::{Memory, State};

/// The size of a page of jobs.
const PAGE: usize = 256;
/// The size of a page of a ready list. A claim starts at one of the first eight and tries four.
const HEADS: usize = 12;

impl State {
    /// Replaces a job's record, and adds a change event if the job ended, or if a forge is told of its state.
    pub(crate) fn put_job(&mut self, new: JobRecord) {
        let ended = new.is_ended().then(|| ChangeEvent::JobEnded(Box::new(new.clone())));
        let before = self.jobs.get(&new.key.run, new.key.index);
        self.feed.extend(before.and_then(|before| ChangeEvent::of_reported_job(before, &new)));
        let old = self.jobs.put(new);
        if old.is_some_and(|old| !old.is_ended()) {
            self.feed.extend(ended);
        }
    }
}

impl JobStore for Memory {
    async fn job(&self, key: &JobKey, _how: Consistency) -> Stored<Option<JobRecord>> {
        Ok(self.state().jobs.get(&key.run, key.index).cloned())
    }

    async fn jobs_at(&self, run: &RunKey, indexes: &[JobIndex], _how: Consistency) -> Stored<Vec<Option<JobRecord>>> {
        let state = self.state();
        Ok(indexes.iter().map(|&index| state.jobs.get(run, index).cloned()).collect())
    }

    async fn jobs(&self, keys: &[JobKey], _how: Consistency) -> Stored<Vec<Option<JobRecord>>> {
        let state = self.state();
        Ok(keys.iter().map(|key| state.jobs.get(&key.run, key.index).cloned()).collect())
    }

    async fn jobs_from(&self, run: &RunKey, from: JobIndex, most: usize, _how: Consistency) -> Stored<Vec<JobRecord>> {
        Ok(self.state().jobs.from(run, from).take(most.min(PAGE)).cloned().collect())
    }

    async fn specs(&self, run: &RunKey, indexes: &[JobIndex]) -> Stored<Vec<JobSpec>> {
        let state = self.state();
        Ok(indexes.iter().filter_map(|&index| state.specs.get(&JobKey::new(run, index)).cloned()).collect())
    }

    async fn update(&self, key: &JobKey, update: JobUpdate) -> Stored<Updated<JobRecord>> {
        let mut state = self.state();
        let Some(job) = state.jobs.get(&key.run, key.index) else { return Ok(Updated::ConditionFailed(None)) };
        let Some(new) = update.apply(job) else { return Ok(Updated::ConditionFailed(Some(job.clone()))) };
        state.put_job(new.clone());
        Ok(Updated::Done(new))
    }

    async fn wait_shard(&self, key: &JobKey, shard: u32, _how: Consistency) -> Stored<ShardWaits> {
        Ok(self.state().shards.get(&(key.clone(), shard)).cloned().unwrap_or_default())
    }

    async fn drop_from_shard(&self, key: &JobKey, shard: u32, member: u32, failed: bool) -> Stored<ShardWaits> {
        let mut state = self.state();
        let Some(waits) = state.shards.get_mut(&(key.clone(), shard)) else { return Ok(ShardWaits::default()) };
        waits.members.remove(&member);
        waits.need_failed |= failed;
        Ok(waits.clone())
    }

    async fn ready_heads(&self, pool: &PoolId, now: Millis) -> Stored<Vec<ReadyHead>> {
        let state = self.state();
        let due = state.jobs.ready(pool).take_while(|(at, _)| *at <= now).take(HEADS);
        Ok(due.map(|(at, job)| ReadyHead { at: *at, job: job.clone() }).collect())
    }

    async fn ready_count(&self, pool: &PoolId, most: usize) -> Stored<(u64, Option<Millis>)> {
        let state = self.state();
        let oldest = state.jobs.ready(pool).next().map(|(at, _)| *at);
        Ok((state.jobs.ready(pool).take(most).count() as u64, oldest))
    }
}
