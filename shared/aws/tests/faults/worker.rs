//! Workers who do as the script says, and repeat what wasn't answered.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use aws::Aws;
use engine::error::LeaseLost;
use engine::ports::StoreError;
use engine::{Engine, EngineError, Result};
use protocol::requests::{Claim, Fail, LogPiece, Next};
use protocol::wire::{Claimed, Stream};
use protocol::{LabelSet, Millis, WorkerId, WorkflowId};

use crate::script::{FRAIL, needs, outputs};
use crate::{Found, Tally};

/// A request that isn't answered is repeated so often.
const TRIES: usize = 5;

/// What the workers of a course know together.
#[derive(Default)]
pub struct Book {
    /// By job: the leases under which a completion was accepted.
    pub accepted: BTreeMap<String, BTreeSet<String>>,
    /// What was done once already.
    once: BTreeSet<&'static str>,
}

pub struct Workers {
    pub engine: Engine<Aws>,
    pub book: Mutex<Book>,
    /// Of a lease, in seconds.
    pub ttl: u32,
}

impl Workers {
    /// Claims a job and works it off, and whatever comes with its completion.
    pub async fn turn(&self, label: &str, tally: &Tally) -> Found<bool> {
        let labels = LabelSet::from_comma_separated(label).expect("labels");
        let short = label == FRAIL && !self.book.lock().expect("nobody panicked").once.contains("dropped");
        let claim = Claim {
            worker_id: WorkerId::new(format!("worker-{label}")).expect("an id"),
            labels,
            lease_ttl_secs: if short { 1 } else { self.ttl },
            wait_secs: 0,
            exclusive: label == FRAIL,
            ticket: None,
        };
        let mut next = repeated(tally, || self.engine.claims().claim(claim.clone())).await.map_err(said("claim"))?;
        let any = next.is_some();
        while let Some(claimed) = next {
            let job = claimed.job.job_id.as_str().to_owned();
            next = Box::pin(self.work(claimed, tally)).await.map_err(|error| format!("job {job}: {error}"))?;
        }
        Ok(any)
    }

    fn first_time(&self, what: &'static str) -> bool {
        self.book.lock().expect("nobody panicked").once.insert(what)
    }

    async fn work(&self, claimed: Claimed, tally: &Tally) -> Found<Option<Claimed>> {
        let job = claimed.job.job_id.as_str();
        let lease = claimed.lease.lease_id.0.as_str();
        self.has_what_it_needs(&claimed)?;
        match job {
            FRAIL if self.first_time("dropped") => return Ok(None),
            "y" => return Box::pin(self.cancel_under(&claimed, tally)).await,
            "b" if self.first_time("failed") => {
                let said_of = Fail { error: "it broke".into(), retryable: true, exit_code: Some(1), cause: None };
                let answer = repeated(tally, || self.engine.reports().fail(lease, said_of.clone())).await;
                return unless_over(&claimed, answer).map_err(said("fail")).map(|_| None);
            }
            "c" => {
                let answer = repeated(tally, || self.engine.reports().heartbeat(lease)).await;
                unless_over(&claimed, answer).map_err(said("heartbeat"))?;
                let piece = |sequence| LogPiece {
                    sequence,
                    data: format!("line {sequence}\n"),
                    timestamp_ms: Millis(0),
                    stream: Stream::Stdout,
                };
                let pieces = vec![piece(0), piece(1)];
                let answer = repeated(tally, || self.engine.reports().append_logs(lease, pieces.clone())).await;
                unless_over(&claimed, answer).map_err(said("logs"))?;
            }
            _ => {}
        }
        let next = matches!(job, "p" | "q" | "r").then(|| Next {
            worker_id: claimed.lease.worker_id.clone(),
            labels: LabelSet::default(),
            lease_ttl_secs: self.ttl,
            exclusive: false,
        });
        let answer =
            repeated(tally, || Box::pin(self.engine.reports().complete(lease, outputs(job, lease), next.clone())))
                .await;
        let Some(next) = unless_over(&claimed, answer).map_err(said("complete"))? else { return Ok(None) };
        let mut book = self.book.lock().expect("nobody panicked");
        book.accepted.entry(job.to_owned()).or_default().insert(lease.to_owned());
        Ok(next)
    }

    /// What was handed over is what was accepted of each job it needs, and of no other.
    fn has_what_it_needs(&self, claimed: &Claimed) -> Found<()> {
        let job = claimed.job.job_id.as_str();
        let book = self.book.lock().expect("nobody panicked");
        let mut expected: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for need in needs(job) {
            let mut leases = book.accepted.get(*need).into_iter().flatten();
            let lease = leases.next().ok_or_else(|| format!("it runs before {need} was completed"))?;
            expected.insert((*need).to_owned(), outputs(need, lease));
        }
        let received: BTreeMap<String, BTreeMap<String, String>> = claimed
            .job
            .upstream_outputs
            .iter()
            .map(|(job, outputs)| {
                let outputs = outputs.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone()));
                (job.as_str().to_owned(), outputs.collect())
            })
            .collect();
        if received == expected { Ok(()) } else { Err("it received other outputs than were accepted".to_owned()) }
    }

    /// Once the cancel is answered, no report counts.
    async fn cancel_under(&self, claimed: &Claimed, tally: &Tally) -> Found<Option<Claimed>> {
        let workflow: &WorkflowId = &claimed.job.workflow_id;
        let lease = claimed.lease.lease_id.0.as_str();
        repeated(tally, || self.engine.runs().cancel(workflow)).await.map_err(said("cancel"))?;
        match repeated(tally, || self.engine.reports().heartbeat(lease)).await {
            Ok(answer) if answer.cancelled => {}
            Err(EngineError::LeaseLost(_)) => {}
            other => return Err(format!("a heartbeat after the cancel was answered: {other:?}")),
        }
        match repeated(tally, || Box::pin(self.engine.reports().complete(lease, outputs("y", lease), None))).await {
            Err(EngineError::LeaseLost(LeaseLost::Cancelled | LeaseLost::Ended)) => Ok(None),
            other => Err(format!("a completion after the cancel was answered: {:?}", other.map(drop))),
        }
    }
}

/// Sends a request until it is answered.
pub async fn repeated<T, F: Future<Output = Result<T>>>(tally: &Tally, request: impl Fn() -> F) -> Result<T> {
    for _ in 1..TRIES {
        match Box::pin(request()).await {
            Err(EngineError::Store(StoreError::Unavailable(_))) => tally.repeated(),
            answer => return answer,
        }
    }
    request().await
}

fn said<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

/// A lease that isn't over must not be lost. `None`: it was over.
fn unless_over<T>(claimed: &Claimed, answer: Result<T>) -> Result<Option<T>> {
    let lease = &claimed.lease;
    let until = lease.granted_at_ms + Duration::from_secs(lease.ttl_secs.into());
    match answer {
        Err(EngineError::LeaseLost(LeaseLost::Ended)) if until <= Millis::now() => Ok(None),
        answer => answer.map(Some),
    }
}
