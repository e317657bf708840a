//! The scheduler: which handler goes on, which dies, what comes next. One thread, no clock, no chance but the seed's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use engine::messages::QueueMessage;
use engine::ports::StoreError;
use engine::{Engine, EngineError, Tuning};
use protocol::{Millis, WorkflowId};

use crate::actors::{Request, Worker};
use crate::bugs::Bug;
use crate::gate::{Grant, Kind};
use crate::ports::Process;
use crate::task::{Answer, Order, Running, Task};
use crate::trace::Trace;
use crate::world::{Message, Mode, Partition, Shared, Who, World};

/// Processes that serve requests, each with a clock of its own.
const PROCESSES: usize = 3;
/// So small that small graphs reach every case.
#[cfg_attr(not(feature = "planted"), expect(unused_variables, reason = "an engine without bugs"))]
fn tuning(bug: Option<Bug>) -> Tuning {
    Tuning {
        inline_promotions: 2,
        batch_writes: 2,
        shard: 3,
        pools_ttl: Duration::from_secs(1),
        #[cfg(feature = "planted")]
        planted: bug.and_then(Bug::in_the_engine),
    }
}

const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// So many times as often as elsewhere a handler dies after a write, where most is to be lost.
const AFTER_A_WRITE: f64 = 5.0;
/// In which a run must end once nothing goes wrong any more.
const DRAINED_WITHIN: Duration = Duration::from_mins(150);
/// Steps after which something goes round in circles.
const CALM_WITHIN: u32 = 20_000;
const DRAINED_IN: u32 = 60_000;

/// Whom a handler's end concerns.
#[derive(Clone)]
pub(crate) enum Origin {
    /// A request, and whoever sent it.
    Request(usize),
    /// The change feed, which gives these records again if they weren't all handled.
    Feed(Partition, usize),
    /// A queue, which gives the message again.
    Queue(QueueMessage),
    Nobody,
}

/// A use case under way.
struct Handler {
    id: u32,
    future: Running,
    origin: Origin,
    /// Paused until then.
    wake_at: Millis,
    /// Its latest call was a write: what follows from that isn't done yet.
    wrote: bool,
}

/// Set when the future that runs wants to be polled again at once.
struct Again(AtomicBool);

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A world, what is under way in it, and who acts in it.
pub(crate) struct Sim {
    pub(crate) shared: Arc<Shared>,
    engines: Vec<Engine<Process>>,
    handlers: Vec<Handler>,
    again: Arc<Again>,
    busy_partitions: BTreeSet<Partition>,
    next_sweep: Millis,
    last_handler: u32,
    pub(crate) requests: BTreeMap<usize, Request>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) orders: Vec<Arc<Order>>,
    pub(crate) workflows: Vec<WorkflowId>,
    /// Workflows that are still to be submitted, and other things that clients still do.
    pub(crate) to_submit: usize,
    pub(crate) to_do: usize,
    pub(crate) last_number: usize,
}

impl Sim {
    pub(crate) fn new(seed: u64, bug: Option<Bug>, trace: Trace) -> Self {
        let mut world = World::new(seed, bug, PROCESSES, trace);
        let workers = Worker::some(&mut world.rng);
        let (to_submit, to_do) = (1 + world.rng.below(6), 4 + world.rng.below(30));
        let next_sweep = world.clock + SWEEP_EVERY;
        let faults = format!("{:?}", world.faults);
        world.say(|| faults);
        for worker in &workers {
            let line = worker.to_string();
            world.say(|| line);
        }
        let shared = Arc::new(Shared::new(world));
        let tuning = tuning(bug);
        let engine = |number| {
            let process = || Process::new(Arc::clone(&shared), number);
            let (clock, rng) = (Arc::new(process()), Arc::new(process()));
            Engine::new(process()).with_tuning(tuning).with_clock(clock).with_rng(rng)
        };
        let engines = (0..PROCESSES).map(engine).collect();
        Self {
            shared,
            engines,
            handlers: Vec::new(),
            again: Arc::new(Again(AtomicBool::new(false))),
            busy_partitions: BTreeSet::new(),
            next_sweep,
            last_handler: 0,
            requests: BTreeMap::new(),
            workers,
            orders: Vec::new(),
            workflows: Vec::new(),
            to_submit,
            to_do,
            last_number: 0,
        }
    }

    /// Begins a task, up to its first call.
    pub(crate) fn spawn(&mut self, task: Task, origin: Origin) {
        self.last_handler += 1;
        let id = self.last_handler;
        let mut world = self.shared.world();
        let process = world.rng.below(PROCESSES);
        let lease_until = task.lease().and_then(|lease| world.lease_until(&lease.job, &lease.fence));
        let future = task.begin(&self.engines[process]);
        let (arrived, began) = (world.step, world.clock);
        world.who.insert(id, Who { task, arrived, began, stopped: None, lease_until });
        if world.trace.is_told() {
            let line = format!("{} begins in process {process}", world.handler_name(id));
            world.say(|| line);
        }
        world.gates.current = id;
        drop(world);
        self.handlers.push(Handler { id, future, origin, wake_at: Millis(0), wrote: false });
        self.go_on(self.handlers.len() - 1);
    }

    /// Lets a handler do one of the calls it waits with, or stops it before.
    fn advance(&mut self, at: usize) {
        let id = self.handlers[at].id;
        let mut guard = self.shared.world();
        let world = &mut *guard;
        let chaos = world.is_rough();
        let danger = if self.handlers[at].wrote { AFTER_A_WRITE } else { 1.0 };
        if chaos && world.happens(|faults| faults.kill * danger) {
            drop(guard);
            return self.kill(at);
        }
        if chaos && world.happens(|faults| faults.pause) {
            let line = format!("{} pauses", world.handler_name(id));
            world.say(|| line);
            let mean = world.rng.pick(&[1, 1, 4, 30]);
            self.handlers[at].wake_at = world.clock + world.rng.delay(Duration::from_secs(mean));
            return;
        }
        let waiting = world.gates.of(id);
        assert!(!waiting.is_empty(), "{} waits for nothing", world.handler_name(id));
        let place = world.rng.below(waiting.len());
        let kind = waiting[place].kind;
        let grant = world.fate(kind, chaos);
        self.handlers[at].wrote = kind == Kind::Write;
        let waker = world.gates.grant(id, place, grant);
        drop(guard);
        waker.wake();
        self.go_on(at);
    }

    fn go_on(&mut self, at: usize) {
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
        if world.trace.is_told() {
            let before: Vec<&str> = world.gates.of(handler.id).iter().filter_map(|call| call.what.as_deref()).collect();
            let line = format!("{} DIES before it {}", world.handler_name(handler.id), before.join(", and "));
            world.say(|| line);
        }
        drop(world);
        drop(handler.future);
        let mut world = self.shared.world();
        world.gates.forget(handler.id);
        world.who.remove(&handler.id);
        drop(world);
        self.unanswered(handler.origin, 0);
    }

    /// A handler has an answer; whether it arrives is another matter.
    fn end(&mut self, at: usize, answer: &Answer) {
        let handler = self.handlers.swap_remove(at);
        drop(handler.future);
        let mut guard = self.shared.world();
        let world = &mut *guard;
        let name = world.handler_name(handler.id);
        world.gates.forget(handler.id);
        let asked = world.who.remove(&handler.id).expect("a handler that ran");
        world.check_answer(&asked, answer);
        let unavailable = matches!(answer.error(), Some(EngineError::Store(StoreError::Unavailable(_))));
        let is_request = matches!(handler.origin, Origin::Request(_));
        let unheard = is_request && world.is_rough() && world.happens(|faults| faults.unheard);
        world.counts.add("answers unheard", u64::from(unheard));
        if world.trace.is_told() {
            let line = format!("{name} ends: {}{}", answer.words(), if unheard { ", which nobody hears" } else { "" });
            world.say(|| line);
        }
        drop(guard);
        match (handler.origin, answer) {
            (origin, Answer::Batch(records, Err(_))) => self.unanswered(origin, *records),
            (origin, _) if unavailable || unheard => self.unanswered(origin, 0),
            (Origin::Request(number), _) => self.answered(number, &asked.task, answer),
            (Origin::Feed(partition, records), _) => self.fed(&partition, records),
            (Origin::Queue(_) | Origin::Nobody, _) => {}
        }
    }

    /// A handler came to no answer: what brought its work brings it again.
    fn unanswered(&mut self, origin: Origin, handled: usize) {
        match origin {
            Origin::Request(number) => self.not_answered(number),
            Origin::Feed(partition, _) => self.fed(&partition, handled),
            Origin::Queue(what) => {
                let mut world = self.shared.world();
                let at = world.clock + world.rng.delay(Duration::from_secs(10));
                world.errands.push(Message { at, what, again: true });
            }
            Origin::Nobody => {}
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

    /// Gives some records of a partition to the scheduler's function; maybe twice at once.
    fn feed_some(&mut self) -> bool {
        let mut world = self.shared.world();
        let waiting: Vec<Partition> =
            world.feed.keys().filter(|partition| !self.busy_partitions.contains(*partition)).cloned().collect();
        if waiting.is_empty() {
            return false;
        }
        let partition = waiting[world.rng.below(waiting.len())].clone();
        let most = 1 + world.rng.below(3);
        let records: Vec<_> = world.feed[&partition].iter().take(most).cloned().collect();
        let twice = world.is_rough() && world.happens(|faults| faults.repeat);
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

    fn take_message(&mut self) -> bool {
        let mut world = self.shared.world();
        let ready = world.deliverable();
        if ready.is_empty() {
            return false;
        }
        let place = ready[world.rng.below(ready.len())];
        let message = world.errands.swap_remove(place);
        world.counts.add("messages again", u64::from(message.again));
        world.counts.add("timers fired", u64::from(matches!(message.what, QueueMessage::Timer(_))));
        world.counts.add("reconciles", u64::from(matches!(message.what, QueueMessage::Reconcile(_))));
        drop(world);
        let task = Task::QueueMessage { message: message.what.clone(), again: message.again };
        self.spawn(task, Origin::Queue(message.what));
        true
    }

    /// One step of something; `false` if nothing could go on.
    fn one(&mut self) -> bool {
        let mut world = self.shared.world();
        world.step += 1;
        let passes = world.rng.millis(0, 60);
        world.clock = world.clock + passes;
        let (mode, clock, busy) = (world.mode, world.clock, world.faults.busy);
        drop(world);
        if clock >= self.next_sweep && mode != Mode::Calm {
            self.next_sweep = clock + SWEEP_EVERY;
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
            let went_on = match (what - busy) / (1.0 - busy) {
                ..0.32 => self.feed_some(),
                0.32..0.63 => self.take_message(),
                0.63..0.95 => self.somebody_works(mode),
                _ if mode == Mode::Play => self.somebody_asks(),
                _ => false,
            };
            if went_on {
                return true;
            }
        }
        false
    }

    fn mode(&self, mode: Mode) {
        let mut world = self.shared.world();
        world.mode = mode;
        world.say(|| format!("---- {mode:?}"));
    }

    fn is_broken(&self) -> bool {
        self.shared.world().watch.violation.is_some()
    }

    fn is_idle(&self) -> bool {
        let world = self.shared.world();
        self.handlers.is_empty() && world.feed.is_empty() && world.deliverable().is_empty()
    }

    /// Lets what is under way come to its end, and looks.
    fn calm(&mut self) {
        self.mode(Mode::Calm);
        let mut steps = 0;
        while !self.is_idle() && !self.is_broken() {
            self.one();
            steps += 1;
            if steps > CALM_WITHIN {
                return self.shared.world().broken(|_| "it doesn't come to rest".to_owned());
            }
        }
        self.shared.world().check_calm();
        self.mode(Mode::Play);
    }

    /// Everything, from the first submission to the last word.
    pub(crate) fn play(&mut self) {
        let (steps, mut calm_at) = {
            let mut world = self.shared.world();
            (world.rng.between(500, 4000), world.rng.between(50, 500))
        };
        for step in 0..steps {
            self.one();
            self.time_jumps();
            if step == calm_at {
                self.calm();
                calm_at += self.shared.world().rng.between(50, 500);
            }
            if self.is_broken() {
                return;
            }
        }
        self.workers_give_up();
        self.calm();
        self.drain();
        if !self.is_broken() {
            self.shared.world().check_end();
            self.last_words();
        }
    }

    fn time_jumps(&mut self) {
        let mut world = self.shared.world();
        let passes = match world.rng.share() {
            ..0.006 => world.rng.millis(1000, 30_000),
            ..0.0065 => world.rng.millis(30_000, 1_000_000),
            _ => return,
        };
        world.clock = world.clock + passes;
        world.say(|| "time has passed".to_owned());
    }

    /// One good worker works off what is left.
    fn drain(&mut self) {
        self.mode(Mode::Drain);
        self.start_what_is_new();
        self.workers.iter_mut().for_each(Worker::asks_again);
        let began = self.shared.world().clock;
        let mut steps = 0;
        while !self.is_broken() {
            let went_on = self.one();
            steps += 1;
            let world = self.shared.world();
            if steps > DRAINED_IN || world.clock.since(began) > DRAINED_WITHIN {
                return;
            }
            if went_on || !self.handlers.is_empty() || !world.feed.is_empty() {
                continue;
            }
            if world.unfinished().is_empty() {
                return;
            }
            drop(world);
            self.pass_to_what_comes_next();
        }
    }

    fn pass_to_what_comes_next(&mut self) {
        let Some(helper) = self.workers.last_mut().filter(|helper| helper.is_idle()) else { return };
        helper.asks_again();
        let mut world = self.shared.world();
        let next = world.errands.iter().map(|message| message.at).chain([self.next_sweep]).min();
        let latest = world.clock + Duration::from_secs(30);
        world.clock = next.map_or(latest, |next| next.clamp(world.clock, latest));
    }

    /// After the end: what is still under way, every principal's last word, and everybody's claim. None of it may change anything.
    fn last_words(&mut self) {
        self.speak_again();
        let mut steps = 0;
        while !self.is_idle() && !self.is_broken() {
            self.one();
            steps += 1;
            if steps > DRAINED_IN {
                return self.shared.world().broken(|_| "what was said after the end is never done with".to_owned());
            }
            let mut world = self.shared.world();
            world.clock = world.clock + Duration::from_millis(100);
        }
    }

    pub(crate) fn rng<T>(&self, roll: impl FnOnce(&mut crate::rng::Rng) -> T) -> T {
        roll(&mut self.shared.world().rng)
    }
}

impl World {
    /// What becomes of a call.
    fn fate(&mut self, kind: Kind, chaos: bool) -> Grant {
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
