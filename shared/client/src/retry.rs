//! Retries: exponential delays with full jitter, until a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::ClientError;

/// The longest `Retry-After` of a server that is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Growing delays. Each is a random part of a bound that doubles up to a cap, so that many clients don't retry in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    bound: Duration,
}

impl Default for Backoff {
    /// From 200 ms to 10 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(10))
    }
}

impl Backoff {
    /// The first delay is at most `base`, every delay at most `cap`.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, bound: base }
    }

    /// The next delay.
    pub fn grow(&mut self) -> Duration {
        let delay = self.bound.mul_f64(fastrand::f64());
        self.bound = (self.bound * 2).min(self.cap);
        delay
    }

    /// Starts again at the base, after a success.
    pub fn reset(&mut self) {
        self.bound = self.base;
    }
}

/// Varies a time by up to a quarter, so that many clients don't poll in step.
#[must_use]
pub fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.75 + fastrand::f64() / 2.0)
}

/// Repeats a call until it succeeds, fails with an error that isn't transient ([`ClientError::is_transient`]), or `deadline`
/// has passed. The deadline is read after each failure, since a lease may have been renewed meanwhile; `None` means no deadline.
///
/// At least one call is made, the last one at the deadline, and the last error is returned.
pub async fn retry<T, F>(
    what: &str,
    deadline: impl Fn() -> Option<Instant>,
    call: impl FnMut() -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut warned = false;
    let left = |error: &ClientError| {
        let left = deadline().map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        if !left.is_zero() && !warned {
            warned = true;
            tracing::warn!("{what}: {error}; trying again");
        }
        left
    };
    retry_for(left, call).await
}

/// Repeats a call until it succeeds, fails with an error that isn't transient, or `left` returns zero. `left` gets each
/// transient error and returns the time that is left.
///
/// Between calls it waits for the backoff or for the server's `Retry-After`, whichever is longer, but not longer than the
/// time left.
pub async fn retry_for<T, F>(
    mut left: impl FnMut(&ClientError) -> Duration,
    mut call: impl FnMut() -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut backoff = Backoff::default();
    loop {
        let error = match call().await {
            Err(error) if error.is_transient() => error,
            answer => return answer,
        };
        let left = left(&error);
        if left.is_zero() {
            return Err(error);
        }
        sleep(backoff.grow().max(retry_after(&error)).min(left)).await;
    }
}

/// How long the server asked to wait before a repeat, at most a minute; zero if it didn't.
#[must_use]
pub fn retry_after(error: &ClientError) -> Duration {
    match error {
        ClientError::Refused { retry_after: Some(delay), .. } => (*delay).min(MAX_RETRY_AFTER),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn refused(status: u16) -> ClientError {
        let code = format!("http_{status}");
        ClientError::Refused { status, code, message: String::new(), details: None, retry_after: None }
    }

    #[test]
    fn delays_grow_to_the_cap_and_vary() {
        let mut delays = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
        let many: Vec<_> = (0..200).map(|_| delays.grow()).collect();
        assert!(many[0] <= Duration::from_secs(1));
        assert!(many.iter().all(|delay| *delay <= Duration::from_secs(8)));
        assert!(many.iter().any(|delay| *delay > Duration::from_secs(6)));
        assert!(many.iter().skip(4).any(|delay| *delay < Duration::from_secs(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn transient_errors_are_retried_and_others_returned_at_once() {
        let calls = Cell::new(0);
        let answer = retry(
            "test",
            || None,
            || {
                calls.set(calls.get() + 1);
                let answer = match calls.get() {
                    1 => Err(refused(503)),
                    2 => Err(refused(429)),
                    _ => Ok(7),
                };
                async { answer }
            },
        );
        assert_eq!((answer.await.expect("third try"), calls.get()), (7, 3));

        calls.set(0);
        let answer = retry(
            "test",
            || None,
            || {
                calls.set(calls.get() + 1);
                async { Err::<(), _>(refused(409)) }
            },
        );
        assert_eq!((answer.await.expect_err("final").status(), calls.get()), (Some(409), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_at_the_deadline_which_may_move() {
        let began = Instant::now();
        let deadline = Cell::new(began + Duration::from_secs(5));
        let answer = retry("test", || Some(deadline.get()), || async { Err::<(), _>(refused(503)) });
        assert_eq!(answer.await.expect_err("never answered").status(), Some(503));
        assert_eq!(began.elapsed().as_secs(), 5);

        let began = Instant::now();
        deadline.set(began + Duration::from_secs(5));
        let answer = retry(
            "test",
            || Some(deadline.get()),
            || {
                if began.elapsed() < Duration::from_secs(30) {
                    deadline.set(Instant::now() + Duration::from_secs(20));
                }
                async { Err::<(), _>(refused(503)) }
            },
        );
        answer.await.expect_err("never answered");
        assert!(began.elapsed() > Duration::from_secs(30));
    }
}
