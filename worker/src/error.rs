//! Errors of a worker as a whole.

use client::ClientError;

use crate::config::ConfigError;

/// Why a worker can't run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A setting can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server's address can't be used.
    #[error(transparent)]
    Client(ClientError),
    /// The server refused to register the worker.
    #[error("the server refused to register this worker: {0}")]
    Refused(ClientError),
}
