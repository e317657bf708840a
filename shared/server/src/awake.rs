//! Keeps a thread that serves connections awake for a moment after each answer.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::yield_now;

/// How long a thread looks for the next request before it sleeps. A client that waits for each answer has often sent it by then, and to
/// wake a sleeping processor takes longer, and more of its time.
const LOOKS: Duration = Duration::from_micros(30);

thread_local! {
    static ANSWERED: Arc<Notify> = Arc::default();
}

/// Reports that an answer was sent on this thread.
pub fn answered() {
    ANSWERED.with(|answered| answered.notify_one());
}

/// Whether an answer was reported on this thread since the last call.
#[cfg(test)]
pub fn was_answered() -> bool {
    use futures::FutureExt;

    ANSWERED.with(|answered| answered.notified().now_or_never().is_some())
}

/// Keeps this thread awake for [`LOOKS`] after each answer. Other threads that want the processor have it first.
pub async fn after_answers() {
    let answered = ANSWERED.with(Arc::clone);
    loop {
        answered.notified().await;
        let until = Instant::now() + LOOKS;
        while Instant::now() < until {
            thread::yield_now();
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Context;

    use futures::task::{ArcWake, waker};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl ArcWake for Woken {
        fn wake_by_ref(woken: &Arc<Self>) {
            woken.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn thread_stays_awake_for_a_moment_after_each_answer_and_then_sleeps() {
        let woken = Arc::new(Woken::default());
        let waker = waker(Arc::clone(&woken));
        let mut awake = pin!(after_answers());
        // Whether it asks to be polled again.
        let mut asks = || {
            woken.0.store(false, Ordering::Relaxed);
            assert!(awake.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            woken.0.load(Ordering::Relaxed)
        };
        assert!(!asks(), "nothing was answered");
        for _ in 0..2 {
            answered();
            let began = Instant::now();
            while asks() {}
            assert!(began.elapsed() >= LOOKS);
            assert!(!asks(), "it sleeps");
        }
    }
}
