//! Checks at each write of a run: its control record, its workflow record, and the commit that opens it.

use std::sync::Arc;

use engine::ids::{JobKey, RunKey};
use engine::job::JobRecord;
use engine::ports::Commit;
use engine::run::{Control, RunState, Timer, WorkflowRecord};
use protocol::wire::Condition;

use crate::cell::Cell;
use crate::expected::{ExpectedJob, Outcome, Run};
use crate::task::Task;
use crate::world::World;

impl World {
    /// Checks a change of a control record before it is made.
    pub(crate) fn check_control(&mut self, old: Option<&Control>, new: &Control) {
        self.note_started(new);
        self.check_turn_of_run(old, new);
        let Some(old) = old else { return };
        let run = &new.run;
        if old.state == RunState::Final && new != old {
            self.broken(|world| format!("{} changed after it was final", world.trace.run(run)));
        }
        if new.done_below < old.done_below {
            self.broken(|world| format!("the progress of {} decreased", world.trace.run(run)));
        }
        let ended = |index| self.store.job(run, index).is_some_and(JobRecord::is_ended);
        if !(old.done_below..new.done_below).all(ended) {
            self.broken(|world| format!("{} counts jobs as ended that have not ended", world.trace.run(run)));
        }
        if new.state.is_active() == (new.timer == Timer::Off) {
            self.broken(|world| {
                format!("{} is {} with a timer of {:?}", world.trace.run(run), new.state.as_ref(), new.timer)
            });
        }
        if new.state == RunState::Cancelling {
            self.expected.runs.get_mut(run).expect("a committed run").cancelled = true;
        }
        if new.state == RunState::Final && old.state != RunState::Final {
            if self.final_status(run).is_none() {
                self.broken(|world| format!("{} was closed before all its jobs had ended", world.trace.run(run)));
            }
            let workflow = self.store.workflows.get(&new.workflow).and_then(Cell::now);
            if workflow.is_some_and(|workflow| workflow.run == *run && workflow.ended.is_none()) {
                self.broken(|world| format!("{} was closed before its workflow", world.trace.run(run)));
            }
        }
    }

    /// Checks a change of a workflow's record before it is made.
    pub(crate) fn check_workflow(&mut self, old: Option<&WorkflowRecord>, new: &WorkflowRecord) {
        let Some(old) = old else { return };
        let id = &new.id;
        if old.run != new.run && old.ended.is_none() {
            self.broken(|world| format!("{} was started while it ran", world.trace.workflow(id)));
        }
        if old.run == new.run && old.ended.is_some() && old.ended != new.ended {
            self.broken(|world| format!("{} changed its final status", world.trace.workflow(id)));
        }
        if let Some(end) = new.ended
            && self.final_status(&new.run) != Some(end.status)
        {
            self.broken(|world| {
                let truth = world.final_status(&new.run);
                format!("{} ended as {}, its jobs say {truth:?}", world.trace.workflow(id), end.status)
            });
        }
    }

    /// Checks the commit of a run, and records what is expected of it.
    pub(crate) fn check_commit(&mut self, commit: &Commit) {
        let (id, key) = (&commit.workflow.id, &commit.control.run);
        let (graph, only_failed) = match self.running.get(&self.gates.current).map(|who| &who.task) {
            Some(Task::Submit(order)) => (Arc::clone(&order.graph), false),
            Some(Task::Start { only_failed, .. }) => (Arc::clone(&self.expected.graphs[id]), *only_failed),
            Some(Task::Handle(_) | Task::Forges) => {
                let Some(report) = commit.control.report.clone() else {
                    return self.broken(|_| "a delivery committed a run that nobody reports".to_owned());
                };
                if commit.replaces.is_none() {
                    self.check_started(&report, id);
                }
                let Some(graph) = self.linked.graph(&report).cloned() else {
                    return self.broken(|_| format!("a run was committed of {}, which isn't there", report.text()));
                };
                // A re-run keeps what passed if the run before failed; `check_kept` finds a wrong choice.
                let any_kept =
                    (0..commit.control.jobs).any(|n| self.store.job(key, n).is_some_and(JobRecord::is_ended));
                (graph, any_kept)
            }
            _ => return self.broken(|_| "a run was committed without a request".to_owned()),
        };
        let records: Vec<JobRecord> =
            (0..commit.control.jobs).filter_map(|index| self.store.job(key, index).cloned()).collect();
        if records.len() != graph.jobs.len() {
            return self.broken(|world| format!("{} was committed without all its jobs", world.trace.run(key)));
        }
        let positions: Vec<usize> = records.iter().map(|job| graph.position(&job.id)).collect();
        let index_of =
            |position: usize| positions.iter().position(|&other| other == position).expect("a need is a job");
        let jobs = positions.iter().map(|&position| {
            let wanted = &graph.jobs[position];
            let needs = wanted.needs.iter().map(|&need| u32::try_from(index_of(need)).expect("few")).collect();
            let (labels, allowed, ends) = (wanted.labels.clone(), wanted.allowed, wanted.ends);
            ExpectedJob { needs, labels, allowed, ends, kept: false, group: wanted.group.clone() }
        });
        let of_run = graph.definition.concurrency.as_ref();
        let run = Run {
            jobs: jobs.collect(),
            cancelled: false,
            deleted: false,
            group: of_run.map(|group| group.group.clone()),
            yields: of_run.is_some_and(|group| group.yields),
            opened: false,
            barrier: None,
        };
        self.expected.runs.insert(key.clone(), run);
        self.expected.graphs.insert(id.clone(), graph);
        if let Some(before) = &commit.replaces {
            self.counts.add("re-runs", 1);
            for job in &records {
                self.check_kept(before, job, only_failed);
            }
        }
    }

    /// If `only: failed` was requested, a re-run starts with the jobs that passed, if all their needs are kept too, and
    /// never with the job of `on_failure`. Otherwise it starts with nothing. Needs come before the jobs that need them.
    fn check_kept(&mut self, before: &RunKey, job: &JobRecord, only_failed: bool) {
        let (run, index) = (&job.key.run, job.key.index);
        let jobs = &self.expected.runs[run].jobs;
        let ExpectedJob { needs, ends, .. } = &jobs[index as usize];
        let passed = self.outcome(before, index) == Some(Outcome::Passed);
        let may_be_kept = only_failed && ends.condition != Condition::OnFailure;
        let kept = may_be_kept && passed && needs.iter().all(|&need| jobs[need as usize].kept);
        let old = JobKey::new(before, index);
        let status = self.store.job(before, index).map(JobRecord::status);
        let outputs = self.expected.outputs.get(&old).filter(|_| kept).cloned();
        if self.outputs_of(job) != outputs || job.is_ended() != kept || (kept && Some(job.status()) != status) {
            self.broken(|world| format!("{} was kept wrongly, or not as it ended", world.name(&job.key)));
        }
        if kept {
            self.counts.add("jobs kept by a re-run", 1);
            self.expected.runs.get_mut(run).expect("a committed run").jobs[index as usize].kept = true;
        }
        if let Some(outputs) = outputs {
            self.expected.outputs.insert(job.key.clone(), outputs);
        }
    }
}
