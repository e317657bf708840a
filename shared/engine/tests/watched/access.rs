//! Tokens and the audit log: what is refused, and what is recorded.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::EngineError;
use protocol::access::{Allowed, AuditAction, AuditEntry, NewToken, Permissions};
use protocol::{Label, TokenName, limits};

use crate::engine;

fn new_token(name: &str) -> NewToken {
    NewToken::for_everything(TokenName::new(name).expect("a name"))
}

#[tokio::test]
async fn token_with_a_time_or_a_list_out_of_range_is_refused() {
    let (engine, _) = engine();
    let create = async |new: NewToken| engine.tokens().create(new).await.map(drop);
    let (least, most) = (*limits::TOKEN_SECS.start(), *limits::TOKEN_SECS.end());
    for (n, (secs, good)) in
        [(least - 1, false), (least, true), (most, true), (most + 1, false)].into_iter().enumerate()
    {
        let created = create(NewToken { expires_in_secs: secs, ..new_token(&format!("t{n}")) }).await;
        assert_eq!(created.is_ok(), good, "{secs} s");
    }
    let labels = |count: usize| -> Allowed<Label> {
        Allowed::Only((0..count).map(|n| Label::new(&format!("l{n}")).expect("a label")).collect())
    };
    for (count, good) in [(limits::NAMED_PER_TOKEN, true), (limits::NAMED_PER_TOKEN + 1, false)] {
        let permissions = Permissions { labels: labels(count), ..Permissions::all() };
        let created = create(NewToken { permissions, ..new_token(&format!("labels-{count}")) }).await;
        assert_eq!(created.is_ok(), good, "{count} labels");
    }
    let permissions = Permissions { scopes: BTreeSet::new(), ..Permissions::all() };
    let error = create(NewToken { permissions, ..new_token("none") }).await.expect_err("no scope");
    assert!(matches!(error, EngineError::NoScopes), "{error}");
}

#[tokio::test]
async fn server_whose_last_administrator_has_expired_gets_another_first_token() {
    let (engine, clock) = engine();
    let first = engine.tokens().first().await.expect("answered").expect("the first");
    assert!(engine.tokens().first().await.expect("answered").is_none());
    let left = first.info.expires_at_ms.since(first.info.created_at_ms);
    assert_eq!(left, Duration::from_hours(90 * 24));
    clock.advance(left.saturating_sub(Duration::from_millis(1)));
    assert!(engine.tokens().first().await.expect("answered").is_none());
    clock.advance(Duration::from_millis(1));
    assert!(engine.tokens().first().await.expect("answered").is_some());
}

#[tokio::test]
async fn server_whose_tokens_can_not_create_others_gets_a_first_token() {
    let (engine, _) = engine();
    let permissions = Permissions { scopes: BTreeSet::from([protocol::access::Scope::Read]), ..Permissions::all() };
    engine.tokens().create(NewToken { permissions, ..new_token("reader") }).await.expect("made");
    assert!(engine.tokens().first().await.expect("answered").is_some());
}

#[tokio::test]
async fn only_refusals_are_recorded_ten_a_second() {
    let (engine, _) = engine();
    let record = async |action: AuditAction| {
        let entry = AuditEntry::new(engine.now(), None, action, "/api/workflows".to_owned());
        engine.audit().record(entry).await;
    };
    for (action, recorded) in [(AuditAction::Refused, 10), (AuditAction::Submit, 10 + 20)] {
        for _ in 0..20 {
            record(action).await;
        }
        assert_eq!(engine.ports().calls("record"), recorded, "{action:?}");
    }
}
