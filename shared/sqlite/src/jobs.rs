//! Job records.

use engine::ids::{JobIndex, JobKey, PoolId, RunKey};
use engine::job::{JobRecord, JobSpec, JobUpdate, Phase};
use engine::messages::ChangeEvent;
use engine::messages::Work;
use engine::ports::{Consistency, JobStore, ReadyHead, ShardWaits, Stored, Updated};
use protocol::Millis;
use rusqlite::Connection;

use crate::local::list;
use crate::recent::{Change, Transaction};
use crate::rows::{all, execute, failed, from_json, from_time, one, record, records, to_json, to_limit, to_time};
use crate::store::Sqlite;

/// The number of jobs that one read returns.
const PAGE: usize = 256;
/// The number of heads of a ready list that one read returns. A claim starts at one of the first eight and tries four.
const HEADS: u32 = 12;

/// When a job in its pool's ready list may start.
fn ready_at(job: &JobRecord) -> Option<i64> {
    match &job.phase {
        Phase::Ready { at, .. } => Some(to_time(*at)),
        Phase::Waiting { .. } | Phase::Blocked { .. } | Phase::Running(_) | Phase::Ended(_) => None,
    }
}

/// Writes a job's first record.
pub(crate) fn insert(db: &Transaction<'_>, job: &JobRecord) -> Stored<()> {
    // Not `OR REPLACE`, which runs no triggers for the row that it replaces.
    let text = "INSERT INTO jobs (run, job_index, pool, ready_at, record) VALUES (?1, ?2, ?3, ?4, ?5)
                ON CONFLICT (run, job_index) DO UPDATE SET pool = ?3, ready_at = ?4, record = ?5";
    let (run, pool) = (job.key.run.as_str(), job.pool.as_str());
    execute(db, text, (run, job.key.index, pool, ready_at(job), to_json(job)?))?;
    db.changed(Change::Job(job.key.clone(), None));
    Ok(())
}

fn read_job(db: &Connection, run: &RunKey, index: JobIndex) -> Stored<Option<JobRecord>> {
    record(db, "SELECT record FROM jobs WHERE run = ?1 AND job_index = ?2", (run.as_str(), index))
}

/// Replaces a job's record, and adds a change event if the job ended.
fn replace(db: &Transaction<'_>, old: &JobRecord, new: &JobRecord) -> Stored<()> {
    let text = "UPDATE jobs SET ready_at = ?3, record = ?4 WHERE run = ?1 AND job_index = ?2";
    execute(db, text, (new.key.run.as_str(), new.key.index, ready_at(new), to_json(new)?))?;
    db.changed(Change::Job(new.key.clone(), Some(Box::new(new.clone()))));
    if new.is_ended() && !old.is_ended() {
        list(db, Work::ChangeEvent(ChangeEvent::JobEnded(Box::new(new.clone()))))?;
    }
    let reported = ChangeEvent::of_reported_job(old, new);
    reported.map_or(Ok(()), |event| list(db, Work::ChangeEvent(event)))
}

/// Reads a shard, if it exists.
fn read_shard(db: &Connection, key: &JobKey, shard: u32) -> Stored<Option<ShardWaits>> {
    let text = "SELECT members, need_failed FROM wait_shards WHERE run = ?1 AND job_index = ?2 AND shard = ?3";
    one(db, text, (key.run.as_str(), key.index, shard), |row| {
        let members = from_json(row.get_ref(0).map_err(failed)?)?;
        Ok(ShardWaits { members, need_failed: row.get(1).map_err(failed)? })
    })
}

impl JobStore for Sqlite {
    async fn job(&self, key: &JobKey, _how: Consistency) -> Stored<Option<JobRecord>> {
        match self.recent.job(key) {
            Some(job) => Ok(Some(job)),
            None => self.read(|db| read_job(db, &key.run, key.index)),
        }
    }

    async fn jobs_at(&self, run: &RunKey, indexes: &[JobIndex], _how: Consistency) -> Stored<Vec<Option<JobRecord>>> {
        self.read(|db| indexes.iter().map(|&index| read_job(db, run, index)).collect())
    }

    async fn jobs(&self, keys: &[JobKey], _how: Consistency) -> Stored<Vec<Option<JobRecord>>> {
        self.read(|db| keys.iter().map(|key| read_job(db, &key.run, key.index)).collect())
    }

    async fn jobs_from(&self, run: &RunKey, from: JobIndex, most: usize, _how: Consistency) -> Stored<Vec<JobRecord>> {
        // Whether a run's jobs have ended is asked after each report, mostly of the first job that had not.
        if most == 1
            && let Some(job) = self.recent.job(&JobKey { run: run.clone(), index: from })
        {
            return Ok(vec![job]);
        }
        let text = "SELECT record FROM jobs WHERE run = ?1 AND job_index >= ?2 ORDER BY job_index LIMIT ?3";
        self.read(|db| records(db, text, (run.as_str(), from, to_limit(most.min(PAGE)))))
    }

    async fn specs(&self, run: &RunKey, indexes: &[JobIndex]) -> Stored<Vec<JobSpec>> {
        let text = "SELECT spec FROM specs WHERE run = ?1 AND job_index = ?2";
        self.read(|db| {
            indexes.iter().filter_map(|index| record(db, text, (run.as_str(), *index)).transpose()).collect()
        })
    }

    async fn update(&self, key: &JobKey, update: JobUpdate) -> Stored<Updated<JobRecord>> {
        let key = key.clone();
        self.write(move |db| {
            let kept = db.kept_job(&key);
            let job = kept.map_or_else(|| read_job(db, &key.run, key.index), |job| Ok(Some(job)))?;
            let Some(job) = job else { return Ok(Updated::ConditionFailed(None)) };
            let Some(new) = update.apply(&job) else { return Ok(Updated::ConditionFailed(Some(job))) };
            replace(db, &job, &new)?;
            Ok(Updated::Done(new))
        })
        .await
    }

    async fn wait_shard(&self, key: &JobKey, shard: u32, _how: Consistency) -> Stored<ShardWaits> {
        self.read(|db| Ok(read_shard(db, key, shard)?.unwrap_or_default()))
    }

    async fn drop_from_shard(&self, key: &JobKey, shard: u32, member: u32, need_failed: bool) -> Stored<ShardWaits> {
        let key = key.clone();
        self.write(move |db| {
            let Some(before) = read_shard(db, &key, shard)? else { return Ok(ShardWaits::default()) };
            let mut waits = before.clone();
            waits.members.remove(&member);
            waits.need_failed |= need_failed;
            if waits != before {
                let text = "UPDATE wait_shards SET members = ?4, need_failed = ?5
                            WHERE run = ?1 AND job_index = ?2 AND shard = ?3";
                let members = to_json(&waits.members)?;
                execute(db, text, (key.run.as_str(), key.index, shard, members, waits.need_failed))?;
            }
            Ok(waits)
        })
        .await
    }

    async fn ready_heads(&self, pool: &PoolId, now: Millis) -> Stored<Vec<ReadyHead>> {
        let text = "SELECT run, job_index, ready_at FROM jobs WHERE pool = ?1 AND ready_at <= ?2
                    ORDER BY ready_at, run, job_index LIMIT ?3";
        self.read(|db| {
            all(db, text, (pool.as_str(), to_time(now), HEADS), |row| {
                let run = RunKey::from_stored(row.get(0).map_err(failed)?);
                let job = JobKey { run, index: row.get(1).map_err(failed)? };
                Ok(ReadyHead { at: from_time(row.get(2).map_err(failed)?), job })
            })
        })
    }

    async fn ready_count(&self, pool: &PoolId, most: usize) -> Stored<(u64, Option<Millis>)> {
        let text = "SELECT count(*), min(ready_at) FROM (
            SELECT ready_at FROM jobs WHERE pool = ?1 AND ready_at IS NOT NULL ORDER BY ready_at LIMIT ?2) AS counted";
        let found = self.read(|db| {
            one(db, text, (pool.as_str(), to_limit(most)), |row| {
                let count: i64 = row.get(0).map_err(failed)?;
                let oldest: Option<i64> = row.get(1).map_err(failed)?;
                Ok((count.unsigned_abs(), oldest.map(from_time)))
            })
        })?;
        Ok(found.unwrap_or_default())
    }
}
