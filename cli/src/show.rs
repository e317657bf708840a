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
mod tests {
    use std::collections::BTreeSet;

    use protocol::SecretName;
    use protocol::wire::{Cause, WaitReason, WaitingFor};

    use super::*;
    use crate::tests::{self as data, NOW, before, job, job_id, lines, started, waits, worker, workflow};

    #[test]
    fn status_says_what_a_forge_started_and_what_a_newer_run_cancelled() {
        let source = RunSource {
            forge: "github".to_owned(),
            repository: "acme/app".to_owned(),
            event: "pull_request".to_owned(),
            name: Some("x$(id)".to_owned()),
            commit: "4c1f0b5d".repeat(5),
            pull_request: Some(12),
            url: "https://github.com/acme/app/pull/12".to_owned(),
        };
        let workflow =
            Workflow { source: Some(Box::new(source)), superseded: true, ..workflow(Status::Cancelled, vec![]) };
        let text = status_text(&workflow, NOW, Paint::PLAIN);
        assert!(
            text.contains("\npull request on x$(id) of acme/app at 4c1f0b5d4c, https://github.com/acme/app/pull/12\n"),
            "{text}"
        );
        assert!(text.contains("\na newer run of its group cancelled it\n"), "{text}");
    }

    #[test]
    fn a_status_shows_what_each_job_did_or_why_it_did_not() {
        let build = Job {
            outputs: data::outputs(&[("url", "s3://b/a"), ("v", "1")]),
            ..started("build", Status::Success, "w1", 40)
        };
        let test = started("test", Status::Running, "w2", 8);
        let test = Job { attempt: 1, max_retries: 2, duration_secs: Some(8), ..test };
        let missing = WaitingFor {
            missing: Some(data::labels("gpu")),
            nearest: Some(worker("w2", "", None).worker_id),
            ..waits(WaitReason::MissingLabels)
        };
        let train =
            Job { required_labels: data::labels("gpu"), waiting_for: Some(missing), ..job("train", Status::Queued) };
        let needs = WaitingFor { needs: Some(vec![job_id("test"), job_id("train")]), ..waits(WaitReason::Needs) };
        let deploy = Job { waiting_for: Some(needs), ..job("deploy", Status::Queued) };
        let workflow = workflow(Status::Running, vec![build, test, train, deploy]);
        assert_eq!(
            status_text(&workflow, NOW, Paint::PLAIN),
            lines(&[
                "deploy  running  wf-0123",
                "run 1, started 2025-12-31 23:58:55 UTC (1 min ago)",
                "",
                "JOB     STATUS   TRY     TIME   WORKER  LABELS",
                "build   success          38 s   w1              url=s3://b/a  v=1",
                "test    running  2 of 3  8.0 s  w2",
                "train   queued                          gpu     waits: no worker online has all its labels (gpu); w2 comes nearest and lacks gpu",
                "deploy  queued                                  waits for test and train"
            ])
        );
    }

    #[test]
    fn a_status_of_what_ended_shows_errors_and_what_they_cost() {
        let error = Some("exit code 3\n".to_owned());
        let failed = Job { error, exit_code: Some(3), ..started("a", Status::Failure, "w1", 40) };
        let skipped = Job { depends_on: vec![job_id("a")], ..job("b", Status::Skipped) };
        let jobs = vec![failed, skipped, job("c", Status::Cancelled), job("d", Status::Success)];
        assert_eq!(
            status_text(&workflow(Status::Failure, jobs), NOW, Paint::PLAIN),
            lines(&[
                "deploy  failure  wf-0123",
                "run 1, started 2025-12-31 23:58:55 UTC (1 min ago), took 1 min 3 s",
                "",
                "JOB  STATUS     TIME  WORKER",
                "a    failure    38 s  w1      exit code 3",
                "b    skipped                  skipped, as a failed",
                "c    cancelled",
                "d    success                  reused from an earlier run"
            ])
        );
        let waiting = workflow(Status::Queued, vec![job("a", Status::Queued)]);
        assert_eq!(
            status_text(&waiting, NOW, Paint::PLAIN),
            lines(&[
                "deploy  queued  wf-0123",
                "run 1, submitted 2025-12-31 23:58:50 UTC (1 min ago), not started",
                "",
                "JOB  STATUS",
                "a    queued  waits for the workflow to be started"
            ])
        );
    }

    #[test]
    fn a_status_shows_every_attempt_that_failed_below_its_job() {
        let lost = data::failed(0, Cause::Lost, 31, "the worker was lost: its lease ended without a report");
        let late = data::failed(1, Cause::Timeout, 60, "it ran longer than its timeout of 60 s");
        let tries = |number, attempts, job| Job { attempt: number, max_retries: 2, attempts, ..job };
        let build = tries(2, vec![lost.clone(), late], started("build", Status::Success, "w2", 9));
        let delayed = WaitingFor { until_ms: Some(NOW + Duration::from_secs(20)), ..waits(WaitReason::Delayed) };
        let queued = Job { waiting_for: Some(delayed), error: Some(lost.error.clone()), ..job("test", Status::Queued) };
        let test = tries(1, vec![lost], queued);
        let once = data::tried(started("once", Status::Failure, "w1", 5), 0..1);
        let once = Job { error: Some("exit code 0".to_owned()), ..once };
        assert_eq!(
            jobs_text(&workflow(Status::Running, vec![build, test, once]), NOW, Paint::PLAIN),
            lines(&[
                "JOB    STATUS   TRY     TIME   WORKER",
                "build  success  3 of 3  7.0 s  w2",
                "  attempt 1: lost after 31 s on w1: the worker was lost: its lease ended without a report",
                "  attempt 2: timed out after 1 min on w1: it ran longer than its timeout of 60 s",
                "test   queued   2 of 3                 waits: it failed, and is tried again in 20 s (try 2 of 3)",
                "  attempt 1: lost after 31 s on w1: the worker was lost: its lease ended without a report",
                "once   failure          3.0 s  w1      exit code 0"
            ])
        );
    }

    #[test]
    fn lists_are_aligned() {
        let long = Workflow { name: "a longer name".to_owned(), run: 12, ..workflow(Status::Failure, vec![]) };
        let jobs = vec![job("a", Status::Success), job("b", Status::Queued)];
        assert_eq!(
            list_text(&[workflow(Status::Running, jobs), long], NOW, Paint::PLAIN),
            lines(&[
                "ID       NAME           STATUS   RUN  DONE    SUBMITTED  TOOK",
                "wf-0123  deploy         running  1    1 of 2  1 min ago",
                "wf-0123  a longer name  failure  12   0 of 0  1 min ago  1 min 3 s"
            ])
        );
    }

    #[test]
    fn workers_are_listed_with_labels_and_jobs() {
        let offline =
            WorkerInfo { status: WorkerStatus::Offline, last_heartbeat_ms: before(4000), ..worker("c", "", None) };
        let paused = WorkerInfo { paused: Some("its disk is full".to_owned()), ..worker("d", "", None) };
        let workers = [worker("a", "docker,gpu", Some("train")), worker("b-long-name", "", None), offline, paused];
        assert_eq!(
            workers_text(&workers, NOW, Paint::PLAIN),
            lines(&[
                "WORKER       STATUS   LABELS       JOB    HEARD    KNOWN FOR",
                "a            busy     docker, gpu  train  5 s ago  2 h",
                "b-long-name  idle     (none)              5 s ago  2 h",
                "c            offline  (none)              1 h ago  2 h",
                "d            paused   (none)              5 s ago  2 h",
                "  paused: its disk is full"
            ])
        );
    }

    #[test]
    fn pools_are_listed_with_their_waiting_jobs_and_workers() {
        let pool = |labels, waiting, oldest_ms| PoolInfo {
            waiting_is_capped: false,
            labels: data::labels(labels),
            secrets: BTreeSet::new(),
            waiting,
            oldest_ms,
            running: 1,
            workers_online: 2,
        };
        assert_eq!(
            pools_text(&[pool("", 0, None), pool("gpu,linux", 12, Some(75_400))], Paint::PLAIN),
            lines(&[
                "LABELS      WAITING  OLDEST      RUNNING  WORKERS ONLINE",
                "(none)      0                    1        2",
                "gpu, linux  12       1 min 15 s  1        2"
            ])
        );
        let many = PoolInfo { waiting_is_capped: true, ..pool("", 10_000, None) };
        assert!(pools_text(&[many], Paint::PLAIN).contains("(none)  10000 or more  "));
        let secrets = ["KEY", "TOKEN"].map(|name| SecretName::new(name).expect("a name")).into();
        let text = pools_text(&[PoolInfo { secrets, ..pool("gpu", 0, None) }], Paint::PLAIN);
        assert!(text.contains("\ngpu with secrets KEY and TOKEN  0"), "{text}");
    }

    #[test]
    fn outputs_keep_their_lines_and_their_control_characters_are_escaped() {
        let outputs = data::outputs(&[("a", "1\r"), ("notes", "two\r\n\x1blines\n"), ("z", "")]);
        assert_eq!(outputs_text(&outputs), "a = 1\\r\nnotes =\n  two\\r\n  \\u{1b}lines\nz = \n");
    }
}
