//! The worker of workflow-graph: claims jobs whose labels it covers, runs them, reports what they gave.
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
//! Jobs are shell commands unless [`Worker::with_executor`] says otherwise. Several workers may live in one process.
//! [`Client`] is the HTTP API for any program.

#[cfg(feature = "cli")]
pub mod args;
pub mod config;
pub mod executor;
mod job;
mod lease;
pub mod logs;
mod masks;
pub mod retry;
pub mod shell;
mod source;
#[cfg(feature = "sqs")]
mod sqs;
mod task;
mod worker;

pub use ::client::{Client, ClientError};
pub use config::{ConfigError, Token, WorkerConfig};
pub use executor::{Context, Executor, Failure, StopReason};
pub use protocol::Outputs;
pub use protocol::requests::Transport;
pub use protocol::wire::{QueuedJob as Job, Stream};
pub use shell::ShellExecutor;
pub use worker::{Shutdown, Worker, WorkerError};

/// The wire types.
pub use protocol;
