//! What is read from the payloads of each forge, and which payloads are refused.

use super::*;
use crate::APPROVE;
use engine::forge::event::PullAction;

const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";
const ZERO: &str = "0000000000000000000000000000000000000000";

fn github(event: &str, body: &str) -> Result<Parsed, BadPayload> {
    let headers = [("x-github-event", event), ("x-github-delivery", "d-1")];
    parse(
        ForgeKind::Github,
        |name| headers.iter().find(|(given, _)| *given == name).map(|(_, value)| *value),
        body.as_bytes(),
    )
}

fn other(forge: ForgeKind, event: &str, body: &serde_json::Value) -> Result<Parsed, BadPayload> {
    let (delivery, name) = match forge {
        ForgeKind::Gitlab => ("webhook-id", "x-gitlab-event"),
        _ => ("x-gitea-delivery", "x-gitea-event"),
    };
    let header = |asked: &str| {
        [(delivery, "d-1"), (name, event)].into_iter().find(|(given, _)| *given == asked).map(|(_, value)| value)
    };
    parse(forge, header, body.to_string().as_bytes())
}

fn signal(parsed: Result<Parsed, BadPayload>) -> (u64, Signal) {
    match parsed {
        Ok(Parsed::Signal(incoming)) => {
            assert_eq!(incoming.id, "d-1");
            (incoming.repository, incoming.signal)
        }
        other => panic!("no signal: {other:?}"),
    }
}

fn ignored_because(parsed: Result<Parsed, BadPayload>) -> String {
    match parsed {
        Ok(Parsed::Ignored(reason)) => reason,
        other => panic!("not ignored: {other:?}"),
    }
}

fn commit(text: &str) -> CommitId {
    CommitId::new(text).expect("a commit")
}

macro_rules! delivery {
    ($name:literal) => {
        include_str!(concat!("../../tests/deliveries/", $name, ".json"))
    };
}

#[test]
fn pushes_of_github_are_understood_a_tag_too() {
    let (repository, push) = signal(github("push", delivery!("push-branch")));
    assert_eq!(repository, 186_853_002);
    let Signal::Push(push) = push else { panic!("{push:?}") };
    assert_eq!((push.name.as_str(), push.before), ("refs/heads/master", None));
    assert_eq!(push.after, Some(commit("6113728f27ae82c7b1a177c8d03f9e96e0adf246")));
    assert_eq!(push.actor, "Codertocat");
    let (_, push) = signal(github("push", delivery!("push-tag")));
    let Signal::Push(push) = push else { panic!("{push:?}") };
    assert_eq!((push.name.tag(), push.before), (Some("simple-tag"), None));
}

#[test]
fn annotated_tag_is_at_its_commit_and_only_the_first_line_of_a_message_is_kept() {
    let body = serde_json::json!({
        "ref": "refs/tags/v1", "before": ZERO, "after": ONE,
        "head_commit": { "id": TWO, "message": "first\n\n[skip ci]" },
        "repository": { "id": 7, "full_name": "acme/app" }, "sender": { "login": "ada\n" },
    });
    let (_, push) = signal(github("push", &body.to_string()));
    let Signal::Push(push) = push else { panic!("{push:?}") };
    assert_eq!(
        (push.after, push.first_line.as_deref(), push.actor.as_str()),
        (Some(commit(TWO)), Some("first"), "ada ")
    );
}

#[test]
fn pull_requests_of_github_are_understood_and_labels_are_ignored() {
    for (body, action) in [
        (delivery!("pull-request-opened"), PullAction::Opened),
        (delivery!("pull-request-reopened"), PullAction::Opened),
        (delivery!("pull-request-synchronize"), PullAction::Updated),
        (delivery!("pull-request-closed"), PullAction::Closed),
    ] {
        let (_, found) = signal(github("pull_request", body));
        let Signal::PullRequest { number, action: found, .. } = found else { panic!("{found:?}") };
        assert!(number > 0);
        assert_eq!(found, action);
    }
    assert!(ignored_because(github("pull_request", delivery!("pull-request-labeled"))).contains("labeled"));
    let opened: serde_json::Value = serde_json::from_str(delivery!("pull-request-opened")).expect("JSON");
    let edited = |changes: serde_json::Value| {
        let mut edited = opened.clone();
        (edited["action"], edited["changes"]) = ("edited".into(), changes);
        github("pull_request", &edited.to_string())
    };
    assert!(ignored_because(edited(serde_json::json!({ "title": { "from": "x" } }))).contains("edited"));
    let (_, found) = signal(edited(serde_json::json!({ "base": { "ref": { "from": "main" } } })));
    assert!(matches!(found, Signal::PullRequest { action: PullAction::Updated, .. }));
}

#[test]
fn requests_to_run_again_and_the_button_are_understood_if_the_check_is_ours() {
    let ours = |body: &str| {
        let mut value: serde_json::Value = serde_json::from_str(body).expect("JSON");
        value["check_run"]["external_id"] = "ours".into();
        value
    };
    let (_, again) = signal(github("check_run", &ours(delivery!("check-run-rerequested")).to_string()));
    assert!(matches!(again, Signal::Rerequested { check: Some(ref check), .. } if check.0 == "ours"), "{again:?}");
    assert!(
        ignored_because(github("check_run", delivery!("check-run-rerequested"))).contains("isn't of workflow-graph")
    );
    assert!(ignored_because(github("check_run", delivery!("check-run-created"))).contains("created"));
    let mut button = ours(delivery!("check-run-requested-action"));
    assert!(ignored_because(github("check_run", &button.to_string())).contains("button"));
    button["requested_action"]["identifier"] = APPROVE.into();
    let (_, pressed) = signal(github("check_run", &button.to_string()));
    assert!(matches!(pressed, Signal::Approve { ref actor, .. } if actor == "codebytere"), "{pressed:?}");
    let (_, all) = signal(github("check_suite", delivery!("check-suite-rerequested")));
    assert!(matches!(all, Signal::Rerequested { check: None, .. }), "{all:?}");
}

#[test]
fn merge_groups_are_understood() {
    let (_, found) = signal(github("merge_group", delivery!("merge-group-checks-requested")));
    let Signal::MergeGroup { name, base_ref, .. } = found else { panic!("{found:?}") };
    assert!(name.is_of_queue());
    assert_eq!(base_ref.as_str(), "refs/heads/main");
}

#[test]
fn other_events_are_ignored_with_their_name() {
    assert_eq!(ignored_because(github("ping", delivery!("ping"))), "a ping");
    let reason = ignored_because(github("installation_repositories", delivery!("installation-repositories")));
    assert!(reason.contains("installation_repositories"), "{reason}");
}

#[test]
fn gitlab_and_gitea_are_understood() {
    let project = serde_json::json!({ "id": 7, "path_with_namespace": "acme/app" });
    let push = serde_json::json!({
        "ref": "refs/heads/main", "before": ONE, "after": TWO, "checkout_sha": TWO, "user_username": "ada",
        "commits": [{ "id": TWO, "message": "one\ntwo" }], "project": project,
    });
    let (repository, found) = signal(other(ForgeKind::Gitlab, "Push Hook", &push));
    let Signal::Push(push) = found else { panic!("{found:?}") };
    assert_eq!(
        (repository, push.before, push.after, push.first_line.as_deref()),
        (7, Some(commit(ONE)), Some(commit(TWO)), Some("one"))
    );

    let request = |action: &str, oldrev: Option<&str>, source: u64| {
        let attributes = serde_json::json!({
            "iid": 3, "action": action, "oldrev": oldrev, "source_project_id": source, "target_project_id": 7,
        });
        let body =
            serde_json::json!({ "object_attributes": attributes, "project": project, "user": { "username": "ada" } });
        other(ForgeKind::Gitlab, "Merge Request Hook", &body)
    };
    for (action, oldrev, expected) in [
        ("open", None, PullAction::Opened),
        ("update", Some(ONE), PullAction::Updated),
        ("merge", None, PullAction::Closed),
    ] {
        let (_, found) = signal(request(action, oldrev, 7));
        assert!(matches!(found, Signal::PullRequest { number: 3, action, .. } if action == expected), "{found:?}");
    }
    assert!(ignored_because(request("update", None, 7)).contains("update"));
    assert!(ignored_because(request("open", None, 8)).contains("fork"));

    let repository = serde_json::json!({ "id": 7, "full_name": "acme/app" });
    let push = serde_json::json!({
        "ref": "refs/heads/x$(id)", "before": ZERO, "after": TWO, "head_commit": { "id": TWO, "message": "m" },
        "repository": repository, "sender": { "login": "ada" },
    });
    let (_, found) = signal(other(ForgeKind::Gitea, "push", &push));
    assert!(matches!(found, Signal::Push(ref push) if push.name.branch() == Some("x$(id)")), "{found:?}");
    let pull = serde_json::json!({ "action": "synchronized", "number": 3, "pull_request": { "head": { "sha": TWO } }, "repository": repository, "sender": { "login": "ada" } });
    let (_, found) = signal(other(ForgeKind::Gitea, "pull_request", &pull));
    assert!(matches!(found, Signal::PullRequest { action: PullAction::Updated, .. }), "{found:?}");
}

#[test]
fn what_no_forge_sends_is_refused_with_its_fault() {
    let no_header = parse(ForgeKind::Github, |_| None, b"{}");
    assert_eq!(no_header, Err(BadPayload::NoHeader("x-github-delivery")));
    assert!(matches!(github("push", "{"), Err(BadPayload::Unreadable { .. })));
    let wrong = delivery!("push-branch").replace("6113728f27ae82c7b1a177c8d03f9e96e0adf246", "6113728");
    assert!(github("push", &wrong).expect_err("a short id").to_string().contains("6113728"));
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(github("push", &deep(65)), Err(BadPayload::TooDeep));
    assert!(matches!(github("push", &deep(64)), Err(BadPayload::Unreadable { .. })));
    assert_eq!(depth::of(br#"{"a": "[[\"[[", "b": [{}]}"#), 3);
    assert!(
        ignored_because(github("push", &delivery!("push-branch").replace("refs/heads/master", "refs/notes/x")))
            .contains("neither")
    );
}
