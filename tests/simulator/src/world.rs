//! The state of a simulation: stored records, messages, running handlers, and what the checks expect.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::forge::store::Item;
use engine::ids::{GroupKey, JobKey, PoolId, RunKey, Ticket, Unit};
use engine::job::{JobRecord, JobSpec};
use engine::messages::ChangeEvent;
use engine::messages::QueueMessage;
use engine::ports::{Consistency, Idempotency, Place, Pool, ShardWaits, Source, Stored, WorkerRecord};
use engine::run::{Control, WorkflowRecord};
use protocol::wire::InputValues;
use protocol::{Millis, Outputs, WorkerId, WorkflowId};

use crate::bugs::Bug;
use crate::cell::{Cell, OLD_VERSIONS};
use crate::counts::Counts;
use crate::expected::Expected;
use crate::faults::FaultConfig;
use crate::gate::Gates;
use crate::linked::Linked;
use crate::rng::Rng;
use crate::task::{Partition, Task};
use crate::trace::{Describe, Trace};

/// The phase of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Actors act, and faults happen.
    Play,
    /// Nothing new begins and no fault happens. Everything ends except what waits for a time.
    Quiesce,
    /// One good worker completes all jobs. No fault happens.
    Drain,
}

/// A message in a queue.
pub(crate) struct Message {
    /// It isn't delivered before this time.
    pub(crate) at: Millis,
    pub(crate) what: QueueMessage,
    /// It is delivered again, because the handler before failed.
    pub(crate) again: bool,
}

/// A running handler.
pub(crate) struct HandlerInfo {
    pub(crate) task: Task,
    /// The step in which it began.
    pub(crate) arrived: u64,
    /// When it began.
    pub(crate) began: Millis,
    /// The run that it cancelled or deleted.
    pub(crate) stopped: Option<RunKey>,
    /// The expiry of its lease, read at its beginning. `None`: the lease didn't hold the job.
    pub(crate) lease_until: Option<Millis>,
    /// Its writes so far.
    pub(crate) writes: u32,
    /// The job records that it read in the order of a run, by run.
    pub(crate) jobs_read: BTreeMap<RunKey, u32>,
    /// By run, the index below which it read all jobs as ended.
    pub(crate) counted: BTreeMap<RunKey, u32>,
}

/// The state of a simulation, without the futures of the handlers.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) faults: FaultConfig,
    pub(crate) mode: Mode,
    /// The planted bug.
    pub(crate) bug: Option<Bug>,
    /// The true time.
    pub(crate) clock: Millis,
    pub(crate) step: u64,
    /// The error of each process's clock in milliseconds.
    pub(crate) skews: Vec<i64>,
    pub(crate) store: Store,
    pub(crate) feed: BTreeMap<Partition, VecDeque<ChangeEvent>>,
    pub(crate) messages: Vec<Message>,
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) gates: Gates,
    pub(crate) running: BTreeMap<u32, HandlerInfo>,
    pub(crate) expected: Expected,
    pub(crate) counts: Counts,
    pub(crate) trace: Trace,
    pub(crate) linked: Linked,
}

/// The stored records.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) workflows: BTreeMap<WorkflowId, Cell<WorkflowRecord>>,
    pub(crate) controls: BTreeMap<RunKey, Cell<Control>>,
    pub(crate) jobs: BTreeMap<JobKey, Cell<JobRecord>>,
    pub(crate) specs: BTreeMap<JobKey, JobSpec>,
    pub(crate) inputs: BTreeMap<RunKey, InputValues>,
    /// Only of a world with a linked repository.
    pub(crate) definitions: BTreeMap<RunKey, Source>,
    /// The items about forges by list and place.
    pub(crate) items: BTreeMap<(String, String), Cell<Item>>,
    pub(crate) shards: BTreeMap<(JobKey, u32), Cell<ShardWaits>>,
    /// The places of each group, in order.
    pub(crate) places: BTreeMap<GroupKey, BTreeMap<(Millis, String), Place>>,
    pub(crate) holders: BTreeMap<GroupKey, Cell<Unit>>,
    pub(crate) outputs: BTreeMap<(JobKey, String), Cell<Outputs>>,
    pub(crate) keys: BTreeMap<String, Idempotency>,
    /// With the time at which the pool was last added.
    pub(crate) pools: BTreeMap<PoolId, Cell<(Pool, Millis)>>,
    pub(crate) workers: BTreeMap<WorkerId, Cell<WorkerRecord>>,
    /// The ready list of each pool, with jobs that left it a moment ago.
    pub(crate) ready: BTreeMap<PoolId, BTreeSet<JobKey>>,
}

impl HandlerInfo {
    /// A handler of a task that begins in this step, at this time.
    pub(crate) fn new(task: Task, (arrived, began): (u64, Millis), lease_until: Option<Millis>) -> Self {
        let (jobs_read, counted) = (BTreeMap::new(), BTreeMap::new());
        Self { task, arrived, began, stopped: None, lease_until, writes: 0, jobs_read, counted }
    }
}

impl Store {
    /// The current record of a job.
    pub(crate) fn job(&self, run: &RunKey, index: u32) -> Option<&JobRecord> {
        self.jobs.get(&JobKey::new(run, index))?.now()
    }

    /// The current control record of a run.
    pub(crate) fn control(&self, run: &RunKey) -> Option<&Control> {
        self.controls.get(run)?.now()
    }
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>, processes: usize, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let faults = FaultConfig::of(&mut rng);
        let skew = i64::try_from(faults.skew).expect("a second at most");
        let range = usize::try_from(2 * skew + 1).expect("small");
        let skews = (0..processes).map(|_| i64::try_from(rng.below(range)).expect("small") - skew).collect();
        Self {
            rng,
            faults,
            mode: Mode::Play,
            bug,
            clock: Millis(1_700_000_000_000),
            step: 0,
            skews,
            store: Store::default(),
            feed: BTreeMap::new(),
            messages: Vec::new(),
            tickets: Vec::new(),
            gates: Gates::default(),
            running: BTreeMap::new(),
            expected: Expected::default(),
            counts: Counts::default(),
            trace,
            linked: Linked::default(),
        }
    }

    /// The time on a process's clock.
    pub(crate) fn now(&self, process: usize) -> Millis {
        Millis(self.clock.0.saturating_add_signed(self.skews[process]))
    }

    /// The number of writes that a read misses. 0: it returns the newest version.
    pub(crate) fn versions_back(&mut self, how: Consistency) -> usize {
        if how == Consistency::Eventual && self.happens(|faults| faults.stale) {
            self.rng.below(OLD_VERSIONS + 1)
        } else {
            0
        }
    }

    /// Reads a cell. Counts reads that don't return the newest version.
    pub(crate) fn read<T: Clone + PartialEq>(
        &mut self,
        how: Consistency,
        cell: impl FnOnce(&Store) -> Option<&Cell<T>>,
    ) -> Option<T> {
        let back = self.versions_back(how);
        let cell = cell(&self.store)?;
        let read = cell.back(back, self.clock).cloned();
        if read.as_ref() != cell.now() {
            self.counts.add("stale reads", 1);
        }
        read
    }

    /// Sends a message. It arrives at some time from `at` on, possibly twice, and in a lossy world possibly never.
    pub(crate) fn send(&mut self, message: QueueMessage, at: Millis) {
        if self.faults.lossy && self.mode != Mode::Drain && self.rng.chance(0.05) {
            self.counts.add("messages lost", 1);
            return;
        }
        // The delay of a message is in whole seconds.
        let at = self.clock + Duration::from_millis(at.0.saturating_sub(self.clock.0).next_multiple_of(1000));
        if self.mode == Mode::Play && self.happens(|faults| faults.repeat) {
            self.counts.add("messages repeated", 1);
            let later = at + self.rng.delay(Duration::from_secs(10));
            self.messages.push(Message { at: later, what: message.clone(), again: false });
        }
        self.messages.push(Message { at, what: message, again: false });
    }

    /// The messages that may be delivered now. While quiescing, delayed messages arrive at once, except timers.
    pub(crate) fn deliverable(&self) -> Vec<usize> {
        let comes = |message: &Message| {
            message.at <= self.clock || (self.mode == Mode::Quiesce && !matches!(message.what, QueueMessage::Timer(_)))
        };
        (0..self.messages.len()).filter(|&position| comes(&self.messages[position])).collect()
    }

    /// Whether a fault happens now.
    pub(crate) fn happens(&mut self, chance: impl Fn(&FaultConfig) -> f64) -> bool {
        self.rng.chance(chance(&self.faults))
    }

    /// The running handler.
    pub(crate) fn running_handler(&mut self) -> Option<&mut HandlerInfo> {
        self.running.get_mut(&self.gates.current)
    }

    /// Adds a call of the running handler and its result to the trace.
    pub(crate) fn log_call<T: Describe>(&mut self, what: Option<&str>, answer: &Stored<T>, then: &str) {
        let Some(what) = what else { return };
        let line = format!("{} {what}: {}{then}", self.handler_name(self.gates.current), answer.describe(&self.trace));
        self.log(|| line);
    }

    pub(crate) fn handler_name(&self, handler: u32) -> String {
        let task = self.running.get(&handler).map_or_else(String::new, |who| who.task.to_string());
        format!("[{handler} {task}]")
    }

    /// Adds a line to the trace. `line` is called only if the trace is enabled.
    pub(crate) fn log(&mut self, line: impl FnOnce() -> String) {
        self.trace.log(self.clock, line);
    }

    /// Records a broken promise. Only the first one is kept.
    pub(crate) fn broken(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.expected.violation.is_none() {
            let text = what(self);
            self.log(|| format!("BROKEN: {text}"));
            self.expected.violation = Some(text);
        }
    }

    /// Whether faults happen now.
    pub(crate) fn has_faults(&self) -> bool {
        self.mode == Mode::Play
    }
}

/// A world. One thread uses it; the lock exists because ports must be `Sync`.
pub(crate) struct Shared {
    world: Mutex<World>,
    pub(crate) traced: bool,
}

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self { traced: world.trace.is_enabled(), world: Mutex::new(world) }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // After a panic the world is only read, for the report.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
