//! The interface between a worker and what runs its jobs: a shell by default, or an executor of the embedding program.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use protocol::Outputs;
use protocol::requests::LogPiece;
use tokio::sync::{mpsc, watch};

use crate::Job;
use crate::sink::LogSink;
use crate::stop::StopReason;

/// Runs jobs. The default is [`crate::ShellExecutor`]; another one may start containers or call Rust functions.
///
/// ```
/// use workflow_graph_worker_sdk::{Context, Executor, Failure, Job, Outputs, Stream};
///
/// struct Deploy;
///
/// impl Executor for Deploy {
///     async fn execute(&self, job: Job, context: Context) -> Result<Outputs, Failure> {
///         let url = job
///             .upstream_outputs
///             .get("build")
///             .and_then(|outputs| outputs.get("artifact_url"))
///             .expect("build gives artifact_url");
///         context.log.line(Stream::Stdout, &format!("deploying {url}")).await;
///         Ok(Outputs::new())
///     }
/// }
/// ```
pub trait Executor: Send + Sync + 'static {
    /// Runs the job to its end and returns its outputs, or why it failed. A panic counts as a failure.
    ///
    /// When [`Context::stopped`] resolves, the job must end: the future is dropped `grace` and a few seconds later.
    fn execute(&self, job: Job, context: Context) -> impl Future<Output = Result<Outputs, Failure>> + Send;

    /// Checks whether jobs can be run in this directory. After a failure with [`Failure::of_worker`] the worker claims no
    /// jobs until this succeeds.
    fn check(&self, workdir: &Path) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = workdir;
        std::future::ready(Ok(()))
    }
}

pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Executor`] behind a pointer.
pub(crate) trait AnyExecutor: Send + Sync {
    fn execute_boxed(&self, job: Job, context: Context) -> Boxed<'_, Result<Outputs, Failure>>;

    fn check_boxed<'a>(&'a self, workdir: &'a Path) -> Boxed<'a, Result<(), Failure>>;
}

impl<E: Executor> AnyExecutor for E {
    fn execute_boxed(&self, job: Job, context: Context) -> Boxed<'_, Result<Outputs, Failure>> {
        Box::pin(self.execute(job, context))
    }

    fn check_boxed<'a>(&'a self, workdir: &'a Path) -> Boxed<'a, Result<(), Failure>> {
        Box::pin(self.check(workdir))
    }
}

/// Why a job failed. Any error turns into one that is `retryable`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For people; cut at [`protocol::limits::ERROR_TEXT`].
    pub error: String,
    /// Whether another attempt could succeed.
    pub retryable: bool,
    /// The command's exit code, if a command was run and exited.
    pub exit_code: Option<i32>,
    /// Whether the cause is this worker: its disk is full, its directory is gone. Then the job uses none of its tries and
    /// goes to another worker, and this worker pauses.
    pub of_worker: bool,
}

impl Failure {
    /// A failure that another attempt could avoid.
    #[must_use]
    pub fn retryable(error: impl Into<String>) -> Self {
        Self { error: error.into(), retryable: true, exit_code: None, of_worker: false }
    }

    /// A failure that every attempt would meet.
    #[must_use]
    pub fn permanent(error: impl Into<String>) -> Self {
        Self { error: error.into(), retryable: false, exit_code: None, of_worker: false }
    }

    /// A failure whose cause is this worker and not the job.
    #[must_use]
    pub fn of_worker(error: impl Into<String>) -> Self {
        Self { of_worker: true, ..Self::retryable(error) }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retryable(error.to_string())
    }
}

/// What an executor gets besides the job.
#[derive(Clone, Debug)]
pub struct Context {
    /// The job's log.
    pub log: LogSink,
    /// The job's slot, from 0 to the worker's concurrency - 1; jobs that run at the same time have different slots.
    pub slot: usize,
    /// The worker's directory for jobs.
    pub workdir: PathBuf,
    /// How long a job that is stopped may take to end.
    pub grace: Duration,
    pub(crate) stop: watch::Receiver<Option<StopReason>>,
}

impl Context {
    /// A context without a server, to try an executor with.
    #[must_use]
    pub fn detached(workdir: impl Into<PathBuf>, grace: Duration) -> (Self, Detached) {
        let (stop_sender, stop) = watch::channel(None);
        let (log, written) = LogSink::new();
        (Self { log, slot: 0, workdir: workdir.into(), grace, stop }, Detached { written, stop: stop_sender })
    }

    /// Resolves when the job must end.
    pub async fn stopped(&self) -> StopReason {
        let mut stop = self.stop.clone();
        let reason = stop.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
        match reason {
            Some(reason) => reason,
            // The sender is gone, so the job is never stopped.
            None => std::future::pending().await,
        }
    }
}

/// The other end of [`Context::detached`].
#[derive(Debug)]
pub struct Detached {
    written: mpsc::Receiver<LogPiece>,
    stop: watch::Sender<Option<StopReason>>,
}

impl Detached {
    /// Stops the job.
    pub fn stop(&self, reason: StopReason) {
        self.stop.send_replace(Some(reason));
    }

    /// The next text written to the log: one or more lines, or a part of a very long line. `None` after the last
    /// [`LogSink`] is gone. A job whose log isn't read blocks.
    pub async fn written(&mut self) -> Option<(protocol::wire::Stream, String)> {
        self.written.recv().await.map(|piece| (piece.stream, piece.data))
    }
}
