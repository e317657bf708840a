//! Checks of token records and the audit log.

use std::sync::Arc;

use engine::access::{TokenRecord, TokenText};
use engine::ids;
use engine::ports::{AuditCursor, Ports};
use protocol::access::{Allowed, AuditAction, AuditEntry, Permissions, Scope};
use protocol::{Label, Millis, TokenName};

use crate::fixture::{name, secs};

fn token(name: &TokenName, expires_at: Millis) -> TokenRecord {
    TokenRecord {
        name: name.clone(),
        hash: TokenText::new(name.clone(), [ids::random(), ids::random()]).hash(),
        permissions: Permissions {
            scopes: [Scope::Work, Scope::Read].into(),
            labels: Allowed::Only([Label::new("gpü").expect("a label")].into()),
            secrets: Allowed::All,
            exclusive: true,
        },
        created_at: Millis::now() - secs(5),
        expires_at,
    }
}

/// The whole record, for comparison.
fn fields(token: &TokenRecord) -> String {
    serde_json::to_string(token).expect("JSON")
}

/// A second token with the same name is refused and changes nothing, until the first is removed or has expired. Of ten
/// concurrent tokens one is stored.
pub async fn token_is_stored_until_it_is_removed_or_expires<P: Ports + 'static>(ports: Arc<P>) {
    let named = TokenName::new(name("token")).expect("a name");
    let now = Millis::now();
    let first = token(&named, now + secs(3600));
    let second = token(&named, now + secs(7200));
    assert!(ports.token(&named).await.expect("the store answers").is_none());
    assert!(!ports.remove_token(&named).await.expect("the store answers"), "there is none to remove");
    assert!(ports.put_token(first.clone(), now).await.expect("the store answers"));
    assert!(!ports.put_token(second.clone(), now).await.expect("the store answers"));
    let found = ports.token(&named).await.expect("the store answers").expect("it is there at once");
    assert_eq!(fields(&found), fields(&first));
    let listed = ports.tokens(Millis::now()).await.expect("the store answers");
    assert_eq!(listed.iter().filter(|other| other.name == named).map(fields).collect::<Vec<_>>(), [fields(&first)]);
    assert!(ports.put_token(second.clone(), now + secs(3601)).await.expect("the store answers"), "it has expired");
    let found = ports.token(&named).await.expect("the store answers").expect("it is there at once");
    assert_eq!(fields(&found), fields(&second));
    assert!(ports.remove_token(&named).await.expect("the store answers"));
    assert!(ports.token(&named).await.expect("the store answers").is_none());

    let tries = (0..10).map(|_| {
        let (ports, token) = (Arc::clone(&ports), token(&named, now + secs(3600)));
        tokio::spawn(async move { ports.put_token(token, now).await.expect("the store answers") })
    });
    let mut kept = 0;
    for one in tries.collect::<Vec<_>>() {
        kept += usize::from(one.await.expect("no panic"));
    }
    assert_eq!(kept, 1);
    ports.remove_token(&named).await.expect("the store answers");
}

fn entry(at_ms: Millis, reason: &str) -> AuditEntry {
    let entry =
        AuditEntry::new(at_ms, TokenName::new("ci").ok(), AuditAction::Refused, "POST /api/jobs/claim".to_owned());
    AuditEntry { reason: Some(reason.to_owned()), suppressed: 3, ..entry }
}

/// Entries of the same millisecond too, for any page length.
pub async fn audit_entries_are_listed_once_newest_first<P: Ports + 'static>(ports: Arc<P>) {
    let own = name("why");
    let now = Millis::now();
    let mut expected = Vec::new();
    for n in 0..80_u64 {
        // Two in each millisecond.
        let entry = entry(now + secs(n / 2), &own);
        let id = ids::random();
        ports.record(entry.clone(), id).await.expect("the store answers");
        expected.push((AuditCursor { at: entry.at_ms, id }, entry));
    }
    expected.sort_by(|a, b| b.0.cmp(&a.0));
    for limit in [7, 30, 1000] {
        let mut found = Vec::new();
        let mut after = None;
        while found.len() < expected.len() {
            let page = ports.entries(after.as_ref(), limit).await.expect("the store answers");
            let Some((last, _)) = page.last() else { panic!("{} of {} were listed", found.len(), expected.len()) };
            after = Some(last.clone());
            found.extend(page.into_iter().filter(|(_, entry)| entry.reason.as_ref() == Some(&own)));
        }
        assert_eq!(found, expected, "{limit} in a page");
    }
}
