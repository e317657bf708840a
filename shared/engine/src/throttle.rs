//! Limits how often one kind of log line is written.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::Millis;

/// Lets one log line of a kind pass in a given time, and counts the others.
#[derive(Debug)]
pub struct Throttle {
    every: Duration,
    last: Mutex<Option<Passed>>,
}

/// The time of the last line that passed, and the number of lines suppressed since.
#[derive(Clone, Copy, Debug)]
struct Passed {
    at: Millis,
    suppressed: u64,
}

/// One line a minute.
impl Default for Throttle {
    fn default() -> Self {
        Self::every(Duration::from_mins(1))
    }
}

impl Throttle {
    /// Lets one line pass in this time.
    #[must_use]
    pub const fn every(every: Duration) -> Self {
        Self { every, last: Mutex::new(None) }
    }

    /// Decides whether a line is written. Returns the number of lines suppressed since the last one, or `None` if this
    /// one is suppressed too.
    pub fn pass(&self, now: Millis) -> Option<u64> {
        // A value is replaced as a whole.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(passed) = last.as_mut().filter(|passed| now.since(passed.at) < self.every) {
            passed.suppressed += 1;
            return None;
        }
        let before = last.replace(Passed { at: now, suppressed: 0 });
        Some(before.map_or(0, |passed| passed.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_its_time_passes_and_says_how_many_were_suppressed() {
        let log = Throttle::every(Duration::from_secs(10));
        assert_eq!(log.pass(Millis(5_000)), Some(0), "the first at once");
        let passed = (0..100).filter(|n| log.pass(Millis(5_000 + n * 99)).is_some()).count();
        assert_eq!(passed, 0);
        assert_eq!(log.pass(Millis(15_000)), Some(100));
        assert_eq!(log.pass(Millis(15_001)), None);
        assert_eq!(log.pass(Millis(99_000)), Some(1));
    }
}
