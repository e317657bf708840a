//! Pool and worker records.

use std::collections::{BTreeMap, BTreeSet};

use engine::ids::PoolId;
use engine::ports::{Pool, PoolQueue, Stored, WORKER_KEPT, WorkerRecord, WorkerRegistry};
use protocol::{LabelSet, Millis, SecretName, WorkerId};
use rusqlite::Connection;

use crate::rows::{all, execute, failed, from_json, record, records, to_json, to_time};
use crate::{Sqlite, locked};

/// All pools there are.
pub(crate) fn stored_pools(db: &Connection) -> Stored<BTreeMap<PoolId, Pool>> {
    let pools = all(db, "SELECT labels, secrets FROM pools", [], |row| {
        let labels: LabelSet = from_json(row.get_ref(0).map_err(failed)?)?;
        let secrets: BTreeSet<SecretName> = from_json(row.get_ref(1).map_err(failed)?)?;
        Ok(Pool::with_secrets(labels, secrets))
    })?;
    Ok(pools.into_iter().map(|pool| (pool.id.clone(), pool)).collect())
}

/// The latest `last_seen` of a worker that counts as absent at `now`.
fn forgotten(now: Millis) -> i64 {
    to_time(now - WORKER_KEPT)
}

impl WorkerRegistry for Sqlite {
    async fn add_pools(&self, pools: Vec<Pool>) -> Stored<()> {
        let new: Vec<Pool> = {
            let known = locked(&self.pools);
            let new = pools.into_iter().filter(|pool| !known.contains_key(&pool.id));
            new.map(|pool| Pool::with_secrets(pool.labels, pool.secrets)).collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let added = self.write(move |db| {
            for pool in &new {
                let text = "INSERT OR IGNORE INTO pools (id, labels, secrets) VALUES (?1, ?2, ?3)";
                execute(db, text, (pool.id.as_str(), to_json(&pool.labels)?, to_json(&pool.secrets)?))?;
            }
            Ok(new)
        });
        let added = added.await?;
        locked(&self.pools).extend(added.into_iter().map(|pool| (pool.id.clone(), pool)));
        Ok(())
    }

    async fn pools(&self) -> Stored<Vec<Pool>> {
        Ok(locked(&self.pools).values().cloned().collect())
    }

    async fn want_queue(&self, _pool: &Pool, _now: Millis) -> Stored<Option<PoolQueue>> {
        Ok(None)
    }

    async fn put_worker(&self, worker: WorkerRecord) -> Stored<()> {
        let forgotten = forgotten(worker.last_seen);
        self.write(move |db| {
            execute(db, "DELETE FROM workers WHERE last_seen <= ?1", [forgotten])?;
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
