//! The attempts that run in a worker: a job's next attempt waits until the previous one has ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use protocol::{JobId, WorkflowId};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::Job;

/// The lock of each job, held by its running attempt.
type Turns = HashMap<(WorkflowId, JobId), Weak<Turn<()>>>;

/// The running attempts by job. Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct Attempts(Arc<Mutex<Turns>>);

impl Attempts {
    /// Waits until no other attempt of the job runs in this worker. The attempt runs until the guard is dropped.
    pub async fn begin(&self, job: &Job) -> OwnedMutexGuard<()> {
        self.turn(job).lock_owned().await
    }

    fn turn(&self, job: &Job) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let entry = turns.entry((job.workflow_id.clone(), job.job_id.clone())).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let turn = Arc::default();
            *entry = Arc::downgrade(&turn);
            turn
        })
    }
}
