//! The rules of workflow-graph: from a definition to a finished run.
//!
//! What is decided is decided by pure functions on records ([`job`], [`run`], [`plan`], [`why`]). What is done is a
//! sequence of calls on the [`ports`], written so that stopping between any two loses nothing: each use case is a
//! module with methods on [`Engine`]. A store, a queue and a clock are what an adapter brings; [`memory`] is one.

pub mod access;
pub mod audit;
pub mod batch;
pub mod cancel;
pub mod change;
pub mod claim;
pub mod error;
pub mod finish;
mod forward;
pub mod ids;
pub mod job;
pub mod local;
pub mod logs;
mod next_claim;
pub mod plan;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
mod planted;
pub mod ports;
pub mod promote;
pub mod report;
pub mod run;
mod secrets;
pub mod start;
pub mod submit;
pub mod timer;
pub mod view;
pub mod why;
pub mod workers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use access::{Grant, TokenRecord};
pub use error::{EngineError, Result};
use ids::{JobKey, LeaseToken, Random};
use ports::{Pool, Ports, WorkerRecord};
use protocol::{Millis, TokenName, WorkerId};

/// The use cases over some ports, for a caller. Cheap to clone; clones share what they know.
pub struct Engine<P> {
    ports: Arc<P>,
    known: Arc<Mutex<Cache>>,
    tuning: Tuning,
    caller: Arc<Grant>,
}

/// Where work is split. Smaller numbers than the usual ones let small graphs, in a simulation for one, reach every case.
/// All who work on the same store must agree on `shard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Dependents promoted before a completion is answered; the change feed promotes the rest.
    pub inline_promotions: usize,
    /// Writes after which a step of long work ends and asks for the next.
    pub batch_writes: usize,
    /// A job with more needs than this waits for shards of this many, so that its own record stays small.
    pub shard: usize,
    /// Broken on purpose, to show that a simulation finds it.
    #[cfg(feature = "planted")]
    pub planted: Option<planted::Bug>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            inline_promotions: 16,
            batch_writes: 500,
            shard: 200,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

/// What this process has read lately and may use again.
#[derive(Default)]
struct Cache {
    pools: Option<(Millis, Arc<Vec<Pool>>)>,
    workers: HashMap<WorkerId, WorkerRecord>,
    running: Option<(Millis, Arc<workers::Running>)>,
    names: view::Names,
    tokens: HashMap<TokenName, (Millis, TokenRecord)>,
    refused: audit::Refused,
    secrets: secrets::CachedSecrets,
}

impl<P> Clone for Engine<P> {
    fn clone(&self) -> Self {
        Self {
            ports: Arc::clone(&self.ports),
            known: Arc::clone(&self.known),
            tuning: self.tuning,
            caller: Arc::clone(&self.caller),
        }
    }
}

impl<P: Ports> Engine<P> {
    /// An engine over these ports, for callers that may do everything.
    #[must_use]
    pub fn new(ports: P) -> Self {
        Self::tuned(ports, Tuning::default())
    }

    /// An engine that splits work as told.
    #[must_use]
    pub fn tuned(ports: P, tuning: Tuning) -> Self {
        Self { ports: Arc::new(ports), known: Arc::default(), tuning, caller: Arc::new(Grant::open()) }
    }

    /// The same engine, for a caller that may do this.
    #[must_use]
    pub fn acting_for(&self, caller: Grant) -> Self {
        Self { caller: Arc::new(caller), ..self.clone() }
    }

    /// What the caller may do.
    #[must_use]
    pub fn caller(&self) -> &Grant {
        &self.caller
    }

    /// A lease of the caller's.
    fn new_lease(&self, job: JobKey, attempt: u32, random: Random) -> LeaseToken {
        LeaseToken::new(job, attempt, random, self.caller.principal().clone())
    }

    /// Reads a lease id that the caller shows.
    fn lease(&self, text: &str) -> Option<LeaseToken> {
        LeaseToken::parse(text, self.caller.principal())
    }

    /// The ports.
    #[must_use]
    pub fn ports(&self) -> &P {
        &self.ports
    }

    fn known(&self) -> MutexGuard<'_, Cache> {
        // What is known is only ever a copy of something stored: a panic elsewhere can't have left it wrong.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
