//! Pool and worker records.

use std::collections::BTreeMap;

use engine::ids::PoolId;
use engine::ports::{Consistency, Pool, PoolQueue, Stored, WorkerRecord, WorkerRegistry};
use protocol::{Label, LabelSet, Millis, WorkerId, limits};
use rusqlite::Connection;

use crate::rows::{EXPIRED_ROWS, delete_expired, execute, one, record, records, to_json, to_limit, to_time};
use crate::store::Sqlite;

/// The pools with ready jobs whose first label is one of these, or that have none. A worker with these labels covers no others.
const READY_POOLS: &str = "SELECT record FROM json_each(?1) AS own CROSS JOIN pools ON first_label = own.value
    WHERE ready_jobs > 0";

/// Returns true if the pool was added so lately that it need not be written again.
fn was_added_lately(db: &Connection, pool: &Pool, now: Millis) -> Stored<bool> {
    let since = to_time(now - limits::POOL_TIME / 4);
    let text = "SELECT 1 FROM pools WHERE id = ?1 AND used_at > ?2";
    Ok(one(db, text, (pool.id.as_str(), since), |_| Ok(()))?.is_some())
}

fn put_pool(db: &Connection, pool: &Pool, now: Millis) -> Stored<()> {
    let text = "INSERT INTO pools (id, used_at, record, first_label, ready_jobs) VALUES (?1, ?2, ?3, ?4,
                    (SELECT count(*) FROM jobs WHERE pool = ?1 AND ready_at IS NOT NULL))
                ON CONFLICT (id) DO UPDATE SET used_at = max(used_at, excluded.used_at)";
    let first = pool.labels.iter().next().map_or("", Label::as_str);
    execute(db, text, (pool.id.as_str(), to_time(now), to_json(pool)?, first)).map(drop)
}

/// Deletes some pools that are no longer listed.
fn delete_old_pools(db: &Connection, now: Millis) -> Stored<()> {
    let text = "DELETE FROM pools WHERE rowid IN (
        SELECT rowid FROM pools WHERE used_at <= ?1 AND ready_jobs = 0 ORDER BY used_at LIMIT ?2)";
    execute(db, text, (to_time(now - limits::POOL_TIME), EXPIRED_ROWS)).map(drop)
}

/// A worker with this `last_seen` or an earlier one counts as removed at `now`.
fn forgotten(now: Millis) -> i64 {
    to_time(now - limits::WORKER_KEPT)
}

impl WorkerRegistry for Sqlite {
    async fn add_pools(&self, mut pools: Vec<Pool>, now: Millis) -> Stored<()> {
        let lately: Vec<bool> = self.read(|db| pools.iter().map(|pool| was_added_lately(db, pool, now)).collect())?;
        let mut lately = lately.into_iter();
        pools.retain(|_| lately.next() == Some(false));
        if pools.is_empty() {
            return Ok(());
        }
        self.write(move |db| {
            delete_old_pools(db, now)?;
            pools.iter().try_for_each(|pool| put_pool(db, pool, now))
        })
        .await
    }

    async fn pools(&self, now: Millis) -> Stored<Vec<Pool>> {
        self.read(|db| {
            let old = to_time(now - limits::POOL_TIME);
            let mut pools: BTreeMap<PoolId, Pool> = BTreeMap::new();
            let lately: Vec<Pool> = records(db, "SELECT record FROM pools WHERE used_at > ?1", [old])?;
            let ready: Vec<Pool> = records(db, "SELECT record FROM pools WHERE ready_jobs > 0", [])?;
            pools.extend(lately.into_iter().chain(ready).map(|pool| (pool.id.clone(), pool)));
            Ok(pools.into_values().collect())
        })
    }

    async fn ready_pools(&self, labels: &LabelSet) -> Stored<Option<Vec<Pool>>> {
        let first: Vec<&str> = labels.iter().map(Label::as_str).chain([""]).collect();
        let first = to_json(&first)?;
        self.read(|db| records(db, READY_POOLS, [first]).map(Some))
    }

    fn has_queues(&self) -> bool {
        false
    }

    async fn want_queue(&self, _pool: &Pool, _now: Millis) -> Stored<Option<PoolQueue>> {
        Ok(None)
    }

    async fn put_worker(&self, worker: WorkerRecord) -> Stored<bool> {
        self.write(move |db| {
            delete_expired(db, "workers", "last_seen", worker.last_seen - limits::WORKER_KEPT)?;
            let other: Option<WorkerRecord> =
                record(db, "SELECT record FROM workers WHERE id = ?1", [worker.id.as_str()])?;
            if other.is_some_and(|other| !worker.may_replace(&other)) {
                return Ok(false);
            }
            let text = "INSERT OR REPLACE INTO workers (id, last_seen, record) VALUES (?1, ?2, ?3)";
            execute(db, text, (worker.id.as_str(), to_time(worker.last_seen), to_json(&worker)?))?;
            Ok(true)
        })
        .await
    }

    async fn worker(&self, id: &WorkerId, now: Millis, _how: Consistency) -> Stored<Option<WorkerRecord>> {
        let forgotten = forgotten(now);
        self.read(|db| {
            record(db, "SELECT record FROM workers WHERE id = ?1 AND last_seen > ?2", (id.as_str(), forgotten))
        })
    }

    async fn workers(&self, now: Millis, most: usize) -> Stored<Vec<WorkerRecord>> {
        let listed = to_time(now - limits::WORKER_LISTED);
        let text = "SELECT record FROM workers WHERE last_seen > ?1 ORDER BY last_seen DESC LIMIT ?2";
        self.read(|db| records(db, text, (listed, to_limit(most))))
    }

    async fn remove_worker(&self, id: &WorkerId) -> Stored<()> {
        let id = id.clone();
        self.write(move |db| execute(db, "DELETE FROM workers WHERE id = ?1", [id.as_str()]).map(drop)).await
    }
}
