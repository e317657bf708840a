//! The promises, checked at each write: against what was asked for and said, not against what the engine made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine::ids::{JobKey, RunKey};
use engine::job::{JobOutcome, JobRecord, LeaseRecord, OutputsRef, Phase};
use engine::ports::Commit;
use engine::run::{Control, RunState, Timer, WorkflowRecord};
use protocol::wire::Cause;
use protocol::{LabelSet, Millis, Outputs, Status, WorkflowId};

use crate::cell::Cell;
use crate::graph::{Allowed, Graph};
use crate::task::{Said, Task};
use crate::world::World;

/// What the checks remember.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) violation: Option<String>,
    pub(crate) runs: BTreeMap<RunKey, Run>,
    graphs: BTreeMap<WorkflowId, Arc<Graph>>,
    /// What the attempt under a fence ended with, as it was said.
    pub(crate) accepted: BTreeMap<String, (u64, Said)>,
    attempts_reported: BTreeSet<(JobKey, u32)>,
    /// In which step the attempt under a fence began.
    began: BTreeMap<String, u64>,
    /// Which job was given with the answer to the completion under a fence, and under which.
    next: BTreeMap<String, (JobKey, String)>,
    pub(crate) tries: BTreeMap<JobKey, Tries>,
    /// What the worker gave whose success was accepted.
    pub(crate) outputs: BTreeMap<JobKey, Outputs>,
    /// Runs of which all was deleted.
    pub(crate) gone: BTreeSet<RunKey>,
    /// The workflow made for each key, as first answered.
    pub(crate) keys: BTreeMap<String, WorkflowId>,
}

/// How a job's attempts went.
#[derive(Default)]
pub(crate) struct Tries {
    pub(crate) begun: u32,
    /// That failed and asked for another, or were lost, or ran too long, by whose budget they used.
    max: u32,
    lost: u32,
    timeouts: u32,
}

/// A committed run.
pub(crate) struct Run {
    /// By index.
    pub(crate) jobs: Vec<Asked>,
    /// Whether a cancel was written.
    pub(crate) cancelled: bool,
    pub(crate) deleted: bool,
    /// The step in which a cancel or delete was answered: nothing starts or counts that comes later.
    pub(crate) barrier: Option<u64>,
}

/// What was asked of a job.
pub(crate) struct Asked {
    pub(crate) needs: Vec<u32>,
    pub(crate) labels: LabelSet,
    allowed: Allowed,
}

impl World {
    fn name(&self, key: &JobKey) -> String {
        self.trace.job(key)
    }

    fn skew(&self) -> Duration {
        Duration::from_millis(self.faults.skew)
    }

    /// The outputs that a record says it has.
    pub(crate) fn outputs_of(&self, record: &JobRecord) -> Option<Outputs> {
        match record.outputs()? {
            OutputsRef::Inline(outputs) => Some(outputs.clone()),
            OutputsRef::External { id, .. } => {
                self.store.outputs.get(&(record.key.clone(), id.clone())).and_then(Cell::now).cloned()
            }
        }
    }

    /// A change of a job's record, before it is made.
    pub(crate) fn check_job(&mut self, old: Option<&JobRecord>, new: &JobRecord) {
        let key = &new.key;
        if self.watch.gone.contains(&key.run) {
            self.broken(|world| format!("{} came back after its run was deleted", world.name(key)));
        }
        // The same record written again, before the run is committed, is no change.
        let Some(old) = old.filter(|old| *old != new) else { return };
        match (&old.phase, &new.phase) {
            (Phase::Ended(_), _) => {
                self.broken(|world| format!("{} changed after it had ended", world.name(key)));
            }
            (Phase::Waiting { .. }, Phase::Ready { .. }) => {
                self.check_needs(key);
                self.check_ready(new);
            }
            (Phase::Waiting { .. } | Phase::Ready { .. }, Phase::Running(lease)) => {
                self.check_needs(key);
                self.check_start(key, lease);
                if matches!(&old.phase, Phase::Ready { at, .. } if *at > self.clock + self.skew()) {
                    self.broken(|world| format!("{} was tried again before its delay was over", world.name(key)));
                }
            }
            (Phase::Running(held), Phase::Running(renewed)) => {
                let by = self.who.get(&self.gates.current).and_then(|who| who.task.lease());
                let by_its_holder = by.is_some_and(|by| by.fence == held.fence.as_str());
                let deadline = self.deadline(key, held);
                if deadline.is_some_and(|deadline| renewed.until > deadline) {
                    self.broken(|world| format!("the lease of {} was carried past its timeout", world.name(key)));
                }
                if held.fence != renewed.fence {
                    self.broken(|world| format!("{} is held twice at once", world.name(key)));
                } else if deadline == Some(renewed.until) && renewed.until < held.until {
                    // As it is given out.
                    self.counts.add("leases cut to a timeout", 1);
                } else if !by_its_holder {
                    self.broken(|world| {
                        format!("the lease of {} was renewed by a worker that doesn't hold it", world.name(key))
                    });
                } else if renewed.until < held.until {
                    self.broken(|world| format!("a heartbeat shortened the lease of {}", world.name(key)));
                }
            }
            (Phase::Running(held), Phase::Ready { .. } | Phase::Ended(_)) => self.check_attempt_end(held, new),
            (Phase::Ready { until: Some(until), .. }, Phase::Ended(ending))
                if matches!(ending.outcome, JobOutcome::Failure { .. }) =>
            {
                self.counts.add("jobs untaken in time", 1);
                if new.failed.last().is_none_or(|last| last.cause != Cause::QueueTimeout) {
                    self.broken(|world| format!("{} doesn't say that nobody took it", world.name(key)));
                }
                if *until > self.clock + self.skew() {
                    self.broken(|world| format!("{} was given up before its time", world.name(key)));
                }
            }
            (_, Phase::Ended(ending))
                if matches!(ending.outcome, JobOutcome::Success(_) | JobOutcome::Failure { .. }) =>
            {
                self.broken(|world| format!("{} ended without running", world.name(key)));
            }
            _ => {}
        }
        self.check_end_of_job(old, new);
    }

    fn check_needs(&mut self, key: &JobKey) {
        let Some(run) = self.watch.runs.get(&key.run) else {
            return self.broken(|world| format!("{} started before its run was committed", world.name(key)));
        };
        let lacks = |need: &&u32| self.store.job(&key.run, **need).is_none_or(|need| need.status() != Status::Success);
        if let Some(need) = run.jobs[key.index as usize].needs.iter().find(lacks).copied() {
            self.broken(|world| format!("{} started before #{need}, which it needs, succeeded", world.name(key)));
        }
    }

    /// It waits for a worker for as long as was asked.
    fn check_ready(&mut self, new: &JobRecord) {
        let Phase::Ready { at, until } = new.phase else { return };
        let asked = self.asked(&new.key).allowed.queue_timeout;
        if until != asked.map(|secs| at + Duration::from_secs(secs.into())) {
            self.broken(|world| format!("{} waits too long, or not long enough, for a worker", world.name(&new.key)));
        }
    }

    fn asked(&self, key: &JobKey) -> &Asked {
        &self.watch.runs[&key.run].jobs[key.index as usize]
    }

    /// When an attempt has run for as long as was asked.
    fn deadline(&self, key: &JobKey, held: &LeaseRecord) -> Option<Millis> {
        let timeout = self.asked(key).allowed.timeout;
        timeout.map(|secs| held.started_at + Duration::from_secs(secs.into()))
    }

    fn check_start(&mut self, key: &JobKey, lease: &LeaseRecord) {
        let asked = self.asked(key);
        let by = self.who.get(&self.gates.current).and_then(|who| who.task.worker());
        let fits = by.is_some_and(|by| {
            let missing = asked.labels.iter().any(|label| !by.labels.iter().any(|has| has == label));
            let stranger = by.exclusive && !asked.labels.iter().any(|label| by.labels.iter().any(|has| has == label));
            by.id == lease.worker && !missing && !stranger
        });
        let most = asked.allowed.most();
        if !fits {
            self.broken(|world| format!("{} went to worker {}, which may not have it", world.name(key), lease.worker));
        }
        self.watch.began.insert(lease.fence.as_str().to_owned(), self.step);
        if let Some(done) = self.who.get(&self.gates.current).and_then(|who| who.task.lease()) {
            self.watch.next.insert(done.fence.clone(), (key.clone(), lease.fence.as_str().to_owned()));
        }
        let tries = self.watch.tries.entry(key.clone()).or_default();
        tries.begun += 1;
        if tries.begun > most {
            self.broken(|world| format!("{} was tried more than {most} times", world.name(key)));
        }
    }

    /// An attempt ends: by its principal's report, by the end of its lease, or by a cancel.
    fn check_attempt_end(&mut self, held: &LeaseRecord, new: &JobRecord) {
        let key = &new.key;
        let task = self.who.get(&self.gates.current).map(|who| (who.task.clone(), who.arrived, who.began));
        match task {
            Some((Task::Report { lease, said, .. }, arrived, began)) if lease.job == *key => {
                self.check_report(held, new, (&lease.fence, said), (arrived, began));
            }
            _ if matches!(&new.phase, Phase::Ended(ending) if ending.outcome == JobOutcome::Cancelled) => {}
            _ if matches!(&new.phase, Phase::Ended(ending) if matches!(ending.outcome, JobOutcome::Success(_))) => {
                self.broken(|world| format!("{} succeeded by nobody's report", world.name(key)));
            }
            _ => {
                self.counts.add("leases lost", 1);
                if held.until > self.clock + self.skew() {
                    self.broken(|world| format!("the lease of {} was ended while it ran", world.name(key)));
                }
                let timed_out = self.deadline(key, held).is_some_and(|deadline| held.until >= deadline);
                self.check_tries_used(new, if timed_out { Cause::Timeout } else { Cause::Lost }, true);
            }
        }
    }

    fn check_report(
        &mut self,
        held: &LeaseRecord,
        new: &JobRecord,
        (fence, said): (&str, Said),
        (arrived, began): (u64, Millis),
    ) {
        let key = &new.key;
        let attempt = new.attempt - u32::from(matches!(new.phase, Phase::Ready { .. }));
        if held.fence.as_str() != fence {
            self.broken(|world| format!("{} was ended by the report of an old lease", world.name(key)));
        }
        if held.until + self.skew() <= began {
            self.broken(|world| format!("{} was ended by a report that came after its lease's end", world.name(key)));
        }
        if !self.watch.attempts_reported.insert((key.clone(), attempt)) {
            self.broken(|world| format!("a second report for one attempt of {} was accepted", world.name(key)));
        }
        if self.watch.runs[&key.run].barrier.is_some_and(|barrier| arrived > barrier) {
            self.broken(|world| {
                format!("a report of {} counted though it came after the cancel was answered", world.name(key))
            });
        }
        match &said {
            Said::Success(given) => {
                let kept = self.outputs_of(new);
                let same = kept.as_ref().is_some_and(|kept| {
                    kept.iter()
                        .map(|(name, value)| (name.as_str(), value))
                        .eq(given.iter().map(|(n, v)| (n.as_str(), v)))
                });
                match kept {
                    Some(kept) if same => drop(self.watch.outputs.insert(key.clone(), kept)),
                    _ => self
                        .broken(|world| format!("the outputs of {} aren't kept as they were given", world.name(key))),
                }
            }
            Said::Failure { retryable, .. } => {
                self.check_tries_used(new, Cause::Failure, *retryable);
            }
        }
        self.watch.accepted.insert(fence.to_owned(), (self.step, said));
    }

    /// Whether another try follows exactly when one is left and could help.
    fn check_tries_used(&mut self, new: &JobRecord, cause: Cause, could_help: bool) {
        let key = &new.key;
        let allowed = self.asked(key).allowed;
        let tries = self.watch.tries.entry(key.clone()).or_default();
        let (used, budget) = match (cause, allowed.lost, allowed.timeouts) {
            (Cause::Lost, Some(lost), _) => (&mut tries.lost, lost),
            (Cause::Timeout, _, Some(timeouts)) => (&mut tries.timeouts, timeouts),
            _ => (&mut tries.max, allowed.max),
        };
        let expected = could_help && *used < budget;
        *used += u32::from(could_help);
        let again = matches!(new.phase, Phase::Ready { .. });
        let last = new.failed.last();
        if last.is_none_or(|last| last.cause != cause || last.attempt != new.attempt - u32::from(again)) {
            self.broken(|world| format!("{} doesn't say that an attempt ended by {cause}", world.name(key)));
        }
        self.counts.add(
            match cause {
                Cause::Failure => "attempts failed",
                Cause::Lost => "attempts lost",
                Cause::Timeout => "attempts timed out",
                Cause::QueueTimeout => "attempts untaken",
            },
            1,
        );
        if let (Phase::Ready { at, .. }, Some(last)) = (&new.phase, last) {
            self.counts.add("tries again", 1);
            self.check_ready(new);
            if at.0 - last.finished_at_ms.0 != allowed.delay(last.attempt) {
                self.broken(|world| format!("{} waits too long, or not long enough", world.name(key)));
            }
        }
        if again != expected {
            self.broken(|world| {
                format!("{} {} another try", world.name(key), if again { "wrongly got" } else { "was denied" })
            });
        }
    }

    fn check_end_of_job(&mut self, old: &JobRecord, new: &JobRecord) {
        let (Phase::Ended(ending), false) = (&new.phase, old.is_ended()) else { return };
        let key = &new.key;
        match ending.outcome {
            JobOutcome::Skipped => {
                let needs = &self.watch.runs[&key.run].jobs[key.index as usize].needs;
                let is_blocked = needs.iter().any(|&need| {
                    self.store
                        .job(&key.run, need)
                        .is_some_and(|need| matches!(need.status(), Status::Failure | Status::Skipped))
                });
                if !is_blocked || !matches!(old.phase, Phase::Waiting { .. }) {
                    self.broken(|world| format!("{} was skipped without a reason", world.name(key)));
                }
            }
            JobOutcome::Cancelled => {
                let deleted = self.watch.runs.get(&key.run).is_some_and(|run| run.deleted);
                let state = self.store.control(&key.run).map(|control| control.state);
                if !deleted && state.is_some_and(|state| state != RunState::Cancelling) {
                    self.broken(|world| format!("{} was cancelled by nobody", world.name(key)));
                }
                if self.who.get(&self.gates.current).is_some_and(|who| who.task.worker().is_some()) {
                    self.counts.add("claims undone", 1);
                }
            }
            JobOutcome::Success(_) | JobOutcome::Failure { .. } => {}
        }
    }

    /// What a run's jobs say of it, once all have ended.
    pub(crate) fn truth(&self, run: &RunKey) -> Option<Status> {
        let count = u32::try_from(self.watch.runs.get(run)?.jobs.len()).expect("few");
        let jobs: Option<Vec<&JobRecord>> = (0..count).map(|index| self.store.job(run, index)).collect();
        let jobs = jobs?;
        let any = |status| jobs.iter().any(|job| job.status() == status);
        if !jobs.iter().all(|job| job.is_ended()) {
            return None;
        }
        Some(match (any(Status::Failure), any(Status::Cancelled)) {
            (true, _) => Status::Failure,
            (false, true) => Status::Cancelled,
            (false, false) => Status::Success,
        })
    }

    /// A change of a control record, before it is made.
    pub(crate) fn check_control(&mut self, old: Option<&Control>, new: &Control) {
        let Some(old) = old else { return };
        let run = &new.run;
        if old.state == RunState::Final && new != old {
            self.broken(|world| format!("{} changed after it was final", world.trace.run(run)));
        }
        if new.done_below < old.done_below {
            self.broken(|world| format!("{} went back", world.trace.run(run)));
        }
        let ended = |index| self.store.job(run, index).is_some_and(JobRecord::is_ended);
        if !(old.done_below..new.done_below).all(ended) {
            self.broken(|world| format!("{} is said to be further than it is", world.trace.run(run)));
        }
        if new.state.is_active() == (new.timer == Timer::Off) {
            self.broken(|world| {
                format!("{} is {} with a timer of {:?}", world.trace.run(run), new.state.as_ref(), new.timer)
            });
        }
        if new.state == RunState::Cancelling {
            self.watch.runs.get_mut(run).expect("a committed run").cancelled = true;
        }
        if new.state == RunState::Final && old.state != RunState::Final {
            if self.truth(run).is_none() {
                self.broken(|world| format!("{} was closed before all its jobs had ended", world.trace.run(run)));
            }
            let workflow = self.store.workflows.get(&new.workflow).and_then(Cell::now);
            if workflow.is_some_and(|workflow| workflow.run == *run && workflow.ended.is_none()) {
                self.broken(|world| format!("{} was closed before its workflow", world.trace.run(run)));
            }
        }
    }

    /// A change of a workflow's record, before it is made.
    pub(crate) fn check_workflow(&mut self, old: Option<&WorkflowRecord>, new: &WorkflowRecord) {
        let Some(old) = old else { return };
        let id = &new.id;
        if old.run != new.run && old.ended.is_none() {
            self.broken(|world| format!("{} ran again while it ran", world.trace.workflow(id)));
        }
        if old.run == new.run && old.ended.is_some() && old.ended != new.ended {
            self.broken(|world| format!("{} changed how it had ended", world.trace.workflow(id)));
        }
        if let Some(end) = new.ended
            && self.truth(&new.run) != Some(end.status)
        {
            self.broken(|world| {
                let truth = world.truth(&new.run);
                format!("{} ended as {}, its jobs say {truth:?}", world.trace.workflow(id), end.status)
            });
        }
    }

    /// A run becomes real.
    pub(crate) fn check_commit(&mut self, commit: &Commit) {
        let (id, key) = (&commit.workflow.id, &commit.control.run);
        let (graph, only_failed) = match self.who.get(&self.gates.current).map(|who| &who.task) {
            Some(Task::Submit(order)) => (Arc::clone(&order.graph), false),
            Some(Task::Start { only_failed, .. }) => (Arc::clone(&self.watch.graphs[id]), *only_failed),
            _ => return self.broken(|_| "a run was committed by nobody's request".to_owned()),
        };
        let records: Vec<JobRecord> =
            (0..commit.control.jobs).filter_map(|index| self.store.job(key, index).cloned()).collect();
        if records.len() != graph.jobs.len() {
            return self.broken(|world| format!("{} was committed without all its jobs", world.trace.run(key)));
        }
        let places: Vec<usize> = records.iter().map(|job| Graph::place(&job.id)).collect();
        let index_of = |place: usize| places.iter().position(|&other| other == place).expect("a need is a job");
        let jobs = places.iter().map(|&place| {
            let wanted = &graph.jobs[place];
            let needs = wanted.needs.iter().map(|&need| u32::try_from(index_of(need)).expect("few")).collect();
            Asked { needs, labels: wanted.labels.clone(), allowed: wanted.allowed }
        });
        let run = Run { jobs: jobs.collect(), cancelled: false, deleted: false, barrier: None };
        self.watch.runs.insert(key.clone(), run);
        self.watch.graphs.insert(id.clone(), graph);
        if let Some(before) = &commit.replaces {
            self.counts.add("re-runs", 1);
            for job in &records {
                self.check_kept(before, job, only_failed);
            }
        }
    }

    /// A re-run begins with what succeeded, if that was asked for, and with nothing else.
    fn check_kept(&mut self, before: &RunKey, job: &JobRecord, only_failed: bool) {
        let outputs = self.watch.outputs.get(&JobKey::new(before, job.key.index)).filter(|_| only_failed).cloned();
        if self.outputs_of(job) != outputs || job.is_ended() != outputs.is_some() {
            self.broken(|world| format!("{} wasn't kept, or not as it was", world.name(&job.key)));
        }
        if let Some(outputs) = outputs {
            self.counts.add("jobs kept", 1);
            self.watch.outputs.insert(job.key.clone(), outputs);
        }
    }

    /// In which step the attempt under a fence began.
    pub(crate) fn began_in(&self, fence: &str) -> Option<u64> {
        self.watch.began.get(fence).copied()
    }

    /// The job that a completion was given, with its fence, if its lease isn't over.
    pub(crate) fn next_of(&self, done: &str) -> Option<(&JobKey, &str, Millis)> {
        let (key, fence) = self.watch.next.get(done)?;
        Some((key, fence, self.lease_until(key, fence)?))
    }

    /// When the lease under a fence will end, if it is the job's.
    pub(crate) fn lease_until(&self, job: &JobKey, fence: &str) -> Option<Millis> {
        match &self.store.job(&job.run, job.index)?.phase {
            Phase::Running(lease) if lease.fence.as_str() == fence => Some(lease.until),
            _ => None,
        }
    }
}
