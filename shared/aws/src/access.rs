//! Token records and the audit log on DynamoDB.

use engine::access::TokenRecord;
use engine::ids::Random;
use engine::ports::{AUDIT_KEPT, AuditCursor, AuditStore, Consistency, Stored, TokenStore};
use protocol::access::AuditEntry;
use protocol::{Millis, TokenName};

use crate::aws::Aws;
use crate::error::corrupt;
use crate::item::{Item, from_item, text, to_item};
use crate::keys;
use crate::table::Query;

fn audit_entry(item: Item) -> Stored<(AuditCursor, AuditEntry)> {
    let cursor = keys::parse_audit(text(&item, "sk")?).ok_or_else(|| corrupt("the key of an audit entry"))?;
    Ok((cursor, from_item(item)?))
}

impl TokenStore for Aws {
    async fn put_token(&self, token: TokenRecord, now: Millis) -> Stored<bool> {
        self.jobs.put_if_absent(to_item(keys::token(&token.name), token.expires_at.secs(), &token)?, now).await
    }

    async fn token(&self, name: &TokenName) -> Stored<Option<TokenRecord>> {
        self.jobs.get(keys::token(name), Consistency::Strong).await?.map(from_item).transpose()
    }

    async fn tokens(&self, _now: Millis) -> Stored<Vec<TokenRecord>> {
        let all = Query { how: Consistency::Strong, ..Query::of(keys::TOKENS) };
        self.jobs.query_all(all).await?.into_iter().map(from_item).collect()
    }

    async fn remove_token(&self, name: &TokenName) -> Stored<bool> {
        self.jobs.delete_existing(keys::token(name)).await
    }
}

impl AuditStore for Aws {
    async fn record(&self, entry: AuditEntry, id: Random) -> Stored<()> {
        let key = keys::audit(&AuditCursor { at: entry.at_ms, id });
        self.jobs.put(to_item(key, (entry.at_ms + AUDIT_KEPT).secs(), &entry)?).await
    }

    async fn entries(&self, after: Option<&AuditCursor>, limit: usize) -> Stored<Vec<(AuditCursor, AuditEntry)>> {
        // The bound is part of the result: one more is read, and the bound is left out.
        let newest_first = Query {
            to: after.map(|after| keys::audit(after).1),
            descending: true,
            how: Consistency::Strong,
            ..Query::of_any(false)
        };
        let found = self.jobs.query_spread(&keys::all_audit(), newest_first, limit + 1).await?;
        let found = found.into_iter().map(audit_entry);
        let found = found.filter(|found| found.as_ref().map_or(true, |(cursor, _)| Some(cursor) != after));
        found.take(limit).collect()
    }
}
