//! Bounds on costs: writes of a batch step, reads of a status, repeated reads, the freshness of worker records, and the time to
//! recover. A change that keeps every promise at a higher price breaks one of these.

use std::cmp::Ordering;
use std::time::Duration;

use engine::ids::{JobKey, RunKey};
use engine::job::JobRecord;
use engine::messages::{BatchKind, BatchTask, ChangeEvent, QueueMessage};
use engine::ports::{Consistency, HEARD_EVERY, WorkerRecord};
use engine::run::{MAX_TIMER_DELAY, RunState, Timer};
use protocol::wire::Workflow;
use protocol::{Millis, WorkerId};

use crate::cell::Cell;
use crate::faults::STALE;
use crate::task::{Answer, Task};
use crate::world::{HandlerInfo, Mode, World};

/// Writes of a step of a batch task: two jobs, as `Tuning::batch_writes` says, each with its timer, and the writes that close the
/// run or arm its timer.
const BATCH_WRITES: u32 = 10;
/// Writes of a step over the dependents of a job. All dependents of a small graph are in one step, each with up to three writes.
const DEPENDENTS_WRITES: u32 = 45;
/// How many times as many writes a step may take in a run with groups: a job of a group takes four more, and each admission may
/// remove places.
const GROUPED: u32 = 6;
/// Reads of a worker's record by one process's claims in [`HEARD_EVERY`]: those that count a claim as a heartbeat, and one each 10 s
/// that names a job in the record.
const WORKER_READS: usize = 9;
/// The delay of a message in whole seconds, and the difference of clocks.
const MESSAGE_DELAY: Duration = Duration::from_secs(4);
/// The time from the expiry of a lease to the end of its attempt, if no fault happens: the largest jump of the clock, and the
/// delays of messages.
const RECOVERY: Duration = Duration::from_secs(45);
/// The same after a crash between the write of a lease and the arming of its timer: the next timer, and the sweep.
const RECOVERY_AFTER_CRASH: Duration = MAX_TIMER_DELAY.saturating_add(Duration::from_mins(3));

impl World {
    /// Checks the costs of a handler that ended.
    pub(crate) fn check_cost(&mut self, handler: &HandlerInfo, answer: &Answer) {
        match (&handler.task, answer) {
            (Task::QueueMessage { message: QueueMessage::BatchTask(batch), .. }, _) => self.check_batch(handler, batch),
            (Task::Status(_), Answer::Status(Ok(workflow))) => self.check_status_reads(handler, workflow),
            (Task::Claim { by, .. }, Answer::Claimed(Ok(_))) => self.check_worker_is_fresh(&by.id, handler.began),
            // After an unavailable call the engine tries again within the handler, and its progress may not be stored.
            (Task::Batch(records), Answer::Batch(_, Ok(())))
                if records.iter().all(is_job_ended) && self.faults.unavailable == 0.0 =>
            {
                for (run, below) in &handler.counted {
                    let known = self.expected.counted.entry(run.clone()).or_default();
                    *known = (*known).max((*below, self.step));
                }
            }
            _ => {}
        }
    }

    fn check_batch(&mut self, handler: &HandlerInfo, batch: &BatchTask) {
        let (name, mut most) = match &batch.kind {
            BatchKind::Delete { .. } | BatchKind::Admit { .. } => return,
            BatchKind::Dependents { .. } => ("writes of a step over dependents", DEPENDENTS_WRITES),
            BatchKind::Roots | BatchKind::Skip | BatchKind::Cancel => ("writes of a batch step", BATCH_WRITES),
        };
        let grouped =
            self.expected.runs.get(&batch.run).is_some_and(|run| run.jobs.iter().any(|job| job.group.is_some()));
        if grouped {
            most *= GROUPED;
        }
        let writes = handler.writes;
        self.counts.most(name, writes.into());
        if writes > most {
            self.broken(|_| format!("a batch step took {writes} writes; the bound is {most}"));
        }
    }

    /// A status of a final run reads each job once. Otherwise it may read the run again, because an eventual read may have been
    /// old.
    fn check_status_reads(&mut self, handler: &HandlerInfo, shown: &Workflow) {
        let workflow = self.store.workflows.get(&shown.id).and_then(Cell::now);
        let Some(run) = workflow.filter(|workflow| workflow.number == shown.run).map(|workflow| &workflow.run) else {
            return;
        };
        let Some(control) = self.store.controls.get(run) else { return };
        let jobs = u32::try_from(shown.jobs.len()).expect("few");
        // Before the handler began, every read showed that the run is final.
        let settled = control.now().is_some_and(|control| control.state == RunState::Final)
            && control.written_at().is_some_and(|at| at + STALE < handler.began);
        let most = if settled { jobs } else { 2 * jobs };
        let reads = handler.jobs_read.get(run).copied().unwrap_or_default();
        self.counts.most("reads of a status, % of its jobs", u64::from(100 * reads / jobs.max(1)));
        if reads > most {
            self.broken(|_| format!("a status of {jobs} jobs took {reads} reads of jobs; the bound is {most}"));
        }
    }

    /// A claim counts as a heartbeat: the worker's record is at most [`HEARD_EVERY`] old.
    fn check_worker_is_fresh(&mut self, id: &WorkerId, claimed: Millis) {
        let seen = self.store.workers.get(id).and_then(Cell::now).map(|worker: &WorkerRecord| worker.last_seen);
        let skew = Duration::from_millis(2 * self.faults.skew);
        if !self.expected.overtaken.contains(id) && seen.is_none_or(|seen| seen + HEARD_EVERY + skew < claimed) {
            self.broken(|_| format!("worker {id} claimed, and its record doesn't show that"));
        }
    }

    /// A worker's record is written. A slow handler may overwrite the record of a later claim.
    pub(crate) fn note_worker(&mut self, new: &WorkerRecord) {
        match self.store.workers.get(&new.id).and_then(Cell::now).map(|old| old.last_seen.cmp(&new.last_seen)) {
            Some(Ordering::Greater) => drop(self.expected.overtaken.insert(new.id.clone())),
            // A job was added to the record.
            Some(Ordering::Equal) => {}
            Some(Ordering::Less) | None => drop(self.expected.overtaken.remove(&new.id)),
        }
    }

    /// A claim reads its worker's record.
    pub(crate) fn check_worker_read(&mut self, process: usize, id: &WorkerId) {
        if !matches!(self.running.get(&self.gates.current).map(|handler| &handler.task), Some(Task::Claim { .. })) {
            return;
        }
        let clock = self.clock;
        let reads = self.expected.worker_reads.entry((process, id.clone())).or_default();
        reads.retain(|read| *read + HEARD_EVERY > clock);
        reads.push(clock);
        let count = reads.len();
        self.counts.most("reads of a worker's record", count as u64);
        if count > WORKER_READS {
            self.broken(|_| format!("a process read the record of worker {id} {count} times in {HEARD_EVERY:?}"));
        }
    }

    /// A handler reads jobs in the order of the run.
    pub(crate) fn check_forward(&mut self, run: &RunKey, from: u32, read: &[JobRecord], how: Consistency) {
        if let Some(handler) = self.running_handler() {
            *handler.jobs_read.entry(run.clone()).or_default() += u32::try_from(read.len()).expect("a page");
        }
        if how == Consistency::Strong {
            self.check_counted(run, from, read);
        }
    }

    /// What a handler of ended jobs counts as ended is not read again by one that begins later.
    fn check_counted(&mut self, run: &RunKey, from: u32, read: &[JobRecord]) {
        let counted = self.expected.counted.get(run).copied();
        let Some(handler) = self.running.get_mut(&self.gates.current) else { return };
        let Task::Batch(records) = &handler.task else { return };
        if !records.iter().all(is_job_ended) {
            return;
        }
        let ended = read.iter().take_while(|job| job.is_ended()).map(|job| job.key.index + 1).last();
        let below = handler.counted.entry(run.clone()).or_default();
        *below = (*below).max(ended.unwrap_or(from));
        let arrived = handler.arrived;
        if counted.is_some_and(|(below, step)| step < arrived && from < below) {
            self.broken(|world| {
                let key = JobKey::new(run, from);
                format!("{} was read again after it had been counted as ended", world.trace.job(&key))
            });
        }
    }

    /// An attempt ended because its lease expired at `until`. While the world is drained, that takes a bounded time.
    pub(crate) fn check_recovery(&mut self, key: &JobKey, until: Millis) {
        let Some(drained) = self.expected.drained_at.filter(|_| self.mode == Mode::Drain) else { return };
        let late = self.clock.since(until.max(drained));
        let crashes = self.faults.lossy || self.faults.kill > 0.0 || self.faults.unavailable > 0.0;
        let most = if crashes { RECOVERY_AFTER_CRASH } else { RECOVERY };
        self.counts.most(
            if crashes { "ms to recover from a crash" } else { "ms to recover" },
            u64::try_from(late.as_millis()).unwrap_or(u64::MAX),
        );
        if late > most {
            self.broken(|world| format!("{} was lost for {late:?}; the bound is {most:?}", world.trace.job(key)));
        }
    }

    /// At a quiescent point the message of every timer is under way. Without it the run waits for the sweep.
    pub(crate) fn check_timer_message(&mut self, run: &RunKey, timer: Timer) {
        let Timer::Due(due) = timer else { return };
        let is_its = |what: &QueueMessage| matches!(what, QueueMessage::Timer(other) if other == run);
        let latest = due + MESSAGE_DELAY;
        if !self.messages.iter().any(|message| is_its(&message.what) && message.at <= latest) {
            self.broken(|world| {
                format!("{} has a timer at {} without a message", world.trace.run(run), world.trace.at(due))
            });
        }
    }
}

fn is_job_ended(event: &ChangeEvent) -> bool {
    matches!(event, ChangeEvent::JobEnded(_))
}
