//! The promises, checked at each answer, at times of calm, and at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::error::LeaseLost;
use engine::ids::RunKey;
use engine::job::{JobRecord, Phase};
use engine::ports::StoreError;
use engine::run::{Control, RunState, Timer};
use engine::{EngineError, Result};
use protocol::wire::{Cause, Claimed, Workflow};
use protocol::{JobId, Outputs, Status};

use crate::cell::Cell;
use crate::task::{Answer, Held, Said, Task};
use crate::watch::Asked;
use crate::world::{Who, World};

/// A lease that ran on for less than this counts as one that may just have ended.
const JUST: Duration = Duration::from_secs(3);
/// After this no read is old any more.
const AGES: Duration = Duration::from_secs(10);

impl World {
    /// A handler has an answer. Whether anybody hears it is another matter.
    pub(crate) fn check_answer(&mut self, who: &Who, answer: &Answer) {
        if let Some(EngineError::Store(error @ StoreError::Corrupt(_))) = answer.error() {
            let text = error.to_string();
            self.broken(|_| format!("{}: {text}", who.task));
        }
        match (&who.task, answer) {
            (Task::Submit(order), Answer::Submitted(Ok(submitted))) => {
                let first = self.watch.keys.entry(order.key.clone()).or_insert_with(|| submitted.workflow.clone());
                if *first != submitted.workflow {
                    self.broken(|_| format!("{} was answered with two workflows", order.key));
                }
            }
            (Task::Claim { .. }, Answer::Claimed(Ok(Some(claimed)))) => self.check_given(who, claimed),
            (Task::Report { lease, said, .. }, Answer::Reported(answer)) => {
                self.check_reported(who, lease, said, answer);
                if let Ok(Some(next)) = answer {
                    self.counts.add("next jobs given", 1);
                    self.check_given(who, next);
                }
            }
            (Task::Heartbeat(lease), Answer::Heartbeat(Ok(beat))) => {
                let state = self.store.control(&lease.job.run).map(|control| control.state);
                if beat.cancelled && state == Some(RunState::Open) {
                    self.broken(|world| {
                        format!("the principal of {} was told of no cancel", world.trace.job(&lease.job))
                    });
                }
            }
            (Task::Heartbeat(lease), Answer::Heartbeat(Err(EngineError::LeaseLost(_)))) => {
                self.check_refused(who, lease, "a heartbeat");
            }
            (Task::Status(_), Answer::Status(Ok(workflow))) => self.check_status(who, workflow),
            (Task::List, Answer::Listed(Ok(workflows))) => {
                self.counts.add("lists", 1);
                for workflow in workflows {
                    self.check_listed(who, workflow);
                }
            }
            (Task::List, Answer::Listed(Err(EngineError::WorkflowNotFound(_)))) => {
                self.broken(|_| "a list was refused, because one of the workflows isn't there".to_owned());
            }
            (Task::Cancel(_) | Task::Delete(_), Answer::Done(Ok(()))) => self.stop(who),
            _ => {}
        }
    }

    /// What is shown of a workflow that ended a while ago is what there is, and what its jobs gave.
    fn check_status(&mut self, who: &Who, shown: &Workflow) {
        let Some(run) = self.ended_long_ago(who, shown) else { return };
        let outputs: BTreeMap<&JobId, &Outputs> = shown.jobs.iter().map(|job| (&job.id, &job.outputs)).collect();
        let none = Outputs::new();
        let same = (0..u32::try_from(shown.jobs.len()).expect("few")).all(|index| {
            let Some(job) = self.store.job(&run, index) else { return false };
            outputs.get(&job.id) == Some(&self.watch.outputs.get(&job.key).unwrap_or(&none))
        });
        if !same {
            self.broken(|world| format!("{} is shown with other outputs than it has", world.trace.workflow(&shown.id)));
        }
        self.check_listed(who, shown);
        self.counts.add("ended workflows read", 1);
    }

    fn check_listed(&mut self, who: &Who, shown: &Workflow) {
        let Some(run) = self.ended_long_ago(who, shown) else { return };
        let statuses: BTreeMap<&JobId, Status> = shown.jobs.iter().map(|job| (&job.id, job.status)).collect();
        let same = (0..u32::try_from(shown.jobs.len()).expect("few"))
            .all(|index| self.store.job(&run, index).is_some_and(|job| statuses.get(&job.id) == Some(&job.status())));
        if self.truth(&run) != Some(shown.status) || !same {
            self.broken(|world| format!("{} is shown as something it isn't", world.trace.workflow(&shown.id)));
        }
    }

    /// The run that is shown, if it is the current one and had ended before any read of it could be old.
    fn ended_long_ago(&self, who: &Who, shown: &Workflow) -> Option<RunKey> {
        let cell = self.store.workflows.get(&shown.id)?;
        let is_old = cell.written_at().is_some_and(|at| at + AGES <= who.began);
        let workflow = cell.now().filter(|workflow| is_old && workflow.ended.is_some() && workflow.number == shown.run);
        workflow.map(|workflow| workflow.run.clone())
    }

    /// From now on nothing starts and no report counts.
    fn stop(&mut self, who: &Who) {
        let Some(run) = who.stopped.clone() else { return };
        let name = self.trace.run(&run);
        let stopped = self.watch.runs.get_mut(&run).expect("a committed run");
        stopped.barrier.get_or_insert(self.step);
        let deleted = matches!(who.task, Task::Delete(_));
        stopped.deleted |= deleted;
        self.counts.add(if deleted { "deletes answered" } else { "cancels answered" }, 1);
        self.say(|| format!("from now on nothing of {name} may start or count"));
    }

    fn check_given(&mut self, who: &Who, claimed: &Claimed) {
        let held = Held::new(claimed);
        let key = &held.job;
        let Some(run) = self.watch.runs.get(&key.run) else {
            return self.broken(|_| "a job of no run was given out".to_owned());
        };
        if let Some(barrier) = run.barrier
            && (who.arrived > barrier || self.began_in(&held.fence).is_some_and(|began| began > barrier))
        {
            self.broken(|world| format!("{} started after the cancel was answered", world.trace.job(key)));
        }
        if self.began_in(&held.fence).is_none() {
            self.broken(|world| format!("{} was given out under a lease that it never had", world.trace.job(key)));
        }
        self.counts.add("jobs given out", 1);
        let Asked { needs, labels, .. } = &self.watch.runs[&key.run].jobs[key.index as usize];
        let truth: Option<BTreeMap<JobId, Outputs>> = needs.iter().map(|&need| self.need(&key.run, need)).collect();
        let same_labels = claimed.job.required_labels == *labels;
        // Of a run that was deleted meanwhile nothing is left to compare with.
        if truth.is_some_and(|truth| truth != claimed.job.upstream_outputs) || !same_labels {
            self.broken(|world| format!("{} was given out with something else than it needs", world.trace.job(key)));
        }
    }

    fn need(&self, run: &RunKey, index: u32) -> Option<(JobId, Outputs)> {
        let record = self.store.job(run, index)?;
        Some((record.id.clone(), self.watch.outputs.get(&record.key).cloned().unwrap_or_default()))
    }

    fn check_reported(&mut self, who: &Who, lease: &Held, said: &Said, answer: &Result<Option<Claimed>>) {
        let accepted = self.watch.accepted.get(&lease.fence);
        let this = accepted.filter(|(_, accepted)| accepted == said).map(|(step, _)| *step);
        match answer {
            Ok(_) if this.is_none() => self.broken(|world| {
                format!("a report of {} was answered as accepted, and wasn't", world.trace.job(&lease.job))
            }),
            Ok(given) => {
                if this.is_some_and(|step| step < who.arrived) {
                    self.counts.add("reports repeated", 1);
                    self.check_next_again(who, lease, given.as_ref());
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

    /// A repeated completion is given what the first was, while it is still its worker's.
    fn check_next_again(&mut self, who: &Who, lease: &Held, given: Option<&Claimed>) {
        let Some((next, fence, until)) = self.next_of(&lease.fence) else { return };
        let before = self.began_in(fence).is_some_and(|began| began < who.arrived);
        let open = self.store.control(&next.run).is_some_and(|control| control.state == RunState::Open);
        if who.task.worker().is_none() || !before || !open || until < self.clock + JUST || self.faults.skew > 0 {
            return;
        }
        if given.is_none_or(|given| Held::new(given).fence != fence) {
            let name = self.trace.job(next);
            self.broken(|_| format!("{name} wasn't given again to who repeated a completion"));
        }
        self.counts.add("next jobs given again", 1);
    }

    /// Something was refused as of a lease that is over: it was over, or about to be.
    fn check_refused(&mut self, who: &Who, lease: &Held, what: &str) {
        let still = self.lease_until(&lease.job, &lease.fence).is_some();
        let open = self.store.control(&lease.job.run).is_some_and(|control| control.state == RunState::Open);
        if still && open && who.lease_until.is_some_and(|until| until > self.clock + JUST) {
            self.broken(|world| format!("{what} of the live lease of {} was refused", world.trace.job(&lease.job)));
        }
    }

    /// When nothing is under way but what waits for its time: all that follows from what happened has been done.
    pub(crate) fn check_calm(&mut self) {
        self.counts.add("calms", 1);
        if self.faults.lossy {
            return;
        }
        let runs: Vec<RunKey> = self.watch.runs.keys().cloned().collect();
        for run in &runs {
            self.check_calm_of(run);
        }
    }

    fn check_calm_of(&mut self, run: &RunKey) {
        let Some(control) = self.store.control(run).cloned() else { return };
        let name = self.trace.run(run);
        match (control.state, self.truth(run)) {
            (RunState::New | RunState::Final, _) => return,
            (_, Some(_)) => return self.broken(|_| format!("calm: all jobs of {name} have ended, and it hasn't")),
            (RunState::Cancelling, None) => return self.broken(|_| format!("calm: {name} isn't cancelled to its end")),
            (RunState::Open, None) => {}
        }
        self.check_timer(&control);
        for index in 0..control.jobs {
            let Some(Phase::Waiting { .. }) = self.store.job(run, index).map(|job| &job.phase) else { continue };
            let statuses = self.statuses_of_needs(run, index);
            if statuses.iter().all(|status| *status == Status::Success) {
                self.broken(|_| format!("calm: {name}/#{index} has all it needs, and isn't ready"));
            }
            if statuses.iter().any(|status| matches!(status, Status::Failure | Status::Skipped)) {
                self.broken(|_| format!("calm: {name}/#{index} can never start, and isn't skipped"));
            }
        }
    }

    /// A run's timer is set, and for no later than the first thing in it that is over by then. Whoever dies between a
    /// write and setting the timer leaves that to the timer that is set already, and to the sweep.
    fn check_timer(&mut self, control: &Control) {
        let faults = &self.faults;
        if faults.kill > 0.0 || faults.unavailable > 0.0 {
            return;
        }
        let due = |job: &JobRecord| match &job.phase {
            Phase::Running(lease) => Some(lease.until),
            Phase::Ready { at, .. } if *at > self.clock + JUST => Some(*at),
            Phase::Ready { until, .. } => *until,
            Phase::Waiting { .. } | Phase::Ended(_) => None,
        };
        let jobs = (0..control.jobs).filter_map(|index| self.store.job(&control.run, index));
        let first = jobs.filter_map(due).min();
        let is_set = matches!(control.timer, Timer::Due(at) if first.is_none_or(|first| at <= first + JUST));
        if !is_set {
            self.broken(|world| {
                let first = first.map_or_else(|| "nothing".to_owned(), |first| world.trace.at(first));
                format!(
                    "calm: {} has a timer of {:?}, and is to be looked at by {first}",
                    world.trace.run(&control.run),
                    control.timer
                )
            });
        }
        self.counts.add("timers set in time", 1);
    }

    fn statuses_of_needs(&self, run: &RunKey, index: u32) -> Vec<Status> {
        let needs = &self.watch.runs[run].jobs[index as usize].needs;
        needs.iter().filter_map(|&need| self.store.job(run, need).map(JobRecord::status)).collect()
    }

    /// Runs that haven't ended.
    pub(crate) fn unfinished(&self) -> Vec<RunKey> {
        let unfinished =
            |run: &&RunKey| self.store.control(run).is_some_and(|control| control.state != RunState::Final);
        self.watch.runs.keys().filter(unfinished).cloned().collect()
    }

    /// After everything.
    pub(crate) fn check_end(&mut self) {
        let runs: Vec<RunKey> = self.watch.runs.keys().cloned().collect();
        for run in runs {
            self.check_end_of(&run);
        }
    }

    fn check_end_of(&mut self, run: &RunKey) {
        let Some(control) = self.store.control(run).cloned() else { return };
        let name = self.trace.run(run);
        let Some(truth) = self.truth(run).filter(|_| control.state == RunState::Final) else {
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
            self.broken(|_| format!("{name} ended as {truth}, and its workflow says otherwise"));
        }
        self.counts.add(
            match truth {
                Status::Success => "runs that succeeded",
                Status::Failure => "runs that failed",
                _ => "runs that were cancelled",
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
        let is_blocked =
            self.statuses_of_needs(run, index).iter().any(|status| matches!(status, Status::Failure | Status::Skipped));
        let cancelled = self.watch.runs[run].cancelled;
        let status = job.status();
        self.counts.add("jobs that ended", 1);
        if status == Status::Skipped {
            self.counts.add("jobs skipped", 1);
        }
        if !cancelled && (is_blocked != (status == Status::Skipped) || status == Status::Cancelled) {
            self.broken(|_| {
                format!("{name} ended as {status}, though {}", if is_blocked { "a need failed" } else { "none failed" })
            });
        }
        let begun = self.watch.tries.get(&job.key).map_or(0, |tries| tries.begun);
        let outputs = self.watch.outputs.get(&job.key);
        if status == Status::Success && self.outputs_of(&job).as_ref() != outputs {
            self.broken(|_| format!("{name} has other outputs than were accepted"));
        }
        let untaken = job.failed.last().is_some_and(|last| last.cause == Cause::QueueTimeout);
        if status == Status::Failure && begun == 0 && !untaken {
            self.broken(|_| format!("{name} failed, and was never given out"));
        }
    }
}
