//! The port of groups: who has a group, and who waits for it.

use std::future::Future;

use protocol::Millis;

use super::{Consistency, Stored};
use crate::ids::{GroupKey, Unit};

/// The place of a job or a run that waits for its turn in a group. Places are ordered by time, then by the unit's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// When the unit began to wait.
    pub at: Millis,
    /// Who waits.
    pub unit: Unit,
    /// True if the unit is a run that a newer run of the group cancels.
    pub yields: bool,
}

impl Place {
    /// What places are ordered by.
    #[must_use]
    pub fn order(&self) -> (Millis, String) {
        (self.at, self.unit.text())
    }
}

/// Groups of jobs and of runs.
pub trait GroupStore: Send + Sync {
    /// Adds a place. A repeated call has no further effect.
    fn put_place(&self, group: &GroupKey, place: &Place) -> impl Future<Output = Stored<()>> + Send;
    /// Removes a place, if it exists.
    fn remove_place(&self, group: &GroupKey, place: &Place) -> impl Future<Output = Stored<()>> + Send;
    /// Returns the places in their order, after this one: at most `most`, and as many as one read returns. Strongly
    /// consistent. An empty result means that no places are left.
    fn places(
        &self,
        group: &GroupKey,
        after: Option<&Place>,
        most: usize,
    ) -> impl Future<Output = Stored<Vec<Place>>> + Send;
    /// Returns the unit that has the group, or had it last.
    fn holder(&self, group: &GroupKey, how: Consistency) -> impl Future<Output = Stored<Option<Unit>>> + Send;
    /// Gives the group to `next` if `before` still has it. Returns true if `next` has the group afterwards, also if it had
    /// it before.
    fn hold(&self, group: &GroupKey, before: Option<&Unit>, next: &Unit) -> impl Future<Output = Stored<bool>> + Send;
}
