//! Asks Apps again for deliveries that failed.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::LinkName;

use crate::Forges;
use crate::cache::Cache;
use crate::error::Result;
use crate::forge::link::{Access, Link};
use crate::forge::records::Redelivery;
use crate::forge::store::ForgeStore;

/// When this process last looked whether an App is to be asked.
pub(crate) type AppsCache = Cache<(), ()>;

pub(crate) fn apps_cache() -> AppsCache {
    Cache::new(Duration::from_mins(1), 1)
}

impl<P: ForgeStore> Forges<'_, P> {
    /// Asks each App every ten minutes for the deliveries that failed, at most three times for each. An App with many repositories is
    /// asked once. Without an App this is one read of the links a minute.
    ///
    /// # Errors
    /// The store didn't list the links. An App that can't be asked is asked ten minutes later.
    pub(super) async fn ask_for_failed(self) -> Result<()> {
        let (now, looked) = (self.engine.now(), &self.engine.caches.apps);
        if looked.get(&(), now).is_some() {
            return Ok(());
        }
        looked.insert((), (), now);
        let mut apps: BTreeMap<(LinkName, String), Vec<Link>> = BTreeMap::new();
        for link in self.engine.ports.all_links().await? {
            if let Access::App { id, .. } = &link.access {
                apps.entry((link.name().clone(), id.clone())).or_default().push(link);
            }
        }
        for ((name, app), links) in apps {
            if let Err(error) = self.ask_app(&name, &app, &links).await {
                tracing::warn!(link = %name, app, %error, "the App's failed deliveries could not be asked for; trying again in ten minutes");
            }
        }
        Ok(())
    }

    /// Asks an App, unless another process has.
    async fn ask_app(self, name: &LinkName, app: &str, links: &[Link]) -> Result<()> {
        let Some(first) = links.first() else { return Ok(()) };
        let stored = self.engine.ports.redelivery(name, app).await?;
        let linked_at = links.iter().map(|link| link.linked_at).min().unwrap_or_default();
        let record = stored.unwrap_or_else(|| Redelivery::new(linked_at));
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
