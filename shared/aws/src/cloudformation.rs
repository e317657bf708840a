//! What CloudFormation knows of a stack: its description, its resources, and so the table of its tokens.

use std::collections::BTreeMap;

use engine::ports::{AuditStore, TokenStore};
use reqwest::Client;
use serde_json::Value;

use crate::call::{CallError, Caller};
use crate::stack::{self, StackError, access_of};

/// The version of the API.
const VERSION: &str = "2010-05-15";

/// The tokens and the audit log of a stack. With them, the person who deployed it creates the first token.
///
/// Needs `cloudformation:DescribeStackResources`, and `dynamodb:GetItem`, `PutItem`, `Query` and `DeleteItem` on the table.
///
/// # Errors
/// If there is no such stack, or its table can't be used.
pub async fn access_of_stack(name: &str, http: Client) -> Result<impl TokenStore + AuditStore, StackError> {
    let (settings, region) = stack::settings().await?;
    let caller = Caller::new(http, &settings, region).await?;
    let table = resources(&caller, name).await?.remove("JobsTable");
    let absent = || StackError::Failed {
        what: format!("stack {name} is not one of workflow-graph"),
        reason: "it has no resource JobsTable".to_owned(),
    };
    access_of(table.ok_or_else(absent)?, &settings).await
}

/// The physical ids of a stack's resources, by their names in the template.
pub(crate) async fn resources(caller: &Caller, stack: &str) -> Result<BTreeMap<String, String>, StackError> {
    let described = described(caller, "DescribeStackResources", stack).await?;
    let id = |one: &Value| {
        let is_gone = one["ResourceStatus"].as_str().is_some_and(|status| status.starts_with("DELETE_"));
        let text = |name: &str| one[name].as_str().map(str::to_owned);
        (!is_gone).then(|| Some((text("LogicalResourceId")?, text("PhysicalResourceId")?))).flatten()
    };
    Ok(described["StackResources"].as_array().into_iter().flatten().filter_map(id).collect())
}

/// The answer to a call about one stack.
pub(crate) async fn described(caller: &Caller, action: &str, stack: &str) -> Result<Value, StackError> {
    let answer = caller.query(&format!("cloudformation:{action}"), VERSION, &[("StackName", stack)]).await;
    let none = || StackError::NoStack { stack: stack.to_owned(), region: caller.region.clone() };
    answer.map_err(|error| match error {
        CallError::Failed { text, .. } if text.contains("does not exist") => none(),
        CallError::Absent { .. } => none(),
        other => other.into(),
    })
}
