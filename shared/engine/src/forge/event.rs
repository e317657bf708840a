//! What a delivery says, in one form for all forges. It is a hint: the forge is asked before anything is started.

use serde::{Deserialize, Serialize};

use super::names::{CommitId, GitRef, ReportKey};

/// A delivery whose signature was checked and whose payload was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// It may start something.
    Signal(Incoming),
    /// It starts nothing. The text says why: a ping, another event, an action that changes no commit.
    Ignored(String),
}

/// A delivery that may start something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incoming {
    /// The id that the forge gave the delivery. It is not signed.
    pub id: String,
    /// The number of the repository.
    pub repository: u64,
    /// The repository's present name, such as `acme/app`.
    pub name: String,
    /// What happened.
    pub signal: Signal,
}

/// What a delivery says has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// A push to a branch or of a tag.
    Push(Push),
    /// A pull request was opened or changed. Its head and base are read from the forge.
    PullRequest {
        /// Its number.
        number: u64,
        /// What happened to it.
        action: PullAction,
        /// Its head as the payload says. A hint: the forge's answer counts.
        head: Option<CommitId>,
        /// Who did it.
        actor: String,
    },
    /// A merge queue asks for checks.
    MergeGroup {
        /// The queue's branch.
        name: GitRef,
        /// The commit to check.
        head: CommitId,
        /// The commit that the queue merges onto.
        base: CommitId,
        /// The branch that is merged into.
        base_ref: GitRef,
        /// Who queued it.
        actor: String,
    },
    /// Somebody pressed "Re-run" at the forge.
    Rerequested {
        /// The commit.
        commit: CommitId,
        /// One check run's `external_id`, or `None` for all of the commit.
        check: Option<ExternalId>,
        /// Who pressed it.
        actor: String,
    },
    /// Somebody pressed the button of a commit that waits for approval.
    Approve {
        /// The commit.
        commit: CommitId,
        /// The check run's `external_id`.
        check: ExternalId,
        /// Who pressed it. The forge is asked whether this person may write.
        actor: String,
    },
    /// A commit of a fork was approved through the API.
    Approved {
        /// The pull request's number.
        number: u64,
        /// The commit.
        commit: CommitId,
        /// The token's name.
        actor: String,
    },
    /// Asked for by hand: `wfg forge start`.
    Start {
        /// The branch or tag.
        name: GitRef,
        /// The commit that it must be at.
        commit: Option<CommitId>,
        /// The token's name.
        actor: String,
    },
}

/// A push, as a delivery says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The branch or tag.
    #[serde(rename = "ref")]
    pub name: GitRef,
    /// Where it was. `None`: it is new.
    pub before: Option<CommitId>,
    /// Where it is. `None`: it was deleted. For an annotated tag: the commit, not the tag's object.
    pub after: Option<CommitId>,
    /// Who pushed.
    pub actor: String,
    /// The first line of the message of `after`, if the payload has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_line: Option<String>,
}

/// What happened to a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullAction {
    /// It was opened, or reopened.
    Opened,
    /// It has a new head, or another base.
    Updated,
    /// It was closed or merged. What is held for it is dropped.
    Closed,
}

/// The `external_id` of a check run: whose state it shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalId(pub String);

impl ExternalId {
    /// The id of the states of a file at a commit. The same for all its check runs.
    #[must_use]
    pub fn of(report: &ReportKey) -> Self {
        Self(report.text())
    }

    /// The states that it names.
    #[must_use]
    pub fn report(&self) -> Option<ReportKey> {
        ReportKey::parse(&self.0)
    }
}
