//! A stored item that remembers what it was.

use std::collections::VecDeque;

use protocol::Millis;

use crate::faults::STALE;

/// Versions kept besides the newest.
pub(crate) const KEPT: usize = 4;

/// An item, or that there is none; and what it was before.
pub(crate) struct Cell<T> {
    now: Option<T>,
    /// Oldest first, each with when it was replaced.
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
        if self.past.len() == KEPT {
            self.past.pop_front();
        }
        self.past.push_back((self.now.take(), clock));
        self.now = new;
    }

    /// The version so many writes ago, if it was still the newest a moment ago; else the newest.
    pub(crate) fn back(&self, writes: usize, clock: Millis) -> Option<&T> {
        let old = self.past.iter().rev().nth(writes.wrapping_sub(1));
        match old {
            Some((version, until)) if writes > 0 && clock.since(*until) <= STALE => version.as_ref(),
            _ => self.now(),
        }
    }

    /// When it became what it is now.
    pub(crate) fn written_at(&self) -> Option<Millis> {
        self.past.back().map(|(_, at)| *at)
    }

    /// Whether every read gives the newest by now.
    pub(crate) fn is_settled(&self, clock: Millis) -> bool {
        self.past.back().is_none_or(|(_, until)| clock.since(*until) > STALE)
    }
}
