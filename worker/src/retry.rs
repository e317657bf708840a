//! Trying again: exponential delays with full jitter, until a deadline.

use std::time::Duration;

use tokio::time::Instant;

use ::client::ClientError;

/// The longest a server's `Retry-After` is followed.
const LONGEST_ASKED: Duration = Duration::from_mins(1);

/// Growing delays: each a random part of a bound that doubles up to a cap, so that many workers don't come back as one.
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
    /// Bounded by `base` at first, by `cap` in the end.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, bound: base }
    }

    /// The next delay.
    pub fn grow(&mut self) -> Duration {
        let delay = self.bound.mul_f64(random_fraction());
        self.bound = (self.bound * 2).min(self.cap);
        delay
    }

    /// Begins again at the base, after a success.
    pub fn reset(&mut self) {
        self.bound = self.base;
    }
}

/// Calls until the answer is a success or a refusal that stands ([`ClientError::is_transient`]), or until the time that
/// `deadline` gives, which is asked anew each time since a lease may be renewed meanwhile. `None` is for ever.
///
/// The first call is made in any case, and the last error is returned.
pub async fn retry<T, F>(
    what: &str,
    deadline: impl Fn() -> Option<Instant>,
    mut call: impl FnMut() -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut delays = Backoff::default();
    let mut told = false;
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) if !error.is_transient() => return Err(error),
            Err(error) => error,
        };
        let now = Instant::now();
        let left = deadline().map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now));
        if left.is_zero() {
            return Err(error);
        }
        // The last try is made at the deadline, whatever the delay would have been.
        let delay = delays.grow().max(asked_delay(&error)).min(left);
        if !told {
            told = true;
            tracing::warn!("{what}: {error}; trying again");
        }
        tokio::time::sleep(delay).await;
    }
}

fn asked_delay(error: &ClientError) -> Duration {
    match error {
        ClientError::Refused { retry_after: Some(delay), .. } => (*delay).min(LONGEST_ASKED),
        _ => Duration::ZERO,
    }
}

/// Evenly spread between 0 and 1.
pub(crate) fn random_fraction() -> f64 {
    // Without randomness the delays only lose their jitter.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(random) / f64::from(u32::MAX)
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
    fn delays_grow_to_the_cap_and_are_spread() {
        let mut delays = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
        let many: Vec<_> = (0..200).map(|_| delays.grow()).collect();
        assert!(many[0] <= Duration::from_secs(1));
        assert!(many.iter().all(|delay| *delay <= Duration::from_secs(8)));
        assert!(many.iter().any(|delay| *delay > Duration::from_secs(6)));
        assert!(many.iter().skip(4).any(|delay| *delay < Duration::from_secs(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_what_stands_is_returned_at_once() {
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
        assert_eq!((answer.await.expect_err("stands").status(), calls.get()), (Some(409), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_the_tries_and_may_move() {
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
