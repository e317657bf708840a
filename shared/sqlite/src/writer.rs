//! Group commit: waiting writes run in one transaction, and are answered after one sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use engine::ports::{StoreError, Stored};
use futures::channel::oneshot;
use rusqlite::Connection;

use crate::rows::execute;

/// Writes in one transaction, at the most.
const TOGETHER: usize = 1000;

/// A write that waits for its turn.
pub(crate) trait Write: Send {
    /// Does it. Whether what it did is to stay.
    fn run(&mut self, db: &Connection) -> bool;
    /// Tells whoever waits, once it is known whether the transaction is on the disk.
    fn answer(self: Box<Self>, committed: &Stored<()>);
}

/// A write and who waits for it.
pub(crate) struct Waiting<T, F> {
    pub work: Option<F>,
    pub result: Option<Stored<T>>,
    pub asker: oneshot::Sender<Stored<T>>,
}

impl<T, F> Write for Waiting<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Stored<T> + Send,
{
    fn run(&mut self, db: &Connection) -> bool {
        self.result = self.work.take().map(|work| work(db));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: &Stored<()>) {
        let result = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(StoreError::Unavailable("the write was not tried".to_owned())),
            (Err(error), _) => Err(error.clone()),
        };
        // Whoever asked may be gone; the write stands all the same.
        drop(self.asker.send(result));
    }
}

/// The connection that writes.
pub(crate) struct Writer {
    pub db: Connection,
    /// All work up to this number is done.
    done: Arc<AtomicU64>,
    /// All work up to this number is off the list.
    taken_off: u64,
}

impl Writer {
    pub(crate) fn new(db: Connection, done: Arc<AtomicU64>) -> Self {
        Self { db, done, taken_off: 0 }
    }

    /// Processes the queue until all senders are gone.
    pub(crate) fn work(mut self, queue: &Receiver<Box<dyn Write>>) {
        while let Ok(first) = queue.recv() {
            let more = std::iter::from_fn(|| queue.try_recv().ok());
            self.commit(std::iter::once(first).chain(more.take(TOGETHER)));
        }
        self.commit(std::iter::empty());
    }

    /// Runs writes in one transaction, commits it and answers them.
    pub(crate) fn commit(&mut self, writes: impl Iterator<Item = Box<dyn Write>>) {
        let mut run = Vec::new();
        let mut outcome = self.statement("BEGIN IMMEDIATE");
        for mut write in writes {
            if outcome.is_ok() {
                outcome = self.run(&mut *write);
            }
            run.push(write);
        }
        let done = self.done.load(Ordering::Acquire);
        let outcome = outcome.and_then(|()| self.take_off(done)).and_then(|()| self.statement("COMMIT"));
        match &outcome {
            Ok(()) => self.taken_off = done,
            Err(error) => {
                tracing::error!(%error, writes = run.len(), "a transaction was not written");
                if !self.db.is_autocommit()
                    && let Err(error) = self.statement("ROLLBACK")
                {
                    tracing::error!(%error, "a transaction could not be rolled back");
                }
            }
        }
        for write in run {
            write.answer(&outcome);
        }
    }

    /// Runs a write so that it happens as a whole or not at all. An error is of the whole transaction.
    fn run(&self, write: &mut dyn Write) -> Stored<()> {
        self.statement("SAVEPOINT one")?;
        if !write.run(&self.db) {
            // Some errors, a full disk for one, end the transaction; then there is nothing to go back to.
            self.statement("ROLLBACK TO one")?;
        }
        self.statement("RELEASE one")
    }

    /// Takes work that is done off the list. Only now, since doing it again does no harm and a commit of its own
    /// would cost a sync.
    fn take_off(&self, done: u64) -> Stored<()> {
        if done > self.taken_off {
            execute(&self.db, "DELETE FROM work WHERE number <= ?1", [done.cast_signed()])?;
        }
        Ok(())
    }

    fn statement(&self, text: &str) -> Stored<()> {
        execute(&self.db, text, []).map(drop)
    }
}
