//! Links to forges: what the API takes and answers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{LinkName, Millis, SecretName, TokenName, WorkflowId};

/// A link to one repository. The links of an App share a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LinkInfo {
    /// The link's name.
    pub name: LinkName,
    /// `github`, `gitlab` or `gitea`.
    pub forge: String,
    /// The repository's present name.
    pub repository: String,
    /// The number that the forge gave the repository.
    pub number: u64,
    /// The names of the secrets that it uses. Values are never shown.
    pub secrets: BTreeSet<SecretName>,
    /// The link's file as given.
    pub file: String,
    /// When it was added, or last replaced.
    pub linked_at_ms: Millis,
    /// The token that added it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_by: Option<TokenName>,
    /// The address that the forge sends its deliveries to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
}

/// A delivery as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeliveryInfo {
    /// Its id here.
    pub id: String,
    /// When it came in.
    pub at_ms: Millis,
    /// The id that the forge gave it. It is not signed.
    pub delivery: String,
    /// The repository's name in the delivery.
    pub repository: String,
    /// What happened: `push`, `pull_request`, `merge_group`, `rerequested`, `approve` or `start`.
    pub event: String,
    /// The branch, tag, or `#12` for a pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "ref")]
    pub name: Option<String>,
    /// The commit, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// `new`, `accepted`, `repeat`, `late`, `ignored`, `held` or `failed`.
    pub state: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The workflows that it started.
    #[serde(default)]
    pub workflows: Vec<WorkflowId>,
}

/// `POST /api/forges/{link}/approve`: lets one commit of a fork run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ApproveCommit {
    /// The repository's name. Needed if several repositories share the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The pull request's number.
    pub pull_request: u64,
    /// The full id of the commit that was looked at.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^([0-9a-f]{40}|[0-9a-f]{64})$")))]
    pub commit: String,
}

/// `POST /api/forges/{link}/start`: starts what a push to this branch or tag would start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StartRef {
    /// The repository's name. Needed if several repositories share the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The full name, such as `refs/heads/main`, of at most 1,024 bytes.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^refs/(heads|tags)/[^\u0000-\u001f\u007f-\u009f]+$")))]
    #[serde(rename = "ref")]
    pub name: String,
    /// The commit that it must be at: its full id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^([0-9a-f]{40}|[0-9a-f]{64})$")))]
    pub commit: Option<String>,
}

/// The answer to a delivery, or to a request that is handled like one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Received {
    /// It was stored under this id, and is handled.
    Delivery(String),
    /// It starts nothing, and this is why.
    Ignored(String),
}
