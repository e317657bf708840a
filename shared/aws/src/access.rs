//! Token records and the audit log on DynamoDB.

use engine::access::TokenRecord;
use engine::ids::Random;
use engine::ports::{AUDIT_KEPT, AuditCursor, AuditStore, Consistency, Stored, TokenStore};
use protocol::access::AuditEntry;
use protocol::{Millis, TokenName};
use serde::{Deserialize, Serialize};

use crate::error::{corrupt, unavailable};
use crate::item::{Item, from_item, text, to_item};
use crate::schema::{self, SchemaError};
use crate::table::{Query, Table};
use crate::{Aws, NoRegion, config, keys};

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

/// The tokens of a stack, for who has its table: the first of them is made so, before anybody has one.
///
/// Credentials, region and `AWS_ENDPOINT_URL` come from the environment, the profile or the machine's role. Needs
/// `dynamodb:ListTables`, and of the table what is done with it: `GetItem`, `PutItem`, `Query`, `DeleteItem`.
///
/// # Errors
/// If there is no such stack, or not exactly one table of it.
pub async fn access_of_stack(stack: &str) -> Result<impl TokenStore + AuditStore, StackError> {
    let shared = Aws::settings().load().await;
    let region = config::region(&shared)?;
    let client = aws_sdk_dynamodb::Client::new(&shared);
    // As CloudFormation names a table that the template gives no name.
    let prefix = format!("{stack}-JobsTable-");
    let mut names = client.list_tables().into_paginator().items().send();
    let mut found = Vec::new();
    while let Some(name) = names.next().await {
        let name = name.map_err(|error| StackError::Failed(unavailable(&error).to_string()))?;
        if name.starts_with(&prefix) {
            found.push(name);
        }
    }
    match <[String; 1]>::try_from(found) {
        Ok([name]) => checked(Table::new(client, name)).await,
        Err(found) => Err(StackError::Tables { prefix, region, found: found.len() }),
    }
}

/// As [`access_of_stack`], of the table with this name: a stack that was deleted leaves its table, and one that is made
/// again under its name has another.
///
/// # Errors
/// If no region is set.
pub async fn access_of_table(table: &str) -> Result<impl TokenStore + AuditStore, StackError> {
    let shared = Aws::settings().load().await;
    config::region(&shared)?;
    checked(Table::new(aws_sdk_dynamodb::Client::new(&shared), table.to_owned())).await
}

async fn checked(table: Table) -> Result<Table, StackError> {
    schema::check(&table).await?;
    Ok(table)
}

/// Why a stack's table isn't found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// No region is set.
    #[error(transparent)]
    NoRegion(#[from] NoRegion),
    /// None, or more than one.
    #[error(
        "{found} tables in {region} have a name that begins with {prefix:?}; check the stack's name, the region and the account, or name the table"
    )]
    Tables {
        /// What its name begins with.
        prefix: String,
        /// Where it was looked for.
        region: String,
        /// How many there are.
        found: usize,
    },
    /// Another version wrote the table, or the table doesn't answer.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Anything else, with its causes: no credentials, no permission, no network.
    #[error("listing the tables: {0}")]
    Failed(String),
}

impl TokenStore for Aws {
    async fn put_token(&self, token: TokenRecord, now: Millis) -> Stored<bool> {
        self.jobs.put_token(token, now).await
    }

    async fn token(&self, name: &TokenName) -> Stored<Option<TokenRecord>> {
        self.jobs.token(name).await
    }

    async fn tokens(&self, now: Millis) -> Stored<Vec<TokenRecord>> {
        self.jobs.tokens(now).await
    }

    async fn remove_token(&self, name: &TokenName) -> Stored<bool> {
        self.jobs.remove_token(name).await
    }
}

impl AuditStore for Aws {
    async fn record(&self, entry: AuditEntry, id: Random) -> Stored<()> {
        self.jobs.record(entry, id).await
    }

    async fn entries(&self, after: Option<&AuditCursor>, limit: usize) -> Stored<Vec<(AuditCursor, AuditEntry)>> {
        self.jobs.entries(after, limit).await
    }
}

impl TokenStore for Table {
    async fn put_token(&self, token: TokenRecord, now: Millis) -> Stored<bool> {
        let record = serde_json::to_string(&token).map_err(corrupt)?;
        let fields = TokenItem { record, expires_on: token.expires_at.secs() };
        self.put_if_absent(to_item(keys::token(&token.name), fields)?, now).await
    }

    async fn token(&self, name: &TokenName) -> Stored<Option<TokenRecord>> {
        self.get(keys::token(name), Consistency::Strong).await?.map(token_record).transpose()
    }

    async fn tokens(&self, _now: Millis) -> Stored<Vec<TokenRecord>> {
        let all = Query { how: Consistency::Strong, ..Query::of(keys::TOKENS) };
        self.query_all(all).await?.into_iter().map(token_record).collect()
    }

    async fn remove_token(&self, name: &TokenName) -> Stored<bool> {
        self.delete_existing(keys::token(name)).await
    }
}

impl AuditStore for Table {
    async fn record(&self, entry: AuditEntry, id: Random) -> Stored<()> {
        let key = keys::audit(&AuditCursor { at: entry.at_ms, id });
        let expires_on = (entry.at_ms + AUDIT_KEPT).secs();
        let entry = serde_json::to_string(&entry).map_err(corrupt)?;
        self.put(to_item(key, AuditItem { entry, expires_on })?).await
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
        let found = self.query(newest_first).await?.into_iter().map(audit_entry);
        let found = found.filter(|found| found.as_ref().map_or(true, |(cursor, _)| Some(cursor) != after));
        found.take(limit).collect()
    }
}
