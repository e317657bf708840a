//! The worker's flags, for its own binary and for `wfg worker`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use protocol::requests::Transport;
use protocol::{LabelSet, WorkerId};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{
    DEFAULT_SERVER_URL, Token, WorkerConfig, default_worker_id, parse_duration, read_transport, whole_seconds,
};
use crate::worker::{Shutdown, Worker};

/// How a worker is told what to do. Times are written 90s, 500ms, 30m or 6h; without a unit they are seconds.
#[derive(Clone, Debug, clap::Args)]
pub struct WorkerArgs {
    /// The server; may hold user:password
    #[arg(id = "server", long, env = "SERVER_URL", default_value = DEFAULT_SERVER_URL, hide_env_values = true)]
    server_url: String,
    /// Sent as `Authorization: Bearer`; better given by the environment, which other users can't see
    #[arg(long, env = "WORKER_TOKEN", hide_env_values = true, value_parser = read_token)]
    token: Option<Token>,
    /// Unlike any other worker's [default: the host's name and a random suffix]
    #[arg(long, env = "WORKER_ID")]
    id: Option<WorkerId>,
    /// What this worker can do, separated by commas; it takes the jobs whose labels are all among these
    #[arg(long, env = "WORKER_LABELS", default_value = "", value_parser = LabelSet::from_comma_separated)]
    labels: LabelSet,
    /// Take only jobs that ask for at least one of the labels
    #[arg(long, env = "WORKER_EXCLUSIVE", value_parser = FalseyValueParser::new())]
    exclusive: bool,
    /// How it learns of jobs: http (it asks the server), or sqs (it polls its pools' queues; needs credentials of AWS)
    #[arg(long, env = "WORKER_TRANSPORT", default_value = "http", value_parser = read_transport)]
    transport: Transport,
    /// Jobs at a time
    #[arg(long, env = "WORKER_CONCURRENCY", default_value_t = 1)]
    concurrency: usize,
    /// A job of a worker that is silent for this long is given to another; heartbeats go out three times in each
    #[arg(long, env = "WORKER_LEASE_TTL", default_value = "30s", value_parser = read_seconds)]
    lease_ttl: u32,
    /// How long a claim asks the server to wait for a job, at most 20s; not every server can
    #[arg(long, env = "WORKER_WAIT", default_value = "20s", value_parser = read_seconds)]
    wait: u32,
    /// Pause between claims when there is no job, give or take a quarter; longer after errors
    #[arg(long, env = "WORKER_POLL", default_value = "2s", value_parser = parse_duration)]
    poll: Duration,
    /// With sqs: how often it asks the server too, so that a job whose message was lost waits no longer
    #[arg(long, env = "WORKER_RECHECK", default_value = "1m", value_parser = parse_duration)]
    recheck: Duration,
    /// The longest a log line waits to be sent
    #[arg(long, env = "WORKER_LOG_FLUSH", default_value = "500ms", value_parser = parse_duration)]
    log_flush: Duration,
    /// Where jobs run
    #[arg(long, env = "WORKER_WORKDIR", default_value = ".")]
    workdir: PathBuf,
    /// What a job that is stopped has between SIGTERM and SIGKILL
    #[arg(long, env = "WORKER_GRACE", default_value = "10s", value_parser = parse_duration)]
    grace: Duration,
    /// How long running jobs may go on after the first SIGTERM or SIGINT [default: until they end]
    #[arg(long, env = "WORKER_SHUTDOWN_GRACE", value_parser = parse_duration)]
    grace_on_shutdown: Option<Duration>,
    /// Exit after one job
    #[arg(long, env = "WORKER_ONCE", value_parser = FalseyValueParser::new())]
    once: bool,
    /// Exit when there was nothing to do for this long
    #[arg(long, env = "WORKER_IDLE_EXIT", value_parser = parse_duration)]
    idle_exit: Option<Duration>,
    /// Exit when nothing runs and claims found nothing for 10 s
    #[arg(long, env = "WORKER_DRAIN", value_parser = FalseyValueParser::new())]
    drain: bool,
}

fn read_seconds(text: &str) -> Result<u32, String> {
    parse_duration(text).and_then(whole_seconds)
}

/// Reads a token for a flag; any text is one.
pub fn read_token(text: &str) -> Result<Token, String> {
    Ok(Token::from(text))
}

impl From<WorkerArgs> for WorkerConfig {
    fn from(args: WorkerArgs) -> Self {
        Self {
            server_url: args.server_url,
            token: args.token.filter(|token| !token.0.is_empty()),
            worker_id: args.id.unwrap_or_else(default_worker_id),
            labels: args.labels,
            exclusive: args.exclusive,
            transport: args.transport,
            concurrency: args.concurrency,
            lease_ttl_secs: args.lease_ttl,
            wait_secs: args.wait,
            poll: args.poll,
            recheck: args.recheck,
            log_flush: args.log_flush,
            workdir: args.workdir,
            grace: args.grace,
            shutdown_grace: args.grace_on_shutdown,
            once: args.once,
            idle_exit: args.idle_exit,
            drain: args.drain,
        }
    }
}

/// Runs a worker as a program does: it says on standard error what it does (`RUST_LOG` for more or less), the first
/// SIGTERM or SIGINT drains it, the second stops its jobs. Exit code 0 unless it couldn't work: 2.
///
/// On Linux the process hides what it has in memory and environment, its token for one, from its jobs, which are the same
/// user's: from here on only root may look.
pub async fn run(args: WorkerArgs) -> ExitCode {
    hide();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Fails only if the program has set up its own.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .try_init();
    let worker = Worker::new(args.into());
    let signals = tokio::spawn(follow_signals(worker.shutdown()));
    let result = worker.run().await;
    signals.abort();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(2)
        }
    }
}

fn hide() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!("what this process keeps in memory can't be hidden from its jobs: {error}");
    }
}

async fn follow_signals(shutdown: Shutdown) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for first in [true, false] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if first {
            tracing::info!("shutting down: what runs is finished; a second signal stops it");
            shutdown.drain();
        } else {
            tracing::info!("stopping what runs");
            shutdown.stop();
        }
    }
    // Further signals change nothing, but must not kill the worker before its jobs are gone.
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_worker_is_not_to_be_looked_into_by_its_jobs() {
        super::hide();
        assert!(!nix::sys::prctl::get_dumpable().expect("Linux says so"));
    }
}
