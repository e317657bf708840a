//! One attempt of a job, from its claim to its report.

use std::sync::Arc;
use std::time::Duration;

use protocol::mask::Masker;
use protocol::requests::{Complete, Fail, FailCause, Next};
use protocol::wire::{Claimed, Reported};
use protocol::{Outputs, limits};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::attempts::Attempts;
use crate::executor::{AnyExecutor, Context, Failure};
use crate::lease::{self, HeldLease, is_lost};
use crate::logs::Shipper;
use crate::stop::{Shutdown, StopReason};
use crate::terms::LeaseTerms;
use crate::{Job, WorkerConfig};
use client::retry::retry;
use client::{Client, ClientError};
use tokio::sync::watch;

/// Time that an executor gets to stop, in addition to the job's grace.
const BEYOND_GRACE: Duration = Duration::from_secs(5);
/// How long the result of a job waits for its log to be stored.
const LOG_TIME: Duration = Duration::from_mins(5);
/// Number of jobs in a row that a slot takes from completion answers. Then it claims, so that a chain of jobs doesn't keep the
/// worker from jobs that have waited longer.
const IN_SUCCESSION: usize = 20;

/// What all jobs of a worker share: settings, client, executor and shutdown.
#[derive(Clone)]
pub(crate) struct WorkerContext {
    pub config: Arc<WorkerConfig>,
    pub client: Client,
    pub executor: Arc<dyn AnyExecutor>,
    pub shutdown: Shutdown,
    pub attempts: Attempts,
    pub lease: LeaseTerms,
    /// Why the worker claims no jobs; `None` if it does.
    pub paused: watch::Sender<Option<String>>,
}

/// Runs a claimed job, then, in the same slot, each job that the answer to a report brings.
pub(crate) async fn run(worker: WorkerContext, claimed: Claimed, slot: usize) {
    let mut next = Some(Assignment { claimed, at: Instant::now() });
    let mut left = if worker.config.once { 0 } else { IN_SUCCESSION };
    while let Some(assignment) = next {
        next = run_one(&worker, assignment, slot, left > 0).await;
        left = left.saturating_sub(1);
    }
}

/// A claimed job and the time from which its lease is counted: the claim's answer, or the report that asked for the job.
struct Assignment {
    claimed: Claimed,
    at: Instant,
}

/// Runs the job and reports its result, unless the lease is lost. All logs are sent before the report, if the server takes them in
/// time.
async fn run_one(
    worker: &WorkerContext,
    assignment: Assignment,
    slot: usize,
    may_claim_next: bool,
) -> Option<Assignment> {
    let Claimed { job, lease } = assignment.claimed;
    let title = format!("{} of {} (attempt {})", job.job_id, job.workflow_id, job.attempt);
    tracing::info!("{title}: started");
    let began = Instant::now();
    let lease = HeldLease::new(&lease, assignment.at);
    let _heartbeats = AbortOnDropHandle::new(tokio::spawn(lease::keep_alive(lease.clone(), worker.client.clone())));
    let masker = Arc::new(Masker::new(job.secrets.values()));
    let (log, shipper) = Shipper::start(worker.client.clone(), lease.clone(), worker.config.log_flush, &masker);
    let context = Context {
        log,
        slot,
        workdir: worker.config.workdir.clone(),
        grace: worker.config.grace,
        stop: lease.stop_receiver(),
    };
    let result = execute(worker, job, context, &lease).await.map_err(|failure| masked(&failure, &masker));
    shipper.finish(LOG_TIME).await;
    let result = match lease.stop_reason() {
        None => result,
        Some(StopReason::Shutdown) => {
            let id = &worker.config.worker_id;
            Err(Failure::retryable(format!("lost: worker {id} was shut down while it ran the job")))
        }
        Some(reason) => {
            tracing::warn!("{title}: {}", describe(reason));
            return None;
        }
    };
    if let Err(failure) = &result
        && failure.of_worker
    {
        // Before the report, so that this worker doesn't claim the job again.
        worker.paused.send_replace(Some(failure.error.clone()));
    }
    let took = began.elapsed().as_secs_f32();
    let outcome = match &result {
        Ok(_) => format!("succeeded in {took:.1} s"),
        Err(failure) => format!("failed in {took:.1} s: {}", failure.error),
    };
    let claims_next = may_claim_next && !worker.shutdown.draining.is_cancelled() && worker.paused.borrow().is_none();
    let next = claims_next.then(|| next_for(worker));
    let at = Instant::now();
    match report(&worker.client, &lease, result, next).await {
        Ok(answer) => {
            tracing::info!("{title}: {outcome}");
            return answer.next.map(|claimed| Assignment { claimed, at });
        }
        Err(error) if is_lost(&error) => tracing::warn!("{title}: {outcome}, but {}", describe(StopReason::LeaseLost)),
        Err(error) => tracing::error!("{title}: {outcome}, but that can't be reported: {error}"),
    }
    None
}

/// Masks secrets in a failure's text, then cuts it. The text goes to the server and to the worker's log.
fn masked(failure: &Failure, masker: &Masker) -> Failure {
    Failure { error: cut(masker.mask(&failure.error).into_owned()), ..failure.clone() }
}

fn describe(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Cancelled => "cancelled",
        StopReason::TimedOut => "stopped at its timeout; the server knows, so nothing is reported",
        StopReason::LeaseLost => "the lease no longer holds the job, so nothing is reported",
        StopReason::LeaseEnded => "no heartbeat got through in time; stopped, and nothing is reported",
        StopReason::Shutdown => "stopped by the worker's shutdown",
    }
}

/// Runs the executor until it ends, or until it was stopped and its grace has passed.
async fn execute(worker: &WorkerContext, job: Job, context: Context, lease: &HeldLease) -> Result<Outputs, Failure> {
    let time = job.timeout_secs.map_or(Duration::MAX, Duration::from_secs);
    let (WorkerContext { client, executor, attempts, .. }, lease_of_task) = (worker.clone(), lease.clone());
    let mut task = AbortOnDropHandle::new(tokio::spawn(async move {
        // The previous attempt of the job may still be ending, in another slot.
        let _turn = tokio::select! {
            turn = attempts.begin(&job) => turn,
            () = lease_of_task.stopped() => return Err(Failure::retryable("stopped before it started")),
        };
        let job = with_upstream_outputs(job, &client, &lease_of_task).await?;
        executor.execute_boxed(job, context).await
    }));
    let ended = tokio::select! {
        ended = &mut task => Some(ended),
        () = lease.stopped() => None,
        () = sleep(time) => {
            lease.stop(StopReason::TimedOut);
            None
        }
        () = worker.shutdown.stopping.cancelled() => {
            lease.stop(StopReason::Shutdown);
            None
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => match timeout(worker.config.grace + BEYOND_GRACE, task).await {
            Ok(ended) => ended,
            Err(_) => return Err(Failure::retryable("it didn't stop when it was told to")),
        },
    };
    ended.unwrap_or_else(|panic| Err(Failure::retryable(format!("the executor failed: {panic}"))))
}

async fn with_upstream_outputs(mut job: Job, client: &Client, lease: &HeldLease) -> Result<Job, Failure> {
    if let Some(url) = &job.upstream_outputs_url {
        let fetched = retry("upstream outputs", || Some(lease.ends()), || client.upstream_outputs(url)).await;
        job.upstream_outputs = fetched.map_err(|error| {
            Failure::retryable(format!("the outputs of the jobs it needs can't be fetched: {error}"))
        })?;
    }
    Ok(job)
}

/// Sends the report and retries until it is answered or the lease has ended.
///
/// A refused heartbeat doesn't end the retries: the report may have been accepted and only its answer lost.
async fn report(
    client: &Client,
    lease: &HeldLease,
    result: Result<Outputs, Failure>,
    next: Option<Next>,
) -> Result<Reported, ClientError> {
    let failure = match result {
        Ok(outputs) => match complete(client, lease, outputs, next).await {
            Err(error) if is_unacceptable(&error) => Failure::permanent(error.to_string()),
            answer => return answer,
        },
        Err(failure) => failure,
    };
    let fail = Fail {
        error: cut(failure.error),
        retryable: failure.retryable,
        exit_code: failure.exit_code,
        cause: failure.of_worker.then_some(FailCause::Worker),
    };
    retry("report", || Some(lease.ends()), || client.fail(&lease.id, &fail)).await
}

async fn complete(
    client: &Client,
    lease: &HeldLease,
    outputs: Outputs,
    next: Option<Next>,
) -> Result<Reported, ClientError> {
    let outputs = outputs.into_iter().map(|(name, value)| (name.into(), value)).collect();
    let complete = Complete { outputs, next };
    retry("report", || Some(lease.ends()), || client.complete(&lease.id, &complete)).await
}

/// Whether the server refused the outputs themselves, so that a retry is useless.
fn is_unacceptable(error: &ClientError) -> bool {
    matches!(error.status(), Some(400 | 413 | 422))
}

fn cut(mut error: String) -> String {
    error.truncate(error.floor_char_boundary(limits::ERROR_TEXT));
    error
}

/// The request for the next job, with the same terms as a claim.
fn next_for(worker: &WorkerContext) -> Next {
    let config = &worker.config;
    Next {
        worker_id: config.worker_id.clone(),
        labels: config.labels.clone(),
        lease_ttl_secs: worker.lease.secs(),
        exclusive: config.exclusive,
    }
}
