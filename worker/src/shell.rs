//! Runs a job's command in a shell, in a process group of its own.

mod group;
mod lines;
mod outputs;
mod pump;
mod scratch;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use protocol::Outputs;
use protocol::mask::Masker;
use protocol::wire::{OutputsFrom, Stream};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::Job;
use crate::executor::{Context, Executor, Failure};
use group::Group;
use pump::{Pump, Pumped};
use scratch::Scratch;

/// Variables with the worker's own secrets. A job doesn't inherit them.
const NOT_INHERITED: [&str; 2] = ["WORKER_TOKEN", "WFG_TOKEN"];
/// Time between SIGTERM and SIGKILL for processes that the command left running.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// Returns the outputs in a standard output that arrives in these parts. For tests with arbitrary
/// bytes.
#[doc(hidden)]
pub fn outputs_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Outputs, Failure> {
    let mut scanner = outputs::Scanner::new();
    parts.into_iter().for_each(|part| scanner.push(part));
    scanner.finish()
}

/// Runs `sh -c <command>`.
///
/// The job has the worker's environment without its token, the job's `env` and `secrets`, and `WORKFLOW_ID`, `JOB_ID`,
/// `JOB_ATTEMPT`, `JOB_DIR` (an empty directory, removed afterwards), `WORKER_SLOT`, `UPSTREAM_OUTPUTS` (a JSON file)
/// and `WORKFLOW_OUTPUT` (a file to write outputs to). It runs in the worker's directory, with nothing on its standard
/// input. When the command has ended, what it left running is ended too, unless that has a process group of its own.
///
/// Exit code 0 is success; any other, or a signal, is a failure that may be retried. Outputs that can't be read or are
/// too large fail the job for good.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShellExecutor;

impl Executor for ShellExecutor {
    async fn execute(&self, job: Job, context: Context) -> Result<Outputs, Failure> {
        let scratch = Scratch::create(&job)
            .map_err(|error| Failure::retryable(format!("the worker can't make the job's files: {error}")))?;
        let result = run(&job, &context, &scratch).await;
        scratch.remove().await;
        result
    }
}

async fn run(job: &Job, context: &Context, scratch: &Scratch) -> Result<Outputs, Failure> {
    let mut child = command(job, context, scratch).spawn().map_err(|error| start_failure(&error, context))?;
    let group = Group::of(&child);
    let (exited_sender, exited) = oneshot::channel();
    let read_stdout = job.outputs_from != OutputsFrom::File;
    let masker = Arc::new(Masker::new(job.secrets.values()));
    let pump = Pump::new(&mut child, context.log.clone(), &masker, read_stdout).run(exited);
    let supervision = async {
        let status = supervise(&mut child, &group, context).await;
        let _ = exited_sender.send(());
        status
    };
    let (status, pumped) = tokio::join!(supervision, pump);
    if let Some(note) = end_leftovers(&group, &pumped).await {
        context.log.line(Stream::Stderr, note).await;
    }
    let status =
        status.map_err(|error| Failure::retryable(format!("the worker lost sight of the command: {error}")))?;
    if !status.success() {
        return Err(exit_failure(status, &pumped.last_stderr));
    }
    let mut outputs = pumped.outputs?;
    if job.outputs_from != OutputsFrom::Stdout {
        outputs.extend(outputs::read_file(scratch.outputs.clone()).await?);
    }
    protocol::outputs::check_size(&outputs).map_err(|error| Failure::permanent(error.to_string()))?;
    Ok(outputs)
}

fn command(job: &Job, context: &Context, scratch: &Scratch) -> Command {
    let mut command = Command::new("sh");
    match &scratch.script {
        Some(script) => command.arg(script),
        None => command.arg("-c").arg(&job.command),
    };
    for token in NOT_INHERITED {
        command.env_remove(token);
    }
    if let Some(cleaned) = std::env::var("SERVER_URL").ok().and_then(|url| client::without_password(&url)) {
        command.env("SERVER_URL", cleaned);
    }
    command
        .envs(&job.env)
        .envs(job.secrets.iter().map(|(name, value)| (name.as_str(), value.reveal())))
        .env("WORKFLOW_ID", job.workflow_id.as_str())
        .env("JOB_ID", job.job_id.as_str())
        .env("JOB_ATTEMPT", job.attempt.to_string())
        .env("JOB_DIR", &scratch.job_dir)
        .env("WORKER_SLOT", context.slot.to_string())
        .env("UPSTREAM_OUTPUTS", &scratch.upstream)
        .env("WORKFLOW_OUTPUT", &scratch.outputs)
        .current_dir(&context.workdir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Waits for the command to end. Ends its process group when the job must stop.
async fn supervise(child: &mut Child, group: &Group, context: &Context) -> io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status,
        _ = context.stopped() => {}
    }
    // The shell must be waited for at the same time: a zombie counts as a member of its group.
    let (status, ()) = tokio::join!(child.wait(), group.end(context.grace));
    status
}

/// Ends the processes that the command left running. Returns a line for the log if there were any.
async fn end_leftovers(group: &Group, pumped: &Pumped) -> Option<&'static str> {
    if group.is_alive() {
        group.end(LEFTOVER_GRACE).await;
        return Some("[the command left processes running; they were ended]");
    }
    pumped.cut.then_some("[a process that the command left running holds its output; what it writes is not shown]")
}

fn start_failure(error: &io::Error, context: &Context) -> Failure {
    let text = format!("can't start `sh` in {}: {error}", context.workdir.display());
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::ArgumentListTooLong => Failure::permanent(text),
        _ => Failure::retryable(text),
    }
}

fn exit_failure(status: ExitStatus, last_stderr: &str) -> Failure {
    let mut error = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {signal}"),
        },
        (None, None) => status.to_string(),
    };
    if !last_stderr.is_empty() {
        error = format!("{error}: {last_stderr}");
    }
    Failure { error, retryable: true, exit_code: status.code() }
}
