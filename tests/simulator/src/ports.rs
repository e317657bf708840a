//! The engine's ports on a simulated world. Each call waits at a gate, then is one atomic operation.

use std::sync::Arc;

use bytes::Bytes;
use engine::clock::{Clock, Rng};
use engine::ids::{JobIndex, JobKey, PoolId, Random, RunKey, Ticket};
use engine::job::{JobRecord, JobSpec, JobUpdate, OutputsRef, Phase};
use engine::messages::{BatchTask, QueueMessage, Reconcile};
use engine::ports::{
    ArtifactStore, Commit, Committed, Consistency, Dispatcher, Idempotency, JobStore, ListCursor, LogStore, NewItem,
    Pool, PoolQueue, ReadyHead, RunStore, ShardWaits, Source, StoreError, Stored, Updated, WorkerRecord,
    WorkerRegistry,
};
use engine::run::{Control, RunEnd, RunState, RunUpdate, WorkflowRecord};
use protocol::requests::LogPiece;
use protocol::wire::InputValues;
use protocol::{LabelSet, Millis, Outputs, WorkerId, WorkflowId};

use crate::bugs::Bug;
use crate::call::Call;
use crate::gate::Kind;
use crate::task::Task;
use crate::trace::{Trace, list_indexes};
use crate::words;
use crate::world::{Shared, World};

/// The number of heads that one read of a ready list returns.
const HEADS: usize = 6;
/// The largest number of jobs that one read of a run returns.
const PAGE: usize = 4;

/// One process's access to the world. Its clock is its own; everything else is shared.
pub(crate) struct Process {
    pub(crate) shared: Arc<Shared>,
    number: usize,
}

impl Process {
    pub(crate) fn new(shared: Arc<Shared>, number: usize) -> Self {
        Self { shared, number }
    }

    /// `what` is called only if the trace is enabled.
    pub(crate) fn call<F>(&self, kind: Kind, what: impl FnOnce(&Trace) -> String, op: F) -> Call<'_, F> {
        let what = self.shared.traced.then(|| what(&self.shared.world().trace));
        Call::new(&self.shared, kind, what, op)
    }

    pub(crate) fn read<F>(&self, what: impl FnOnce(&Trace) -> String, op: F) -> Call<'_, F> {
        self.call(Kind::Read, what, op)
    }

    pub(crate) fn write<F>(&self, what: impl FnOnce(&Trace) -> String, op: F) -> Call<'_, F> {
        self.call(Kind::Write, what, op)
    }
}

pub(crate) fn how_read(how: Consistency) -> &'static str {
    match how {
        Consistency::Eventual => "reads, maybe old,",
        Consistency::Strong => "reads",
    }
}

impl RunStore for Process {
    async fn put_new(&self, items: Vec<NewItem>) -> Stored<()> {
        let what = |_: &Trace| format!("writes {} new records", items.len());
        self.write(what, |world: &mut World| {
            items.iter().cloned().for_each(|item| world.put_new(item));
            Ok(())
        })
        .await
    }

    async fn commit(&self, commit: Commit) -> Stored<Committed> {
        let what = |trace: &Trace| format!("commits {}", trace.run(&commit.control.run));
        self.write(what, |world: &mut World| Ok(world.commit(&commit))).await
    }

    async fn idempotency(&self, key: &str, now: Millis) -> Stored<Option<Idempotency>> {
        let what = |_: &Trace| format!("reads the answer under {key}");
        self.read(what, |world: &mut World| Ok(world.store.keys.get(key).filter(|kept| kept.expires > now).cloned()))
            .await
    }

    async fn workflow(&self, id: &WorkflowId, how: Consistency) -> Stored<Option<WorkflowRecord>> {
        let what = |trace: &Trace| format!("{} {}", how_read(how), trace.workflow(id));
        self.read(what, |world: &mut World| Ok(world.read(how, |store| store.workflows.get(id)))).await
    }

    /// Only re-runs that a forge asks for depend on definitions.
    async fn definition(&self, run: &RunKey) -> Stored<Option<Source>> {
        if !self.shared.world().faults.linked {
            return Ok(None);
        }
        let what = |trace: &Trace| format!("reads the definition of {}", trace.run(run));
        self.read(what, |world: &mut World| Ok(world.store.definitions.get(run).cloned())).await
    }

    async fn inputs(&self, run: &RunKey) -> Stored<Option<InputValues>> {
        let what = |trace: &Trace| format!("reads the inputs of {}", trace.run(run));
        self.read(what, |world: &mut World| Ok(world.store.inputs.get(run).cloned())).await
    }

    async fn end_workflow(&self, id: &WorkflowId, run: &RunKey, end: RunEnd) -> Stored<bool> {
        let what = |trace: &Trace| format!("ends {} as {}", trace.workflow(id), end.status);
        self.write(what, |world: &mut World| Ok(world.end_workflow(id, run, end))).await
    }

    async fn workflows(&self, after: Option<&ListCursor>, limit: usize) -> Stored<Vec<WorkflowRecord>> {
        let what = |_: &Trace| "lists workflows, maybe old,".to_owned();
        self.read(what, |world: &mut World| Ok(world.listed(after, limit))).await
    }

    async fn control(&self, run: &RunKey, how: Consistency) -> Stored<Option<Control>> {
        let what = |trace: &Trace| format!("{} the control of {}", how_read(how), trace.run(run));
        self.read(what, |world: &mut World| {
            let control = world.read(how, |store| store.controls.get(run));
            Ok(world.control_as_read(control))
        })
        .await
    }

    async fn update_control(&self, run: &RunKey, update: RunUpdate) -> Stored<Updated<Control>> {
        let what = |trace: &Trace| format!("{} {}", words::of_run_update(&update, trace), trace.run(run));
        self.write(what, |world: &mut World| Ok(world.update_control(run, update))).await
    }

    async fn timers_due(&self, by: Millis) -> Stored<Vec<RunKey>> {
        let what = |trace: &Trace| format!("lists runs whose timer is due by {}, maybe old", trace.at(by));
        self.read(what, |world: &mut World| Ok(world.timers_due(by))).await
    }

    async fn renew(&self, workflow: &WorkflowRecord, _jobs: u32) -> Stored<()> {
        self.write(|trace| format!("keeps {} from now on", trace.workflow(&workflow.id)), |_: &mut World| Ok(())).await
    }

    async fn delete_workflow(&self, as_read: &WorkflowRecord) -> Stored<bool> {
        let what = |trace: &Trace| format!("deletes {}", trace.workflow(&as_read.id));
        self.write(what, |world: &mut World| Ok(world.delete_workflow(as_read))).await
    }

    async fn delete_some(&self, run: &RunKey, _jobs: u32) -> Stored<bool> {
        let what = |trace: &Trace| format!("deletes some of what is left of {}; is there more", trace.run(run));
        self.write(what, |world: &mut World| Ok(world.delete_some(run))).await
    }
}

impl JobStore for Process {
    async fn job(&self, key: &JobKey, how: Consistency) -> Stored<Option<JobRecord>> {
        let what = |trace: &Trace| format!("{} {}", how_read(how), trace.job(key));
        self.read(what, |world: &mut World| Ok(world.read_job(key, how))).await
    }

    async fn jobs_at(&self, run: &RunKey, indexes: &[JobIndex], how: Consistency) -> Stored<Vec<Option<JobRecord>>> {
        let what = |trace: &Trace| format!("{} {} {}", how_read(how), trace.run(run), list_indexes(indexes));
        self.read(what, |world: &mut World| {
            let keys = indexes.iter().map(|&index| JobKey::new(run, index));
            Ok(keys.map(|key| world.read_job(&key, how)).collect())
        })
        .await
    }

    async fn jobs(&self, keys: &[JobKey], how: Consistency) -> Stored<Vec<Option<JobRecord>>> {
        let what = |_: &Trace| format!("{} {} jobs", how_read(how), keys.len());
        self.read(what, |world: &mut World| Ok(keys.iter().map(|key| world.read_job(key, how)).collect())).await
    }

    async fn jobs_from(&self, run: &RunKey, from: JobIndex, most: usize, how: Consistency) -> Stored<Vec<JobRecord>> {
        let what = |trace: &Trace| format!("{} {} from #{from}", how_read(how), trace.run(run));
        self.read(what, |world: &mut World| {
            let read = world.jobs_from(run, from, most, how);
            world.check_forward(run, from, &read, how);
            Ok(read)
        })
        .await
    }

    async fn specs(&self, run: &RunKey, indexes: &[JobIndex]) -> Stored<Vec<JobSpec>> {
        let what = |trace: &Trace| format!("reads the specs of {} {}", trace.run(run), list_indexes(indexes));
        self.read(what, |world: &mut World| {
            let keys = indexes.iter().map(|&index| JobKey::new(run, index));
            Ok(keys.filter_map(|key| world.store.specs.get(&key).cloned()).collect())
        })
        .await
    }

    async fn update(&self, key: &JobKey, update: JobUpdate) -> Stored<Updated<JobRecord>> {
        let what = |trace: &Trace| format!("{} {}", words::of_job_update(&update, trace), trace.job(key));
        self.write(what, |world: &mut World| Ok(world.update_job(key, &update))).await
    }

    async fn wait_shard(&self, key: &JobKey, shard: u32, how: Consistency) -> Stored<ShardWaits> {
        let what = |trace: &Trace| format!("{} shard {shard} of {}", how_read(how), trace.job(key));
        let item = (key.clone(), shard);
        self.read(what, |world: &mut World| Ok(world.read(how, |store| store.shards.get(&item)).unwrap_or_default()))
            .await
    }

    async fn drop_from_shard(&self, key: &JobKey, shard: u32, member: u32, failed: bool) -> Stored<ShardWaits> {
        let what = |trace: &Trace| {
            let failed = if failed { ", which failed," } else { "" };
            format!("drops #{member}{failed} from shard {shard} of {}", trace.job(key))
        };
        self.write(what, |world: &mut World| Ok(world.drop_from_shard(key, shard, member, failed))).await
    }

    async fn ready_heads(&self, pool: &PoolId, now: Millis) -> Stored<Vec<ReadyHead>> {
        let what = |_: &Trace| format!("reads the ready list of pool {:.4}, maybe old", pool.as_str());
        self.read(what, |world: &mut World| Ok(world.ready_heads(pool, now))).await
    }

    async fn ready_count(&self, pool: &PoolId, most: usize) -> Stored<(u64, Option<Millis>)> {
        let what = |_: &Trace| format!("counts the ready list of pool {:.4}", pool.as_str());
        self.read(what, |world: &mut World| {
            let heads = world.ready_heads(pool, Millis(u64::MAX));
            Ok((heads.len().min(most) as u64, heads.first().map(|head| head.at)))
        })
        .await
    }
}

impl ArtifactStore for Process {
    async fn put_outputs(&self, job: &JobKey, id: &str, outputs: &Outputs) -> Stored<()> {
        let what = |trace: &Trace| format!("keeps outputs of {} at {id:.4}", trace.job(job));
        let item = (job.clone(), id.to_owned());
        self.write(what, |world: &mut World| {
            let clock = world.clock;
            world.store.outputs.entry(item.clone()).or_default().set(Some(outputs.clone()), clock);
            Ok(())
        })
        .await
    }

    async fn outputs(&self, job: &JobKey, id: &str, _size: usize, how: Consistency) -> Stored<Option<Outputs>> {
        let what = |trace: &Trace| format!("{} outputs of {} at {id:.4}", how_read(how), trace.job(job));
        let item = (job.clone(), id.to_owned());
        self.read(what, |world: &mut World| Ok(world.read(how, |store| store.outputs.get(&item)))).await
    }

    async fn copy_outputs(&self, from: &JobKey, to: &JobKey, outputs: &OutputsRef) -> Stored<()> {
        let OutputsRef::External { id, size } = outputs else { return Ok(()) };
        let kept = self.outputs(from, id, *size, Consistency::Strong).await?;
        let kept = kept.ok_or_else(|| StoreError::outputs_missing(from))?;
        self.put_outputs(to, id, &kept).await
    }

    async fn publish(&self, _job: &JobKey, _document: Bytes) -> Stored<Option<String>> {
        Ok(None)
    }
}

impl LogStore for Process {
    async fn append(&self, _job: &JobKey, _attempt: u32, _pieces: Vec<LogPiece>, _before: u64) -> Stored<()> {
        self.write(|_| "keeps a log".to_owned(), |_: &mut World| Ok(())).await
    }

    async fn size(&self, _job: &JobKey, _attempt: u32) -> Stored<u64> {
        Ok(0)
    }

    async fn read(&self, _job: &JobKey, _attempt: u32, _after: Option<u64>, _bytes: usize) -> Stored<Vec<LogPiece>> {
        self.read(|_| "reads a log".to_owned(), |_: &mut World| Ok(Vec::new())).await
    }

    async fn follow(&self, _job: &JobKey, _attempt: u32, _until: Millis) -> Stored<()> {
        self.write(|_| "notes a reader of a log".to_owned(), |_: &mut World| Ok(())).await
    }

    async fn followed_until(&self, _job: &JobKey, _attempt: u32) -> Stored<Option<Millis>> {
        self.read(|_| "reads who reads a log".to_owned(), |_: &mut World| Ok(None)).await
    }
}

impl WorkerRegistry for Process {
    async fn add_pools(&self, pools: Vec<Pool>, now: Millis) -> Stored<()> {
        let what = |_: &Trace| format!("adds {} pools", pools.len());
        self.write(what, |world: &mut World| {
            for pool in &pools {
                world.add_pool(pool, now);
            }
            Ok(())
        })
        .await
    }

    async fn pools(&self, now: Millis) -> Stored<Vec<Pool>> {
        self.read(|_| "lists pools, maybe old".to_owned(), |world: &mut World| Ok(world.pools(now))).await
    }

    async fn ready_pools(&self, _labels: &LabelSet) -> Stored<Option<Vec<Pool>>> {
        Ok(None)
    }

    fn has_queues(&self) -> bool {
        true
    }

    async fn want_queue(&self, pool: &Pool, now: Millis) -> Stored<Option<PoolQueue>> {
        let what = |_: &Trace| format!("wants a queue for pool {:.4}", pool.id.as_str());
        self.write(what, |world: &mut World| Ok(Some(world.want_queue(pool, now)))).await
    }

    async fn put_worker(&self, worker: WorkerRecord) -> Stored<bool> {
        let what = |_: &Trace| format!("keeps worker {}", worker.id);
        self.write(what, |world: &mut World| {
            world.note_worker(&worker);
            let clock = world.clock;
            world.store.workers.entry(worker.id.clone()).or_default().set(Some(worker.clone()), clock);
            Ok(true)
        })
        .await
    }

    async fn worker(&self, id: &WorkerId, _now: Millis, how: Consistency) -> Stored<Option<WorkerRecord>> {
        let what = |_: &Trace| format!("{} worker {id}", how_read(how));
        self.read(what, |world: &mut World| {
            world.check_worker_read(self.number, id);
            Ok(world.read(how, |store| store.workers.get(id)))
        })
        .await
    }

    async fn workers(&self, _now: Millis, most: usize) -> Stored<Vec<WorkerRecord>> {
        let listed =
            |world: &World| world.store.workers.values().filter_map(|cell| cell.now().cloned()).take(most).collect();
        self.read(|_| "lists workers".to_owned(), |world: &mut World| Ok(listed(world))).await
    }

    async fn remove_worker(&self, id: &WorkerId) -> Stored<()> {
        self.write(
            |_| format!("forgets worker {id}"),
            |world: &mut World| {
                world.store.workers.remove(id);
                Ok(())
            },
        )
        .await
    }
}

impl Dispatcher for Process {
    async fn send_ticket(&self, _queue: &PoolQueue, ticket: Ticket) -> Stored<()> {
        let what = |trace: &Trace| format!("sends a ticket for {}", trace.job(&ticket.job));
        self.call(Kind::Send, what, |world: &mut World| {
            world.tickets.push(ticket.clone());
            Ok(())
        })
        .await
    }

    async fn send_batch(&self, batch: BatchTask) -> Stored<()> {
        self.send(QueueMessage::BatchTask(batch), Millis(0)).await
    }

    async fn send_timer(&self, run: &RunKey, at: Millis, _now: Millis) -> Stored<()> {
        self.send(QueueMessage::Timer(run.clone()), at).await
    }

    async fn send_reconcile(&self, reconcile: Reconcile) -> Stored<()> {
        self.send(QueueMessage::Reconcile(reconcile), Millis(0)).await
    }
}

impl Process {
    /// `at` is a time of this process's clock. The message's delay is computed from it.
    async fn send(&self, message: QueueMessage, at: Millis) -> Stored<()> {
        let what = |trace: &Trace| format!("asks for {}", words::of_message(&message, trace));
        self.call(Kind::Send, what, |world: &mut World| {
            let delay = at.since(world.now(self.number));
            let at = world.clock + delay;
            world.send(message.clone(), at);
            Ok(())
        })
        .await
    }
}

impl Clock for Process {
    fn now(&self) -> Millis {
        self.shared.world().now(self.number)
    }
}

impl Rng for Process {
    fn random(&self) -> Random {
        self.shared.world().rng.random()
    }
}

impl World {
    fn read_job(&mut self, key: &JobKey, how: Consistency) -> Option<JobRecord> {
        self.read(self.how_jobs_are_read(how), |store| store.jobs.get(key))
    }

    fn jobs_from(&mut self, run: &RunKey, from: JobIndex, most: usize, how: Consistency) -> Vec<JobRecord> {
        let most = most.min(self.rng.below(PAGE) + 1);
        let range = JobKey::new(run, from)..=JobKey::new(run, JobIndex::MAX);
        let keys: Vec<JobKey> = self.store.jobs.range(range).map(|(key, _)| key.clone()).collect();
        keys.iter().filter_map(|key| self.read_job(key, how)).take(most).collect()
    }

    fn ready_heads(&mut self, pool: &PoolId, now: Millis) -> Vec<ReadyHead> {
        let listed: Vec<JobKey> = self.store.ready.get(pool).into_iter().flatten().cloned().collect();
        let mut heads = Vec::new();
        for job in listed {
            let at = |record: &JobRecord| match record.phase {
                Phase::Ready { at, .. } => Some(at),
                _ => None,
            };
            let read = self.read(Consistency::Eventual, |store| store.jobs.get(&job));
            if let Some(at) = read.as_ref().and_then(at).filter(|at| *at <= now) {
                heads.push(ReadyHead { at, job });
                continue;
            }
            let gone = self
                .store
                .jobs
                .get(&job)
                .is_none_or(|cell| cell.is_fresh(self.clock) && cell.now().and_then(at).is_none());
            if gone && let Some(listed) = self.store.ready.get_mut(pool) {
                listed.remove(&job);
            }
        }
        heads.sort();
        heads.truncate(HEADS);
        heads
    }

    /// The consistency of a read of jobs, with the planted bug if there is one.
    fn how_jobs_are_read(&self, how: Consistency) -> Consistency {
        if self.bug == Some(Bug::WeakReads) { Consistency::Eventual } else { how }
    }

    /// A control record as it is read, with the planted bug if there is one.
    fn control_as_read(&self, control: Option<Control>) -> Option<Control> {
        let task = self.running.get(&self.gates.current).map(|who| &who.task);
        match (self.bug, task, control) {
            (Some(Bug::NoCancelBarrier), Some(Task::Claim { .. }), Some(control))
                if control.state == RunState::Cancelling =>
            {
                Some(Control { state: RunState::Open, ..control })
            }
            (_, _, control) => control,
        }
    }
}
