//! The scheduler: it decides which handler runs or dies, and what happens next. It uses one thread, no clock, and only the
//! seed's randomness.

mod phases;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use engine::messages::QueueMessage;
use engine::ports::StoreError;
use engine::{Engine, EngineError, Tuning};
use protocol::Millis;

use crate::actors::Actors;
use crate::bugs::Bug;
use crate::gate::{Grant, Kind};
use crate::handler::Running;
use crate::ports::Process;
use crate::task::{Answer, Origin, Partition, Task};
use crate::trace::Trace;
use crate::world::{HandlerInfo, Message, Mode, Shared, World};

/// The number of processes, each with a clock of its own.
const PROCESSES: usize = 3;
/// The engine's limits, so small that small graphs reach every case.
#[cfg_attr(not(feature = "planted"), expect(unused_variables, reason = "an engine without bugs"))]
fn tuning(bug: Option<Bug>) -> Tuning {
    Tuning {
        inline_promotions: 2,
        batch_writes: 2,
        shard: 3,
        pools_ttl: Duration::from_secs(1),
        secrets_ttl: Duration::ZERO,
        lease_secs: 30,
        #[cfg(feature = "planted")]
        planted: bug.and_then(Bug::in_the_engine),
    }
}

const SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// The factor of a handler's probability to die right after a write, when most can be lost.
const KILL_FACTOR_AFTER_WRITE: f64 = 5.0;

/// A running use case.
struct Handler {
    id: u32,
    future: Running,
    origin: Origin,
    /// Paused until then.
    wake_at: Millis,
    /// Its latest call was a write, whose consequences aren't applied yet.
    wrote: bool,
}

/// Set when the running future must be polled again at once.
struct Again(AtomicBool);

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A world with its running handlers and its actors.
pub(crate) struct Sim {
    pub(crate) shared: Arc<Shared>,
    engines: Vec<Engine<Process>>,
    handlers: Vec<Handler>,
    again: Arc<Again>,
    busy_partitions: BTreeSet<Partition>,
    next_sweep: Millis,
    last_handler: u32,
    actors: Actors,
}

impl Sim {
    pub(crate) fn new(seed: u64, bug: Option<Bug>, trace: Trace) -> Self {
        let mut world = World::new(seed, bug, PROCESSES, trace);
        world.link_repository();
        let linked = world.faults.linked;
        let next_sweep = world.clock + SWEEP_INTERVAL;
        let faults = format!("{:?}", world.faults);
        world.log(|| faults);
        let shared = Arc::new(Shared::new(world));
        let tuning = tuning(bug);
        let engine = |number| {
            let process = || Process::new(Arc::clone(&shared), number);
            let (clock, rng) = (Arc::new(process()), Arc::new(process()));
            let engine = Engine::new(process()).with_tuning(tuning).with_clock(clock).with_rng(rng);
            if linked { engine.with_forges(Arc::new(process())).with_checkouts_of_links() } else { engine }
        };
        let engines = (0..PROCESSES).map(engine).collect();
        let actors = Actors::new(Arc::clone(&shared));
        Self {
            shared,
            engines,
            handlers: Vec::new(),
            again: Arc::new(Again(AtomicBool::new(false))),
            busy_partitions: BTreeSet::new(),
            next_sweep,
            last_handler: 0,
            actors,
        }
    }

    /// Begins a task and runs it up to its first call.
    fn spawn(&mut self, task: Task, origin: Origin) {
        self.last_handler += 1;
        let id = self.last_handler;
        let mut world = self.shared.world();
        let process = world.rng.below(PROCESSES);
        let lease_until = task.lease().and_then(|lease| world.lease_until(&lease.job, &lease.fence));
        let future = task.begin(&self.engines[process], world.bug);
        let (arrived, began) = (world.step, world.clock);
        world.running.insert(id, HandlerInfo::new(task, (arrived, began), lease_until));
        if world.trace.is_enabled() {
            let line = format!("{} begins in process {process}", world.handler_name(id));
            world.log(|| line);
        }
        world.gates.current = id;
        drop(world);
        self.handlers.push(Handler { id, future, origin, wake_at: Millis(0), wrote: false });
        self.poll_handler(self.handlers.len() - 1);
    }

    /// Starts a handler for every request that the actors sent.
    fn start_requests(&mut self) {
        while let Some((task, origin)) = self.actors.sent() {
            self.spawn(task, origin);
        }
    }

    /// Executes one of a handler's waiting calls, or pauses or kills the handler before it.
    fn advance(&mut self, at: usize) {
        let id = self.handlers[at].id;
        let mut guard = self.shared.world();
        let world = &mut *guard;
        let chaos = world.has_faults();
        let kill_factor = if self.handlers[at].wrote { KILL_FACTOR_AFTER_WRITE } else { 1.0 };
        if chaos && world.happens(|faults| faults.kill * kill_factor) {
            drop(guard);
            return self.kill(at);
        }
        // A request that was sent is answered late, or not.
        let is_sent = world.gates.of(id).iter().any(|call| call.kind == Kind::Answer);
        if chaos && !is_sent && world.happens(|faults| faults.pause) {
            let line = format!("{} pauses", world.handler_name(id));
            world.log(|| line);
            let mean = world.rng.pick(&[1, 1, 4, 30]);
            self.handlers[at].wake_at = world.clock + world.rng.delay(Duration::from_secs(mean));
            return;
        }
        let waiting = world.gates.of(id);
        assert!(!waiting.is_empty(), "{} waits for nothing", world.handler_name(id));
        let position = world.rng.below(waiting.len());
        let kind = waiting[position].kind;
        let grant = world.decide(kind, chaos);
        self.handlers[at].wrote = kind == Kind::Write;
        let waker = world.gates.grant(id, position, grant);
        drop(guard);
        waker.wake();
        self.poll_handler(at);
    }

    fn poll_handler(&mut self, at: usize) {
        let waker = Waker::from(Arc::clone(&self.again));
        let handler = &mut self.handlers[at];
        loop {
            self.again.0.store(false, Ordering::Relaxed);
            match handler.future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(answer) => return self.end(at, &answer),
                Poll::Pending if self.again.0.load(Ordering::Relaxed) => {}
                Poll::Pending => return,
            }
        }
    }

    fn kill(&mut self, at: usize) {
        let handler = self.handlers.swap_remove(at);
        let mut world = self.shared.world();
        world.counts.add("handlers killed", 1);
        if world.trace.is_enabled() {
            let before: Vec<&str> = world.gates.of(handler.id).iter().filter_map(|call| call.what.as_deref()).collect();
            let line = format!("{} DIES before it {}", world.handler_name(handler.id), before.join(", and "));
            world.log(|| line);
        }
        drop(world);
        drop(handler.future);
        let mut world = self.shared.world();
        world.gates.forget(handler.id);
        let who = world.running.remove(&handler.id);
        if let (Origin::Delivery, Some(who)) = (&handler.origin, &who) {
            world.delivery_failed(&who.task);
        }
        drop(world);
        self.unanswered(handler.origin, 0);
    }

    /// A handler has an answer. It may be lost on its way.
    fn end(&mut self, at: usize, answer: &Answer) {
        let handler = self.handlers.swap_remove(at);
        drop(handler.future);
        let mut guard = self.shared.world();
        let world = &mut *guard;
        let name = world.handler_name(handler.id);
        world.gates.forget(handler.id);
        let asked = world.running.remove(&handler.id).expect("a handler that ran");
        world.check_answer(&asked, answer);
        world.check_cost(&asked, answer);
        let unavailable = matches!(answer.error(), Some(EngineError::Store(StoreError::Unavailable(_))));
        let is_request = matches!(handler.origin, Origin::Request(_));
        let dropped_answer = is_request && world.has_faults() && world.happens(|faults| faults.dropped_answer);
        world.counts.add("answers dropped", u64::from(dropped_answer));
        if world.trace.is_enabled() {
            let line = format!(
                "{name} ends: {}{}",
                answer.words(),
                if dropped_answer { ", and the answer is lost" } else { "" }
            );
            world.log(|| line);
        }
        let next = matches!(handler.origin, Origin::Delivery).then(|| world.received(&asked.task, answer)).flatten();
        drop(guard);
        if let Some((task, origin)) = next {
            self.spawn(task, origin);
        }
        match (handler.origin, answer) {
            (origin, Answer::Batch(records, Err(_))) => self.unanswered(origin, *records),
            (origin @ Origin::State(_), Answer::Done(Err(_))) => self.unanswered(origin, 0),
            (origin, _) if unavailable || dropped_answer => self.unanswered(origin, 0),
            (Origin::Request(number), _) => self.actors.answered(number, &asked.task, answer),
            (Origin::Feed(partition, records), _) => self.fed(&partition, records),
            (Origin::Queue(_) | Origin::Delivery | Origin::State(_) | Origin::Nobody, _) => {}
        }
    }

    /// A handler has no answer. Its source sends the task again.
    fn unanswered(&mut self, origin: Origin, handled: usize) {
        match origin {
            Origin::Request(number) => {
                self.actors.not_answered(number);
                self.start_requests();
            }
            Origin::Feed(partition, _) => self.fed(&partition, handled),
            Origin::Queue(what) => {
                let mut world = self.shared.world();
                let at = world.clock + world.rng.delay(Duration::from_secs(10));
                world.messages.push(Message { at, what, again: true });
            }
            Origin::State(mark) => {
                let mut world = self.shared.world();
                let at = world.clock + world.rng.delay(Duration::from_secs(5));
                world.linked.marks.push((at, mark));
            }
            Origin::Delivery | Origin::Nobody => {}
        }
    }

    fn fed(&mut self, partition: &Partition, records: usize) {
        self.busy_partitions.remove(partition);
        let mut world = self.shared.world();
        let left = world.feed.get_mut(partition).expect("a partition that was read");
        left.drain(..records);
        if left.is_empty() {
            world.feed.remove(partition);
        }
    }

    /// Delivers some records of a partition of the change feed, possibly twice at once.
    fn deliver_records(&mut self) -> bool {
        let mut world = self.shared.world();
        let waiting: Vec<Partition> =
            world.feed.keys().filter(|partition| !self.busy_partitions.contains(*partition)).cloned().collect();
        if waiting.is_empty() {
            return false;
        }
        let partition = waiting[world.rng.below(waiting.len())].clone();
        let most = 1 + world.rng.below(3);
        let records: Vec<_> = world.feed[&partition].iter().take(most).cloned().collect();
        let twice = world.has_faults() && world.happens(|faults| faults.repeat);
        world.counts.add("batches repeated", u64::from(twice));
        drop(world);
        let task = Task::Batch(Arc::new(records.clone()));
        self.busy_partitions.insert(partition.clone());
        self.spawn(task.clone(), Origin::Feed(partition, records.len()));
        if twice {
            self.spawn(task, Origin::Nobody);
        }
        true
    }

    fn deliver_message(&mut self) -> bool {
        let mut world = self.shared.world();
        let ready = world.deliverable();
        if ready.is_empty() {
            return false;
        }
        let position = ready[world.rng.below(ready.len())];
        let message = world.messages.swap_remove(position);
        world.counts.add("messages redelivered", u64::from(message.again));
        world.counts.add("timers fired", u64::from(matches!(message.what, QueueMessage::Timer(_))));
        world.counts.add("reconciles", u64::from(matches!(message.what, QueueMessage::Reconcile(_))));
        drop(world);
        let task = Task::QueueMessage { message: message.what.clone(), again: message.again };
        self.spawn(task, Origin::Queue(message.what));
        true
    }

    /// One step of the simulation. Returns false if nothing could happen.
    fn step(&mut self) -> bool {
        let mut world = self.shared.world();
        world.step += 1;
        let passes = world.rng.millis(0, 60);
        world.clock = world.clock + passes;
        let clock = world.clock;
        world.linked.land_until(clock);
        let (mode, busy, linked) = (world.mode, world.faults.busy, world.faults.linked);
        drop(world);
        if clock >= self.next_sweep && mode != Mode::Quiesce {
            self.next_sweep = clock + SWEEP_INTERVAL;
            self.spawn(Task::Sweep, Origin::Nobody);
        }
        for _ in 0..6 {
            let what = self.shared.world().rng.share();
            if what < busy && !self.handlers.is_empty() {
                let at = self.shared.world().rng.below(self.handlers.len());
                if self.handlers[at].wake_at <= clock || mode != Mode::Play {
                    self.advance(at);
                    return true;
                }
            }
            if linked && self.step_forge() {
                return true;
            }
            let went_on = match (what - busy) / (1.0 - busy) {
                ..0.32 => self.deliver_records(),
                0.32..0.63 => self.deliver_message(),
                0.63..0.95 => self.actors.step_worker(mode),
                _ if mode == Mode::Play => self.actors.step_client(),
                _ => false,
            };
            self.start_requests();
            if went_on {
                return true;
            }
        }
        false
    }

    /// Something about the linked repository happens, if it is its turn.
    fn step_forge(&mut self) -> bool {
        let mut world = self.shared.world();
        let next = if world.rng.chance(0.3) { world.step_forge() } else { None };
        drop(world);
        let Some((task, origin)) = next else { return false };
        self.spawn(task, origin);
        true
    }

    fn set_mode(&self, mode: Mode) {
        let mut world = self.shared.world();
        world.mode = mode;
        world.log(|| format!("---- {mode:?}"));
    }

    fn is_broken(&self) -> bool {
        self.shared.world().expected.violation.is_some()
    }

    fn is_idle(&self) -> bool {
        let world = self.shared.world();
        let marks = world.linked.marks.is_empty();
        self.handlers.is_empty() && world.feed.is_empty() && world.deliverable().is_empty() && marks
    }
}

impl World {
    /// Decides what happens to a call.
    fn decide(&mut self, kind: Kind, chaos: bool) -> Grant {
        if !chaos {
            return Grant::Do;
        }
        if kind == Kind::Write && self.happens(|faults| faults.lost_answer) {
            self.counts.add("answers lost", 1);
            return Grant::DoAgain;
        }
        if self.happens(|faults| faults.unavailable) {
            self.counts.add("calls unavailable", 1);
            return Grant::Fail { done: kind != Kind::Read && self.rng.chance(0.5) };
        }
        Grant::Do
    }
}
