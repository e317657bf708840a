//! The worker of workflow-graph: claims jobs whose labels it has, runs them, reports their outputs.
//!
//! ```no_run
//! use workflow_graph_worker_sdk::{Worker, WorkerConfig};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! Worker::new(WorkerConfig::from_env()?).run().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Jobs are shell commands unless [`Worker::with_executor`] sets another executor. One process may run several workers.
//!
//! Each module uses only those above it.

#[cfg(not(unix))]
compile_error!("a worker needs process groups and signals: build for Linux or macOS; on Windows use WSL");

pub mod options;
pub mod reaper;
#[cfg(feature = "cli")]
pub mod signals;

pub mod config;
mod error;
mod sink;
mod stop;
mod terms;

mod executor;
mod lease;
mod pace;

mod logs;
pub mod shell;

mod attempts;

mod job;
mod source;
#[cfg(feature = "sqs")]
mod sqs;

mod worker;

#[cfg(feature = "cli")]
pub mod program;

pub use client::Token;
pub use config::{ConfigError, WorkerConfig};
pub use error::WorkerError;
pub use executor::{Context, Detached, Executor, Failure};
pub use protocol::Outputs;
pub use protocol::requests::Transport;
pub use protocol::wire::{QueuedJob as Job, Stream};
pub use shell::ShellExecutor;
pub use sink::LogSink;
pub use stop::{Shutdown, StopReason};
pub use worker::Worker;

/// The wire types.
pub use protocol;
