//! What is decided about a delivery.

use protocol::Millis;

use crate::forge::change::Change;
use crate::forge::records::DeliveryState;

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
