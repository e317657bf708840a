//! A link to a repository at a forge, as stored.

use std::collections::BTreeSet;

use protocol::{LinkName, Millis, SecretName, TokenName};
use serde::{Deserialize, Serialize};

pub use workflow::{Access, ForgeKind, LinkFile, Origin, Rule};

use super::names::RepositoryKey;

/// A link to one repository.
///
/// The links of an App share a name, and each has its repository: the key is the name and the repository's number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The link's name, and the repository's number. A payload is recognised by this number, never by a name.
    pub key: RepositoryKey,
    /// The repository's present name, such as `acme/app`.
    pub repository: String,
    /// The kind of the forge.
    pub forge: ForgeKind,
    /// The forge's address without a slash at the end, such as `https://gitea.example.com`. `None`: github.com or gitlab.com.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How requests to the forge are authorized.
    pub access: Access,
    /// The secrets that sign deliveries: one, or two while one is replaced.
    pub webhook_secrets: BTreeSet<SecretName>,
    /// The rules, in their order. The first that fits decides.
    pub rights: Vec<Rule>,
    /// The link's file as given.
    pub file: String,
    /// When it was added, or last replaced.
    pub linked_at: Millis,
    /// The token that added it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_by: Option<TokenName>,
}

impl Link {
    /// Creates a link from its file. `number` is the repository's.
    #[must_use]
    pub fn new(name: LinkName, number: u64, file: LinkFile, text: String, at: Millis, by: Option<TokenName>) -> Self {
        Self {
            key: RepositoryKey { link: name, repository: number },
            repository: file.repository,
            forge: file.forge,
            url: file.url,
            access: file.access,
            webhook_secrets: file.webhook_secrets,
            rights: file.rights,
            file: text,
            linked_at: at,
            linked_by: by,
        }
    }

    /// The link's name.
    #[must_use]
    pub fn name(&self) -> &LinkName {
        &self.key.link
    }

    /// The address of the repository's page, without a slash at the end.
    #[must_use]
    pub fn page(&self) -> String {
        let host = self.url.as_deref().unwrap_or(match self.forge {
            ForgeKind::Github => "https://github.com",
            ForgeKind::Gitlab => "https://gitlab.com",
            ForgeKind::Gitea => "https://gitea.com",
        });
        format!("{}/{}", host.trim_end_matches('/'), self.repository)
    }

    /// The App's installation, or 0.
    #[must_use]
    pub fn installation(&self) -> u64 {
        match &self.access {
            Access::App { installation, .. } => *installation,
            Access::Token(_) => 0,
        }
    }
}
