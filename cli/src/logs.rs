//! `wfg logs`: a job's log as it was written.

use std::time::Duration;

use clap::Args;
use protocol::wire::{Job, LogChunk, Stream, Workflow};
use protocol::{JobId, Millis, Status};
use tokio::time::sleep;

use crate::attempts;
use crate::context::{Context, Remote, WorkflowArg, retry_read};
use crate::failure::Failure;
use crate::screen::{Screen, eprint};
use crate::text::log_lines;
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
    /// The attempt, counted from 0 as in `JOB_ATTEMPT` [default: the latest]
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
}

impl LogsArgs {
    /// Prints a log, and what is added to it if `--follow` is given.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let remote = &context.remote()?;
        let screen = &context.screen;
        let mut reader = Reader { remote, screen, args: &self, after: None, rest: Default::default(), any: false };
        if self.follow { reader.follow().await } else { reader.read_once().await }
    }
}

struct Reader<'a> {
    remote: &'a Remote,
    screen: &'a Screen,
    args: &'a LogsArgs,
    after: Option<u64>,
    /// For each stream, the beginning of a line that is not complete.
    rest: [String; 2],
    any: bool,
}

impl Reader<'_> {
    /// Prints what there is of one attempt, and says how it and, unless one was asked for, those before it failed.
    async fn read_once(&mut self) -> Result<(), Failure> {
        // First how the job stands: an attempt that had failed by then is read to its end.
        let workflow = self.remote.client.workflow(&self.args.workflow.id).await?;
        let job = workflow.jobs.iter().find(|job| job.id == self.args.job);
        // The server words what is missing.
        let Some(job) = job else { return self.read_on(self.args.attempt).await };
        let attempt = self.begin(job);
        self.read_on(Some(attempt)).await?;
        self.end()?;
        if !self.any {
            eprint(&nothing(job, &workflow, self.args.attempt));
        }
        self.say_that_it_failed(job, attempt, None);
        Ok(())
    }

    /// Which attempt to print first: the latest, after a word about those before it, unless one was asked for.
    fn begin(&self, job: &Job) -> u32 {
        self.args.attempt.unwrap_or_else(|| {
            (0..job.attempt).for_each(|before| self.say_that_it_failed(job, before, None));
            job.attempt
        })
    }

    /// Nothing, of an attempt that isn't known to have failed and that none follows.
    fn say_that_it_failed(&self, job: &Job, attempt: u32, next: Option<u32>) {
        let failed = attempts::find(job, attempt).map(attempts::describe);
        let failed = failed.or_else(|| next.map(|_| format!("attempt {attempt} failed")));
        let next = next.map(|next| format!("; attempt {next} follows")).unwrap_or_default();
        if let Some(failed) = failed {
            eprint(&format!("-- {failed}{next} --"));
        }
    }

    /// Follows one attempt, or one after the other, until nothing can be added.
    async fn follow(&mut self) -> Result<(), Failure> {
        let mut attempt = self.args.attempt;
        let mut told = false;
        // A server that is away from the beginning is likely another one than was meant.
        self.remote.client.workflow(&self.args.workflow.id).await?;
        loop {
            // First how the job stands, then its log: what has ended then is complete.
            let workflow = retry_read(|| self.remote.client.workflow(&self.args.workflow.id)).await?;
            let job = workflow.jobs.iter().find(|job| job.id == self.args.job);
            let Some(job) = job else {
                // The server words what is missing.
                return self.read_on(attempt).await;
            };
            let current = *attempt.get_or_insert_with(|| self.begin(job));
            if job.status == Status::Queued && job.attempt <= current && !std::mem::replace(&mut told, true) {
                eprint(&nothing(job, &workflow, Some(current)));
            }
            self.read_on(Some(current)).await?;
            if job.attempt > current || job.status.is_final() {
                self.end()?;
                let next = (job.attempt > current && self.args.attempt.is_none()).then_some(current + 1);
                self.say_that_it_failed(job, current, next);
                if next.is_none() {
                    return Ok(());
                }
                (attempt, self.after, told) = (next, None, false);
                continue;
            }
            sleep(PACE).await;
        }
    }

    /// Prints what there is now after what was printed.
    async fn read_on(&mut self, mut attempt: Option<u32>) -> Result<(), Failure> {
        loop {
            let call = || self.remote.client.logs(&self.args.workflow.id, &self.args.job, self.after, attempt);
            let page = if self.args.follow { retry_read(call).await? } else { call().await? };
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

/// Why there is no log.
fn nothing(job: &Job, workflow: &Workflow, attempt: Option<u32>) -> String {
    let id = &job.id;
    match (job.status, attempt) {
        (_, Some(attempt)) if attempt > job.attempt => {
            format!("{id} has had no attempt {attempt}; the latest is {}", job.attempt)
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
    fn a_job_without_a_log_says_why() {
        let said = |job: Job, attempt| nothing(&job, &workflow(Status::Running, vec![]), attempt);
        assert_eq!(said(job("a", Status::Success), None), "a (success) has written nothing");
        assert_eq!(said(started("a", Status::Running, "w", 3), None), "a runs and has written nothing so far");
        assert_eq!(said(job("a", Status::Success), Some(2)), "a has had no attempt 2; the latest is 0");
        let skipped = Job { depends_on: vec![job_id("b")], ..job("a", Status::Skipped) };
        let failed = workflow(Status::Failure, vec![job("b", Status::Failure)]);
        assert_eq!(nothing(&skipped, &failed, None), "a was skipped, as b failed");
    }
}
