//! Threads that serve connections.

use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::awake;

/// The most threads. One answers over 10,000 claims and reports a second.
const MOST: usize = 8;

/// Where connections are served.
pub enum Lanes {
    /// In the runtime that called, which has one thread.
    Here,
    /// On threads with a runtime of their own, one for each processor. A connection stays on its thread.
    ///
    /// `hyper` wakes its own task once for each request with a body. In a runtime whose threads take tasks from one another, that
    /// wakes another thread each time, which takes as long as the request itself.
    Threads { lanes: Vec<Lane>, next: AtomicUsize },
}

/// A thread. It ends, with all its tasks, when this is dropped.
pub struct Lane {
    runtime: Handle,
    _running: oneshot::Sender<()>,
}

impl Lane {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, dropped) = oneshot::channel();
        let serve = async {
            tokio::select! {
                _ = dropped => {}
                () = awake::after_answers() => {}
            }
        };
        thread::Builder::new().name("connections".to_owned()).spawn(move || runtime.block_on(serve))?;
        Ok(Self { runtime: handle, _running: running })
    }
}

impl Lanes {
    /// Starts the threads, unless the runtime of the caller has only one.
    ///
    /// # Errors
    /// If the system has no threads or files left for them.
    pub fn start() -> io::Result<Self> {
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Ok(Self::Here);
        }
        let count = available_parallelism().map_or(1, NonZero::get).min(MOST);
        let lanes = (0..count).map(|_| Lane::start()).collect::<io::Result<_>>()?;
        Ok(Self::Threads { lanes, next: AtomicUsize::new(0) })
    }

    /// Serves a connection on the next thread, as a task of `tasks`.
    pub fn serve<F>(
        &self,
        tasks: &mut JoinSet<()>,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self::Threads { lanes, next } = self else {
            tasks.spawn(serve(stream));
            return;
        };
        let lane = &lanes[next.fetch_add(1, Ordering::Relaxed) % lanes.len()];
        // An error, here or there, means that the machine has no room for it. The client sees the connection close.
        let Ok(stream) = stream.into_std() else { return };
        let task = async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                serve(stream).await;
            }
        };
        tasks.spawn_on(task, &lane.runtime);
    }
}
