//! Group commit: waiting writes run in one transaction, and are answered after one sync.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use engine::ports::{StoreError, Stored};
use futures::channel::oneshot;
use rusqlite::Connection;

use crate::recent::{Recent, Transaction};
use crate::rows::execute;

/// The maximum number of writes in one transaction.
const TOGETHER: usize = 1000;

/// A waiting write.
pub(crate) trait Write: Send {
    /// Runs the write. After an error, its changes must be rolled back.
    fn run(&mut self, db: &Transaction<'_>) -> Stored<()>;
    /// Answers the caller after the transaction was committed or rolled back.
    fn answer(self: Box<Self>, committed: &Stored<()>);
}

/// A write and its caller's channel.
pub(crate) struct Waiting<T, F> {
    pub work: Option<F>,
    pub result: Option<Stored<T>>,
    pub asker: oneshot::Sender<Stored<T>>,
}

impl<T, F> Write for Waiting<T, F>
where
    T: Send,
    F: FnOnce(&Transaction<'_>) -> Stored<T> + Send,
{
    fn run(&mut self, db: &Transaction<'_>) -> Stored<()> {
        let result = self.work.take().map(|work| work(db));
        let result = self.result.insert(result.unwrap_or_else(not_tried));
        result.as_ref().map(drop).map_err(StoreError::clone)
    }

    fn answer(self: Box<Self>, committed: &Stored<()>) {
        let result = match committed {
            Ok(()) => self.result.unwrap_or_else(not_tried),
            Err(error) => Err(error.clone()),
        };
        // The caller may no longer wait. The write remains committed.
        drop(self.asker.send(result));
    }
}

fn not_tried<T>() -> Stored<T> {
    Err(StoreError::Unavailable("the write was not tried".to_owned()))
}

/// The connection that writes.
pub(crate) struct Writer {
    pub db: Connection,
    recent: Arc<Recent>,
    /// All work up to this number was removed from the table.
    taken_off: u64,
}

impl Writer {
    pub(crate) fn new(db: Connection, recent: Arc<Recent>) -> Self {
        Self { db, recent, taken_off: 0 }
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
        let transaction = Transaction::new(&self.db, &self.recent);
        let mut run = Vec::new();
        let mut outcome = self.statement("BEGIN IMMEDIATE");
        for mut write in writes {
            if outcome.is_ok() {
                outcome = self.run(&transaction, &mut *write);
            }
            run.push(write);
        }
        let done = self.recent.done();
        let outcome = outcome.and_then(|()| self.take_off(done)).and_then(|()| self.statement("COMMIT"));
        let changes = transaction.into_changes();
        match &outcome {
            Ok(()) => {
                self.taken_off = done;
                self.recent.apply(changes);
            }
            Err(error) => {
                tracing::error!(%error, writes = run.len(), "a transaction was not written");
                self.recent.forget();
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

    /// Runs a write in a savepoint. An error means that the whole transaction fails.
    fn run(&self, transaction: &Transaction<'_>, write: &mut dyn Write) -> Stored<()> {
        self.statement("SAVEPOINT one")?;
        if let Err(error) = transaction.part(|transaction| write.run(transaction)) {
            // A full disk, and some other errors, end the whole transaction.
            if self.db.is_autocommit() || matches!(error, StoreError::DiskFull(_)) {
                return Err(error);
            }
            self.statement("ROLLBACK TO one")?;
        }
        self.statement("RELEASE one")
    }

    /// Removes work that is done from the table. It shares the next transaction, because a commit of its own would cost a
    /// sync, and repeated work does no harm.
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
