//! Token records and the audit log.

use engine::access::TokenRecord;
use engine::ids::Random;
use engine::ports::{AUDIT_KEPT, AuditCursor, AuditStore, Stored, TokenStore};
use protocol::access::AuditEntry;
use protocol::{Millis, TokenName};

use crate::rows::{
    all, corrupt, delete_expired, execute, failed, from_json, from_time, record, records, to_json, to_limit, to_time,
};
use crate::store::Sqlite;

impl TokenStore for Sqlite {
    async fn put_token(&self, token: TokenRecord, now: Millis) -> Stored<bool> {
        self.write(move |db| {
            delete_expired(db, "tokens", "expires", now)?;
            let text = "INSERT INTO tokens (name, expires, record) VALUES (?1, ?2, ?3)
                ON CONFLICT (name) DO UPDATE SET expires = excluded.expires, record = excluded.record
                WHERE expires <= ?4";
            let row = (token.name.as_str(), to_time(token.expires_at), to_json(&token)?, to_time(now));
            Ok(execute(db, text, row)? == 1)
        })
        .await
    }

    async fn token(&self, name: &TokenName) -> Stored<Option<TokenRecord>> {
        self.read(|db| record(db, "SELECT record FROM tokens WHERE name = ?1", [name.as_str()]))
    }

    async fn tokens(&self, now: Millis) -> Stored<Vec<TokenRecord>> {
        let now = to_time(now);
        self.read(|db| records(db, "SELECT record FROM tokens WHERE expires > ?1", [now]))
    }

    async fn remove_token(&self, name: &TokenName) -> Stored<bool> {
        let name = name.clone();
        self.write(move |db| Ok(execute(db, "DELETE FROM tokens WHERE name = ?1", [name.as_str()])? == 1)).await
    }
}

impl AuditStore for Sqlite {
    async fn record(&self, entry: AuditEntry, id: Random) -> Stored<()> {
        self.write(move |db| {
            delete_expired(db, "audit", "at", entry.at_ms - AUDIT_KEPT)?;
            let text = "INSERT INTO audit (at, id, entry) VALUES (?1, ?2, ?3)";
            execute(db, text, (to_time(entry.at_ms), hex::encode(id), to_json(&entry)?)).map(drop)
        })
        .await
    }

    async fn entries(&self, after: Option<&AuditCursor>, limit: usize) -> Stored<Vec<(AuditCursor, AuditEntry)>> {
        let after = after.map_or((i64::MAX, String::new()), |after| (to_time(after.at), hex::encode(after.id)));
        self.read(|db| {
            let text = "SELECT at, id, entry FROM audit WHERE (at, id) < (?1, ?2) ORDER BY at DESC, id DESC LIMIT ?3";
            all(db, text, (after.0, after.1, to_limit(limit)), |row| {
                let at = from_time(row.get(0).map_err(failed)?);
                let id: String = row.get(1).map_err(failed)?;
                let id = hex::decode(id).ok().and_then(|id| id.try_into().ok()).ok_or_else(|| corrupt("an id"))?;
                Ok((AuditCursor { at, id }, from_json(row.get_ref(2).map_err(failed)?)?))
            })
        })
    }
}
