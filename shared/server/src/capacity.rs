//! Limits of one process: requests at once, and bytes of their bodies. Excess requests are refused with 503.

use api::error::ApiError;
use engine::throttle::Throttle;
use http::StatusCode;
use protocol::{Millis, limits};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many requests, and how many bytes of their bodies, may be held at once.
pub struct Capacity {
    requests: Limit,
    bytes: Limit,
    log: Throttle,
}

struct Limit {
    free: Semaphore,
    all: usize,
}

impl Limit {
    fn new(all: usize) -> Self {
        Self { free: Semaphore::new(all), all }
    }

    fn take(&self, count: usize) -> Option<SemaphorePermit<'_>> {
        self.free.try_acquire_many(u32::try_from(count).ok()?).ok()
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self::new(limits::REQUESTS, limits::BODIES)
    }
}

impl Capacity {
    fn new(requests: usize, bytes: usize) -> Self {
        Self { requests: Limit::new(requests), bytes: Limit::new(bytes), log: Throttle::default() }
    }

    /// Admits a request until the returned value is dropped.
    pub fn request(&self) -> Result<Held<'_>, ApiError> {
        let limit = self.requests.all;
        let place = self.requests.take(1).ok_or_else(|| self.busy(&format!("{limit} requests are being answered")))?;
        Ok(Held { _place: place, capacity: self, body: None })
    }

    fn busy(&self, what: &str) -> ApiError {
        if let Some(suppressed) = self.log.pass(Millis::now()) {
            tracing::warn!(suppressed, "requests are refused: {what}, the most there may be at once");
        }
        let message = format!("{what}, the most there may be at once; repeat the request in a moment");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }
}

/// What a request holds until it is answered.
pub struct Held<'a> {
    _place: SemaphorePermit<'a>,
    capacity: &'a Capacity,
    body: Option<SemaphorePermit<'a>>,
}

impl Held<'_> {
    /// Reserves memory for more of its body.
    pub fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let Limit { all, .. } = self.capacity.bytes;
        let busy = || self.capacity.busy(&format!("{all} bytes of requests' bodies are held"));
        let more = self.capacity.bytes.take(bytes).ok_or_else(busy)?;
        match &mut self.body {
            Some(body) => body.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_bodies_over_the_limit_are_refused_until_others_are_answered() {
        let capacity = Capacity::new(2, 100);
        let mut first = capacity.request().expect("a place");
        first.grow(60).expect("room");
        first.grow(30).expect("room");
        let mut second = capacity.request().expect("a place");
        let refused = second.grow(11).expect_err("full");
        assert!(refused.status == 503 && refused.code == "busy" && refused.message.contains("100"), "{refused:?}");
        let refused = capacity.request().err().expect("full");
        assert!(refused.code == "busy" && refused.message.contains("2 requests"), "{refused:?}");
        drop(first);
        second.grow(100).expect("room again");
        capacity.request().expect("a place again");
    }
}
