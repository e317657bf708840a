//! What runs a job: a shell by default, or whatever a program brings.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use protocol::Outputs;
use tokio::sync::watch;

use crate::Job;
use crate::logs::{LogSink, Written};

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
    /// Runs the job to its end and says what it gave, or why it failed. A panic is a failure too.
    ///
    /// When [`Context::stopped`] resolves, the job must end: the future is dropped `grace` and a few seconds later.
    fn execute(&self, job: Job, context: Context) -> impl Future<Output = Result<Outputs, Failure>> + Send;
}

/// [`Executor`] behind a pointer.
pub(crate) trait AnyExecutor: Send + Sync {
    fn execute_boxed<'a>(
        &'a self,
        job: Job,
        context: Context,
    ) -> Pin<Box<dyn Future<Output = Result<Outputs, Failure>> + Send + 'a>>;
}

impl<E: Executor> AnyExecutor for E {
    fn execute_boxed<'a>(
        &'a self,
        job: Job,
        context: Context,
    ) -> Pin<Box<dyn Future<Output = Result<Outputs, Failure>> + Send + 'a>> {
        Box::pin(self.execute(job, context))
    }
}

/// Why a job failed. Any error turns into one that is `retryable`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For people; cut at [`protocol::limits::ERROR_TEXT`].
    pub error: String,
    /// Whether another try could help.
    pub retryable: bool,
    /// Of the command, if there was one and it exited.
    pub exit_code: Option<i32>,
}

impl Failure {
    /// One that another try could mend.
    #[must_use]
    pub fn retryable(error: impl Into<String>) -> Self {
        Self { error: error.into(), retryable: true, exit_code: None }
    }

    /// One that every try would meet.
    #[must_use]
    pub fn permanent(error: impl Into<String>) -> Self {
        Self { error: error.into(), retryable: false, exit_code: None }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retryable(error.to_string())
    }
}

/// Why a job must end before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// Its workflow was cancelled.
    Cancelled,
    /// It ran for as long as its `timeout` lets it.
    TimedOut,
    /// Another worker has it, or the server has ended it.
    LeaseLost,
    /// No heartbeat got through until the lease ran out.
    LeaseEnded,
    /// The worker ends and can't wait for it.
    Shutdown,
}

/// What an executor has beside the job.
#[derive(Clone, Debug)]
pub struct Context {
    /// The job's log.
    pub log: LogSink,
    /// From 0 to the worker's concurrency - 1; no two jobs of a worker have the same at one time.
    pub slot: usize,
    /// Where the worker runs jobs.
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
            // Who could stop it is gone: it never will be.
            None => std::future::pending().await,
        }
    }
}

/// The other end of [`Context::detached`].
#[derive(Debug)]
pub struct Detached {
    written: Written,
    stop: watch::Sender<Option<StopReason>>,
}

impl Detached {
    /// Stops the job.
    pub fn stop(&self, reason: StopReason) {
        self.stop.send_replace(Some(reason));
    }

    /// What was written to the log next: one or more lines, or a part of a very long one. `None` when nobody can write
    /// any more. A job whose log isn't read comes to a halt.
    pub async fn written(&mut self) -> Option<(protocol::wire::Stream, String)> {
        self.written.next().await.map(|piece| (piece.stream, piece.data))
    }
}
