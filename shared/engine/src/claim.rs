//! Claims: gives a ready job to a worker under a lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use protocol::requests::{Claim, FEATURE_OUTPUTS_URL, FEATURE_SECRETS};
use protocol::wire::{Cause, Claimed, InputValues, Lease};
use protocol::{JobId, LabelSet, Millis, Outputs, Secrets, Status, WorkerId, limit, limits};

use crate::Claims;
use crate::access::Grant;
use crate::checkout::CheckoutOfJob;
use crate::eligibility::Eligible;
use crate::error::{EngineError, Result};
use crate::ids::{JobIndex, JobKey, LeaseToken, Random, ReportHash, RunKey, Ticket};
use crate::job::{
    Change, End, Failure, GiveBack, GivenBackBy, JobRecord, JobSpec, JobUpdate, LastReport, LeaseRecord, NeedResult,
    OutputsRef, Precondition, after_failure, after_return,
};
use crate::payload::{Given, environment, escaped_size, queued_job, too_large_without_outputs};
use crate::ports::{
    ArtifactStore, Consistency, Dispatcher, JobStore, Pool, ReadyHead, RunStore, StoreError, Updated, WorkerRegistry,
};
use crate::run::{Control, RunState};
use crate::secrets;

/// A claim starts at a random one of the first jobs of the ready lists, so that concurrent claimers rarely try the
/// same job.
const SPREAD: usize = 8;
/// Jobs that a claim tries before it reads the ready lists again.
const TRIES: usize = 4;
/// How often a claim reads the ready lists.
const READS: usize = 2;
/// A claim tries no other job after this long, such as one whose forge took long to refuse a credential. The functions end after
/// 29 s, and a job that is leased then is lost until its lease expires.
const LOOKS_FOR: Duration = Duration::from_secs(5);

/// A validated claim request: worker identity, labels and lease TTL.
pub(crate) struct Claimer {
    pub id: WorkerId,
    pub labels: LabelSet,
    pub exclusive: bool,
    pub ttl_secs: u32,
    /// True if the worker sets a job's secrets itself.
    pub sets_secrets: bool,
}

impl Claimer {
    /// The claimer as the eligibility rule sees it, with the permissions of its caller.
    pub(crate) fn eligible<'a>(&'a self, grant: &'a Grant) -> Eligible<'a> {
        Eligible { labels: &self.labels, exclusive: self.exclusive, grant: Some(grant) }
    }
}

/// A job in a pool that the claimer covers.
struct Candidate<'a> {
    pool: &'a Pool,
    job: JobKey,
}

impl<P: RunStore + JobStore + ArtifactStore + WorkerRegistry + Dispatcher> Claims<'_, P> {
    /// Claims a ready job that the worker's labels cover. Returns `None` if there is none.
    ///
    /// Only the ready lists of covered pools are read, and the precondition of the write that claims the job names the
    /// pool again, so labels are always enforced. The run's control record is read strongly *after* that write: a
    /// cancel that was answered earlier is seen then, and the claimed job is ended as cancelled.
    ///
    /// # Errors
    /// [`EngineError::Range`] for the ttl, [`EngineError::Labels`] for over 64 labels,
    /// [`EngineError::TooMuch`] for the ticket and for more workers than a token may have,
    /// [`EngineError::LabelsNotAllowed`], [`EngineError::WorkerTaken`].
    pub async fn claim(self, request: Claim) -> Result<Option<Claimed>> {
        let claimer =
            self.claimer(request.worker_id, request.labels, request.exclusive, request.lease_ttl_secs).await?;
        let begun = self.engine.now();
        let pools = self.covered(&claimer).await?;
        if let Some(ticket) = &request.ticket {
            EngineError::over(limit!(TICKET), || "the length in bytes of `ticket`".to_owned(), ticket.len())?;
            let named = |ticket: Ticket| Some((pools.iter().find(|pool| pool.id == ticket.pool)?, ticket.job));
            return match Ticket::parse(ticket).and_then(named) {
                Some((pool, job)) if self.engine.job_secrets().can_read(&pool.secrets).await => {
                    self.take(&claimer, Candidate { pool, job }).await
                }
                _ => Ok(None),
            };
        }
        for _ in 0..READS {
            let candidates = self.candidates(&pools).await?;
            if candidates.is_empty() {
                return Ok(None);
            }
            for candidate in candidates {
                let taken = self.take(&claimer, candidate).await?;
                if taken.is_some() || self.engine.now().since(begun) >= LOOKS_FOR {
                    return Ok(taken);
                }
            }
        }
        Ok(None)
    }

    pub(crate) async fn claimer(
        self,
        id: WorkerId,
        labels: LabelSet,
        exclusive: bool,
        ttl_secs: u32,
    ) -> Result<Claimer> {
        labels.at_most(limit!(LABELS_PER_WORKER))?;
        if !limits::LEASE_TTL_SECS.contains(&ttl_secs) {
            return Err(EngineError::Range {
                field: "lease_ttl_secs",
                value: ttl_secs.into(),
                min: (*limits::LEASE_TTL_SECS.start()).into(),
                max: (*limits::LEASE_TTL_SECS.end()).into(),
            });
        }
        self.engine.caller.check_labels(&labels)?;
        let known = self.engine.workers().heard_claiming(&id, &labels, exclusive).await?;
        let sets_secrets = known.features.iter().any(|feature| feature == FEATURE_SECRETS);
        let exclusive = known.exclusive || self.engine.caller.permissions.exclusive;
        Ok(Claimer { id, labels, exclusive, ttl_secs, sets_secrets })
    }

    async fn covered(self, claimer: &Claimer) -> Result<Vec<Pool>> {
        let mut pools = Arc::unwrap_or_clone(self.engine.workers().pools_for(&claimer.labels).await?);
        pools.retain(|pool| pool.admits(claimer.eligible(&self.engine.caller)).is_ok());
        Ok(pools)
    }

    /// Returns the candidates: the oldest jobs of all covered pools whose secrets can be read, starting at a random one of the
    /// first few.
    async fn candidates(self, pools: &[Pool]) -> Result<Vec<Candidate<'_>>> {
        let now = self.engine.now();
        let heads = try_join_all(pools.iter().map(|pool| self.engine.ports.ready_heads(&pool.id, now))).await?;
        let mut all: Vec<(ReadyHead, &Pool)> =
            pools.iter().zip(heads).flat_map(|(pool, heads)| heads.into_iter().map(move |head| (head, pool))).collect();
        all.sort_by(|(one, of), (other, of_other)| (one, &of.id).cmp(&(other, &of_other.id)));
        let spread = all.len().clamp(1, SPREAD);
        let start = usize::from(self.engine.random()[0]) % spread;
        // Towards newer jobs, with wraparound, so that all jobs are tried if only a few are ready.
        all.rotate_left(start);
        let mut candidates = Vec::with_capacity(TRIES);
        for (head, pool) in all {
            if candidates.len() == TRIES {
                break;
            }
            if self.engine.job_secrets().can_read(&pool.secrets).await {
                candidates.push(Candidate { pool, job: head.job });
            }
        }
        Ok(candidates)
    }

    async fn take(self, claimer: &Claimer, candidate: Candidate<'_>) -> Result<Option<Claimed>> {
        let (pool, worker) = (candidate.pool.id.clone(), claimer.id.clone());
        let expect = |by| Precondition::Ready { pool, by, worker };
        let random = self.engine.random();
        match self.try_claim(claimer, &candidate.job, random, expect).await? {
            Some(job) => {
                self.finish_claim(claimer, &job, &self.engine.new_lease(candidate.job, job.attempt, random)).await
            }
            None => Ok(None),
        }
    }

    /// Claims a job with one conditional write. Returns the job's current record.
    ///
    /// The run's timer is armed before the write too, on the evidence of an eventual read. So a lease expires in time
    /// even if the process stops right after the write, unless the timer fired in between.
    pub(crate) async fn try_claim(
        self,
        claimer: &Claimer,
        job: &JobKey,
        random: Random,
        expect: impl FnOnce(Millis) -> Precondition + Send,
    ) -> Result<Option<JobRecord>> {
        let now = self.engine.now();
        // The attempt number is part of the lease's text but not of the fence, which is the same for any attempt.
        let fence = self.engine.new_lease(job.clone(), 0, random).fence();
        let until = now + Duration::from_secs(claimer.ttl_secs.into());
        let held = LeaseRecord {
            fence: fence.clone(),
            worker: claimer.id.clone(),
            ttl_secs: claimer.ttl_secs,
            started_at: now,
            until,
        };
        if let Some(control) = self.engine.ports.control(&job.run, Consistency::Eventual).await? {
            self.engine.timers().arm(&control, until).await?;
        }
        let update = JobUpdate { expect: expect(now), change: Change::Start(held) };
        match self.engine.ports.update(job, update).await {
            Ok(Updated::Done(job)) => Ok(Some(job)),
            // This claim's own write was applied, its response was lost, and the client library repeated it.
            Ok(Updated::ConditionFailed(Some(job))) if job.is_running_under(&fence) => Ok(Some(job)),
            Ok(Updated::ConditionFailed(_)) => Ok(None),
            Err(error) => {
                self.engine.timers().arm_in_doubt(&job.run, until).await;
                Err(error.into())
            }
        }
    }

    /// Completes a claim after the write: ends the job if the run was cancelled; otherwise arms the timer and builds
    /// the worker's payload.
    pub(crate) async fn finish_claim(
        self,
        claimer: &Claimer,
        job: &JobRecord,
        lease: &LeaseToken,
    ) -> Result<Option<Claimed>> {
        let payload = match self.confirm(job, lease).await {
            Ok(Some((job, control))) => self.build_payload(claimer, &job, lease, &control).await,
            Ok(None) => return Ok(None),
            Err(error) => Err(error),
        };
        let error = match payload {
            Err(error) => error,
            Ok(given) => {
                if given.is_some() {
                    self.engine.workers().took(&claimer.id, job).await;
                }
                return Ok(given);
            }
        };
        if matches!(self.engine.records().is_deleted(&job.key.run, &error).await, Ok(true)) {
            return Ok(None);
        }
        self.give_back(job, lease, &error).await;
        match error {
            EngineError::Checkout { error, .. } => {
                if let Some(suppressed) = self.engine.caches.unreadable.pass(self.engine.now()) {
                    tracing::error!(job = %job.key, %error, suppressed, "jobs wait until the credential of their checkout can be had");
                }
                Ok(None)
            }
            error => Err(error),
        }
    }

    /// Makes the job ready again after a claim that took it failed, so that it needn't wait for the lease's expiry. If
    /// this fails too, the lease expires.
    async fn give_back(self, job: &JobRecord, lease: &LeaseToken, error: &EngineError) {
        let transient = matches!(
            error,
            EngineError::Store(StoreError::Unavailable(_) | StoreError::DiskFull(_))
                | EngineError::Checkout { transient: true, .. }
        );
        let back = GiveBack {
            by: GivenBackBy::Claim { transient },
            error: format!("a worker claimed it, but it could not be given: {error}"),
            last_report: LastReport { fence: lease.fence(), report: ReportHash::of(["given back"]) },
        };
        let change = after_return(job, back, self.engine.now());
        let expect = Precondition::Held { fence: lease.fence() };
        let done = match self.engine.ports.update(&job.key, JobUpdate { expect, change }).await.map(Updated::record) {
            Ok(Some(job)) => self.engine.scheduling().dispatch_or_place(&job).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = done {
            tracing::warn!(job = %job.key, %error, "a job could not be given back after a failed claim");
            if let Some(held) = job.lease() {
                let until = job.deadline().map_or(held.until, |end| end.min(held.until));
                self.engine.timers().arm_in_doubt(&job.key.run, until).await;
            }
        }
    }

    /// Arms the run's timer for the lease's expiry. Returns `None` if the lease no longer holds the job or the run no
    /// longer accepts reports.
    async fn confirm(self, job: &JobRecord, lease: &LeaseToken) -> Result<Option<(JobRecord, Control)>> {
        let Some(job) = self.end_by_deadline(job, lease).await? else { return Ok(None) };
        let control = match self.engine.ports.control(&job.key.run, Consistency::Strong).await? {
            Some(control) if control.state == RunState::Open => control,
            _ => {
                let end = End::unreported(crate::job::JobOutcome::Cancelled, self.engine.now());
                let expect = Precondition::Held { fence: lease.fence() };
                self.engine.ports.update(&job.key, JobUpdate { expect, change: Change::End(end) }).await?;
                return Ok(None);
            }
        };
        if let Some(held) = job.lease() {
            self.engine.timers().arm(&control, held.until).await?;
        }
        Ok(Some((job, control)))
    }

    /// Builds the payload that the worker needs to run the claimed job.
    async fn build_payload(
        self,
        claimer: &Claimer,
        job: &JobRecord,
        lease: &LeaseToken,
        control: &Control,
    ) -> Result<Option<Claimed>> {
        let spec = self.engine.records().spec(job).await?;
        debug_assert!(spec.labels.missing_from(&claimer.labels).is_empty());
        let needs = self.ended_needs(job, &spec).await?;
        let total: usize = needs.iter().filter_map(JobRecord::outputs).map(OutputsRef::size).sum();
        if total > limits::UPSTREAM {
            let text = format!("the outputs of the jobs it needs are {total} bytes together; {}", limit!(UPSTREAM));
            return self.refuse(job, &spec, lease, text).await;
        }
        let secrets = self.engine.job_secrets().values(&spec.secrets).await?;
        if let Some(text) = secrets::missing(&spec.secrets, &secrets) {
            return self.refuse(job, &spec, lease, text).await;
        }
        let upstream = self.gather(&needs).await?;
        let in_env = if claimer.sets_secrets { &Secrets::new() } else { &secrets };
        let inputs = self.inputs(&job.key.run, &spec).await?;
        let statuses = self.statuses(job, &needs).await?;
        let given = Given { inputs: &inputs, upstream: &upstream, statuses: &statuses, secrets: in_env };
        let env = match environment(&spec, &given) {
            Ok(env) => env,
            Err(text) => return self.refuse(job, &spec, lease, text).await,
        };
        let checkout = match self.engine.checkouts_of(claimer.sets_secrets).of_job(&spec, control, &inputs).await? {
            Ok(checkout) => checkout,
            Err(text) => return self.refuse(job, &spec, lease, text).await,
        };
        let mut queued = queued_job(job, &spec, control, env, checkout.as_ref().map(|checkout| &checkout.from));
        queued.inputs = inputs;
        queued.secrets = secrets;
        queued.secrets.extend(checkout.and_then(CheckoutOfJob::secret));
        queued.upstream_outputs = upstream;
        queued.upstream_status = statuses;
        if total > limits::UPSTREAM_INLINE || escaped_size(&queued, total) > limits::ANSWER_ESCAPED {
            match self.publish(claimer, job, &queued.upstream_outputs).await? {
                Published::AnswersMayBeLarge => {}
                Published::Url { url, worker_can } => {
                    queued.upstream_outputs.clear();
                    if let Some(text) = too_large_without_outputs(&queued) {
                        return self.refuse(job, &spec, lease, text).await;
                    }
                    if !worker_can {
                        let text = format!(
                            "the outputs of the jobs it needs are {total} bytes together; a claim carries at most {} with the \
                             command and JSON, and worker {} did not register the feature {FEATURE_OUTPUTS_URL:?} to fetch more",
                            limits::UPSTREAM_INLINE,
                            claimer.id
                        );
                        return self.refuse(job, &spec, lease, text).await;
                    }
                    queued.upstream_outputs_url = Some(url);
                }
            }
        }
        let lease = lease_of(job, control, lease, claimer.ttl_secs, &claimer.id);
        Ok(Some(Claimed { job: queued, lease }))
    }

    /// Shortens the lease to the job's timeout if that is earlier. Returns `None` if the lease no longer holds the
    /// job.
    async fn end_by_deadline(self, job: &JobRecord, lease: &LeaseToken) -> Result<Option<JobRecord>> {
        let (Some(held), Some(deadline)) = (job.lease(), job.deadline()) else { return Ok(Some(job.clone())) };
        if held.until <= deadline {
            return Ok(Some(job.clone()));
        }
        let expect = Precondition::Held { fence: lease.fence() };
        let change = Change::Renew { until: deadline };
        let job = self.engine.ports.update(&job.key, JobUpdate { expect, change }).await?.record();
        Ok(job.filter(|job| job.is_running_under(&lease.fence())))
    }

    /// Fails a job that can't be given to any worker. A retry would not help.
    async fn refuse(
        self,
        job: &JobRecord,
        spec: &JobSpec,
        lease: &LeaseToken,
        error: String,
    ) -> Result<Option<Claimed>> {
        let last_report = Some(LastReport { fence: lease.fence(), report: ReportHash::of(["upstream"]) });
        let failure = Failure { cause: Cause::Failure, error, exit_code: None, retryable: false, last_report };
        let change = after_failure(job, spec, failure, self.engine.now());
        let expect = Precondition::Held { fence: lease.fence() };
        self.engine.ports.update(&job.key, JobUpdate { expect, change }).await?;
        Ok(None)
    }

    /// Returns the records of all needs, which have ended. Reads strongly those that an eventual read doesn't show as
    /// ended.
    async fn ended_needs(self, job: &JobRecord, spec: &JobSpec) -> Result<Vec<JobRecord>> {
        let ended = |record: &JobRecord| record.need_result().is_some();
        let run = &job.key.run;
        let mut needs = Vec::with_capacity(spec.needs.len());
        for page in spec.needs.chunks(100) {
            let read = self.engine.ports.jobs_at(run, page, Consistency::Eventual).await?;
            let stale: Vec<JobIndex> = page
                .iter()
                .zip(&read)
                .filter(|(_, record)| !record.as_ref().is_some_and(ended))
                .map(|(index, _)| *index)
                .collect();
            needs.extend(read.into_iter().flatten().filter(ended));
            if !stale.is_empty() {
                let again = self.engine.ports.jobs_at(run, &stale, Consistency::Strong).await?;
                needs.extend(again.into_iter().flatten().filter(ended));
            }
        }
        let passed = |need: &JobRecord| need.need_result() == Some(NeedResult::Passed);
        if needs.len() != spec.needs.len() || (job.needs_success() && !needs.iter().all(passed)) {
            return Err(StoreError::Corrupt(format!("job {} runs before its needs allow it", job.key)).into());
        }
        Ok(needs)
    }

    /// Returns how the needs of a job ended; for the job of `on_failure`, which is the last one, some of the jobs that
    /// failed. Those are read by their keys: a claim may not query a run.
    async fn statuses(self, job: &JobRecord, needs: &[JobRecord]) -> Result<BTreeMap<JobId, Status>> {
        let status = |job: &JobRecord| (job.id.clone(), job.status());
        if !job.waits_for_run() {
            return Ok(needs.iter().map(status).collect());
        }
        let mut failed = BTreeMap::new();
        let others: Vec<JobIndex> = (0..job.key.index).collect();
        for page in others.chunks(100) {
            let read = self.engine.ports.jobs_at(&job.key.run, page, Consistency::Strong).await?;
            failed
                .extend(read.iter().flatten().filter(|job| job.need_result() == Some(NeedResult::Failed)).map(status));
            if failed.len() >= limits::FAILED_TOLD {
                break;
            }
        }
        Ok(failed.into_iter().take(limits::FAILED_TOLD).collect())
    }

    /// Returns the values of the run's inputs, if the workflow has any.
    async fn inputs(self, run: &RunKey, spec: &JobSpec) -> Result<InputValues> {
        if !spec.has_inputs {
            return Ok(InputValues::new());
        }
        let inputs = self.engine.ports.inputs(run).await?;
        Ok(inputs.ok_or_else(|| StoreError::Corrupt(format!("the inputs of run {run} are missing")))?)
    }

    async fn gather(self, needs: &[JobRecord]) -> Result<BTreeMap<JobId, Outputs>> {
        let mut upstream = BTreeMap::new();
        for page in needs.chunks(16) {
            let outputs = try_join_all(page.iter().map(|need| self.engine.records().outputs_of(need))).await?;
            upstream.extend(page.iter().map(|need| need.id.clone()).zip(outputs));
        }
        Ok(upstream)
    }

    async fn publish(
        self,
        claimer: &Claimer,
        job: &JobRecord,
        upstream: &BTreeMap<JobId, Outputs>,
    ) -> Result<Published> {
        let document = serde_json::to_vec(upstream).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let Some(url) = self.engine.ports.publish(&job.key, Bytes::from(document)).await? else {
            return Ok(Published::AnswersMayBeLarge);
        };
        let worker = self.engine.ports.worker(&claimer.id, self.engine.now(), Consistency::Strong).await?;
        let worker_can =
            worker.is_some_and(|worker| worker.features.iter().any(|feature| feature == FEATURE_OUTPUTS_URL));
        Ok(Published::Url { url, worker_can })
    }
}

/// How the worker receives outputs that are too large for the response.
enum Published {
    Url {
        url: String,
        /// True if the worker registered [`FEATURE_OUTPUTS_URL`].
        worker_can: bool,
    },
    AnswersMayBeLarge,
}

pub(crate) fn lease_of(
    job: &JobRecord,
    control: &Control,
    token: &LeaseToken,
    ttl_secs: u32,
    worker: &WorkerId,
) -> Lease {
    let until = job.lease().map_or(Millis(0), |held| held.until);
    Lease {
        lease_id: token.id(),
        job_id: job.id.clone(),
        workflow_id: control.workflow.clone(),
        worker_id: worker.clone(),
        ttl_secs,
        granted_at_ms: until - Duration::from_secs(ttl_secs.into()),
    }
}
