//! `wfg watch` and `--watch`: prints each change of a workflow.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;
use std::time::Duration;

use client::ClientError;
use futures::future::try_join_all;
use protocol::wire::{LogChunk, Stream, Workflow};
use protocol::{JobId, Millis, Outputs, Status, WorkflowId};
use tokio::time::{Instant, sleep};

use crate::calls::{Remote, retry_read};
use crate::failure::Failure;
use crate::progress::{Progress, Step, heading};
use crate::screen::{Paint, Screen};
use crate::show;
use crate::text::{line, log_lines};
use crate::time::duration;

/// The most between looks at a workflow so large that a look takes long.
const LONGEST: Duration = Duration::from_secs(10);
/// Logs that are read at once.
const LOGS_AT_ONCE: usize = 8;
/// Jobs are read less strictly than their workflow's end: they may be behind for this many looks.
const LAG: usize = 20;

/// Watches a workflow until it ends, or until ctrl-C.
pub async fn run(remote: &Remote, screen: &Screen, id: &WorkflowId) -> Result<(), Failure> {
    let watching = async {
        let workflow = remote.client.workflow(id).await?;
        screen.print(&heading(&workflow))?;
        let progress = Progress::new(&workflow, screen.out);
        follow(remote, screen, workflow, progress, &WatchOptions::default()).await
    };
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler the signal still ends the program.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        status = watching => match status? {
            Status::Success => Ok(()),
            _ => Err(Failure::AlreadyReported),
        },
        () = interrupted => {
            let (watch, cancel) = (remote.hint(&format!("watch {id}")), remote.hint(&format!("cancel {id}")));
            screen.eprint(&format!("\nNot watched any more; the workflow goes on. {cancel} cancels it, {watch} shows it again."));
            Err(Failure::AlreadyReported)
        }
    }
}

/// Who tells what is seen, and how.
pub trait Reporter {
    /// What is new, in its order. `now` is this machine's time.
    fn observe(&mut self, workflow: &Workflow, now: Millis) -> Vec<Step>;
    /// A line of a job's log.
    fn log_line(&mut self, job: &JobId, attempt: u32, stream: Stream, line: &str) -> String;
    /// Whether the end of every job was told.
    fn all_ended(&self, workflow: &Workflow) -> bool;
    /// What is drawn after each look.
    fn picture(&mut self, _workflow: &Workflow, _now: Millis) -> String {
        String::new()
    }
    /// The last words.
    fn closing(&mut self, workflow: &Workflow, now: Millis) -> String;
}

/// How a workflow is watched.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// Between looks while something happens.
    pub pace: Duration,
    /// The most between looks when nothing does.
    pub slowest: Duration,
    /// Whether outputs too large for a status are read too, since nobody can read them later.
    pub all_outputs: bool,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { pace: Duration::from_millis(300), slowest: Duration::from_secs(2), all_outputs: false }
    }
}

/// Tells what happens in a workflow until it has ended; how it ended.
pub async fn follow(
    remote: &Remote,
    screen: &Screen,
    workflow: Workflow,
    reporter: impl Reporter,
    manner: &WatchOptions,
) -> Result<Status, Failure> {
    Watch { remote, screen, workflow, reporter, manner, logs: HashMap::new(), outputs: HashMap::new() }
        .until_end()
        .await
}

struct Watch<'a, T> {
    remote: &'a Remote,
    screen: &'a Screen,
    workflow: Workflow,
    reporter: T,
    manner: &'a WatchOptions,
    logs: HashMap<(JobId, u32), Place>,
    /// Those that a status doesn't show.
    outputs: HashMap<JobId, Outputs>,
}

/// How far a log was shown.
#[derive(Default)]
struct Place {
    after: Option<u64>,
    /// Of each stream, a line whose end hasn't come.
    rest: [String; 2],
}

impl<T: Reporter> Watch<'_, T> {
    async fn until_end(mut self) -> Result<Status, Failure> {
        let WatchOptions { pace: quick, slowest, .. } = *self.manner;
        let mut pace = quick;
        let mut lag = 0;
        // A workflow with thousands of jobs is polled less often.
        let mut took = Duration::ZERO;
        loop {
            let run = self.workflow.run;
            let steps = self.reporter.observe(&self.workflow, Millis::now());
            let shown = self.show(steps).await?;
            if self.workflow.status.is_final() {
                if self.reporter.all_ended(&self.workflow) || lag == LAG {
                    let closing = self.reporter.closing(&self.workflow, Millis::now());
                    self.screen.print(&closing)?;
                    return Ok(self.workflow.status);
                }
                lag += 1;
            }
            let picture = self.reporter.picture(&self.workflow, Millis::now());
            self.screen.print(&picture)?;
            pace = if shown { quick } else { (pace * 5 / 4).min(slowest) };
            sleep(pace.max((2 * took).min(LONGEST))).await;
            let asked = Instant::now();
            self.look().await?;
            took = asked.elapsed();
            if self.workflow.run != run {
                self.logs.clear();
            }
        }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let (client, id) = (&self.remote.client, &self.workflow.id);
        let mut workflow = retry_read(|| client.workflow(id)).await?;
        if self.manner.all_outputs {
            for job in workflow.jobs.iter_mut().filter(|job| job.outputs_truncated) {
                let outputs = match self.outputs.entry(job.id.clone()) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(retry_read(|| client.outputs(id, &job.id)).await?),
                };
                job.outputs.clone_from(outputs);
                job.outputs_truncated = false;
            }
        }
        self.workflow = workflow;
        Ok(())
    }

    /// Shows the steps in their order; whether there was anything to see.
    async fn show(&mut self, steps: Vec<Step>) -> Result<bool, Failure> {
        let mut shown = false;
        for steps in steps.chunks(LOGS_AT_ONCE) {
            let remote = self.remote;
            let reads = steps.iter().map(|step| {
                let place = self.place(step);
                read_log(remote, &self.workflow.id, step, place)
            });
            let logs = try_join_all(reads).await?;
            for (step, chunks) in steps.iter().zip(logs) {
                let text = match step {
                    Step::Say(text) => text.clone(),
                    Step::Log { job, attempt, last } => self.log_text(job, *attempt, *last, &chunks),
                };
                if !text.is_empty() {
                    shown = true;
                    self.screen.print(&text)?;
                }
            }
        }
        Ok(shown)
    }

    fn place(&self, step: &Step) -> Option<u64> {
        let Step::Log { job, attempt, .. } = step else { return None };
        self.logs.get(&(job.clone(), *attempt)).and_then(|place| place.after)
    }

    fn log_text(&mut self, job: &JobId, attempt: u32, last: bool, chunks: &[LogChunk]) -> String {
        let key = (job.clone(), attempt);
        let reporter = &mut self.reporter;
        let mut place = self.logs.remove(&key).unwrap_or_default();
        let mut text = String::new();
        for chunk in chunks {
            place.after = Some(chunk.sequence);
            let rest = &mut place.rest[usize::from(chunk.stream == Stream::Stderr)];
            for line in log_lines(rest, &chunk.data) {
                text.push_str(&reporter.log_line(job, attempt, chunk.stream, &line));
            }
        }
        if last {
            for (stream, rest) in [Stream::Stdout, Stream::Stderr].into_iter().zip(place.rest) {
                if !rest.is_empty() {
                    text.push_str(&reporter.log_line(job, attempt, stream, &rest));
                }
            }
        } else {
            self.logs.insert(key, place);
        }
        text
    }
}

/// All there is now of a step's log after what was shown.
async fn read_log(
    remote: &Remote,
    id: &WorkflowId,
    step: &Step,
    mut after: Option<u64>,
) -> Result<Vec<LogChunk>, ClientError> {
    let Step::Log { job, attempt, .. } = step else { return Ok(Vec::new()) };
    let mut chunks = Vec::new();
    loop {
        let page = retry_read(|| remote.client.logs(id, job, after, Some(*attempt))).await?;
        after = page.chunks.last().map(|chunk| chunk.sequence).or(after);
        chunks.extend(page.chunks);
        if !page.more {
            return Ok(chunks);
        }
    }
}

impl Reporter for Progress {
    fn observe(&mut self, workflow: &Workflow, now: Millis) -> Vec<Step> {
        Progress::observe(self, workflow, now)
    }

    fn log_line(&mut self, job: &JobId, _attempt: u32, _stream: Stream, line: &str) -> String {
        Progress::log_line(self, job, line)
    }

    fn all_ended(&self, workflow: &Workflow) -> bool {
        Progress::all_ended(self, workflow)
    }

    fn closing(&mut self, workflow: &Workflow, now: Millis) -> String {
        closing(workflow, now, self.paint())
    }
}

/// The table at the end, and how the whole ended.
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
