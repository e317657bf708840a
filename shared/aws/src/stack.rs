//! Finds the parts of a deployed stack by its name, for people who operate it.
//!
//! Credentials, region and `AWS_ENDPOINT_URL` come from the environment, the profile or the machine's role.

use std::error::Error;

use aws_config::SdkConfig;
use engine::ports::{AuditStore, TokenStore};

use crate::aws::{Aws, region};
use crate::config::Config;
use crate::error::with_causes;
use crate::schema::{self, SchemaError};

/// Why an operation on a stack failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// Neither the environment nor the profile names a region.
    #[error("no AWS region is set; set AWS_REGION to the one that the stack is in")]
    NoRegion,
    /// The stack has no such queue.
    #[error("there is no queue {queue} in {region}; check the stack's name, the region and the account")]
    NoQueue {
        /// The queue's name.
        queue: String,
        /// The region that was searched.
        region: String,
    },
    /// No table, or more than one, has the name that the stack's table has.
    #[error(
        "{found} tables in {region} have a name that begins with {prefix:?}; check the stack's name, the region and the account, or name the table"
    )]
    Tables {
        /// The beginning of the table's name.
        prefix: String,
        /// The region that was searched.
        region: String,
        /// The number of such tables.
        found: usize,
    },
    /// Another version wrote the table, or the table doesn't answer.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Anything else, with its causes: no credentials, no permission, no network.
    #[error("{what}: {reason}")]
    Failed {
        /// What was attempted.
        what: String,
        /// What AWS answered.
        reason: String,
    },
}

impl StackError {
    pub(crate) fn failed(what: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        Self::Failed { what: what.into(), reason: with_causes(error) }
    }
}

/// The settings of the AWS libraries and the region that they name.
pub(crate) async fn settings() -> Result<(SdkConfig, String), StackError> {
    let settings = Aws::load_settings().await;
    let region = region(&settings).ok_or(StackError::NoRegion)?;
    Ok((settings, region))
}

/// The tokens and the audit log of a stack. With them, the person who deployed it creates the first token.
///
/// Needs `dynamodb:ListTables`, and `GetItem`, `PutItem`, `Query` and `DeleteItem` on the table.
///
/// # Errors
/// If not exactly one table has the stack's name.
pub async fn access_of_stack(stack: &str) -> Result<impl TokenStore + AuditStore, StackError> {
    let (settings, region) = settings().await?;
    // CloudFormation names a table so.
    let prefix = format!("{stack}-JobsTable-");
    let mut names = aws_sdk_dynamodb::Client::new(&settings).list_tables().into_paginator().items().send();
    let mut found = Vec::new();
    while let Some(name) = names.next().await {
        let name = name.map_err(|error| StackError::failed("listing the tables", &error))?;
        found.extend(name.starts_with(&prefix).then_some(name));
    }
    match <[String; 1]>::try_from(found) {
        Ok([name]) => access_of(name, &settings).await,
        Err(found) => Err(StackError::Tables { prefix, region, found: found.len() }),
    }
}

/// As [`access_of_stack`], of the table with this name. A stack that was deleted leaves its table behind; a new stack
/// with the same name has another table.
///
/// # Errors
/// If no region is set, or the table can't be used.
pub async fn access_of_table(table: &str) -> Result<impl TokenStore + AuditStore, StackError> {
    access_of(table.to_owned(), &settings().await?.0).await
}

/// Ports of which only those for tokens and the audit log can be used.
async fn access_of(jobs_table: String, settings: &SdkConfig) -> Result<Aws, StackError> {
    let aws = Aws::with_settings(Config { jobs_table, ..Config::default() }, settings);
    schema::check(&aws.jobs).await?;
    Ok(aws)
}
