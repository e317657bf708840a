//! Evaluates the template's functions and conditions for one stack.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What a stack's values come from: its parameters, its resources, and where it is.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub template: Value,
    pub parameters: BTreeMap<String, String>,
    /// Physical ids by logical ids.
    pub ids: BTreeMap<String, String>,
    /// Attributes that only the resource itself knows, such as `JobsTable.StreamArn`.
    pub attributes: BTreeMap<String, String>,
    pub stack: String,
    pub partition: String,
    pub region: String,
    pub account: String,
}

/// A value that can't be known from outside. Nothing is compared with it.
pub(crate) const UNKNOWN: &str = "\u{0}unknown";

impl Scope {
    /// The value with every function evaluated. What is `AWS::NoValue` is left out.
    pub(crate) fn value(&self, value: &Value) -> Value {
        match value {
            Value::Array(list) => list
                .iter()
                .map(|one| (one, self.value(one)))
                .filter(|(one, now)| one.is_null() || !now.is_null())
                .map(|(_, now)| now)
                .collect(),
            Value::Object(map) => function(map).map_or_else(
                || {
                    let fields = map.iter().map(|(key, one)| (key.clone(), self.value(one)));
                    Value::Object(fields.filter(|(_, one)| !one.is_null()).collect())
                },
                |(name, argument)| self.call(name, argument),
            ),
            other => other.clone(),
        }
    }

    fn call(&self, name: &str, argument: &Value) -> Value {
        match name {
            "Ref" => self.reference(argument.as_str().unwrap_or_default()),
            "Fn::GetAtt" => {
                let part = |n: usize| argument[n].as_str().unwrap_or_default();
                Value::String(self.attribute(part(0), part(1)))
            }
            "Fn::If" => {
                let branch = if self.holds(argument[0].as_str().unwrap_or_default()) { 1 } else { 2 };
                self.value(&argument[branch])
            }
            "Fn::Sub" => match argument {
                Value::Array(both) => self.substitute(both[0].as_str().unwrap_or_default(), &both[1]),
                text => self.substitute(text.as_str().unwrap_or_default(), &Value::Null),
            },
            _ => Value::String(UNKNOWN.to_owned()),
        }
    }

    fn reference(&self, name: &str) -> Value {
        let text = match name {
            "AWS::NoValue" => return Value::Null,
            "AWS::StackName" => Some(&self.stack),
            "AWS::Partition" => Some(&self.partition),
            "AWS::Region" => Some(&self.region),
            "AWS::AccountId" => Some(&self.account),
            name => self.parameters.get(name).or_else(|| self.ids.get(name)),
        };
        Value::String(text.map_or_else(|| UNKNOWN.to_owned(), Clone::clone))
    }

    fn substitute(&self, text: &str, names: &Value) -> Value {
        let mut written = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else { break };
            written.push_str(before);
            let value = match (names.get(name), name.split_once('.')) {
                (Some(own), _) => self.value(own),
                (None, Some((resource, attribute))) => Value::String(self.attribute(resource, attribute)),
                (None, None) => self.reference(name),
            };
            written.push_str(value.as_str().unwrap_or_default());
            rest = after;
        }
        Value::String(if written.contains(UNKNOWN) { UNKNOWN.to_owned() } else { written + rest })
    }

    fn attribute(&self, resource: &str, attribute: &str) -> String {
        if let Some(known) = self.attributes.get(&format!("{resource}.{attribute}")) {
            return known.clone();
        }
        let Some(id) = self.ids.get(resource) else { return UNKNOWN.to_owned() };
        let Self { partition, region, account, .. } = self;
        let last = id.rsplit('/').next().unwrap_or(id);
        let arn = |service: &str, rest: String| format!("arn:{partition}:{service}:{region}:{account}:{rest}");
        match (self.kind(resource), attribute) {
            ("AWS::SQS::Queue", "QueueName") => last.to_owned(),
            ("AWS::SQS::Queue", "Arn") => arn("sqs", last.to_owned()),
            ("AWS::DynamoDB::Table", "Arn") => arn("dynamodb", format!("table/{id}")),
            ("AWS::S3::Bucket", "Arn") => format!("arn:{partition}:s3:::{id}"),
            ("AWS::Serverless::Function", "Arn") => arn("lambda", format!("function:{id}")),
            ("AWS::IAM::Role", "Arn") => format!("arn:{partition}:iam::{account}:role/{id}"),
            ("AWS::Logs::LogGroup", "Arn") => arn("logs", format!("log-group:{id}:*")),
            ("AWS::Events::Rule", "Arn") => arn("events", format!("rule/{id}")),
            _ => UNKNOWN.to_owned(),
        }
    }

    /// The type of a resource of the template.
    pub(crate) fn kind(&self, resource: &str) -> &str {
        self.template["Resources"][resource]["Type"].as_str().unwrap_or_default()
    }

    /// Whether a condition of the template holds.
    pub(crate) fn holds(&self, condition: &str) -> bool {
        self.is_true(&self.template["Conditions"][condition])
    }

    fn is_true(&self, condition: &Value) -> bool {
        let of = |argument: &Value, n: usize| self.value(&argument[n]);
        let mut all = condition.as_object().into_iter().flatten();
        match all.next() {
            Some((name, argument)) => match name.as_str() {
                "Condition" => self.holds(argument.as_str().unwrap_or_default()),
                "Fn::Equals" => text(&of(argument, 0)) == text(&of(argument, 1)),
                "Fn::Not" => !self.is_true(&argument[0]),
                "Fn::And" => argument.as_array().is_some_and(|all| all.iter().all(|one| self.is_true(one))),
                "Fn::Or" => argument.as_array().is_some_and(|all| all.iter().any(|one| self.is_true(one))),
                _ => false,
            },
            None => false,
        }
    }
}

/// The function and the argument of an object that calls one.
fn function(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = map.iter().next()?;
    (map.len() == 1 && (name == "Ref" || name.starts_with("Fn::"))).then_some((name, argument))
}

/// A scalar as text: a number without a fraction that is zero.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => {
            text.parse::<f64>().ok().filter(|_| !text.is_empty()).map_or_else(|| text.clone(), |n| n.to_string())
        }
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |n| n.to_string()),
        Value::Null => "nothing".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        let template = json!({
            "Conditions": {
                "Big": { "Fn::Not": [{ "Fn::Equals": [{ "Ref": "Size" }, 0] }] },
                "Both": { "Fn::And": [{ "Condition": "Big" }, { "Fn::Equals": [{ "Ref": "Kind" }, "a"] }] }
            },
            "Resources": { "Table": { "Type": "AWS::DynamoDB::Table" }, "Queue": { "Type": "AWS::SQS::Queue" } }
        });
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Scope {
            template,
            parameters: pairs(&[("Size", "5"), ("Kind", "a")]),
            ids: pairs(&[("Table", "wf-table"), ("Queue", "https://sqs/1/wf-q")]),
            stack: "wf".to_owned(),
            partition: "aws".to_owned(),
            region: "eu-west-1".to_owned(),
            account: "1".to_owned(),
            ..Scope::default()
        }
    }

    #[test]
    fn functions_and_conditions_are_evaluated() {
        let value = |value: Value| scope().value(&value);
        assert_eq!(value(json!({ "Fn::If": ["Both", { "Ref": "Size" }, 0] })), "5");
        assert_eq!(
            value(json!({ "a": { "Fn::If": ["Nope", 1, { "Ref": "AWS::NoValue" }] }, "b": 2 })),
            json!({ "b": 2 })
        );
        assert_eq!(
            value(json!({ "Fn::Sub": "${AWS::StackName}/${Table.Arn}/*" })),
            "wf/arn:aws:dynamodb:eu-west-1:1:table/wf-table/*"
        );
        assert_eq!(value(json!({ "Fn::GetAtt": ["Queue", "QueueName"] })), "wf-q");
        assert_eq!(value(json!({ "Fn::GetAtt": ["Table", "StreamArn"] })), UNKNOWN);
    }
}
