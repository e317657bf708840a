//! A worker's reports about an attempt: success, failure and heartbeat.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryFutureExt;
use protocol::requests::{Fail, FailCause, Next};
use protocol::wire::{Cause, Claimed, Heartbeat};
use protocol::{JobId, Millis, OutputName, Outputs, WorkflowId, limits, outputs};

use crate::Reports;
use crate::claim::lease_of;
use crate::error::{EngineError, LeaseLost, Result};
use crate::ids::{Fence, JobKey, LeaseToken, ReportHash};
use crate::job::lost_report;
use crate::job::{
    Change, Completion, End, Failure, GiveBack, GivenBackBy, JobOutcome, JobRecord, JobUpdate, LastReport, OutputsRef,
    Phase, Precondition, after_failure, after_return, cut, json_size,
};
use crate::next_claim::NextClaim;
use crate::planted::Bug;
use crate::ports::{ArtifactStore, Consistency, Dispatcher, JobStore, RunStore, StoreError, Updated, WorkerRegistry};
use crate::records::surely;
use crate::run::{Control, RunState};

/// The maximum size in bytes, as JSON, of outputs stored in the job's record.
const SMALL_OUTPUTS: usize = 256;

impl<P: RunStore + JobStore + ArtifactStore + WorkerRegistry + Dispatcher> Reports<'_, P> {
    /// Accepts a worker's report that an attempt succeeded.
    ///
    /// External outputs are written first, under an unused id. The conditional update to the end state references them
    /// and is the acknowledgement. After a crash in between, the outputs are unreachable and expire. Promotion runs
    /// last; the handler of the change event repeats it, so a crash here only delays the dependents.
    ///
    /// With `next`, the worker also receives a dependent that has no other needs, if the worker's labels allow it. The
    /// response carries it, and the end state names it, so that a repeated report receives the same lease while it is
    /// valid.
    ///
    /// # Errors
    /// [`EngineError::LeaseLost`], unless this same report was accepted before. [`EngineError::Outputs`] and
    /// [`EngineError::Id`] for outputs that are too large or misnamed. The errors of a claim for `next`.
    pub async fn complete(
        self,
        lease: &str,
        given: BTreeMap<String, String>,
        next: Option<Next>,
    ) -> Result<Option<Claimed>> {
        let token = self.engine.lease(lease).ok_or(LeaseLost::Unknown)?;
        let given = checked_outputs(given)?;
        let report = LastReport { fence: token.fence(), report: success_hash(&given) };
        if !self.accepts_reports(&token, &report).await? {
            return Ok(None);
        }
        let next_claim = match next {
            Some(next) => {
                let next_claim = self.engine.claims().next_claim(&token, next).await;
                Some(self.unless_lost(&token, next_claim).await?)
            }
            None => None,
        };
        if json_size(&given) > SMALL_OUTPUTS && !self.is_live_now(&token).await? {
            // Nothing is stored for a lease that no longer holds the job.
            let job = self.engine.ports.job(&token.job, Consistency::Strong).await?;
            return self.completed_before(&token, job, &report, next_claim).await;
        }
        let kept = self.keep_outputs(&token.job, given).await?;
        if self.engine.has(Bug::PromoteBeforeWrite)
            && let Some((job, _)) = self.engine.records().held(&token).await?
        {
            self.engine.scheduling().promote_inline(&job).await?;
        }
        let now = self.engine.now();
        let named = next_claim.as_ref().and_then(|next_claim| next_claim.named(&token));
        let change = Change::End(End { next: named, ..End::success(kept, now, report.clone()) });
        let expect = Precondition::HeldLive { fence: token.fence(), now };
        match self.engine.ports.update(&token.job, JobUpdate { expect, change }).await? {
            Updated::Done(job) => self.after_completion(&token, &job, next_claim).await,
            Updated::ConditionFailed(job) => self.completed_before(&token, job, &report, next_claim).await,
        }
    }

    /// Handles a completion that may have been accepted before. Then it receives the same next job.
    async fn completed_before(
        self,
        token: &LeaseToken,
        job: Option<JobRecord>,
        report: &LastReport,
        next_claim: Option<NextClaim>,
    ) -> Result<Option<Claimed>> {
        repeat_or_lost(job.as_ref(), report)?;
        match (job, next_claim) {
            (Some(job), Some(next_claim)) => self.engine.claims().grant_again(token, &job, &next_claim).await,
            _ => Ok(None),
        }
    }

    /// Returns true if the lease holds the job now. Reads strongly if an eventual read doesn't show that.
    async fn is_live_now(self, token: &LeaseToken) -> Result<bool> {
        let now = self.engine.now();
        let live = |job: Option<JobRecord>| job.filter(|job| is_live(job, &token.fence(), now));
        Ok(surely(|how| self.engine.ports.job(&token.job, how).map_ok(live)).await?.is_some())
    }

    /// Grants the next job and promotes the other dependents. The change feed can take over the promotion, but not the
    /// grant: the next job may already be leased. If the store is unavailable, the caller repeats the completion,
    /// which is recognised and receives the same lease, unless the failed grant gave the next job back.
    async fn after_completion(
        self,
        token: &LeaseToken,
        job: &JobRecord,
        next_claim: Option<NextClaim>,
    ) -> Result<Option<Claimed>> {
        if let Some(held) = job.lease() {
            self.engine.workers().let_go(&held.worker, &job.key);
        }
        let granted = match next_claim {
            Some(next_claim) => self.engine.claims().grant(token, &next_claim).await,
            None => Ok(None),
        };
        if let Err(error) = self.engine.scheduling().promote_inline(job).await {
            tracing::warn!(job = %job.key, %error, "promoting after a completion; the change feed will do it");
        }
        match granted {
            Err(error) if !matches!(error, EngineError::Store(StoreError::Unavailable(_))) => {
                tracing::error!(job = %job.key, %error, "the next job could not be given");
                Ok(None)
            }
            granted => granted,
        }
    }

    /// Accepts a worker's report that an attempt failed. The job is retried or ends. If the worker could not run the
    /// job because of its own trouble, the job is ready again at once and uses no try, up to [`limits::RETURNS`] times
    /// in a row.
    ///
    /// # Errors
    /// As [`Reports::complete`].
    pub async fn fail(self, lease: &str, said: Fail) -> Result<()> {
        let token = self.engine.lease(lease).ok_or(LeaseLost::Unknown)?;
        let report = LastReport { fence: token.fence(), report: failure_hash(&said) };
        if !self.accepts_reports(&token, &report).await? {
            return Ok(());
        }
        let Some((job, held)) = self.engine.records().held(&token).await? else {
            let job = self.engine.ports.job(&token.job, Consistency::Strong).await?;
            return self.failed_before(job, &report).await;
        };
        let spec = self.engine.records().spec(&job).await;
        let spec = self.unless_lost(&token, spec).await?;
        let error = cut(self.engine.job_secrets().without_secrets(&job, &spec, said.error).await?, limits::ERROR_TEXT);
        let (now, worker) = (self.engine.now(), held.worker.clone());
        let change = if said.cause == Some(FailCause::Worker) {
            self.engine.caches.returners.insert(held.worker.clone(), (), now);
            let last_report = report.clone();
            after_return(&job, GiveBack { by: GivenBackBy::Worker(held.worker), error, last_report }, now)
        } else {
            let Fail { exit_code, retryable, .. } = said;
            let last_report = Some(report.clone());
            after_failure(&job, &spec, Failure { cause: Cause::Failure, error, exit_code, retryable, last_report }, now)
        };
        let expect = Precondition::HeldLive { fence: token.fence(), now };
        match self.engine.ports.update(&token.job, JobUpdate { expect, change }).await? {
            Updated::Done(job) => {
                self.engine.workers().let_go(&worker, &job.key);
                self.engine.scheduling().dispatch_or_place(&job).await
            }
            Updated::ConditionFailed(job) => self.failed_before(job, &report).await,
        }
    }

    /// Returns `found`, or [`LeaseLost`] if the run was deleted concurrently.
    async fn unless_lost<T: Send>(self, token: &LeaseToken, found: Result<T>) -> Result<T> {
        match found {
            Err(error) if self.engine.records().is_deleted(&token.job.run, &error).await? => {
                Err(LeaseLost::Ended.into())
            }
            found => found,
        }
    }

    /// Handles a failure that may have been accepted before. The process that accepted it may have stopped before it
    /// dispatched the next attempt.
    async fn failed_before(self, job: Option<JobRecord>, report: &LastReport) -> Result<()> {
        repeat_or_lost(job.as_ref(), report)?;
        match job {
            Some(job) => self.engine.scheduling().dispatch_or_place(&job).await,
            None => Ok(()),
        }
    }

    /// Extends a lease by its time to live, or reports that the run was cancelled.
    ///
    /// # Errors
    /// [`EngineError::LeaseLost`] if the lease no longer holds the attempt.
    pub async fn heartbeat(self, lease: &str) -> Result<Heartbeat> {
        let token = self.engine.lease(lease).ok_or(LeaseLost::Unknown)?;
        let control = self.engine.records().control_surely(&token.job.run).await?.ok_or(LeaseLost::Ended)?;
        let Some((job, held)) = self.engine.records().held(&token).await? else {
            let job = self.engine.ports.job(&token.job, Consistency::Strong).await?;
            return cancelled_answer(job.as_ref(), &control, &token).ok_or(LeaseLost::Ended.into());
        };
        self.engine.workers().heard_running(&held.worker, &job).await?;
        if control.state == RunState::Cancelling {
            let lease = lease_of(&job, &control, &token, held.ttl_secs, &held.worker);
            return Ok(Heartbeat { lease, cancelled: true });
        }
        let now = self.engine.now();
        let renewed = now + Duration::from_secs(held.ttl_secs.into());
        let until = job.deadline().map_or(renewed, |deadline| deadline.min(renewed));
        let expect = Precondition::HeldLiveUntil { fence: token.fence(), now, until };
        let job =
            match self.engine.ports.update(&token.job, JobUpdate { expect, change: Change::Renew { until } }).await? {
                Updated::Done(job) => job,
                // The lease already expires later, by another process's clock. A heartbeat never moves the expiry
                // earlier.
                Updated::ConditionFailed(Some(job)) if is_live(&job, &token.fence(), now) => job,
                Updated::ConditionFailed(job) => {
                    return cancelled_answer(job.as_ref(), &control, &token).ok_or(LeaseLost::Ended.into());
                }
            };
        let lease = lease_of(&job, &control, &token, held.ttl_secs, &held.worker);
        Ok(Heartbeat { lease, cancelled: false })
    }

    /// Returns the workflow and the job that a lease id names, for the audit log. Doesn't check the lease.
    pub async fn subject_of(self, lease: &str) -> Option<(WorkflowId, JobId)> {
        let token = self.engine.lease(lease)?;
        let control = self.engine.ports.control(&token.job.run, Consistency::Eventual).await.ok()??;
        let job = self.engine.ports.job(&token.job, Consistency::Eventual).await.ok()??;
        Some((control.workflow, job.id))
    }

    /// Returns true if the run accepts reports. Returns false if it doesn't, but this report was accepted while it
    /// did; then nothing is left to do.
    async fn accepts_reports(self, token: &LeaseToken, report: &LastReport) -> Result<bool> {
        let control = self.engine.ports.control(&token.job.run, Consistency::Strong).await?;
        match control.map(|control| control.state) {
            Some(RunState::Open) => Ok(true),
            state => {
                let job = self.engine.ports.job(&token.job, Consistency::Strong).await?;
                match repeat_or_lost(job.as_ref(), report) {
                    Ok(()) => Ok(false),
                    Err(_) if state == Some(RunState::Cancelling) => Err(LeaseLost::Cancelled.into()),
                    Err(lost) => Err(lost.into()),
                }
            }
        }
    }

    async fn keep_outputs(self, job: &JobKey, given: Outputs) -> Result<OutputsRef> {
        let size = json_size(&given);
        if size <= SMALL_OUTPUTS {
            return Ok(OutputsRef::Inline(given));
        }
        let id = hex::encode(self.engine.random());
        self.engine.ports.put_outputs(job, &id, &given).await?;
        Ok(OutputsRef::External { id, size })
    }
}

fn checked_outputs(given: BTreeMap<String, String>) -> Result<Outputs> {
    let mut checked = Outputs::new();
    for (name, value) in given {
        checked.insert(OutputName::new(name)?, value);
    }
    outputs::check_size(&checked)?;
    Ok(checked)
}

fn success_hash(outputs: &Outputs) -> ReportHash {
    let pairs = outputs.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    ReportHash::of(std::iter::once("success").chain(pairs))
}

fn failure_hash(said: &Fail) -> ReportHash {
    let code = said.exit_code.map_or_else(String::new, |code| code.to_string());
    let kind = if said.cause == Some(FailCause::Worker) { "returned" } else { "failure" };
    ReportHash::of([kind, &said.error, if said.retryable { "again" } else { "final" }, &code])
}

/// Succeeds if the report is the one that ended the attempt. Otherwise returns why the report is refused.
fn repeat_or_lost(job: Option<&JobRecord>, report: &LastReport) -> Result<(), LeaseLost> {
    let Some(job) = job else { return Err(LeaseLost::Ended) };
    match &job.last_report {
        Some(kept) if kept == report => Ok(()),
        Some(kept) if kept.fence == report.fence && kept.report != lost_report() => Err(LeaseLost::Reported),
        _ if is_cancelled_under(job, &report.fence) => Err(LeaseLost::Cancelled),
        _ => Err(LeaseLost::Ended),
    }
}

fn is_live(job: &JobRecord, fence: &Fence, now: Millis) -> bool {
    Precondition::HeldLive { fence: fence.clone(), now }.holds(job)
}

fn is_cancelled_under(job: &JobRecord, fence: &Fence) -> bool {
    matches!(&job.phase, Phase::Ended(Completion { outcome: JobOutcome::Cancelled, lease: Some(held), .. }) if held.fence == *fence)
}

/// The heartbeat response to a principal whose job was cancelled while leased.
fn cancelled_answer(job: Option<&JobRecord>, control: &Control, token: &LeaseToken) -> Option<Heartbeat> {
    let job = job.filter(|job| is_cancelled_under(job, &token.fence()))?;
    let held = job.lease()?;
    let lease = lease_of(job, control, token, held.ttl_secs, &held.worker);
    Some(Heartbeat { lease, cancelled: true })
}
