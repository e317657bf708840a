//! The states that a forge should show: from a workflow's run, or a fixed one.

use protocol::wire::{Cause, Job, SkippedBecause, Workflow};
use protocol::{Millis, Status, limits};

use super::change::{state_of_job, state_of_run};
use super::names::ReportKey;
use super::records::ReportChoice;
use super::state::{Annotation, TargetState};

/// Why a run was cancelled that says `when_newer: cancel`.
const NEWER: &str = "newer: a later run of its group took its place";

/// A state that the forge should show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedState {
    /// Its name.
    pub name: String,
    /// The job, or `None` for the run.
    pub job: Option<String>,
    /// The state.
    pub state: TargetState,
    /// One line for people.
    pub description: String,
    /// Markdown for a check run.
    pub summary: String,
    /// Problems at their lines.
    pub annotations: Vec<Annotation>,
    /// When it began to run.
    pub started_at: Option<Millis>,
    /// When it ended.
    pub ended_at: Option<Millis>,
}

/// The state of a job. A job that was skipped for an unknown reason is told as one whose need failed: it must not count as passed.
#[must_use]
pub fn state_of(job: &Job) -> TargetState {
    match job.status {
        Status::Queued => TargetState::Queued,
        Status::Running => TargetState::Running,
        Status::Success => TargetState::Success,
        Status::Failure if job.allow_failure => TargetState::FailureAllowed,
        Status::Failure => match job.attempts.last().map(|attempt| attempt.cause) {
            Some(Cause::Timeout | Cause::QueueTimeout) => TargetState::TimedOut,
            Some(Cause::Failure | Cause::Lost | Cause::Returned) | None => TargetState::Failure,
        },
        Status::Skipped => match &job.skipped_because {
            Some(SkippedBecause::Condition | SkippedBecause::Exit) => TargetState::Skipped,
            Some(SkippedBecause::Job(_)) | None => TargetState::NeedFailed,
        },
        Status::Cancelled => TargetState::Cancelled,
    }
}

/// The state of a run.
#[must_use]
pub fn state_of_whole(status: Status) -> TargetState {
    match status {
        Status::Queued => TargetState::Queued,
        Status::Running => TargetState::Running,
        Status::Success => TargetState::Success,
        Status::Failure => TargetState::Failure,
        Status::Skipped => TargetState::NeedFailed,
        Status::Cancelled => TargetState::Cancelled,
    }
}

/// The states of a run: the run's own, and those of the jobs that `choice` names.
#[must_use]
pub fn of_run(key: &ReportKey, choice: &ReportChoice, workflow: &Workflow) -> Vec<WantedState> {
    let state = state_of_whole(workflow.status);
    let ended = workflow.jobs.iter().filter(|job| job.status.is_final()).count();
    let description = match state {
        TargetState::Queued => "waits".to_owned(),
        TargetState::Cancelled if workflow.superseded => NEWER.to_owned(),
        TargetState::Running => format!("{ended} of {} jobs ended", workflow.jobs.len()),
        _ => format!("{state}: {} jobs", workflow.jobs.len()).replace('_', " "),
    };
    let run = WantedState {
        name: state_of_run(&key.file, key.event),
        job: None,
        state,
        // It would change with every job: a running run is told once.
        description: if state == TargetState::Running { "runs".to_owned() } else { description },
        summary: summary(workflow),
        annotations: Vec::new(),
        started_at: workflow.started_at_ms,
        ended_at: workflow.finished_at_ms.filter(|_| state.is_end()),
    };
    let told = |job: &&Job| match choice {
        ReportChoice::All => workflow.jobs.len() <= limits::STATES,
        ReportChoice::Run => false,
        ReportChoice::Jobs(names) => names.iter().any(|name| is_named(job, name)),
    };
    let jobs = workflow.jobs.iter().filter(told).take(limits::STATES);
    std::iter::once(run).chain(jobs.map(|job| of_job(key, job, workflow.superseded))).collect()
}

/// True if the name is the job's id, or that of the job in the file whose matrix it is a leg of.
fn is_named(job: &Job, name: &str) -> bool {
    let id = job.id.as_str();
    id == name
        || (!job.matrix.is_empty()
            && id.strip_prefix(name).is_some_and(|rest| rest.starts_with(['-', '.', '_', '(', '['])))
}

fn of_job(key: &ReportKey, job: &Job, superseded: bool) -> WantedState {
    let state = state_of(job);
    let description = match (state, &job.skipped_because) {
        (TargetState::Queued, _) => "waits".to_owned(),
        (TargetState::Running, _) => "runs".to_owned(),
        (TargetState::NeedFailed, Some(SkippedBecause::Job(cause))) => format!("{cause} failed"),
        (TargetState::NeedFailed, _) => "a job that it needs failed".to_owned(),
        (TargetState::Skipped, Some(SkippedBecause::Exit)) => "skipped: there was nothing to do".to_owned(),
        (TargetState::Skipped, _) => "skipped: its condition didn't hold".to_owned(),
        (TargetState::FailureAllowed, _) => "failed, allowed".to_owned(),
        (TargetState::Success, _) => "succeeded".to_owned(),
        (TargetState::TimedOut, _) => "took too long".to_owned(),
        (TargetState::Cancelled, _) if superseded => NEWER.to_owned(),
        (TargetState::Cancelled, _) => "was cancelled".to_owned(),
        (TargetState::Failure | TargetState::Invalid | TargetState::WaitsForApproval, _) => first_line(job),
    };
    WantedState {
        name: state_of_job(&key.file, job.id.as_str(), key.event),
        job: Some(job.id.to_string()),
        state,
        description,
        summary: String::new(),
        annotations: Vec::new(),
        started_at: job.started_at,
        ended_at: job.finished_at_ms.filter(|_| state.is_end()),
    }
}

fn first_line(job: &Job) -> String {
    let error = job.error.as_deref().unwrap_or_default();
    let line = error.lines().find(|line| !line.trim().is_empty()).unwrap_or("failed");
    line.chars().filter(|c| !c.is_control()).take(140).collect()
}

/// The failed jobs, as a list.
fn summary(workflow: &Workflow) -> String {
    let failed = workflow
        .jobs
        .iter()
        .filter(|job| state_of(job) == TargetState::Failure || state_of(job) == TargetState::TimedOut);
    let lines: Vec<String> = failed
        .take(limits::FAILED_TOLD)
        .map(|job| format!("- `{}`: {}", job.id, first_line(job).replace('`', "'")))
        .collect();
    if lines.is_empty() { String::new() } else { format!("Failed jobs:\n\n{}", lines.join("\n")) }
}
