use tokio::task::{JoinError, JoinHandle};

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct AbortOnDrop<T>(JoinHandle<T>);

impl<T: Send + 'static> AbortOnDrop<T> {
    pub fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    /// Waits for its end. May be dropped and called again.
    pub async fn ended(&mut self) -> Result<T, JoinError> {
        (&mut self.0).await
    }

    /// Waits for its end, if it has one of its own.
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
