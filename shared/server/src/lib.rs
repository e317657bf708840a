//! The engine in one process: HTTP API, change processing and timers.
//!
//! What a request means and how it is answered is decided by [`api::Service`]; here is only what one process can do and
//! a function can't: let a claim wait for a job, and hold a log's stream open.

mod body;
mod capacity;
mod requests;
pub mod secrets;
mod signals;
mod stream;
mod waiting;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use api::Admission;
use api::Service;
use engine::Engine;
use engine::ports::Local;
use memory::Memory;
use protocol::limits;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::capacity::{Capacity, Limited};
use crate::signals::Signals;

/// How long requests may go on once the server stops.
const FINISH: Duration = Duration::from_secs(10);

/// A running server. Dropping it ends it at once.
pub struct Server<P: Local + 'static = Memory> {
    address: SocketAddr,
    shared: Shared<P>,
    serve: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

/// Claims that look for a job at once. Each starts at one of the oldest eight: more at once would fight over these, and some
/// would go away empty though jobs wait.
const CLAIMS_AT_ONCE: usize = 8;

/// What all requests share.
struct Shared<P> {
    service: Service<P>,
    claims: Arc<Semaphore>,
    capacity: Arc<Capacity>,
    /// It asks for no tokens, and only this machine can connect.
    loopback_only: bool,
    signals: Arc<Signals>,
}

impl<P> Clone for Shared<P> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            claims: Arc::clone(&self.claims),
            capacity: Arc::clone(&self.capacity),
            loopback_only: self.loopback_only,
            signals: Arc::clone(&self.signals),
        }
    }
}

impl Server {
    /// Starts an empty engine that keeps everything in memory.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub async fn in_memory(address: SocketAddr) -> std::io::Result<Self> {
        Self::start(address, Engine::new(Memory::new())).await
    }
}

impl<P: Local + 'static> Server<P> {
    /// Starts to serve an engine to everybody on this address; port 0 is any free one.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub async fn start(address: SocketAddr, engine: Engine<P>) -> std::io::Result<Self> {
        Self::admitting(address, engine, Admission::Everybody).await
    }

    /// As [`Self::start`], for who is let in.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub async fn admitting(address: SocketAddr, engine: Engine<P>, auth: Admission) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let signals = Arc::new(Signals::default());
        let claims = Arc::new(Semaphore::new(CLAIMS_AT_ONCE));
        let loopback_only = matches!(auth, Admission::Everybody) && address.ip().is_loopback();
        let service = Service::new(engine.clone()).admitting(auth);
        let shared = Shared { service, claims, capacity: Arc::default(), loopback_only, signals: Arc::clone(&signals) };
        let router = axum::Router::new().fallback(requests::answer::<P>).with_state(shared.clone());
        let listener = Limited::new(listener, limits::CONNECTIONS);
        let stopped = signals.stopped();
        let told = Arc::clone(&signals);
        engine.ports().on_timer_set(Box::new(move |at| told.timer.armed(at)));
        let serve = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the server stopped");
            }
        });
        let others = vec![
            tokio::spawn(work::process(engine.clone(), Arc::clone(&signals))),
            tokio::spawn(work::run_timers(engine, signals)),
        ];
        Ok(Self { address, shared, serve, others })
    }

    /// Where it listens, as clients want it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The engine that is served.
    #[must_use]
    pub fn engine(&self) -> &Engine<P> {
        self.shared.service.engine()
    }

    /// Runs the timers that are due, and makes waiting claims look again. A test calls this after it has moved the
    /// engine's clock.
    pub async fn on_clock_moved(&self) {
        if let Err(error) = self.engine().scheduling().run_timers().await {
            tracing::error!(%error, "firing the timers of open runs failed");
        }
        self.shared.signals.clock_moved();
    }

    /// Takes no more requests, answers those there are, and ends. Claims that wait are answered that there is nothing,
    /// and streams end.
    pub async fn stop(mut self) {
        self.shared.signals.stop();
        if timeout(FINISH, &mut self.serve).await.is_err() {
            tracing::warn!("some requests didn't end in {} s and were cut off", FINISH.as_secs());
        }
    }
}

impl<P: Local + 'static> Drop for Server<P> {
    fn drop(&mut self) {
        // Whatever waits in a task of its own must learn of it too.
        self.shared.signals.stop();
        self.serve.abort();
        for task in &self.others {
            task.abort();
        }
    }
}
