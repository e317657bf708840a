//! The port of a forge.

use std::time::Duration;

use futures::future::BoxFuture;
use protocol::{Millis, SecretValue};
use serde::{Deserialize, Serialize};

pub use super::change::Changed;
use super::event::ExternalId;
use super::link::Link;
use super::names::{CommitId, GitRef};
use super::records::Left;
use super::state::{Annotation, TargetState};

/// Why a request to a forge failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ForgeError {
    /// No answer came: a time-out, a broken connection, or a gateway's 502 or 504. The request may have been done, or may be
    /// done later.
    #[error("the forge did not answer: {0}")]
    NoAnswer(String),
    /// The forge answered that it can't now: 429, 403 with nothing left of the hour, another 5xx. Nothing was done.
    #[error("the forge can't answer now: {text}")]
    Busy {
        /// What it said.
        text: String,
        /// `Retry-After`, or until the hour begins anew.
        retry_after: Option<Duration>,
    },
    /// 422 "No commit found": the forge doesn't know the commit yet.
    #[error("the forge doesn't know the commit")]
    NoCommit,
    /// 404 or 410: the repository is gone, or the link may not see it.
    #[error("the forge has no such thing, or the link may not see it: {0}")]
    Gone(String),
    /// 401, 403 or another refusal. Repeating doesn't help.
    #[error("the forge refused the request: {0}")]
    Refused(String),
    /// The answer can't be read or is over 10 MB.
    #[error("the forge's answer can't be used: {0}")]
    BadAnswer(String),
    /// The secret or key that the link names can't be read.
    #[error("the link's credentials can't be read: {0}")]
    NoCredentials(String),
}

impl ForgeError {
    /// True if repeating the request later may help.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::Busy { .. } | Self::NoCommit | Self::NoCredentials(_) => true,
            Self::Gone(_) | Self::Refused(_) | Self::BadAnswer(_) => false,
        }
    }
}

/// A request to a forge.
pub type Asked<'a, T> = BoxFuture<'a, Result<T, ForgeError>>;

/// A repository as the forge describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Its number.
    pub number: u64,
    /// Its name, such as `acme/app`.
    pub name: String,
    /// The default branch's short name.
    pub default_branch: String,
    /// True if not everybody may read it.
    pub private: bool,
}

/// A pull request as the forge describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// True if it is neither closed nor merged.
    pub open: bool,
    /// The commit that it proposes.
    pub head: CommitId,
    /// The branch of that commit. `None` if it is gone or can't be a branch's name.
    pub head_ref: Option<GitRef>,
    /// The branch to merge into.
    pub base_ref: GitRef,
    /// The commit of that branch.
    pub base: CommitId,
    /// True if the commit comes from another repository, or from one that is gone.
    pub fork: bool,
    /// Who opened it.
    pub author: String,
}

/// A file in `.wfg` at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryFile {
    /// The path in the repository, such as `.wfg/ci.yml`.
    pub path: String,
    /// The blob's id.
    pub blob: String,
    /// The size in bytes, if the forge says it.
    pub size: Option<u64>,
}

/// A state to tell a forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateUpdate {
    /// The commit.
    pub commit: CommitId,
    /// The state's name: `ci (push)` or `ci / test (push)`.
    pub name: String,
    /// The state.
    pub state: TargetState,
    /// One line for people. The adapter cuts it to what the forge allows.
    pub description: String,
    /// Markdown for a check run. Empty if there is nothing to add. The adapter cuts it to 65,535 characters.
    pub summary: String,
    /// Problems at their lines, at most 50.
    pub annotations: Vec<Annotation>,
    /// The page of the run or job. `None` without a public address.
    pub url: Option<String>,
    /// Whose state it is.
    pub external_id: ExternalId,
    /// The branch or tag, which GitLab wants to know.
    pub name_of_ref: Option<GitRef>,
    /// The id that the forge gave this state when it was told before.
    pub id: Option<String>,
    /// When it began to run.
    pub started_at: Option<Millis>,
    /// When it ended.
    pub ended_at: Option<Millis>,
}

/// The forge's answer to a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateAnswer {
    /// The id under which the state can be changed, such as a check run's; GitLab's pipeline.
    pub id: Option<String>,
    /// What is left of the forge's limit.
    pub left: Option<Left>,
}

/// A state that the forge has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The state's name.
    pub name: String,
    /// The forge's word for it, such as `success` or `in_progress`.
    pub state: String,
    /// Whose state it is, if the forge keeps that.
    pub external_id: Option<String>,
    /// The id.
    pub id: Option<String>,
}

/// A credential for one repository.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The user name for git over HTTPS.
    pub user: String,
    /// The password.
    pub token: SecretValue,
    /// When it ends.
    pub expires_at: Option<Millis>,
}

/// A delivery that the forge couldn't deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDelivery {
    /// The forge's id for asking again.
    pub id: String,
    /// When it was tried.
    pub at: Millis,
    /// The id that stays the same when it is sent again.
    pub guid: String,
    /// The number of the repository that it is about, if the forge says it.
    pub repository: Option<u64>,
}

/// A forge. One value serves all links: each call names one. All requests are to the link's forge, take at most 10 s, and
/// read at most 10 MB.
pub trait Forge: Send + Sync {
    /// Returns the repository of this name, or of the link's number.
    fn repository<'a>(&'a self, link: &'a Link) -> Asked<'a, Repository>;
    /// Returns the commit that a branch or tag is at, or `None` if there is no such ref. Of an annotated tag: the commit.
    fn ref_head<'a>(&'a self, link: &'a Link, name: &'a GitRef) -> Asked<'a, Option<CommitId>>;
    /// Returns a pull request, or `None` if there is none with this number.
    fn pull_request<'a>(&'a self, link: &'a Link, number: u64) -> Asked<'a, Option<PullRequest>>;
    /// Returns the files directly in `.wfg` whose names end in `.yml`, sorted by path. None if there is no such folder.
    fn files<'a>(&'a self, link: &'a Link, commit: &'a CommitId) -> Asked<'a, Vec<RepositoryFile>>;
    /// Returns the text of a file at a commit.
    fn file<'a>(&'a self, link: &'a Link, commit: &'a CommitId, file: &'a RepositoryFile) -> Asked<'a, String>;
    /// Returns the files that differ between the merge base of `base` and `head`, and `head`. Over 300 files: unknown.
    fn changed<'a>(&'a self, link: &'a Link, base: &'a CommitId, head: &'a CommitId) -> Asked<'a, Changed>;
    /// Returns the files that a pull request changes. Over 3,000: unknown.
    fn changed_by<'a>(&'a self, link: &'a Link, pull_request: u64) -> Asked<'a, Changed>;
    /// Tells a state. A state that the forge says it has already is told.
    fn send_state<'a>(&'a self, link: &'a Link, update: &'a StateUpdate) -> Asked<'a, StateAnswer>;
    /// Reads the states of a commit back, up to a thousand.
    fn shown<'a>(&'a self, link: &'a Link, commit: &'a CommitId) -> Asked<'a, Vec<Shown>>;
    /// Returns true if this person may write to the repository.
    fn may_write<'a>(&'a self, link: &'a Link, user: &'a str) -> Asked<'a, bool>;
    /// Returns a credential that reads this one repository. With an App it is minted for an hour; otherwise it is the token.
    fn credential<'a>(&'a self, link: &'a Link) -> Asked<'a, Credential>;
    /// Returns the deliveries of the link's App since then that failed and weren't delivered later, each once, for all its
    /// repositories. Empty without an App.
    fn failed_deliveries<'a>(&'a self, link: &'a Link, since: Millis) -> Asked<'a, Vec<FailedDelivery>>;
    /// Asks for a failed delivery again.
    fn redeliver<'a>(&'a self, link: &'a Link, id: &'a str) -> Asked<'a, ()>;
}
