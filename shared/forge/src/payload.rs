//! Parses the payload of a delivery to what all forges have in common.
//!
//! Only what is understood is read: refs, commits, numbers, names. No URL of a payload is read at all.

mod common;
mod depth;
mod gitea;
mod github;
mod gitlab;

use engine::forge::event::{Incoming, Parsed, Push, Signal};
use engine::forge::link::ForgeKind;
use engine::forge::names::{CommitId, GitRef};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// How deeply lists and objects may be nested.
pub const DEPTH: usize = 64;
/// The longest id of a delivery, in bytes.
const ID: usize = 200;
/// The longest name of a person that is kept, in bytes.
const ACTOR: usize = 200;

/// Why a payload can't be read. The sender gets the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    /// A header that the forge always sends.
    #[error("header `{0}` is missing")]
    NoHeader(&'static str),
    /// Nested too deeply.
    #[error("the payload is nested more than {DEPTH} levels deep")]
    TooDeep,
    /// Not JSON, or not of the event that the header names.
    #[error("the payload of event `{event}` can't be read: {reason}")]
    Unreadable {
        /// The event's name.
        event: String,
        /// What is wrong.
        reason: String,
    },
}

/// Parses a delivery whose signature was checked. `header` returns a header's value by its name in lower case.
///
/// # Errors
/// [`BadPayload`] if the delivery isn't one that this forge sends.
pub fn parse<'a>(
    forge: ForgeKind,
    header: impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
) -> Result<Parsed, BadPayload> {
    let (id, event): (&[&'static str], &[&'static str]) = match forge {
        ForgeKind::Github => (&["x-github-delivery"], &["x-github-event"]),
        ForgeKind::Gitlab => (&["webhook-id", "idempotency-key", "x-gitlab-event-uuid"], &["x-gitlab-event"]),
        ForgeKind::Gitea => (&["x-gitea-delivery", "x-forgejo-delivery"], &["x-gitea-event", "x-forgejo-event"]),
    };
    let first = |names: &[&'static str]| {
        let given = names.iter().find_map(|name| header(name)).filter(|value| !value.is_empty());
        given.ok_or(BadPayload::NoHeader(names[0]))
    };
    let (id, event) = (cut(first(id)?, ID), first(event)?);
    if depth::of(body) > DEPTH {
        return Err(BadPayload::TooDeep);
    }
    match forge {
        ForgeKind::Github => github::parse(id, event, body),
        ForgeKind::Gitlab => gitlab::parse(id, event, body),
        ForgeKind::Gitea => gitea::parse(id, event, body),
    }
}

fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

/// A person's name for lists. Control characters have no place in it.
fn actor(name: &str) -> String {
    cut(&name.replace(char::is_control, " "), ACTOR)
}

fn read<T: DeserializeOwned>(event: &str, body: &[u8]) -> Result<T, BadPayload> {
    serde_json::from_slice(body).map_err(|error| unreadable(event, error))
}

fn unreadable(event: &str, reason: impl std::fmt::Display) -> BadPayload {
    BadPayload::Unreadable { event: cut(&event.replace(char::is_control, " "), 100), reason: reason.to_string() }
}

#[expect(clippy::unnecessary_wraps, reason = "what the parsers return")]
fn ignored(reason: impl Into<String>) -> Result<Parsed, BadPayload> {
    Ok(Parsed::Ignored(reason.into()))
}

fn not_understood(event: &str) -> Result<Parsed, BadPayload> {
    ignored(format!("event {:?} starts nothing", cut(event, 100)))
}

fn action_ignored(event: &str, action: &str) -> Result<Parsed, BadPayload> {
    ignored(format!("action {:?} of event {event:?} starts nothing", cut(action, 100)))
}

/// A push in the form that all forges share.
struct RawPush<'a> {
    event: &'a str,
    name: String,
    before: &'a str,
    after: &'a str,
    /// The commit of an annotated tag, and the head's message.
    head: Option<&'a Commit>,
    actor: &'a str,
}

/// A commit of a payload.
#[derive(Deserialize)]
struct Commit {
    id: String,
    #[serde(default)]
    message: Option<String>,
}

impl RawPush<'_> {
    fn signal(self) -> Result<Result<Signal, String>, BadPayload> {
        let bad = |error: &dyn std::fmt::Display| unreadable(self.event, error);
        let Ok(name) = GitRef::new(self.name.clone()) else {
            return Ok(Err(format!("{:?} is neither a branch nor a tag", cut(&self.name, 200))));
        };
        let before = CommitId::of_push(self.before).map_err(|error| bad(&error))?;
        let mut after = CommitId::of_push(self.after).map_err(|error| bad(&error))?;
        let head = self.head.filter(|_| after.is_some());
        // The `after` of an annotated tag is the tag's object.
        if let (Some(head), Some(_)) = (head, name.tag()) {
            after = Some(CommitId::new(head.id.clone()).map_err(|error| bad(&error))?);
        }
        let message = head.filter(|head| after.as_ref().is_some_and(|after| after.as_str() == head.id));
        let first_line = message.and_then(|head| head.message.as_deref()?.lines().next()).map(|line| cut(line, 1000));
        Ok(Ok(Signal::Push(Push { name, before, after, actor: actor(self.actor), first_line })))
    }
}

fn pushed(raw: RawPush<'_>, id: String, repository: u64, name: String) -> Result<Parsed, BadPayload> {
    Ok(match raw.signal()? {
        Ok(signal) => Parsed::Signal(Incoming { id, repository, name, signal }),
        Err(reason) => Parsed::Ignored(reason),
    })
}

#[cfg(test)]
mod tests;
