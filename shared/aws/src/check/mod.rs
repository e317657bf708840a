//! Compares a deployed stack with the template of this version, and makes the calls of its functions. It reads only.
//!
//! The expectation is `infra/template.yaml` itself, with the stack's own parameters. [`live`] lists what is read.

mod compare;
mod expected;
mod live;
mod roles;
mod scope;

use std::collections::BTreeMap;

use fetch::Http;
use futures::stream::{self, StreamExt};
use serde_json::Value;

pub use self::compare::Finding;
use self::expected::Expected;
use self::live::Live;
pub use self::roles::{RoleReport, as_roles};
use self::scope::Scope;
use crate::call::{CallError, Caller};
use crate::cloudformation::{described, resources};
use crate::stack::{self, StackError};
use crate::template;

/// Resources that are read at the same time. API Gateway allows ten calls a second for an account.
const AT_ONCE: usize = 4;

/// The result of a check.
#[derive(Debug, Default)]
pub struct Report {
    /// Properties that aren't as the template says.
    pub findings: Vec<Finding>,
    /// What was not compared: a property or a type of resource, and why.
    pub unchecked: Vec<String>,
    /// Properties that are as the template says.
    pub agreed: usize,
    /// Resources that were read.
    pub resources: usize,
}

/// Compares a stack with the template. `ignored` has differences that are known, such as `JobsTable.BillingMode` or
/// `*.RetentionInDays`: they are listed as not checked.
///
/// Needs `cloudformation:DescribeStacks` and `ListStackResources`, and the calls that `live` makes, all of which only read.
///
/// # Errors
/// If there is no such stack, or a call was refused or failed.
pub async fn stack(name: &str, http: Http, ignored: &[String]) -> Result<Report, StackError> {
    let (settings, region) = stack::settings().await?;
    let caller = Caller::new(http, &settings, region).await?;
    let mut scope = scope_of(&caller, name).await?;
    let mut report = Report::default();
    let is_table = |one: &Expected| one.kind == "AWS::DynamoDB::Table";
    // Tables first: a stream's ARN is known only to its table.
    let tables = expected::resources(&scope).into_iter().filter(is_table).collect();
    let tables = read_all(&caller, &scope, tables).await;
    for (expected, read) in &tables {
        let attributes = read.iter().flatten().flat_map(|live| &live.attributes);
        let named = attributes.map(|(attribute, value)| (format!("{}.{attribute}", expected.name), value.clone()));
        scope.attributes.extend(named);
    }
    let others = expected::resources(&scope).into_iter().filter(|one| !is_table(one)).collect();
    let others = read_all(&caller, &scope, others).await;
    let mut unread: BTreeMap<String, usize> = BTreeMap::new();
    for (expected, read) in tables.into_iter().chain(others) {
        if !live::is_read(&expected.kind) {
            *unread.entry(expected.kind).or_default() += 1;
            continue;
        }
        report.add(&expected, read?);
    }
    let kinds = unread.into_iter().map(|(kind, count)| format!("{count} of type {kind}: this check doesn't read them"));
    report.unchecked.extend(kinds);
    report.leave_out(ignored);
    Ok(report)
}

async fn read_all(
    caller: &Caller,
    scope: &Scope,
    expected: Vec<Expected>,
) -> Vec<(Expected, Result<Option<Live>, CallError>)> {
    let read = |one: Expected| async move {
        let read = match scope.ids.get(&one.name) {
            Some(id) if live::is_read(&one.kind) => live::read(caller, &one, id).await,
            _ => Ok(None),
        };
        (one, read)
    };
    stream::iter(expected).map(read).buffered(AT_ONCE).collect().await
}

/// What the template's functions need to know of the stack.
async fn scope_of(caller: &Caller, name: &str) -> Result<Scope, StackError> {
    let bad = |reason: String| StackError::Failed { what: "infra/template.yaml".to_owned(), reason };
    let template = template::read(template::TEMPLATE).map_err(bad)?;
    let described = described(caller, "DescribeStacks", name).await?;
    let stack = &described["Stacks"][0];
    // arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME/ID
    let arn: Vec<&str> = stack["StackId"].as_str().unwrap_or_default().split(':').collect();
    let [_, partition, _, region, account, ..] = arn[..] else {
        return Err(bad(format!("CloudFormation describes no stack {name}")));
    };
    let mut parameters = texts(
        template["Parameters"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, parameter)| Some((name.as_str(), parameter.get("Default")?))),
    );
    for given in stack["Parameters"].as_array().into_iter().flatten() {
        parameters.extend(texts([(given["ParameterKey"].as_str().unwrap_or_default(), &given["ParameterValue"])]));
    }
    let resources = resources(caller, name).await?;
    let (partition, region, account) = (partition.to_owned(), region.to_owned(), account.to_owned());
    let stack = name.to_owned();
    Ok(Scope { template, parameters, ids: resources, stack, partition, region, account, ..Scope::default() })
}

fn texts<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a Value)>) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    pairs.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect()
}

impl Report {
    fn add(&mut self, expected: &Expected, live: Option<Live>) {
        let Expected { name, kind, properties } = expected;
        self.resources += 1;
        let Some(live) = live else {
            let finding = Finding {
                resource: name.clone(),
                property: kind.clone(),
                expected: "a resource of this type".to_owned(),
                found: "nothing".to_owned(),
            };
            return self.findings.push(finding);
        };
        for (property, found) in &live.properties {
            let expected = properties.get(property).or_else(|| live.defaults.get(property)).unwrap_or(&Value::Null);
            let found = compare::findings(name, property, expected, found);
            self.agreed += usize::from(found.is_empty());
            self.findings.extend(found);
        }
        self.unchecked.extend(live.unread.iter().map(|(property, why)| format!("{name}.{property}: {why}")));
    }

    /// Moves known differences to what isn't checked.
    fn leave_out(&mut self, ignored: &[String]) {
        let is_ignored = |finding: &Finding| {
            ignored.iter().any(|pattern| {
                let (resource, property) = pattern.split_once('.').unwrap_or((pattern, ""));
                let rest = finding.property.strip_prefix(property);
                let whole =
                    rest.is_some_and(|rest| property.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']));
                (resource == "*" || resource == finding.resource) && whole
            })
        };
        let (known, findings): (Vec<_>, Vec<_>) = std::mem::take(&mut self.findings).into_iter().partition(is_ignored);
        self.findings = findings;
        let line = |finding: Finding| {
            format!("{}.{}: it is ignored, and has {}", finding.resource, finding.property, finding.found)
        };
        self.unchecked.extend(known.into_iter().map(line));
    }
}
