//! Commands that show one answer of the server: `status`, `definition`, `outputs`, `list`, `workers`, `pools`.

use std::fmt::Write;
use std::time::Duration;

use clap::Subcommand;
use protocol::mask::{MASK, Masker};
use protocol::wire::{Job, PoolInfo, RunSource, WorkerInfo, WorkerStatus, Workflow};
use protocol::{JobId, LabelSet, Millis, Outputs, Status};

use crate::attempts;
use crate::context::{Context, JsonArg, PageArgs, WorkflowArg, find_job};
use crate::failure::Failure;
use crate::screen::{Paint, eprint};
use crate::table::{Cell, Table};
use crate::text::{all_of, clean, line, value};
use crate::time::{about, ago, duration, utc};
use crate::why;

/// Commands that show one answer of the server.
#[derive(Subcommand)]
pub enum Show {
    /// Show a workflow and its jobs
    Status {
        #[command(flatten)]
        workflow: WorkflowArg,
        #[command(flatten)]
        format: JsonArg,
    },
    /// Print a workflow's definition, as the server has it
    ///
    /// It is the text that was submitted. If a file has no `name`, `wfg submit` sends the file's name with it, usually as one
    /// more line at the end.
    Definition(WorkflowArg),
    /// Print the outputs of a job
    Outputs {
        #[command(flatten)]
        workflow: WorkflowArg,
        /// The job: its id, or the beginning of it
        job: JobId,
        #[command(flatten)]
        format: JsonArg,
    },
    /// List workflows, newest first
    List {
        /// Only those that are queued, running, success, failure, skipped or cancelled
        #[arg(long)]
        status: Option<Status>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// List workers, with their labels and current jobs
    Workers(JsonArg),
    /// List the label sets that jobs require, and how many jobs wait in each
    Pools(JsonArg),
}

impl Show {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Status { workflow, format } => {
                let (remote, id) = context.workflow(&workflow).await?;
                context.show(&format, &remote.client.workflow(&id).await?, |workflow| {
                    let mut workflow = workflow.clone();
                    Hide::JobsWithSecrets.apply(&mut workflow);
                    status_text(&workflow, Millis::now(), context.screen.out)
                })
            }
            Self::Definition(workflow) => {
                let (remote, id) = context.workflow(&workflow).await?;
                context.screen.print(&remote.client.definition(&id).await?)
            }
            Self::Outputs { workflow, job, format } => outputs(context, &workflow, &job, &format).await,
            Self::List { status, page } => {
                let workflows = context.remote()?.client.list(page.limit, status, None).await?;
                page.show(context, &workflows, "there are no such workflows", |workflows| {
                    list_text(workflows, Millis::now(), context.screen.out)
                })
            }
            Self::Workers(format) => workers(context, &format).await,
            Self::Pools(format) => pools(context, &format).await,
        }
    }
}

async fn outputs(context: &Context, workflow: &WorkflowArg, job: &JobId, format: &JsonArg) -> Result<(), Failure> {
    let (remote, id) = context.workflow(workflow).await?;
    let workflow = remote.client.workflow(&id).await?;
    // The server answers for a job that it doesn't have.
    let job = find_job(&workflow, job)?.map_or(job, |job| &job.id);
    let outputs = remote.client.outputs(&id, job).await?;
    if outputs.is_empty() && !format.json {
        eprint(&format!("{} has given no outputs", clean(job.as_str())));
    }
    context.show(format, &outputs, outputs_text)
}

async fn workers(context: &Context, format: &JsonArg) -> Result<(), Failure> {
    let remote = context.remote()?;
    let workers = remote.client.workers().await?;
    if workers.is_empty() && !format.json {
        eprint(&format!("no worker is known; start one: {}", remote.worker_command(&LabelSet::default())));
        return Ok(());
    }
    context.show(format, &workers, |workers| workers_text(workers, Millis::now(), context.screen.out))
}

async fn pools(context: &Context, format: &JsonArg) -> Result<(), Failure> {
    let pools = context.remote()?.client.pools().await?;
    if pools.is_empty() && !format.json {
        eprint("there are no pools; a submission makes one for each set of labels that its jobs require");
        return Ok(());
    }
    context.show(format, &pools, |pools| pools_text(pools, context.screen.out))
}

/// How long a job's last attempt took, or has taken so far.
pub fn took(job: &Job) -> Option<Duration> {
    match (job.started_at, job.finished_at_ms) {
        (Some(from), Some(to)) => Some(to.since(from)),
        (Some(_), None) => job.duration_secs.map(Duration::from_secs),
        _ => None,
    }
}

/// Whether a re-run took the job's success from the run before.
pub fn reused(job: &Job) -> bool {
    job.status == Status::Success && job.worker_id.is_none()
}

/// A workflow in a few lines, and its jobs in a table.
pub fn status_text(workflow: &Workflow, now: Millis, paint: Paint) -> String {
    let name = paint.bold(&clean(&workflow.name));
    let state = paint.status(workflow.status, workflow.status.as_ref());
    let mut text = format!("{name}  {state}  {}\n", workflow.id);
    text.push_str(&paint.dim(&format!("run {}, {}", workflow.run, times(workflow, now))));
    if let Some(source) = &workflow.source {
        text.push_str(&paint.dim(&format!("\n{}", source_text(source))));
    }
    if workflow.superseded {
        text.push_str("\na newer run of its group cancelled it");
    }
    if workflow.truncated {
        text.push_str("\nthe server's answer leaves out or shortens texts of some jobs, since it would be too large");
    }
    format!("{text}\n\n{}", jobs_text(workflow, now, paint))
}

/// What started the workflow at a forge, in one line.
fn source_text(source: &RunSource) -> String {
    let short = source.commit.get(..10).unwrap_or(&source.commit);
    let on = source.name.as_deref().map_or_else(String::new, |name| format!(" on {}", clean(name)));
    let (event, repository) = (source.event.replace('_', " "), clean(&source.repository));
    format!("{event}{on} of {repository} at {short}, {}", clean(&source.url))
}

fn times(workflow: &Workflow, now: Millis) -> String {
    let at = |time| format!("{} ({})", utc(time), ago(time, now));
    match (workflow.started_at_ms, workflow.finished_at_ms) {
        (None, _) if workflow.waiting_for.is_some() => {
            let waiting = workflow.waiting_for.iter().map(why::turn).collect::<String>();
            format!("submitted {}, waits for its turn: {waiting}", at(workflow.created_at_ms))
        }
        (None, _) => format!("submitted {}, not started", at(workflow.created_at_ms)),
        // A run that is cancelled before its start has the time of the cancel as its start.
        (Some(_), Some(end)) if workflow.status == Status::Cancelled && !workflow.jobs.iter().any(began) => {
            format!("submitted {}, cancelled {} before any of its jobs began", at(workflow.created_at_ms), at(end))
        }
        (Some(started), None) => format!("started {}", at(started)),
        (Some(started), Some(end)) => format!("started {}, took {}", at(started), duration(end.since(started))),
    }
}

/// Whether a worker has begun an attempt of the job in the current run.
fn began(job: &Job) -> bool {
    job.started_at.is_some() || job.attempt > 0
}

/// Which outputs and errors of a workflow are shown masked, since they may contain the values of secrets.
pub enum Hide {
    /// None of them.
    Nothing,
    /// The values of these secrets.
    Values(Masker),
    /// All outputs of the jobs that were given secrets, whose values this program doesn't know.
    JobsWithSecrets,
}

impl Hide {
    /// Masks the outputs and errors.
    pub fn apply(&self, workflow: &mut Workflow) {
        for job in &mut workflow.jobs {
            match self {
                Self::Values(masker) => {
                    let errors = job.attempts.iter_mut().map(|attempt| &mut attempt.error).chain(&mut job.error);
                    for text in job.outputs.values_mut().chain(errors) {
                        *text = masker.mask(text).into_owned();
                    }
                }
                Self::JobsWithSecrets if !job.secrets.is_empty() => {
                    job.outputs.values_mut().for_each(|value| MASK.clone_into(value));
                }
                Self::Nothing | Self::JobsWithSecrets => {}
            }
        }
    }
}

/// The jobs, one in a line.
pub fn jobs_text(workflow: &Workflow, now: Millis, paint: Paint) -> String {
    let mut table = Table::new(["JOB", "STATUS", "TRY", "TIME", "WORKER", "LABELS", ""]);
    for job in &workflow.jobs {
        let status = job.status;
        table.row([
            job.id.as_str().into(),
            Cell::painted(status.as_ref(), move |paint, text| paint.status(status, text)),
            attempts::column(job).into(),
            took(job).map(duration).unwrap_or_default().into(),
            job.worker_id.as_ref().map(ToString::to_string).unwrap_or_default().into(),
            job.required_labels.to_string().into(),
            value(&detail(job, workflow, now)).into(),
        ]);
        if !only_failure(job) {
            for attempt in attempts::all(job) {
                table.note(attempt);
            }
        }
    }
    table.render(paint)
}

/// Whether the job failed at its first attempt, whose error is in its row.
fn only_failure(job: &Job) -> bool {
    job.status == Status::Failure && job.attempt == 0
}

/// What else there is to know about a job.
fn detail(job: &Job, workflow: &Workflow, now: Millis) -> String {
    match job.status {
        Status::Queued => match &job.error {
            Some(error) if job.attempts.is_empty() => {
                format!("{}; the last try failed: {}", why::brief(job, workflow, now), line(error))
            }
            _ => why::brief(job, workflow, now),
        },
        Status::Skipped => why::skipped(job, workflow),
        Status::Success => {
            let mut all: Vec<String> =
                reused(job).then(|| "reused from an earlier run".to_owned()).into_iter().collect();
            all.extend(job.outputs.iter().map(|(name, text)| format!("{name}={}", value(text))));
            all.extend(job.outputs_truncated.then(|| format!("more: `wfg outputs {} {}`", workflow.id, job.id)));
            all.join("  ")
        }
        Status::Failure if job.allow_failure => {
            format!("allowed: {}", job.error.as_deref().map(line).unwrap_or_default())
        }
        Status::Running | Status::Failure | Status::Cancelled => job.error.as_deref().map(line).unwrap_or_default(),
    }
}

fn list_text(workflows: &[Workflow], now: Millis, paint: Paint) -> String {
    let mut table = Table::new(["ID", "NAME", "STATUS", "RUN", "DONE", "SUBMITTED", "TOOK"]);
    for workflow in workflows {
        let status = workflow.status;
        let done = workflow.jobs.iter().filter(|job| job.status == Status::Success).count();
        let took = workflow.started_at_ms.zip(workflow.finished_at_ms).map(|(from, to)| duration(to.since(from)));
        table.row([
            workflow.id.as_str().into(),
            line(&workflow.name).into(),
            Cell::painted(status.as_ref(), move |paint, text| paint.status(status, text)),
            workflow.run.into(),
            format!("{done} of {}", workflow.jobs.len()).into(),
            ago(workflow.created_at_ms, now).into(),
            took.unwrap_or_default().into(),
        ]);
    }
    table.render(paint)
}

fn workers_text(workers: &[WorkerInfo], now: Millis, paint: Paint) -> String {
    let mut table = Table::new(["WORKER", "STATUS", "LABELS", "JOB", "HEARD", "KNOWN FOR"]);
    for worker in workers {
        let (word, like) = match worker.status {
            WorkerStatus::Idle | WorkerStatus::Busy if worker.paused.is_some() => ("paused", Status::Failure),
            WorkerStatus::Idle => ("idle", Status::Success),
            WorkerStatus::Busy => ("busy", Status::Running),
            WorkerStatus::Offline => ("offline", Status::Skipped),
        };
        table.row([
            worker.worker_id.as_str().into(),
            Cell::painted(word, move |paint, text| paint.status(like, text)),
            labels(&worker.labels).into(),
            worker.current_job.as_ref().map(ToString::to_string).unwrap_or_default().into(),
            ago(worker.last_heartbeat_ms, now).into(),
            about(now.since(worker.registered_at_ms)).into(),
        ]);
        if let Some(reason) = &worker.paused {
            table.note(format!("paused: {}", line(reason)));
        }
    }
    table.render(paint)
}

fn pools_text(pools: &[PoolInfo], paint: Paint) -> String {
    let mut table = Table::new(["LABELS", "WAITING", "OLDEST", "RUNNING", "WORKERS ONLINE"]);
    for pool in pools {
        table.row([
            asks_for(pool).into(),
            waiting(pool).into(),
            pool.oldest_ms.map(|oldest| about(Duration::from_millis(oldest))).unwrap_or_default().into(),
            pool.running.into(),
            pool.workers_online.into(),
        ]);
    }
    table.render(paint)
}

fn waiting(pool: &PoolInfo) -> String {
    if pool.waiting_is_capped { format!("{} or more", pool.waiting) } else { pool.waiting.to_string() }
}

fn asks_for(pool: &PoolInfo) -> String {
    let labels = labels(&pool.labels);
    if pool.secrets.is_empty() { labels } else { format!("{labels} with secrets {}", all_of(&pool.secrets)) }
}

fn labels(labels: &LabelSet) -> String {
    if labels.is_empty() { "(none)".to_owned() } else { labels.to_string() }
}

/// `name = value`; a value of several lines below its name, indented.
fn outputs_text(outputs: &Outputs) -> String {
    let mut text = String::new();
    for (name, value) in outputs {
        if value.contains('\n') {
            let lines: Vec<String> = value.split_terminator('\n').map(|line| format!("  {}\n", clean(line))).collect();
            let _ = write!(text, "{name} =\n{}", lines.concat());
        } else {
            let _ = writeln!(text, "{name} = {}", clean(value));
        }
    }
    text
}

#[cfg(test)]
mod tests;
