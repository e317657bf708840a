//! `wfg watch`, and `--watch`: each job as it changes.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use futures::future::try_join_all;
use protocol::wire::{LogChunk, Stream, Workflow};
use protocol::{JobId, Millis, Status, WorkflowId};
use tokio::time::{Instant, sleep};
use worker::ClientError;

use crate::calls::{Remote, patiently};
use crate::failure::Failure;
use crate::progress::{Progress, Step, heading};
use crate::screen::Screen;
use crate::show;
use crate::text::{line, log_lines};
use crate::time::duration;

/// Between looks while something happens, and the most when nothing does.
const PACE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(2));
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
        Watch::new(remote, screen, workflow).until_end().await
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
            _ => Err(Failure::Told),
        },
        () = interrupted => {
            let (watch, cancel) = (remote.hint(&format!("watch {id}")), remote.hint(&format!("cancel {id}")));
            screen.aside(&format!("\nNot watched any more; the workflow goes on. {cancel} cancels it, {watch} shows it again."));
            Err(Failure::Told)
        }
    }
}

struct Watch<'a> {
    remote: &'a Remote,
    screen: &'a Screen,
    workflow: Workflow,
    progress: Progress,
    logs: HashMap<(JobId, u32), Place>,
}

/// How far a log was shown.
#[derive(Default)]
struct Place {
    after: Option<u64>,
    /// Of each stream, a line whose end hasn't come.
    rest: [String; 2],
}

impl<'a> Watch<'a> {
    fn new(remote: &'a Remote, screen: &'a Screen, workflow: Workflow) -> Self {
        let progress = Progress::new(&workflow, screen.out);
        Self { remote, screen, workflow, progress, logs: HashMap::new() }
    }

    async fn until_end(mut self) -> Result<Status, Failure> {
        let mut pace = PACE.0;
        let mut lag = 0;
        // A workflow of thousands of jobs is looked at less often.
        let mut took = Duration::ZERO;
        loop {
            let run = self.workflow.run;
            let steps = self.progress.observe(&self.workflow, Millis::now());
            let shown = self.show(steps).await?;
            if self.workflow.status.is_final() {
                if self.progress.all_ended(&self.workflow) || lag == LAG {
                    self.screen.print(&closing(&self.workflow, self.screen))?;
                    return Ok(self.workflow.status);
                }
                lag += 1;
            }
            pace = if shown { PACE.0 } else { (pace * 5 / 4).min(PACE.1) };
            sleep(pace.max((2 * took).min(LONGEST))).await;
            let asked = Instant::now();
            self.workflow = patiently(|| self.remote.client.workflow(&self.workflow.id)).await?;
            took = asked.elapsed();
            if self.workflow.run != run {
                self.logs.clear();
            }
        }
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
        let mut place = self.logs.remove(&key).unwrap_or_default();
        let mut text = String::new();
        for chunk in chunks {
            place.after = Some(chunk.sequence);
            let rest = &mut place.rest[usize::from(chunk.stream == Stream::Stderr)];
            for line in log_lines(rest, &chunk.data) {
                text.push_str(&self.progress.log_line(job, &line));
            }
        }
        if last {
            for rest in place.rest.iter().filter(|rest| !rest.is_empty()) {
                text.push_str(&self.progress.log_line(job, rest));
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
        let page = patiently(|| remote.client.logs(id, job, after, Some(*attempt))).await?;
        after = page.chunks.last().map(|chunk| chunk.sequence).or(after);
        chunks.extend(page.chunks);
        if !page.more {
            return Ok(chunks);
        }
    }
}

/// The table at the end, and how the whole ended.
fn closing(workflow: &Workflow, screen: &Screen) -> String {
    let mut text = format!("\n{}", show::jobs_text(workflow, Millis::now(), screen.out));
    let ended = match workflow.status {
        Status::Success => "succeeded",
        Status::Failure => "failed",
        Status::Cancelled => "was cancelled",
        other => other.as_str(),
    };
    let took = workflow.started_at_ms.zip(workflow.finished_at_ms).map(|(from, to)| duration(to.since(from)));
    let took = took.map(|took| format!(" after {took}")).unwrap_or_default();
    let ended = screen.out.status(workflow.status, &format!("{ended}{took}"));
    let _ = writeln!(text, "\n{} {ended}", line(&workflow.name));
    text
}
