//! The change feed and the queue, in one table; and the timers of runs.

use engine::ids::{RunKey, Ticket};
use engine::messages::{BatchTask, Reconcile, Work};
use engine::ports::{Dispatcher, LocalWork, PoolQueue, Stored};
use engine::run::WorkflowRecord;
use protocol::Millis;

use crate::recent::{Change, Next, Transaction};
use crate::rows::{
    all, execute, failed, from_json, from_time, locked, one, records, run_key, to_json, to_limit, to_time,
};
use crate::store::Sqlite;

/// Adds an item of work to the list.
pub(crate) fn list(db: &Transaction<'_>, work: Work) -> Stored<()> {
    execute(db, "INSERT INTO work (work) VALUES (?1)", [to_json(&work)?])?;
    db.changed(Change::Listed(db.last_insert_rowid().cast_unsigned(), Box::new(work)));
    Ok(())
}

impl LocalWork for Sqlite {
    async fn next_work(&self) -> Stored<Option<(u64, Work)>> {
        let version = match self.recent.next_work() {
            Next::Item(number, work) => return Ok(Some((number, *work))),
            Next::Nothing => return Ok(None),
            Next::Unknown(version) => version,
        };
        // Items that are done are removed later, with the next transaction.
        let done = self.recent.done().cast_signed();
        let found = self.read(|db| {
            one(db, "SELECT number, work FROM work WHERE number > ?1 ORDER BY number LIMIT 1", [done], |row| {
                let number: i64 = row.get(0).map_err(failed)?;
                Ok((number.cast_unsigned(), from_json(row.get_ref(1).map_err(failed)?)?))
            })
        })?;
        if found.is_none() {
            self.recent.file_lists_none(version);
        }
        Ok(found)
    }

    fn may_have_work(&self) -> bool {
        self.recent.may_have_work()
    }

    async fn work_done(&self, number: u64) -> Stored<()> {
        self.recent.work_done(number);
        Ok(())
    }

    async fn expired(&self, before: Millis, limit: usize) -> Stored<Vec<WorkflowRecord>> {
        let text = "SELECT workflows.record FROM workflows JOIN runs ON runs.run = workflows.record ->> '$.run'
                    WHERE created_at < ?1 AND active = 0 AND coalesce(control ->> '$.opened_at', created_at) < ?1
                    ORDER BY created_at LIMIT ?2";
        self.read(|db| records(db, text, (to_time(before), to_limit(limit))))
    }

    async fn active_runs(&self, after: Option<&RunKey>, limit: usize) -> Stored<Vec<RunKey>> {
        let text = "SELECT run FROM runs WHERE active = 1 AND run > ?1 ORDER BY run LIMIT ?2";
        let after = after.map_or("", RunKey::as_str);
        self.read(|db| all(db, text, (after, to_limit(limit)), run_key))
    }

    async fn next_timer(&self) -> Stored<Option<Millis>> {
        let text = "SELECT timer FROM runs WHERE timer IS NOT NULL ORDER BY timer LIMIT 1";
        self.read(|db| one(db, text, [], |row| row.get(0).map(from_time).map_err(failed)))
    }

    fn on_timer_set(&self, tell: Box<dyn Fn(Millis) + Send + Sync>) {
        *locked(&self.armed) = Some(tell.into());
    }
}

impl Dispatcher for Sqlite {
    async fn send_ticket(&self, _queue: &PoolQueue, _ticket: Ticket) -> Stored<()> {
        Ok(())
    }

    async fn send_batch(&self, batch: BatchTask) -> Stored<()> {
        self.write(move |db| list(db, Work::BatchTask(batch))).await
    }

    async fn send_timer(&self, _run: &RunKey, at: Millis, _now: Millis) -> Stored<()> {
        // The due time is in the run's record. The callback wakes the process that waits for it.
        let armed = locked(&self.armed).clone();
        if let Some(tell) = armed {
            tell(at);
        }
        Ok(())
    }

    async fn send_reconcile(&self, reconcile: Reconcile) -> Stored<()> {
        self.write(move |db| list(db, Work::Reconcile(reconcile))).await
    }
}
