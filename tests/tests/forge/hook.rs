//! The route that takes deliveries.

use client::ClientError;
use forge::signature::sign;
use harness::forge::Kind;
use protocol::LinkName;
use serde_json::{Value, json};

use crate::linked::Linked;
use crate::project::{REPOSITORY, WEBHOOK_SECRET};

const LIMIT: usize = 4 * 1024 * 1024;

/// A push, as GitHub writes it, of a commit that isn't there.
fn push(linked: &Linked) -> String {
    let repository = json!({ "id": linked.project.number, "full_name": REPOSITORY });
    json!({
        "ref": "refs/heads/main", "before": "0".repeat(40), "after": "a".repeat(40),
        "head_commit": null, "repository": repository, "sender": { "login": "ada" },
    })
    .to_string()
}

/// Sends a delivery without a token. Returns the status and the answer.
async fn sends(linked: &Linked, body: impl Into<Vec<u8>>, headers: &[(&str, &str)]) -> (u16, Value) {
    sends_to(linked, linked.name().as_str(), body, headers).await
}

async fn sends_to(linked: &Linked, link: &str, body: impl Into<Vec<u8>>, headers: &[(&str, &str)]) -> (u16, Value) {
    let usual = [("content-type", "application/json"), ("x-github-event", "push"), ("x-github-delivery", "d-1")];
    let usual = usual.into_iter().filter(|(name, _)| !headers.iter().any(|(given, _)| given == name));
    let headers: Vec<_> = usual.chain(headers.iter().copied()).collect();
    let stranger = linked.cloud.seen_by(None);
    let answer = stranger.send_with("POST", &format!("/api/forges/{link}/hook"), &headers, body).await;
    (answer.status.as_u16(), answer.json())
}

fn signature(body: impl AsRef<[u8]>, key: &str) -> String {
    format!("sha256={}", hex::encode(sign(key.as_bytes(), body.as_ref())))
}

#[tokio::test]
async fn signed_delivery_is_stored_and_anything_else_writes_nothing() {
    let linked = Linked::with_token(Kind::Github).await;
    let body = push(&linked);
    let good = signature(&body, WEBHOOK_SECRET);
    let reencoded = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&body).expect("JSON")).expect("JSON");
    let sha1 = format!("sha1={}", &good[7..47]);
    for given in ["", "sha256=", &sha1, &signature(&body, ""), &signature(&reencoded, WEBHOOK_SECRET), &good[7..]] {
        let (status, answer) = sends(&linked, body.clone(), &[("x-hub-signature-256", given)]).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (401, Some("bad_signature")), "{given}");
    }
    let (status, none) = sends(&linked, body.clone(), &[]).await;
    let unknown = sends_to(&linked, "nobody", body.clone(), &[("x-hub-signature-256", &good)]).await;
    assert_eq!((status, unknown.0), (401, 401));
    assert_eq!(none, unknown.1, "an unknown link is answered like a wrong signature");
    let form = [("content-type", "application/x-www-form-urlencoded"), ("x-hub-signature-256", &*good)];
    let (status, answer) = sends(&linked, body.clone(), &form).await;
    assert_eq!(status, 415);
    let message = answer["error"]["message"].as_str().expect("a text");
    assert!(message.contains("content type of the webhook to application/json"), "{message}");
    let large = vec![b' '; LIMIT + 1];
    let signed = signature(&large, WEBHOOK_SECRET);
    let (status, answer) = sends(&linked, large, &[("x-hub-signature-256", &signed)]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (413, Some("body_too_large")));
    for bad in ["{", &format!("{}{}", "[".repeat(65), "]".repeat(65)), r#"{"ref": "refs/heads/main"}"#] {
        let headers = [("x-hub-signature-256", &*signature(bad, WEBHOOK_SECRET))];
        let (status, answer) = sends(&linked, bad, &headers).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (400, Some("invalid_payload")), "{bad}");
    }
    assert!(linked.deliveries().await.is_empty());
    let (status, answer) = sends(&linked, body, &[("x-hub-signature-256", &good)]).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(linked.deliveries().await.len(), 1);
}

#[tokio::test]
async fn signed_delivery_of_something_else_is_ignored_with_the_reason() {
    let linked = Linked::with_token(Kind::Github).await;
    let other = push(&linked).replace(&linked.project.number.to_string(), "1");
    for (event, body, reason) in [
        ("ping", "{}".to_owned(), "ping"),
        ("installation_repositories", "{}".to_owned(), "installation_repositories"),
        ("push", other, "not linked"),
    ] {
        let headers = [("x-github-event", event), ("x-hub-signature-256", &*signature(&body, WEBHOOK_SECRET))];
        let (status, answer) = sends(&linked, body.clone(), &headers).await;
        assert_eq!(status, 200, "{event}: {answer}");
        assert!(answer["ignored"].as_str().expect("a reason").contains(reason), "{answer}");
    }
    assert!(linked.deliveries().await.is_empty());
}

#[tokio::test]
async fn link_whose_webhook_secret_cannot_be_read_answers_503() {
    let linked = Linked::with_token(Kind::Github).await;
    let named = linked.project.webhook_name();
    linked.links(&linked.project.link_file().replace(&named, &format!("{named}_GONE"))).await;
    let body = push(&linked);
    let (status, answer) = sends(&linked, body.clone(), &[("x-hub-signature-256", &signature(&body, ""))]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (503, Some("no_webhook_secret")), "{answer}");
    assert!(linked.deliveries().await.is_empty());
}

#[tokio::test]
async fn either_of_two_webhook_secrets_signs_while_one_is_replaced() {
    let linked = Linked::with_token(Kind::Github).await;
    let named = linked.project.webhook_name();
    linked.cloud.secret_named(&format!("{named}_NEW"), "webhook secret 2").await;
    let both = format!("webhook_secret: [{named}, {named}_NEW]");
    linked.links(&linked.project.link_file().replace(&format!("webhook_secret: {named}"), &both)).await;
    for (secret, expected) in [(WEBHOOK_SECRET, 202), ("webhook secret 2", 202), ("webhook secret 3", 401)] {
        let body = push(&linked);
        let (status, answer) =
            sends(&linked, body.clone(), &[("x-hub-signature-256", &signature(&body, secret))]).await;
        assert_eq!(status, expected, "{secret}: {answer}");
    }
}

#[tokio::test]
async fn link_is_refused_with_its_problem_and_changes_nothing() {
    let linked = Linked::with_token(Kind::Github).await;
    let other = LinkName::new(format!("{}-other", linked.name())).expect("a name");
    let (file, webhook, token) =
        (linked.project.link_file(), linked.project.webhook_name(), linked.project.token_name());
    for (file, says) in [
        (file.replace(&format!("webhook_secret: {webhook}\n"), ""), "webhook_secret"),
        (file.replace(REPOSITORY, "acme/none"), "no such thing"),
        (file.replace(&token, &format!("{token}_GONE")), "_GONE"),
    ] {
        let said = linked.cloud.client.put_link(&other, &file).await.expect_err("refused").to_string();
        assert!(said.contains(says), "{said}");
    }
    let none = linked.cloud.client.link(&other).await;
    assert!(matches!(none, Err(ClientError::Refused { status: 404, .. })), "{none:?}");
}

#[tokio::test]
async fn link_shows_the_public_address_of_its_hook_and_no_secret() {
    let linked = Linked::with_token(Kind::Github).await;
    let info = linked.cloud.client.link(linked.name()).await.expect("there").remove(0);
    assert_eq!(info.number, linked.project.number);
    let hook = info.hook.expect("an address");
    assert!(hook.ends_with(&format!("/api/forges/{}/hook", linked.name())), "{hook}");
    assert_eq!(info.secrets.len(), 2, "their names: {:?}", info.secrets);
}
