//! The change feed and the queues in memory.

use engine::ids::{RunKey, Ticket};
use engine::messages::{BatchTask, Reconcile, Work};
use engine::ports::{Dispatcher, LocalWork, PoolQueue, Stored};
use engine::run::WorkflowRecord;
use protocol::Millis;

use crate::store::Memory;

impl LocalWork for Memory {
    async fn next_work(&self) -> Stored<Option<(u64, Work)>> {
        let state = self.state();
        let event = state.feed.front().cloned().map(|event| (EVENT, Work::ChangeEvent(event)));
        let batch = || state.batches.front().cloned().map(|batch| (BATCH_TASK, Work::BatchTask(batch)));
        let reconcile = || state.reconciles.front().cloned().map(|reconcile| (RECONCILE, Work::Reconcile(reconcile)));
        Ok(event.or_else(batch).or_else(reconcile))
    }

    fn may_have_work(&self) -> bool {
        let state = self.state();
        !(state.feed.is_empty() && state.batches.is_empty() && state.reconciles.is_empty())
    }

    async fn work_done(&self, number: u64) -> Stored<()> {
        let mut state = self.state();
        match number {
            EVENT => drop(state.feed.pop_front()),
            BATCH_TASK => drop(state.batches.pop_front()),
            _ => drop(state.reconciles.pop_front()),
        }
        Ok(())
    }

    async fn expired(&self, before: Millis, limit: usize) -> Stored<Vec<WorkflowRecord>> {
        let state = self.state();
        let is_expired = |workflow: &&WorkflowRecord| {
            let control = state.controls.get(&workflow.run).filter(|control| !control.state.is_active());
            control.is_some_and(|control| control.opened_at.unwrap_or(workflow.created_at) < before)
        };
        Ok(state.workflows.values().filter(is_expired).take(limit).cloned().collect())
    }

    async fn active_runs(&self, after: Option<&RunKey>, limit: usize) -> Stored<Vec<RunKey>> {
        let state = self.state();
        let active = state.controls.values().filter(|control| control.state.is_active()).map(|control| &control.run);
        let mut runs: Vec<&RunKey> = active.filter(|run| after.is_none_or(|after| *run > after)).collect();
        runs.sort();
        Ok(runs.into_iter().take(limit).cloned().collect())
    }

    async fn next_timer(&self) -> Stored<Option<Millis>> {
        Ok(self.state().timers.first().map(|(due, _)| *due))
    }

    fn on_timer_set(&self, tell: Box<dyn Fn(Millis) + Send + Sync>) {
        self.state().armed = Some(tell.into());
    }
}

/// Numbers of work items: each names the first item of its list. Only one caller processes a list.
const EVENT: u64 = 0;
const BATCH_TASK: u64 = 1;
const RECONCILE: u64 = 2;

impl Dispatcher for Memory {
    async fn send_ticket(&self, _queue: &PoolQueue, _ticket: Ticket) -> Stored<()> {
        Ok(())
    }

    async fn send_batch(&self, batch: BatchTask) -> Stored<()> {
        self.state().batches.push_back(batch);
        Ok(())
    }

    async fn send_timer(&self, _run: &RunKey, at: Millis, _now: Millis) -> Stored<()> {
        let armed = self.state().armed.clone();
        if let Some(tell) = armed {
            tell(at);
        }
        Ok(())
    }

    async fn send_reconcile(&self, reconcile: Reconcile) -> Stored<()> {
        self.state().reconciles.push_back(reconcile);
        Ok(())
    }
}
