//! Telling states in a world where reporters stop between any two steps, and requests are lost or land late.

use engine::forge::change::{Change, state_of_run};
use engine::forge::names::{CommitId, EventName, ReportKey, RepositoryKey, Subject};
use engine::forge::records::{ReportChoice, ReportRecord, ReportSource};
use engine::forge::reporting::Taken;
use engine::forge::state::TargetState;
use engine::forge::wanted::WantedState;
use protocol::Millis;

use crate::world::{link, main};

const SEEDS: u64 = 5_000;
/// No request and no reporter fails after this second.
const CALM: u64 = 900;
const END: u64 = 1_500;

/// A fault to plant in the use of the decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nobody takes a lease.
    NoLease,
    /// What a holder that is gone has sent is trusted.
    TrustsTheGone,
    /// The lease is returned after a request without an answer.
    ReturnsAfterTimeout,
    /// The state of the event is sent, not the one that is read.
    StateOfEvent,
}

/// What a reporter does next.
#[derive(Clone)]
enum Step {
    Take,
    Look,
    Decide { seen: u64, state: (TargetState, u64) },
    Answered { state: TargetState },
    NoAnswer,
    End,
}

struct Reporter {
    name: String,
    wake: u64,
    step: Step,
    /// The state of the event that started it.
    event: (TargetState, u64),
}

struct World {
    rng: fastrand::Rng,
    fault: Option<Fault>,
    record: ReportRecord,
    state: (TargetState, u64),
    flights: Vec<(u64, (TargetState, u64))>,
    t: u64,
}

fn wanted(state: TargetState) -> WantedState {
    WantedState {
        name: state_of_run("ci", EventName::Push),
        job: None,
        state,
        description: String::new(),
        summary: String::new(),
        annotations: Vec::new(),
        started_at: None,
        ended_at: None,
    }
}

fn record() -> ReportRecord {
    let commit = CommitId::new("a".repeat(40)).expect("40 digits");
    let repository = RepositoryKey { link: link(), repository: 1 };
    let change = Change {
        event: EventName::Push,
        subject: Subject::Ref(main()),
        seq: 1,
        name: Some(main()),
        commit: commit.clone(),
        before: None,
        base: None,
        base_commit: None,
        pull_request: None,
        fork: false,
        actor: String::new(),
    };
    ReportRecord {
        key: ReportKey { repository, commit, file: "ci".to_owned(), event: EventName::Push },
        change,
        source: ReportSource::Workflow { id: None },
        accepted_at: Millis(0),
        choice: ReportChoice::Run,
        due: Some(Millis(0)),
        asked: 0,
        lease: None,
        sent: std::collections::BTreeMap::new(),
        refused: None,
        tries: 0,
        failing_since: None,
        given_up: None,
        version: 1,
    }
}

impl World {
    fn now(&self) -> Millis {
        Millis(self.t * 1000)
    }

    fn calm(&self) -> bool {
        self.t > CALM
    }

    fn dies(&mut self, chance: usize) -> bool {
        !self.calm() && self.rng.usize(..100) < chance
    }

    /// Does a reporter's next step. Returns the delay of the one after it.
    fn step(&mut self, reporter: &mut Reporter) -> u64 {
        let lone = self.fault == Some(Fault::NoLease);
        let (next, delay) = match reporter.step.clone() {
            Step::Take if lone => {
                self.record.due = None;
                (Step::Look, self.rng.u64(0..=2))
            }
            Step::Take => match self.record.take(&reporter.name, self.now()) {
                Taken::Busy(record) => {
                    self.record = record;
                    (Step::End, 0)
                }
                Taken::Mine(record) => {
                    let before = std::mem::replace(&mut self.record, record);
                    if self.fault == Some(Fault::TrustsTheGone) {
                        self.record.sent = before.sent;
                    }
                    (Step::Look, self.rng.u64(0..=2))
                }
            },
            Step::Look => {
                let state = if self.fault == Some(Fault::StateOfEvent) { reporter.event } else { self.state };
                (Step::Decide { seen: self.record.asked, state }, self.rng.u64(0..=2))
            }
            Step::Decide { seen, state } => self.decide(reporter, seen, state),
            Step::Answered { state } => {
                if !lone && !self.record.is_held_by(&reporter.name) {
                    (Step::End, 0)
                } else {
                    self.record.answered(&wanted(state), None);
                    if self.fault == Some(Fault::StateOfEvent) {
                        self.record.returned(None);
                        (Step::End, 0)
                    } else {
                        (Step::Look, self.rng.u64(0..=2))
                    }
                }
            }
            Step::NoAnswer => {
                if self.fault == Some(Fault::ReturnsAfterTimeout) && self.record.is_held_by(&reporter.name) {
                    self.record.returned(Some(self.now()));
                    self.record.sent.clear();
                }
                if lone {
                    self.record.due = Some(self.now());
                }
                (Step::End, 0)
            }
            Step::End => (Step::End, 0),
        };
        reporter.step = if self.dies(5) { Step::End } else { next };
        delay
    }

    fn decide(&mut self, reporter: &Reporter, seen: u64, state: (TargetState, u64)) -> (Step, u64) {
        let lone = self.fault == Some(Fault::NoLease);
        if self.record.differing(&[wanted(state.0)]).is_empty() {
            if lone {
                return (Step::End, 0);
            }
            if !self.record.is_held_by(&reporter.name) {
                return (Step::End, 0);
            }
            if self.record.asked == seen {
                self.record.returned(None);
                return (Step::End, 0);
            }
            return (Step::Look, 0);
        }
        if !self.record.has_time(self.now()) {
            return (Step::End, 0);
        }
        let chance = self.rng.usize(..100);
        if self.calm() || chance < 70 {
            let lands = self.t + self.rng.u64(0..=2);
            self.flights.push((lands, state));
            (Step::Answered { state: state.0 }, 3)
        } else if chance < 85 {
            let lands = self.t + self.rng.u64(10..=30);
            self.flights.push((lands, state));
            (Step::NoAnswer, 10)
        } else {
            (Step::NoAnswer, 10)
        }
    }
}

/// What is wrong in a world, and how many requests there were for how many changes.
fn broken(seed: u64, fault: Option<Fault>) -> (Option<String>, usize, usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut plan = Vec::new();
    for again in 0..=[0, 0, 1, 2][rng.usize(..4)] {
        if again > 0 {
            plan.push(TargetState::Queued);
        }
        plan.push(TargetState::Running);
        plan.push([TargetState::Success, TargetState::Failure][rng.usize(..2)]);
    }
    let mut times: Vec<u64> = plan.iter().map(|_| rng.u64(1..=200)).collect();
    times.sort_unstable();
    let mut world = World { rng, fault, record: record(), state: (TargetState::Queued, 0), flights: Vec::new(), t: 0 };
    let mut marks: Vec<(u64, (TargetState, u64))> = Vec::new();
    let mut reporters: Vec<Reporter> = Vec::new();
    let mut landed: Vec<(TargetState, u64)> = Vec::new();
    let (mut done, mut names, mut event) = (0, 0, world.state);
    while world.t < END {
        while done < plan.len() && times[done] <= world.t {
            world.state = (plan[done], world.state.1 + 1);
            done += 1;
            for _ in 0..=world.rng.usize(..2) {
                let at = world.t + world.rng.u64(0..=20);
                marks.push((at, world.state));
            }
        }
        let t = world.t;
        world.flights.retain(|(at, state)| {
            if *at <= t {
                landed.push(*state);
            }
            *at > t
        });
        let due: Vec<_> = marks.extract_if(.., |(at, _)| *at <= t).collect();
        for (_, state) in due {
            event = state;
            if let Some(record) = world.record.marked(world.now(), world.now()) {
                world.record = record;
            }
        }
        let is_due = world.record.due.is_some_and(|due| due <= world.now());
        let starts = usize::from(is_due) + usize::from(world.rng.usize(..100) < 2);
        for _ in 0..starts {
            names += 1;
            reporters.push(Reporter { name: names.to_string(), wake: t, step: Step::Take, event });
        }
        for reporter in reporters.iter_mut().filter(|reporter| reporter.wake <= t) {
            let delay = world.step(reporter);
            reporter.wake = t + delay;
        }
        reporters.retain(|reporter| !matches!(reporter.step, Step::End));
        world.t += 1;
    }
    let (requests, changes) = (landed.len(), plan.len() + 1);
    let shown = landed.last().copied();
    if shown.map(|(state, _)| state) != Some(world.state.0) {
        return (Some(format!("the forge shows {shown:?}, the run is {:?}", world.state)), requests, changes);
    }
    let older = landed.windows(2).find(|pair| pair[1].1 < pair[0].1);
    (older.map(|pair| format!("{:?} followed {:?}", pair[1], pair[0])), requests, changes)
}

#[test]
fn the_last_state_at_the_forge_is_the_runs_and_no_older_one_follows_a_newer() {
    let (mut requests, mut changes) = (0, 0);
    for seed in 0..SEEDS {
        let (what, some, of) = broken(seed, None);
        assert!(what.is_none(), "seed {seed}: {what:?}");
        (requests, changes) = (requests + some, changes + of);
    }
    println!("{requests} requests for {changes} changes");
}

#[test]
fn planted_faults_of_reporting_are_found() {
    for fault in [Fault::NoLease, Fault::TrustsTheGone, Fault::ReturnsAfterTimeout, Fault::StateOfEvent] {
        let found = (0..SEEDS).filter(|seed| broken(*seed, Some(fault)).0.is_some()).count();
        println!("{fault:?}: found in {found} of {SEEDS} worlds");
        assert!(found > 0, "{fault:?}");
    }
}
