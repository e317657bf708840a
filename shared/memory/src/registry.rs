//! Pools and workers in memory.

use std::collections::{BTreeMap, BTreeSet};

use engine::ports::{Consistency, Pool, PoolQueue, Stored, WorkerRecord, WorkerRegistry};
use protocol::{LabelSet, Millis, WorkerId, limits};

use crate::store::Memory;

impl WorkerRegistry for Memory {
    async fn add_pools(&self, pools: Vec<Pool>, now: Millis) -> Stored<()> {
        let mut state = self.state();
        for pool in pools {
            state.pools.insert(pool.id.clone(), (pool, now));
        }
        let ready = state.ready_pools();
        state.pools.retain(|id, (_, used_at)| now.since(*used_at) < limits::POOL_TIME || ready.contains(id));
        let mut by_label = BTreeMap::<_, BTreeSet<_>>::new();
        for (id, (pool, _)) in &state.pools {
            by_label.entry(pool.labels.iter().next().cloned()).or_default().insert(id.clone());
        }
        state.pools_by_label = by_label;
        Ok(())
    }

    async fn pools(&self, now: Millis) -> Stored<Vec<Pool>> {
        let state = self.state();
        let ready = state.ready_pools();
        let listed = state
            .pools
            .values()
            .filter(|(pool, used_at)| now.since(*used_at) < limits::POOL_TIME || ready.contains(&pool.id));
        Ok(listed.map(|(pool, _)| pool.clone()).collect())
    }

    async fn ready_pools(&self, labels: &LabelSet) -> Stored<Option<Vec<Pool>>> {
        let state = self.state();
        let firsts = labels.iter().cloned().map(Some).chain([None]);
        let ids = firsts.filter_map(|first| state.pools_by_label.get(&first)).flatten();
        let ready = ids.filter(|id| state.ready_range(id).next().is_some());
        Ok(Some(ready.filter_map(|id| state.pools.get(id)).map(|(pool, _)| pool.clone()).collect()))
    }

    fn has_queues(&self) -> bool {
        false
    }

    async fn want_queue(&self, _pool: &Pool, _now: Millis) -> Stored<Option<PoolQueue>> {
        Ok(None)
    }

    async fn put_worker(&self, worker: WorkerRecord) -> Stored<bool> {
        let mut state = self.state();
        let forgotten = worker.last_seen - limits::WORKER_KEPT;
        // Each time that their number has doubled, so that a write doesn't take longer with more workers.
        if state.workers.len().is_power_of_two() {
            state.workers.retain(|_, other| other.last_seen > forgotten);
        }
        let done = state.workers.get(&worker.id).is_none_or(|other| worker.may_replace(other));
        if done {
            state.workers.insert(worker.id.clone(), worker);
        }
        Ok(done)
    }

    async fn worker(&self, id: &WorkerId, now: Millis, _how: Consistency) -> Stored<Option<WorkerRecord>> {
        let forgotten = now - limits::WORKER_KEPT;
        Ok(self.state().workers.get(id).filter(|worker| worker.last_seen > forgotten).cloned())
    }

    async fn workers(&self, now: Millis, most: usize) -> Stored<Vec<WorkerRecord>> {
        let forgotten = now - limits::WORKER_LISTED;
        let state = self.state();
        let mut listed: Vec<&WorkerRecord> = state.workers.values().collect();
        listed.retain(|worker| worker.last_seen > forgotten);
        listed.sort_by_key(|worker| std::cmp::Reverse(worker.last_seen));
        Ok(listed.into_iter().take(most).cloned().collect())
    }

    async fn remove_worker(&self, id: &WorkerId) -> Stored<()> {
        self.state().workers.remove(id);
        Ok(())
    }
}
