//! Background tasks that are aborted with their owner.

use tokio::task::{JoinError, JoinHandle};

/// A task that is aborted when this is dropped.
#[derive(Debug)]
pub(crate) struct AbortOnDrop<T>(JoinHandle<T>);

impl<T: Send + 'static> AbortOnDrop<T> {
    pub fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    /// Waits for the task to end. Cancel safe.
    pub async fn ended(&mut self) -> Result<T, JoinError> {
        (&mut self.0).await
    }

    /// Waits for the task to end and logs a panic.
    pub async fn join(mut self) {
        if let Err(error) = self.ended().await {
            tracing::error!("{error}");
        }
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
