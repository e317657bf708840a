//! Reports the changes of a workflow to people, one line each. No I/O.

use std::fmt::Write;

use protocol::wire::{Cause, Job, Stream, Workflow};
use protocol::{JobId, Millis, Status};

use crate::attempts;
use crate::changes::{Change, Reporter};
use crate::screen::Paint;
use crate::show;
use crate::table::padded;
use crate::text::{clean, count, line, value};
use crate::time::duration;
use crate::why;

/// The most columns that a job's id takes at the beginning of a line.
const WIDEST: usize = 24;

/// Formats each change as a line that begins with the job's id.
pub struct Progress {
    paint: Paint,
    width: usize,
}

impl Progress {
    /// For the jobs of this workflow.
    pub fn new(workflow: &Workflow, paint: Paint) -> Self {
        let widest = workflow.jobs.iter().map(|job| job.id.as_str().chars().count()).max();
        Self { paint, width: widest.unwrap_or(0).min(WIDEST) }
    }

    fn name(&self, job: &JobId) -> String {
        self.paint.bold(&padded(&clean(job.as_str()), self.width))
    }

    fn ended(&self, job: &Job, workflow: &Workflow) -> Vec<String> {
        let mut lines: Vec<String> =
            job.outputs.iter().map(|(name, text)| format!("output {name} = {}", value(text))).collect();
        if job.outputs_truncated {
            lines.push(format!("more outputs: `wfg outputs {} {}`", workflow.id, clean(job.id.as_str())));
        }
        let time = show::took(job).map(|time| format!(" after {}", duration(time))).unwrap_or_default();
        let text = match job.status {
            Status::Success if show::reused(job) => "reused from an earlier run".to_owned(),
            Status::Success => format!("succeeded{time}"),
            Status::Failure => {
                let tries = if job.attempt > 0 { format!(", {}", nth_try(job, job.attempt)) } else { String::new() };
                format!("failed{}{time}{tries}{}", why::allowed(job), after_colon(job.error.as_deref()))
            }
            Status::Skipped => why::skipped(job, workflow),
            status => format!("{status}{}", after_colon(job.error.as_deref())),
        };
        lines.push(self.paint.status(job.status, &text));
        lines
    }
}

impl Reporter for Progress {
    fn workflow(&mut self, workflow: &Workflow, change: Change) -> String {
        match change {
            Change::RunBegan => format!("run {} has begun\n", workflow.run),
            _ => match &workflow.waiting_for {
                Some(waiting) => format!("{} waits for its turn: {}\n", line(&workflow.name), why::turn(waiting)),
                None => format!("{} hasn't been started yet\n", line(&workflow.name)),
            },
        }
    }

    fn job(&mut self, workflow: &Workflow, job: &Job, change: Change) -> String {
        let lines = match change {
            Change::AttemptFailed(attempt) => {
                let failed = attempts::find(job, attempt);
                let error = after_colon(failed.map(|failed| failed.error.as_str()));
                let returned = failed.is_some_and(|failed| failed.cause == Cause::Returned);
                vec![if returned {
                    format!("given back{error}")
                } else {
                    format!("{} failed{error}", nth_try(job, attempt))
                }]
            }
            Change::Started => {
                let worker = job.worker_id.as_ref().map(|id| clean(id.as_str())).unwrap_or_default();
                let again = if job.attempt > 0 { format!(", {}", nth_try(job, job.attempt)) } else { String::new() };
                vec![format!("started on {worker}{again}")]
            }
            Change::Waits => vec![clean(&why::brief(job, workflow, Millis::now()))],
            Change::Ended => self.ended(job, workflow),
            Change::Log { .. } | Change::RunBegan | Change::NotStarted => Vec::new(),
        };
        let name = self.name(&job.id);
        lines.iter().map(|line| format!("{name}   {line}\n")).collect()
    }

    fn log_line(&mut self, job: &JobId, _attempt: u32, _stream: Stream, text: &str) -> String {
        // A colour that a job leaves on would colour the text after it.
        let reset = if self.paint.colour && text.contains('\x1b') { "\x1b[0m" } else { "" };
        format!("{} {} {text}{reset}\n", self.name(job), self.paint.dim("|"))
    }

    fn closing(&mut self, workflow: &Workflow, now: Millis) -> String {
        closing(workflow, now, self.paint)
    }
}

/// `try 2 of 3`.
fn nth_try(job: &Job, attempt: u32) -> String {
    format!("try {}", attempts::nth_try(job, attempt))
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

/// The table of all jobs and how the workflow ended.
pub fn closing(workflow: &Workflow, now: Millis, paint: Paint) -> String {
    let mut text = format!("\n{}", show::jobs_text(workflow, now, paint));
    let ended = match workflow.status {
        Status::Success => "succeeded",
        Status::Failure => "failed",
        Status::Cancelled => "was cancelled",
        ref other => other.as_ref(),
    };
    let took = workflow.started_at_ms.zip(workflow.finished_at_ms).map(|(from, to)| duration(to.since(from)));
    let took = took.map(|took| format!(" after {took}")).unwrap_or_default();
    let ended = paint.status(workflow.status, &format!("{ended}{took}"));
    let _ = writeln!(text, "\n{} {ended}", line(&workflow.name));
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::wire::{GroupHolder, PausedWorker, WaitReason, WaitingFor};

    use super::*;
    use crate::changes::Changes;
    use crate::tests::{NOW, before, job, job_id, labels, outputs, started, tried, waits, workflow};

    const NOTHING: [&str; 0] = [];

    /// Progress with the changes it is given.
    struct Watched(Changes, Progress);

    impl Watched {
        fn new(workflow: &Workflow) -> Self {
            Self(Changes::new(workflow), Progress::new(workflow, Paint::PLAIN))
        }

        /// The lines that are printed; `log a 0 true` where attempt 0 of `a` is read to its end.
        fn observe(&mut self, workflow: &Workflow, now: Millis) -> Vec<String> {
            let mut lines = Vec::new();
            for (job, change) in self.0.observe(workflow, now) {
                match (job, change) {
                    (Some(job), Change::Log { attempt, last }) => {
                        lines.push(format!("log {} {attempt} {last}", job.id));
                    }
                    (Some(job), change) => lines.extend(self.1.job(workflow, job, change).lines().map(str::to_owned)),
                    (None, change) => lines.extend(self.1.workflow(workflow, change).lines().map(str::to_owned)),
                }
            }
            lines
        }
    }

    fn running(jobs: Vec<Job>) -> Workflow {
        workflow(Status::Running, jobs)
    }

    fn later(secs: u64) -> Millis {
        NOW + Duration::from_secs(secs)
    }

    #[test]
    fn each_change_is_reported_once_and_the_log_before_the_end() {
        let first = running(vec![started("build", Status::Running, "w1", 9), job("deploy", Status::Queued)]);
        let mut progress = Watched::new(&first);
        assert_eq!(progress.observe(&first, NOW), ["build    started on w1", "log build 0 false"]);
        assert_eq!(progress.observe(&first, NOW), ["log build 0 false"]);
        let build = Job { outputs: outputs(&[("v", "1.2\n3")]), ..started("build", Status::Success, "w1", 9) };
        let then = running(vec![build, job("deploy", Status::Queued)]);
        let end = ["log build 0 true", "build    output v = 1.2\\n3", "build    succeeded after 7.0 s"];
        assert_eq!(progress.observe(&then, NOW), end);
        assert_eq!(progress.observe(&then, NOW), NOTHING);
        assert!(!progress.0.all_ended(&then));
    }

    #[test]
    fn changes_between_two_observations_are_reported_in_the_order_of_their_times() {
        let observed = workflow(
            Status::Success,
            vec![started("second", Status::Success, "w2", 5), started("first", Status::Success, "w1", 8)],
        );
        let mut progress = Watched::new(&observed);
        let expected = [
            "first    started on w1",
            "log first 0 true",
            "first    succeeded after 6.0 s",
            "second   started on w2",
            "log second 0 true",
            "second   succeeded after 3.0 s",
        ];
        assert_eq!(progress.observe(&observed, NOW), expected);
        assert!(progress.0.all_ended(&observed));
    }

    #[test]
    fn every_try_is_reported_with_its_log() {
        let tries = |attempt, job: Job| {
            let job = tried(job, 0..attempt);
            Job { attempt, max_retries: 2, error: Some("exit code 7".to_owned()), ..job }
        };
        let observed = running(vec![tries(0, started("a", Status::Running, "w1", 9))]);
        let mut progress = Watched::new(&observed);
        progress.observe(&observed, NOW);
        let observed = running(vec![tries(2, started("a", Status::Failure, "w2", 4))]);
        let expected = [
            "log a 0 true",
            "a   try 1 of 3 failed: exit code 0",
            "log a 1 true",
            "a   try 2 of 3 failed: exit code 1",
            "a   started on w2, try 3 of 3",
            "log a 2 true",
            "a   failed after 2.0 s, try 3 of 3: exit code 7",
        ];
        assert_eq!(progress.observe(&observed, NOW), expected);
    }

    #[test]
    fn an_attempt_that_was_given_back_is_reported_as_that() {
        let observed = running(vec![started("a", Status::Running, "w1", 9)]);
        let mut progress = Watched::new(&observed);
        progress.observe(&observed, NOW);
        let attempts = vec![crate::tests::failed(0, Cause::Returned, 1, "its directory is gone")];
        let again = Job { attempt: 1, returned: 1, attempts, ..started("a", Status::Running, "w2", 4) };
        let expected =
            ["log a 0 true", "a   given back: its directory is gone", "a   started on w2, try 1 of 1", "log a 1 false"];
        assert_eq!(progress.observe(&running(vec![again]), NOW), expected);
    }

    #[test]
    fn a_long_wait_is_explained_once_for_each_reason() {
        let waiting = |waiting| {
            let job = job("a", Status::Queued);
            running(vec![Job { required_labels: labels("gpu"), waiting_for: Some(waiting), ..job }])
        };
        let nobody = waiting(waits(WaitReason::NoWorker));
        let mut progress = Watched::new(&nobody);
        assert_eq!(progress.observe(&nobody, NOW), NOTHING);
        let said = ["a   waits: no worker is online"];
        assert_eq!(progress.observe(&nobody, later(3)), said);
        assert_eq!(progress.observe(&nobody, later(6)), NOTHING);
        let busy = |number| waiting(WaitingFor { busy: Some(number), ..waits(WaitReason::Busy) });
        assert_eq!(progress.observe(&busy(2), later(7)), NOTHING);
        let said = ["a   waits: 1 worker with all its labels (gpu) is busy"];
        assert_eq!(progress.observe(&busy(1), later(10)), said);
        let needs = WaitingFor { needs: Some(vec![job_id("b")]), ..waits(WaitReason::Needs) };
        assert_eq!(progress.observe(&waiting(needs), later(99)), NOTHING);
    }

    #[test]
    fn a_worker_that_pauses_is_a_reason_of_its_own() {
        let waiting = |paused| {
            let waiting = WaitingFor { paused, ..waits(WaitReason::NoWorker) };
            running(vec![Job { waiting_for: Some(waiting), ..job("a", Status::Queued) }])
        };
        let mut progress = Watched::new(&waiting(Vec::new()));
        assert_eq!(progress.observe(&waiting(Vec::new()), NOW), NOTHING);
        assert_eq!(progress.observe(&waiting(Vec::new()), later(3)), ["a   waits: no worker is online"]);
        let worker_id = started("b", Status::Running, "general", 1).worker_id.expect("a worker");
        let paused = waiting(vec![PausedWorker { worker_id, reason: "its disk is full".to_owned() }]);
        assert_eq!(progress.observe(&paused, later(4)), NOTHING);
        assert_eq!(progress.observe(&paused, later(7)), ["a   waits: general is paused: its disk is full"]);
    }

    #[test]
    fn skipped_and_cancelled_jobs_are_reported_with_the_reason() {
        let failed = Job { error: Some("exit code 1".to_owned()), ..started("a", Status::Failure, "w1", 9) };
        let skipped = Job { depends_on: vec![job_id("a")], ..job("b", Status::Skipped) };
        let skipped = Job { finished_at_ms: Some(before(1)), ..skipped };
        let observed = workflow(Status::Failure, vec![skipped, failed, job("c", Status::Cancelled)]);
        let mut progress = Watched::new(&observed);
        let expected = [
            "a   started on w1",
            "log a 0 true",
            "a   failed after 7.0 s: exit code 1",
            "b   skipped, as a failed",
            "c   cancelled",
        ];
        assert_eq!(progress.observe(&observed, NOW), expected);
    }

    #[test]
    fn a_job_that_a_rerun_reuses_is_not_reported_as_started() {
        let observed = running(vec![Job { outputs: outputs(&[("v", "1")]), ..job("a", Status::Success) }]);
        let expected = ["a   output v = 1", "a   reused from an earlier run"];
        assert_eq!(Watched::new(&observed).observe(&observed, NOW), expected);
    }

    #[test]
    fn another_run_is_reported_from_its_beginning() {
        let first = workflow(Status::Success, vec![started("a", Status::Success, "w1", 9)]);
        let mut progress = Watched::new(&first);
        progress.observe(&first, NOW);
        let second = Workflow { run: 2, ..running(vec![started("a", Status::Running, "w1", 1)]) };
        let expected = ["run 2 has begun", "a   started on w1", "log a 0 false"];
        assert_eq!(progress.observe(&second, NOW), expected);
    }

    #[test]
    fn a_workflow_that_is_not_started_is_reported_once() {
        let observed = workflow(Status::Queued, vec![job("a", Status::Queued)]);
        let mut progress = Watched::new(&observed);
        assert_eq!(progress.observe(&observed, NOW), ["deploy hasn't been started yet"]);
        assert_eq!(progress.observe(&observed, NOW), NOTHING);
        assert_eq!(heading(&observed), "deploy: 1 job, workflow wf-0123\n");
    }

    #[test]
    fn a_run_that_waits_for_its_turn_is_reported_with_who_has_it_and_one_that_is_next_is_not() {
        let waiting = |holder: Option<GroupHolder>| {
            let waiting = WaitingFor {
                group: Some("release".to_owned()),
                holder,
                ..WaitingFor::new(WaitReason::Concurrency, NOW)
            };
            Workflow { waiting_for: Some(waiting), ..workflow(Status::Queued, vec![job("a", Status::Queued)]) }
        };
        let mut progress = Watched::new(&waiting(None));
        assert_eq!(progress.observe(&waiting(None), NOW), NOTHING);
        let holder = GroupHolder { workflow: "wf-9999".parse().expect("an id"), job: None };
        let expected = ["deploy waits for its turn: workflow wf-9999 has the group release"];
        assert_eq!(progress.observe(&waiting(Some(holder)), NOW), expected);
    }
}
