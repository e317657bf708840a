//! Deliveries of GitLab.

use engine::forge::event::{Incoming, Parsed, PullAction, Signal};
use engine::forge::names::CommitId;
use serde::Deserialize;

use super::{BadPayload, Commit, RawPush, action_ignored, actor, ignored, not_understood, pushed, read};

#[derive(Deserialize)]
struct Project {
    id: u64,
    path_with_namespace: String,
}

#[derive(Deserialize)]
struct PushPayload {
    #[serde(rename = "ref")]
    name: String,
    before: String,
    after: String,
    /// The commit of an annotated tag.
    #[serde(default)]
    checkout_sha: Option<String>,
    #[serde(default)]
    commits: Vec<Commit>,
    #[serde(default)]
    user_username: String,
    project: Project,
}

#[derive(Deserialize)]
struct RequestPayload {
    object_attributes: Attributes,
    #[serde(default)]
    changes: Changes,
    project: Project,
    user: User,
}

#[derive(Deserialize)]
struct Attributes {
    iid: u64,
    #[serde(default)]
    action: String,
    #[serde(default)]
    oldrev: Option<String>,
    source_project_id: Option<u64>,
    target_project_id: u64,
    #[serde(default)]
    last_commit: Option<Commit>,
}

#[derive(Default, Deserialize)]
struct Changes {
    target_branch: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

pub(super) fn parse(id: String, event: &str, body: &[u8]) -> Result<Parsed, BadPayload> {
    match event {
        "Push Hook" | "Tag Push Hook" => push(id, event, body),
        "Merge Request Hook" => merge_request(id, event, body),
        other => not_understood(other),
    }
}

fn push(id: String, event: &str, body: &[u8]) -> Result<Parsed, BadPayload> {
    let payload: PushPayload = read(event, body)?;
    let commit = payload.checkout_sha.as_deref().unwrap_or(&payload.after);
    // Of a push without new commits the list is empty; the commit of a tag is needed all the same.
    let known = payload.commits.into_iter().find(|known| known.id == commit);
    let head = known.unwrap_or_else(|| Commit { id: commit.to_owned(), message: None });
    let raw = RawPush {
        event,
        name: payload.name,
        before: &payload.before,
        after: &payload.after,
        head: Some(&head),
        actor: &payload.user_username,
    };
    pushed(raw, id, payload.project.id, payload.project.path_with_namespace)
}

fn merge_request(id: String, event: &str, body: &[u8]) -> Result<Parsed, BadPayload> {
    let payload: RequestPayload = read(event, body)?;
    let Attributes { iid, action, oldrev, source_project_id, target_project_id, last_commit } =
        payload.object_attributes;
    if source_project_id != Some(target_project_id) {
        return ignored("a merge request from a fork: GitLab shows only what the fork reports, so it isn't started");
    }
    let action = match action.as_str() {
        "open" | "reopen" => PullAction::Opened,
        "update" if oldrev.is_some() || payload.changes.target_branch.is_some() => PullAction::Updated,
        "close" | "merge" => PullAction::Closed,
        other => return action_ignored(event, other),
    };
    let head = last_commit.and_then(|commit| CommitId::new(commit.id).ok());
    let signal = Signal::PullRequest { number: iid, action, head, actor: actor(&payload.user.username) };
    let Project { id: repository, path_with_namespace: name } = payload.project;
    Ok(Parsed::Signal(Incoming { id, repository, name, signal }))
}
