//! Workflow and run records.

use engine::ids::{ReportHash, RunKey};
use engine::messages::ChangeEvent;
use engine::messages::Work;
use engine::ports::{
    Commit, Committed, Consistency, Idempotency, ListCursor, NewItem, RunStore, Source, Stored, Updated,
};
use engine::run::{Control, RunEnd, RunState, RunUpdate, WorkflowRecord};
use protocol::{Millis, WorkflowId};
use rusqlite::Connection;

use crate::local::list;
use crate::rows::{all, corrupt, execute, failed, from_time, one, record, records, to_json, to_limit, to_time};
use crate::{Sqlite, jobs};

/// Expired keys that one commit removes.
const EXPIRED: u32 = 20;
/// Rows of a deleted run that one step removes.
const DELETED: usize = 500;
/// Runs with a timer that is due that one read gives.
const TIMERS: usize = 300;
/// Where a run's records are, besides its control. Its jobs go last, so that a run with jobs left has something left.
const OF_A_RUN: [&str; 6] = ["logs", "outputs", "wait_shards", "specs", "definitions", "jobs"];

fn insert(db: &Connection, item: &NewItem) -> Stored<()> {
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

/// Writes a control record, and lists that the run was opened or began to be cancelled.
fn put_control(db: &Connection, old: Option<&Control>, new: &Control) -> Stored<()> {
    let text = "INSERT INTO runs (run, active, control, timer) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (run) DO UPDATE SET active = ?2, control = ?3, timer = ?4";
    let timer = new.timer.stored().map(to_time);
    execute(db, text, (new.run.as_str(), new.state.is_active(), to_json(new)?, timer))?;
    if old.map(|old| old.state) == Some(new.state) {
        return Ok(());
    }
    match new.state {
        RunState::Open => list(db, &Work::ChangeEvent(ChangeEvent::RunOpened(new.clone()))),
        RunState::Cancelling => list(db, &Work::ChangeEvent(ChangeEvent::RunCancelling(new.clone()))),
        RunState::New | RunState::Final => Ok(()),
    }
}

/// What is kept under a key, and hasn't expired.
fn read_key(db: &Connection, key: &str, now: Millis) -> Stored<Option<Idempotency>> {
    let text = "SELECT body, workflow, expires FROM idempotency WHERE key = ?1 AND expires > ?2";
    one(db, text, (key, to_time(now)), |row| {
        let workflow: String = row.get(1).map_err(failed)?;
        Ok(Idempotency {
            key: key.to_owned(),
            body: ReportHash::from_stored(row.get(0).map_err(failed)?),
            workflow: WorkflowId::new(workflow).map_err(corrupt)?,
            expires: from_time(row.get(2).map_err(failed)?),
        })
    })
}

fn put_key(db: &Connection, kept: &Idempotency, now: Millis) -> Stored<()> {
    let text = "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE expires <= ?1 LIMIT ?2)";
    execute(db, text, (to_time(now), EXPIRED))?;
    let text = "INSERT OR REPLACE INTO idempotency (key, body, workflow, expires) VALUES (?1, ?2, ?3, ?4)";
    let (body, workflow) = (kept.body.as_str(), kept.workflow.as_str());
    execute(db, text, (&kept.key, body, workflow, to_time(kept.expires))).map(drop)
}

fn is_current(db: &Connection, commit: &Commit) -> Stored<bool> {
    let current = read_workflow(db, &commit.workflow.id)?;
    Ok(match (&commit.replaces, current) {
        (None, None) => true,
        (Some(run), Some(current)) => current.run == *run && current.ended.is_some(),
        _ => false,
    })
}

fn commit_run(db: &Connection, commit: &Commit) -> Stored<Committed> {
    let now = commit.workflow.created_at;
    if let Some(new) = &commit.idempotency
        && read_key(db, &new.key, now)?.is_some()
    {
        return Ok(Committed::KeyTaken);
    }
    if !is_current(db, commit)? {
        return Ok(Committed::Superseded);
    }
    if let Some(new) = &commit.idempotency {
        put_key(db, new, now)?;
    }
    put_workflow(db, &commit.workflow)?;
    put_control(db, None, &commit.control)?;
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

    async fn definition(&self, run: &RunKey) -> Stored<Option<Source>> {
        self.read(|db| {
            one(db, "SELECT content_type, source FROM definitions WHERE run = ?1", [run.as_str()], |row| {
                Ok(Source { content_type: row.get(0).map_err(failed)?, text: row.get(1).map_err(failed)? })
            })
        })
    }

    async fn control(&self, run: &RunKey, _how: Consistency) -> Stored<Option<Control>> {
        self.read(|db| read_control(db, run))
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

    async fn open_runs(&self) -> Stored<Vec<RunKey>> {
        self.read(|db| {
            all(db, "SELECT run FROM runs WHERE active = 1", [], |row| {
                Ok(RunKey::from_stored(row.get(0).map_err(failed)?))
            })
        })
    }

    async fn timers_due(&self, by: Millis) -> Stored<Vec<RunKey>> {
        let text = "SELECT run FROM runs WHERE timer <= ?1 ORDER BY timer, run LIMIT ?2";
        self.read(|db| {
            all(db, text, (to_time(by), to_limit(TIMERS)), |row| Ok(RunKey::from_stored(row.get(0).map_err(failed)?)))
        })
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
            execute(db, "DELETE FROM runs WHERE run = ?1", [as_read.run.as_str()])?;
            Ok(true)
        })
        .await
    }

    async fn delete_some(&self, run: &RunKey, _jobs: u32) -> Stored<bool> {
        let run = run.clone();
        self.write(move |db| {
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
