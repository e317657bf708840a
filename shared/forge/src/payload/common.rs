//! Deliveries that GitHub, Gitea and Forgejo write alike.

use engine::forge::event::{Incoming, Parsed, PullAction, Signal};
use engine::forge::names::CommitId;
use serde::Deserialize;

use super::{BadPayload, Commit, RawPush, action_ignored, actor, pushed, read};

#[derive(Deserialize)]
pub(super) struct Repository {
    pub id: u64,
    pub full_name: String,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub login: String,
}

#[derive(Deserialize)]
struct PushPayload {
    #[serde(rename = "ref")]
    name: String,
    before: String,
    after: String,
    head_commit: Option<Commit>,
    repository: Repository,
    sender: Option<User>,
}

#[derive(Deserialize)]
struct PullPayload {
    action: String,
    number: u64,
    pull_request: Pull,
    #[serde(default)]
    changes: Option<Changes>,
    repository: Repository,
    sender: User,
}

#[derive(Deserialize)]
struct Pull {
    head: Head,
}

#[derive(Deserialize)]
struct Head {
    sha: String,
}

#[derive(Deserialize)]
struct Changes {
    /// The base before it was changed. Gitea calls it `ref`.
    #[serde(alias = "ref")]
    base: Option<serde::de::IgnoredAny>,
}

pub(super) fn incoming(id: String, repository: Repository, signal: Signal) -> Parsed {
    Parsed::Signal(Incoming { id, repository: repository.id, name: repository.full_name, signal })
}

pub(super) fn push(id: String, event: &str, body: &[u8]) -> Result<Parsed, BadPayload> {
    let payload: PushPayload = read(event, body)?;
    let raw = RawPush {
        event,
        name: payload.name,
        before: &payload.before,
        after: &payload.after,
        head: payload.head_commit.as_ref(),
        actor: payload.sender.as_ref().map_or("", |sender| sender.login.as_str()),
    };
    pushed(raw, id, payload.repository.id, payload.repository.full_name)
}

pub(super) fn pull_request(id: String, event: &str, body: &[u8]) -> Result<Parsed, BadPayload> {
    let payload: PullPayload = read(event, body)?;
    let has_other_base = payload.changes.is_some_and(|changes| changes.base.is_some());
    let action = match payload.action.as_str() {
        "opened" | "reopened" => PullAction::Opened,
        // Gitea writes the second form.
        "synchronize" | "synchronized" => PullAction::Updated,
        "edited" if has_other_base => PullAction::Updated,
        "closed" => PullAction::Closed,
        other => return action_ignored(event, other),
    };
    let head = CommitId::new(payload.pull_request.head.sha).ok();
    let signal = Signal::PullRequest { number: payload.number, action, head, actor: actor(&payload.sender.login) };
    Ok(incoming(id, payload.repository, signal))
}
