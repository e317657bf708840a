//! What is decided about a delivery, and what a round over all that is due came to.

use protocol::Millis;

use crate::forge::change::Change;
use crate::forge::records::DeliveryState;
use crate::ports::Stored;

/// A change whose files are to be started.
pub(super) struct Start {
    pub change: Change,
    /// When it was accepted, or approved. A change that was accepted later takes its reports over, and its place in a group is before that of a
    /// later one.
    pub accepted_at: Millis,
    /// True if somebody approved the commit of a fork.
    pub approved: bool,
}

/// What became of a delivery.
pub(super) struct DeliveryOutcome {
    pub state: DeliveryState,
    pub reason: Option<String>,
    pub change: Option<Change>,
}

impl DeliveryOutcome {
    pub fn of(state: DeliveryState, reason: impl Into<String>) -> Self {
        Self { state, reason: Some(reason.into()), change: None }
    }

    pub fn ignored(reason: impl Into<String>) -> Self {
        Self::of(DeliveryState::Ignored, reason)
    }
}

/// What became of everything that was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DueRound {
    /// True if something was handled, or put off to a later time. Jobs may be ready.
    pub did: bool,
    /// True if something failed that may be due as before. The caller has to wait before the next round.
    pub failed: bool,
}

impl DueRound {
    pub(super) const DID: Self = Self { did: true, failed: false };
    pub(super) const FAILED: Self = Self { did: false, failed: true };

    /// Returns the keys that could be read. One that could not is logged and stays due, so the round has failed.
    pub(super) fn readable<K>(&mut self, due: Vec<Stored<K>>) -> Vec<K> {
        let mut keys = Vec::with_capacity(due.len());
        for key in due {
            match key {
                Ok(key) => keys.push(key),
                Err(error) => {
                    tracing::error!(%error, "something that is due can't be read; it is left out");
                    self.failed = true;
                }
            }
        }
        keys
    }

    /// Both rounds as one.
    pub(super) fn and(self, other: Self) -> Self {
        Self { did: self.did || other.did, failed: self.failed || other.failed }
    }
}
