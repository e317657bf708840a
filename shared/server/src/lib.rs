//! The whole engine in one process: the API over HTTP on a loopback port, changes worked off as they come.
//!
//! It keeps everything in memory: what is running when the process ends is gone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::Service;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use engine::Engine;
use engine::memory::Memory;
use engine::ports::Local as _;
use protocol::limits;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How often leases that are over are looked for.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// A running server. Dropping it ends it.
pub struct Server {
    address: SocketAddr,
    engine: Engine<Memory>,
    changed: Arc<Notify>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Clone)]
struct Shared {
    service: Service<Memory>,
    changed: Arc<Notify>,
}

impl Server {
    /// Starts an empty engine on this address; port 0 is any free one.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub async fn start(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let engine = Engine::new(Memory::new());
        let changed = Arc::new(Notify::new());
        let shared = Shared { service: Service::new(engine.clone()), changed: Arc::clone(&changed) };
        let router = axum::Router::new().fallback(answer).with_state(shared);
        let serve = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the server stopped");
            }
        });
        let work = tokio::spawn(work_off(engine.clone(), Arc::clone(&changed)));
        let sweep = tokio::spawn(sweep(engine.clone(), Arc::clone(&changed)));
        Ok(Self { address, engine, changed, tasks: vec![serve, work, sweep] })
    }

    /// Where it listens, as clients want it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Moves the engine's clock forward, for tests of what happens later.
    pub async fn pass(&self, time: Duration) {
        self.engine.ports().pass(time);
        if let Err(error) = self.engine.sweep().await {
            tracing::error!(%error, "sweeping");
        }
        self.changed.notify_one();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // One byte more than is allowed is enough to be told so.
    let body = to_bytes(body, limits::REQUEST_BODY + 1).await.unwrap_or_else(|_| vec![0; limits::REQUEST_BODY + 1].into());
    let response = shared.service.answer(Request::from_parts(head, body)).await;
    shared.changed.notify_one();
    response.map(Body::from)
}

async fn work_off(engine: Engine<Memory>, changed: Arc<Notify>) {
    loop {
        changed.notified().await;
        if let Err(error) = engine.settle().await {
            tracing::error!(%error, "working off changes");
        }
    }
}

async fn sweep(engine: Engine<Memory>, changed: Arc<Notify>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = engine.sweep().await {
            tracing::error!(%error, "sweeping");
        }
        changed.notify_one();
    }
}
