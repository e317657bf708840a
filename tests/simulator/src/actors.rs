//! Who acts: workers, good and bad, and clients. All of them ask again when they hear nothing.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use protocol::requests::Transport;
use protocol::{Label, LabelSet, Millis, WorkerId};

use crate::graph::{Graph, LABELS};
use crate::rng::Rng;
use crate::sim::{Origin, Sim};
use crate::task::{Answer, Held, Identity, Order, Said, Task};
use crate::world::Mode;

/// After which, on average, a worker asks again that was told that there is nothing to do.
const ASKS_AGAIN: Duration = Duration::from_secs(3);

/// Something that somebody asked for.
pub(crate) struct Request {
    from: From,
    task: Task,
    tries: u32,
}

#[derive(Clone, Copy)]
enum From {
    /// Who waits for it before doing anything else.
    Worker(usize),
    /// `must`: it is asked again until it is answered.
    Client { must: bool },
}

/// A worker.
pub(crate) struct Worker {
    who: Identity,
    /// Does all it should, at once.
    good: bool,
    lease: Option<Held>,
    /// Waits for an answer.
    waits: bool,
    sleeps_until: Millis,
    /// What it said, or would have said, of leases past.
    old: Vec<(Held, Said)>,
    /// Was told that there is nothing to do.
    nothing: bool,
}

impl Worker {
    /// A few that can't be relied on, and last a good one with all labels.
    pub(crate) fn some(rng: &mut Rng) -> Vec<Self> {
        let count = 1 + rng.below(4);
        let mut workers: Vec<Self> = (0..count)
            .map(|n| {
                let labels = rng.pick(&["", "a", "b", "a,b", "A,b,c", LABELS, LABELS]);
                let transport = if rng.chance(0.3) { Transport::Sqs } else { Transport::Http };
                Self::new(&format!("w{n}"), labels, rng.chance(0.2), transport, false)
            })
            .collect();
        workers.push(Self::new("helper", LABELS, false, Transport::Http, true));
        workers
    }

    fn new(id: &str, labels: &str, exclusive: bool, transport: Transport, good: bool) -> Self {
        let id = WorkerId::new(id).expect("an id");
        let labels = LabelSet::from_comma_separated(labels).expect("good labels");
        Self {
            who: Identity { id, labels, exclusive, transport },
            good,
            lease: None,
            waits: false,
            sleeps_until: Millis(0),
            old: Vec::new(),
            nothing: false,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        !self.waits && self.nothing
    }

    pub(crate) fn asks_again(&mut self) {
        self.nothing = false;
        self.sleeps_until = Millis(0);
    }
}

/// A report that asks for nothing.
fn report(lease: Held, said: Said) -> Task {
    Task::Report { lease, said, next: None }
}

impl Worker {
    /// Does no more for its job; it may still speak of it.
    fn lets_go(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.old.push((lease, Said::Success(BTreeMap::new())));
        }
    }
}

impl Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<&str> = self.who.labels.iter().map(Label::as_str).collect();
        let exclusive = if self.who.exclusive { ", exclusive" } else { "" };
        write!(f, "worker {} has the labels [{}]{exclusive}", self.who.id, labels.join(" "))
    }
}

impl Sim {
    fn ask(&mut self, from: From, task: Task) {
        self.last_number += 1;
        let number = self.last_number;
        self.requests.insert(number, Request { from, task: task.clone(), tries: 0 });
        if let From::Worker(worker) = from {
            self.workers[worker].waits = true;
        }
        let world = self.shared.world();
        let twice = world.mode == Mode::Play;
        let repeat = world.faults.repeat;
        drop(world);
        let twice = twice && self.rng(|rng| rng.chance(repeat));
        self.spawn(task.clone(), Origin::Request(number));
        if twice {
            // On its way twice: what is answered second, nobody waits for.
            self.spawn(task, Origin::Nobody);
        }
    }

    /// A request has come to nothing: it is sent again, or given up.
    pub(crate) fn not_answered(&mut self, number: usize) {
        let chaos = self.shared.world().has_faults();
        let Some(request) = self.requests.get_mut(&number) else { return };
        request.tries += 1;
        let patient = match request.from {
            From::Client { must: true } => true,
            From::Client { must: false } => request.tries < 4,
            From::Worker(_) => request.tries < 5,
        };
        let must = !chaos || matches!(request.from, From::Client { must: true });
        if must || (patient && self.shared.world().rng.chance(0.85)) {
            let task = request.task.clone();
            return self.spawn(task, Origin::Request(number));
        }
        if let From::Worker(worker) = request.from {
            self.workers[worker].waits = false;
            self.workers[worker].lets_go();
        }
        self.requests.remove(&number);
    }

    pub(crate) fn answered(&mut self, number: usize, task: &Task, answer: &Answer) {
        let Some(request) = self.requests.remove(&number) else { return };
        match (request.from, answer) {
            (From::Worker(worker), _) => self.worker_hears(worker, task, answer),
            (From::Client { .. }, Answer::Submitted(Ok(submitted)))
                if !self.workflows.contains(&submitted.workflow) =>
            {
                self.workflows.push(submitted.workflow.clone());
            }
            _ => {}
        }
    }

    fn worker_hears(&mut self, worker: usize, task: &Task, answer: &Answer) {
        let (careless, later) = self.rng(|rng| (rng.chance(0.5), rng.delay(ASKS_AGAIN)));
        let (clock, mode) = {
            let world = self.shared.world();
            (world.clock, world.mode)
        };
        let worker = &mut self.workers[worker];
        worker.waits = false;
        let mine = |held: &Held, lease: &Option<Held>| lease.as_ref().is_some_and(|lease| lease.fence == held.fence);
        match (task, answer) {
            (Task::Claim { .. }, Answer::Claimed(Ok(claimed))) => {
                worker.nothing = claimed.is_none();
                if worker.nothing && (!worker.good || mode == Mode::Play) {
                    worker.sleeps_until = clock + later;
                }
                worker.lease = claimed.as_ref().map(Held::new);
            }
            (Task::Heartbeat(held), Answer::Heartbeat(Ok(beat))) if mine(held, &worker.lease) => {
                if beat.cancelled && !careless {
                    worker.lets_go();
                } else if let Some(lease) = &mut worker.lease {
                    lease.until = beat.lease.granted_at_ms + Duration::from_secs(beat.lease.ttl_secs.into());
                }
            }
            (Task::Heartbeat(held), Answer::Heartbeat(Err(_))) if mine(held, &worker.lease) && !careless => {
                worker.lets_go();
            }
            (Task::Report { lease, said, .. }, _) => {
                worker.old.push((lease.clone(), said.clone()));
                if mine(lease, &worker.lease) {
                    worker.lease = None;
                }
                if let (None, Answer::Reported(Ok(Some(next)))) = (&worker.lease, answer) {
                    worker.lease = Some(Held::new(next));
                }
            }
            _ => {}
        }
    }

    /// Some worker does something, if it doesn't sleep or wait.
    pub(crate) fn somebody_works(&mut self, mode: Mode) -> bool {
        let place = match mode {
            Mode::Play => {
                let helped = self.shared.world().faults.helped;
                self.rng(|rng| rng.below(self.workers.len() - usize::from(!helped)))
            }
            Mode::Drain => self.workers.len() - 1,
            Mode::Calm => return false,
        };
        let clock = self.shared.world().clock;
        let worker = &self.workers[place];
        if worker.waits || worker.sleeps_until > clock {
            return false;
        }
        if !worker.good && !worker.old.is_empty() && self.rng(|rng| rng.chance(0.06)) {
            self.say_again(place);
            return true;
        }
        match (worker.lease.clone(), worker.good) {
            (None, true) if worker.nothing && mode == Mode::Drain => false,
            (None, _) => self.ask_for_work(place),
            (Some(lease), true) => {
                let said = self.success();
                self.ask(From::Worker(place), report(lease, said));
                true
            }
            (Some(lease), false) => self.work(place, lease),
        }
    }

    fn ask_for_work(&mut self, place: usize) -> bool {
        let who = self.workers[place].who.clone();
        let (ttl, ticket, registers) = {
            let mut world = self.shared.world();
            let ttl_secs = world.rng.pick(&[4, 15, 15, 60, 60, 1500]);
            let often = if who.transport == Transport::Sqs { 0.6 } else { 0.05 };
            let ticket = (!world.tickets.is_empty() && world.rng.chance(often)).then(|| {
                let many = world.tickets.len();
                let place = world.rng.below(many);
                // Most are taken; some come again.
                if world.rng.chance(0.8) { world.tickets.swap_remove(place) } else { world.tickets[place].clone() }
            });
            (ttl_secs, ticket, world.rng.chance(if who.transport == Transport::Sqs { 0.2 } else { 0.02 }))
        };
        let good = self.workers[place].good;
        if registers && !good {
            self.ask(From::Worker(place), Task::Register(who));
        } else if good {
            self.ask(From::Worker(place), Task::Claim { by: who, ttl_secs: 60, ticket: None });
        } else {
            self.ask(From::Worker(place), Task::Claim { by: who, ttl_secs: ttl, ticket });
        }
        true
    }

    /// What a worker does that holds a job.
    fn work(&mut self, place: usize, lease: Held) -> bool {
        let (clock, misbehaviour, failure) = {
            let world = self.shared.world();
            (world.clock, world.faults.misbehaviour, world.faults.failure)
        };
        let what = self.rng(Rng::share) * (1.0 + 0.25 * misbehaviour);
        if what < 0.25 {
            self.ask(From::Worker(place), Task::Heartbeat(lease));
        } else if what < 0.9 - failure {
            let said = self.success();
            let next = self.rng(|rng| rng.chance(0.5).then(|| rng.pick(&[4, 15, 60, 1500])));
            let next = next.map(|ttl_secs| (self.workers[place].who.clone(), ttl_secs));
            self.ask(From::Worker(place), Task::Report { lease, said, next });
        } else if what < 0.9 {
            let said = self.failure();
            self.ask(From::Worker(place), report(lease, said));
        } else if what < 1.0 {
            self.workers[place].sleeps_until = clock + self.rng(|rng| rng.millis(1000, 10_000));
        } else if what < 1.0 + 0.15 * misbehaviour {
            // Past the lease, or nearly.
            let past = self.rng(|rng| rng.millis(0, 13_000));
            self.workers[place].sleeps_until = clock.max(lease.until - Duration::from_secs(3)) + past;
        } else {
            // It dies; its ghost may report later.
            let said = self.success();
            let worker = &mut self.workers[place];
            worker.old.push((lease, said));
            worker.lease = None;
        }
        true
    }

    /// A late repeat of what was said, or something else about an old lease.
    fn say_again(&mut self, place: usize) {
        let which = self.rng(|rng| rng.below(self.workers[place].old.len()));
        let (lease, said) = self.workers[place].old[which].clone();
        let task = match self.rng(|rng| rng.below(10)) {
            0..3 => report(lease, said),
            3..6 => Task::Report { lease, said, next: Some((self.workers[place].who.clone(), 15)) },
            6 => report(lease, self.success()),
            7 => report(lease, self.failure()),
            _ => Task::Heartbeat(lease),
        };
        self.ask(From::Worker(place), task);
    }

    fn success(&mut self) -> Said {
        self.last_number += 1;
        let value = format!("v{}", self.last_number);
        Said::Success(match self.rng(|rng| rng.below(6)) {
            0 => BTreeMap::new(),
            // Too large for the job's record.
            1 => BTreeMap::from([("large".to_owned(), format!("{value} {}", "x".repeat(300)))]),
            _ => BTreeMap::from([("o".to_owned(), value)]),
        })
    }

    fn failure(&mut self) -> Said {
        self.last_number += 1;
        let retryable = self.rng(|rng| rng.chance(0.8));
        Said::Failure { error: format!("e{}", self.last_number), retryable }
    }

    /// Some client does something.
    pub(crate) fn somebody_asks(&mut self) -> bool {
        let first = self.workflows.is_empty();
        if self.to_submit > 0 && (first || self.rng(|rng| rng.chance(0.3))) {
            self.to_submit -= 1;
            self.submit();
            return true;
        }
        if first || self.to_do == 0 {
            return false;
        }
        self.to_do -= 1;
        let (cancel, delete) = {
            let world = self.shared.world();
            (world.faults.cancel, world.faults.delete)
        };
        let which = self.rng(|rng| rng.below(self.workflows.len()));
        let workflow = self.workflows[which].clone();
        let what = self.rng(Rng::share);
        let task = if self.rng(|rng| rng.chance(delete)) {
            Task::Delete(workflow)
        } else if what < cancel {
            Task::Cancel(workflow)
        } else if what > 0.95 {
            Task::Status(workflow)
        } else if what > 0.92 {
            Task::List
        } else if what > 0.87 {
            let which = self.rng(|rng| rng.below(self.orders.len()));
            Task::Submit(Arc::clone(&self.orders[which]))
        } else {
            Task::Start { workflow, only_failed: self.rng(|rng| rng.chance(0.5)) }
        };
        self.ask(From::Client { must: false }, task);
        true
    }

    fn submit(&mut self) {
        let (graph, run) = self.rng(|rng| (Graph::random(rng), rng.chance(0.8)));
        let key = format!("key{}", self.orders.len());
        let mut world = self.shared.world();
        world.say(|| format!("somebody submits {key}:\n{}", graph.yaml));
        drop(world);
        let order = Arc::new(Order { key, graph: Arc::new(graph), run });
        self.orders.push(Arc::clone(&order));
        self.ask(From::Client { must: true }, Task::Submit(order));
    }

    /// All but the helper fall silent.
    pub(crate) fn workers_give_up(&mut self) {
        self.workers.iter_mut().for_each(Worker::lets_go);
    }

    pub(crate) fn start_what_is_new(&mut self) {
        let mut workflows = self.workflows.clone();
        workflows.retain(|workflow| self.shared.world().is_new(workflow));
        for workflow in workflows {
            self.ask(From::Client { must: true }, Task::Start { workflow, only_failed: false });
        }
    }

    /// Every principal of every lease speaks once more, and every worker asks for work.
    pub(crate) fn speak_again(&mut self) {
        for place in 0..self.workers.len() {
            let by = self.workers[place].who.clone();
            self.spawn(Task::Claim { by, ttl_secs: 60, ticket: None }, Origin::Nobody);
            for (lease, said) in std::mem::take(&mut self.workers[place].old) {
                self.spawn(Task::Heartbeat(lease.clone()), Origin::Nobody);
                self.spawn(report(lease, said), Origin::Nobody);
            }
        }
        for workflow in self.workflows.clone() {
            self.spawn(Task::Status(workflow), Origin::Nobody);
        }
        self.spawn(Task::List, Origin::Nobody);
    }
}
