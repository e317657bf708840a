//! Tokens and the audit log in memory.

use engine::access::TokenRecord;
use engine::ids::Random;
use engine::ports::{AUDIT_KEPT, AuditCursor, AuditStore, Stored, TokenStore};
use protocol::access::AuditEntry;
use protocol::{Millis, TokenName};

use crate::store::Memory;

impl TokenStore for Memory {
    async fn put_token(&self, token: TokenRecord, now: Millis) -> Stored<bool> {
        let mut state = self.state();
        state.tokens.retain(|_, other| other.expires_at > now);
        let is_free = !state.tokens.contains_key(&token.name);
        if is_free {
            state.tokens.insert(token.name.clone(), token);
        }
        Ok(is_free)
    }

    async fn token(&self, name: &TokenName) -> Stored<Option<TokenRecord>> {
        Ok(self.state().tokens.get(name).cloned())
    }

    async fn tokens(&self, _now: Millis) -> Stored<Vec<TokenRecord>> {
        Ok(self.state().tokens.values().cloned().collect())
    }

    async fn remove_token(&self, name: &TokenName) -> Stored<bool> {
        Ok(self.state().tokens.remove(name).is_some())
    }
}

impl AuditStore for Memory {
    async fn record(&self, entry: AuditEntry, id: Random) -> Stored<()> {
        let mut state = self.state();
        let cursor = AuditCursor { at: entry.at_ms, id };
        state.audit = state.audit.split_off(&AuditCursor { at: cursor.at - AUDIT_KEPT, id: Random::default() });
        state.audit.insert(cursor, entry);
        Ok(())
    }

    async fn entries(&self, after: Option<&AuditCursor>, limit: usize) -> Stored<Vec<(AuditCursor, AuditEntry)>> {
        let state = self.state();
        let newest_first =
            state.audit.iter().rev().skip_while(|(cursor, _)| after.is_some_and(|after| *cursor >= after));
        Ok(newest_first.take(limit).map(|(cursor, entry)| (cursor.clone(), entry.clone())).collect())
    }
}
