//! The worker's side of a lease: heartbeats, and stopping the job when the lease is lost.

use std::time::Duration;

use protocol::LeaseId;
use protocol::wire::Lease;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::stop::StopReason;
use client::retry::Backoff;
use client::{Client, ClientError};

/// The lease, when it ends, and whether the job must stop. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct HeldLease {
    pub id: LeaseId,
    ttl: Duration,
    granted: Instant,
    ends: watch::Sender<Instant>,
    stop: watch::Sender<Option<StopReason>>,
}

impl HeldLease {
    /// `granted` is the time from which the lease is counted, by this worker's clock.
    pub fn new(lease: &Lease, granted: Instant) -> Self {
        let ttl = Duration::from_secs(lease.ttl_secs.max(1).into());
        let ends = watch::Sender::new(granted + ttl);
        Self { id: lease.lease_id.clone(), ttl, granted, ends, stop: watch::Sender::new(None) }
    }

    /// When the lease expires, unless a heartbeat succeeds before.
    pub fn ends(&self) -> Instant {
        *self.ends.borrow()
    }

    /// Stops the job. The first reason is kept, except that `Shutdown` is replaced by a reason that makes a report pointless.
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

    /// Resolves when the server accepts no more reports of this attempt.
    pub async fn gone(&self) {
        let counts = |reason: &Option<StopReason>| matches!(reason, None | Some(StopReason::Shutdown));
        let _ = self.stop.subscribe().wait_for(|reason| !counts(reason)).await;
    }
}

/// Sends a heartbeat every third of the ttl, until the lease is lost or has expired, or the job was cancelled.
pub(crate) async fn keep_alive(lease: HeldLease, client: Client) {
    let every = lease.ttl / 3;
    let mut wait = every.saturating_sub(lease.granted.elapsed());
    loop {
        sleep(wait).await;
        wait = every;
        if let Err(reason) = renew(&lease, &client, every).await {
            lease.stop(reason);
            return;
        }
    }
}

async fn renew(lease: &HeldLease, client: &Client, every: Duration) -> Result<(), StopReason> {
    // Short compared with the rest of the lease, so that a server that returns late still gets a heartbeat in time.
    let mut delays = Backoff::new(every / 10, every / 4);
    let mut warned = false;
    loop {
        let sent = Instant::now();
        let left = lease.ends().saturating_duration_since(sent);
        if left.is_zero() {
            return Err(StopReason::LeaseEnded);
        }
        // The timeout leaves time for another call if this one hangs.
        let error = match timeout(left.min(every.max(Duration::from_secs(1))), client.heartbeat(&lease.id)).await {
            Ok(Ok(answer)) if answer.cancelled => return Err(StopReason::Cancelled),
            Ok(Ok(_)) => {
                lease.ends.send_replace(sent + lease.ttl);
                return Ok(());
            }
            Ok(Err(error)) if is_lost(&error) => return Err(StopReason::LeaseLost),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if !warned {
            warned = true;
            tracing::warn!("heartbeat: {error}; the lease ends in {} s", left.as_secs());
        }
        sleep(delays.grow().min(lease.ends().saturating_duration_since(Instant::now()))).await;
    }
}

/// Whether the server says that the lease no longer holds the job.
pub(crate) fn is_lost(error: &ClientError) -> bool {
    error.status() == Some(409)
}
