//! The changes between two states of a watched workflow. No I/O.

use std::collections::HashMap;
use std::time::Duration;

use protocol::wire::{Job, WaitReason, Workflow};
use protocol::{JobId, LabelSet, Millis, Status, WorkerId};

use crate::attempts;
use crate::screen::Paint;
use crate::show;
use crate::table::padded;
use crate::text::{clean, count, line};
use crate::time::duration;
use crate::why;

/// Why a job waits is said once it has waited for this long.
const LONG: Duration = Duration::from_secs(3);
/// A job's name takes at most so much room at the beginning of a line.
const WIDEST: usize = 24;

/// What comes next on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A line.
    Say(String),
    /// What there is of an attempt's log after what was shown.
    Log {
        /// Whose.
        job: JobId,
        /// Which attempt's.
        attempt: u32,
        /// Whether nothing will be added.
        last: bool,
    },
}

/// The last observed state of a run.
pub struct Progress {
    paint: Paint,
    run: u32,
    width: usize,
    jobs: HashMap<JobId, LastState>,
    reported_not_started: bool,
}

/// The last observed state of a job.
#[derive(Default)]
struct LastState {
    attempt: u32,
    started: bool,
    ended: bool,
    wait: Option<Wait>,
}

/// A reason to wait, the time from which it holds, and whether it was printed.
struct Wait {
    reason: Reason,
    since: Millis,
    reported: bool,
}

/// What makes a reason to wait another one.
type Reason = (WaitReason, Option<LabelSet>, Option<WorkerId>);

impl Progress {
    /// Starts without an observed state of this workflow.
    pub fn new(workflow: &Workflow, paint: Paint) -> Self {
        let widest = workflow.jobs.iter().map(|job| job.id.as_str().chars().count()).max();
        let width = widest.unwrap_or(0).min(WIDEST);
        Self { paint, run: workflow.run, width, jobs: HashMap::new(), reported_not_started: false }
    }

    /// Whether the end of every job was observed.
    pub fn all_ended(&self, workflow: &Workflow) -> bool {
        workflow.jobs.iter().all(|job| self.jobs.get(&job.id).is_some_and(|last| last.ended))
    }

    /// The colours of the output.
    pub fn paint(&self) -> Paint {
        self.paint
    }

    /// A line of a job's log.
    pub fn log_line(&self, job: &JobId, text: &str) -> String {
        // A colour that a job leaves on would colour what follows.
        let reset = if self.paint.colour && text.contains('\x1b') { "\x1b[0m" } else { "" };
        format!("{} {} {text}{reset}\n", self.name(job), self.paint.dim("|"))
    }

    /// What is new, in the order in which it happened, as far as that is known. `now` is this machine's time.
    pub fn observe(&mut self, workflow: &Workflow, now: Millis) -> Vec<Step> {
        let mut steps = Vec::new();
        if workflow.run != self.run {
            self.run = workflow.run;
            self.jobs.clear();
            steps.push(Step::Say(format!("run {} has begun\n", workflow.run)));
        }
        if workflow.status == Status::Queued {
            if !std::mem::replace(&mut self.reported_not_started, true) {
                steps.push(Step::Say(format!("{} hasn't been started yet\n", line(&workflow.name))));
            }
            return steps;
        }
        let mut jobs: Vec<&Job> = workflow.jobs.iter().collect();
        jobs.sort_by_key(|job| job.started_at.or(job.finished_at_ms).unwrap_or(Millis(u64::MAX)));
        for job in jobs {
            let mut last_state = self.jobs.remove(&job.id).unwrap_or_default();
            self.job(job, workflow, &mut last_state, now, &mut steps);
            self.jobs.insert(job.id.clone(), last_state);
        }
        steps
    }

    fn job(&self, job: &Job, workflow: &Workflow, last_state: &mut LastState, now: Millis, steps: &mut Vec<Step>) {
        while last_state.attempt < job.attempt {
            steps.push(Step::Log { job: job.id.clone(), attempt: last_state.attempt, last: true });
            steps.push(self.say(job, &tried(job, last_state.attempt)));
            *last_state = LastState { attempt: last_state.attempt + 1, ..LastState::default() };
        }
        if last_state.ended {
            return;
        }
        if job.status == Status::Queued {
            steps.extend(self.wait(job, workflow, last_state, now));
            return;
        }
        last_state.wait = None;
        if let Some(worker) = job.worker_id.as_ref().filter(|_| !last_state.started) {
            last_state.started = true;
            let again = if job.attempt > 0 { format!(", {}", nth(job, job.attempt)) } else { String::new() };
            steps.push(self.say(job, &format!("started on {worker}{again}")));
        }
        last_state.ended = job.status.is_final();
        if last_state.started {
            steps.push(Step::Log { job: job.id.clone(), attempt: job.attempt, last: last_state.ended });
        }
        if last_state.ended {
            steps.extend(self.ended(job, workflow));
        }
    }

    fn ended(&self, job: &Job, workflow: &Workflow) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (name, value) in &job.outputs {
            steps.push(self.say(job, &format!("output {name} = {}", line(value))));
        }
        if job.outputs_truncated {
            steps.push(self.say(job, &format!("more outputs: `wfg outputs {} {}`", workflow.id, job.id)));
        }
        let time = show::took(job).map(|time| format!(" after {}", duration(time))).unwrap_or_default();
        let text = match job.status {
            Status::Success if show::kept(job) => "kept from an earlier run".to_owned(),
            Status::Success => format!("succeeded{time}"),
            Status::Failure => {
                let tries = if job.attempt > 0 { format!(", {}", nth(job, job.attempt)) } else { String::new() };
                format!("failed{time}{tries}{}", because(job))
            }
            Status::Skipped => why::skipped(job, workflow),
            status => format!("{status}{}", because(job)),
        };
        steps.push(self.say(job, &self.paint.status(job.status, &text)));
        steps
    }

    /// Prints why a job waits, once for each reason, after the reason has held for [`LONG`]. Waiting for needed jobs is not printed.
    fn wait(&self, job: &Job, workflow: &Workflow, last_state: &mut LastState, now: Millis) -> Option<Step> {
        let waiting = job.waiting_for.as_ref().filter(|waiting| waiting.reason != WaitReason::Needs);
        let Some(waiting) = waiting else {
            last_state.wait = None;
            return None;
        };
        let reason = (waiting.reason, waiting.missing.clone(), waiting.nearest.clone());
        let wait = last_state.wait.take().filter(|wait| wait.reason == reason);
        let mut wait = wait.unwrap_or(Wait { reason, since: now, reported: false });
        let due = !wait.reported && now.since(wait.since) >= LONG;
        wait.reported |= due;
        last_state.wait = Some(wait);
        due.then(|| self.say(job, &why::brief(job, workflow, now)))
    }

    fn say(&self, job: &Job, text: &str) -> Step {
        Step::Say(format!("{}   {text}\n", self.name(&job.id)))
    }

    fn name(&self, job: &JobId) -> String {
        self.paint.bold(&padded(job.as_str(), self.width))
    }
}

/// `try 2 of 3`.
fn nth(job: &Job, attempt: u32) -> String {
    format!("try {} of {}", attempt + 1, job.max_retries + 1)
}

/// How an attempt ended that isn't the last one.
fn tried(job: &Job, attempt: u32) -> String {
    let error = attempts::find(job, attempt).map(|failed| failed.error.as_str());
    format!("{} failed{}", nth(job, attempt), after_colon(error))
}

fn because(job: &Job) -> String {
    after_colon(job.error.as_deref())
}

fn after_colon(error: Option<&str>) -> String {
    let error = error.map(line).unwrap_or_default();
    if error.is_empty() { error } else { format!(": {error}") }
}

/// The first line about a workflow.
pub fn heading(workflow: &Workflow) -> String {
    let jobs = count(workflow.jobs.len(), "job");
    let run = if workflow.run > 1 { format!(", run {}", workflow.run) } else { String::new() };
    format!("{}: {jobs}, workflow {}{run}\n", clean(&workflow.name), workflow.id)
}

#[cfg(test)]
mod tests {
    use protocol::wire::WaitingFor;

    use super::*;
    use crate::test_data::{NOW, before, job, job_id, labels, outputs, started, tried, waits, workflow};

    fn log(id: &str, attempt: u32, last: bool) -> Step {
        Step::Log { job: job_id(id), attempt, last }
    }

    fn say(text: &str) -> Step {
        Step::Say(format!("{text}\n"))
    }

    fn running(jobs: Vec<Job>) -> Workflow {
        workflow(Status::Running, jobs)
    }

    fn later(secs: u64) -> Millis {
        NOW + Duration::from_secs(secs)
    }

    #[test]
    fn each_change_is_said_once_and_the_log_comes_before_the_end() {
        let first = running(vec![started("build", Status::Running, "w1", 9), job("deploy", Status::Queued)]);
        let mut progress = Progress::new(&first, Paint::PLAIN);
        assert_eq!(progress.observe(&first, NOW), [say("build    started on w1"), log("build", 0, false)]);
        assert_eq!(progress.observe(&first, NOW), [log("build", 0, false)]);
        let build = Job { outputs: outputs(&[("v", "1.2\n3")]), ..started("build", Status::Success, "w1", 9) };
        let then = running(vec![build, job("deploy", Status::Queued)]);
        let end = [log("build", 0, true), say("build    output v = 1.2\\n3"), say("build    succeeded after 7.0 s")];
        assert_eq!(progress.observe(&then, NOW), end);
        assert_eq!(progress.observe(&then, NOW), []);
        assert!(!progress.all_ended(&then));
    }

    #[test]
    fn what_happened_between_two_looks_is_said_in_its_order() {
        let observed = workflow(
            Status::Success,
            vec![started("second", Status::Success, "w2", 5), started("first", Status::Success, "w1", 8)],
        );
        let mut progress = Progress::new(&observed, Paint::PLAIN);
        let expected = [
            say("first    started on w1"),
            log("first", 0, true),
            say("first    succeeded after 6.0 s"),
            say("second   started on w2"),
            log("second", 0, true),
            say("second   succeeded after 3.0 s"),
        ];
        assert_eq!(progress.observe(&observed, NOW), expected);
        assert!(progress.all_ended(&observed));
    }

    #[test]
    fn every_try_is_told_with_its_log() {
        let tries = |attempt, job: Job| {
            let job = tried(job, 0..attempt);
            Job { attempt, max_retries: 2, error: Some("exit code 7".to_owned()), ..job }
        };
        let observed = running(vec![tries(0, started("a", Status::Running, "w1", 9))]);
        let mut progress = Progress::new(&observed, Paint::PLAIN);
        progress.observe(&observed, NOW);
        let observed = running(vec![tries(2, started("a", Status::Failure, "w2", 4))]);
        let expected = [
            log("a", 0, true),
            say("a   try 1 of 3 failed: exit code 0"),
            log("a", 1, true),
            say("a   try 2 of 3 failed: exit code 1"),
            say("a   started on w2, try 3 of 3"),
            log("a", 2, true),
            say("a   failed after 2.0 s, try 3 of 3: exit code 7"),
        ];
        assert_eq!(progress.observe(&observed, NOW), expected);
    }

    #[test]
    fn a_long_wait_is_explained_once_for_each_reason() {
        let waiting = |waiting| {
            let job = job("a", Status::Queued);
            running(vec![Job { required_labels: labels("gpu"), waiting_for: Some(waiting), ..job }])
        };
        let nobody = waiting(waits(WaitReason::NoWorker));
        let mut progress = Progress::new(&nobody, Paint::PLAIN);
        assert_eq!(progress.observe(&nobody, NOW), []);
        let said = [say("a   waits: no worker is online")];
        assert_eq!(progress.observe(&nobody, later(3)), said);
        assert_eq!(progress.observe(&nobody, later(6)), []);
        let busy = |number| waiting(WaitingFor { busy: Some(number), ..waits(WaitReason::Busy) });
        assert_eq!(progress.observe(&busy(2), later(7)), []);
        let said = [say("a   waits: 1 worker with all its labels (gpu) is busy")];
        assert_eq!(progress.observe(&busy(1), later(10)), said);
        let needs = WaitingFor { needs: Some(vec![job_id("b")]), ..waits(WaitReason::Needs) };
        assert_eq!(progress.observe(&waiting(needs), later(99)), []);
    }

    #[test]
    fn skipped_and_cancelled_jobs_say_why() {
        let failed = Job { error: Some("exit code 1".to_owned()), ..started("a", Status::Failure, "w1", 9) };
        let skipped = Job { depends_on: vec![job_id("a")], ..job("b", Status::Skipped) };
        let skipped = Job { finished_at_ms: Some(before(1)), ..skipped };
        let observed = workflow(Status::Failure, vec![skipped, failed, job("c", Status::Cancelled)]);
        let mut progress = Progress::new(&observed, Paint::PLAIN);
        let expected = [
            say("a   started on w1"),
            log("a", 0, true),
            say("a   failed after 7.0 s: exit code 1"),
            say("b   skipped, as a failed"),
            say("c   cancelled"),
        ];
        assert_eq!(progress.observe(&observed, NOW), expected);
    }

    #[test]
    fn a_job_that_a_rerun_keeps_is_not_told_as_if_it_ran() {
        let observed = running(vec![Job { outputs: outputs(&[("v", "1")]), ..job("a", Status::Success) }]);
        let expected = [say("a   output v = 1"), say("a   kept from an earlier run")];
        assert_eq!(Progress::new(&observed, Paint::PLAIN).observe(&observed, NOW), expected);
    }

    #[test]
    fn another_run_is_told_from_its_beginning() {
        let first = workflow(Status::Success, vec![started("a", Status::Success, "w1", 9)]);
        let mut progress = Progress::new(&first, Paint::PLAIN);
        progress.observe(&first, NOW);
        let second = Workflow { run: 2, ..running(vec![started("a", Status::Running, "w1", 1)]) };
        let expected = [say("run 2 has begun"), say("a   started on w1"), log("a", 0, false)];
        assert_eq!(progress.observe(&second, NOW), expected);
    }

    #[test]
    fn a_workflow_that_is_not_started_says_so_once() {
        let observed = workflow(Status::Queued, vec![job("a", Status::Queued)]);
        let mut progress = Progress::new(&observed, Paint::PLAIN);
        assert_eq!(progress.observe(&observed, NOW), [say("deploy hasn't been started yet")]);
        assert_eq!(progress.observe(&observed, NOW), []);
        assert_eq!(heading(&observed), "deploy: 1 job, workflow wf-0123\n");
    }
}
