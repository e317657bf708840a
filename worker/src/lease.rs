//! The hold on one attempt of a job: renewing it, and learning that it is gone.

use std::time::Duration;

use protocol::LeaseId;
use protocol::wire::Lease;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::executor::StopReason;
use crate::retry::Backoff;
use client::{Client, ClientError};

/// The lease, when it ends, and whether the job must stop. Clones are the same hold.
#[derive(Clone, Debug)]
pub(crate) struct LeaseRecord {
    pub id: LeaseId,
    ttl: Duration,
    granted: Instant,
    ends: watch::Sender<Instant>,
    stop: watch::Sender<Option<StopReason>>,
}

impl LeaseRecord {
    /// `granted`: when it began, as far as is known here.
    pub fn new(lease: &Lease, granted: Instant) -> Self {
        let ttl = Duration::from_secs(lease.ttl_secs.max(1).into());
        let ends = watch::Sender::new(granted + ttl);
        Self { id: lease.lease_id.clone(), ttl, granted, ends, stop: watch::Sender::new(None) }
    }

    /// When the server gives the job to another, unless a heartbeat gets through before.
    pub fn ends(&self) -> Instant {
        *self.ends.borrow()
    }

    /// Makes the job stop. The first reason stays, but a shutdown yields to what makes a report pointless.
    pub fn stop(&self, reason: StopReason) {
        self.stop.send_if_modified(|current| {
            let replace = matches!(current, None | Some(StopReason::Shutdown)) && *current != Some(reason);
            if replace {
                *current = Some(reason);
            }
            replace
        });
    }

    pub fn stop_receiver(&self) -> watch::Receiver<Option<StopReason>> {
        self.stop.subscribe()
    }

    pub fn stop_reason(&self) -> Option<StopReason> {
        *self.stop.borrow()
    }

    /// Resolves when the job must stop.
    pub async fn stopped(&self) {
        let _ = self.stop.subscribe().wait_for(Option::is_some).await;
    }

    /// Resolves when nothing that is said about the attempt counts any more.
    pub async fn gone(&self) {
        let counts = |reason: &Option<StopReason>| matches!(reason, None | Some(StopReason::Shutdown));
        let _ = self.stop.subscribe().wait_for(|reason| !counts(reason)).await;
    }
}

/// Renews the lease three times in its ttl, until it is lost, it ended, or the job was cancelled.
pub(crate) async fn keep(hold: LeaseRecord, client: Client) {
    let every = hold.ttl / 3;
    let mut wait = every.saturating_sub(hold.granted.elapsed());
    loop {
        sleep(wait).await;
        wait = every;
        if let Err(reason) = renew(&hold, &client, every).await {
            hold.stop(reason);
            return;
        }
    }
}

async fn renew(hold: &LeaseRecord, client: &Client, every: Duration) -> Result<(), StopReason> {
    // Short against what is left of the lease, which a server that comes back late must hear of in time.
    let mut delays = Backoff::new(every / 10, every / 4);
    let mut told = false;
    loop {
        let sent = Instant::now();
        let left = hold.ends().saturating_duration_since(sent);
        if left.is_zero() {
            return Err(StopReason::LeaseEnded);
        }
        // A call that hangs must not use up the time in which another could get through.
        let error = match timeout(left.min(every.max(Duration::from_secs(1))), client.heartbeat(&hold.id)).await {
            Ok(Ok(answer)) if answer.cancelled => return Err(StopReason::Cancelled),
            Ok(Ok(_)) => {
                hold.ends.send_replace(sent + hold.ttl);
                return Ok(());
            }
            Ok(Err(error)) if is_lost(&error) => return Err(StopReason::LeaseLost),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if !told {
            told = true;
            tracing::warn!("heartbeat: {error}; the lease ends in {} s", left.as_secs());
        }
        sleep(delays.grow().min(hold.ends().saturating_duration_since(Instant::now()))).await;
    }
}

/// Whether the answer says that the lease isn't the job's any more.
pub(crate) fn is_lost(error: &ClientError) -> bool {
    error.status() == Some(409)
}
