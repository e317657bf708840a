//! A worker under control of the test: each method is one call of the protocol.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::{join, join_all};
use protocol::requests::{Claim, Complete, Fail, LogPiece, Next, Register, Transport};
use protocol::wire::{Claimed, Heartbeat, Lease, QueueInfo, QueuedJob, Stream};
use protocol::{LabelSet, Millis, WorkerId};
use serde_json::Value;
use tokio::time::sleep;

use crate::cloud::{Cloud, Refused};
use crate::eventually;
use crate::run::Run;

/// On AWS a new pool may be unknown to claims for a second.
const POOLS_STAY_KNOWN: Duration = Duration::from_millis(1200);

/// A worker of this test.
#[derive(Clone)]
pub struct Worker {
    cloud: Cloud,
    /// The request of its claims.
    pub claim: Claim,
}

impl Cloud {
    /// An exclusive worker with this test's label and leases of ten minutes. It makes only the calls that the test makes.
    #[must_use]
    pub fn worker(&self, name: &str) -> Worker {
        Worker::new(self.clone(), name)
    }
}

impl Worker {
    fn new(cloud: Cloud, name: &str) -> Self {
        let claim = Claim {
            worker_id: WorkerId::new(format!("{}-{name}", cloud.label)).expect("a worker's id"),
            labels: LabelSet::parse([cloud.label.as_str()]).expect("labels"),
            lease_ttl_secs: 600,
            wait_secs: 0,
            exclusive: true,
            ticket: None,
        };
        Self { cloud, claim }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.claim.worker_id
    }

    /// Replaces its labels. They are separated by commas.
    ///
    /// # Panics
    /// If they aren't labels.
    #[must_use]
    pub fn labelled(mut self, labels: &str) -> Self {
        self.claim.labels = LabelSet::from_comma_separated(&self.cloud.fill(labels)).expect("labels");
        self
    }

    /// Sets the duration of its leases.
    #[must_use]
    pub fn ttl(mut self, secs: u32) -> Self {
        self.claim.lease_ttl_secs = secs;
        self
    }

    /// Takes jobs without labels too. Only for tests that run alone.
    #[must_use]
    pub fn takes_anything(mut self) -> Self {
        self.claim.exclusive = false;
        self
    }

    /// Claims with the ticket of a message.
    #[must_use]
    pub fn holding_ticket(mut self, ticket: impl Into<String>) -> Self {
        self.claim.ticket = Some(ticket.into());
        self
    }

    /// Registers, with these features.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn registers(self, features: &[&str]) -> Self {
        let register = Register {
            worker_id: self.id().clone(),
            labels: self.claim.labels.clone(),
            transport: Transport::Http,
            exclusive: self.claim.exclusive,
            features: features.iter().map(|&feature| feature.to_owned()).collect(),
            paused: None,
        };
        let registered = self.cloud.client.register(&register).await.expect("registered");
        assert!(registered.queues.is_empty() && registered.heartbeat_secs > 0, "{registered:?}");
        self
    }

    /// Registers as a worker that polls queues. Returns these queues.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn registers_for_queues(&self) -> Vec<QueueInfo> {
        let register = Register {
            worker_id: self.id().clone(),
            labels: self.claim.labels.clone(),
            transport: Transport::Sqs,
            exclusive: self.claim.exclusive,
            features: Vec::new(),
            paused: None,
        };
        self.cloud.client.register(&register).await.expect("registered").queues
    }

    /// Deregisters.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn leaves(&self) {
        self.cloud.client.deregister(self.id()).await.expect("unregistered");
    }

    /// Claims once.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn claims_once(&self) -> Option<HeldLease> {
        let claimed = self.cloud.client.claim(&self.claim).await.expect("a claim is answered");
        claimed.map(|Claimed { job, lease }| HeldLease { cloud: self.cloud.clone(), job, lease })
    }

    /// Claims until it gets a job.
    pub async fn claims_any(&self) -> HeldLease {
        eventually(&format!("a job for {}", self.id()), async || self.claims_once().await).await
    }

    /// Claims until it gets this job.
    ///
    /// # Panics
    /// If it gets another job.
    pub async fn claims(&self, job: &str) -> HeldLease {
        let hold = self.claims_any().await;
        assert_eq!(hold.job.job_id.as_str(), job, "another job came first");
        hold
    }

    /// Claims several times and expects no job.
    ///
    /// # Panics
    /// If it gets a job.
    pub async fn finds_nothing(&self) {
        let wait = if self.cloud.on_aws() { POOLS_STAY_KNOWN } else { Duration::ZERO };
        for pause in [Duration::ZERO, wait] {
            sleep(pause).await;
            for _ in 0..3 {
                let hold = self.claims_once().await;
                assert!(hold.is_none(), "{} was given {hold:?}", self.id());
            }
        }
    }

    /// Runs `count` workers like this one, which claim and complete jobs until all the runs are final. Returns the jobs
    /// that they completed, as `<workflow> <job>`, sorted. A job that was completed twice is listed twice.
    ///
    /// # Panics
    /// If a completion is refused.
    pub async fn process(&self, count: usize, runs: &[&Run]) -> Vec<String> {
        let workers = (0..count).map(|n| Self::new(self.cloud.clone(), &format!("hand-{n}")));
        let ended = AtomicBool::new(false);
        let work = join_all(workers.map(async |worker| {
            let mut done = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                if let Some(hold) = worker.claims_once().await {
                    hold.completes(&[]).await;
                    done.push(format!("{} {}", hold.job.workflow_id, hold.job.job_id));
                } else {
                    sleep(Duration::from_millis(20)).await;
                }
            }
            done
        }));
        // One task asks at intervals, because the answer for a wide run is large.
        let watch = async {
            while !all_final(runs).await {
                sleep(Duration::from_millis(200)).await;
            }
            ended.store(true, Ordering::Relaxed);
        };
        let mut done = join(work, watch).await.0.concat();
        done.sort();
        done
    }
}

async fn all_final(runs: &[&Run]) -> bool {
    let now = join_all(runs.iter().map(|run| run.now())).await;
    now.iter().all(|workflow| workflow.status.is_final())
}

/// A job and the lease on it.
#[derive(Clone)]
pub struct HeldLease {
    cloud: Cloud,
    /// The job of the claim's answer.
    pub job: QueuedJob,
    /// The lease.
    pub lease: Lease,
}

impl std::fmt::Debug for HeldLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} attempt {}", self.job.workflow_id, self.job.job_id, self.job.attempt)
    }
}

impl HeldLease {
    /// Reports success, with these outputs.
    ///
    /// # Panics
    /// If the answer has a next job.
    pub async fn complete(&self, outputs: &[(&str, &str)]) -> Result<(), Refused> {
        let outputs = outputs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let reported = self.cloud.client.complete(&self.lease.lease_id, &Complete { outputs, next: None }).await?;
        assert_eq!(reported.next, None);
        Ok(())
    }

    /// Reports success and expects that it is accepted.
    ///
    /// # Panics
    /// If it isn't.
    pub async fn completes(&self, outputs: &[(&str, &str)]) {
        self.complete(outputs).await.unwrap_or_else(|refused| panic!("{self:?}: {refused:?}"));
    }

    /// Reports success, and asks for the worker's next job.
    pub async fn complete_for_next(
        &self,
        outputs: &[(&str, &str)],
        worker: &Worker,
    ) -> Result<Option<HeldLease>, Refused> {
        let outputs = outputs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let Claim { worker_id, labels, lease_ttl_secs, exclusive, .. } = worker.claim.clone();
        let next = Some(Next { worker_id, labels, lease_ttl_secs, exclusive });
        let reported = self.cloud.client.complete(&self.lease.lease_id, &Complete { outputs, next }).await?;
        Ok(reported.next.map(|Claimed { job, lease }| Self { cloud: self.cloud.clone(), job, lease }))
    }

    /// Reports failure.
    pub async fn fail(&self, error: &str, retryable: bool) -> Result<(), Refused> {
        let fail = Fail { error: error.to_owned(), retryable, exit_code: Some(3), cause: None };
        self.cloud.client.fail(&self.lease.lease_id, &fail).await?;
        Ok(())
    }

    /// Reports a retryable failure and expects that it is accepted.
    ///
    /// # Panics
    /// If it isn't.
    pub async fn fails(&self, error: &str) {
        self.fail(error, true).await.unwrap_or_else(|refused| panic!("{self:?}: {refused:?}"));
    }

    /// Renews the lease.
    pub async fn heartbeat(&self) -> Result<Heartbeat, Refused> {
        Ok(self.cloud.client.heartbeat(&self.lease.lease_id).await?)
    }

    /// Adds lines to the log, each with its sequence number. Returns whether somebody reads the log.
    pub async fn log(&self, lines: &[(u64, &str)]) -> Result<Option<bool>, Refused> {
        let piece = |&(sequence, data): &(u64, &str)| LogPiece {
            sequence,
            data: data.to_owned(),
            timestamp_ms: Millis(0),
            stream: Stream::Stdout,
        };
        let pieces: Vec<LogPiece> = lines.iter().map(piece).collect();
        Ok(self.cloud.client.logs_push(&self.lease.lease_id, &pieces).await?)
    }

    /// The outputs of the jobs that it needs, fetched from the claim's URL if there is one.
    ///
    /// # Panics
    /// If they can't be fetched.
    pub async fn received(&self) -> Value {
        let fetched = match &self.job.upstream_outputs_url {
            Some(url) => self.cloud.client.upstream_outputs(url).await.expect("the URL can be fetched"),
            None => self.job.upstream_outputs.clone(),
        };
        serde_json::to_value(fetched).expect("outputs are JSON")
    }

    /// Waits until the lease has ended.
    pub async fn sleeps_past_its_lease(&self) {
        let until = self.lease.granted_at_ms + Duration::from_secs(self.lease.ttl_secs.into());
        sleep(until.since(Millis::now()) + Duration::from_millis(100)).await;
    }

    /// Makes every call with this lease. Returns the answers by the call's name.
    pub async fn tries_everything(&self) -> BTreeMap<&'static str, Result<(), Refused>> {
        BTreeMap::from([
            ("heartbeat", self.heartbeat().await.map(drop)),
            ("logs", self.log(&[(0, "too late\n")]).await.map(drop)),
            ("complete", self.complete(&[("late", "1")]).await),
            ("fail", self.fail("too late", true).await),
        ])
    }
}
