//! What has expired does not stay in the file.

use std::time::Duration;

use engine::Engine;
use engine::access::TokenRecord;
use engine::ports::TokenStore;
use protocol::access::{NewToken, Permissions};

use crate::rows::failed;
use crate::store::Sqlite;

#[tokio::test]
async fn expired_tokens_are_removed_when_another_is_made() {
    let engine = Engine::new(Sqlite::in_memory());
    let store = engine.ports();
    let name = |n: u64| format!("token-{n}").parse().expect("a name");
    let first = NewToken { name: name(0), permissions: Permissions::all(), expires_in_secs: 60 };
    engine.tokens().create(first).await.expect("made");
    let first = store.token(&name(0)).await.expect("read").expect("it is there");
    for n in 1..5 {
        let now = first.expires_at + Duration::from_secs(100 * n);
        let token = TokenRecord { name: name(n), expires_at: now + Duration::from_mins(1), ..first.clone() };
        assert!(store.put_token(token, now).await.expect("written"));
        let count = store
            .read(|db| db.query_row("SELECT count(*) FROM tokens", [], |row| row.get::<_, i64>(0)).map_err(failed));
        assert_eq!(count.expect("read"), 1);
    }
}
