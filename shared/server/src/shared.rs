//! What all requests share.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use api::{Admission, Service};
use bytes::Bytes;
use engine::Engine;
use engine::ports::Local;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::capacity::Capacity;
use crate::rate::Rates;
use crate::signals::Signals;

/// Claims that look for a job at once. Each starts at one of the oldest eight: more at once would compete for these, and some
/// would find nothing although jobs wait.
const CLAIMS_AT_ONCE: usize = 8;
/// A claim that takes longer no longer counts as one that looks for a job: it waits for a forge or for secrets, and others need not.
pub const LOOKING: Duration = Duration::from_secs(1);

/// A response, whose body may come in pieces.
pub type Response = http::Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What all requests share.
pub struct Shared<P> {
    pub service: Service<P>,
    pub claims: Semaphore,
    pub capacity: Capacity,
    pub rates: Rates,
    pub signals: Arc<Signals>,
    /// It admits only callers with a token.
    pub requires_tokens: bool,
    /// It asks for no tokens, and only this machine can connect.
    pub loopback_only: bool,
    /// It belongs to one other program.
    pub private: bool,
    /// Where requests are carried out that may take long, so that they don't hold up others of their connection's thread.
    pub runtime: Handle,
}

impl<P: Local> Shared<P> {
    /// To be called in the runtime for long requests.
    pub fn new(engine: Engine<P>, auth: Admission, on_loopback: bool) -> Self {
        Self {
            loopback_only: on_loopback && matches!(auth, Admission::Everybody),
            requires_tokens: matches!(auth, Admission::Tokens),
            private: matches!(auth, Admission::Secret(_)),
            service: Service::new(engine).admitting(auth),
            claims: Semaphore::new(CLAIMS_AT_ONCE),
            capacity: Capacity::default(),
            rates: Rates::default(),
            signals: Arc::default(),
            runtime: Handle::current(),
        }
    }
}
