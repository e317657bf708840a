//! Workflow and run records.

use engine::ids::RunKey;
use engine::messages::{BatchKind, BatchTask, ChangeEvent, Work};
use engine::ports::{
    Commit, Committed, Consistency, Idempotency, ListCursor, NewItem, RunStore, Source, Stored, Updated,
};
use engine::run::{Control, RunEnd, RunState, RunUpdate, WorkflowRecord};
use protocol::wire::InputValues;
use protocol::{Millis, WorkflowId};
use rusqlite::Connection;

use crate::jobs;
use crate::local::list;
use crate::recent::{Change, Transaction};
use crate::rows::{all, delete_expired, execute, failed, one, record, records, run_key, to_json, to_limit, to_time};
use crate::store::Sqlite;

/// The number of rows of a deleted run that one step removes.
const DELETED: usize = 500;
/// The number of runs with an overdue timer that one read returns.
const TIMERS: usize = 300;
/// The tables with a run's records, in the order of deletion.
const OF_A_RUN: [&str; 9] =
    ["logs", "outputs", "places", "holders", "wait_shards", "specs", "definitions", "inputs", "jobs"];

fn insert(db: &Transaction<'_>, item: &NewItem) -> Stored<()> {
    match item {
        NewItem::Job(job) => jobs::insert(db, job),
        NewItem::Spec(key, spec) => {
            let text = "INSERT OR REPLACE INTO specs (run, job_index, spec) VALUES (?1, ?2, ?3)";
            execute(db, text, (key.run.as_str(), key.index, to_json(spec)?)).map(drop)
        }
        NewItem::WaitShard(key, shard, waits) => {
            let text = "INSERT OR REPLACE INTO wait_shards (run, job_index, shard, members) VALUES (?1, ?2, ?3, ?4)";
            execute(db, text, (key.run.as_str(), key.index, shard, to_json(waits)?)).map(drop)
        }
        NewItem::Inputs(run, values) => {
            let text = "INSERT OR REPLACE INTO inputs (run, input_values) VALUES (?1, ?2)";
            execute(db, text, (run.as_str(), to_json(values)?)).map(drop)
        }
        NewItem::Definition(run, source) => {
            let text = "INSERT OR REPLACE INTO definitions (run, content_type, source) VALUES (?1, ?2, ?3)";
            execute(db, text, (run.as_str(), &source.content_type, &source.text)).map(drop)
        }
    }
}

fn read_workflow(db: &Connection, id: &WorkflowId) -> Stored<Option<WorkflowRecord>> {
    record(db, "SELECT record FROM workflows WHERE id = ?1", [id.as_str()])
}

fn put_workflow(db: &Connection, workflow: &WorkflowRecord) -> Stored<()> {
    let text = "INSERT INTO workflows (id, created_at, record) VALUES (?1, ?2, ?3)
                ON CONFLICT (id) DO UPDATE SET created_at = ?2, record = ?3";
    execute(db, text, (workflow.id.as_str(), to_time(workflow.created_at), to_json(workflow)?)).map(drop)
}

fn read_control(db: &Connection, run: &RunKey) -> Stored<Option<Control>> {
    record(db, "SELECT control FROM runs WHERE run = ?1", [run.as_str()])
}

/// Deletes a control record, and queues the deletion of the run's other records.
fn delete_run(db: &Transaction<'_>, run: &RunKey) -> Stored<()> {
    let Some(control) = read_control(db, run)? else { return Ok(()) };
    execute(db, "DELETE FROM runs WHERE run = ?1", [run.as_str()])?;
    db.changed(Change::Control(run.clone(), None));
    let kind = BatchKind::Delete { jobs: control.jobs };
    list(db, Work::BatchTask(BatchTask::new(run.clone(), kind, 0)))
}

/// Writes a control record, and adds a change event if the run was opened or cancelled.
fn put_control(db: &Transaction<'_>, old: Option<&Control>, new: &Control) -> Stored<()> {
    let text = "INSERT INTO runs (run, active, control, timer) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (run) DO UPDATE SET active = ?2, control = ?3, timer = ?4";
    let timer = new.timer.stored().map(to_time);
    execute(db, text, (new.run.as_str(), new.state.is_active(), to_json(new)?, timer))?;
    db.changed(Change::Control(new.run.clone(), Some(Box::new(new.clone()))));
    let before = old.map(|old| old.state);
    let events = [ChangeEvent::of_run(before, new), ChangeEvent::of_reported_run(before, new)];
    events.into_iter().flatten().try_for_each(|event| list(db, Work::ChangeEvent(event)))
}

/// The answer stored for a key, if it hasn't expired.
fn read_key(db: &Connection, key: &str, now: Millis) -> Stored<Option<Idempotency>> {
    record(db, "SELECT record FROM idempotency WHERE key = ?1 AND expires > ?2", (key, to_time(now)))
}

fn put_key(db: &Connection, kept: &Idempotency, now: Millis) -> Stored<()> {
    delete_expired(db, "idempotency", "expires", now)?;
    let text = "INSERT OR REPLACE INTO idempotency (key, expires, record) VALUES (?1, ?2, ?3)";
    execute(db, text, (&kept.key, to_time(kept.expires), to_json(kept)?)).map(drop)
}

fn commit_run(db: &Transaction<'_>, commit: &Commit) -> Stored<Committed> {
    let now = commit.workflow.created_at;
    if let Some(new) = &commit.idempotency
        && read_key(db, &new.key, now)?.is_some()
    {
        return Ok(Committed::KeyTaken);
    }
    if !commit.fits(read_workflow(db, &commit.workflow.id)?.as_ref()) {
        return Ok(Committed::Superseded);
    }
    if let Some(new) = &commit.idempotency {
        put_key(db, new, now)?;
    }
    put_workflow(db, &commit.workflow)?;
    put_control(db, None, &commit.control)?;
    // Nothing reads the records of a replaced run.
    commit.replaces.as_ref().map_or(Ok(()), |replaced| delete_run(db, replaced))?;
    Ok(Committed::Yes)
}

impl RunStore for Sqlite {
    async fn put_new(&self, items: Vec<NewItem>) -> Stored<()> {
        self.write(move |db| items.iter().try_for_each(|item| insert(db, item))).await
    }

    async fn commit(&self, commit: Commit) -> Stored<Committed> {
        self.write(move |db| commit_run(db, &commit)).await
    }

    async fn idempotency(&self, key: &str, now: Millis) -> Stored<Option<Idempotency>> {
        self.read(|db| read_key(db, key, now))
    }

    async fn workflow(&self, id: &WorkflowId, _how: Consistency) -> Stored<Option<WorkflowRecord>> {
        self.read(|db| read_workflow(db, id))
    }

    async fn end_workflow(&self, id: &WorkflowId, run: &RunKey, end: RunEnd) -> Stored<bool> {
        let (id, run) = (id.clone(), run.clone());
        self.write(move |db| {
            let current = read_workflow(db, &id)?.filter(|workflow| workflow.run == run && workflow.ended.is_none());
            let Some(workflow) = current else { return Ok(false) };
            put_workflow(db, &WorkflowRecord { ended: Some(end), ..workflow })?;
            Ok(true)
        })
        .await
    }

    async fn workflows(&self, after: Option<&ListCursor>, limit: usize) -> Stored<Vec<WorkflowRecord>> {
        self.read(|db| match after {
            None => {
                let text = "SELECT record FROM workflows ORDER BY created_at DESC, id DESC LIMIT ?1";
                records(db, text, [to_limit(limit)])
            }
            Some(after) => {
                let text = "SELECT record FROM workflows WHERE (created_at, id) < (?1, ?2)
                            ORDER BY created_at DESC, id DESC LIMIT ?3";
                records(db, text, (to_time(after.created_at), after.id.as_str(), to_limit(limit)))
            }
        })
    }

    async fn inputs(&self, run: &RunKey) -> Stored<Option<InputValues>> {
        self.read(|db| record(db, "SELECT input_values FROM inputs WHERE run = ?1", [run.as_str()]))
    }

    async fn definition(&self, run: &RunKey) -> Stored<Option<Source>> {
        self.read(|db| {
            one(db, "SELECT content_type, source FROM definitions WHERE run = ?1", [run.as_str()], |row| {
                Ok(Source { content_type: row.get(0).map_err(failed)?, text: row.get(1).map_err(failed)? })
            })
        })
    }

    async fn control(&self, run: &RunKey, _how: Consistency) -> Stored<Option<Control>> {
        let version = match self.recent.control(run) {
            Ok(control) => return Ok(Some(control)),
            Err(version) => version,
        };
        let found = self.read(|db| read_control(db, run))?;
        if let Some(control) = &found {
            self.recent.keep_control(version, control);
        }
        Ok(found)
    }

    async fn update_control(&self, run: &RunKey, update: RunUpdate) -> Stored<Updated<Control>> {
        let run = run.clone();
        self.write(move |db| {
            let Some(control) = read_control(db, &run)? else { return Ok(Updated::ConditionFailed(None)) };
            let Some(new) = update.apply(&control) else { return Ok(Updated::ConditionFailed(Some(control))) };
            put_control(db, Some(&control), &new)?;
            Ok(Updated::Done(new))
        })
        .await
    }

    async fn timers_due(&self, by: Millis) -> Stored<Vec<RunKey>> {
        let text = "SELECT run FROM runs WHERE timer <= ?1 ORDER BY timer, run LIMIT ?2";
        self.read(|db| all(db, text, (to_time(by), to_limit(TIMERS)), run_key))
    }

    async fn renew(&self, _workflow: &WorkflowRecord, _jobs: u32) -> Stored<()> {
        Ok(())
    }

    async fn delete_workflow(&self, as_read: &WorkflowRecord) -> Stored<bool> {
        let as_read = as_read.clone();
        self.write(move |db| {
            let state = read_control(db, &as_read.run)?.map(|control| control.state);
            let deletable = as_read.ended.is_some() || state == Some(RunState::New);
            if !deletable || read_workflow(db, &as_read.id)?.as_ref() != Some(&as_read) {
                return Ok(false);
            }
            execute(db, "DELETE FROM workflows WHERE id = ?1", [as_read.id.as_str()])?;
            delete_run(db, &as_read.run)?;
            Ok(true)
        })
        .await
    }

    async fn check_writable(&self) -> Stored<()> {
        // A row that needs pages of its own: a smaller write may find room in the pages that are there.
        let text = "INSERT OR REPLACE INTO definitions (run, source) VALUES ('check', zeroblob(32768))";
        self.write(move |db| execute(db, text, ()).map(drop)).await?;
        self.write(|db| execute(db, "DELETE FROM definitions WHERE run = 'check'", ()).map(drop)).await
    }

    async fn delete_some(&self, run: &RunKey, _jobs: u32) -> Stored<bool> {
        let run = run.clone();
        self.write(move |db| {
            db.changed(Change::JobsOf(run.clone()));
            let mut left = DELETED;
            for table in OF_A_RUN {
                let text =
                    format!("DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE run = ?1 LIMIT ?2)");
                left -= execute(db, &text, (run.as_str(), to_limit(left)))?;
                if left == 0 {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }
}
