//! Checks at each write of a job. They compare with the requests and reports, not with what the engine derived from them.

use std::time::Duration;

use engine::ids::{JobKey, RunKey};
use engine::job::{JobOutcome, JobRecord, LeaseRecord, OutputsRef, Phase};
use engine::run::RunState;
use protocol::wire::{Cause, Condition, SkippedBecause};
use protocol::{Millis, Outputs, Status, limits};

use crate::cell::Cell;
use crate::expected::{ExpectedJob, Fate, Outcome};
use crate::graph::SKIP_EXIT;
use crate::task::{AttemptResult, Task};
use crate::world::World;

impl World {
    pub(crate) fn name(&self, key: &JobKey) -> String {
        self.trace.job(key)
    }

    fn skew(&self) -> Duration {
        Duration::from_millis(self.faults.skew)
    }

    /// The outputs of a record, wherever they are stored.
    pub(crate) fn outputs_of(&self, record: &JobRecord) -> Option<Outputs> {
        match record.outputs()? {
            OutputsRef::Inline(outputs) => Some(outputs.clone()),
            OutputsRef::External { id, .. } => {
                self.store.outputs.get(&(record.key.clone(), id.clone())).and_then(Cell::now).cloned()
            }
        }
    }

    /// Checks a change of a job's record before it is made.
    pub(crate) fn check_job(&mut self, old: Option<&JobRecord>, new: &JobRecord) {
        let key = &new.key;
        if self.expected.gone.contains(&key.run) {
            self.broken(|world| format!("{} was written after its run was deleted", world.name(key)));
        }
        // Before the commit of the run the same record may be written again.
        let Some(old) = old.filter(|old| *old != new) else { return };
        match (&old.phase, &new.phase) {
            (Phase::Ended(_), _) => {
                self.broken(|world| format!("{} changed after it had ended", world.name(key)));
            }
            (Phase::Waiting { .. }, Phase::Blocked { .. }) => self.check_needs(key),
            (Phase::Waiting { .. } | Phase::Blocked { .. }, Phase::Ready { .. }) => {
                self.check_needs(key);
                self.check_ready(new);
            }
            (Phase::Waiting { .. } | Phase::Ready { .. }, Phase::Running(lease)) => {
                self.check_needs(key);
                self.check_start(key, lease);
                if old.is_kept_from(&lease.worker, lease.started_at) {
                    self.broken(|world| format!("{} went to a worker that gave it back just before", world.name(key)));
                }
                if matches!(&old.phase, Phase::Ready { at, .. } if *at > self.clock + self.skew()) {
                    self.broken(|world| format!("{} was claimed before its retry delay was over", world.name(key)));
                }
            }
            (Phase::Running(held), Phase::Running(renewed)) => {
                let by = self.running.get(&self.gates.current).and_then(|who| who.task.lease());
                let by_lease = by.is_some_and(|by| by.fence == held.fence.as_str());
                let deadline = self.deadline(key, held);
                if deadline.is_some_and(|deadline| renewed.until > deadline) {
                    self.broken(|world| format!("the lease of {} was extended past its timeout", world.name(key)));
                }
                if held.fence != renewed.fence {
                    self.broken(|world| format!("{} has two leases at once", world.name(key)));
                } else if deadline == Some(renewed.until) && renewed.until < held.until {
                    // The claim's first write after the lease.
                    self.counts.add("leases cut to a timeout", 1);
                } else if !by_lease {
                    self.broken(|world| format!("the lease of {} was renewed without its fence", world.name(key)));
                } else if renewed.until < held.until {
                    self.broken(|world| format!("a heartbeat shortened the lease of {}", world.name(key)));
                }
            }
            (Phase::Running(held), Phase::Ready { .. } | Phase::Ended(_)) => self.check_attempt_end(held, new),
            (Phase::Ready { until: Some(until), .. }, Phase::Ended(ending))
                if matches!(ending.outcome, JobOutcome::Failure { .. }) =>
            {
                self.counts.add("queue timeouts", 1);
                if new.failed.last().is_none_or(|last| last.cause != Cause::QueueTimeout) {
                    self.broken(|world| format!("{} doesn't record its queue timeout", world.name(key)));
                }
                if *until > self.clock + self.skew() {
                    self.broken(|world| format!("{} failed before its queue timeout", world.name(key)));
                }
            }
            (_, Phase::Ended(ending))
                if matches!(ending.outcome, JobOutcome::Success(_) | JobOutcome::Failure { .. }) =>
            {
                self.broken(|world| format!("{} ended without running", world.name(key)));
            }
            _ => {}
        }
        if self.expected.runs.contains_key(&key.run) {
            self.check_turn_of_job(old, new);
        }
        self.check_end_of_job(old, new);
    }

    fn check_needs(&mut self, key: &JobKey) {
        if !self.expected.runs.contains_key(&key.run) {
            return self.broken(|world| format!("{} started before its run was committed", world.name(key)));
        }
        let fate = self.fate(key);
        if fate != Some(Fate::Runs) {
            self.broken(|world| format!("{} started, and the ends of its needs say {fate:?}", world.name(key)));
        }
    }

    /// The job's queue timeout is the requested one.
    fn check_ready(&mut self, new: &JobRecord) {
        let Phase::Ready { at, until } = new.phase else { return };
        let asked = self.expected_job(&new.key).allowed.queue_timeout;
        if until != asked.map(|secs| at + Duration::from_secs(secs.into())) {
            self.broken(|world| format!("{} has a wrong queue timeout", world.name(&new.key)));
        }
    }

    fn expected_job(&self, key: &JobKey) -> &ExpectedJob {
        &self.expected.runs[&key.run].jobs[key.index as usize]
    }

    /// The time at which an attempt reaches its timeout.
    fn deadline(&self, key: &JobKey, held: &LeaseRecord) -> Option<Millis> {
        let timeout = self.expected_job(key).allowed.timeout;
        timeout.map(|secs| held.started_at + Duration::from_secs(secs.into()))
    }

    fn check_start(&mut self, key: &JobKey, lease: &LeaseRecord) {
        let asked = self.expected_job(key);
        let by = self.running.get(&self.gates.current).and_then(|who| who.task.worker());
        let fits = by.is_some_and(|by| {
            let missing = asked.labels.iter().any(|label| !by.labels.iter().any(|has| has == label));
            let stranger = by.exclusive && !asked.labels.iter().any(|label| by.labels.iter().any(|has| has == label));
            by.id == lease.worker && !missing && !stranger
        });
        let most = asked.allowed.most();
        if !fits {
            self.broken(|world| {
                format!("{} was leased to worker {}, which may not have it", world.name(key), lease.worker)
            });
        }
        self.expected.began.insert(lease.fence.as_str().to_owned(), self.step);
        if let Some(done) = self.running.get(&self.gates.current).and_then(|who| who.task.lease()) {
            self.expected.next.insert(done.fence.clone(), (key.clone(), lease.fence.as_str().to_owned()));
        }
        let tries = self.expected.tries.entry(key.clone()).or_default();
        tries.begun += 1;
        if tries.begun > most + tries.returned + tries.claims_failed {
            self.broken(|world| format!("{} has more than {most} attempts", world.name(key)));
        }
    }

    /// An attempt ends by a report under its lease, by the expiry of the lease, or by a cancel.
    fn check_attempt_end(&mut self, held: &LeaseRecord, new: &JobRecord) {
        let key = &new.key;
        let task = self.running.get(&self.gates.current).map(|who| (who.task.clone(), who.arrived, who.began));
        match task {
            Some((Task::Report { lease, result, .. }, arrived, began)) if lease.job == *key => {
                self.check_report(held, new, (&lease.fence, result), (arrived, began));
            }
            _ if matches!(&new.phase, Phase::Ended(ending) if ending.outcome == JobOutcome::Cancelled) => {}
            _ if matches!(&new.phase, Phase::Ended(ending) if matches!(ending.outcome, JobOutcome::Success(_))) => {
                self.broken(|world| format!("{} succeeded without a report", world.name(key)));
            }
            Some((Task::Claim { .. } | Task::Report { .. }, ..))
                if new.failed.last().is_some_and(|last| last.cause == Cause::Returned) =>
            {
                self.check_return(new, false);
            }
            _ => {
                self.counts.add("leases lost", 1);
                self.check_recovery(key, held.until);
                if held.until > self.clock + self.skew() {
                    self.broken(|world| format!("the lease of {} was ended before it expired", world.name(key)));
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
        (fence, result): (&str, AttemptResult),
        (arrived, began): (u64, Millis),
    ) {
        let key = &new.key;
        let attempt = new.attempt - u32::from(matches!(new.phase, Phase::Ready { .. }));
        if held.fence.as_str() != fence {
            self.broken(|world| format!("{} was ended by a report under an old lease", world.name(key)));
        }
        if held.until + self.skew() <= began {
            self.broken(|world| format!("{} was ended by a report after its lease expired", world.name(key)));
        }
        if !self.expected.attempts_reported.insert((key.clone(), attempt)) {
            self.broken(|world| format!("a second report for one attempt of {} was accepted", world.name(key)));
        }
        if self.expected.runs[&key.run].barrier.is_some_and(|barrier| arrived > barrier) {
            self.broken(|world| {
                format!("a report of {} counted though it came after the cancel was answered", world.name(key))
            });
        }
        match &result {
            AttemptResult::Success(given) => {
                let kept = self.outputs_of(new);
                let same = kept.as_ref().is_some_and(|kept| {
                    kept.iter()
                        .map(|(name, value)| (name.as_str(), value))
                        .eq(given.iter().map(|(n, v)| (n.as_str(), v)))
                });
                match kept {
                    Some(kept) if same => drop(self.expected.outputs.insert(key.clone(), kept)),
                    _ => self.broken(|world| {
                        format!("the outputs of {} aren't stored as they were reported", world.name(key))
                    }),
                }
            }
            AttemptResult::Failure { exit_code: SKIP_EXIT, .. } if self.expected_job(key).ends.may_skip => {
                let skipped = JobOutcome::Skipped(SkippedBecause::Exit);
                if !matches!(&new.phase, Phase::Ended(ending) if ending.outcome == skipped) {
                    self.broken(|world| format!("{} isn't skipped, though its attempt said so", world.name(key)));
                }
                self.counts.add("jobs skipped by their exit code", 1);
            }
            AttemptResult::Failure { retryable, .. } => {
                self.check_tries_used(new, Cause::Failure, *retryable);
            }
            AttemptResult::Return { .. } => self.check_return(new, true),
        }
        self.expected.accepted.insert(fence.to_owned(), (self.step, result));
    }

    /// A job that was given back is ready again and has used no try, unless that happened too often in a row. A claim
    /// that failed leaves the attempt's number as it is.
    fn check_return(&mut self, new: &JobRecord, by_worker: bool) {
        let key = &new.key;
        self.counts.add(if by_worker { "jobs returned by workers" } else { "jobs returned by claims" }, 1);
        let tries = self.expected.tries.entry(key.clone()).or_default();
        let pause = if by_worker {
            tries.returned += 1;
            tries.returned_in_a_row += 1;
            0
        } else {
            tries.claims_failed += 1;
            tries.claims_failed_in_a_row += 1;
            (5_000 << (tries.claims_failed_in_a_row - 1).min(10)).min(300_000)
        };
        let (returned, in_a_row) = (tries.returned, tries.returned_in_a_row);
        match new.phase {
            Phase::Ready { .. } if new.used.returned == returned => self.check_ready(new),
            Phase::Ended(_) if in_a_row >= limits::RETURNS => {}
            _ => self.broken(|world| format!("{} was given back and isn't ready again", world.name(key))),
        }
        if let (Phase::Ready { at, .. }, Some(last)) = (&new.phase, new.failed.last()) {
            if new.attempt != last.attempt + u32::from(by_worker) {
                self.broken(|world| format!("{} was given back and its attempt has a wrong number", world.name(key)));
            }
            if at.0 - last.finished_at_ms.0 != pause {
                self.broken(|world| format!("{} was given back and has a wrong delay", world.name(key)));
            }
        }
    }

    /// A retry follows exactly if one is left and the failure is retryable.
    fn check_tries_used(&mut self, new: &JobRecord, cause: Cause, could_help: bool) {
        let key = &new.key;
        let allowed = self.expected_job(key).allowed;
        let tries = self.expected.tries.entry(key.clone()).or_default();
        tries.returned_in_a_row = 0;
        tries.claims_failed_in_a_row = 0;
        let returned = tries.returned;
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
            self.broken(|world| format!("{} doesn't record that an attempt ended by {cause}", world.name(key)));
        }
        self.counts.add(
            match cause {
                Cause::Failure => "attempts failed",
                Cause::Lost => "attempts lost",
                Cause::Timeout => "attempts timed out",
                Cause::QueueTimeout => "attempts never started",
                Cause::Returned => "attempts returned",
            },
            1,
        );
        if let (Phase::Ready { at, .. }, Some(last)) = (&new.phase, last) {
            self.counts.add("retries", 1);
            self.check_ready(new);
            if at.0 - last.finished_at_ms.0 != allowed.delay(last.attempt - returned) {
                self.broken(|world| format!("{} has a wrong retry delay", world.name(key)));
            }
        }
        if again != expected {
            self.broken(|world| {
                format!("{} {} a retry", world.name(key), if again { "wrongly has" } else { "wrongly lacks" })
            });
        }
    }

    fn check_end_of_job(&mut self, old: &JobRecord, new: &JobRecord) {
        let (Phase::Ended(ending), false) = (&new.phase, old.is_ended()) else { return };
        let key = &new.key;
        match &ending.outcome {
            // Checked with the report.
            JobOutcome::Skipped(SkippedBecause::Exit) if ending.lease.is_some() => {}
            JobOutcome::Skipped(because) => {
                let fate = self.fate(key);
                if fate != Some(Fate::IsSkipped) || !matches!(old.phase, Phase::Waiting { .. }) {
                    self.broken(|world| format!("{} was skipped, and its needs say {fate:?}", world.name(key)));
                }
                self.check_reason(key, because);
            }
            JobOutcome::Cancelled => {
                let deleted = self.expected.runs.get(&key.run).is_some_and(|run| run.deleted);
                let state = self.store.control(&key.run).map(|control| control.state);
                if !deleted && state.is_some_and(|state| state != RunState::Cancelling) {
                    self.broken(|world| format!("{} was cancelled without a cancel", world.name(key)));
                }
                if self.running.get(&self.gates.current).is_some_and(|who| who.task.worker().is_some()) {
                    self.counts.add("claims undone by a cancel", 1);
                }
            }
            JobOutcome::Success(_) | JobOutcome::Failure { .. } => {}
        }
    }

    /// The job that a skip names has failed.
    fn check_reason(&mut self, key: &JobKey, because: &SkippedBecause) {
        let jobs = &self.expected.runs[&key.run].jobs;
        let by_itself = jobs[key.index as usize].ends.condition != Condition::Success;
        let count = u32::try_from(jobs.len()).expect("few");
        let right = match because {
            SkippedBecause::Job(id) => (0..count).any(|index| {
                let is_it = self.store.job(&key.run, index).is_some_and(|job| job.id == *id);
                is_it && self.outcome(&key.run, index) == Some(Outcome::Failed)
            }),
            SkippedBecause::Condition => true,
            SkippedBecause::Exit => !by_itself,
        };
        if !right {
            self.broken(|world| format!("{} was skipped for the wrong reason, {because:?}", world.name(key)));
        }
        self.counts.add(if by_itself { "jobs skipped by their condition" } else { "jobs skipped below others" }, 1);
    }

    /// What a job is to those that need it, by its status and the request. `None` if it hasn't ended or was cancelled.
    pub(crate) fn outcome(&self, run: &RunKey, index: u32) -> Option<Outcome> {
        let ends = self.expected.runs[run].jobs[index as usize].ends;
        match self.store.job(run, index)?.status() {
            Status::Success => Some(Outcome::Passed),
            Status::Failure if ends.allow_failure => Some(Outcome::Passed),
            Status::Failure => Some(Outcome::Failed),
            Status::Skipped => Some(Outcome::Skipped),
            Status::Queued | Status::Running | Status::Cancelled => None,
        }
    }

    /// What must become of a job, as far as that is decided.
    pub(crate) fn fate(&self, key: &JobKey) -> Option<Fate> {
        let job = &self.expected.runs[&key.run].jobs[key.index as usize];
        let handler = job.ends.condition == Condition::OnFailure;
        let all: Vec<u32> = (0..key.index).collect();
        let needs = if handler { &all } else { &job.needs };
        let outcomes: Vec<Option<Outcome>> = needs.iter().map(|&need| self.outcome(&key.run, need)).collect();
        let any = |outcome| outcomes.contains(&Some(outcome));
        if job.ends.condition == Condition::Success && (any(Outcome::Failed) || any(Outcome::Skipped)) {
            return Some(Fate::IsSkipped);
        }
        if outcomes.contains(&None) {
            return None;
        }
        let after_failure = matches!(job.ends.condition, Condition::Failure | Condition::OnFailure);
        Some(if after_failure && !any(Outcome::Failed) { Fate::IsSkipped } else { Fate::Runs })
    }

    /// The final status that follows from the jobs, once all have ended.
    pub(crate) fn final_status(&self, run: &RunKey) -> Option<Status> {
        let count = u32::try_from(self.expected.runs.get(run)?.jobs.len()).expect("few");
        let jobs: Option<Vec<&JobRecord>> = (0..count).map(|index| self.store.job(run, index)).collect();
        let jobs = jobs?;
        let any = |status| jobs.iter().any(|job| job.status() == status);
        if !jobs.iter().all(|job| job.is_ended()) {
            return None;
        }
        let failed = (0..count).any(|index| self.outcome(run, index) == Some(Outcome::Failed));
        Some(match (failed, any(Status::Cancelled)) {
            (true, _) => Status::Failure,
            (false, true) => Status::Cancelled,
            (false, false) => Status::Success,
        })
    }

    /// The step in which the attempt under a fence began.
    pub(crate) fn began_in(&self, fence: &str) -> Option<u64> {
        self.expected.began.get(fence).copied()
    }

    /// The next job of a completion, with its fence and expiry, if its lease isn't over.
    pub(crate) fn next_of(&self, done: &str) -> Option<(&JobKey, &str, Millis)> {
        let (key, fence) = self.expected.next.get(done)?;
        Some((key, fence, self.lease_until(key, fence)?))
    }

    /// The expiry of the lease under a fence, if it holds the job.
    pub(crate) fn lease_until(&self, job: &JobKey, fence: &str) -> Option<Millis> {
        match &self.store.job(&job.run, job.index)?.phase {
            Phase::Running(lease) if lease.fence.as_str() == fence => Some(lease.until),
            _ => None,
        }
    }
}
