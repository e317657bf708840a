//! Workflows and runs in memory.

use engine::ids::{JobIndex, JobKey, RunKey};
use engine::messages::{BatchKind, BatchTask, ChangeEvent};
use engine::ports::{
    Commit, Committed, Consistency, Idempotency, ListCursor, NewItem, RunStore, ShardWaits, Source, Stored, Updated,
};
use engine::run::{Control, RunEnd, RunState, RunUpdate, WorkflowRecord};
use protocol::wire::InputValues;
use protocol::{Millis, WorkflowId};

use crate::store::{Memory, State};

/// The number of log pieces of a deleted run that one step removes.
const LOG_PIECES: usize = 500;
/// The number of runs with an overdue timer that one read returns.
const TIMERS: usize = 300;

impl State {
    /// Replaces a control record, and adds a change event if the run was opened or cancelled.
    fn put_control(&mut self, new: Control) {
        self.forget_timer(&new.run);
        if let Some(due) = new.timer.stored() {
            self.timers.insert((due, new.run.clone()));
        }
        let before = self.controls.get(&new.run).map(|old| old.state);
        self.feed.extend(ChangeEvent::of_run(before, &new));
        self.feed.extend(ChangeEvent::of_reported_run(before, &new));
        self.controls.insert(new.run.clone(), new);
    }

    /// Deletes a control record, and queues the deletion of the run's other records.
    fn delete_run(&mut self, run: RunKey) {
        self.forget_timer(&run);
        if let Some(Control { jobs, .. }) = self.controls.remove(&run) {
            self.batches.push_back(BatchTask::new(run, BatchKind::Delete { jobs }, 0));
        }
    }

    fn forget_timer(&mut self, run: &RunKey) {
        if let Some(due) = self.controls.get(run).and_then(|control| control.timer.stored()) {
            self.timers.remove(&(due, run.clone()));
        }
    }
}

impl RunStore for Memory {
    async fn put_new(&self, items: Vec<NewItem>) -> Stored<()> {
        let mut state = self.state();
        for item in items {
            match item {
                NewItem::Job(job) => state.put_job(*job),
                NewItem::Spec(key, spec) => drop(state.specs.insert(key, *spec)),
                NewItem::WaitShard(key, shard, members) => {
                    let waits = ShardWaits { members, need_failed: false };
                    state.shards.insert((key, shard), waits);
                }
                NewItem::Definition(run, source) => drop(state.definitions.insert(run, source)),
                NewItem::Inputs(run, values) => drop(state.inputs.insert(run, values)),
            }
        }
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Stored<Committed> {
        let mut state = self.state();
        let now = commit.workflow.created_at;
        // Each time that their number has doubled, so that a commit doesn't take longer with more keys.
        if state.idempotency.len().is_power_of_two() {
            state.idempotency.retain(|_, kept| kept.expires > now);
        }
        if let Some(new) = &commit.idempotency
            && state.idempotency.get(&new.key).is_some_and(|kept| kept.expires > now)
        {
            return Ok(Committed::KeyTaken);
        }
        if !commit.fits(state.workflows.get(&commit.workflow.id)) {
            return Ok(Committed::Superseded);
        }
        if let Some(new) = commit.idempotency {
            state.idempotency.insert(new.key.clone(), new);
        }
        state.workflows.insert(commit.workflow.id.clone(), commit.workflow);
        state.put_control(commit.control);
        if let Some(replaced) = commit.replaces {
            // Nothing reads the records of a replaced run.
            state.delete_run(replaced);
        }
        Ok(Committed::Yes)
    }

    async fn idempotency(&self, key: &str, now: Millis) -> Stored<Option<Idempotency>> {
        Ok(self.state().idempotency.get(key).filter(|kept| kept.expires > now).cloned())
    }

    async fn workflow(&self, id: &WorkflowId, _how: Consistency) -> Stored<Option<WorkflowRecord>> {
        Ok(self.state().workflows.get(id).cloned())
    }

    async fn end_workflow(&self, id: &WorkflowId, run: &RunKey, end: RunEnd) -> Stored<bool> {
        let mut state = self.state();
        let current = state.workflows.get_mut(id).filter(|workflow| workflow.run == *run && workflow.ended.is_none());
        let Some(workflow) = current else { return Ok(false) };
        workflow.ended = Some(end);
        Ok(true)
    }

    async fn workflows(&self, after: Option<&ListCursor>, limit: usize) -> Stored<Vec<WorkflowRecord>> {
        let state = self.state();
        let mut all: Vec<&WorkflowRecord> = state.workflows.values().collect();
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        let older = |workflow: &&&WorkflowRecord| {
            after.is_none_or(|after| (workflow.created_at, &workflow.id) < (after.created_at, &after.id))
        };
        Ok(all.iter().filter(older).take(limit).map(|workflow| (*workflow).clone()).collect())
    }

    async fn inputs(&self, run: &RunKey) -> Stored<Option<InputValues>> {
        Ok(self.state().inputs.get(run).cloned())
    }

    async fn definition(&self, run: &RunKey) -> Stored<Option<Source>> {
        Ok(self.state().definitions.get(run).cloned())
    }

    async fn control(&self, run: &RunKey, _how: Consistency) -> Stored<Option<Control>> {
        Ok(self.state().controls.get(run).cloned())
    }

    async fn update_control(&self, run: &RunKey, update: RunUpdate) -> Stored<Updated<Control>> {
        let mut state = self.state();
        let Some(control) = state.controls.get(run) else { return Ok(Updated::ConditionFailed(None)) };
        let Some(new) = update.apply(control) else { return Ok(Updated::ConditionFailed(Some(control.clone()))) };
        state.put_control(new.clone());
        Ok(Updated::Done(new))
    }

    async fn timers_due(&self, by: Millis) -> Stored<Vec<RunKey>> {
        let state = self.state();
        Ok(state.timers.iter().take_while(|(due, _)| *due <= by).take(TIMERS).map(|(_, run)| run.clone()).collect())
    }

    async fn renew(&self, _workflow: &WorkflowRecord, _jobs: u32) -> Stored<()> {
        Ok(())
    }

    async fn delete_workflow(&self, as_read: &WorkflowRecord) -> Stored<bool> {
        let mut state = self.state();
        let state_of_run = state.controls.get(&as_read.run).map(|control| control.state);
        let deletable = as_read.ended.is_some() || state_of_run == Some(RunState::New);
        if !deletable || state.workflows.get(&as_read.id) != Some(as_read) {
            return Ok(false);
        }
        state.workflows.remove(&as_read.id);
        state.delete_run(as_read.run.clone());
        Ok(true)
    }

    async fn delete_some(&self, run: &RunKey, _jobs: u32) -> Stored<bool> {
        let mut state = self.state();
        let first = (JobKey::new(run, 0), 0, 0);
        let pieces = state.logs.range(first..).map(|(key, _)| key).take_while(|(job, ..)| job.run == *run);
        let pieces: Vec<_> = pieces.take(LOG_PIECES).cloned().collect();
        for piece in &pieces {
            state.logs.remove(piece);
        }
        if pieces.len() == LOG_PIECES {
            return Ok(true);
        }
        let all = JobKey::new(run, 0)..=JobKey::new(run, JobIndex::MAX);
        let keys: Vec<JobKey> = state.jobs.range(all).map(|(key, _)| key.clone()).collect();
        for key in keys {
            state.jobs.remove(&key);
        }
        state.places.retain(|_, place| place.unit.run() != run);
        state.holders.retain(|_, unit| unit.run() != run);
        state.definitions.remove(run);
        state.inputs.remove(run);
        state.specs.retain(|key, _| key.run != *run);
        state.shards.retain(|(key, _), _| key.run != *run);
        state.outputs.retain(|(key, _), _| key.run != *run);
        state.ready.retain(|(_, _, key)| key.run != *run);
        Ok(false)
    }
}
