//! Which logs somebody reads, for stores that one process has alone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::Millis;

use crate::ids::JobKey;

/// A note is dropped when a newer one ends this much later.
const KEPT: Duration = Duration::from_mins(1);

/// The attempts whose logs somebody reads. Kept in memory only: a process that starts again learns it from the next read.
#[derive(Debug, Default)]
pub struct FollowedLogs(Mutex<HashMap<(JobKey, u32), Millis>>);

impl FollowedLogs {
    /// Notes that somebody reads the log of an attempt until `until`.
    pub fn follow(&self, job: &JobKey, attempt: u32, until: Millis) {
        let mut notes = self.notes();
        notes.retain(|_, other| until.since(*other) < KEPT);
        notes.insert((job.clone(), attempt), until);
    }

    /// Returns until when somebody reads the log of an attempt.
    #[must_use]
    pub fn until(&self, job: &JobKey, attempt: u32) -> Option<Millis> {
        self.notes().get(&(job.clone(), attempt)).copied()
    }

    fn notes(&self) -> MutexGuard<'_, HashMap<(JobKey, u32), Millis>> {
        // No change is half done when something panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RunKey;

    #[test]
    fn newest_note_of_an_attempt_counts_and_old_ones_are_dropped() {
        let job = |index| JobKey { run: RunKey::new([1; 16]), index };
        let logs = FollowedLogs::default();
        logs.follow(&job(0), 0, Millis(1000));
        logs.follow(&job(1), 0, Millis(2000));
        logs.follow(&job(0), 0, Millis(3000));
        let until = |index, attempt| logs.until(&job(index), attempt);
        assert_eq!([until(0, 0), until(1, 0), until(0, 1)], [Some(Millis(3000)), Some(Millis(2000)), None]);
        logs.follow(&job(2), 0, Millis(62_000));
        assert_eq!([until(0, 0), until(1, 0), until(2, 0)], [Some(Millis(3000)), None, Some(Millis(62_000))]);
    }
}
