//! Single calls, what outputs and secrets add to a job, and what idle workers cost.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use cost::{Call, CallFigures, Figures, Prices, Usage, rounded};
use harness::{HeldLease, Worker};
use tokio::time::{Instant, sleep, sleep_until};

use crate::driver::{Driver, LEASE};

/// Minutes of a month of 30 days.
const MINUTES: f64 = 43_200.0;
/// Default interval of log pushes while somebody reads the log, in seconds. While nobody does, each pause is twice the one before.
const LOG_PUSH: f64 = 0.5;
/// The longest pause between log pushes, in seconds.
const SLOWEST_PUSH: f64 = 10.0;
/// The length of the job whose heartbeats, looks and pushes are composed, in seconds.
const TEN_MINUTES: f64 = 600.0;
/// Default interval of an idle worker's claims over HTTP, in seconds.
const POLL: f64 = 2.0;
/// Heartbeats of an idle worker in a minute.
const WORKER_HEARTBEATS: f64 = 2.0;
/// Claims without a ticket in a minute, of a worker that polls queues.
const CHECKS: f64 = 1.0;
/// Requests in a minute of one poller with waits of 20 s.
const LONG_POLLS: f64 = 3.0;
/// Pollers that Lambda runs for an idle queue.
const LAMBDA_POLLERS: f64 = 5.0;
/// After this time a process reads the list of pools again.
pub(crate) const POOLS_KNOWN: Duration = Duration::from_millis(1100);
/// After this time a worker's record is written again, and its token is read again.
const WORKER_KNOWN: Duration = Duration::from_secs(31);

/// A worker that does nothing, from the beginning of the measurement on.
pub struct Idle {
    worker: Worker,
    since: Instant,
}

impl Idle {
    /// Registers the worker.
    pub async fn begin(driver: &Driver) -> Self {
        let worker = driver.cloud.worker("idle").registers(&[]).await;
        Self { worker, since: Instant::now() }
    }
}

/// Measures all of it. Takes as long as a worker's record is known, from the beginning of `idle` on.
pub async fn measure(driver: &mut Driver, idle: Idle, prices: &Prices, figures: &mut Figures) {
    let mut calls = BTreeMap::new();
    long_job(driver, &mut calls).await;
    additions(driver, &mut calls).await;
    nothing(driver, idle, &mut calls).await;
    let call = |name: &str| calls[name];
    let usd = |usage: Usage| rounded(usage.usd(prices) * 1e6);

    let lease = f64::from(LEASE);
    let heartbeats = TEN_MINUTES / (lease / 3.0);
    // The timer is due when the lease ends that the last heartbeat but one or two gave.
    let looks = TEN_MINUTES / (lease - lease / 6.0);
    let silent = call("heartbeat") * heartbeats + call("timer_look") * looks;
    let chatty = silent + call("log_push") * pushes_that_nobody_reads();
    let read = silent + call("log_push") * (TEN_MINUTES / LOG_PUSH);
    let jobs = [("silent", silent), ("chatty", chatty), ("chatty, read all the time", read)];
    let ten_minutes = &mut figures.ten_minutes_usd_per_million;
    for (name, job) in jobs {
        ten_minutes.insert(name.to_owned(), usd(job));
        ten_minutes.insert(format!("{name}, url"), usd(past_the_gateway(job)));
    }

    let requests = |sqs_requests: f64| Usage { sqs_requests, ..Usage::default() };
    let month = |minute: Usage| rounded((minute * MINUTES).usd(prices));
    let heartbeats = call("worker_heartbeat") * WORKER_HEARTBEATS;
    let sqs = |pools: f64, claim: &str| heartbeats + call(claim) * CHECKS + requests(LONG_POLLS * pools);
    let months = [
        ("stack", call("sweep") + requests(LONG_POLLS * LAMBDA_POLLERS)),
        ("worker over HTTP", heartbeats + call("claim_nothing") * (60.0 / POLL)),
        ("worker over HTTP, url", past_the_gateway(heartbeats + call("claim_nothing") * (60.0 / POLL))),
        ("worker over SQS, 1 pool", sqs(1.0, "claim_nothing")),
        ("worker over SQS, 10 pools", sqs(10.0, "claim_nothing_10_pools")),
    ];
    figures.idle_usd_per_month = months.map(|(name, minute)| (name.to_owned(), month(minute))).into();
    figures.calls.extend(calls.into_iter().map(|(name, usage)| (name.to_owned(), CallFigures::of(usage, prices))));
}

/// The same calls of a worker by function URLs: without the gateway's requests and lines.
fn past_the_gateway(calls: Usage) -> Usage {
    Usage { http_requests: 0.0, log_bytes: 0.0, ..calls }
}

/// The log pushes of a job that prints for ten minutes while nobody reads its log.
fn pushes_that_nobody_reads() -> f64 {
    let (mut pushes, mut at, mut pause) = (0.0, LOG_PUSH, LOG_PUSH);
    while at <= TEN_MINUTES {
        pushes += 1.0;
        pause = SLOWEST_PUSH.min(pause * 2.0);
        at += pause;
    }
    pushes
}

type Calls = BTreeMap<&'static str, Usage>;

/// A job that runs with a lease of these seconds, and the time at which the timer of its run is due, unless a heartbeat comes.
pub(crate) async fn running(driver: &mut Driver, lease_secs: u32) -> (HeldLease, Instant) {
    driver.begin();
    driver.submit("jobs: {a: {run: 'true', labels: '{label}'}}").await;
    driver.settle(1).await;
    driver.forget_timers();
    let held = driver.claim(&driver.worker().ttl(lease_secs)).await;
    driver.settle(1).await;
    (held, Instant::now() + Duration::from_secs(lease_secs.into()))
}

/// Makes the pools with these numbers known, besides the one of all other jobs. Their jobs never become ready.
pub(crate) async fn make_pools(driver: &Driver, pools: Range<usize>) {
    let mut definition = String::from("jobs:\n");
    for pool in pools {
        let _ = writeln!(definition, "  job-{pool}: {{run: 'true', labels: ['{{label}}', '{{label}}-{pool}']}}");
    }
    driver.cloud.submit_with(&definition, false, None).await;
}

/// Makes nine pools known, and returns a worker that covers them and the one of all other jobs.
async fn ten_pools(driver: &Driver) -> Worker {
    make_pools(driver, 0..9).await;
    let labels: Vec<String> = (0..9).map(|pool| format!("{{label}}-{pool}")).collect();
    driver.worker().labelled(&format!("{{label}},{}", labels.join(",")))
}

/// The calls of a job that runs for some time. Its lease is extended once, and the run's timer looks at it once.
async fn long_job(driver: &mut Driver, calls: &mut Calls) {
    const SHORT_LEASE: u32 = 6;
    let (held, due) = running(driver, SHORT_LEASE).await;
    driver.begin_step();
    driver.push_log(&held, 0, &text(1024)).await;
    calls.insert("log_push", driver.end().total());
    sleep_until(due - Duration::from_secs(SHORT_LEASE.into()) / 2).await;
    driver.begin_step();
    driver.heartbeat(&held).await;
    calls.insert("heartbeat", driver.end().total());
    sleep_until(due).await;
    driver.begin_step();
    driver.fire_timers(Call::Look).await;
    calls.insert("timer_look", driver.end().total());
    driver.complete(&held, &[]).await;
    driver.settle(1).await;
}

/// What outputs and a secret add to a job. The outputs' cost includes their reading by one dependent.
async fn additions(driver: &mut Driver, calls: &mut Calls) {
    let plain = pair(driver, "", &[]).await;
    for (name, bytes) in [("output_10_kb", 10_000), ("output_64_kb", 64_000)] {
        let value = text(bytes);
        calls.insert(name, pair(driver, "", &[("data", &value)]).await - plain);
    }
    let secret = driver.cloud.secret("METER", "hunter2-hunter2").await;
    calls.insert("secret", pair(driver, &format!(", secrets: [{secret}]"), &[]).await - plain);
}

/// A job with these keys and outputs, and one that needs it.
async fn pair(driver: &mut Driver, keys: &str, outputs: &[(&str, &str)]) -> Usage {
    driver.begin();
    let definition = format!(
        "jobs:\n  a: {{run: 'true', labels: '{{label}}'{keys}}}\n  b: {{run: 'true', labels: '{{label}}', needs: a}}\n"
    );
    driver.submit(&definition).await;
    driver.settle(1).await;
    // A secret makes a pool of its own, which the function that claims may not know yet.
    sleep(POOLS_KNOWN).await;
    let worker = driver.worker();
    for outputs in [outputs, &[]] {
        let held = driver.claim(&worker).await;
        driver.complete(&held, outputs).await;
        driver.settle(1).await;
    }
    driver.fire_timers(Call::Timer).await;
    driver.end().total()
}

/// What happens while no job runs.
async fn nothing(driver: &mut Driver, idle: Idle, calls: &mut Calls) {
    let ten = ten_pools(driver).await;
    let one = driver.worker();
    for (name, worker) in [("claim_nothing", &one), ("claim_nothing_10_pools", &ten)] {
        driver.claim_nothing(worker).await;
        sleep(POOLS_KNOWN).await;
        driver.begin();
        driver.claim_nothing(worker).await;
        calls.insert(name, driver.end_with_pools().total());
    }
    driver.begin();
    driver.sweep().await;
    calls.insert("sweep", driver.end_with_shared().total());
    sleep_until(idle.since + WORKER_KNOWN).await;
    driver.begin();
    driver.worker_heartbeat(&idle.worker).await;
    calls.insert("worker_heartbeat", driver.end_with_shared().total());
}

/// Text that doesn't compress well, the same each time.
fn text(bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(1);
    (0..bytes).map(|_| random.alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_that_nobody_reads_pushes_six_times_a_minute_in_the_end() {
        // At 0.5, 1.5, 3.5, 7.5 and 15.5 s, then every 10 s up to 595.5 s.
        assert!((pushes_that_nobody_reads() - 63.0).abs() < 0.1, "{}", pushes_that_nobody_reads());
    }
}
