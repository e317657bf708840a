//! The ports of tokens, the audit log and forges. A simulated world has none of them: it admits every caller.

use engine::access::TokenRecord;
use engine::forge::store::{DueKind, ForgeItems, Item};
use engine::ids::Random;
use engine::ports::{AuditCursor, AuditStore, Stored, TokenStore};
use protocol::access::AuditEntry;
use protocol::{Millis, TokenName};

use crate::ports::Process;

impl TokenStore for Process {
    async fn put_token(&self, _token: TokenRecord, _now: Millis) -> Stored<bool> {
        Ok(false)
    }

    async fn token(&self, _name: &TokenName) -> Stored<Option<TokenRecord>> {
        Ok(None)
    }

    async fn tokens(&self, _now: Millis) -> Stored<Vec<TokenRecord>> {
        Ok(Vec::new())
    }

    async fn remove_token(&self, _name: &TokenName) -> Stored<bool> {
        Ok(false)
    }
}

impl AuditStore for Process {
    async fn record(&self, _entry: AuditEntry, _id: Random) -> Stored<()> {
        Ok(())
    }

    async fn entries(&self, _after: Option<&AuditCursor>, _limit: usize) -> Stored<Vec<(AuditCursor, AuditEntry)>> {
        Ok(Vec::new())
    }
}

impl ForgeItems for Process {
    async fn put_item(&self, _item: Item) -> Stored<bool> {
        Ok(false)
    }

    async fn item(&self, _list: &str, _sort: &str) -> Stored<Option<Item>> {
        Ok(None)
    }

    async fn items(
        &self,
        _list: &str,
        _prefix: &str,
        _after: Option<&str>,
        _newest_first: bool,
        _limit: usize,
    ) -> Stored<Vec<Item>> {
        Ok(Vec::new())
    }

    async fn remove_item(&self, _list: &str, _sort: &str) -> Stored<bool> {
        Ok(false)
    }

    async fn items_due(&self, _kind: DueKind, _by: Millis, _limit: usize) -> Stored<Vec<Item>> {
        Ok(Vec::new())
    }

    async fn next_due(&self, _kind: DueKind) -> Stored<Option<Millis>> {
        Ok(None)
    }
}
