//! Names of things at a forge: commits, refs, repositories, and the keys of records about them.

use std::fmt;
use std::str::FromStr;

use protocol::LinkName;
use serde::{Deserialize, Serialize};

/// Declares the conversions of a type for a text that its `new` checks.
macro_rules! checked_text {
    ($($name:ident, $error:ident;)+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(checked: $name) -> Self {
                checked.0
            }
        }
    )+};
}

checked_text! {
    CommitId, BadCommit;
    GitRef, BadRef;
}

/// The full id of a commit: 40 or 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

/// The text is not the full id of a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the full id of a commit, which has 40 or 64 hexadecimal digits")]
pub struct BadCommit(String);

impl CommitId {
    /// Parses a full id.
    ///
    /// # Errors
    /// The text is anything else, such as a short id.
    pub fn new(text: impl Into<String>) -> Result<Self, BadCommit> {
        let text = text.into();
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && matches!(text.len(), 40 | 64) { Ok(Self(text)) } else { Err(BadCommit(text)) }
    }

    /// Parses the `before` or `after` of a push. Returns `Ok(None)` for zeros, which mean that there is no commit: the ref is
    /// new or was deleted.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn of_push(text: &str) -> Result<Option<Self>, BadCommit> {
        let commit = Self::new(text)?;
        Ok((!commit.0.bytes().all(|byte| byte == b'0')).then_some(commit))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits, for texts that people read.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

/// The full name of a branch or a tag: `refs/heads/main`, `refs/tags/v1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitRef(String);

/// The text is not the full name of a branch or a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the full name of a branch or a tag, such as refs/heads/main or refs/tags/v1, of at most 1024 bytes"
)]
pub struct BadRef(String);

const BRANCH: &str = "refs/heads/";
const TAG: &str = "refs/tags/";
/// How the branches of merge queues begin.
const QUEUE: &str = "gh-readonly-queue/";
/// The longest name of a ref, in bytes.
const LONGEST: usize = 1024;

impl GitRef {
    /// Parses the full name of a branch or a tag. Everything but a control character may be in it, as in git.
    ///
    /// # Errors
    /// The text is another ref, has nothing after the prefix, or is too long.
    pub fn new(text: impl Into<String>) -> Result<Self, BadRef> {
        let text = text.into();
        let short = text.strip_prefix(BRANCH).or_else(|| text.strip_prefix(TAG)).unwrap_or_default();
        if short.is_empty() || text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(BadRef(text));
        }
        Ok(Self(text))
    }

    /// The branch of this name.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn of_branch(name: &str) -> Result<Self, BadRef> {
        Self::new(format!("{BRANCH}{name}"))
    }

    /// The full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without `refs/heads/` or `refs/tags/`.
    #[must_use]
    pub fn short(&self) -> &str {
        self.branch().or(self.tag()).unwrap_or_default()
    }

    /// The branch's name, if it is a branch.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.0.strip_prefix(BRANCH)
    }

    /// The tag's name, if it is a tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.0.strip_prefix(TAG)
    }

    /// True for a branch that a merge queue made. A push to it starts nothing: the queue has its own event.
    #[must_use]
    pub fn is_of_queue(&self) -> bool {
        self.branch().is_some_and(|name| name.starts_with(QUEUE))
    }

    /// True for a branch that the merge queue of this branch made.
    #[must_use]
    pub fn is_of_queue_for(&self, base: &Self) -> bool {
        let entry = self.branch().and_then(|name| name.strip_prefix(QUEUE)?.strip_prefix(base.branch()?));
        entry.is_some_and(|entry| entry.starts_with('/'))
    }
}

/// A repository of a link. Its number stays the same when it is renamed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RepositoryKey {
    /// The link.
    pub link: LinkName,
    /// The number that the forge gave the repository.
    pub repository: u64,
}

/// What a record of a ref is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A branch or a tag. A merge queue's entry too: its branch.
    Ref(GitRef),
    /// A pull request by its number.
    Pull(u64),
}

impl Subject {
    /// The text that keys have: `REF#<ref>` or `PR#<number>`.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Ref(name) => format!("REF#{name}"),
            Self::Pull(number) => format!("PR#{number}"),
        }
    }
}

/// What starts a run, as the workflow file names it, and as states name it: `ci (push)`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::Display, strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum EventName {
    /// A push to a branch.
    Push,
    /// A push of a tag.
    Tag,
    /// A pull request, from the repository itself or from a fork.
    PullRequest,
    /// An entry of a merge queue.
    MergeGroup,
}

/// The key of the states of one workflow file at one commit: who may report them, and what was told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReportKey {
    /// The repository.
    pub repository: RepositoryKey,
    /// The commit that shows the states.
    pub commit: CommitId,
    /// The file's name without folder and ending, such as `ci`.
    pub file: String,
    /// What started the run.
    pub event: EventName,
}

impl ReportKey {
    /// The text of the key: `<link>#<repository>#<commit>#<event>#<file>`.
    #[must_use]
    pub fn text(&self) -> String {
        let RepositoryKey { link, repository } = &self.repository;
        format!("{link}#{repository}#{}#{}#{}", self.commit, self.event, self.file)
    }

    /// Parses what [`Self::text`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '#');
        let link = LinkName::new(parts.next()?).ok()?;
        let repository = parts.next()?.parse().ok()?;
        let commit = CommitId::new(parts.next()?).ok()?;
        let event = parts.next()?.parse().ok()?;
        let file = parts.next()?.to_owned();
        Some(Self { repository: RepositoryKey { link, repository }, commit, file, event })
    }
}
