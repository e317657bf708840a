//! Finds the parts of a deployed stack by its name, for people who operate it.
//!
//! Credentials, region and `AWS_ENDPOINT_URL` come from the environment, the profile or the machine's role.

use std::error::Error;

use aws_config::SdkConfig;
use engine::ports::{AuditStore, TokenStore};

use crate::aws::{Aws, region};
use crate::config::Config;
use crate::error::with_causes;
use crate::schema::{self, Access, SchemaError};

/// Why an operation on a stack failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// Neither the environment nor the profile names a region.
    #[error("no AWS region is set; set AWS_REGION to the one that the stack is in")]
    NoRegion,
    /// CloudFormation knows no such stack.
    #[error("there is no stack {stack} in {region}; check the stack's name, the region and the account")]
    NoStack {
        /// The stack's name.
        stack: String,
        /// The region that was searched.
        region: String,
    },
    /// The stack has no such queue.
    #[error("there is no queue {queue} in {region}; check the stack's name, the region and the account")]
    NoQueue {
        /// The queue's name.
        queue: String,
        /// The region that was searched.
        region: String,
    },
    /// The stack can't be changed as it is now.
    #[error("stack {stack} is {status}; {advice}")]
    WrongStatus {
        /// The stack's name.
        stack: String,
        /// What CloudFormation says.
        status: String,
        /// What to do.
        advice: String,
    },
    /// A change of a stack didn't succeed.
    #[error("stack {stack} is {status} after its {change}: {cause}")]
    ChangeFailed {
        /// The stack's name.
        stack: String,
        /// What was attempted: `creation`, `update` or `deletion`.
        change: &'static str,
        /// Where it ended.
        status: String,
        /// The first resource that failed, and why.
        cause: String,
    },
    /// The packages can't be deployed.
    #[error("{0}")]
    BadPackage(String),
    /// The template has no such parameter.
    #[error("the template has no parameter {name}; it has {known}")]
    NoParameter {
        /// The parameter.
        name: String,
        /// Those that there are.
        known: String,
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

/// The tokens and the audit log in the table with this name: of a stack that was deleted, or whose table was restored.
///
/// Needs `GetItem`, `PutItem`, `Query` and `DeleteItem` on the table.
///
/// # Errors
/// If no region is set, or the table can't be used.
pub async fn access_of_table(table: &str) -> Result<impl TokenStore + AuditStore, StackError> {
    access_of(table.to_owned(), &settings().await?.0).await
}

/// Ports of which only those for tokens and the audit log can be used.
pub(crate) async fn access_of(jobs_table: String, settings: &SdkConfig) -> Result<Aws, StackError> {
    let aws = Aws::with_settings(Config { jobs_table, ..Config::default() }, settings);
    schema::check(&aws.jobs, Access::Change).await?;
    Ok(aws)
}
