//! The rules of workflow-graph: from a definition to a finished run.
//!
//! Decisions are pure functions on records ([`job`], [`run`], [`plan`], [`why`]). A use case is a sequence of calls on
//! the [`ports`], ordered so that a crash between any two calls loses nothing. Each use case is a type of its own,
//! such as [`Claims`] or [`Reports`], whose bounds name the ports that it uses. [`Engine`] assembles them.
//!
//! The groups of modules below are layers. A module uses only modules of the groups above it, the types of this file,
//! and, through these types, methods of the same layer.

// Names, time and caches.
mod cache;
pub mod ids;
pub mod throttle;

pub mod clock;

// Records and their changes. Pure.
pub mod job;
pub mod run;
pub mod token;

// Messages of the queues and the change feed.
pub mod messages;

// The result of a call on a store. What is pure about forges. Ports and errors.
mod stored;

pub mod forge;

pub mod ports;

pub mod error;

// Permissions, and pure decisions on several records.
pub mod access;
pub mod plan;
pub mod stacks;

pub mod eligibility;
mod held;
mod payload;

#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
mod planted;

// Steps that use cases share.
mod checkout;
mod records;
mod secrets;
mod timer;

mod finish;
mod group;
mod promote;

// Use cases.
pub mod audit;
pub mod batch;
pub mod cancel;
pub mod change;
pub mod claim;
pub mod expire;
pub mod fleet;
pub mod local;
pub mod submit;
pub mod workers;

mod next_claim;
pub mod start;
pub mod why;

mod group_view;
pub mod logs;
pub mod report;
pub mod view;

pub mod forges;

use std::sync::Arc;
use std::time::Duration;

use access::Grant;
use clock::{Clock, OsRng, Rng, SystemClock};
pub use error::{EngineError, Result};
use forge::checkout::CheckoutSource;
use forge::ports::Forge;
use ids::{JobKey, LeaseToken, Random};
use ports::SecretStore;
use protocol::{Millis, Secrets, limits};
use throttle::Throttle;

/// All use cases over some ports, acting for a caller. A clone is cheap and shares the caches.
///
/// The ports store records and send messages. Time, randomness and secrets are separate.
pub struct Engine<P> {
    ports: Arc<P>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    secrets: Arc<dyn SecretStore>,
    checkouts: Option<Arc<dyn CheckoutSource>>,
    forges: Option<Arc<dyn Forge>>,
    public_url: Option<Arc<str>>,
    caches: Arc<Caches>,
    tuning: Tuning,
    caller: Arc<Grant>,
}

/// Batch sizes and cache times. Small values let small graphs in a simulation reach every case. All engines on one
/// store must use the same `shard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Dependents promoted before a completion is answered; the change feed promotes the rest.
    pub inline_promotions: usize,
    /// Writes after which a batch ends and queues the next.
    pub batch_writes: usize,
    /// A job with more needs than this stores them in shards of this size, so that its own record stays small.
    pub shard: usize,
    /// How long the list of pools is cached. A claim can miss a new pool for this long.
    pub pools_ttl: Duration,
    /// How long a secret's value that was read is given to further jobs. A replaced value is used after this time at the
    /// latest. At most 30 s.
    pub secrets_ttl: Duration,
    /// The lease that is recommended to workers, in seconds.
    pub lease_secs: u32,
    /// A planted bug, to show that the simulator finds it.
    #[cfg(feature = "planted")]
    pub planted: Option<planted::Bug>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            inline_promotions: 16,
            batch_writes: 500,
            shard: 200,
            pools_ttl: Duration::ZERO,
            secrets_ttl: Duration::ZERO,
            lease_secs: limits::LEASE_SECS,
            #[cfg(feature = "planted")]
            planted: None,
        }
    }
}

/// Copies of stored records that this process has read.
struct Caches {
    pools: workers::PoolsCache,
    renewed_pools: workers::RenewedPoolsCache,
    workers: workers::WorkersCache,
    owned: workers::OwnedCache,
    returners: workers::ReturnersCache,
    named: workers::NamedCache,
    fleet: fleet::FleetCache,
    cancelled: fleet::CancelledCache,
    names: records::NamesCache,
    tokens: access::TokensCache,
    refusals: audit::RefusalsCache,
    secrets: secrets::SecretsCache,
    origins: checkout::OriginsCache,
    unread_origins: checkout::UnreadOriginsCache,
    unread_secrets: secrets::UnreadSecretsCache,
    /// The log lines about secrets that can't be read.
    unreadable: Throttle,
    log_sizes: logs::LogSizesCache,
    followed: logs::FollowedCache,
    writable: view::WritableCache,
    blobs: forges::BlobsCache,
}

impl Caches {
    fn new(tuning: &Tuning) -> Self {
        Self {
            pools: workers::pools_cache(tuning),
            renewed_pools: workers::renewed_pools_cache(),
            workers: workers::workers_cache(),
            owned: workers::owned_cache(),
            returners: workers::returners_cache(),
            named: workers::named_cache(),
            fleet: fleet::fleet_cache(tuning),
            cancelled: fleet::cancelled_cache(),
            names: records::names_cache(),
            tokens: access::tokens_cache(),
            refusals: audit::refusals_cache(),
            secrets: secrets::secrets_cache(),
            origins: checkout::origins_cache(),
            unread_origins: checkout::unread_origins_cache(),
            unread_secrets: secrets::unread_secrets_cache(),
            unreadable: Throttle::default(),
            log_sizes: logs::log_sizes_cache(),
            followed: logs::followed_cache(),
            writable: view::writable_cache(),
            blobs: forges::blobs_cache(),
        }
    }
}

impl<P> Clone for Engine<P> {
    fn clone(&self) -> Self {
        Self {
            ports: Arc::clone(&self.ports),
            clock: Arc::clone(&self.clock),
            rng: Arc::clone(&self.rng),
            secrets: Arc::clone(&self.secrets),
            checkouts: self.checkouts.clone(),
            forges: self.forges.clone(),
            public_url: self.public_url.clone(),
            caches: Arc::clone(&self.caches),
            tuning: self.tuning,
            caller: Arc::clone(&self.caller),
        }
    }
}

impl<P> Engine<P> {
    /// Creates an engine with the machine's clock, the operating system's random bits and no secrets. The caller has
    /// all permissions.
    #[must_use]
    pub fn new(ports: P) -> Self {
        let tuning = Tuning::default();
        Self {
            ports: Arc::new(ports),
            clock: Arc::new(SystemClock),
            rng: Arc::new(OsRng),
            secrets: Arc::new(Secrets::new()),
            checkouts: Some(Arc::new(())),
            forges: None,
            public_url: None,
            caches: Arc::new(Caches::new(&tuning)),
            tuning,
            caller: Arc::new(Grant::open()),
        }
    }

    /// The same engine with this tuning and empty caches.
    #[must_use]
    pub fn with_tuning(self, tuning: Tuning) -> Self {
        Self { tuning, caches: Arc::new(Caches::new(&tuning)), ..self }
    }

    /// The same engine with this clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The same engine with this source of random bits.
    #[must_use]
    pub fn with_rng(self, rng: Arc<dyn Rng>) -> Self {
        Self { rng, ..self }
    }

    /// The same engine with secrets from this source.
    #[must_use]
    pub fn with_secrets(self, secrets: Arc<dyn SecretStore>) -> Self {
        Self { secrets, ..self }
    }

    /// Where its secrets are.
    #[must_use]
    pub fn secrets(&self) -> Arc<dyn SecretStore> {
        Arc::clone(&self.secrets)
    }

    /// The same engine with these forges. Without them links can be neither added nor followed.
    #[must_use]
    pub fn with_forges(self, forges: Arc<dyn Forge>) -> Self {
        Self { forges: Some(forges), ..self }
    }

    /// The same engine with the address under which people and forges reach it, without a slash at the end.
    #[must_use]
    pub fn with_public_url(self, url: Arc<str>) -> Self {
        Self { public_url: Some(url), ..self }
    }

    /// True if it has forges.
    #[must_use]
    pub fn has_forges(&self) -> bool {
        self.forges.is_some()
    }

    /// The address under which people and forges reach the server, if it is known.
    #[must_use]
    pub fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
    }

    /// The same engine with the repositories of this source.
    #[must_use]
    pub fn with_checkouts(self, checkouts: Arc<dyn CheckoutSource>) -> Self {
        Self { checkouts: Some(checkouts), ..self }
    }

    /// The same engine, which checks nothing out: a job with a checkout begins in the worker's directory.
    #[must_use]
    pub fn without_checkouts(self) -> Self {
        Self { checkouts: None, ..self }
    }

    /// The same engine, for a caller with these permissions.
    #[must_use]
    pub fn acting_for(&self, caller: Grant) -> Self {
        Self { caller: Arc::new(caller), ..self.clone() }
    }

    /// The caller's permissions.
    #[must_use]
    pub fn caller(&self) -> &Grant {
        &self.caller
    }

    /// The ports.
    #[must_use]
    pub fn ports(&self) -> &P {
        &self.ports
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    fn random(&self) -> Random {
        self.rng.random()
    }

    /// Creates a lease for the caller.
    fn new_lease(&self, job: JobKey, attempt: u32, random: Random) -> LeaseToken {
        LeaseToken::new(job, attempt, random, self.caller.principal.clone())
    }

    /// Parses a lease id that the caller presents.
    fn lease(&self, text: &str) -> Option<LeaseToken> {
        LeaseToken::parse(text, &self.caller.principal)
    }
}

/// Declares the handle of each use case: a reference to the engine. The methods of a handle are in the module of the
/// use case, in blocks whose bounds name the ports that they use.
macro_rules! use_cases {
    ($($(#[$doc:meta])+ $visibility:vis $name:ident, $accessor:ident;)+) => {$(
        $(#[$doc])+
        $visibility struct $name<'a, P> {
            engine: &'a Engine<P>,
        }

        impl<P> Copy for $name<'_, P> {}

        impl<P> Clone for $name<'_, P> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<P> Engine<P> {
            $(#[$doc])+
            #[must_use]
            $visibility fn $accessor(&self) -> $name<'_, P> {
                $name { engine: self }
            }
        }
    )+};
}

use_cases! {
    /// Submitting workflows.
    pub Submissions, submissions;
    /// Starting, cancelling and deleting workflows.
    pub Runs, runs;
    /// Giving ready jobs to workers.
    pub Claims, claims;
    /// Accepting a worker's reports about an attempt: success, failure, heartbeat, logs.
    pub Reports, reports;
    /// Handling changes and timers: promotes, skips, cancels, expires and finishes.
    pub Scheduling, scheduling;
    /// Arming the timers of runs.
    pub Timers, timers;
    /// Workers and pools.
    pub Workers, workers;
    /// Reading workflows, jobs, outputs and logs for the API.
    pub Queries, queries;
    /// Creating, checking, listing and revoking tokens.
    pub Tokens, tokens;
    /// Recording and reading the audit log.
    pub Audit, audit;
    /// Links to forges: what deliveries start, and what forges are told.
    pub Forges, forges;
    /// Checking which workflows the caller may submit and change.
    pub(crate) Authorization, authorization;
    /// Reading and masking the secrets of jobs.
    pub(crate) JobSecrets, job_secrets;
    /// Reads of stored records that several use cases share.
    pub(crate) Records, records;
}
