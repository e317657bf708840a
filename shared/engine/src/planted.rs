//! Bugs that a simulation plants on purpose, to show that it would find them. There are none without the feature
//! `planted`, which only the simulator enables.

use crate::Engine;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A need that isn't among those that a job waits for counts as done with.
    AbsentMeansDone,
    /// Dependents are promoted before the write that ends what they need.
    PromoteBeforeWrite,
    /// A run is closed by what an eventual read shows.
    WeakFinish,
    /// Whoever looks at a run says so only afterwards.
    TimerClearedLate,
}

impl<P> Engine<P> {
    #[cfg(feature = "planted")]
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.tuning.planted == Some(bug)
    }

    #[cfg(not(feature = "planted"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn has(&self, _bug: Bug) -> bool {
        false
    }
}
