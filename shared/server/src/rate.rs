//! Limits how often one client may ask: one rate for each token, and for each address that sends none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use api::error::ApiError;
use engine::throttle::Throttle;
use http::StatusCode;
use protocol::{Millis, TokenName, limits};
use tokio::time::Instant;

/// Clients that are remembered. Those that haven't asked lately are forgotten first.
const CLIENTS: usize = 10_000;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    Token(TokenName),
    Address(IpAddr),
}

/// How often each client asked.
#[derive(Default)]
pub struct Rates {
    /// When the client may send a whole burst again. It moves on with each request.
    rested_at: Mutex<HashMap<Caller, Instant>>,
    log: Throttle,
}

impl Rates {
    /// Counts a request.
    ///
    /// # Errors
    /// 429, if the client has sent too many.
    pub fn count(&self, caller: Caller) -> Result<(), ApiError> {
        let (rate, burst) = (limits::REQUESTS_PER_SECOND, limits::REQUEST_BURST);
        let interval = Duration::from_secs(1) / rate;
        let now = Instant::now();
        // A time is replaced as a whole.
        let mut rested_at = self.rested_at.lock().unwrap_or_else(PoisonError::into_inner);
        if rested_at.len() >= CLIENTS && !rested_at.contains_key(&caller) {
            rested_at.retain(|_, at| *at > now);
            if rested_at.len() >= CLIENTS {
                rested_at.clear();
            }
        }
        let at = rested_at.entry(caller).or_insert(now);
        let next = (*at).max(now) + interval;
        if next <= now + interval * burst {
            *at = next;
            return Ok(());
        }
        let message = format!("one token or address may send {rate} requests per second, and {burst} at once");
        if let Some(suppressed) = self.log.pass(Millis::now()) {
            tracing::warn!(suppressed, "requests are refused: {message}");
        }
        Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn client_over_its_rate_is_refused_and_others_are_not() {
        let rates = Rates::default();
        let caller = |last| Caller::Address([10, 0, 0, last].into());
        for _ in 0..limits::REQUEST_BURST {
            rates.count(caller(1)).expect("within the burst");
        }
        let refused = rates.count(caller(1)).expect_err("over it");
        assert_eq!((refused.status.as_u16(), refused.code), (429, "too_many_requests"));
        assert!(refused.message.contains(&limits::REQUESTS_PER_SECOND.to_string()), "{}", refused.message);
        rates.count(caller(2)).expect("another client");
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..limits::REQUESTS_PER_SECOND {
            rates.count(caller(1)).expect("refilled");
        }
        rates.count(caller(1)).expect_err("over it again");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_clients_are_forgotten_and_busy_ones_are_not() {
        let rates = Rates::default();
        let busy = Caller::Address([255, 255, 255, 255].into());
        let later = Instant::now() + Duration::from_hours(1);
        rates.rested_at.lock().expect("not poisoned").insert(busy.clone(), later);
        for n in 0..3 * u32::try_from(CLIENTS).expect("small") {
            rates.count(Caller::Address(std::net::Ipv4Addr::from_bits(n).into())).expect("its first");
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(rates.rested_at.lock().expect("not poisoned").len() <= CLIENTS);
        rates.count(busy).expect_err("it isn't forgotten");
    }
}
