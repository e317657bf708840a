//! The ports of tokens and the audit log. A simulated world has neither: it admits every caller.

use engine::access::TokenRecord;
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
