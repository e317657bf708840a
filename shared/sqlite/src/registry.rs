//! Pool and worker records.

use std::collections::BTreeMap;

use engine::ids::PoolId;
use engine::ports::{Pool, PoolQueue, Stored, WORKER_KEPT, WorkerRecord, WorkerRegistry};
use protocol::{Millis, WorkerId};
use rusqlite::Connection;

use crate::rows::{delete_expired, execute, record, records, to_json, to_time};
use crate::store::{Sqlite, locked};

fn read_pools(db: &Connection) -> Stored<BTreeMap<PoolId, Pool>> {
    let pools: Vec<Pool> = records(db, "SELECT record FROM pools", [])?;
    Ok(pools.into_iter().map(|pool| (pool.id.clone(), pool)).collect())
}

/// A worker with this `last_seen` or an earlier one counts as removed at `now`.
fn forgotten(now: Millis) -> i64 {
    to_time(now - WORKER_KEPT)
}

impl Sqlite {
    /// Calls `use_pools` with all pools.
    fn with_pools<T>(&self, use_pools: impl FnOnce(&mut BTreeMap<PoolId, Pool>) -> T) -> Stored<T> {
        let mut pools = locked(&self.pools);
        let pools = match &mut *pools {
            Some(pools) => pools,
            none => none.insert(self.read(read_pools)?),
        };
        Ok(use_pools(pools))
    }
}

impl WorkerRegistry for Sqlite {
    async fn add_pools(&self, pools: Vec<Pool>) -> Stored<()> {
        let new: Vec<Pool> = self.with_pools(|known| {
            let new = pools.into_iter().filter(|pool| !known.contains_key(&pool.id));
            new.map(|pool| Pool::with_secrets(pool.labels, pool.secrets)).collect()
        })?;
        if new.is_empty() {
            return Ok(());
        }
        let added = self.write(move |db| {
            for pool in &new {
                let text = "INSERT OR IGNORE INTO pools (id, record) VALUES (?1, ?2)";
                execute(db, text, (pool.id.as_str(), to_json(pool)?))?;
            }
            Ok(new)
        });
        let added = added.await?;
        self.with_pools(|pools| pools.extend(added.into_iter().map(|pool| (pool.id.clone(), pool))))
    }

    async fn pools(&self) -> Stored<Vec<Pool>> {
        self.with_pools(|pools| pools.values().cloned().collect())
    }

    async fn want_queue(&self, _pool: &Pool, _now: Millis) -> Stored<Option<PoolQueue>> {
        Ok(None)
    }

    async fn put_worker(&self, worker: WorkerRecord) -> Stored<()> {
        self.write(move |db| {
            delete_expired(db, "workers", "last_seen", worker.last_seen - WORKER_KEPT)?;
            let text = "INSERT OR REPLACE INTO workers (id, last_seen, record) VALUES (?1, ?2, ?3)";
            execute(db, text, (worker.id.as_str(), to_time(worker.last_seen), to_json(&worker)?))?;
            Ok(())
        })
        .await
    }

    async fn worker(&self, id: &WorkerId, now: Millis) -> Stored<Option<WorkerRecord>> {
        let forgotten = forgotten(now);
        self.read(|db| {
            record(db, "SELECT record FROM workers WHERE id = ?1 AND last_seen > ?2", (id.as_str(), forgotten))
        })
    }

    async fn workers(&self, now: Millis) -> Stored<Vec<WorkerRecord>> {
        let forgotten = forgotten(now);
        self.read(|db| records(db, "SELECT record FROM workers WHERE last_seen > ?1", [forgotten]))
    }

    async fn remove_worker(&self, id: &WorkerId) -> Stored<()> {
        let id = id.clone();
        self.write(move |db| execute(db, "DELETE FROM workers WHERE id = ?1", [id.as_str()]).map(drop)).await
    }
}
