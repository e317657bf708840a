//! Work that goes on without the client that asked for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;

/// A future that runs in the caller's task. If the caller is dropped before it ends, it goes on in a task of its own.
///
/// A task for each request would do the same, but costs two changes of task and often the wake-up of a thread.
pub struct Persistent<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> Persistent<T> {
    pub fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for Persistent<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let work = self.0.as_mut().expect("not polled after its end");
        let output = ready!(work.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<T: Send + 'static> Drop for Persistent<T> {
    fn drop(&mut self) {
        // Without a runtime the process is ending.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn dropped_work_goes_on_to_its_end() {
        let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (its_go, its_done) = (Arc::clone(&go), Arc::clone(&done));
        let mut work = Persistent::new(async move {
            its_go.notified().await;
            its_done.notify_one();
        });
        assert!(futures::poll!(&mut work).is_pending());
        drop(work);
        go.notify_one();
        done.notified().await;
    }

    #[tokio::test]
    async fn work_that_was_never_polled_runs_too() {
        let done = Arc::new(Notify::new());
        let its_done = Arc::clone(&done);
        drop(Persistent::new(async move { its_done.notify_one() }));
        done.notified().await;
    }

    #[tokio::test]
    async fn work_that_has_ended_is_not_repeated() {
        let mut work = Persistent::new(async { 7 });
        assert_eq!((&mut work).await, 7);
        assert!(work.0.is_none());
    }
}
