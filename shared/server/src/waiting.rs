//! Claims that wait for a job.
//!
//! Claims with the same labels, the same token and the same [`ClaimKind`] are of one kind: if one finds no job, the others find none either. When a job
//! may have become ready, one claim of each kind is woken and tries. If it gets a job, the next of its kind is woken; otherwise
//! the kind goes on waiting. So a ready job costs one query and not a thousand, however many workers wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::workers::ClaimKind;
use http::HeaderValue;
use protocol::{LabelSet, WorkerId};
use tokio::sync::{Notify, broadcast};

/// Deregistrations that are kept for a slow waiter. A waiter that missed one acts as if it was its own worker's.
const DEREGISTRATIONS: usize = 256;

/// A kind of claims: labels, what else the engine decides by, and the `Authorization` header.
pub type Kind = (LabelSet, ClaimKind, Option<HeaderValue>);

/// All waiting claims.
pub struct Waiting {
    kinds: Mutex<HashMap<Kind, Queue>>,
    deregistered: broadcast::Sender<WorkerId>,
}

/// The waiting claims of one kind.
#[derive(Default)]
struct Queue {
    next: Arc<Notify>,
    places: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { kinds: Mutex::default(), deregistered: broadcast::Sender::new(DEREGISTRATIONS) }
    }
}

impl Waiting {
    /// Joins the kind. A claim joins *before* it tries, so that a job that becomes ready after its try isn't missed.
    pub fn join(&self, kind: Kind) -> Place<'_> {
        let mut kinds = self.kinds();
        let queue = kinds.entry(kind.clone()).or_default();
        queue.places += 1;
        Place { waiting: self, kind, next: Arc::clone(&queue.next) }
    }

    /// Wakes one claim of each kind.
    pub fn wake(&self) {
        self.kinds().values().for_each(|queue| queue.next.notify_one());
    }

    /// Ends the waiting claims of a worker that has deregistered.
    pub fn deregister(&self, worker: WorkerId) {
        // An error means that no claim waits.
        let _ = self.deregistered.send(worker);
    }

    /// Resolves when this worker deregisters after this call.
    pub fn left(&self, worker: WorkerId) -> impl Future<Output = ()> + Send + use<> {
        let mut deregistered = self.deregistered.subscribe();
        async move { while deregistered.recv().await.is_ok_and(|left| left != worker) {} }
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Kind, Queue>> {
        // No panic can leave a queue half changed.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiting claim, until it is dropped.
pub struct Place<'a> {
    waiting: &'a Waiting,
    kind: Kind,
    next: Arc<Notify>,
}

/// A claim's turn to try. When it is dropped, the next of its kind gets a turn, unless it [found nothing](Turn::found_nothing).
/// So a turn isn't lost if the client disconnects.
pub struct Turn(Option<Arc<Notify>>);

impl Turn {
    /// Ends the turn without waking the next of its kind, which would find nothing either.
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
    /// The claim's kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Waits for a turn to try.
    pub async fn turn(&self) -> Turn {
        self.next.notified().await;
        Turn(Some(Arc::clone(&self.next)))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut kinds = self.waiting.kinds();
        let Some(queue) = kinds.get_mut(&self.kind) else { return };
        queue.places -= 1;
        if queue.places == 0 {
            kinds.remove(&self.kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(labels: &str) -> Kind {
        (LabelSet::from_comma_separated(labels).expect("labels"), ClaimKind::default(), None)
    }

    #[tokio::test]
    async fn kind_is_forgotten_with_its_last_claim_even_while_that_has_its_turn() {
        let waiting = Waiting::default();
        let (first, last) = (waiting.join(kind("a")), waiting.join(kind("a")));
        waiting.wake();
        let turn = first.turn().await;
        drop(first);
        assert_eq!(waiting.kinds().len(), 1, "another claim of the kind waits");
        drop(last);
        assert!(waiting.kinds().is_empty());
        Turn::found_nothing(turn);
    }
}
