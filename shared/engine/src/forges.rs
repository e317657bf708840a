//! Use cases about forges: adding links, receiving and handling deliveries, and telling states.
//!
//! A delivery is stored before it is answered, and handled later. Handling may stop between any two steps: the delivery stays new
//! and due, the ref's record continues a known id, and each submission has its key.

mod deliveries;
mod files;
mod links;
mod approvals;
mod marks;
mod redelivery;
mod reporter;

pub use deliveries::Received;
pub(crate) use files::{BlobsCache, blobs_cache};
pub use links::HookLink;
pub(crate) use redelivery::{AppsCache, apps_cache};

use std::sync::Arc;

use protocol::Millis;

use crate::Forges;
use crate::error::{EngineError, Result};
use crate::forge::link::Link;
use crate::forge::names::RepositoryKey;
use crate::forge::ports::Forge;
use crate::forge::store::ForgeStore;
use crate::ports::{ArtifactStore, AuditStore, Dispatcher, JobStore, RunStore, WorkerRegistry};

/// Attempts to write a record under its condition.
const WRITES: usize = 8;

impl<P> Forges<'_, P> {
    /// The forges.
    fn port(self) -> Result<Arc<dyn Forge>> {
        let forges = self.engine.forges.clone();
        forges.ok_or(EngineError::NoForges("it was started without any; on AWS they are not there yet"))
    }
}

impl<P: ForgeStore> Forges<'_, P> {
    /// The link of a repository.
    async fn link(self, key: &RepositoryKey) -> Result<Option<Link>> {
        let links = self.engine.ports.links(&key.link).await?;
        Ok(links.into_iter().find(|link| link.key == *key))
    }

    /// Returns when the next delivery or report is due.
    pub async fn next_due(self) -> Result<Option<Millis>> {
        Ok(self.engine.ports.next_due_of_forges().await?)
    }
}

impl<P: ForgeStore + AuditStore + RunStore + JobStore + ArtifactStore + WorkerRegistry + Dispatcher> Forges<'_, P> {
    /// Handles all due deliveries, tells all due states, and asks Apps for deliveries that failed. One that can't be handled doesn't
    /// stop the others. Returns true if anything was due. It is to be called whenever something is due, and every minute.
    ///
    /// # Errors
    /// The store didn't list what is due.
    pub async fn run_due(self) -> Result<bool> {
        let deliveries = self.engine.ports.deliveries_due(self.engine.now()).await?;
        let mut any = !deliveries.is_empty();
        for key in deliveries {
            if let Err(error) = Box::pin(self.handle(&key)).await {
                tracing::error!(link = %key.link, delivery = key.place(), %error, "a delivery could not be handled; trying again");
                self.handle_later(&key, &error).await;
            }
        }
        let reports = self.engine.ports.reports_due(self.engine.now()).await?;
        any |= !reports.is_empty();
        for key in reports {
            if let Err(error) = Box::pin(self.report_states(&key)).await {
                tracing::error!(report = key.text(), %error, "states could not be told; trying again");
            }
        }
        self.ask_for_failed().await?;
        Ok(any)
    }
}
