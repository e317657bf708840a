//! Runs a worker as a program: `workflow-graph-worker` and `wfg worker`.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::WorkerConfig;
use crate::stop::Shutdown;
use crate::worker::Worker;

/// Runs a worker until it ends or a signal ends it.
///
/// It logs to standard error at the level that `RUST_LOG` names. The first SIGTERM or SIGINT drains it, the second stops its
/// jobs. The exit code is 0, or 2 if the worker couldn't run.
///
/// On Linux the process makes its memory and environment, which contain its token, unreadable for its jobs, which run as the
/// same user.
pub async fn run(config: WorkerConfig) -> ExitCode {
    forbid_inspection();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Fails only if the program has a subscriber already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .try_init();
    let worker = Worker::new(config);
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

/// Denies other processes of this user the access to this process's memory and environment.
fn forbid_inspection() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!("jobs can read the memory of this process: prctl failed: {error}");
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
            tracing::info!("shutting down: running jobs may finish; a second signal stops them");
            shutdown.drain();
        } else {
            tracing::info!("stopping running jobs");
            shutdown.stop();
        }
    }
    // Later signals have no effect: the worker must outlive its jobs.
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
    fn jobs_cannot_inspect_the_worker() {
        super::forbid_inspection();
        assert!(!nix::sys::prctl::get_dumpable().expect("Linux supports it"));
    }
}
