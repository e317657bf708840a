//! Explains why a job waits.

use std::collections::BTreeSet;
use std::fmt::Write;

use clap::Args;
use engine::eligibility::{Eligible, admits};
use protocol::wire::{
    Attempt, Cause, Condition, Job, SkippedBecause, WaitReason, WaitingFor, WorkerInfo, WorkerStatus, Workflow,
};
use protocol::{JobId, LabelSet, Millis, Status};

use crate::attempts;
use crate::context::{Context, Remote, WorkflowArg, find_job};
use crate::failure::Failure;
use crate::text::{all_of, clean, clean_lines, count, line};
use crate::time::about;

#[derive(Args)]
pub struct WhyArgs {
    #[command(flatten)]
    workflow: WorkflowArg,
    /// One of its jobs [default: all that wait]
    job: Option<JobId>,
}

impl WhyArgs {
    /// Explains why a job, or each job that waits, does so.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let (remote, id) = context.workflow(&self.workflow).await?;
        let workflow = remote.client.workflow(&id).await?;
        let workers = remote.client.workers().await?;
        let view = View { workflow: &workflow, workers: &workers, now: Millis::now() };
        let Some(job_id) = &self.job else { return context.screen.print(&clean_lines(&view.all(&remote))) };
        let Some(job) = find_job(&workflow, job_id)? else {
            let (job_id, jobs) = (clean(job_id.as_str()), all_of(workflow.jobs.iter().map(|job| &job.id)));
            return Err(Failure::Usage(format!("workflow `{id}` has no job `{job_id}`; it has {jobs}.")));
        };
        context.screen.print(&clean_lines(&view.full(job, &remote)))
    }
}

/// The workflow and the workers at the time of the question.
struct View<'a> {
    workflow: &'a Workflow,
    workers: &'a [WorkerInfo],
    now: Millis,
}

impl View<'_> {
    /// Every job that waits; first those that could start.
    fn all(&self, remote: &Remote) -> String {
        let mut queued: Vec<&Job> = self.workflow.jobs.iter().filter(|job| job.status == Status::Queued).collect();
        queued.sort_by_key(|job| job.waiting_for.as_ref().is_some_and(|waiting| waiting.reason == WaitReason::Needs));
        if queued.is_empty() || self.workflow.status == Status::Queued {
            return self.nothing_waits(remote);
        }
        queued.iter().map(|job| self.full(job, remote)).collect::<Vec<_>>().join("\n")
    }

    fn nothing_waits(&self, remote: &Remote) -> String {
        let workflow = self.workflow;
        if workflow.status == Status::Queued {
            return not_started(workflow, remote);
        }
        let mut counts = Vec::new();
        for status in Status::all() {
            let number = workflow.jobs.iter().filter(|job| job.status == status).count();
            if number > 0 {
                counts.push(format!("{number} {status}"));
            }
        }
        format!("No job of {} waits: {}.\n", line(&workflow.name), all_of(counts))
    }

    /// Explains one job in several lines.
    fn full(&self, job: &Job, remote: &Remote) -> String {
        if job.status != Status::Queued {
            return format!("{} doesn't wait: it {}.\n", job.id, state(job, self.workflow, self.now));
        }
        let Some(waiting) = &job.waiting_for else {
            return match self.workflow.status {
                Status::Queued => not_started(self.workflow, remote),
                _ => format!("{} {}.\n", job.id, brief(job, self.workflow, self.now)),
            };
        };
        let since = about(self.now.since(waiting.since_ms));
        let mut text = format!("{} has waited for {since}: {}.\n", job.id, self.cause(job, waiting));
        let secrets = (waiting.reason != WaitReason::Needs && !job.secrets.is_empty())
            .then(|| format!("only a worker whose token allows its secrets takes it: {}", all_of(&job.secrets)));
        let returned = given_back(job).map(attempts::describe);
        let paused = if pauses_are_cause(waiting) {
            vec!["a paused worker goes on by itself once the cause is mended".to_owned()]
        } else {
            pauses(waiting)
        };
        for fact in secrets.into_iter().chain(returned).chain(paused).chain(self.facts(job, waiting, remote)) {
            let _ = writeln!(text, "  {fact}");
        }
        text
    }

    /// As [`cause`], with what the list of workers adds.
    fn cause(&self, job: &Job, waiting: &WaitingFor) -> String {
        match (waiting.reason, waiting.busy.unwrap_or(0)) {
            (WaitReason::Busy, 1..) => {
                let busy = waiting.busy.unwrap_or(0);
                let able = count(self.able(&job.required_labels).count().max(busy), "worker");
                format!("{busy} of {able} online{} {} busy", having(&job.required_labels), is_are(busy))
            }
            (WaitReason::Needs, _) => match waiting.needs.as_deref().unwrap_or_default() {
                [] => cause(job, waiting, self.now),
                [need] => format!("{need} isn't done"),
                open if job.condition == Condition::OnFailure => {
                    format!("it runs after all other jobs, and {} aren't done", open.len())
                }
                open => format!("{} of the {} jobs it needs aren't done", open.len(), job.depends_on.len()),
            },
            _ => cause(job, waiting, self.now),
        }
    }

    fn facts(&self, job: &Job, waiting: &WaitingFor, remote: &Remote) -> Vec<String> {
        match waiting.reason {
            WaitReason::Needs => {
                let needs = waiting.needs.iter().flatten();
                needs.filter_map(|id| self.job(id)).map(|need| self.need(need)).collect()
            }
            WaitReason::NoWorker => vec![start_one(&job.required_labels, remote)],
            WaitReason::Exclusive => {
                let online = all_of(self.online().map(|worker| &worker.worker_id));
                vec![
                    format!("online: {online}; an exclusive worker takes only jobs that require one of its labels"),
                    start_one(&job.required_labels, remote),
                ]
            }
            WaitReason::MissingLabels => {
                let near = self.online().map(|worker| lacks(&job.required_labels, worker));
                near.chain([start_one(&job.required_labels, remote)]).collect()
            }
            WaitReason::Busy => self.able(&job.required_labels).map(does).collect(),
            WaitReason::Concurrency => held_by(waiting, remote).into_iter().collect(),
            WaitReason::Delayed if given_back(job).is_some() => Vec::new(),
            WaitReason::Delayed => {
                job.error.iter().map(|error| format!("the last try failed: {}", line(error))).collect()
            }
        }
    }

    fn need(&self, need: &Job) -> String {
        format!("{} {}", need.id, state(need, self.workflow, self.now))
    }

    fn job(&self, id: &JobId) -> Option<&Job> {
        self.workflow.jobs.iter().find(|job| job.id == *id)
    }

    fn online(&self) -> impl Iterator<Item = &WorkerInfo> {
        self.workers.iter().filter(|worker| worker.status != WorkerStatus::Offline && worker.paused.is_none())
    }

    /// The online workers that may run jobs with these labels. The tokens of the workers aren't known.
    fn able(&self, labels: &LabelSet) -> impl Iterator<Item = &WorkerInfo> {
        self.online().filter(|worker| {
            let eligible = Eligible { labels: &worker.labels, exclusive: worker.exclusive, grant: None };
            admits(labels, &BTreeSet::new(), eligible).is_ok()
        })
    }
}

/// The attempt that was given back, if the last one was.
fn given_back(job: &Job) -> Option<&Attempt> {
    job.attempts.last().filter(|last| last.cause == Cause::Returned)
}

fn is_are(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

fn having(labels: &LabelSet) -> String {
    if labels.is_empty() { String::new() } else { format!(" with all its labels ({labels})") }
}

fn lacks(required: &LabelSet, worker: &WorkerInfo) -> String {
    let missing = required.missing_from(&worker.labels);
    let has = if worker.labels.is_empty() { "no labels".to_owned() } else { worker.labels.to_string() };
    format!("{} ({has}) lacks {missing}", worker.worker_id)
}

fn does(worker: &WorkerInfo) -> String {
    match &worker.current_job {
        Some(job) => format!("{} runs {job}", worker.worker_id),
        None => format!("{} is free, and takes it when it asks next", worker.worker_id),
    }
}

fn start_one(labels: &LabelSet, remote: &Remote) -> String {
    format!("start one: {}", remote.worker_command(labels))
}

fn not_started(workflow: &Workflow, remote: &Remote) -> String {
    if let Some(waiting) = &workflow.waiting_for {
        let mut text = format!("{} waits for its turn: {}.\n", line(&workflow.name), turn(waiting));
        if let Some(fact) = held_by(waiting, remote) {
            let _ = writeln!(text, "  {fact}");
        }
        return text;
    }
    format!("{} hasn't been started; {} does.\n", line(&workflow.name), remote.hint(&format!("rerun {}", workflow.id)))
}

/// What a job does or why it doesn't, in one clause that begins with a verb.
fn state(job: &Job, workflow: &Workflow, now: Millis) -> String {
    match job.status {
        Status::Queued => brief(job, workflow, now),
        Status::Running => {
            let worker = job.worker_id.as_ref().map(|worker| format!(" on {worker}")).unwrap_or_default();
            let time = job.started_at.map(|at| format!(" for {}", about(now.since(at)))).unwrap_or_default();
            format!("runs{worker}{time}")
        }
        Status::Success => "succeeded".to_owned(),
        Status::Failure => match &job.error {
            Some(error) => format!("failed{}: {}", allowed(job), line(error)),
            None => format!("failed{}", allowed(job)),
        },
        Status::Skipped => format!("was {}", skipped(job, workflow)),
        Status::Cancelled => "was cancelled".to_owned(),
    }
}

/// Why a job was skipped: what it needs and didn't get.
pub fn skipped(job: &Job, workflow: &Workflow) -> String {
    let need = |id: &&JobId| workflow.jobs.iter().find(|job| job.id == **id);
    let bad = |status| {
        let needs = job.depends_on.iter().filter(move |id| need(id).is_some_and(|need| need.status == status));
        needs.collect::<Vec<_>>()
    };
    let (failed, skipped) = (bad(Status::Failure), bad(Status::Skipped));
    match (&job.skipped_because, job.condition) {
        (Some(SkippedBecause::Job(id)), _) => return format!("skipped, as {id} failed"),
        (Some(SkippedBecause::Condition), Condition::Failure) => {
            return "skipped, as none of the jobs it needs failed".to_owned();
        }
        (Some(SkippedBecause::Condition), Condition::OnFailure) => return "skipped, as no job failed".to_owned(),
        (Some(SkippedBecause::Exit), _) if job.exit_code.is_some() => {
            return format!("skipped by its exit code {}", job.exit_code.unwrap_or_default());
        }
        _ => {}
    }
    match (failed.as_slice(), skipped.as_slice()) {
        ([], []) => "skipped".to_owned(),
        ([], _) => format!("skipped, as {} {} skipped", all_of(&skipped), was_were(&skipped)),
        _ => format!("skipped, as {} failed", all_of(&failed)),
    }
}

/// What a failure says of itself if it is allowed.
pub fn allowed(job: &Job) -> &'static str {
    if job.allow_failure { " (allowed)" } else { "" }
}

fn was_were<T>(things: &[T]) -> &'static str {
    if things.len() == 1 { "was" } else { "were" }
}

/// Why a queued job waits, in one clause that begins with a verb.
pub fn brief(job: &Job, workflow: &Workflow, now: Millis) -> String {
    match (&job.waiting_for, workflow.status) {
        (Some(waiting), _) => match (waiting.reason, waiting.needs.as_deref().unwrap_or_default()) {
            (WaitReason::Needs, needs @ [_, ..]) => format!("waits for {}", all_of(needs)),
            _ => format!("waits: {}", cause(job, waiting, now)),
        },
        (None, Status::Queued) if workflow.waiting_for.is_some() => "waits for the run's turn".to_owned(),
        (None, Status::Queued) => "waits for the workflow to be started".to_owned(),
        (None, Status::Running) => "waits: it is about to be ready".to_owned(),
        (None, _) => "never started".to_owned(),
    }
}

/// Why a job or a run waits for its turn in a group, as one clause.
pub fn turn(waiting: &WaitingFor) -> String {
    let group = line(waiting.group.as_deref().unwrap_or_default());
    let ahead = waiting.ahead.unwrap_or(0);
    let front = if ahead > 0 {
        format!(", and {ahead} {} in front", if ahead == 1 { "waits" } else { "wait" })
    } else {
        String::new()
    };
    match &waiting.holder {
        Some(holder) => {
            let job = holder.job.as_ref().map(|job| format!("job {job} of ")).unwrap_or_default();
            format!("{job}workflow {} has the group {group}{front}", holder.workflow)
        }
        None if ahead > 0 => format!("nobody has the group {group} at the moment{front}"),
        None => format!("it is about to get its turn in the group {group}"),
    }
}

/// How to see who has a group.
fn held_by(waiting: &WaitingFor, remote: &Remote) -> Option<String> {
    let holder = waiting.holder.as_ref()?;
    Some(format!("{} shows who has it", remote.hint(&format!("status {}", holder.workflow))))
}

/// The paused workers that could run the job otherwise, with their reasons.
fn pauses(waiting: &WaitingFor) -> Vec<String> {
    waiting.paused.iter().map(|worker| format!("{} is paused: {}", worker.worker_id, line(&worker.reason))).collect()
}

/// Whether the job waits because workers are paused: there are some, and no other online worker could run it.
fn pauses_are_cause(waiting: &WaitingFor) -> bool {
    let nobody = matches!(waiting.reason, WaitReason::NoWorker | WaitReason::Exclusive | WaitReason::MissingLabels);
    nobody && !waiting.paused.is_empty()
}

/// The reason for which a job does not run, as one clause.
fn cause(job: &Job, waiting: &WaitingFor, now: Millis) -> String {
    let labels = &job.required_labels;
    if pauses_are_cause(waiting) {
        return pauses(waiting).join("; ");
    }
    match waiting.reason {
        WaitReason::Needs => "what it needs is done, and it is about to be ready".to_owned(),
        WaitReason::NoWorker => "no worker is online".to_owned(),
        WaitReason::Exclusive => "it requires no label, and every online worker is exclusive".to_owned(),
        WaitReason::MissingLabels => {
            let nearest = waiting.nearest.as_ref().zip(waiting.missing.as_ref());
            let nearest = nearest.map(|(worker, missing)| format!("; {worker} comes nearest and lacks {missing}"));
            format!("no worker online has all its labels ({labels}){}", nearest.unwrap_or_default())
        }
        WaitReason::Concurrency => turn(waiting),
        WaitReason::Busy => match waiting.busy.unwrap_or(0) {
            0 => "it is ready, and no worker has asked for it yet".to_owned(),
            busy => format!("{}{} {} busy", count(busy, "worker"), having(labels), is_are(busy)),
        },
        WaitReason::Delayed => {
            let left = waiting.until_ms.map_or_else(|| "soon".to_owned(), |at| format!("in {}", about(at.since(now))));
            let what = if given_back(job).is_some() { "was given back" } else { "failed" };
            format!("it {what}, and is tried again {left} (try {})", attempts::nth_try(job, job.attempt))
        }
    }
}

#[cfg(test)]
mod tests;
