//! What CloudFormation knows of a stack: its description, its resources, and so the table of its tokens.

use std::collections::{BTreeMap, BTreeSet};

use engine::ports::{AuditStore, TokenStore};
use fetch::Http;
use serde::Serialize;
use serde_json::Value;

use crate::call::{CallError, Caller};
use crate::stack::{self, StackError, access_of};

/// The version of the API.
const VERSION: &str = "2010-05-15";

/// The tokens and the audit log of a stack. With them, the person who deployed it creates the first token.
///
/// Needs `cloudformation:ListStackResources`, and `dynamodb:GetItem`, `PutItem`, `Query` and `DeleteItem` on the table.
///
/// # Errors
/// If there is no such stack, or its table can't be used.
pub async fn access_of_stack(name: &str, http: Http) -> Result<impl TokenStore + AuditStore, StackError> {
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
///
/// `DescribeStackResources` ends after 100 of them without saying so, and a stack has more.
pub(crate) async fn resources(caller: &Caller, stack: &str) -> Result<BTreeMap<String, String>, StackError> {
    let id = |one: &Value| {
        let is_gone = one["ResourceStatus"].as_str().is_some_and(|status| status.starts_with("DELETE_"));
        let text = |name: &str| one[name].as_str().map(str::to_owned);
        (!is_gone).then(|| Some((text("LogicalResourceId")?, text("PhysicalResourceId")?))).flatten()
    };
    let mut ids = BTreeMap::new();
    let mut next = None;
    loop {
        let answer = page(caller, "ListStackResources", stack, next.as_deref()).await;
        let answer = answer.map_err(|error| of_stack(caller, stack, error))?;
        ids.extend(answer["StackResourceSummaries"].as_array().into_iter().flatten().filter_map(id));
        next = next_token(&answer);
        if next.is_none() {
            return Ok(ids);
        }
    }
}

/// A stack as CloudFormation describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Its ARN, which also finds a stack that was deleted.
    pub id: String,
    /// Such as `CREATE_COMPLETE` or `UPDATE_ROLLBACK_IN_PROGRESS`.
    pub status: String,
    /// Why it has this status, or empty.
    pub reason: String,
    /// Whether CloudFormation refuses to delete it.
    pub is_protected: bool,
    /// The values of its template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// What the template says about it.
    pub outputs: BTreeMap<String, String>,
}

impl Stack {
    /// Whether CloudFormation is still changing it.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.status.ends_with("_IN_PROGRESS")
    }

    fn read(value: &Value) -> Self {
        let pairs = |list: &str, key: &str, to: &str| {
            let pair = |one: &Value| (text(one, key), text(one, to));
            value[list].as_array().into_iter().flatten().map(pair).collect()
        };
        Self {
            name: text(value, "StackName"),
            id: text(value, "StackId"),
            status: text(value, "StackStatus"),
            reason: text(value, "StackStatusReason"),
            is_protected: value["EnableTerminationProtection"] == "true",
            parameters: pairs("Parameters", "ParameterKey", "ParameterValue"),
            outputs: pairs("Outputs", "OutputKey", "OutputValue"),
        }
    }
}

/// A step of a change of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// When it happened, such as `2026-11-29T21:03:04.000Z`.
    pub time: String,
    /// The resource's name in the template, or the stack's name.
    pub resource: String,
    /// The resource's type, such as `AWS::DynamoDB::Table`.
    pub kind: String,
    /// The name that the resource has in its service.
    pub physical: String,
    /// Such as `CREATE_FAILED`.
    pub status: String,
    /// Why, or empty.
    pub reason: String,
}

impl Event {
    /// Whether a resource could not be changed for a reason of its own. The stack also fails, and resources that were not done yet.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.status.ends_with("_FAILED") && !self.is_of_stack() && !self.reason.contains("cancelled")
    }

    /// Whether it is about the stack itself.
    #[must_use]
    pub fn is_of_stack(&self) -> bool {
        self.kind == "AWS::CloudFormation::Stack"
    }

    fn read(value: &Value) -> Self {
        Self {
            id: text(value, "EventId"),
            time: text(value, "Timestamp"),
            resource: text(value, "LogicalResourceId"),
            kind: text(value, "ResourceType"),
            physical: text(value, "PhysicalResourceId"),
            status: text(value, "ResourceStatus"),
            reason: text(value, "ResourceStatusReason"),
        }
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// The stack with this name or id, or `None` if there is none.
pub(crate) async fn find(caller: &Caller, stack: &str) -> Result<Option<Stack>, StackError> {
    match described(caller, "DescribeStacks", stack).await {
        Ok(answer) => Ok(Some(Stack::read(&answer["Stacks"][0]))),
        Err(StackError::NoStack { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// The events of a stack that come after those that are `known`, oldest first. At most `limit`, the newest.
pub(crate) async fn events(
    caller: &Caller,
    stack: &str,
    known: &BTreeSet<String>,
    limit: usize,
) -> Result<Vec<Event>, StackError> {
    let mut events: Vec<Event> = Vec::new();
    let mut next: Option<String> = None;
    // CloudFormation answers with the newest first.
    'pages: loop {
        let answer = match page(caller, "DescribeStackEvents", stack, next.as_deref()).await {
            // An emulator may forget a stack that it has deleted.
            Err(CallError::Failed { text, .. }) if text.contains("does not exist") => break,
            answer => answer?,
        };
        for event in answer["StackEvents"].as_array().into_iter().flatten().map(Event::read) {
            if events.len() == limit || known.contains(&event.id) {
                break 'pages;
            }
            events.push(event);
        }
        next = next_token(&answer);
        if next.is_none() {
            break;
        }
    }
    events.reverse();
    Ok(events)
}

/// A call that changes a stack. Returns `false` if CloudFormation finds nothing to change.
pub(crate) async fn change(caller: &Caller, action: &str, parameters: &[(String, String)]) -> Result<bool, StackError> {
    match caller.query(&format!("cloudformation:{action}"), VERSION, parameters).await {
        Ok(_) => Ok(true),
        Err(CallError::Failed { text, .. }) if text.contains("No updates are to be performed") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The answer to a call about one stack.
pub(crate) async fn described(caller: &Caller, action: &str, stack: &str) -> Result<Value, StackError> {
    page(caller, action, stack, None).await.map_err(|error| of_stack(caller, stack, error))
}

/// A page of the answer to a call about one stack: the first, or the one of this token.
async fn page(caller: &Caller, action: &str, stack: &str, token: Option<&str>) -> Result<Value, CallError> {
    let mut parameters = vec![("StackName", stack)];
    parameters.extend(token.map(|token| ("NextToken", token)));
    caller.query(&format!("cloudformation:{action}"), VERSION, &parameters).await
}

fn next_token(answer: &Value) -> Option<String> {
    answer["NextToken"].as_str().filter(|token| !token.is_empty()).map(str::to_owned)
}

/// The error of a call about one stack.
fn of_stack(caller: &Caller, stack: &str, error: CallError) -> StackError {
    let none = || StackError::NoStack { stack: stack.to_owned(), region: caller.region.clone() };
    match error {
        CallError::Failed { text, .. } if text.contains("does not exist") => none(),
        CallError::Absent { .. } => none(),
        other => other.into(),
    }
}
