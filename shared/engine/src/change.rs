//! Handles change events and queue messages. A request may stop halfway; the change feed guarantees that the rest of
//! its work is done. Every handler is idempotent.

use std::collections::HashMap;
use std::future::ready;
use std::time::Duration;

use futures::{StreamExt, stream};
use protocol::Millis;

use crate::Scheduling;
use crate::error::{EngineError, Result};
use crate::ids::{GroupKey, RunKey};
use crate::job::{JobRecord, NeedResult};
use crate::messages::{BatchKind, BatchTask, ChangeEvent, Delivered, QueueMessage, Reconcile};
use crate::planted::Bug;
use crate::ports::{Consistency, Dispatcher, JobStore, RunStore, WorkerRegistry};
use crate::run::RunState;

/// Attempts to handle a change event before it is queued for reconciliation.
const TRIES: usize = 3;
/// Records whose changes are handled concurrently.
const AT_ONCE: usize = 16;
/// Before the caller's deadline, changes are queued instead of handled for this long. A change that was begun just before
/// takes at most about 10 s.
const HAND_OVER: Duration = Duration::from_secs(15);

/// The positions of the changes of each record, in the order of the records' first changes.
fn by_record(changes: &[Delivered]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<Reconcile, usize> = HashMap::new();
    for (position, change) in changes.iter().enumerate() {
        let group = *known.entry(change.place()).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(position),
            None => groups.push(vec![position]),
        }
    }
    groups
}

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// Handles a change event as [`Self::on_change`] does. After three failures, queues the record for reconciliation,
    /// so that the event doesn't block the events behind it.
    ///
    /// # Errors
    /// The record could not be queued either. The event must be delivered again.
    pub async fn on_change_or_reconcile(self, event: &ChangeEvent) -> Result<()> {
        self.on_change_before(event, Millis(u64::MAX)).await
    }

    /// As [`Self::on_change_or_reconcile`], with attempts only before `until`.
    async fn on_change_before(self, event: &ChangeEvent, until: Millis) -> Result<()> {
        for tried in (1..=TRIES).take_while(|_| self.engine.now() < until) {
            match self.on_change(event).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(place = ?event.place(), %error, tried, "a change could not be handled"),
            }
        }
        Ok(self.engine.ports.send_reconcile(event.place()).await?)
    }

    /// Handles changes that were delivered together: those of different records concurrently, those of one record in their
    /// order. A change that can't be handled is queued for reconciliation. From 15 s before `deadline` on every change is
    /// queued, so that the caller can answer in time.
    ///
    /// Returns the positions of the changes that could not be queued either, in their order. These must be delivered again.
    pub async fn on_changes(self, changes: &[Delivered], deadline: Millis) -> Vec<(usize, EngineError)> {
        let until = deadline - HAND_OVER;
        let all = stream::iter(by_record(changes)).map(|positions| self.on_changes_of_one(changes, positions, until));
        let mut failed: Vec<_> = all.buffer_unordered(AT_ONCE).filter_map(ready).collect().await;
        failed.sort_by_key(|(position, _)| *position);
        failed
    }

    /// Handles the changes of one record in order, up to the first that can be neither handled nor queued. A queued
    /// reconcile processes the record's current state, so it covers the changes behind it.
    async fn on_changes_of_one(
        self,
        changes: &[Delivered],
        positions: Vec<usize>,
        until: Millis,
    ) -> Option<(usize, EngineError)> {
        for position in positions {
            let done = match &changes[position] {
                Delivered::Event(event) if self.engine.now() < until => {
                    Box::pin(self.on_change_before(event, until)).await
                }
                change => {
                    tracing::warn!(place = ?change.place(), "a change is queued for reconciliation");
                    let sent = self.engine.ports.send_reconcile(change.place()).await;
                    return sent.err().map(|error| (position, error.into()));
                }
            };
            if let Err(error) = done {
                return Some((position, error));
            }
        }
        None
    }

    /// Reconciles a record whose change event could not be processed. Processes the record's current state, not the
    /// state in the event.
    pub async fn on_reconcile(self, reconcile: &Reconcile) -> Result<()> {
        match reconcile {
            Reconcile::Job(key) => match self.engine.ports.job(key, Consistency::Strong).await? {
                Some(job) if job.is_ended() => self.on_change(&ChangeEvent::JobEnded(Box::new(job))).await,
                _ => Ok(()),
            },
            Reconcile::Report(..) => Ok(()),
            Reconcile::Run(run) => {
                let Some(control) = self.engine.ports.control(run, Consistency::Strong).await? else { return Ok(()) };
                match control.state {
                    RunState::Open => self.on_change(&ChangeEvent::RunOpened(control)).await,
                    RunState::Cancelling => self.on_change(&ChangeEvent::RunCancelling(control)).await,
                    RunState::Blocked => self.on_change(&ChangeEvent::RunBlocked(control)).await,
                    RunState::Final => self.on_change(&ChangeEvent::RunEnded(control)).await,
                    RunState::New => Ok(()),
                }
            }
        }
    }

    /// Handles a message from a queue. `again` is true if the message was received before.
    pub async fn on_message(self, message: QueueMessage, again: bool) -> Result<()> {
        let (run, done) = match message {
            QueueMessage::BatchTask(batch) => (batch.run.clone(), Box::pin(self.run_batch(batch)).await),
            QueueMessage::Timer(run) => (run.clone(), Box::pin(self.on_timer(&run, again)).await),
            QueueMessage::Reconcile(reconcile) => (reconcile.run().clone(), self.on_reconcile(&reconcile).await),
            QueueMessage::ForgesDue => return Ok(()),
        };
        match done {
            Err(error) if self.engine.records().is_deleted(&run, &error).await? => Ok(()),
            done => done,
        }
    }

    /// Handles a change event. A repeated call has no further effect.
    pub async fn on_change(self, event: &ChangeEvent) -> Result<()> {
        // Boxed, here and below: the compiler overflows when it computes the layout of the whole tree of futures as
        // one type.
        match Box::pin(self.follow(event)).await {
            Err(error) if self.engine.records().is_deleted(event.place().run(), &error).await? => Ok(()),
            done => done,
        }
    }

    async fn follow(self, event: &ChangeEvent) -> Result<()> {
        match event {
            ChangeEvent::RunOpened(control) => {
                let batch = BatchTask::new(control.run.clone(), BatchKind::Roots, 0);
                Box::pin(self.run_batch(batch)).await
            }
            ChangeEvent::RunCancelling(control) => {
                let batch = BatchTask::new(control.run.clone(), BatchKind::Cancel, 0);
                self.engine.timers().ask_for(batch).await
            }
            // Whoever has a store of reports marks the report.
            ChangeEvent::ReportChanged(..) => Ok(()),
            ChangeEvent::RunBlocked(control) => self.place_and_admit_run(control).await,
            ChangeEvent::RunEnded(control) => {
                self.admit_next(control.group.as_ref().map(|group| &group.key), &control.run).await
            }
            ChangeEvent::JobEnded(job) => {
                self.admit_next(job.group_key().as_ref(), &job.key.run).await?;
                self.on_job_ended(job).await
            }
        }
    }

    /// Admits the next unit of the group of a unit that has ended.
    async fn admit_next(self, group: Option<&GroupKey>, run: &RunKey) -> Result<()> {
        match group {
            Some(group) if !self.engine.has(Bug::EndAdmitsNobody) => self.admit(group, run).await,
            _ => Ok(()),
        }
    }

    async fn on_job_ended(self, job: &JobRecord) -> Result<()> {
        if !job.is_ended() {
            return Ok(());
        }
        let run = job.key.run.clone();
        let dependents = BatchTask::new(run.clone(), BatchKind::Dependents { of: job.key.index }, 0);
        let result = job.need_result();
        if result == Some(NeedResult::Passed) {
            return Box::pin(self.run_batch(dependents)).await;
        }
        let spec = self.engine.records().spec(job).await?;
        let skipped = result == Some(NeedResult::Skipped);
        let begins = job.begins_skipping() && !(skipped && self.engine.has(Bug::NoSkipBelowCondition));
        if begins && spec.dependents.len() > spec.conditional.len() {
            let batch = BatchTask::new(run.clone(), BatchKind::Skip, job.key.index + 1);
            self.engine.timers().ask_for(batch).await?;
        }
        if result.is_some() && !spec.conditional.is_empty() && !self.engine.has(Bug::ConditionalUntold) {
            return Box::pin(self.run_batch(dependents)).await;
        }
        if self.have_ended(&run, &spec.dependents).await? {
            self.finish_if_done(&run).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{JobKey, RunKey};

    #[test]
    fn changes_of_one_record_stay_together_in_their_order() {
        let run = RunKey::new([1; 16]);
        let job = |index| Delivered::Unreadable(Reconcile::Job(JobKey::new(&run, index)));
        let of_run = Delivered::Unreadable(Reconcile::Run(run.clone()));
        let changes = [job(1), of_run.clone(), job(2), job(1), of_run, job(1)];
        assert_eq!(by_record(&changes), [vec![0, 3, 5], vec![1, 4], vec![2]]);
    }
}
