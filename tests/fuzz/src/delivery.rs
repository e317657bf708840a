//! Fuzz target `delivery`: an arbitrary payload of a webhook, and its signature.

use engine::forge::event::{Parsed, Signal};
use engine::forge::link::ForgeKind;
use forge::payload::{BadPayload, parse};
use forge::signature::{check, sign};
use protocol::{Millis, SecretValue};

/// What each forge calls its events.
const EVENTS: [(ForgeKind, &str, &str, &[&str]); 3] = [
    (
        ForgeKind::Github,
        "x-github-event",
        "x-github-delivery",
        &["push", "pull_request", "merge_group", "check_run", "check_suite", "ping"],
    ),
    (ForgeKind::Gitlab, "x-gitlab-event", "webhook-id", &["Push Hook", "Tag Push Hook", "Merge Request Hook"]),
    (ForgeKind::Gitea, "x-gitea-event", "x-gitea-delivery", &["push", "pull_request", "pull_request_sync"]),
];

/// A payload of any event is understood, ignored with a reason, or refused with one. What is understood has a name that can be shown.
/// A signature holds for these bytes and for no others.
///
/// # Panics
/// If the property is broken.
pub fn delivery(data: &[u8]) {
    for (forge, event_header, id_header, events) in EVENTS {
        for event in events {
            let headers = [(event_header, *event), (id_header, "an id")];
            let header = |name: &str| headers.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
            match parse(forge, header, data) {
                Ok(Parsed::Ignored(reason)) => assert!(!reason.is_empty()),
                Ok(Parsed::Signal(incoming)) => {
                    assert_eq!(incoming.id, "an id");
                    let actor = actor(&incoming.signal);
                    assert!(actor.len() <= 200 && !actor.contains(char::is_control), "{actor:?}");
                }
                Err(BadPayload::TooDeep) => assert!(data.len() > 64),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    signature(data);
}

fn actor(signal: &Signal) -> &str {
    match signal {
        Signal::Push(push) => &push.actor,
        Signal::PullRequest { actor, .. }
        | Signal::MergeGroup { actor, .. }
        | Signal::Rerequested { actor, .. }
        | Signal::Approve { actor, .. }
        | Signal::Approved { actor, .. }
        | Signal::Start { actor, .. } => actor,
    }
}

fn signature(data: &[u8]) {
    let secrets = [SecretValue::new("a key").expect("a value")];
    let signed = hex::encode(sign(b"a key", data));
    let accepted = |given: &str, body: &[u8]| {
        check(ForgeKind::Gitea, |name| (name == "x-gitea-signature").then_some(given), body, &secrets, Millis(0))
            .is_ok()
    };
    assert!(accepted(&signed, data));
    assert!(!accepted(&signed, &[data, b" "].concat()));
    if let Some(first) = data.first() {
        let mut changed = data.to_vec();
        changed[0] = first ^ 1;
        assert!(!accepted(&signed, &changed));
    }
    // The bytes themselves as a signature of something else.
    if let Ok(text) = std::str::from_utf8(data) {
        for header in ["x-hub-signature-256", "x-gitea-signature", "x-gitlab-token", "webhook-signature"] {
            for (forge, ..) in EVENTS {
                let given = |name: &str| (name == header).then_some(text);
                assert!(check(forge, given, b"{}", &secrets, Millis(0)).is_err() || text == "a key");
            }
        }
    }
}
