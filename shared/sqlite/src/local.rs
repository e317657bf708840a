//! The change feed and the queue of long work, as one list; and the leases by their end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::ids::{JobKey, RunKey, Ticket};
use engine::ports::{Dispatcher, Local, PoolQueue, Stored, Walk, Work};
use protocol::Millis;
use rusqlite::Connection;

use crate::Sqlite;
use crate::rows::{all, execute, failed, from_json, from_time, one, to_json, to_limit, to_time};

/// Leases that one read gives.
const LEASES: usize = 300;

/// Puts a piece of work on the list.
pub(crate) fn list(db: &Connection, work: &Work) -> Stored<()> {
    execute(db, "INSERT INTO work (work) VALUES (?1)", [to_json(work)?]).map(drop)
}

impl Local for Sqlite {
    async fn next_work(&self) -> Stored<Option<(u64, Work)>> {
        // What is done may still be in the table.
        let done = self.done.load(Ordering::Acquire).cast_signed();
        self.read(|db| {
            one(db, "SELECT number, work FROM work WHERE number > ?1 ORDER BY number LIMIT 1", [done], |row| {
                let number: i64 = row.get(0).map_err(failed)?;
                Ok((number.cast_unsigned(), from_json(row.get_ref(1).map_err(failed)?)?))
            })
        })
    }

    async fn work_done(&self, number: u64) -> Stored<()> {
        self.done.fetch_max(number, Ordering::Release);
        Ok(())
    }

    async fn overdue(&self, now: Millis) -> Stored<(Vec<JobKey>, Option<Millis>)> {
        self.read(|db| {
            let text = "SELECT run, place, lease_until FROM jobs WHERE lease_until <= ?1
                        ORDER BY lease_until, run, place LIMIT ?2";
            let mut over = all(db, text, (to_time(now), to_limit(LEASES + 1)), |row| {
                let run = RunKey::from_stored(row.get(0).map_err(failed)?);
                let key = JobKey { run, index: row.get(1).map_err(failed)? };
                Ok((key, from_time(row.get(2).map_err(failed)?)))
            })?;
            // With more of them over, the next is one that is over too.
            let mut next = over.get(LEASES).map(|(_, until)| *until);
            over.truncate(LEASES);
            if next.is_none() {
                let text = "SELECT lease_until FROM jobs WHERE lease_until > ?1 ORDER BY lease_until LIMIT 1";
                next = one(db, text, [to_time(now)], |row| row.get(0).map(from_time).map_err(failed))?;
            }
            Ok((over.into_iter().map(|(key, _)| key).collect(), next))
        })
    }

    fn pass(&self, time: Duration) {
        self.ahead.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Dispatcher for Sqlite {
    async fn ticket(&self, _queue: &PoolQueue, _ticket: Ticket) -> Stored<()> {
        Ok(())
    }

    async fn walk(&self, walk: Walk) -> Stored<()> {
        self.write(move |db| list(db, &Work::Walk(walk))).await
    }
}
