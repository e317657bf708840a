//! Asks Apps again for deliveries that failed.

use protocol::LinkName;

use super::outcome::DueRound;
use crate::Forges;
use crate::error::Result;
use crate::forge::link::{Access, Link};
use crate::forge::records::Redelivery;
use crate::forge::store::ForgeStore;

impl<P: ForgeStore> Forges<'_, P> {
    /// Notes that an App is asked for failed deliveries from now on. An App with many repositories is asked once for all of them.
    pub(super) async fn asks_for_failed(self, link: &Link) -> Result<()> {
        let Access::App { id, .. } = &link.access else { return Ok(()) };
        let stored = self.engine.ports.redelivery(link.name(), id).await?;
        let linked = match stored {
            None => Some(Redelivery::new(link.linked_at)),
            Some(stored) => stored.linked(self.engine.now()),
        };
        let Some(record) = linked else { return Ok(()) };
        let record = Redelivery { version: record.version + 1, ..record };
        // Another request has linked a repository of the same App, or it was asked just now.
        Ok(self.engine.ports.put_redelivery(link.name(), id, record).await.map(drop)?)
    }

    /// Asks the Apps that are due for the deliveries that failed: each App every ten minutes, for each delivery at most three times.
    ///
    /// # Errors
    /// The store didn't list what is due. An App whose forge can't be asked is asked ten minutes later, and one whose record can't be
    /// written is still due.
    pub(super) async fn ask_for_failed(self) -> Result<DueRound> {
        let mut round = DueRound::default();
        let due = round.readable(self.engine.ports.apps_due(self.engine.now()).await?);
        for (name, app) in &due {
            round = round.and(match self.ask_app(name, app).await {
                Ok(()) => DueRound::DID,
                Err(error) => {
                    tracing::warn!(link = %name, app, %error, "the App's failed deliveries could not be asked for; trying again");
                    DueRound::FAILED
                }
            });
        }
        Ok(round)
    }

    /// Asks an App, unless another process has.
    async fn ask_app(self, name: &LinkName, app: &str) -> Result<()> {
        let Some(record) = self.engine.ports.redelivery(name, app).await? else { return Ok(()) };
        let of_app = |link: &Link| matches!(&link.access, Access::App { id, .. } if id == app);
        let links: Vec<Link> = self.engine.ports.links(name).await?.into_iter().filter(of_app).collect();
        let Some(first) = links.first() else {
            let unlinked = Redelivery { due: None, version: record.version + 1, ..record };
            return Ok(self.engine.ports.put_redelivery(name, app, unlinked).await.map(drop)?);
        };
        let Some(mut record) = record.take(self.engine.now()) else { return Ok(()) };
        record.version += 1;
        if !self.engine.ports.put_redelivery(name, app, record.clone()).await? {
            return Ok(());
        }
        let forge = self.port()?;
        let mut failed = forge.failed_deliveries(first, record.since).await?;
        let is_linked = |number: u64| links.iter().any(|link| link.key.repository == number);
        failed.retain(|one| one.repository.is_none_or(is_linked));
        let chosen = record.choose(failed);
        record.version += 1;
        if !self.engine.ports.put_redelivery(name, app, record).await? {
            return Ok(());
        }
        for one in chosen {
            tracing::info!(link = %name, delivery = one.guid, "a failed delivery is asked for again");
            if let Err(error) = forge.redeliver(first, &one.id).await {
                tracing::warn!(link = %name, delivery = one.guid, %error, "a failed delivery could not be asked for again");
            }
        }
        Ok(())
    }
}
