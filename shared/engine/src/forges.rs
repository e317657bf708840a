//! Use cases about forges: adding links, receiving and handling deliveries, and telling states.
//!
//! A delivery is stored before it is answered, and handled later. Handling may stop between any two steps: the delivery stays new
//! and due, the ref's record continues a known id, and each submission has its key.

mod outcome;
mod marks;
mod files;
mod deliveries;
mod approvals;
mod redelivery;
mod links;
mod reporter;

pub use deliveries::Received;
pub(crate) use files::{BlobsCache, blobs_cache};
pub use links::HookLink;
pub use outcome::DueRound;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::ready;
use futures::{StreamExt, stream};
use protocol::Millis;

use crate::Forges;
use crate::error::{EngineError, Result};
use crate::forge::link::Link;
use crate::forge::names::{ReportKey, RepositoryKey};
use crate::forge::ports::Forge;
use crate::forge::records::DeliveryKey;
use crate::forge::store::ForgeStore;
use crate::ports::{ArtifactStore, AuditStore, Dispatcher, JobStore, RunStore, WorkerRegistry};

/// Attempts to write a record under its condition.
const WRITES: usize = 8;
/// Deliveries and reports that are handled at once.
const AT_ONCE: usize = 16;

/// A stored change that concerns a forge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForgeChange {
    /// A delivery was stored.
    Delivered(DeliveryKey),
    /// A run or a job of a report has changed.
    Report(ReportKey),
}

/// What became of a batch of changes.
#[derive(Debug, Default)]
pub struct FollowedChanges {
    /// The positions of the changes that could not be noted, and why. They have to be delivered again.
    pub failed: Vec<(usize, EngineError)>,
    /// When one of them has to be looked at again.
    pub next: Option<Millis>,
}

impl<P> Forges<'_, P> {
    /// The forges.
    fn port(self) -> Result<Arc<dyn Forge>> {
        let forges = self.engine.forges.clone();
        forges.ok_or(EngineError::NoForges("it was started without any"))
    }
}

impl<P: ForgeStore> Forges<'_, P> {
    /// The link of a repository.
    async fn link(self, key: &RepositoryKey) -> Result<Option<Link>> {
        Ok(self.engine.ports.link(key).await?)
    }

    /// Returns when the next delivery or report is due.
    pub async fn next_due(self) -> Result<Option<Millis>> {
        Ok(self.engine.ports.next_due_of_forges().await?)
    }
}

impl<P: ForgeStore + AuditStore + RunStore + JobStore + ArtifactStore + WorkerRegistry + Dispatcher> Forges<'_, P> {
    /// Handles all due deliveries, tells all due states, and asks Apps for deliveries that failed. One that can't be handled doesn't
    /// stop the others.
    ///
    /// # Errors
    /// The store didn't list what is due.
    pub async fn run_due(self) -> Result<DueRound> {
        let mut round = DueRound::default();
        let deliveries = round.readable(self.engine.ports.deliveries_due(self.engine.now()).await?);
        // At once, so that a forge that is slow doesn't hold up the others.
        let handled = stream::iter(deliveries).map(|key| async move { self.handle_or_put_off(&key).await });
        round = handled.buffer_unordered(AT_ONCE).fold(round, |all, one| ready(all.and(one))).await;
        let reports = round.readable(self.engine.ports.reports_due(self.engine.now()).await?);
        let told = stream::iter(reports).map(|key| async move { self.report_or_leave(&key).await });
        round = told.buffer_unordered(AT_ONCE).fold(round, |all, one| ready(all.and(one))).await;
        Ok(round.and(self.ask_for_failed().await?))
    }

    /// Handles a batch of changes that a store's feed has gathered: handles the deliveries and tells the states. What a forge can't answer
    /// now is due later, and no failure; a report that isn't noted as due is one.
    pub async fn on_changes(self, changes: &[ForgeChange]) -> FollowedChanges {
        let mut followed = FollowedChanges::default();
        let each: BTreeSet<&ForgeChange> = changes.iter().collect();
        let follow = |change| async move { (change, self.follow_change(change).await) };
        let results: Vec<_> = stream::iter(each).map(follow).buffer_unordered(AT_ONCE).collect().await;
        for (change, result) in results {
            match result {
                Ok(due) => followed.next = followed.next.into_iter().chain(due).min(),
                Err(error) => {
                    let position = changes.iter().position(|other| other == change).unwrap_or_default();
                    followed.failed.push((position, error));
                }
            }
        }
        followed
    }

    /// Handles a change. Returns when it has to be looked at again.
    async fn follow_change(self, change: &ForgeChange) -> Result<Option<Millis>> {
        match change {
            ForgeChange::Delivered(key) => {
                self.handle_or_put_off(key).await;
            }
            ForgeChange::Report(key) if self.has_news(key).await? => Box::pin(self.report_states(key)).await?,
            ForgeChange::Report(_) => return Ok(None),
        }
        self.due_of(change).await
    }

    async fn due_of(self, change: &ForgeChange) -> Result<Option<Millis>> {
        Ok(match change {
            ForgeChange::Delivered(key) => self.engine.ports.delivery(key).await?.and_then(|delivery| delivery.due),
            ForgeChange::Report(key) => self.engine.ports.report(key).await?.and_then(|report| report.due),
        })
    }

    async fn handle_or_put_off(self, key: &DeliveryKey) -> DueRound {
        let Err(error) = Box::pin(self.handle(key)).await else { return DueRound::DID };
        tracing::error!(link = %key.link, delivery = key.place(), %error, "a delivery could not be handled; trying again");
        let Err(error) = self.handle_later(key, &error).await else { return DueRound::DID };
        tracing::error!(link = %key.link, delivery = key.place(), %error, "a delivery could not be put off; it is still due");
        DueRound::FAILED
    }

    async fn report_or_leave(self, key: &ReportKey) -> DueRound {
        let Err(error) = Box::pin(self.report_states(key)).await else { return DueRound::DID };
        tracing::error!(report = key.text(), %error, "states could not be told; trying again");
        DueRound::FAILED
    }
}
