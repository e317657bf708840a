//! Pools and workers in memory.

use engine::ports::{Pool, PoolQueue, Stored, WORKER_KEPT, WorkerRecord, WorkerRegistry};
use protocol::{Millis, WorkerId};

use crate::store::Memory;

impl WorkerRegistry for Memory {
    async fn add_pools(&self, pools: Vec<Pool>) -> Stored<()> {
        let mut state = self.state();
        for pool in pools {
            state.pools.entry(pool.id.clone()).or_insert(pool);
        }
        Ok(())
    }

    async fn pools(&self) -> Stored<Vec<Pool>> {
        Ok(self.state().pools.values().cloned().collect())
    }

    async fn want_queue(&self, _pool: &Pool, _now: Millis) -> Stored<Option<PoolQueue>> {
        Ok(None)
    }

    async fn put_worker(&self, worker: WorkerRecord) -> Stored<()> {
        let forgotten = worker.last_seen - WORKER_KEPT;
        let mut state = self.state();
        state.workers.retain(|_, other| other.last_seen > forgotten);
        state.workers.insert(worker.id.clone(), worker);
        Ok(())
    }

    async fn worker(&self, id: &WorkerId, now: Millis) -> Stored<Option<WorkerRecord>> {
        let forgotten = now - WORKER_KEPT;
        Ok(self.state().workers.get(id).filter(|worker| worker.last_seen > forgotten).cloned())
    }

    async fn workers(&self, now: Millis) -> Stored<Vec<WorkerRecord>> {
        let forgotten = now - WORKER_KEPT;
        Ok(self.state().workers.values().filter(|worker| worker.last_seen > forgotten).cloned().collect())
    }

    async fn remove_worker(&self, id: &WorkerId) -> Stored<()> {
        self.state().workers.remove(id);
        Ok(())
    }
}
