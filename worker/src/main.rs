//! `workflow-graph-worker`: takes jobs whose labels it covers, and runs them.

use std::process::ExitCode;

use clap::Parser;
use workflow_graph_worker_sdk::args::{self, WorkerArgs};

/// Takes jobs whose labels are all among its own, runs them, and reports what they gave.
///
/// SIGTERM or SIGINT: takes nothing new, finishes what runs, exits. A second one stops what runs.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    worker: WorkerArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    args::run(Cli::parse().worker).await
}
