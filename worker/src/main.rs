//! The program `workflow-graph-worker`: claims jobs whose labels it has, and runs them.

use std::process::ExitCode;

use clap::Parser;
use workflow_graph_worker_sdk::{WorkerConfig, options, program};

/// Claims jobs whose labels are all among its own, runs them, and reports their outputs
///
/// SIGTERM or SIGINT: claims no more jobs, finishes running ones, exits. A second signal, or another one such as SIGHUP, stops
/// running jobs. Times are written 90s, 500ms, 30m or 6h; without a unit they are in seconds.
///
/// Exit code: 0, or 2 if a setting can't be used or the server refuses the worker.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    config: WorkerConfig,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::run(options::parse::<Cli>().config).await
}
