//! Runs a worker as a program: `workflow-graph-worker` and `wfg worker`.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{ConfigError, WorkerConfig};
use crate::error::WorkerError;
use crate::stop::Shutdown;
use crate::worker::Worker;
use crate::{reaper, signals};

/// Runs a worker until it ends or a signal ends it.
///
/// It logs to standard error at the level that `RUST_LOG` names. The first SIGTERM or SIGINT drains it, the second stops its
/// jobs. Any other signal that would end the process stops its jobs too. The exit code is 0, or 2 if the worker couldn't run.
///
/// On Linux the process makes its memory and environment, which contain its token, unreadable for its jobs, which run as the
/// same user. If it is the first process of a container, it reaps orphans.
pub async fn run(config: WorkerConfig) -> ExitCode {
    forbid_inspection();
    let result = match start_log() {
        Ok(()) => run_worker(Worker::new(config)).await,
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(2)
        }
    }
}

async fn run_worker(worker: Worker) -> Result<(), WorkerError> {
    let signals = tokio::spawn(follow_signals(worker.shutdown()));
    let reaper = tokio::spawn(reaper::run());
    let result = worker.run().await;
    signals.abort();
    reaper.abort();
    result
}

/// Logs to standard error. A line that can't be written is dropped.
fn start_log() -> Result<(), ConfigError> {
    let variable = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let (filter, result) = match variable.as_deref().unwrap_or("info").parse::<Targets>() {
        Ok(filter) => (filter, Ok(())),
        Err(error) => {
            let error = ConfigError { name: "RUST_LOG".to_owned(), reason: error.to_string() };
            (Targets::new().with_default(LevelFilter::INFO), Err(error))
        }
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        // It would print them to standard error, and panic if that fails.
        .log_internal_errors(false)
        .finish();
    // Fails only if the program has a subscriber already.
    let _ = log.with(filter).try_init();
    result
}

/// Denies other processes of this user the access to this process's memory and environment.
fn forbid_inspection() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!("jobs can read the memory of this process: prctl failed: {error}");
    }
}

/// Shuts the worker down at signals. From now on none of them ends the process by itself: it must outlive its jobs.
async fn follow_signals(shutdown: Shutdown) {
    let (sender, mut received) = mpsc::channel(8);
    for kind in signals::ending() {
        let Ok(mut signals) = signal(kind) else { continue };
        let sender = sender.clone();
        tokio::spawn(async move { while signals.recv().await.is_some() && sender.send(kind).await.is_ok() {} });
    }
    while let Some(kind) = received.recv().await {
        let drains = [SignalKind::interrupt(), SignalKind::terminate()].contains(&kind);
        if drains && !shutdown.draining.is_cancelled() {
            tracing::info!("shutting down: running jobs may finish; a second signal stops them");
            shutdown.drain();
        } else {
            tracing::info!("stopping running jobs");
            shutdown.stop();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn jobs_cannot_inspect_the_worker() {
        super::forbid_inspection();
        assert!(!nix::sys::prctl::get_dumpable().expect("Linux supports it"));
    }
}
