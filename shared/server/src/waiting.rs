//! Claims that wait for a job.
//!
//! Claims with the same labels and the same token are alike: if one finds nothing, so would the others. So when a job may have become ready,
//! one of each kind is woken and asks; if it gets a job, the next one is woken, else all of its kind go on waiting. With a
//! thousand workers waiting a ready job costs one question, not a thousand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use protocol::{LabelSet, WorkerId};
use tokio::sync::{Notify, broadcast};

/// Goodbyes that a slow waiter may be behind; one further behind takes it that it was meant.
const GOODBYES: usize = 256;

/// Which claims are alike: their labels, whether they take only jobs that ask for one of these, and what they show to be
/// let in.
type Kind = (LabelSet, bool, Option<HeaderValue>);

/// All claims that wait.
pub struct Waiting {
    kinds: Mutex<HashMap<Kind, Arc<Notify>>>,
    goodbyes: broadcast::Sender<WorkerId>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { kinds: Mutex::default(), goodbyes: broadcast::Sender::new(GOODBYES) }
    }
}

impl Waiting {
    /// Takes a place *before* asking, so that what becomes ready after the answer isn't missed.
    pub fn join(&self, kind: Kind) -> Place<'_> {
        let next = Arc::clone(self.kinds().entry(kind.clone()).or_default());
        Place { waiting: self, kind, next }
    }

    /// A job may have become ready, of whatever labels.
    pub fn wake(&self) {
        self.kinds().values().for_each(|next| next.notify_one());
    }

    /// A worker said deregister: it wants no more jobs.
    pub fn deregister(&self, worker: WorkerId) {
        // Nobody may be waiting.
        let _ = self.goodbyes.send(worker);
    }

    /// Resolves when this worker says deregister from now on.
    pub fn left(&self, worker: WorkerId) -> impl Future<Output = ()> + Send + use<> {
        let mut goodbyes = self.goodbyes.subscribe();
        async move { while goodbyes.recv().await.is_ok_and(|left| left != worker) {} }
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Kind, Arc<Notify>>> {
        // A map of handles can't be left half changed.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A claim's place among those of its kind.
pub struct Place<'a> {
    waiting: &'a Waiting,
    kind: Kind,
    next: Arc<Notify>,
}

/// A claim's turn to ask. Unless it [found nothing](Turn::found_nothing), the next of its kind has one when this ends, even
/// if the client went away in the middle of it.
pub struct Turn(Option<Arc<Notify>>);

impl Turn {
    /// Then there is nothing for the others of its kind either.
    pub fn found_nothing(mut self) {
        self.0 = None;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(next) = &self.0 {
            next.notify_one();
        }
    }
}

impl Place<'_> {
    /// Waits for a turn to ask.
    pub async fn turn(&self) -> Turn {
        self.next.notified().await;
        Turn(Some(Arc::clone(&self.next)))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut kinds = self.waiting.kinds();
        // The map's handle and this one: no other claim of this kind is there.
        if Arc::strong_count(&self.next) == 2 {
            kinds.remove(&self.kind);
        }
    }
}
