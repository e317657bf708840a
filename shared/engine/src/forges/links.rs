//! Adding, listing and removing links.

use std::collections::BTreeSet;

use protocol::{LabelSet, LinkName, SecretName, Secrets};
use workflow::Problem;

use crate::Forges;
use crate::error::{EngineError, Result};
use crate::forge::link::{ForgeKind, Link};
use crate::forge::store::ForgeStore;

/// What a hook needs to know of a link.
#[derive(Clone, Debug)]
pub struct HookLink {
    /// The kind of the forge.
    pub forge: ForgeKind,
    /// The names of the secrets of which one has signed a delivery.
    pub secrets: BTreeSet<SecretName>,
    /// Their values. One that doesn't exist is missing.
    pub values: Secrets,
}

impl<P: ForgeStore> Forges<'_, P> {
    /// Adds a link from its file, or replaces the one of the same repository. The forge is asked for the repository's number.
    ///
    /// # Errors
    /// [`EngineError::LinkFile`], also if a link of this name is of another forge; [`EngineError::LabelsNotAllowed`] and
    /// [`EngineError::SecretNotAllowed`] for what the caller's token doesn't allow; [`EngineError::NoForges`] without a public address; [`EngineError::Forge`].
    pub async fn add(self, name: &LinkName, text: &str) -> Result<Link> {
        let file = workflow::link_from_yaml(text).map_err(EngineError::LinkFile)?;
        let forge = self.port()?;
        if self.engine.public_url().is_none() {
            return Err(EngineError::NoForges("a forge must reach it; start it with `--public-url https://<host>`"));
        }
        let labels: LabelSet =
            file.rights.iter().flat_map(|rule| rule.labels.iter().chain(&rule.add_labels)).cloned().collect();
        self.engine.caller.check_labels(&labels)?;
        let token = match &file.access {
            workflow::Access::Token(secret) => Some(secret),
            workflow::Access::App { .. } => None,
        };
        let secrets = file.rights.iter().flat_map(|rule| &rule.secrets);
        self.engine.caller.check_secrets(secrets.chain(&file.webhook_secrets).chain(token))?;
        let by = self.engine.caller.name.clone();
        let mut link = Link::new(name.clone(), 0, file, text.to_owned(), self.engine.now(), by);
        let found = forge.repository(&link).await?;
        (link.key.repository, link.repository) = (found.number, found.name);
        let others = self.engine.ports.links(name).await?;
        if let Some(other) = others.iter().find(|other| !shares_its_address(other, &link)) {
            return Err(EngineError::LinkFile(vec![of_another_forge(other)]));
        }
        self.engine.ports.put_link(link.clone()).await?;
        self.asks_for_failed(&link).await?;
        Ok(link)
    }

    /// The links of a name: one, or one for each repository of an App.
    ///
    /// # Errors
    /// [`EngineError::NoLink`].
    pub async fn of_name(self, name: &LinkName) -> Result<Vec<Link>> {
        let links = self.engine.ports.links(name).await?;
        if links.is_empty() { Err(EngineError::NoLink(name.clone())) } else { Ok(links) }
    }

    /// All links.
    pub async fn all(self) -> Result<Vec<Link>> {
        Ok(self.engine.ports.all_links().await?)
    }

    /// Removes the links of a name, or the one of this repository alone. What it has started goes on; nothing more is told.
    ///
    /// # Errors
    /// [`EngineError::NoLink`].
    pub async fn remove(self, name: &LinkName, repository: Option<u64>) -> Result<()> {
        let links = self.of_name(name).await?;
        let mut removed = false;
        for link in links.iter().filter(|link| repository.is_none_or(|number| link.key.repository == number)) {
            removed |= self.engine.ports.remove_link(&link.key).await?;
        }
        if removed { Ok(()) } else { Err(EngineError::NoLink(name.clone())) }
    }

    /// The kind of a link's forge, and the secrets that sign its deliveries. `None`: there is no such link.
    pub async fn hook(self, name: &LinkName) -> Result<Option<HookLink>> {
        let links = self.engine.ports.links(name).await?;
        let Some(first) = links.first() else { return Ok(None) };
        let secrets: BTreeSet<SecretName> =
            links.iter().flat_map(|link| link.webhook_secrets.iter().cloned()).collect();
        let values = self.engine.secrets.secrets(&secrets).await?;
        Ok(Some(HookLink { forge: first.forge, secrets, values }))
    }

    /// The link of this repository's name, or the only one of the link's name.
    pub(super) async fn linked(self, name: &LinkName, repository: Option<&str>) -> Result<Link> {
        let links = self.of_name(name).await?;
        let alone = links.len() == 1 && repository.is_none();
        let found = links.into_iter().find(|link| alone || repository == Some(link.repository.as_str()));
        found.ok_or_else(|| EngineError::NoLink(name.clone()))
    }
}

/// Whether deliveries for both may come to one address: they are of one forge, or `new` replaces `old`.
fn shares_its_address(old: &Link, new: &Link) -> bool {
    (old.forge == new.forge && old.url == new.url) || old.key == new.key
}

fn of_another_forge(link: &Link) -> Problem {
    let (name, page) = (link.name(), link.page());
    let message = format!(
        "the link `{name}` has {page}, which is of another forge; deliveries of one link come from one forge, so choose another name"
    );
    Problem { code: "another_forge", message, path: "forge".to_owned(), at: None }
}
