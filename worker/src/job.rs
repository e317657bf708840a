//! One attempt of a job, from its claim to its report.

use std::sync::Arc;
use std::time::Duration;

use protocol::mask::Masker;
use protocol::requests::{Complete, Fail, Next};
use protocol::wire::{Claimed, Reported};
use protocol::{Outputs, limits};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::executor::{AnyExecutor, Context, Failure, StopReason};
use crate::lease::{self, LeaseRecord, is_lost};
use crate::logs::Shipper;
use crate::masks::Masks;
use crate::retry::retry;
use crate::task::AbortOnDrop;
use crate::worker::Stage;
use crate::{Job, WorkerConfig};
use client::{Client, ClientError};

/// An executor that was told to stop gets this long on top of the job's grace.
const BEYOND_GRACE: Duration = Duration::from_secs(5);
/// After this many jobs that came with a completion's answer the slot takes one from the queue, so that no chain keeps a
/// worker from what has waited longer.
const IN_SUCCESSION: usize = 20;

/// What all jobs of a worker share.
#[derive(Clone)]
pub(crate) struct Clock {
    pub config: Arc<WorkerConfig>,
    pub client: Client,
    pub executor: Arc<dyn AnyExecutor>,
    pub stage: watch::Receiver<Stage>,
}

/// Runs a claimed job, and in the same slot whatever job the answer to its report brings.
pub(crate) async fn run(around: Clock, claimed: Claimed, slot: usize) {
    let mut given = Some(Given { claimed, at: Instant::now() });
    let mut left = if around.config.once { 0 } else { IN_SUCCESSION };
    while let Some(current) = given {
        given = run_one(&around, current, slot, left > 0).await;
        left = left.saturating_sub(1);
    }
}

/// A job, and when its lease began, as far as is known here: with its claim's answer, or with the report that asked for it.
struct Given {
    claimed: Claimed,
    at: Instant,
}

/// Runs it and reports, unless nobody wants the report any more. All logs arrive before the report.
async fn run_one(around: &Clock, given: Given, slot: usize, may_ask: bool) -> Option<Given> {
    let Claimed { job, lease } = given.claimed;
    let title = format!("{} of {} (attempt {})", job.job_id, job.workflow_id, job.attempt);
    tracing::info!("{title}: started");
    let began = Instant::now();
    let hold = LeaseRecord::new(&lease, given.at);
    let _heartbeats = AbortOnDrop::spawn(lease::keep(hold.clone(), around.client.clone()));
    let masker = Arc::new(Masker::new(job.secrets.values()));
    let masks = Masks::new(&masker);
    let (log, shipper) = Shipper::start(around.client.clone(), hold.clone(), around.config.log_flush, masks);
    let context = Context {
        log,
        slot,
        workdir: around.config.workdir.clone(),
        grace: around.config.grace,
        stop: hold.stop_receiver(),
    };
    let result = execute(around, job, context, &hold).await.map_err(|failure| masked(&failure, &masker));
    shipper.finish().await;
    let result = match hold.stop_reason() {
        None => result,
        Some(StopReason::Shutdown) => {
            let worker = &around.config.worker_id;
            Err(Failure::retryable(format!("lost: worker {worker} was shut down while it ran the job")))
        }
        Some(reason) => {
            tracing::warn!("{title}: {}", describe(reason));
            return None;
        }
    };
    let took = began.elapsed().as_secs_f32();
    let outcome = match &result {
        Ok(_) => format!("succeeded in {took:.1} s"),
        Err(failure) => format!("failed in {took:.1} s: {}", failure.error),
    };
    let wants_more = may_ask && *around.stage.borrow() == Stage::Working;
    let next = wants_more.then(|| next_for(&around.config));
    let at = Instant::now();
    match report(&around.client, &hold, result, next).await {
        Ok(answer) => {
            tracing::info!("{title}: {outcome}");
            return answer.next.map(|claimed| Given { claimed, at });
        }
        Err(error) if is_lost(&error) => tracing::warn!("{title}: {outcome}, but {}", describe(StopReason::LeaseLost)),
        Err(error) => tracing::error!("{title}: {outcome}, but that can't be reported: {error}"),
    }
    None
}

/// What an error says goes to the server, and to the worker's own log.
fn masked(failure: &Failure, masker: &Masker) -> Failure {
    Failure { error: masker.mask(&failure.error).into_owned(), ..failure.clone() }
}

fn describe(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Cancelled => "cancelled",
        StopReason::TimedOut => "stopped at its timeout; the server knows, so nothing is reported",
        StopReason::LeaseLost => "the lease isn't the job's any more, so nothing is reported",
        StopReason::LeaseEnded => "no heartbeat got through in time; stopped, and nothing is reported",
        StopReason::Shutdown => "stopped by the worker's shutdown",
    }
}

/// Runs it until it ends, or until it must and had its time to.
async fn execute(around: &Clock, job: Job, context: Context, hold: &LeaseRecord) -> Result<Outputs, Failure> {
    let time = job.timeout_secs.map_or(Duration::MAX, Duration::from_secs);
    let (client, executor, of_job) = (around.client.clone(), Arc::clone(&around.executor), hold.clone());
    let mut task = AbortOnDrop::spawn(async move {
        let job = with_upstream_outputs(job, &client, &of_job).await?;
        executor.execute_boxed(job, context).await
    });
    let mut stage = around.stage.clone();
    let ended = tokio::select! {
        ended = task.ended() => Some(ended),
        () = hold.stopped() => None,
        () = sleep(time) => {
            hold.stop(StopReason::TimedOut);
            None
        }
        _ = stage.wait_for(|stage| *stage == Stage::Stopping) => {
            hold.stop(StopReason::Shutdown);
            None
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => match timeout(around.config.grace + BEYOND_GRACE, task.ended()).await {
            Ok(ended) => ended,
            Err(_) => return Err(Failure::retryable("it didn't stop when it was told to")),
        },
    };
    ended.unwrap_or_else(|panic| Err(Failure::retryable(format!("the executor failed: {panic}"))))
}

async fn with_upstream_outputs(mut job: Job, client: &Client, hold: &LeaseRecord) -> Result<Job, Failure> {
    if let Some(url) = &job.upstream_outputs_url {
        let fetched = retry("upstream outputs", || Some(hold.ends()), || client.upstream_outputs(url)).await;
        job.upstream_outputs = fetched.map_err(|error| {
            Failure::retryable(format!("the outputs of the jobs it needs can't be fetched: {error}"))
        })?;
    }
    Ok(job)
}

/// Repeats the report, as it is, until it is answered or the lease has ended.
///
/// A heartbeat that is refused meanwhile doesn't end this: it may be refused because the report was accepted and only
/// its answer lost.
async fn report(
    client: &Client,
    hold: &LeaseRecord,
    result: Result<Outputs, Failure>,
    next: Option<Next>,
) -> Result<Reported, ClientError> {
    let failure = match result {
        Ok(outputs) => match complete(client, hold, outputs, next).await {
            Err(error) if is_unacceptable(&error) => Failure::permanent(error.to_string()),
            answer => return answer,
        },
        Err(failure) => failure,
    };
    let fail = Fail { error: cut(failure.error), retryable: failure.retryable, exit_code: failure.exit_code };
    retry("report", || Some(hold.ends()), || client.fail(&hold.id, &fail)).await
}

async fn complete(
    client: &Client,
    hold: &LeaseRecord,
    outputs: Outputs,
    next: Option<Next>,
) -> Result<Reported, ClientError> {
    let outputs = outputs.into_iter().map(|(name, value)| (name.into(), value)).collect();
    let complete = Complete { outputs, next };
    retry("report", || Some(hold.ends()), || client.complete(&hold.id, &complete)).await
}

/// Whether the outputs themselves were refused, so that repeating the report is no use.
fn is_unacceptable(error: &ClientError) -> bool {
    matches!(error.status(), Some(400 | 413 | 422))
}

fn cut(mut error: String) -> String {
    error.truncate(error.floor_char_boundary(limits::ERROR_TEXT));
    error
}

/// Asks for the next job under the terms of a claim.
fn next_for(config: &WorkerConfig) -> Next {
    Next {
        worker_id: config.worker_id.clone(),
        labels: config.labels.clone(),
        lease_ttl_secs: config.lease_ttl_secs,
        exclusive: config.exclusive,
    }
}
