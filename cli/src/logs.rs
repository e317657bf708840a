//! `wfg logs`: prints a job's log, byte for byte.

use std::time::Duration;

use clap::Args;
use protocol::wire::{Job, LogChunk, Stream, Workflow};
use protocol::{JobId, Millis, Status, WorkflowId};
use tokio::time::sleep;

use crate::attempts;
use crate::context::{Context, Remote, WorkflowArg, find_job, retry_read};
use crate::failure::Failure;
use crate::screen::{Screen, eprint};
use crate::text::{clean, log_lines};
use crate::why;

/// Between two queries of a log that is followed.
const PACE: Duration = Duration::from_millis(500);

#[derive(Args)]
pub struct LogsArgs {
    #[command(flatten)]
    workflow: WorkflowArg,
    /// The job
    job: JobId,
    /// Follow the log until the job ends
    #[arg(long, short)]
    follow: bool,
    /// The attempt, counted from 1 [default: the latest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
}

impl LogsArgs {
    /// Prints a log, and what is added to it if `--follow` is given.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let (remote, id) = &context.workflow(&self.workflow).await?;
        let LogsArgs { job, follow, attempt, .. } = self;
        let workflow = remote.client.workflow(id).await?;
        // The server answers for a job that it doesn't have.
        let job = find_job(&workflow, &job)?.map_or(job, |job| job.id.clone());
        let asked = attempt.map(|number| number - 1);
        let screen = &context.screen;
        let mut reader =
            Reader { remote, screen, id, job, follow, asked, after: None, rest: Default::default(), any: false };
        if follow { reader.follow().await } else { reader.read_once(&workflow).await }
    }
}

struct Reader<'a> {
    remote: &'a Remote,
    screen: &'a Screen,
    id: &'a WorkflowId,
    job: JobId,
    follow: bool,
    /// The attempt that was asked for, counted from 0.
    asked: Option<u32>,
    after: Option<u64>,
    /// For each stream, the beginning of a line that is not complete.
    rest: [String; 2],
    any: bool,
}

impl Reader<'_> {
    /// Prints the log of one attempt, and how it failed. If no attempt was asked for, also how the earlier ones failed.
    ///
    /// The workflow was read first: an attempt that had failed by then is read to its end.
    async fn read_once(&mut self, workflow: &Workflow) -> Result<(), Failure> {
        let job = workflow.jobs.iter().find(|job| job.id == self.job);
        // The server's error says what is missing.
        let Some(job) = job else { return self.read_on(self.asked).await };
        let attempt = self.begin(job);
        self.read_on(Some(attempt)).await?;
        self.end()?;
        if !self.any {
            eprint(&clean(&nothing(job, workflow, self.asked)));
        }
        report_failure(job, attempt, None);
        Ok(())
    }

    /// The attempt to print first: the one that was asked for, or the latest. Reports how those before the latest failed.
    fn begin(&self, job: &Job) -> u32 {
        self.asked.unwrap_or_else(|| {
            (0..job.attempt).for_each(|before| report_failure(job, before, None));
            job.attempt
        })
    }

    /// Follows one attempt, or one after the other, until nothing can be added.
    async fn follow(&mut self) -> Result<(), Failure> {
        let mut attempt = self.asked;
        let mut reported = false;
        loop {
            // The job is read before its log, so that the log of an attempt that has ended is complete.
            let workflow = retry_read(|| self.remote.client.workflow(self.id)).await?;
            let job = workflow.jobs.iter().find(|job| job.id == self.job);
            let Some(job) = job else {
                // The server's error says what is missing.
                return self.read_on(attempt).await;
            };
            let current = *attempt.get_or_insert_with(|| self.begin(job));
            if job.status == Status::Queued && job.attempt <= current && !std::mem::replace(&mut reported, true) {
                eprint(&clean(&nothing(job, &workflow, Some(current))));
            }
            self.read_on(Some(current)).await?;
            if job.attempt > current || job.status.is_final() {
                self.end()?;
                let next = (job.attempt > current && self.asked.is_none()).then_some(current + 1);
                report_failure(job, current, next);
                if next.is_none() {
                    return Ok(());
                }
                (attempt, self.after, reported) = (next, None, false);
                continue;
            }
            sleep(PACE).await;
        }
    }

    /// Prints everything that was added since the last call.
    async fn read_on(&mut self, mut attempt: Option<u32>) -> Result<(), Failure> {
        loop {
            let call = || self.remote.client.logs(self.id, &self.job, self.after, attempt);
            let page = if self.follow { retry_read(call).await? } else { call().await? };
            for chunk in &page.chunks {
                self.print(chunk)?;
            }
            if !page.more {
                return Ok(());
            }
            // Another attempt may have begun, whose sequence numbers start again.
            attempt = page.attempt.or(attempt);
        }
    }

    fn print(&mut self, chunk: &LogChunk) -> Result<(), Failure> {
        (self.after, self.any) = (Some(chunk.sequence), true);
        let rest = &mut self.rest[usize::from(chunk.stream == Stream::Stderr)];
        let lines = log_lines(rest, &chunk.data);
        let text: String = lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect();
        self.screen.print(&text)
    }

    /// Prints lines whose end never came.
    fn end(&mut self) -> Result<(), Failure> {
        for rest in self.rest.iter_mut().map(std::mem::take).filter(|rest| !rest.is_empty()) {
            self.screen.print(&format!("{rest}\n"))?;
        }
        Ok(())
    }
}

/// Prints how an attempt failed, if that is known or if another one follows.
fn report_failure(job: &Job, attempt: u32, next: Option<u32>) {
    let failed = attempts::find(job, attempt).map(attempts::describe);
    let failed = failed.or_else(|| next.map(|_| format!("attempt {} failed", attempt + 1)));
    let next = next.map(|next| format!("; attempt {} follows", next + 1)).unwrap_or_default();
    if let Some(failed) = failed {
        eprint(&clean(&format!("-- {failed}{next} --")));
    }
}

/// Why there is no log.
fn nothing(job: &Job, workflow: &Workflow, attempt: Option<u32>) -> String {
    let id = clean(job.id.as_str());
    match (job.status, attempt) {
        (_, Some(attempt)) if attempt > job.attempt => {
            format!("{id} has had no attempt {}; the latest is {}", attempt + 1, job.attempt + 1)
        }
        (Status::Queued, _) => format!("{id} {}", why::brief(job, workflow, Millis::now())),
        (Status::Running, _) => format!("{id} runs and has written nothing so far"),
        (Status::Skipped, _) => format!("{id} was {}", why::skipped(job, workflow)),
        (status, _) => format!("{id} ({status}) has written nothing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{job, job_id, started, workflow};

    #[test]
    fn a_missing_log_is_explained() {
        let said = |job: Job, attempt| nothing(&job, &workflow(Status::Running, vec![]), attempt);
        assert_eq!(said(job("a", Status::Success), None), "a (success) has written nothing");
        assert_eq!(said(started("a", Status::Running, "w", 3), None), "a runs and has written nothing so far");
        assert_eq!(said(job("a", Status::Success), Some(2)), "a has had no attempt 3; the latest is 1");
        let skipped = Job { depends_on: vec![job_id("b")], ..job("a", Status::Skipped) };
        let failed = workflow(Status::Failure, vec![job("b", Status::Failure)]);
        assert_eq!(nothing(&skipped, &failed, None), "a was skipped, as b failed");
    }
}
