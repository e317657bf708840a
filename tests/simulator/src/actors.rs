//! The actors: good and bad workers, and clients. All of them repeat requests that are not answered.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use protocol::requests::Transport;
use protocol::{Label, LabelSet, Millis, WorkerId, WorkflowId};

use crate::graph::{Graph, LABELS, SKIP_EXIT};
use crate::rng::Rng;
use crate::task::{Answer, AttemptResult, HeldLease, Identity, Origin, SubmitRequest, Task};
use crate::world::{Mode, Shared};

/// The mean time between claims of a worker that got no job.
const CLAIM_INTERVAL: Duration = Duration::from_secs(3);

/// A request that isn't answered yet.
struct Request {
    from: From,
    task: Task,
    tries: u32,
}

#[derive(Clone, Copy)]
enum From {
    /// A worker. It waits for the answer before it does anything else.
    Worker(usize),
    /// `must`: the client repeats it until it is answered.
    Client { must: bool },
}

/// A worker.
struct Worker {
    who: Identity,
    /// It does everything as it should, without delay.
    good: bool,
    lease: Option<HeldLease>,
    /// It waits for an answer.
    waits: bool,
    sleeps_until: Millis,
    /// Its past leases, with the reports that it sent or would have sent.
    old: Vec<(HeldLease, AttemptResult)>,
    /// Its latest claim got no job.
    nothing: bool,
}

impl Worker {
    /// A few unreliable workers, and last a good one with all labels.
    fn some(rng: &mut Rng) -> Vec<Self> {
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

    fn is_idle(&self) -> bool {
        !self.waits && self.nothing
    }

    fn wake(&mut self) {
        self.nothing = false;
        self.sleeps_until = Millis(0);
    }
}

/// A report without `next`.
fn report(lease: HeldLease, result: AttemptResult) -> Task {
    Task::Report { lease, result, next: None }
}

impl Worker {
    /// Stops working on its job. It may still report on it later.
    fn release_lease(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.old.push((lease, AttemptResult::Success(BTreeMap::new())));
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

/// All workers and clients of a world, and their open requests.
pub(crate) struct Actors {
    shared: Arc<Shared>,
    /// What they sent. The scheduler starts a handler for each.
    outbox: VecDeque<(Task, Origin)>,
    requests: BTreeMap<usize, Request>,
    /// The last one is the good worker.
    workers: Vec<Worker>,
    orders: Vec<Arc<SubmitRequest>>,
    workflows: Vec<WorkflowId>,
    /// The number of workflows that clients will still submit.
    to_submit: usize,
    /// The number of other requests that clients will still make.
    to_do: usize,
    last_number: usize,
}

impl Actors {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let (workers, to_submit, to_do) = {
            let mut world = shared.world();
            let workers = Worker::some(&mut world.rng);
            for worker in &workers {
                world.log(|| worker.to_string());
            }
            (workers, 1 + world.rng.below(6), 4 + world.rng.below(30))
        };
        Self {
            shared,
            outbox: VecDeque::new(),
            requests: BTreeMap::new(),
            workers,
            orders: Vec::new(),
            workflows: Vec::new(),
            to_submit,
            to_do,
            last_number: 0,
        }
    }

    /// The next request that was sent, if any.
    pub(crate) fn sent(&mut self) -> Option<(Task, Origin)> {
        self.outbox.pop_front()
    }

    fn spawn(&mut self, task: Task, origin: Origin) {
        self.outbox.push_back((task, origin));
    }

    fn rng<T>(&self, roll: impl FnOnce(&mut Rng) -> T) -> T {
        roll(&mut self.shared.world().rng)
    }

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
            // The request is delivered twice. Nobody waits for the second answer.
            self.spawn(task, Origin::Nobody);
        }
    }

    /// A request was not answered: it is sent again or given up.
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
            self.workers[worker].release_lease();
        }
        self.requests.remove(&number);
    }

    pub(crate) fn answered(&mut self, number: usize, task: &Task, answer: &Answer) {
        let Some(request) = self.requests.remove(&number) else { return };
        match (request.from, answer) {
            (From::Worker(worker), _) => self.worker_answered(worker, task, answer),
            (From::Client { .. }, Answer::Submitted(Ok(submitted)))
                if !self.workflows.contains(&submitted.workflow) =>
            {
                self.workflows.push(submitted.workflow.clone());
            }
            _ => {}
        }
    }

    fn worker_answered(&mut self, worker: usize, task: &Task, answer: &Answer) {
        let (careless, later) = self.rng(|rng| (rng.chance(0.5), rng.delay(CLAIM_INTERVAL)));
        let (clock, mode) = {
            let world = self.shared.world();
            (world.clock, world.mode)
        };
        let worker = &mut self.workers[worker];
        worker.waits = false;
        let mine =
            |held: &HeldLease, lease: &Option<HeldLease>| lease.as_ref().is_some_and(|lease| lease.fence == held.fence);
        match (task, answer) {
            (Task::Claim { .. }, Answer::Claimed(Ok(claimed))) => {
                worker.nothing = claimed.is_none();
                if worker.nothing && (!worker.good || mode == Mode::Play) {
                    worker.sleeps_until = clock + later;
                }
                worker.lease = claimed.as_ref().map(HeldLease::new);
            }
            (Task::Heartbeat(held), Answer::Heartbeat(Ok(beat))) if mine(held, &worker.lease) => {
                if beat.cancelled && !careless {
                    worker.release_lease();
                } else if let Some(lease) = &mut worker.lease {
                    lease.until = beat.lease.granted_at_ms + Duration::from_secs(beat.lease.ttl_secs.into());
                }
            }
            (Task::Heartbeat(held), Answer::Heartbeat(Err(_))) if mine(held, &worker.lease) && !careless => {
                worker.release_lease();
            }
            (Task::Report { lease, result, .. }, _) => {
                worker.old.push((lease.clone(), result.clone()));
                if mine(lease, &worker.lease) {
                    worker.lease = None;
                }
                if let (None, Answer::Reported(Ok(Some(next)))) = (&worker.lease, answer) {
                    worker.lease = Some(HeldLease::new(next));
                }
            }
            _ => {}
        }
    }

    /// A random worker acts, unless it sleeps or waits.
    pub(crate) fn step_worker(&mut self, mode: Mode) -> bool {
        let position = match mode {
            Mode::Play => {
                let helped = self.shared.world().faults.helped;
                self.rng(|rng| rng.below(self.workers.len() - usize::from(!helped)))
            }
            Mode::Drain => self.workers.len() - 1,
            Mode::Quiesce => return false,
        };
        let clock = self.shared.world().clock;
        let worker = &self.workers[position];
        if worker.waits || worker.sleeps_until > clock {
            return false;
        }
        if !worker.good && !worker.old.is_empty() && self.rng(|rng| rng.chance(0.06)) {
            self.repeat_report(position);
            return true;
        }
        match (worker.lease.clone(), worker.good) {
            (None, true) if worker.nothing && mode == Mode::Drain => false,
            (None, _) => self.claim_or_register(position),
            (Some(lease), true) => {
                let result = self.success();
                self.ask(From::Worker(position), report(lease, result));
                true
            }
            (Some(lease), false) => self.work(position, lease),
        }
    }

    fn claim_or_register(&mut self, position: usize) -> bool {
        let who = self.workers[position].who.clone();
        let (ttl, ticket, registers) = {
            let mut world = self.shared.world();
            let ttl_secs = world.rng.pick(&[4, 15, 15, 60, 60, 1500]);
            let often = if who.transport == Transport::Sqs { 0.6 } else { 0.05 };
            let ticket = (!world.tickets.is_empty() && world.rng.chance(often)).then(|| {
                let many = world.tickets.len();
                let position = world.rng.below(many);
                // Most tickets are consumed; some are delivered again.
                if world.rng.chance(0.8) {
                    world.tickets.swap_remove(position)
                } else {
                    world.tickets[position].clone()
                }
            });
            (ttl_secs, ticket, world.rng.chance(if who.transport == Transport::Sqs { 0.2 } else { 0.02 }))
        };
        let good = self.workers[position].good;
        if registers && !good {
            self.ask(From::Worker(position), Task::Register(who));
        } else if good {
            self.ask(From::Worker(position), Task::Claim { by: who, ttl_secs: 60, ticket: None });
        } else {
            self.ask(From::Worker(position), Task::Claim { by: who, ttl_secs: ttl, ticket });
        }
        true
    }

    /// A worker with a job acts.
    fn work(&mut self, position: usize, lease: HeldLease) -> bool {
        let (clock, misbehaviour, failure) = {
            let world = self.shared.world();
            (world.clock, world.faults.misbehaviour, world.faults.failure)
        };
        let what = self.rng(Rng::share) * (1.0 + 0.25 * misbehaviour);
        if what < 0.25 {
            self.ask(From::Worker(position), Task::Heartbeat(lease));
        } else if what < 0.9 - failure {
            let result = self.success();
            let next = self.rng(|rng| rng.chance(0.5).then(|| rng.pick(&[4, 15, 60, 1500])));
            let next = next.map(|ttl_secs| (self.workers[position].who.clone(), ttl_secs));
            self.ask(From::Worker(position), Task::Report { lease, result, next });
        } else if what < 0.9 {
            let result = self.failure();
            self.ask(From::Worker(position), report(lease, result));
        } else if what < 1.0 {
            self.workers[position].sleeps_until = clock + self.rng(|rng| rng.millis(1000, 10_000));
        } else if what < 1.0 + 0.15 * misbehaviour {
            // It sleeps past its lease, or nearly.
            let past = self.rng(|rng| rng.millis(0, 13_000));
            self.workers[position].sleeps_until = clock.max(lease.until - Duration::from_secs(3)) + past;
        } else {
            // It dies. Its report may still arrive later.
            let result = self.success();
            let worker = &mut self.workers[position];
            worker.old.push((lease, result));
            worker.lease = None;
        }
        true
    }

    /// Sends a late repeat of a report, or another request under an old lease.
    fn repeat_report(&mut self, position: usize) {
        let which = self.rng(|rng| rng.below(self.workers[position].old.len()));
        let (lease, result) = self.workers[position].old[which].clone();
        let task = match self.rng(|rng| rng.below(10)) {
            0..3 => report(lease, result),
            3..6 => Task::Report { lease, result, next: Some((self.workers[position].who.clone(), 15)) },
            6 => report(lease, self.success()),
            7 => report(lease, self.failure()),
            _ => Task::Heartbeat(lease),
        };
        self.ask(From::Worker(position), task);
    }

    fn success(&mut self) -> AttemptResult {
        self.last_number += 1;
        let value = format!("v{}", self.last_number);
        AttemptResult::Success(match self.rng(|rng| rng.below(6)) {
            0 => BTreeMap::new(),
            // Too large to be stored in the job's record.
            1 => BTreeMap::from([("large".to_owned(), format!("{value} {}", "x".repeat(300)))]),
            _ => BTreeMap::from([("o".to_owned(), value)]),
        })
    }

    fn failure(&mut self) -> AttemptResult {
        self.last_number += 1;
        let error = format!("e{}", self.last_number);
        if self.rng(|rng| rng.chance(0.2)) {
            return AttemptResult::Return { error };
        }
        let exit_code = self.rng(|rng| rng.pick(&[1, 1, SKIP_EXIT]));
        AttemptResult::Failure { error, retryable: self.rng(|rng| rng.chance(0.8)), exit_code }
    }

    /// A client acts.
    pub(crate) fn step_client(&mut self) -> bool {
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
        world.log(|| format!("a client submits {key}:\n{}", graph.yaml));
        drop(world);
        let order = Arc::new(SubmitRequest { key, graph: Arc::new(graph), run });
        self.orders.push(Arc::clone(&order));
        self.ask(From::Client { must: true }, Task::Submit(order));
    }

    /// All workers but the good one stop working.
    pub(crate) fn release_all_leases(&mut self) {
        self.workers.iter_mut().for_each(Worker::release_lease);
    }

    pub(crate) fn start_new_workflows(&mut self) {
        let mut workflows = self.workflows.clone();
        workflows.retain(|workflow| self.shared.world().is_new(workflow));
        for workflow in workflows {
            self.ask(From::Client { must: true }, Task::Start { workflow, only_failed: false });
        }
    }

    /// Sends another report and heartbeat under every past lease, and a claim of every worker.
    pub(crate) fn repeat_everything(&mut self) {
        for position in 0..self.workers.len() {
            let by = self.workers[position].who.clone();
            self.spawn(Task::Claim { by, ttl_secs: 60, ticket: None }, Origin::Nobody);
            for (lease, result) in std::mem::take(&mut self.workers[position].old) {
                self.spawn(Task::Heartbeat(lease.clone()), Origin::Nobody);
                self.spawn(report(lease, result), Origin::Nobody);
            }
        }
        for workflow in self.workflows.clone() {
            self.spawn(Task::Status(workflow), Origin::Nobody);
        }
        self.spawn(Task::List, Origin::Nobody);
    }

    /// Lets every worker claim again.
    pub(crate) fn wake_workers(&mut self) {
        self.workers.iter_mut().for_each(Worker::wake);
    }

    /// Lets the good worker claim again if its latest claim got no job. Returns whether it did.
    pub(crate) fn wake_helper(&mut self) -> bool {
        let helper = self.workers.last_mut().filter(|helper| helper.is_idle());
        helper.map(Worker::wake).is_some()
    }
}
