//! The operations of the ports on the world. Every write passes the checks.

use engine::ids::{JobKey, RunKey};
use engine::job::{JobRecord, JobUpdate, Phase};
use engine::messages::ChangeEvent;
use engine::ports::{Commit, Committed, Consistency, ListCursor, NewItem, Pool, PoolQueue, ShardWaits, Updated};
use engine::run::{Control, RunEnd, RunState, RunUpdate, WorkflowRecord};
use protocol::{Millis, WorkflowId, limits};

use crate::cell::Cell;
use crate::task::Partition;
use crate::world::{Mode, World};

/// The number of jobs in a partition of the change feed.
const PARTITION: u32 = 4;
/// The partition of the control record.
const CONTROL: u32 = u32::MAX;

/// The number of records that one step of a delete removes.
const DELETES_PER_STEP: usize = 3;

impl World {
    /// Replaces a job's record: checks it, adds it to the ready list if it is ready, and publishes the change if it ended.
    fn put_job(&mut self, new: JobRecord) {
        let key = new.key.clone();
        let old = self.store.jobs.get(&key).and_then(Cell::now).cloned();
        self.check_job(old.as_ref(), &new);
        let old_status = old.as_ref().map(JobRecord::status);
        if matches!(new.phase, Phase::Ready { .. }) {
            self.store.ready.entry(new.pool.clone()).or_default().insert(key.clone());
        }
        if new.is_ended() && old.is_some_and(|old| !old.is_ended()) {
            self.publish_change((key.run.clone(), key.index / PARTITION), ChangeEvent::JobEnded(Box::new(new.clone())));
        }
        self.note_job_state(old_status, &new);
        self.store.jobs.entry(key).or_default().set(Some(new), self.clock);
    }

    /// Replaces a control record: checks it, and publishes the change if the run opened or began to be cancelled.
    fn put_control(&mut self, new: Control) {
        let old = self.store.control(&new.run).cloned();
        self.check_control(old.as_ref(), &new);
        let old_state = old.map(|old| old.state);
        if let Some(event) = ChangeEvent::of_run(old_state, &new) {
            self.publish_change((new.run.clone(), CONTROL), event);
        }
        self.note_run_state(old_state, &new);
        self.store.controls.entry(new.run.clone()).or_default().set(Some(new), self.clock);
    }

    fn publish_change(&mut self, partition: Partition, event: ChangeEvent) {
        if self.faults.lossy && self.mode != Mode::Drain && self.rng.chance(0.1) {
            self.counts.add("records lost", 1);
            self.log(|| "the change feed loses the record of that".to_owned());
            return;
        }
        self.feed.entry(partition).or_default().push_back(event);
    }

    pub(crate) fn put_new(&mut self, item: NewItem) {
        match item {
            NewItem::Job(job) => {
                self.trace.name_run(&job.key.run);
                self.put_job(*job);
            }
            NewItem::Spec(key, spec) => drop(self.store.specs.insert(key, *spec)),
            NewItem::WaitShard(key, shard, members) => {
                let waits = ShardWaits { members, need_failed: false };
                self.store.shards.entry((key, shard)).or_default().set(Some(waits), self.clock);
            }
            NewItem::Definition(run, source) => {
                if self.faults.linked {
                    self.store.definitions.insert(run, source);
                }
            }
            NewItem::Inputs(run, values) => drop(self.store.inputs.insert(run, values)),
        }
    }

    pub(crate) fn commit(&mut self, commit: &Commit) -> Committed {
        let id = &commit.workflow.id;
        if let Some(new) = &commit.idempotency
            && self.store.keys.get(&new.key).is_some_and(|kept| kept.expires > commit.workflow.created_at)
        {
            return Committed::KeyTaken;
        }
        if !commit.fits(self.store.workflows.get(id).and_then(Cell::now)) {
            return Committed::Superseded;
        }
        self.trace.name_workflow(id);
        self.check_commit(commit);
        if let Some(new) = &commit.idempotency {
            self.store.keys.insert(new.key.clone(), new.clone());
        }
        self.put_workflow(commit.workflow.clone());
        self.put_control(commit.control.clone());
        Committed::Yes
    }

    fn put_workflow(&mut self, new: WorkflowRecord) {
        let old = self.store.workflows.get(&new.id).and_then(Cell::now).cloned();
        self.check_workflow(old.as_ref(), &new);
        self.store.workflows.entry(new.id.clone()).or_default().set(Some(new), self.clock);
    }

    pub(crate) fn end_workflow(&mut self, id: &WorkflowId, run: &RunKey, end: RunEnd) -> bool {
        let current = self.store.workflows.get(id).and_then(Cell::now);
        let Some(current) = current.filter(|workflow| workflow.run == *run && workflow.ended.is_none()) else {
            return false;
        };
        self.put_workflow(WorkflowRecord { ended: Some(end), ..current.clone() });
        true
    }

    pub(crate) fn update_control(&mut self, run: &RunKey, update: RunUpdate) -> Updated<Control> {
        if let (RunUpdate::Cancel { .. }, Some(who)) = (update, self.running.get_mut(&self.gates.current)) {
            who.stopped = Some(run.clone());
        }
        let Some(control) = self.store.control(run) else { return Updated::ConditionFailed(None) };
        let Some(new) = update.apply(control) else { return Updated::ConditionFailed(Some(control.clone())) };
        self.put_control(new.clone());
        Updated::Done(new)
    }

    /// Workflows, newest first.
    pub(crate) fn listed(&mut self, after: Option<&ListCursor>, limit: usize) -> Vec<WorkflowRecord> {
        let ids: Vec<WorkflowId> = self.store.workflows.keys().cloned().collect();
        let read = |id| self.read(Consistency::Eventual, |store| store.workflows.get(id));
        let mut listed: Vec<WorkflowRecord> = ids.iter().filter_map(read).collect();
        listed.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        let older =
            |one: &WorkflowRecord| after.is_none_or(|after| (one.created_at, &one.id) < (after.created_at, &after.id));
        listed.retain(older);
        listed.truncate(limit);
        listed
    }

    /// Whether a workflow was submitted and never run.
    pub(crate) fn is_new(&self, id: &WorkflowId) -> bool {
        let workflow = self.store.workflows.get(id).and_then(Cell::now);
        let control = workflow.and_then(|workflow| self.store.control(&workflow.run));
        control.is_some_and(|control| control.state == RunState::New)
    }

    pub(crate) fn timers_due(&mut self, by: Millis) -> Vec<RunKey> {
        let runs: Vec<RunKey> = self.store.controls.keys().cloned().collect();
        let is_due = |world: &mut Self, run: &RunKey| {
            let control = world.read(Consistency::Eventual, |store| store.controls.get(run));
            control.and_then(|control| control.timer.stored()).is_some_and(|due| due <= by)
        };
        runs.into_iter().filter(|run| is_due(self, run)).collect()
    }

    pub(crate) fn delete_workflow(&mut self, as_read: &WorkflowRecord) -> bool {
        let workflow = self.store.workflows.get(&as_read.id).and_then(Cell::now);
        let state = self.store.control(&as_read.run).map(|control| control.state);
        let deletable = (as_read.ended.is_some() && state.is_some()) || state == Some(RunState::New);
        if !deletable || workflow != Some(as_read) {
            // As with a transaction, the client library's repeat gets the first answer.
            let handler = self.running.get(&self.gates.current);
            return handler.is_some_and(|who| who.stopped.as_ref() == Some(&as_read.run));
        }
        let clock = self.clock;
        self.store.workflows.entry(as_read.id.clone()).or_default().set(None, clock);
        self.store.controls.entry(as_read.run.clone()).or_default().set(None, clock);
        if let Some(who) = self.running.get_mut(&self.gates.current) {
            who.stopped = Some(as_read.run.clone());
        }
        true
    }

    pub(crate) fn delete_some(&mut self, run: &RunKey) -> bool {
        let clock = self.clock;
        let store = &mut self.store;
        let jobs = store.jobs.iter_mut().filter(|(key, cell)| key.run == *run && cell.now().is_some());
        let mut left = DELETES_PER_STEP;
        for (_, cell) in jobs.take(left) {
            cell.set(None, clock);
            left -= 1;
        }
        if left < DELETES_PER_STEP {
            return true;
        }
        store.specs.retain(|key, _| key.run != *run);
        store.shards.retain(|(key, _), _| key.run != *run);
        store.outputs.retain(|(key, _), _| key.run != *run);
        self.expected.gone.insert(run.clone());
        false
    }

    pub(crate) fn update_job(&mut self, key: &JobKey, update: &JobUpdate) -> Updated<JobRecord> {
        let Some(job) = self.store.job(&key.run, key.index) else { return Updated::ConditionFailed(None) };
        let changed = self.bug.map_or_else(|| update.apply(job), |bug| bug.apply(update, job));
        let Some(new) = changed else { return Updated::ConditionFailed(Some(job.clone())) };
        self.put_job(new.clone());
        Updated::Done(new)
    }

    pub(crate) fn drop_from_shard(&mut self, key: &JobKey, shard: u32, member: u32, failed: bool) -> ShardWaits {
        let Some(cell) = self.store.shards.get_mut(&(key.clone(), shard)) else { return ShardWaits::default() };
        let mut left = cell.now().cloned().unwrap_or_default();
        left.members.remove(&member);
        left.need_failed |= failed;
        cell.set(Some(left.clone()), self.clock);
        left
    }

    pub(crate) fn add_pool(&mut self, pool: &Pool, now: Millis) {
        let cell = self.store.pools.entry(pool.id.clone()).or_default();
        let queue = cell.now().and_then(|(pool, _)| pool.queue.clone());
        cell.set(Some((Pool { queue, ..pool.clone() }, now)), self.clock);
    }

    pub(crate) fn pools(&mut self, now: Millis) -> Vec<Pool> {
        let ids: Vec<_> = self.store.pools.keys().cloned().collect();
        let pools = ids.iter().filter_map(|id| self.read(Consistency::Eventual, |store| store.pools.get(id)));
        pools.filter(|(_, used_at)| now.since(*used_at) < limits::POOL_TIME).map(|(pool, _)| pool).collect()
    }

    pub(crate) fn want_queue(&mut self, pool: &Pool, now: Millis) -> PoolQueue {
        let queue = PoolQueue { url: format!("queue:{}", pool.id.as_str()), wanted_at: now };
        let cell = self.store.pools.entry(pool.id.clone()).or_default();
        let used_at = cell.now().map_or(now, |(_, used_at)| *used_at);
        cell.set(Some((Pool { queue: Some(queue.clone()), ..pool.clone() }, used_at)), self.clock);
        queue
    }
}
