//! Ports for time and randomness. The caller gives both to the [`Engine`](crate::Engine); stores use neither.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::Millis;

use crate::ids::{self, Random};

/// Returns the time.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Millis;
}

/// Returns random bits for ids, leases and tokens.
pub trait Rng: Send + Sync {
    /// Returns 128 random bits that can't be guessed.
    fn random(&self) -> Random;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        Millis::now()
    }
}

/// The operating system's random bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRng;

impl Rng for OsRng {
    fn random(&self) -> Random {
        ids::random()
    }
}

/// The machine's clock plus an offset that a test can increase.
#[derive(Debug, Default)]
pub struct ManualClock {
    /// The offset in milliseconds.
    ahead: AtomicU64,
}

impl ManualClock {
    /// Moves the clock forward.
    pub fn advance(&self, time: Duration) {
        self.ahead.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis::now() + Duration::from_millis(self.ahead.load(Ordering::Relaxed))
    }
}
