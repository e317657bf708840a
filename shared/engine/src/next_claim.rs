//! Claims the next job with a completion: a dependent without other needs goes from waiting to running in one write.

use protocol::requests::Next;
use protocol::wire::Claimed;

use crate::Claims;
use crate::claim::Claimer;
use crate::eligibility;
use crate::error::Result;
use crate::ids::{JobKey, LeaseToken, PoolId, Random};
use crate::job::{JobRecord, NextLease, Phase, Precondition};
use crate::planted::Bug;
use crate::ports::{ArtifactStore, Consistency, Dispatcher, JobStore, RunStore, WorkerRegistry};

/// A worker that asks for a next job, and the dependent that it may receive.
pub(crate) struct NextClaim {
    pub claimer: Claimer,
    candidate: Option<Candidate>,
}

struct Candidate {
    key: JobKey,
    pool: PoolId,
    /// The random part of the dependent's lease.
    random: Random,
}

impl<P: RunStore + JobStore + ArtifactStore + WorkerRegistry + Dispatcher> Claims<'_, P> {
    /// Validates the request and finds a direct dependent that has no other needs and no group, whose condition holds after
    /// this success, and that the worker may run.
    ///
    /// The dependent is found by eventual reads, so it is only a candidate. The write that claims it decides.
    pub(crate) async fn next_claim(self, token: &LeaseToken, next: Next) -> Result<NextClaim> {
        let claimer = self.claimer(next.worker_id, next.labels, next.exclusive, next.lease_ttl_secs).await?;
        let candidate = match self.engine.records().held(token).await? {
            Some((job, _)) => self.only_waits_for(&job, &claimer).await?,
            None => None,
        };
        Ok(NextClaim { claimer, candidate })
    }

    async fn only_waits_for(self, job: &JobRecord, claimer: &Claimer) -> Result<Option<Candidate>> {
        let spec = self.engine.records().spec(job).await?;
        let first = spec.dependents.get(..self.engine.tuning.inline_promotions).unwrap_or(&spec.dependents);
        if first.is_empty() {
            return Ok(None);
        }
        for dependent in
            self.engine.ports.jobs_at(&job.key.run, first, Consistency::Eventual).await?.into_iter().flatten()
        {
            let ready =
                matches!(&dependent.phase, Phase::Waiting { on } if on.len() == 1 && on.contains(&job.key.index));
            let waits_its_turn = dependent.group.is_some() && !self.engine.has(Bug::NextTakesGroup);
            if !ready || waits_its_turn || dependent.sharded || !dependent.runs_after_success() {
                continue;
            }
            let spec = self.engine.records().spec(&dependent).await?;
            let worker = claimer.eligible(&self.engine.caller);
            let may = eligibility::admits(&spec.labels, &spec.secrets, worker).is_ok();
            if may && self.engine.job_secrets().can_read(&spec.secrets).await {
                let JobRecord { key, pool, .. } = dependent;
                return Ok(Some(Candidate { key, pool, random: self.engine.random() }));
            }
        }
        Ok(None)
    }

    /// Claims the dependent for the worker. Runs after the write that ended its need.
    pub(crate) async fn grant(self, token: &LeaseToken, next_claim: &NextClaim) -> Result<Option<Claimed>> {
        let Some(Candidate { key, pool, random }) = &next_claim.candidate else { return Ok(None) };
        let waiting = |_| Precondition::WaitingOnlyOn(token.job.index);
        // The handler of the change event may have moved the job into the ready list first.
        let ready = |by| Precondition::Ready { pool: pool.clone(), by, worker: next_claim.claimer.id.clone() };
        let job = match self.try_claim(&next_claim.claimer, key, *random, waiting).await? {
            None => self.try_claim(&next_claim.claimer, key, *random, ready).await?,
            job => job,
        };
        match job {
            Some(job) => {
                let lease = self.engine.new_lease(key.clone(), job.attempt, *random);
                self.finish_claim(&next_claim.claimer, &job, &lease).await
            }
            None => Ok(None),
        }
    }

    /// Repeats the grant of a repeated completion, while the lease is still the worker's.
    pub(crate) async fn grant_again(
        self,
        token: &LeaseToken,
        done: &JobRecord,
        next_claim: &NextClaim,
    ) -> Result<Option<Claimed>> {
        let Some(NextLease { index, masked }) = &done.next else { return Ok(None) };
        let Some(masked) = hex::decode(masked).ok().and_then(|bytes| Random::try_from(bytes).ok()) else {
            return Ok(None);
        };
        let key = JobKey::new(&token.job.run, *index);
        let Some(job) = self.engine.ports.job(&key, Consistency::Strong).await? else { return Ok(None) };
        let lease = self.engine.new_lease(key, job.attempt, token.mask(masked));
        let live = Precondition::HeldLive { fence: lease.fence(), now: self.engine.now() };
        if !live.holds(&job) {
            return Ok(None);
        }
        self.finish_claim(&next_claim.claimer, &job, &lease).await
    }
}

impl NextClaim {
    /// The reference that the write that ends the completed job stores.
    pub(crate) fn named(&self, token: &LeaseToken) -> Option<NextLease> {
        let Candidate { key, random, .. } = self.candidate.as_ref()?;
        Some(NextLease { index: key.index, masked: hex::encode(token.mask(*random)) })
    }
}
