//! Errors of a worker as a whole.

use client::ClientError;

use crate::config::ConfigError;

/// Why a worker can't run. The texts name the flags and variables of the worker's program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A setting can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server's address or the token can't be used.
    #[error("{}", unusable(.0))]
    Client(ClientError),
    /// The server refused to register the worker.
    #[error("the server refused to register this worker: {}", refused(.0))]
    Refused(ClientError),
}

fn unusable(error: &ClientError) -> String {
    match error {
        ClientError::BadServer { .. } => format!("{error}; it comes from --server or SERVER_URL"),
        ClientError::BadToken => format!("{error}; it comes from --token or WORKER_TOKEN"),
        _ => error.to_string(),
    }
}

fn refused(error: &ClientError) -> String {
    match error.status() {
        Some(401 | 403) => {
            format!("{error}; give a token with the scope `work` and this worker's labels with --token or WORKER_TOKEN")
        }
        _ => error.to_string(),
    }
}
