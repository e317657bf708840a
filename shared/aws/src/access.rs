//! Tokens, and who did what, on DynamoDB.

use engine::access::TokenRecord;
use engine::ids::Random;
use engine::ports::{AUDIT_KEPT, AuditCursor, AuditStore, Consistency, Stored, TokenStore};
use protocol::access::AuditEntry;
use protocol::{Millis, TokenName};
use serde::{Deserialize, Serialize};

use crate::error::corrupt;
use crate::item::{Item, from_item, text, to_item};
use crate::table::Query;
use crate::{Aws, keys};

#[derive(Serialize, Deserialize)]
struct TokenItem {
    /// JSON, as the engine writes it.
    record: String,
    expires_on: u64,
}

#[derive(Serialize, Deserialize)]
struct AuditItem {
    entry: String,
    expires_on: u64,
}

fn token_record(item: Item) -> Stored<TokenRecord> {
    let fields: TokenItem = from_item(item)?;
    serde_json::from_str(&fields.record).map_err(corrupt)
}

fn audit_entry(item: Item) -> Stored<(AuditCursor, AuditEntry)> {
    let cursor = keys::parse_audit(text(&item, "sk")?).ok_or_else(|| corrupt("the key of an audit entry"))?;
    let fields: AuditItem = from_item(item)?;
    Ok((cursor, serde_json::from_str(&fields.entry).map_err(corrupt)?))
}

impl TokenStore for Aws {
    async fn put_token(&self, token: TokenRecord, now: Millis) -> Stored<bool> {
        let record = serde_json::to_string(&token).map_err(corrupt)?;
        let fields = TokenItem { record, expires_on: token.expires_at.secs() };
        self.jobs.put_if_absent(to_item(keys::token(&token.name), fields)?, now).await
    }

    async fn token(&self, name: &TokenName) -> Stored<Option<TokenRecord>> {
        self.jobs.get(keys::token(name), Consistency::Strong).await?.map(token_record).transpose()
    }

    async fn tokens(&self) -> Stored<Vec<TokenRecord>> {
        let all = Query { how: Consistency::Strong, ..Query::of(keys::TOKENS) };
        self.jobs.query_all(all).await?.into_iter().map(token_record).collect()
    }

    async fn remove_token(&self, name: &TokenName) -> Stored<bool> {
        self.jobs.delete_existing(keys::token(name)).await
    }
}

impl AuditStore for Aws {
    async fn record(&self, entry: AuditEntry, id: Random) -> Stored<()> {
        let key = keys::audit(&AuditCursor { at: entry.at_ms, id });
        let expires_on = (entry.at_ms + AUDIT_KEPT).secs();
        let entry = serde_json::to_string(&entry).map_err(corrupt)?;
        self.jobs.put(to_item(key, AuditItem { entry, expires_on })?).await
    }

    async fn entries(&self, after: Option<&AuditCursor>, limit: usize) -> Stored<Vec<(AuditCursor, AuditEntry)>> {
        // The bound is itself part of what is found: one more is read, and it is left out.
        let newest_first = Query {
            to: after.map(|after| keys::audit(after).1),
            descending: true,
            limit: Some(limit + 1),
            how: Consistency::Strong,
            ..Query::of(keys::AUDIT)
        };
        let found = self.jobs.query(newest_first).await?.into_iter().map(audit_entry);
        let found = found.filter(|found| found.as_ref().map_or(true, |(cursor, _)| Some(cursor) != after));
        found.take(limit).collect()
    }
}
