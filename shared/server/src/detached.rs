//! A future that its caller can't cut off.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that goes on in a task of its own if it is dropped before it has ended. While its caller waits, it costs no task.
pub struct Detached<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output: Send> + Send + 'static;

impl<F: Future<Output: Send> + Send + 'static> Detached<F> {
    /// Wraps a future. It begins when it is first polled.
    pub fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Detached<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Detached<F> {
    fn drop(&mut self) {
        // Without a runtime the process ends.
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::{Duration, timeout};

    use super::*;

    #[tokio::test]
    async fn future_that_was_dropped_goes_on() {
        let (go, begun) = oneshot::channel::<()>();
        let (end, done) = oneshot::channel();
        let mut future = Box::pin(Detached::new(async move {
            let _ = begun.await;
            end.send(()).expect("the test waits");
        }));
        assert!(futures::poll!(&mut future).is_pending());
        drop(future);
        go.send(()).expect("the future waits");
        timeout(Duration::from_secs(10), done).await.expect("it goes on").expect("to its end");
    }
}
