//! Checks of a linked repository: which runs a push makes, and what the forge shows in the end.

use engine::forge::change::{state_of_job, state_of_run};
use engine::forge::names::{CommitId, GitRef, ReportKey, Subject};
use engine::forge::records::{RefRecord, ReportRecord, ReportSource};
use engine::forge::state::TargetState;
use engine::job::JobRecord;
use engine::run::{Control, RunState};
use protocol::{Millis, Status, WorkflowId};
use serde::de::DeserializeOwned;

use std::sync::Arc;

use crate::cell::Cell;
use crate::linked::Mark;
use crate::world::World;

/// A state, as far as the status says it.
fn state_of(status: Status) -> TargetState {
    match status {
        Status::Queued => TargetState::Queued,
        Status::Running => TargetState::Running,
        Status::Success => TargetState::Success,
        Status::Failure => TargetState::Failure,
        Status::Skipped => TargetState::Skipped,
        Status::Cancelled => TargetState::Cancelled,
    }
}

/// True if the forge may show this state for this status.
fn fits(shown: TargetState, status: Status) -> bool {
    match status {
        Status::Queued | Status::Running => false,
        Status::Success => shown == TargetState::Success,
        Status::Failure => {
            matches!(shown, TargetState::Failure | TargetState::FailureAllowed | TargetState::TimedOut)
        }
        Status::Skipped => matches!(shown, TargetState::Skipped | TargetState::NeedFailed),
        Status::Cancelled => shown == TargetState::Cancelled,
    }
}

/// The changes that a ref has accepted.
fn accepted(record: &RefRecord) -> Vec<(String, CommitId)> {
    record.ids.iter().map(|known| (record.subject.text(), known.commit.clone())).collect()
}

impl World {
    /// A job's record is written. If its status has changed, the forge is told.
    pub(crate) fn note_job_state(&mut self, before: Option<Status>, new: &JobRecord) {
        let Some(report) = new.report.clone().filter(|_| before.is_some_and(|before| before != new.status())) else {
            return;
        };
        let name = state_of_job(&report.file, new.id.as_str(), report.event);
        self.mark(Mark { name, state: state_of(new.status()), report });
    }

    /// A run's control record is written. If its state has changed, the forge is told.
    pub(crate) fn note_run_state(&mut self, before: Option<RunState>, new: &Control) {
        let Some(report) = new.report.clone().filter(|_| before != Some(new.state)) else { return };
        let status = match new.state {
            RunState::New | RunState::Blocked => Status::Queued,
            RunState::Open => Status::Running,
            RunState::Cancelling => Status::Cancelled,
            RunState::Final => self.final_status(&new.run).unwrap_or(Status::Cancelled),
        };
        self.mark(Mark { name: state_of_run(&report.file, report.event), state: state_of(status), report });
    }

    /// The change arrives some seconds later, maybe twice, and out of order.
    fn mark(&mut self, mark: Mark) {
        let mark = Arc::new(mark);
        let repeat = self.faults.repeat;
        let copies = 1 + usize::from(self.has_faults() && self.rng.chance(repeat));
        for _ in 0..copies {
            let at = self.clock + self.rng.millis(0, 5_000);
            self.linked.marks.push((at, Arc::clone(&mark)));
        }
    }

    /// A workflow is committed that a delivery starts. Each push makes at most one run for each file.
    pub(crate) fn check_started(&mut self, report: &ReportKey, workflow: &WorkflowId) {
        let started = self.linked.started.entry(report.clone()).or_default();
        started.push(workflow.clone());
        let count = started.len();
        self.counts.add("workflows started by pushes", 1);
        if count > 1 {
            self.broken(|_| format!("{} was pushed once and started {count} times", report.text()));
        }
    }

    /// When deliveries and reports are due.
    pub(crate) fn forges_due(&self) -> impl Iterator<Item = Millis> + '_ {
        let items = self.store.items.values().filter_map(Cell::now);
        items.filter(|item| !item.sort.starts_with("APP#")).filter_map(|item| item.due)
    }

    /// When the App is asked for failed deliveries. That goes on for ever.
    pub(crate) fn app_due(&self) -> impl Iterator<Item = Millis> + '_ {
        let items = self.store.items.values().filter_map(Cell::now);
        items.filter(|item| item.sort.starts_with("APP#")).filter_map(|item| item.due)
    }

    fn records<T: DeserializeOwned>(&self, list: &str, prefix: &str) -> Vec<T> {
        let items = self.store.items.values().filter_map(Cell::now);
        let listed = items.filter(|item| item.list.starts_with(list) && item.sort.starts_with(prefix));
        listed.map(|item| serde_json::from_str(&item.record).expect("a record")).collect()
    }

    /// Checks the end of a world with a linked repository.
    pub(crate) fn check_forge_at_the_end(&mut self) {
        let refs: Vec<RefRecord> = self.records("FORGE#", "R#");
        let names: Vec<GitRef> = self.linked.refs.keys().cloned().collect();
        for name in names {
            let subject = Subject::Ref(name.clone());
            let known = refs.iter().find(|record| record.subject == subject).and_then(|record| record.head.as_ref());
            let head = self.linked.head(&name).cloned();
            if known != head.as_ref() {
                self.broken(|_| format!("{name} is at {head:?}, and the last accepted change is {known:?}"));
            }
        }
        for (name, commit) in refs.iter().flat_map(accepted) {
            for (file, _) in self.linked.files[&commit].clone() {
                let mut started = self.linked.started.keys();
                if !started.any(|report| report.commit == commit && report.file == file) {
                    self.broken(|_| format!("{file} at {commit}, an accepted push to {name}, never ran"));
                }
            }
        }
        let reports: Vec<ReportRecord> = self.records("REPORT#", "");
        for report in self.linked.started.keys().cloned().collect::<Vec<_>>() {
            let id = self.linked.started[&report].last().cloned();
            let found = reports.iter().find(|record| record.key == report);
            if found.is_none_or(|record| record.source != ReportSource::Workflow { id: id.clone() }) {
                self.broken(|_| format!("nobody reports the states of {}", report.text()));
            } else if let Some(id) = id {
                self.check_shown(&report, &id);
            }
        }
    }

    /// The last state of each name is that of the run or the job.
    fn check_shown(&mut self, report: &ReportKey, id: &WorkflowId) {
        // What was deleted keeps the states that it had.
        let Some(workflow) = self.store.workflows.get(id).and_then(Cell::now).cloned() else { return };
        let run = workflow.run;
        let mut all = vec![(state_of_run(&report.file, report.event), self.final_status(&run))];
        let jobs = self.expected.runs[&run].jobs.len();
        let jobs = (0..u32::try_from(jobs).expect("few")).filter_map(|index| self.store.job(&run, index));
        all.extend(jobs.map(|job| (state_of_job(&report.file, job.id.as_str(), report.event), Some(job.status()))));
        for (name, status) in all {
            let shown = self.linked.shown.get(&(report.commit.clone(), name.clone()));
            let last = shown.and_then(|states| states.last()).copied();
            if !last.zip(status).is_some_and(|(last, status)| fits(last, status)) {
                self.broken(|world| {
                    let name_of_run = world.trace.run(&run);
                    format!(
                        "the forge shows {last:?} as {name}, and in {name_of_run} that is {status:?}: {shown:?}",
                        shown = world.linked.shown.get(&(report.commit.clone(), name.clone()))
                    )
                });
            }
            self.counts.add("states shown in the end", 1);
        }
    }
}
