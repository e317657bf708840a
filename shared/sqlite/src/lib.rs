//! The engine's ports on a SQLite file, for one process.
//!
//! A file is in write-ahead mode. One thread writes: it runs the writes that wait in one transaction, so that many
//! requests share one sync, and answers them when it is on the disk ([`writer`]). Reads run on the caller's thread, on
//! connections of their own; a row that is in the file system's cache is read sooner than it would be asked for
//! elsewhere. What may happen to a record is the engine's to say: a change loads it, applies the engine's own rule and
//! stores what became of it, inside the transaction.

mod rows;
mod writer;
mod migrations;
mod open;

mod local;
mod jobs;
mod runs;
mod artifacts;
mod registry;
mod access;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use engine::ids::PoolId;
use engine::ports::{Pool, StoreError, Stored};
use futures::channel::oneshot;
use protocol::Millis;
use rusqlite::Connection;

use crate::open::FileLock;
pub use crate::open::OpenError;
use crate::writer::{Waiting, Write, Writer};

/// The store, its change feed and its queue of long work. Dropping it ends its thread, when all is written.
pub struct Sqlite {
    backend: Backend,
    /// All pools there are, as stored: only this process adds any.
    pools: Mutex<BTreeMap<PoolId, Pool>>,
    /// All work up to this number is done.
    done: Arc<AtomicU64>,
    /// Who is told of a timer that was set.
    armed: Mutex<Option<Armed>>,
}

type Armed = Arc<dyn Fn(Millis) + Send + Sync>;

/// Where the tables are.
enum Backend {
    File(Files),
    /// For unit tests that examine statements: all of them run on the test's thread.
    #[cfg(test)]
    Memory(Mutex<Writer>),
}

struct Files {
    /// `None` while it is being dropped.
    queue: Option<Sender<Box<dyn Write>>>,
    thread: Option<JoinHandle<()>>,
    /// Those that nobody uses right now.
    readers: Mutex<Vec<Connection>>,
    /// Dropped last.
    loopback_only: FileLock,
}

impl Sqlite {
    /// Opens a file, or makes it. It is readable by its owner only, and no other process can open it as a store until
    /// this one is dropped.
    ///
    /// # Errors
    /// If it can't be opened, another process has it, something else wrote it, or a newer version did.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let loopback_only = open::loopback_only(path.as_ref())?;
        let sqlite = |error| OpenError::Sqlite { path: loopback_only.path.clone(), error };
        let db = open::writer(&loopback_only.path)?;
        let reader = open::reader(&loopback_only.path).map_err(sqlite)?;
        let record = |error| OpenError::Record { path: loopback_only.path.clone(), error };
        let pools = registry::stored_pools(&db).map_err(record)?;
        let done = Arc::default();
        let writer = Writer::new(db, Arc::clone(&done));
        let (queue, waiting) = mpsc::channel();
        let thread = thread::Builder::new().name("sqlite".to_owned()).spawn(move || writer.work(&waiting));
        let thread = thread.map_err(|error| OpenError::Io { path: loopback_only.path.clone(), error })?;
        let files =
            Files { queue: Some(queue), thread: Some(thread), readers: Mutex::new(vec![reader]), loopback_only };
        Ok(Self::of(Backend::File(files), pools, done))
    }

    /// A store in memory, whose statements run on the caller's thread.
    #[cfg(test)]
    fn in_memory() -> Self {
        let db = open::in_memory().expect("tables in memory");
        let done = Arc::default();
        let writer = Writer::new(db, Arc::clone(&done));
        Self::of(Backend::Memory(Mutex::new(writer)), BTreeMap::new(), done)
    }

    fn of(backend: Backend, pools: BTreeMap<PoolId, Pool>, done: Arc<AtomicU64>) -> Self {
        Self { backend, pools: Mutex::new(pools), done, armed: Mutex::default() }
    }

    /// Runs a read. It sees all that was answered before.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Stored<T>) -> Stored<T> {
        match &self.backend {
            #[cfg(test)]
            Backend::Memory(writer) => work(&locked(writer).db),
            Backend::File(files) => {
                // At most as many connections as there are threads that read at once.
                let reader = locked(&files.readers).pop();
                let reader = match reader {
                    Some(reader) => reader,
                    None => open::reader(&files.loopback_only.path).map_err(rows::failed)?,
                };
                let result = work(&reader);
                locked(&files.readers).push(reader);
                result
            }
        }
    }

    /// Runs a write with those of others, and waits until it is on the disk.
    async fn write<T, F>(&self, work: F) -> Stored<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Stored<T> + Send + 'static,
    {
        let (asker, answer) = oneshot::channel();
        let write = Box::new(Waiting { work: Some(work), result: None, asker });
        let stopped = || StoreError::Unavailable("the store has stopped writing".to_owned());
        match &self.backend {
            #[cfg(test)]
            Backend::Memory(writer) => locked(writer).commit(std::iter::once(write as Box<dyn Write>)),
            Backend::File(files) => {
                let queue = files.queue.as_ref().ok_or_else(stopped)?;
                queue.send(write).map_err(|_| stopped())?;
            }
        }
        answer.await.map_err(|_| stopped())?
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic left behind is rolled back by the next transaction, or was only read.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Files {
    fn drop(&mut self) {
        // The connection that writes is closed last: it can then put all of the log in the database and remove it.
        locked(&self.readers).clear();
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes had ended with a panic");
        }
    }
}
