//! Checks at each answer, at quiescent points, and at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::error::LeaseLost;
use engine::ids::{JobKey, RunKey};
use engine::job::{JobOutcome, JobRecord, Phase};
use engine::ports::StoreError;
use engine::run::{Control, RunState, Timer};
use engine::{EngineError, Result};
use protocol::wire::{Cause, Claimed, Condition, SkippedBecause, Workflow};
use protocol::{JobId, Outputs, Status};

use crate::cell::Cell;
use crate::expected::{ExpectedJob, Fate, Outcome};
use crate::task::{Answer, AttemptResult, HeldLease, Task};
use crate::world::{HandlerInfo, World};

/// A lease that expires within this time may have been refused by another clock already.
const RACE_MARGIN: Duration = Duration::from_secs(3);
/// The time after which no eventual read is old.
const STALE_READS_OVER: Duration = Duration::from_secs(10);

impl World {
    /// Checks a handler's answer, whether or not it arrives.
    pub(crate) fn check_answer(&mut self, who: &HandlerInfo, answer: &Answer) {
        if let Some(EngineError::Store(error @ StoreError::Corrupt(_))) = answer.error() {
            let text = error.to_string();
            self.broken(|_| format!("{}: {text}", who.task));
        }
        match (&who.task, answer) {
            (Task::Submit(order), Answer::Submitted(Ok(submitted))) => {
                let first = self.expected.keys.entry(order.key.clone()).or_insert_with(|| submitted.workflow.clone());
                if *first != submitted.workflow {
                    self.broken(|_| format!("{} was answered with two workflows", order.key));
                }
            }
            (Task::Claim { .. }, Answer::Claimed(Ok(Some(claimed)))) => self.check_claimed(who, claimed),
            (Task::Report { lease, result, .. }, Answer::Reported(answer)) => {
                self.check_reported(who, lease, result, answer);
                if let Ok(Some(next)) = answer {
                    self.counts.add("next jobs", 1);
                    self.check_claimed(who, next);
                }
            }
            (Task::Heartbeat(lease), Answer::Heartbeat(Ok(beat))) => {
                let state = self.store.control(&lease.job.run).map(|control| control.state);
                if beat.cancelled && state == Some(RunState::Open) {
                    self.broken(|world| {
                        format!("a heartbeat of {} says cancelled, and its run isn't", world.trace.job(&lease.job))
                    });
                }
            }
            (Task::Heartbeat(lease), Answer::Heartbeat(Err(EngineError::LeaseLost(_)))) => {
                self.check_refused(who, lease, "a heartbeat");
            }
            (Task::Status(_), Answer::Status(Ok(workflow))) => self.check_status(who, workflow),
            (Task::List, Answer::Listed(Ok(workflows))) => {
                self.counts.add("lists read", 1);
                for workflow in workflows {
                    self.check_listed(who, workflow);
                }
            }
            (Task::List, Answer::Listed(Err(EngineError::WorkflowNotFound(_)))) => {
                self.broken(|_| "a list was refused because one of its workflows doesn't exist".to_owned());
            }
            (Task::Cancel(_) | Task::Delete(_), Answer::Done(Ok(()))) => self.stop(who),
            _ => {}
        }
    }

    /// The status of a workflow that ended some time ago shows its final state and its outputs.
    fn check_status(&mut self, who: &HandlerInfo, shown: &Workflow) {
        let Some(run) = self.ended_before(who, shown) else { return };
        let outputs: BTreeMap<&JobId, &Outputs> = shown.jobs.iter().map(|job| (&job.id, &job.outputs)).collect();
        let none = Outputs::new();
        let same = (0..u32::try_from(shown.jobs.len()).expect("few")).all(|index| {
            let Some(job) = self.store.job(&run, index) else { return false };
            outputs.get(&job.id) == Some(&self.expected.outputs.get(&job.key).unwrap_or(&none))
        });
        if !same {
            self.broken(|world| format!("{} is shown with wrong outputs", world.trace.workflow(&shown.id)));
        }
        self.check_listed(who, shown);
        self.counts.add("final statuses read", 1);
    }

    fn check_listed(&mut self, who: &HandlerInfo, shown: &Workflow) {
        let Some(run) = self.ended_before(who, shown) else { return };
        let statuses: BTreeMap<&JobId, Status> = shown.jobs.iter().map(|job| (&job.id, job.status)).collect();
        let same = (0..u32::try_from(shown.jobs.len()).expect("few"))
            .all(|index| self.store.job(&run, index).is_some_and(|job| statuses.get(&job.id) == Some(&job.status())));
        if self.final_status(&run) != Some(shown.status) || !same {
            self.broken(|world| format!("{} is shown with a wrong status", world.trace.workflow(&shown.id)));
        }
    }

    /// The shown run, if it is the current one and ended so long ago that no read of it can be old.
    fn ended_before(&self, who: &HandlerInfo, shown: &Workflow) -> Option<RunKey> {
        let cell = self.store.workflows.get(&shown.id)?;
        let is_old = cell.written_at().is_some_and(|at| at + STALE_READS_OVER <= who.began);
        let workflow = cell.now().filter(|workflow| is_old && workflow.ended.is_some() && workflow.number == shown.run);
        workflow.map(|workflow| workflow.run.clone())
    }

    /// Records that from now on nothing may start and no report may count.
    fn stop(&mut self, who: &HandlerInfo) {
        let Some(run) = who.stopped.clone() else { return };
        let name = self.trace.run(&run);
        let stopped = self.expected.runs.get_mut(&run).expect("a committed run");
        stopped.barrier.get_or_insert(self.step);
        let deleted = matches!(who.task, Task::Delete(_));
        stopped.deleted |= deleted;
        self.counts.add(if deleted { "deletes answered" } else { "cancels answered" }, 1);
        self.log(|| format!("from now on nothing of {name} may start or count"));
    }

    fn check_claimed(&mut self, who: &HandlerInfo, claimed: &Claimed) {
        let held = HeldLease::new(claimed);
        let key = &held.job;
        let Some(run) = self.expected.runs.get(&key.run) else {
            return self.broken(|_| "a job of an uncommitted run was claimed".to_owned());
        };
        if let Some(barrier) = run.barrier
            && (who.arrived > barrier || self.began_in(&held.fence).is_some_and(|began| began > barrier))
        {
            self.broken(|world| format!("{} started after the cancel was answered", world.trace.job(key)));
        }
        if self.began_in(&held.fence).is_none() {
            self.broken(|world| format!("{} was claimed under a lease that it never had", world.trace.job(key)));
        }
        self.counts.add("jobs claimed", 1);
        let ExpectedJob { needs, labels, .. } = &self.expected.runs[&key.run].jobs[key.index as usize];
        let truth: Option<BTreeMap<JobId, Outputs>> = needs.iter().map(|&need| self.need(&key.run, need)).collect();
        let statuses = self.statuses(key);
        let same_labels = claimed.job.required_labels == *labels;
        // A run that was deleted meanwhile leaves nothing to compare with.
        if truth.is_some_and(|truth| truth != claimed.job.upstream_outputs) || !same_labels {
            self.broken(|world| {
                format!("{} was claimed with wrong outputs of its needs or wrong labels", world.trace.job(key))
            });
        }
        if statuses.is_some_and(|statuses| statuses != claimed.job.upstream_status) {
            self.broken(|world| format!("{} was claimed with wrong statuses of its needs", world.trace.job(key)));
        }
    }

    /// What a job is told: how its needs ended, or which jobs failed. `None` if the run was deleted meanwhile.
    fn statuses(&self, key: &JobKey) -> Option<BTreeMap<JobId, Status>> {
        let jobs = &self.expected.runs[&key.run].jobs;
        let job = &jobs[key.index as usize];
        let record = |index: u32| self.store.job(&key.run, index).map(|job| (job.id.clone(), job.status()));
        if job.ends.condition != Condition::OnFailure {
            return job.needs.iter().map(|&need| record(need)).collect();
        }
        let failed = (0..key.index).filter(|&index| self.outcome(&key.run, index) == Some(Outcome::Failed));
        failed.map(record).collect::<Option<_>>().filter(|failed: &BTreeMap<_, _>| !failed.is_empty())
    }

    fn need(&self, run: &RunKey, index: u32) -> Option<(JobId, Outputs)> {
        let record = self.store.job(run, index)?;
        Some((record.id.clone(), self.expected.outputs.get(&record.key).cloned().unwrap_or_default()))
    }

    fn check_reported(
        &mut self,
        who: &HandlerInfo,
        lease: &HeldLease,
        result: &AttemptResult,
        answer: &Result<Option<Claimed>>,
    ) {
        let accepted = self.expected.accepted.get(&lease.fence);
        let this = accepted.filter(|(_, accepted)| accepted == result).map(|(step, _)| *step);
        match answer {
            Ok(_) if this.is_none() => self.broken(|world| {
                format!("a report of {} was answered as accepted but wasn't stored", world.trace.job(&lease.job))
            }),
            Ok(given) => {
                if this.is_some_and(|step| step < who.arrived) {
                    self.counts.add("reports repeated", 1);
                    self.check_repeated_next(who, lease, given.as_ref());
                }
            }
            Err(EngineError::LeaseLost(why)) => {
                let record = self.store.job(&lease.job.run, lease.job.index);
                let kept = record.and_then(|record| record.last_report.as_ref());
                let remembered = kept.is_some_and(|kept| kept.fence.as_str() == lease.fence);
                if this.is_some_and(|step| step < who.arrived) && remembered {
                    self.broken(|world| {
                        format!("the repeat of an accepted report of {} was refused", world.trace.job(&lease.job))
                    });
                }
                self.counts.add("late reports refused", 1);
                if *why == LeaseLost::Ended {
                    self.check_refused(who, lease, "a report");
                }
            }
            Err(_) => {}
        }
    }

    /// A repeated completion gets the same next job as long as that lease is valid.
    fn check_repeated_next(&mut self, who: &HandlerInfo, lease: &HeldLease, given: Option<&Claimed>) {
        let Some((next, fence, until)) = self.next_of(&lease.fence) else { return };
        let before = self.began_in(fence).is_some_and(|began| began < who.arrived);
        let open = self.store.control(&next.run).is_some_and(|control| control.state == RunState::Open);
        if who.task.worker().is_none() || !before || !open || until < self.clock + RACE_MARGIN || self.faults.skew > 0 {
            return;
        }
        if given.is_none_or(|given| HeldLease::new(given).fence != fence) {
            let name = self.trace.job(next);
            self.broken(|_| format!("a repeated completion didn't get its next job {name}"));
        }
        self.counts.add("next jobs repeated", 1);
    }

    /// A request was refused because its lease is over. The lease must be over, or nearly.
    fn check_refused(&mut self, who: &HandlerInfo, lease: &HeldLease, what: &str) {
        let still = self.lease_until(&lease.job, &lease.fence).is_some();
        let open = self.store.control(&lease.job.run).is_some_and(|control| control.state == RunState::Open);
        if still && open && who.lease_until.is_some_and(|until| until > self.clock + RACE_MARGIN) {
            self.broken(|world| format!("{what} of the live lease of {} was refused", world.trace.job(&lease.job)));
        }
    }

    /// At a quiescent point every consequence of earlier events has been applied.
    pub(crate) fn check_quiescent(&mut self) {
        self.counts.add("quiescent points", 1);
        if self.faults.lossy {
            return;
        }
        let runs: Vec<RunKey> = self.expected.runs.keys().cloned().collect();
        for run in &runs {
            self.check_quiescent_run(run);
        }
        self.check_quiescent_groups();
    }

    fn check_quiescent_run(&mut self, run: &RunKey) {
        let Some(control) = self.store.control(run).cloned() else { return };
        let name = self.trace.run(run);
        match (control.state, self.final_status(run)) {
            (RunState::New | RunState::Final, _) => return,
            (RunState::Blocked, _) => return self.check_timer(&control),
            (_, Some(_)) => {
                return self
                    .broken(|_| format!("at a quiescent point all jobs of {name} have ended but the run is open"));
            }
            (RunState::Cancelling, None) => {
                return self.broken(|_| format!("at a quiescent point {name} isn't cancelled completely"));
            }
            (RunState::Open, None) => {}
        }
        self.check_timer(&control);
        for index in 0..control.jobs {
            let Some(Phase::Waiting { .. }) = self.store.job(run, index).map(|job| &job.phase) else { continue };
            if let Some(fate) = self.fate(&JobKey::new(run, index)) {
                self.broken(|_| format!("at a quiescent point {name}/#{index} waits, but its needs say {fate:?}"));
            }
        }
    }

    /// A run's timer is armed, for no later than the earliest due time in the run. A handler that dies before it arms the timer
    /// leaves that to the timer that is armed already, and to the sweep.
    fn check_timer(&mut self, control: &Control) {
        let faults = &self.faults;
        if faults.kill > 0.0 || faults.unavailable > 0.0 {
            return;
        }
        let due = |job: &JobRecord| match &job.phase {
            Phase::Running(lease) => Some(lease.until),
            Phase::Ready { at, .. } if *at > self.clock + RACE_MARGIN => Some(*at),
            Phase::Ready { until, .. } => *until,
            Phase::Waiting { .. } | Phase::Blocked { .. } | Phase::Ended(_) => None,
        };
        let jobs = (0..control.jobs).filter_map(|index| self.store.job(&control.run, index));
        let first = jobs.filter_map(due).min();
        let is_set = matches!(control.timer, Timer::Due(at) if first.is_none_or(|first| at <= first + RACE_MARGIN));
        if !is_set {
            self.broken(|world| {
                let first = first.map_or_else(|| "nothing".to_owned(), |first| world.trace.at(first));
                format!(
                    "at a quiescent point the timer of {} is {:?}, but its first due time is {first}",
                    world.trace.run(&control.run),
                    control.timer
                )
            });
        }
        self.check_timer_message(&control.run, control.timer);
        self.counts.add("timers checked", 1);
    }

    /// Runs that haven't ended.
    pub(crate) fn unfinished(&self) -> Vec<RunKey> {
        let unfinished =
            |run: &&RunKey| self.store.control(run).is_some_and(|control| control.state != RunState::Final);
        self.expected.runs.keys().filter(unfinished).cloned().collect()
    }

    /// Checks the final state.
    pub(crate) fn check_end(&mut self) {
        let runs: Vec<RunKey> = self.expected.runs.keys().cloned().collect();
        for run in runs {
            self.check_end_of(&run);
        }
    }

    fn check_end_of(&mut self, run: &RunKey) {
        let Some(control) = self.store.control(run).cloned() else { return };
        let name = self.trace.run(run);
        let Some(truth) = self.final_status(run).filter(|_| control.state == RunState::Final) else {
            let jobs: Vec<String> = (0..control.jobs)
                .filter_map(|index| self.store.job(run, index))
                .map(|job| job.status().to_string())
                .collect();
            return self.broken(|_| {
                format!("{name} never ended: it is {}, its jobs {}", control.state.as_ref(), jobs.join(" "))
            });
        };
        let workflow = self.store.workflows.get(&control.workflow).and_then(Cell::now);
        if workflow.is_some_and(|workflow| workflow.run == *run && workflow.ended.map(|end| end.status) != Some(truth))
        {
            self.broken(|_| format!("{name} ended as {truth}, but its workflow didn't"));
        }
        self.counts.add(
            match truth {
                Status::Success => "runs succeeded",
                Status::Failure => "runs failed",
                _ => "runs cancelled",
            },
            1,
        );
        for index in 0..control.jobs {
            self.check_end_of_job_in(run, index);
        }
    }

    fn check_end_of_job_in(&mut self, run: &RunKey, index: u32) {
        let Some(job) = self.store.job(run, index).cloned() else { return };
        let name = self.trace.job(&job.key);
        let fate = self.fate(&job.key);
        let exit = JobOutcome::Skipped(SkippedBecause::Exit);
        let by_exit = matches!(&job.phase, Phase::Ended(ending) if ending.outcome == exit && ending.lease.is_some());
        let is_skipped = fate == Some(Fate::IsSkipped);
        let cancelled = self.expected.runs[run].cancelled;
        let status = job.status();
        self.counts.add("jobs ended", 1);
        if status == Status::Skipped {
            self.counts.add("jobs skipped", 1);
        }
        let ran = matches!(status, Status::Success | Status::Failure);
        let ExpectedJob { ends, kept, .. } = self.expected.runs[run].jobs[index as usize];
        let name_of_run = match ends.condition {
            Condition::Success => "jobs run",
            Condition::Failure => "jobs run after a failure",
            Condition::Always => "jobs run after any end",
            Condition::OnFailure => "jobs run after a failed run",
        };
        self.counts.add(name_of_run, u64::from(ran));
        self.counts.add("failures allowed", u64::from(status == Status::Failure && ends.allow_failure));
        let skipped = status == Status::Skipped;
        if !cancelled && ((is_skipped || by_exit) != skipped || status == Status::Cancelled) {
            self.broken(|_| format!("{name} ended as {status}, though its needs say {fate:?}"));
        }
        let begun = self.expected.tries.get(&job.key).map_or(0, |tries| tries.begun);
        let outputs = self.expected.outputs.get(&job.key);
        if status == Status::Success && self.outputs_of(&job).as_ref() != outputs {
            self.broken(|_| format!("{name} has other outputs than the accepted ones"));
        }
        let untaken = job.failed.last().is_some_and(|last| last.cause == Cause::QueueTimeout);
        if status == Status::Failure && begun == 0 && !untaken && !kept {
            self.broken(|_| format!("{name} failed without an attempt"));
        }
    }
}
