//! A completion that asks for the worker's next job: a dependent that needs nothing else goes from waiting to running in
//! one write.

use protocol::requests::Next;
use protocol::wire::Claimed;

use crate::Claims;
use crate::claim::Claimer;
use crate::eligibility;
use crate::error::Result;
use crate::ids::{JobKey, LeaseToken, PoolId, Random};
use crate::job::{JobRecord, NextLease, Phase, Precondition};
use crate::ports::{ArtifactStore, Consistency, Dispatcher, JobStore, RunStore, WorkerRegistry};

/// The worker, and the dependent that it may be given.
pub(crate) struct NextClaim {
    pub claimer: Claimer,
    candidate: Option<Candidate>,
}

struct Candidate {
    key: JobKey,
    pool: PoolId,
    /// Its lease is made of this.
    random: Random,
}

impl<P: RunStore + JobStore + ArtifactStore + WorkerRegistry + Dispatcher> Claims<'_, P> {
    /// Checks who asks, and finds a direct dependent of the job that waits for nothing else and that the worker may run.
    ///
    /// What is found is a guess by eventual reads: the write that takes it decides.
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
            if !ready || dependent.sharded {
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

    /// Takes the dependent for the worker, after the write that ended the job it waited for.
    pub(crate) async fn grant(self, token: &LeaseToken, next_claim: &NextClaim) -> Result<Option<Claimed>> {
        let Some(Candidate { key, pool, random }) = &next_claim.candidate else { return Ok(None) };
        let waiting = |_| Precondition::WaitingOnlyOn(token.job.index);
        // The change feed may have been faster, and have put it in its pool's list.
        let ready = |by| Precondition::Ready { pool: pool.clone(), by };
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

    /// For a repeated completion: what the first was given, while it is still the worker's.
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
    /// What the write that ends the job says of it.
    pub(crate) fn named(&self, token: &LeaseToken) -> Option<NextLease> {
        let Candidate { key, random, .. } = self.candidate.as_ref()?;
        Some(NextLease { index: key.index, masked: hex::encode(token.mask(*random)) })
    }
}
