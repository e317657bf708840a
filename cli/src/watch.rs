//! `wfg watch` and `--watch`: prints each change of a workflow.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::pending;
use std::pin::{Pin, pin};
use std::time::Duration;

use client::ClientError;
use futures::FutureExt;
use futures::future::try_join_all;
use protocol::wire::{Job, LogChunk, Stream, Workflow};
use protocol::{JobId, Millis, Outputs, Status, WorkflowId};
use tokio::time::{Instant, sleep};

use crate::changes::{Change, Changes, Reporter};
use crate::context::{Context, Remote, WorkflowArg, retry_read};
use crate::failure::Failure;
use crate::progress::{Progress, heading};
use crate::screen::{Screen, eprint};
use crate::show::Hide;
use crate::text::log_lines;

/// The longest time between two queries, for a workflow so large that a query takes long.
const LONGEST: Duration = Duration::from_secs(10);
/// How many logs are read at the same time.
const LOGS_AT_ONCE: usize = 8;
/// The most queries after the workflow's end until the last job's end shows. Jobs are read with eventual consistency.
const LAG: usize = 20;

/// Runs `wfg watch`.
pub async fn run(context: &Context, args: WorkflowArg) -> Result<(), Failure> {
    let (remote, id) = context.workflow(&args).await?;
    until_end(&remote, &context.screen, &id, None).await
}

/// Watches a run that this command has started. `submitted` is the server's answer to a submission.
///
/// If the run can't be watched, says that it goes on, and its id: a user who submits again would run it twice.
pub async fn begun(
    remote: &Remote,
    screen: &Screen,
    id: &WorkflowId,
    submitted: Option<Workflow>,
) -> Result<(), Failure> {
    let watched = until_end(remote, screen, id, submitted).await;
    if !matches!(watched, Ok(()) | Err(Failure::AlreadyReported)) {
        eprint(&format!("{id} was started, and goes on although it can't be watched. {}", what_next(remote, id)));
    }
    watched
}

/// The commands for a workflow that goes on.
fn what_next(remote: &Remote, id: &WorkflowId) -> String {
    let (watch, cancel) = (remote.hint(&format!("watch {id}")), remote.hint(&format!("cancel {id}")));
    format!("{cancel} cancels it, {watch} shows it again.")
}

/// Watches a workflow until it ends, or until ctrl-C. Begins with its `known` state, or reads it.
async fn until_end(remote: &Remote, screen: &Screen, id: &WorkflowId, known: Option<Workflow>) -> Result<(), Failure> {
    let watching = async {
        let workflow = match known {
            Some(workflow) => workflow,
            None => retry_read(|| remote.client.workflow(id)).await?,
        };
        screen.print(&heading(&workflow))?;
        let progress = Progress::new(&workflow, screen.out);
        follow(remote, screen, workflow, progress, &WatchOptions::default(), pending()).await
    };
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler the signal still ends the program.
            pending::<()>().await;
        }
    };
    tokio::select! {
        status = watching => match status? {
            Status::Success => Ok(()),
            _ => Err(Failure::AlreadyReported),
        },
        () = interrupted => {
            eprint(&format!("\nNot watched any more; the workflow goes on. {}", what_next(remote, id)));
            Err(Failure::AlreadyReported)
        }
    }
}

/// How a workflow is watched.
pub struct WatchOptions {
    /// Time between queries while something happens.
    pub pace: Duration,
    /// The longest time between queries when nothing happens.
    pub slowest: Duration,
    /// Whether outputs that are too large for a status are read too. They can't be read after `wfg run` has ended.
    pub all_outputs: bool,
    /// Which outputs and errors are masked.
    pub hide: Hide,
}

impl Default for WatchOptions {
    fn default() -> Self {
        let (pace, slowest) = (Duration::from_millis(300), Duration::from_secs(2));
        Self { pace, slowest, all_outputs: false, hide: Hide::JobsWithSecrets }
    }
}

/// Reports the changes of a workflow until it has ended. Returns its final status. `ended` may resolve at its end, which is then
/// seen at once and not at the next query.
pub async fn follow(
    remote: &Remote,
    screen: &Screen,
    mut workflow: Workflow,
    reporter: impl Reporter,
    options: &WatchOptions,
    ended: impl Future<Output = ()>,
) -> Result<Status, Failure> {
    options.hide.apply(&mut workflow);
    let changes = Changes::new(&workflow);
    Watch { remote, screen, workflow, changes, reporter, options, logs: HashMap::new(), outputs: HashMap::new() }
        .until_end(pin!(ended.fuse()))
        .await
}

struct Watch<'a, T> {
    remote: &'a Remote,
    screen: &'a Screen,
    workflow: Workflow,
    changes: Changes,
    reporter: T,
    options: &'a WatchOptions,
    logs: HashMap<(JobId, u32), LogPosition>,
    /// Those that a status doesn't show.
    outputs: HashMap<JobId, Outputs>,
}

/// Up to where a log was shown.
#[derive(Default)]
struct LogPosition {
    after: Option<u64>,
    /// For each stream, the beginning of a line that is not complete.
    rest: [String; 2],
}

impl<T: Reporter> Watch<'_, T> {
    async fn until_end(mut self, mut ended: Pin<&mut impl Future<Output = ()>>) -> Result<Status, Failure> {
        let WatchOptions { pace: quick, slowest, .. } = *self.options;
        let mut pace = quick;
        let mut lag = 0;
        // A workflow with thousands of jobs is polled less often.
        let mut took = Duration::ZERO;
        loop {
            let run = self.workflow.run;
            let shown = self.report().await?;
            if self.workflow.status.is_final() {
                if self.changes.all_ended(&self.workflow) || lag == LAG {
                    let closing = self.reporter.closing(&self.workflow, Millis::now());
                    self.screen.print(&closing)?;
                    return Ok(self.workflow.status);
                }
                lag += 1;
            }
            let picture = self.reporter.picture(&self.workflow, Millis::now());
            self.screen.print(&picture)?;
            pace = if shown { quick } else { (pace * 5 / 4).min(slowest) };
            tokio::select! {
                () = sleep(pace.max((2 * took).min(LONGEST))) => {}
                () = &mut ended => {}
            }
            let asked = Instant::now();
            self.query().await?;
            took = asked.elapsed();
            if self.workflow.run != run {
                self.logs.clear();
            }
        }
    }

    async fn query(&mut self) -> Result<(), Failure> {
        let (client, id) = (&self.remote.client, &self.workflow.id);
        let mut workflow = retry_read(|| client.workflow(id)).await?;
        if self.options.all_outputs {
            for job in workflow.jobs.iter_mut().filter(|job| job.outputs_truncated) {
                let outputs = match self.outputs.entry(job.id.clone()) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(retry_read(|| client.outputs(id, &job.id)).await?),
                };
                job.outputs.clone_from(outputs);
                job.outputs_truncated = false;
            }
        }
        self.options.hide.apply(&mut workflow);
        self.workflow = workflow;
        Ok(())
    }

    /// Reports the changes since the last call. Returns whether anything was printed.
    async fn report(&mut self) -> Result<bool, Failure> {
        let mut printed = false;
        let changes = self.changes.observe(&self.workflow, Millis::now());
        for changes in changes.chunks(LOGS_AT_ONCE) {
            let logs = try_join_all(changes.iter().map(|(job, change)| self.read_log(*job, *change))).await?;
            for ((job, change), chunks) in changes.iter().zip(logs) {
                let text = match (*job, *change) {
                    (None, change) => self.reporter.workflow(&self.workflow, change),
                    (Some(job), Change::Log { attempt, last }) => {
                        log_text(&mut self.logs, &mut self.reporter, (&job.id, attempt), last, &chunks)
                    }
                    (Some(job), change) => self.reporter.job(&self.workflow, job, change),
                };
                if !text.is_empty() {
                    printed = true;
                    self.screen.print(&text)?;
                }
            }
        }
        Ok(printed)
    }

    /// Everything in the log of [`Change::Log`] after what was shown.
    async fn read_log(&self, job: Option<&Job>, change: Change) -> Result<Vec<LogChunk>, ClientError> {
        let (Some(Job { id, .. }), Change::Log { attempt, .. }) = (job, change) else { return Ok(Vec::new()) };
        let mut after = self.logs.get(&(id.clone(), attempt)).and_then(|position| position.after);
        let mut chunks = Vec::new();
        loop {
            let page = retry_read(|| self.remote.client.logs(&self.workflow.id, id, after, Some(attempt))).await?;
            after = page.chunks.last().map(|chunk| chunk.sequence).or(after);
            chunks.extend(page.chunks);
            if !page.more {
                return Ok(chunks);
            }
        }
    }
}

fn log_text(
    logs: &mut HashMap<(JobId, u32), LogPosition>,
    reporter: &mut impl Reporter,
    (job, attempt): (&JobId, u32),
    last: bool,
    chunks: &[LogChunk],
) -> String {
    let mut position = logs.remove(&(job.clone(), attempt)).unwrap_or_default();
    let mut text = String::new();
    for chunk in chunks {
        position.after = Some(chunk.sequence);
        let rest = &mut position.rest[usize::from(chunk.stream == Stream::Stderr)];
        for line in log_lines(rest, &chunk.data) {
            text.push_str(&reporter.log_line(job, attempt, chunk.stream, &line));
        }
    }
    if !last {
        logs.insert((job.clone(), attempt), position);
        return text;
    }
    for (stream, rest) in [Stream::Stdout, Stream::Stderr].into_iter().zip(position.rest) {
        if !rest.is_empty() {
            text.push_str(&reporter.log_line(job, attempt, stream, &rest));
        }
    }
    text
}
