//! A change that was accepted, as the forge has confirmed it, and what runs are given of it.

use protocol::requests::GivenInputs;
use protocol::wire::RunSource;
use serde::{Deserialize, Serialize};
use workflow::{Definition, Events};

use super::link::{ForgeKind, Link, Origin};
use super::names::{CommitId, EventName, GitRef, Subject};

/// An accepted change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happened.
    pub event: EventName,
    /// The ref whose record has accepted it.
    pub subject: Subject,
    /// The number under which it was accepted.
    pub seq: u64,
    /// The branch or tag that has the commit. `None`: a pull request's branch that is gone.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub name: Option<GitRef>,
    /// The commit.
    pub commit: CommitId,
    /// Where the ref was before a push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<CommitId>,
    /// The branch that a pull request or queue merges into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<GitRef>,
    /// The commit that a queue's entry is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_commit: Option<CommitId>,
    /// The pull request's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<u64>,
    /// True if the commit comes from a fork.
    #[serde(default)]
    pub fork: bool,
    /// Who did it.
    pub actor: String,
}

/// The files that a change touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// All of them. Of a renamed file both names.
    Files(Vec<String>),
    /// The forge doesn't tell all, or doesn't know one of the commits. What can't be known runs.
    Unknown,
}

/// What a file's `on` says about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A run.
    Run,
    /// A run if one of the changed files is among its `paths`.
    IfChanged,
    /// Nothing.
    Nothing,
}

impl Change {
    /// Which of the link's rules are about it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        origin_of(self.event, self.fork)
    }

    /// The short name that a rule's `ref` is compared with: of the branch or tag, or of the base.
    #[must_use]
    pub fn ruled_ref(&self) -> &str {
        let name = match self.event {
            EventName::Push | EventName::Tag => self.name.as_ref(),
            EventName::PullRequest | EventName::MergeGroup => self.base.as_ref(),
        };
        name.map(GitRef::short).unwrap_or_default()
    }

    /// Decides by the names whether a file wants the change.
    #[must_use]
    pub fn wanted(&self, events: &Events) -> Wanted {
        let name = self.ruled_ref();
        let (wanted, paths) = match self.event {
            EventName::Push => match &events.push {
                Some(push) => (push.has_branch(name), push.paths.is_some()),
                None => (false, false),
            },
            EventName::Tag => (events.push.as_ref().is_some_and(|push| push.has_tag(name)), false),
            EventName::PullRequest => match &events.pull_request {
                Some(pull) => (pull.has_base(name), pull.paths.is_some()),
                None => (false, false),
            },
            EventName::MergeGroup => (events.merge_group.as_ref().is_some_and(|queue| queue.has_base(name)), false),
        };
        match (wanted, paths) {
            (false, _) => Wanted::Nothing,
            (true, true) => Wanted::IfChanged,
            (true, false) => Wanted::Run,
        }
    }

    /// True if one of the files is among `paths`. What can't be known runs.
    #[must_use]
    pub fn touches(&self, events: &Events, changed: &Changed) -> bool {
        let paths = match self.event {
            EventName::Push => events.push.as_ref().and_then(|push| push.paths.as_ref()),
            EventName::PullRequest => events.pull_request.as_ref().and_then(|pull| pull.paths.as_ref()),
            EventName::Tag | EventName::MergeGroup => None,
        };
        match (paths, changed) {
            (Some(paths), Changed::Files(files)) => paths.has_any(files.iter().map(String::as_str)),
            (None, _) | (_, Changed::Unknown) => true,
        }
    }

    /// What stays the same while a change is worked on: `#12`, else the ref and the commit.
    #[must_use]
    pub fn change(&self) -> String {
        match self.pull_request {
            Some(number) => format!("#{number}"),
            None => format!("{} {}", self.short_ref(), self.commit),
        }
    }

    fn short_ref(&self) -> &str {
        self.name.as_ref().map(GitRef::short).unwrap_or_default()
    }

    /// What a workflow's answers say of the change that started it.
    #[must_use]
    pub fn source(&self, link: &Link) -> RunSource {
        let page = match (link.forge, self.pull_request) {
            (ForgeKind::Github, Some(number)) => format!("pull/{number}"),
            (ForgeKind::Gitlab, Some(number)) => format!("-/merge_requests/{number}"),
            (ForgeKind::Gitea, Some(number)) => format!("pulls/{number}"),
            (ForgeKind::Github | ForgeKind::Gitea, None) => format!("commit/{}", self.commit),
            (ForgeKind::Gitlab, None) => format!("-/commit/{}", self.commit),
        };
        RunSource {
            forge: link.forge.to_string(),
            repository: link.repository.clone(),
            event: self.event.to_string(),
            name: self.name.as_ref().map(|name| name.short().to_owned()),
            commit: self.commit.to_string(),
            pull_request: self.pull_request,
            url: format!("{}/{page}", link.page()),
        }
    }

    /// The values of the inputs that a forge gives. Texts are given byte for byte.
    #[must_use]
    pub fn inputs(&self, link: &Link, definition: &Definition) -> GivenInputs {
        let commit = |commit: &Option<CommitId>| commit.as_ref().map(ToString::to_string).unwrap_or_default();
        let values = [
            ("forge", link.forge.to_string()),
            ("repository", link.repository.clone()),
            ("event", self.event.to_string()),
            ("ref", self.short_ref().to_owned()),
            ("commit", self.commit.to_string()),
            ("before", commit(&self.before)),
            ("base", self.base.as_ref().map(GitRef::short).unwrap_or_default().to_owned()),
            ("pull_request", self.pull_request.map(|number| number.to_string()).unwrap_or_default()),
            ("change", self.change()),
            ("actor", self.actor.clone()),
            ("fork", self.fork.to_string()),
        ];
        let declared = |name: &str| definition.inputs.iter().any(|input| input.name == name);
        let given = values.into_iter().filter(|(name, _)| declared(name));
        given.map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

/// Which of a link's rules are about an event.
#[must_use]
pub fn origin_of(event: EventName, fork: bool) -> Origin {
    match event {
        _ if fork => Origin::Fork,
        EventName::Push => Origin::Push,
        EventName::Tag => Origin::Tag,
        EventName::PullRequest => Origin::PullRequest,
        EventName::MergeGroup => Origin::MergeGroup,
    }
}

/// True if the first line of a commit's message asks that a push to a branch starts nothing.
#[must_use]
pub fn asks_to_skip(first_line: &str) -> bool {
    ["[skip ci]", "[ci skip]", "[no ci]"].iter().any(|words| first_line.contains(words))
}

/// The name of a run's state: `ci (push)`.
#[must_use]
pub fn state_of_run(file: &str, event: EventName) -> String {
    format!("{file} ({event})")
}

/// The name of a job's state: `ci / test (push)`.
#[must_use]
pub fn state_of_job(file: &str, job: &str, event: EventName) -> String {
    format!("{file} / {job} ({event})")
}

/// A file's name without its folder and `.yml`: `ci` of `.wfg/ci.yml`.
#[must_use]
pub fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".yml").unwrap_or(name)
}
