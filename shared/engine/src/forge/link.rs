//! A link to a repository at a forge: the link's file as data.

use std::collections::BTreeSet;

use protocol::{Label, LinkName, Millis, SecretName, TokenName};
use serde::{Deserialize, Serialize};

use super::names::RepositoryKey;

/// The kinds of forges.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum ForgeKind {
    /// GitHub, or GitHub Enterprise with `url`.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea and Forgejo.
    Gitea,
}

/// A link to one repository, as stored.
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
    /// The link's name.
    #[must_use]
    pub fn name(&self) -> &LinkName {
        &self.key.link
    }
}

/// How requests to the forge are authorized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// A GitHub App, with a key that only this program has.
    App {
        /// The App's id or its client id.
        id: String,
        /// The number of the installation.
        installation: u64,
    },
    /// A token of the forge, in this secret.
    Token(SecretName),
}

/// What a rule of `rights` is for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::Display, strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Origin {
    /// A push to a branch.
    Push,
    /// A push of a tag.
    Tag,
    /// A pull request whose commit is in the repository itself.
    PullRequest,
    /// An entry of a merge queue.
    MergeGroup,
    /// A pull request from a fork.
    Fork,
}

/// A rule of `rights`: what the runs of a kind of event may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The events. Empty: all but `fork`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub event: BTreeSet<Origin>,
    /// Patterns of the short name of a branch or a tag; for pull requests and queues, of the base branch. Empty: all.
    #[serde(default, rename = "ref", skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<String>,
    /// The labels that jobs may require, and the groups that they may name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<Label>,
    /// The secrets that jobs may name. Never any for a fork.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
    /// Labels that every job requires in addition, so that only workers with them take it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub add_labels: BTreeSet<Label>,
    /// True if each commit of a fork waits for an approval.
    pub approve: bool,
}
