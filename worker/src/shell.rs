//! Runs a job's command in a shell, in a process group of its own.

mod group;
mod lines;
mod outputs;
mod pump;
mod scratch;
mod start;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use protocol::Outputs;
use protocol::mask::Masker;
use protocol::wire::{OutputsFrom, Stream};
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::Job;
use crate::executor::{Context, Executor, Failure};
use group::Group;
use pump::Pump;
use scratch::{Given, Scratch};

/// How long processes that the command left running may continue, as long as one of them has its output open.
const LEFTOVER_TIME: Duration = Duration::from_secs(1);
/// Time between SIGTERM and SIGKILL for processes that the command left running.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);
/// The exit code of a command that was ended by a signal is this and the signal's number.
const EXIT_BY_SIGNAL: i32 = 128;
/// The exit code of a pipe that was ended by SIGPIPE.
const EXIT_BY_SIGPIPE: i32 = 141;

/// Returns the outputs in a standard output that arrives in these parts. For tests with arbitrary bytes.
#[doc(hidden)]
pub fn outputs_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Outputs, Failure> {
    let mut scanner = outputs::Scanner::new();
    parts.into_iter().for_each(|part| scanner.push(part));
    scanner.finish()
}

/// Runs `sh -c <command>`. If the command only has bash read a script, it starts bash without the `sh`, if the job's `PATH` has one.
///
/// The job has the worker's environment without its token, the job's `env` and `secrets`, and `WORKFLOW_ID`, `JOB_ID`,
/// `JOB_ATTEMPT`, `JOB_DIR` (an empty directory, removed afterwards), `JOB_SCRIPTS` (for the scripts of the command),
/// `WORKER_SLOT`, `UPSTREAM_OUTPUTS` and `UPSTREAM_STATUS` (JSON files) and `WORKFLOW_OUTPUT` (a file to write outputs to). `PATH` ends with the
/// directory of this program. It runs in the
/// worker's directory, with nothing on its standard input. When the command has ended, the processes that it left running
/// are ended too, unless they have a process group of their own.
///
/// Exit code 0 is success; any other, or a signal, is a failure that may be retried. Outputs that can't be read or are
/// too large fail the job for good. If the job's files can't be made or the shell can't be started, the failure is the
/// worker's ([`Failure::of_worker`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct ShellExecutor;

impl Executor for ShellExecutor {
    async fn execute(&self, job: Job, context: Context) -> Result<Outputs, Failure> {
        let given = Given { outputs: &job.upstream_outputs, statuses: &job.upstream_status, command: &job.command };
        let scratch = Scratch::create(&given)?;
        let result = run(&job, &context, &scratch).await;
        scratch.remove().await;
        result
    }

    async fn check(&self, workdir: &Path) -> Result<(), Failure> {
        start::check(workdir).await
    }
}

async fn run(job: &Job, context: &Context, scratch: &Scratch) -> Result<Outputs, Failure> {
    let (mut child, _own) = start::start(job, context, scratch)?;
    let group = Group::of(&child);
    let (exited_sender, exited) = oneshot::channel();
    let (closed_sender, closed) = oneshot::channel::<()>();
    let read_stdout = job.outputs_from != OutputsFrom::File;
    let masker = Arc::new(Masker::new(job.secrets.values()));
    let pump = Pump::new(&mut child, context.log.clone(), &masker, read_stdout);
    let pump = async {
        let pumped = pump.run(exited).await;
        drop(closed_sender);
        pumped
    };
    let supervision = async {
        let status = supervise(&mut child, &group, context).await;
        let left_processes = end_leftovers(&group, closed).await;
        let _ = exited_sender.send(());
        (status, left_processes)
    };
    let ((status, left_processes), pumped) = tokio::join!(supervision, pump);
    if left_processes {
        context.log.line(Stream::Stderr, "[the command left processes running; they were ended]").await;
    } else if pumped.cut {
        let note = "[a process that the command left running holds its output; what it writes is not shown]";
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

/// Ends the processes that the command left running, when both output streams are closed or after [`LEFTOVER_TIME`].
/// Returns whether there were any.
async fn end_leftovers(group: &Group, closed: oneshot::Receiver<()>) -> bool {
    if !group.is_alive() {
        return false;
    }
    let _ = timeout(LEFTOVER_TIME, closed).await;
    let left = group.is_alive();
    if left {
        group.end(LEFTOVER_GRACE).await;
    }
    left
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

fn exit_failure(status: ExitStatus, last_stderr: &str) -> Failure {
    let mut error = match (status.code(), status.signal()) {
        (Some(EXIT_BY_SIGPIPE), _) => format!(
            "exit code {EXIT_BY_SIGPIPE}: a program of a pipe was ended because the next one stopped reading, as in `... | head`; \
             with pipefail that fails. Read all of it, or write `|| true` after the program"
        ),
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
    // As a shell shows the end of a program by a signal.
    let exit_code = status.code().or_else(|| status.signal().map(|signal| EXIT_BY_SIGNAL + signal));
    Failure { error, retryable: true, exit_code, of_worker: false }
}
