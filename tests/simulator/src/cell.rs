//! A stored item with its older versions, for eventual reads.

use std::collections::VecDeque;

use protocol::Millis;

use crate::faults::STALE;

/// The number of versions kept besides the newest.
pub(crate) const OLD_VERSIONS: usize = 4;

/// The current version of an item, or its absence, and older versions.
pub(crate) struct Cell<T> {
    now: Option<T>,
    /// Older versions, oldest first, each with the time of its replacement.
    past: VecDeque<(Option<T>, Millis)>,
}

impl<T> Default for Cell<T> {
    fn default() -> Self {
        Self { now: None, past: VecDeque::new() }
    }
}

impl<T> Cell<T> {
    pub(crate) fn now(&self) -> Option<&T> {
        self.now.as_ref()
    }

    pub(crate) fn set(&mut self, new: Option<T>, clock: Millis) {
        if self.past.len() == OLD_VERSIONS {
            self.past.pop_front();
        }
        self.past.push_back((self.now.take(), clock));
        self.now = new;
    }

    /// The version before the latest `writes` writes if an eventual read may still return it, else the newest.
    pub(crate) fn back(&self, writes: usize, clock: Millis) -> Option<&T> {
        let old = self.past.iter().rev().nth(writes.wrapping_sub(1));
        match old {
            Some((version, until)) if writes > 0 && clock.since(*until) <= STALE => version.as_ref(),
            _ => self.now(),
        }
    }

    /// The time of the latest write.
    pub(crate) fn written_at(&self) -> Option<Millis> {
        self.past.back().map(|(_, at)| *at)
    }

    /// Whether every read returns the newest version by now.
    pub(crate) fn is_fresh(&self, clock: Millis) -> bool {
        self.past.back().is_none_or(|(_, until)| clock.since(*until) > STALE)
    }
}
