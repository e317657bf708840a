//! Jobs in memory.

use std::collections::BTreeSet;

use engine::ids::{JobIndex, JobKey, PoolId, RunKey};
use engine::job::{JobRecord, JobSpec, JobUpdate, Phase};
use engine::messages::ChangeEvent;
use engine::ports::{Consistency, JobStore, ReadyHead, ShardWaits, Stored, Updated};
use protocol::Millis;

use crate::store::{Memory, State};

/// The size of a page of jobs, and of a page of a ready list.
const PAGE: usize = 256;
const HEADS: usize = 32;

impl State {
    /// Replaces a job's record, updates its pool's ready list, and adds a change event if the job ended.
    pub(crate) fn put_job(&mut self, new: JobRecord) {
        let key = new.key.clone();
        let old = self.jobs.get(&key);
        if let Some(JobRecord { pool, phase: Phase::Ready { at, .. }, .. }) = old {
            self.ready.remove(&(pool.clone(), *at, key.clone()));
        }
        if let Phase::Ready { at, .. } = new.phase {
            self.ready.insert((new.pool.clone(), at, key.clone()));
        }
        if new.is_ended() && old.is_some_and(|old| !old.is_ended()) {
            self.feed.push_back(ChangeEvent::JobEnded(Box::new(new.clone())));
        }
        self.feed.extend(old.and_then(|old| ChangeEvent::of_reported_job(old, &new)));
        self.jobs.insert(key, new);
    }

    /// The pools with ready jobs.
    pub(crate) fn ready_pools(&self) -> BTreeSet<PoolId> {
        let mut pools = BTreeSet::new();
        let mut next = self.ready.first();
        while let Some((pool, ..)) = next {
            pools.insert(pool.clone());
            // No run key follows this one.
            let last = JobKey::new(&RunKey::from_stored("~".to_owned()), JobIndex::MAX);
            next = self.ready.range((pool.clone(), Millis(u64::MAX), last)..).next();
        }
        pools
    }

    pub(crate) fn ready_range(&self, pool: &PoolId) -> impl Iterator<Item = &(PoolId, Millis, JobKey)> {
        let first = (pool.clone(), Millis(0), JobKey::new(&RunKey::from_stored(String::new()), 0));
        self.ready.range(first..).take_while(move |(other, ..)| other == pool)
    }
}

impl JobStore for Memory {
    async fn job(&self, key: &JobKey, _how: Consistency) -> Stored<Option<JobRecord>> {
        Ok(self.state().jobs.get(key).cloned())
    }

    async fn jobs_at(&self, run: &RunKey, indexes: &[JobIndex], _how: Consistency) -> Stored<Vec<Option<JobRecord>>> {
        let state = self.state();
        Ok(indexes.iter().map(|&index| state.jobs.get(&JobKey::new(run, index)).cloned()).collect())
    }

    async fn jobs(&self, keys: &[JobKey], _how: Consistency) -> Stored<Vec<Option<JobRecord>>> {
        let state = self.state();
        Ok(keys.iter().map(|key| state.jobs.get(key).cloned()).collect())
    }

    async fn jobs_from(&self, run: &RunKey, from: JobIndex, most: usize, _how: Consistency) -> Stored<Vec<JobRecord>> {
        let range = JobKey::new(run, from)..=JobKey::new(run, JobIndex::MAX);
        Ok(self.state().jobs.range(range).take(most.min(PAGE)).map(|(_, job)| job.clone()).collect())
    }

    async fn specs(&self, run: &RunKey, indexes: &[JobIndex]) -> Stored<Vec<JobSpec>> {
        let state = self.state();
        Ok(indexes.iter().filter_map(|&index| state.specs.get(&JobKey::new(run, index)).cloned()).collect())
    }

    async fn update(&self, key: &JobKey, update: JobUpdate) -> Stored<Updated<JobRecord>> {
        let mut state = self.state();
        let Some(job) = state.jobs.get(key) else { return Ok(Updated::ConditionFailed(None)) };
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
        let due = state.ready_range(pool).take_while(|(_, at, _)| *at <= now).take(HEADS);
        Ok(due.map(|(_, at, job)| ReadyHead { at: *at, job: job.clone() }).collect())
    }

    async fn ready_count(&self, pool: &PoolId, most: usize) -> Stored<(u64, Option<Millis>)> {
        let state = self.state();
        let oldest = state.ready_range(pool).next().map(|(_, at, _)| *at);
        Ok((state.ready_range(pool).take(most).count() as u64, oldest))
    }
}
