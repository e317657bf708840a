//! Deliveries of GitHub.

use engine::forge::event::{ExternalId, Parsed, Signal};
use engine::forge::names::{CommitId, GitRef};
use serde::Deserialize;

use crate::APPROVE;

use super::common::{Repository, User, incoming, pull_request, push};
use super::{BadPayload, action_ignored, actor, ignored, not_understood, read, unreadable};

#[derive(Deserialize)]
struct GroupPayload {
    action: String,
    merge_group: Group,
    repository: Repository,
    sender: Option<User>,
}

#[derive(Deserialize)]
struct Group {
    head_sha: String,
    head_ref: String,
    base_sha: String,
    base_ref: String,
}

#[derive(Deserialize)]
struct CheckPayload {
    action: String,
    check_run: Check,
    requested_action: Option<Button>,
    repository: Repository,
    sender: User,
}

#[derive(Deserialize)]
struct Check {
    head_sha: String,
    #[serde(default)]
    external_id: Option<String>,
}

#[derive(Deserialize)]
struct Button {
    identifier: String,
}

#[derive(Deserialize)]
struct SuitePayload {
    action: String,
    check_suite: Check,
    repository: Repository,
    sender: User,
}

pub(super) fn parse(id: String, event: &str, body: &[u8]) -> Result<Parsed, BadPayload> {
    match event {
        "push" => push(id, event, body),
        "pull_request" => pull_request(id, event, body),
        "merge_group" => merge_group(id, event, body),
        "check_run" => check_run(id, event, body),
        "check_suite" => check_suite(id, event, body),
        "ping" => ignored("a ping"),
        other => not_understood(other),
    }
}

fn merge_group(id: String, event: &str, body: &[u8]) -> Result<Parsed, BadPayload> {
    let payload: GroupPayload = read(event, body)?;
    if payload.action != "checks_requested" {
        return action_ignored(event, &payload.action);
    }
    let Group { head_sha, head_ref, base_sha, base_ref } = payload.merge_group;
    let commit = |text: String| CommitId::new(text).map_err(|error| unreadable(event, error));
    let name = |text: String| GitRef::new(text).map_err(|error| unreadable(event, error));
    let signal = Signal::MergeGroup {
        name: name(head_ref)?,
        head: commit(head_sha)?,
        base: commit(base_sha)?,
        base_ref: name(base_ref)?,
        actor: actor(payload.sender.as_ref().map_or("", |sender| sender.login.as_str())),
    };
    Ok(incoming(id, payload.repository, signal))
}

fn check_run(id: String, event: &str, body: &[u8]) -> Result<Parsed, BadPayload> {
    let payload: CheckPayload = read(event, body)?;
    let commit = CommitId::new(payload.check_run.head_sha).map_err(|error| unreadable(event, error))?;
    let check = payload.check_run.external_id.filter(|check| !check.is_empty()).map(ExternalId);
    let actor = actor(&payload.sender.login);
    let button = payload.requested_action.map(|button| button.identifier);
    let signal = match (payload.action.as_str(), check, button.as_deref()) {
        ("rerequested", Some(check), _) => Signal::Rerequested { commit, check: Some(check), actor },
        ("requested_action", Some(check), Some(APPROVE)) => Signal::Approve { commit, check, actor },
        ("rerequested" | "requested_action", ..) => {
            return ignored("a check run or a button that isn't of workflow-graph");
        }
        (other, ..) => return action_ignored(event, other),
    };
    Ok(incoming(id, payload.repository, signal))
}

fn check_suite(id: String, event: &str, body: &[u8]) -> Result<Parsed, BadPayload> {
    let payload: SuitePayload = read(event, body)?;
    if payload.action != "rerequested" {
        return action_ignored(event, &payload.action);
    }
    let commit = CommitId::new(payload.check_suite.head_sha).map_err(|error| unreadable(event, error))?;
    let signal = Signal::Rerequested { commit, check: None, actor: actor(&payload.sender.login) };
    Ok(incoming(id, payload.repository, signal))
}
