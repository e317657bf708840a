//! The engine in one process: HTTP API, change processing and timers.
//!
//! [`api::Service`] answers the requests. This crate adds what a function can't do: it limits connections, lets a claim wait for a
//! job, and keeps a log's stream open.

// Modules are listed so that each uses only those above it.

pub mod secrets;

mod waiting;

mod signals;

mod work;

mod rate;

mod capacity;

mod awake;

mod body;
mod connection;

mod shared;

mod persistent;
mod stream;

mod requests;

mod lanes;
mod listen;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use api::Admission;
use engine::Engine;
use engine::ports::{Consistency, Local, Stored};
use futures::FutureExt;
use futures::future::join_all;
use memory::Memory;
use protocol::WorkflowId;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::lanes::Lanes;
use crate::listen::Places;
use crate::shared::Shared;

/// How long requests may take to finish once the server stops.
const FINISH: Duration = Duration::from_secs(10);

/// Changes within this time are looked at together when a run's end is waited for.
const GATHERED: Duration = Duration::from_millis(1);

/// A running server. Dropping it ends it at once.
pub struct Server<P: Local + 'static = Memory> {
    address: SocketAddr,
    shared: Arc<Shared<P>>,
    serve: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts an empty engine that keeps everything in memory.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub async fn in_memory(address: SocketAddr) -> io::Result<Self> {
        Self::start(address, Engine::new(Memory::new())).await
    }
}

impl<P: Local + 'static> Server<P> {
    /// Starts to serve an engine to everybody on this address; port 0 is any free one.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub async fn start(address: SocketAddr, engine: Engine<P>) -> io::Result<Self> {
        Self::admitting(address, engine, Admission::Everybody).await
    }

    /// As [`Self::start`], but admits only these callers.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub async fn admitting(address: SocketAddr, engine: Engine<P>, auth: Admission) -> io::Result<Self> {
        Self::listening(&address.to_string(), engine, auth).await
    }

    /// As [`Self::admitting`], on every address of a `host:port`, such as `localhost:3000` or `[::1]:0`.
    ///
    /// # Errors
    /// If the host has no address, or one of its addresses can't be bound. The error names it.
    pub async fn listening(listen: &str, engine: Engine<P>, auth: Admission) -> io::Result<Self> {
        let listeners = listen::bind(listen).await?;
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let on_loopback = addresses.iter().all(|address| address.ip().is_loopback());
        let shared = Arc::new(Shared::new(engine.clone(), auth, on_loopback));
        let signals = Arc::clone(&shared.signals);
        // The store and the signals don't keep each other.
        let on_timer_set = Arc::downgrade(&signals);
        engine.ports().on_timer_set(Box::new(move |at| {
            if let Some(signals) = on_timer_set.upgrade() {
                signals.timer.armed(at);
            }
        }));
        work::process_with(&engine, &signals);
        let places = Places::default();
        let lanes = Arc::new(Lanes::start()?);
        let serve = listeners.into_iter();
        let serve = serve.map(|one| listen::serve(one, places.clone(), Arc::clone(&shared), Arc::clone(&lanes)));
        let serve = tokio::spawn(join_all(serve).map(drop));
        let others = vec![
            tokio::spawn(work::follow_forges(engine.clone(), Arc::clone(&signals))),
            tokio::spawn(work::run_timers(engine, signals)),
        ];
        Ok(Self { address: addresses[0], shared, serve, others })
    }

    /// The URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The engine that is served.
    #[must_use]
    pub fn engine(&self) -> &Engine<P> {
        self.shared.service.engine()
    }

    /// Resolves when the current run of a workflow has ended, or the workflow is deleted.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn run_ended(&self, workflow: &WorkflowId) -> Stored<()> {
        let mut changes = self.shared.signals.changes();
        loop {
            changes.mark_unchanged();
            let record = self.engine().ports().workflow(workflow, Consistency::Strong).await?;
            if record.is_none_or(|record| record.ended.is_some()) {
                return Ok(());
            }
            // The server, and with it the sender, is still there.
            let _ = changes.changed().await;
            sleep(GATHERED).await;
        }
    }

    /// Runs the timers that are due, and makes waiting claims look again. A test calls this after it has moved the
    /// engine's clock.
    pub async fn on_clock_moved(&self) {
        if let Err(error) = self.engine().scheduling().run_timers().await {
            tracing::error!(%error, "firing the timers of open runs failed");
        }
        self.shared.signals.clock_moved();
    }

    /// Accepts no more requests, answers those in progress, and ends. Waiting claims are answered with `null`, and streams end.
    pub async fn stop(mut self) {
        self.shared.signals.stop();
        if timeout(FINISH, &mut self.serve).await.is_err() {
            tracing::warn!("some requests didn't end in {} s and were cut off", FINISH.as_secs());
        }
    }
}

impl<P: Local + 'static> Drop for Server<P> {
    fn drop(&mut self) {
        // Tasks of requests are separate; this ends those that wait.
        self.shared.signals.stop();
        self.serve.abort();
        for task in &self.others {
            task.abort();
        }
    }
}
