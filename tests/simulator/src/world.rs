//! All that is stored, sent and under way in a simulation, and the checks on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::ids::{JobKey, PoolId, RunKey, Ticket, Waits};
use engine::job::{JobRecord, JobSpec, Phase};
use engine::messages::ChangeEvent;
use engine::messages::QueueMessage;
use engine::ports::{Consistency, Idempotency, Pool, WorkerRecord};
use engine::run::{Control, RunState, WorkflowRecord};
use protocol::{Millis, Outputs, WorkerId, WorkflowId};

use crate::bugs::Bug;
use crate::cell::{Cell, KEPT};
use crate::counts::Counts;
use crate::faults::FaultConfig;
use crate::gate::Gates;
use crate::rng::Rng;
use crate::task::Task;
use crate::trace::Trace;
use crate::watch::Watch;

/// What the world does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything happens, and everything goes wrong.
    Play,
    /// Nothing new happens, and what is under way ends: but for what waits for a time to come.
    Calm,
    /// One good worker works off what there is; nothing goes wrong any more.
    Drain,
}

/// A message in a queue.
pub(crate) struct Message {
    /// Not delivered before.
    pub(crate) at: Millis,
    pub(crate) what: QueueMessage,
    /// Whether whom it was delivered to before died over it.
    pub(crate) again: bool,
}

/// A handler, as the checks know it.
pub(crate) struct Who {
    pub(crate) task: Task,
    /// The step in which it began.
    pub(crate) arrived: u64,
    /// When it began.
    pub(crate) began: Millis,
    /// The run that it cancelled or deleted.
    pub(crate) stopped: Option<RunKey>,
    /// When the lease that it speaks of ended, as it began; `None`: it wasn't the job's.
    pub(crate) lease_until: Option<Millis>,
}

/// A partition of the change feed: records in it stay in order.
pub(crate) type Partition = (RunKey, u32);

/// Jobs of a partition.
const PARTITION: u32 = 4;
/// The control record's.
const CONTROL: u32 = u32::MAX;

/// Everything but the handlers themselves.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) faults: FaultConfig,
    pub(crate) mode: Mode,
    /// Planted on purpose.
    pub(crate) bug: Option<Bug>,
    /// The true time.
    pub(crate) clock: Millis,
    pub(crate) step: u64,
    /// How far each process's clock is off.
    pub(crate) skews: Vec<i64>,
    pub(crate) store: Store,
    pub(crate) feed: BTreeMap<Partition, VecDeque<ChangeEvent>>,
    pub(crate) messages: Vec<Message>,
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) gates: Gates,
    pub(crate) who: BTreeMap<u32, Who>,
    pub(crate) watch: Watch,
    pub(crate) counts: Counts,
    pub(crate) trace: Trace,
}

/// What is stored.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) workflows: BTreeMap<WorkflowId, Cell<WorkflowRecord>>,
    pub(crate) controls: BTreeMap<RunKey, Cell<Control>>,
    pub(crate) jobs: BTreeMap<JobKey, Cell<JobRecord>>,
    pub(crate) specs: BTreeMap<JobKey, JobSpec>,
    pub(crate) shards: BTreeMap<(JobKey, u32), Cell<Waits>>,
    pub(crate) outputs: BTreeMap<(JobKey, String), Cell<Outputs>>,
    pub(crate) keys: BTreeMap<String, Idempotency>,
    /// With the time at which the pool was last added.
    pub(crate) pools: BTreeMap<PoolId, Cell<(Pool, Millis)>>,
    pub(crate) workers: BTreeMap<WorkerId, Cell<WorkerRecord>>,
    /// What is, or was a moment ago, in a pool's ready list.
    pub(crate) ready: BTreeMap<PoolId, BTreeSet<JobKey>>,
}

impl Store {
    /// A job as it is.
    pub(crate) fn job(&self, run: &RunKey, index: u32) -> Option<&JobRecord> {
        self.jobs.get(&JobKey::new(run, index))?.now()
    }

    /// A run's control as it is.
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
            who: BTreeMap::new(),
            watch: Watch::default(),
            counts: Counts::default(),
            trace,
        }
    }

    /// The time as the handler that goes on reads it from its process's clock.
    pub(crate) fn now(&self, process: usize) -> Millis {
        Millis(self.clock.0.saturating_add_signed(self.skews[process]))
    }

    /// How many writes back a read looks; 0: at the newest.
    pub(crate) fn versions_back(&mut self, how: Consistency) -> usize {
        if how == Consistency::Eventual && self.happens(|faults| faults.stale) { self.rng.below(KEPT + 1) } else { 0 }
    }

    /// Reads a cell, and counts when what was read isn't the newest.
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

    /// Replaces a job's record: it is checked, listed if it is ready, and told if it ended.
    pub(crate) fn put_job(&mut self, new: JobRecord) {
        let key = new.key.clone();
        let old = self.store.jobs.get(&key).and_then(Cell::now).cloned();
        self.check_job(old.as_ref(), &new);
        if matches!(new.phase, Phase::Ready { .. }) {
            self.store.ready.entry(new.pool.clone()).or_default().insert(key.clone());
        }
        if new.is_ended() && old.is_some_and(|old| !old.is_ended()) {
            self.tell((key.run.clone(), key.index / PARTITION), ChangeEvent::JobEnded(Box::new(new.clone())));
        }
        self.store.jobs.entry(key).or_default().set(Some(new), self.clock);
    }

    /// Replaces a control record: it is checked, and told if the run opened or began to be cancelled.
    pub(crate) fn put_control(&mut self, new: Control) {
        let old = self.store.control(&new.run).cloned();
        self.check_control(old.as_ref(), &new);
        if old.is_none_or(|old| old.state != new.state) {
            let partition = (new.run.clone(), CONTROL);
            match new.state {
                RunState::Open => self.tell(partition, ChangeEvent::RunOpened(new.clone())),
                RunState::Cancelling => self.tell(partition, ChangeEvent::RunCancelling(new.clone())),
                RunState::New | RunState::Final => {}
            }
        }
        self.store.controls.entry(new.run.clone()).or_default().set(Some(new), self.clock);
    }

    fn tell(&mut self, partition: Partition, event: ChangeEvent) {
        if self.faults.lossy && self.mode != Mode::Drain && self.rng.chance(0.1) {
            self.counts.add("records lost", 1);
            self.say(|| "the change feed loses the record of that".to_owned());
            return;
        }
        self.feed.entry(partition).or_default().push_back(event);
    }

    /// Puts a message in the queue: it comes at some time from `at` on, maybe twice, in a lossy world maybe never.
    pub(crate) fn send(&mut self, message: QueueMessage, at: Millis) {
        if self.faults.lossy && self.mode != Mode::Drain && self.rng.chance(0.05) {
            self.counts.add("messages lost", 1);
            return;
        }
        // Queues count delays in seconds.
        let at = self.clock + Duration::from_millis(at.0.saturating_sub(self.clock.0).next_multiple_of(1000));
        if self.mode == Mode::Play && self.happens(|faults| faults.repeat) {
            self.counts.add("messages repeated", 1);
            let later = at + self.rng.delay(Duration::from_secs(10));
            self.messages.push(Message { at: later, what: message.clone(), again: false });
        }
        self.messages.push(Message { at, what: message, again: false });
    }

    /// The messages that may be delivered now. In times of calm what was only held up comes at once; what waits for its
    /// time never does.
    pub(crate) fn deliverable(&self) -> Vec<usize> {
        let comes = |message: &Message| {
            message.at <= self.clock || (self.mode == Mode::Calm && !matches!(message.what, QueueMessage::Timer(_)))
        };
        (0..self.messages.len()).filter(|&place| comes(&self.messages[place])).collect()
    }

    /// Whether something of the faults happens now.
    pub(crate) fn happens(&mut self, chance: impl Fn(&FaultConfig) -> f64) -> bool {
        self.rng.chance(chance(&self.faults))
    }

    /// A line of the story; put together only if somebody listens.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        self.trace.say(self.clock, line);
    }

    /// Notes a broken promise; the first one counts.
    pub(crate) fn broken(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.watch.violation.is_none() {
            let text = what(self);
            self.say(|| format!("BROKEN: {text}"));
            self.watch.violation = Some(text);
        }
    }

    /// Whether things go wrong now.
    pub(crate) fn has_faults(&self) -> bool {
        self.mode == Mode::Play
    }
}

/// A world that one thread uses; behind a lock only because ports must be shareable.
pub(crate) struct Shared {
    world: Mutex<World>,
    pub(crate) traced: bool,
}

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self { traced: world.trace.is_enabled(), world: Mutex::new(world) }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // After a panic the world is only looked at, to tell of it.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
