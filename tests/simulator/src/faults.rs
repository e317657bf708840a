//! The faults of a world and their probabilities.

use std::time::Duration;

use crate::rng::Rng;

/// The greatest age of an eventual read.
pub(crate) const STALE: Duration = Duration::from_secs(4);

/// The probabilities of faults, each per opportunity.
#[derive(Clone, Debug)]
pub(crate) struct FaultConfig {
    /// A handler dies before a call on a port.
    pub(crate) kill: f64,
    /// A write's answer is lost, and the client library sends the write again.
    pub(crate) lost_answer: f64,
    /// A call is answered "unavailable", whether or not it was executed.
    pub(crate) unavailable: f64,
    /// A caller never receives the answer to a request that was executed.
    pub(crate) dropped_answer: f64,
    /// An eventual read returns an old version.
    pub(crate) stale: f64,
    /// A handler pauses before a call.
    pub(crate) pause: f64,
    /// A message, batch or request is repeated.
    pub(crate) repeat: f64,
    /// The largest error of a clock in milliseconds, in both directions.
    pub(crate) skew: u64,
    /// Messages and change events may be lost. Then only the final state of each run is promised.
    pub(crate) lossy: bool,
    /// The weight of workers' misbehaviour.
    pub(crate) misbehaviour: f64,
    /// The good worker also acts before the drain.
    pub(crate) helped: bool,
    /// A report is a failure.
    pub(crate) failure: f64,
    /// A client's request is a cancel.
    pub(crate) cancel: f64,
    /// A client's request is a delete.
    pub(crate) delete: f64,
    /// A step continues a handler that has begun.
    pub(crate) busy: f64,
    /// A repository of a forge is linked.
    pub(crate) linked: bool,
    /// A delivery of the forge is lost, unless it is the last of its ref.
    pub(crate) delivery_lost: f64,
    /// The forge answers with where a ref was before its last push, for some seconds.
    pub(crate) lag: f64,
    /// A state that the forge is sent has no answer: it is lost, or lands later.
    pub(crate) no_answer: f64,
    /// The forge can't be asked now.
    pub(crate) forge_busy: f64,
    /// No credential can be minted.
    pub(crate) no_credential: f64,
}

impl FaultConfig {
    pub(crate) fn of(rng: &mut Rng) -> Self {
        Self {
            kill: rng.pick(&[0.0, 0.0, 0.004, 0.015, 0.04]),
            lost_answer: rng.pick(&[0.0, 0.0, 0.01, 0.03]),
            unavailable: rng.pick(&[0.0, 0.0, 0.0, 0.01]),
            dropped_answer: rng.pick(&[0.0, 0.0, 0.02, 0.1]),
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
            linked: rng.chance(0.3),
            delivery_lost: rng.pick(&[0.0, 0.1, 0.3]),
            lag: rng.pick(&[0.0, 0.5]),
            no_answer: rng.pick(&[0.0, 0.1, 0.3]),
            forge_busy: rng.pick(&[0.0, 0.0, 0.1]),
            no_credential: rng.pick(&[0.0, 0.1, 0.5]),
        }
    }
}
