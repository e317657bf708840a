//! The result of a call on a store or a queue. [`ports`](crate::ports) exports it.

use crate::ids::JobKey;

/// Why a store or queue call failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Throttled, unreachable or timed out. A retry may succeed. A write may have been applied.
    #[error("the store did not answer: {0}")]
    Unavailable(String),
    /// A record has a form that the engine doesn't write.
    #[error("a stored record can't be read: {0}")]
    Corrupt(String),
    /// The disk of a local store is full. Carries the path of the file that could not grow. Nothing was written.
    #[error("the disk that holds {0} is full; make room there, then repeat the request")]
    DiskFull(String),
}

impl StoreError {
    /// The outputs that a job's record names don't exist.
    #[must_use]
    pub fn outputs_missing(job: &JobKey) -> Self {
        Self::Corrupt(format!("the outputs of job {job} are missing"))
    }
}

/// The result of a port call.
pub type Stored<T> = Result<T, StoreError>;
