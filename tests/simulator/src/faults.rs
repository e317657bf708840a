//! What a world is like: which faults it has, and how often.

use std::time::Duration;

use crate::rng::Rng;

/// An eventual read is at most this old.
pub(crate) const STALE: Duration = Duration::from_secs(4);

/// How often what goes wrong. Probabilities are for each chance there is.
#[derive(Clone, Debug)]
pub(crate) struct FaultConfig {
    /// A handler dies before a call on a port.
    pub(crate) kill: f64,
    /// A write's answer is lost, and the client library sends it again.
    pub(crate) lost_answer: f64,
    /// A call is answered "unavailable", whether or not it was done.
    pub(crate) unavailable: f64,
    /// A caller never gets the answer of a request that was done.
    pub(crate) unheard: f64,
    /// An eventual read is old.
    pub(crate) stale: f64,
    /// A handler pauses before a call.
    pub(crate) pause: f64,
    /// A message, batch or request is repeated.
    pub(crate) repeat: f64,
    /// Clocks are off by up to this many milliseconds either way.
    pub(crate) skew: u64,
    /// Messages and records of the change feed may be lost: only what a run ends as is promised.
    pub(crate) lossy: bool,
    /// How much workers misbehave.
    pub(crate) misbehaviour: f64,
    /// The good worker doesn't wait until everything else is quiet.
    pub(crate) helped: bool,
    /// A report says that the job failed.
    pub(crate) failure: f64,
    /// A client that does something cancels.
    pub(crate) cancel: f64,
    /// A client that does something deletes.
    pub(crate) delete: f64,
    /// A step of the simulation goes to what is under way already.
    pub(crate) busy: f64,
}

impl FaultConfig {
    pub(crate) fn of(rng: &mut Rng) -> Self {
        Self {
            kill: rng.pick(&[0.0, 0.0, 0.004, 0.015, 0.04]),
            lost_answer: rng.pick(&[0.0, 0.0, 0.01, 0.03]),
            unavailable: rng.pick(&[0.0, 0.0, 0.0, 0.01]),
            unheard: rng.pick(&[0.0, 0.0, 0.02, 0.1]),
            stale: rng.pick(&[0.0, 0.3, 0.7]),
            pause: rng.pick(&[0.0, 0.01, 0.03]),
            repeat: rng.pick(&[0.0, 0.05, 0.2]),
            skew: rng.pick(&[0, 0, 0, 1000]),
            lossy: rng.chance(0.1),
            misbehaviour: rng.pick(&[0.0, 0.2, 1.0, 2.0]),
            helped: rng.chance(0.5),
            failure: rng.pick(&[0.0, 0.1, 0.3]),
            cancel: rng.pick(&[0.0, 0.05, 0.2, 0.5]),
            delete: rng.pick(&[0.0, 0.0, 0.1, 0.3]),
            busy: rng.pick(&[0.45, 0.62, 0.62, 0.8]),
        }
    }
}
