//! The store: a connection that writes on a thread of its own, and connections that read.

use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use engine::ports::{FollowedLogs, StoreError, Stored};
use futures::channel::oneshot;
use protocol::Millis;
use rusqlite::Connection;

use crate::open::{self, FileLock, OpenError};
use crate::recent::{Recent, Transaction};
use crate::rows::{failed, locked};
use crate::writer::{Waiting, Write, Writer};

/// The store, its change feed and its queue of batch tasks. Dropping it finishes all writes and ends its thread.
pub struct Sqlite {
    backend: Backend,
    pub(crate) recent: Arc<Recent>,
    /// The callback of `LocalWork::on_timer_set`.
    pub(crate) armed: Mutex<Option<Armed>>,
    /// Only in memory: it is a hint.
    pub(crate) followed: FollowedLogs,
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
    /// `None` once the store is being dropped.
    queue: Option<Sender<Box<dyn Write>>>,
    thread: Option<JoinHandle<()>>,
    /// The connections that are not in use.
    readers: Mutex<Vec<Connection>>,
    /// Released last.
    lock: FileLock,
}

impl Sqlite {
    /// Opens a file, or creates it. The file is readable by its owner only. No other process can open it as a store
    /// until this one is dropped.
    ///
    /// # Errors
    /// If it can't be opened, another process has it, something else wrote it, or a newer version did.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let lock = open::lock(path.as_ref())?;
        let db = open::writer(&lock.path)?;
        let reader = open::reader(&lock.path).map_err(|error| OpenError::Sqlite { path: lock.path.clone(), error })?;
        let recent = Arc::default();
        let writer = Writer::new(db, Arc::clone(&recent));
        let (queue, waiting) = mpsc::channel();
        let thread = thread::Builder::new().name("sqlite".to_owned()).spawn(move || writer.work(&waiting));
        let thread = thread.map_err(|error| OpenError::Io { path: lock.path.clone(), error })?;
        let files = Files { queue: Some(queue), thread: Some(thread), readers: Mutex::new(vec![reader]), lock };
        Ok(Self::of(Backend::File(files), recent))
    }

    /// A store in memory, whose statements run on the caller's thread.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        let db = open::in_memory().expect("tables in memory");
        let recent = Arc::default();
        let writer = Writer::new(db, Arc::clone(&recent));
        Self::of(Backend::Memory(Mutex::new(writer)), recent)
    }

    fn of(backend: Backend, recent: Arc<Recent>) -> Self {
        Self { backend, recent, armed: Mutex::default(), followed: FollowedLogs::default() }
    }

    /// Runs a read. It sees all writes that were answered before.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Stored<T>) -> Stored<T> {
        match &self.backend {
            #[cfg(test)]
            Backend::Memory(writer) => work(&locked(writer).db),
            Backend::File(files) => {
                // There are never more connections than threads that read at the same time.
                let reader = locked(&files.readers).pop();
                let reader = match reader {
                    Some(reader) => reader,
                    None => open::reader(&files.lock.path).map_err(failed)?,
                };
                let result = work(&reader);
                locked(&files.readers).push(reader);
                result
            }
        }
    }

    /// Runs a write, in one transaction with others that wait, and returns after it is on the disk.
    pub(crate) async fn write<T, F>(&self, work: F) -> Stored<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Stored<T> + Send + 'static,
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

impl Drop for Files {
    fn drop(&mut self) {
        // The connection that writes is closed last, so that it moves the write-ahead log into the database.
        locked(&self.readers).clear();
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes had ended with a panic");
        }
    }
}
