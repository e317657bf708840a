//! Makes calls with each function's role: those that the function makes, and some that it must not.
//!
//! `infra/security/calls.json` lists them. No stored item has the names in them, and every write of an item requires one that isn't
//! there, since the functions run at the same time. AWS checks the caller's rights before that condition.

use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use engine::ids;
use fetch::{Http, Method};
use serde::Deserialize;
use serde_json::{Value, json};

use super::scope::Scope;
use super::scope_of;
use crate::call::{CallError, Caller};
use crate::stack::{self, StackError};

const CALLS: &str = include_str!("../../../../infra/security/calls.json");

/// Calls by the name of their function: a word, then its arguments.
type Calls = Vec<Vec<String>>;

#[derive(Deserialize)]
struct Role {
    allowed: Calls,
    forbidden: Calls,
}

/// The result of trying the roles.
#[derive(Debug, Default)]
pub struct RoleReport {
    /// A line for each role that was tried.
    pub tried: Vec<String>,
    /// Calls that are refused and shouldn't be, and the reverse.
    pub wrong: Vec<String>,
    /// Roles that can't be assumed.
    pub unchecked: Vec<String>,
}

/// Tries every role of a stack. It leaves one message in the dead-letter queue of the stream: an object under `aws/lambda/` is taken for
/// a batch that was given up, and `wfg redrive` says that it is gone.
///
/// Needs `sts:AssumeRole` on the functions' roles, which must trust the caller, and all rights on the stack's tables, bucket and queues.
///
/// # Errors
/// If there is no such stack, or a call fails for a reason other than a missing right.
pub async fn as_roles(name: &str, http: Http) -> Result<RoleReport, StackError> {
    let (settings, region) = stack::settings().await?;
    let operator = Caller::new(http, &settings, region).await?;
    let scope = scope_of(&operator, name).await?;
    let roles: BTreeMap<String, Role> =
        serde_json::from_str(CALLS).map_err(|error| StackError::failed("reading infra/security/calls.json", &error))?;
    let mark = format!("try-{}", hex::encode(ids::random()));
    let mut own = Trial { caller: operator, scope: &scope, mark, pool: String::new() };
    own.pool = own.create_queue("pool").await?;
    let mut report = RoleReport::default();
    let tried = try_all(&own, &roles, &mut report).await;
    own.clean().await?;
    tried.map(|()| report)
}

async fn try_all(own: &Trial<'_>, roles: &BTreeMap<String, Role>, report: &mut RoleReport) -> Result<(), StackError> {
    // Without forges the stack has no functions for them.
    let exists = |function: &str| !own.id(&resource_of(function)).is_empty();
    for (function, role) in roles.iter().filter(|(function, _)| exists(function)) {
        let trial = match own.assume(function).await {
            Ok(caller) => Trial { caller, mark: own.mark.clone(), pool: own.pool.clone(), scope: own.scope },
            Err(CallError::Denied { text, .. }) => {
                report.unchecked.push(format!("the role of {function}: it can't be assumed: {text}"));
                continue;
            }
            Err(other) => return Err(other.into()),
        };
        let (mut allowed, mut refused) = (0, 0);
        for call in &role.allowed {
            match trial.make(call).await? {
                None => allowed += 1,
                Some(why) => report.wrong.push(format!("{function} is refused {}: {why}", call.join(" "))),
            }
        }
        for call in &role.forbidden {
            match trial.make(call).await? {
                Some(_) => refused += 1,
                None => report.wrong.push(format!("{function} is allowed {}", call.join(" "))),
            }
        }
        let Role { allowed: needed, forbidden } = role;
        report.tried.push(format!(
            "{function}: {allowed} of {} calls that it needs are allowed, {refused} of {} others refused",
            needed.len(),
            forbidden.len()
        ));
    }
    Ok(())
}

/// The name of a function's resource in the template.
fn resource_of(function: &str) -> String {
    let (first, rest) = function.split_at(1);
    format!("{}{rest}Function", first.to_uppercase())
}

/// The calls of one identity.
struct Trial<'a> {
    caller: Caller,
    scope: &'a Scope,
    mark: String,
    /// The URL of a pool's queue that was made for the trial.
    pool: String,
}

impl Trial<'_> {
    fn id(&self, resource: &str) -> &str {
        self.scope.ids.get(resource).map_or("", String::as_str)
    }

    async fn assume(&self, function: &str) -> Result<Caller, CallError> {
        let name = self.id(&resource_of(function));
        let path = format!("/2015-03-31/functions/{name}/configuration");
        let configuration = self.caller.get("lambda:GetFunctionConfiguration", &path).await?;
        let role = configuration["Role"].as_str().unwrap_or_default();
        let parameters = [("RoleArn", role), ("RoleSessionName", "wfg-check")];
        let answer = self.caller.query("sts:AssumeRole", "2011-06-15", &parameters).await?;
        let part = |name: &str| answer["Credentials"][name].as_str().unwrap_or_default().to_owned();
        let (key, secret, token) = (part("AccessKeyId"), part("SecretAccessKey"), part("SessionToken"));
        Ok(self.caller.with(Credentials::new(key, secret, Some(token), None, "sts:AssumeRole")))
    }

    /// Makes a call. Returns why it was refused, or nothing. An object or item that isn't there is no refusal.
    async fn make(&self, call: &[String]) -> Result<Option<String>, StackError> {
        let filled: Vec<String> = call.iter().map(|part| part.replace("{mark}", &self.mark)).collect();
        let parts: Vec<&str> = filled.iter().map(String::as_str).collect();
        match self.call(&parts).await {
            Ok(()) | Err(CallError::Absent { .. }) => Ok(None),
            Err(CallError::Failed { text, .. }) if text.starts_with("ConditionalCheckFailed") => Ok(None),
            Err(CallError::Denied { text, .. }) => Ok(Some(text)),
            Err(other) => Err(other.into()),
        }
    }

    async fn call(&self, parts: &[&str]) -> Result<(), CallError> {
        match parts {
            ["get", pk] => self.dynamodb("GetItem", json!({ "Key": self.item(pk) })).await,
            ["batch_get", pk] => self.batch_get(pk).await,
            ["query", pk] => self.query("JobsTable", "pk", pk).await,
            ["index", pk] => self.query("JobsTable", "index_pk", pk).await,
            ["query_logs"] => self.query("LogsTable", "pk", &format!("{}#0#0", self.mark)).await,
            ["scan"] => self.dynamodb("Scan", json!({ "Limit": 1 })).await,
            ["put", pk] => self.dynamodb("PutItem", if_there(json!({ "Item": self.item(pk) }))).await,
            ["put_log"] => {
                let item = self.item(&format!("{}#0#0", self.mark));
                self.dynamodb("PutItem", json!({ "TableName": self.id("LogsTable"), "Item": item })).await
            }
            ["put_reader"] => {
                let item = self.item(&format!("READER#{}#0#0", self.mark));
                self.dynamodb("PutItem", json!({ "TableName": self.id("LogsTable"), "Item": item })).await
            }
            ["batch_put", pk] => {
                let put = json!([{ "PutRequest": { "Item": self.item(pk) } }]);
                self.raw("BatchWriteItem", &json!({ "RequestItems": { self.id("JobsTable"): put } })).await
            }
            ["commit", pks @ ..] => {
                let put = |pk: &&str| json!({ "Put": { "TableName": self.id("JobsTable"), "Item": self.item(pk) } });
                let items: Vec<Value> = pks.iter().map(put).collect();
                self.raw("TransactWriteItems", &json!({ "TransactItems": items })).await
            }
            ["update", pk] => {
                let update = json!({
                    "Key": self.item(pk),
                    "UpdateExpression": "SET tried = :yes",
                    "ExpressionAttributeValues": { ":yes": { "BOOL": true } },
                });
                self.dynamodb("UpdateItem", if_there(update)).await
            }
            ["delete", pk] => self.dynamodb("DeleteItem", if_there(json!({ "Key": self.item(pk) }))).await,
            ["put_object", folder] => self.object(Method::PUT, folder).await,
            ["get_object", folder] => self.object(Method::GET, folder).await,
            ["delete_object", folder] => self.object(Method::DELETE, folder).await,
            ["list", prefix] => {
                let prefix = prefix.replace('/', "%2F");
                let path = format!("/{}?list-type=2&max-keys=1&prefix={prefix}", self.id("ArtifactsBucket"));
                self.caller.object("s3:ListBucket", Method::GET, &path, Vec::new()).await
            }
            ["create_queue", kind] => self.create_queue(kind).await.map(drop),
            ["delete_queue", kind] => self.sqs("DeleteQueue", &json!({ "QueueUrl": self.queue(kind) })).await,
            ["send", kind] => {
                // The run doesn't exist, so the message has no effect.
                let body = json!({ "timer": self.mark }).to_string();
                self.sqs("SendMessage", &json!({ "QueueUrl": self.queue(kind), "MessageBody": body })).await
            }
            ["receive", kind] => {
                let receive = json!({ "QueueUrl": self.queue(kind), "VisibilityTimeout": 0, "WaitTimeSeconds": 0 });
                self.sqs("ReceiveMessage", &receive).await
            }
            ["secrets", kind] => {
                let own = |name: &str| format!("/{}/secrets/{name}", self.scope.stack);
                let other = format!("/{}/other/a", self.scope.stack);
                let names = match *kind {
                    "secrets" => vec![own("a"), own("b")],
                    "endpoints" => vec![format!("/{}/endpoints", self.scope.stack)],
                    "webhook" => vec![own("FORGE_WEBHOOK_a")],
                    "token" => vec![own("FORGE_TOKEN_a")],
                    "elsewhere" => vec![other],
                    _ => vec![own("a"), other],
                };
                let ask = json!({ "Names": names, "WithDecryption": true });
                self.caller.json("ssm", "AmazonSSM.GetParameters", &ask).await.map(drop)
            }
            _ => Err(CallError::Failed {
                call: parts.join(" "),
                text: "no such call in infra/security/calls.json".to_owned(),
            }),
        }
    }

    fn item(&self, pk: &str) -> Value {
        json!({ "pk": { "S": pk }, "sk": { "S": self.mark } })
    }

    async fn raw(&self, call: &str, body: &Value) -> Result<(), CallError> {
        self.caller.json("dynamodb", &format!("DynamoDB_20120810.{call}"), body).await.map(drop)
    }

    /// A call on the jobs table, or on the table in the body.
    async fn dynamodb(&self, call: &str, mut body: Value) -> Result<(), CallError> {
        if body["TableName"].is_null() {
            body["TableName"] = json!(self.id("JobsTable"));
        }
        self.raw(call, &body).await
    }

    async fn batch_get(&self, pk: &str) -> Result<(), CallError> {
        // Two partitions, or two items of a partition that is the only one of its kind.
        let second = if pk.contains('#') {
            self.item(&format!("{pk}#1"))
        } else {
            json!({ "pk": { "S": pk }, "sk": { "S": format!("{}-1", self.mark) } })
        };
        let keys = json!({ "Keys": [self.item(pk), second] });
        self.raw("BatchGetItem", &json!({ "RequestItems": { self.id("JobsTable"): keys } })).await
    }

    async fn query(&self, table: &str, key: &str, pk: &str) -> Result<(), CallError> {
        let mut query = json!({
            "TableName": self.id(table),
            "KeyConditionExpression": "#pk = :pk",
            "Limit": 1,
            "ExpressionAttributeNames": { "#pk": key },
            "ExpressionAttributeValues": { ":pk": { "S": pk } },
        });
        if key != "pk" {
            query["IndexName"] = json!("index");
        }
        self.raw("Query", &query).await
    }

    async fn object(&self, method: Method, folder: &str) -> Result<(), CallError> {
        let bucket = if folder == "aws/lambda" { "StreamDeadBucket" } else { "ArtifactsBucket" };
        let path = format!("/{}/{folder}/{}", self.id(bucket), self.mark);
        self.caller.object(&format!("s3:{method}"), method.clone(), &path, Vec::new()).await
    }

    async fn sqs(&self, call: &str, body: &Value) -> Result<(), CallError> {
        self.caller.json("sqs", &format!("AmazonSQS.{call}"), body).await.map(drop)
    }

    fn queue(&self, kind: &str) -> &str {
        if kind == "pool" { &self.pool } else { self.id("BatchesQueue") }
    }

    fn queue_name(&self, kind: &str) -> String {
        let prefix = if kind == "pool" { format!("{}-pool-", self.scope.stack) } else { String::new() };
        format!("{prefix}{}", self.mark)
    }

    async fn create_queue(&self, kind: &str) -> Result<String, CallError> {
        let tags = json!({ "workflow-graph:stack": self.scope.stack });
        let ask = json!({ "QueueName": self.queue_name(kind), "tags": tags });
        let made = self.caller.json("sqs", "AmazonSQS.CreateQueue", &ask).await?;
        Ok(made["QueueUrl"].as_str().unwrap_or_default().to_owned())
    }

    /// Removes what the calls left. A batch has no conditions, so tokens and pools too: a role that must not write one may be able to.
    async fn clean(&self) -> Result<(), StackError> {
        for pk in ["R#{mark}", "WF#{mark}", "IDEM##{mark}", "TOKEN", "POOL", "FORGE", "FORGE#x", "REPORT#0"] {
            self.dynamodb("DeleteItem", json!({ "Key": self.item(&pk.replace("{mark}", &self.mark)) })).await?;
        }
        let log = self.item(&format!("{}#0#0", self.mark));
        self.dynamodb("DeleteItem", json!({ "TableName": self.id("LogsTable"), "Key": log })).await?;
        for folder in ["defs", "outputs", "upstream", "logs", "aws/lambda"] {
            self.object(Method::DELETE, folder).await?;
        }
        for kind in ["pool", "other"] {
            // A role that may do more than it must has made the second, or deleted the first.
            match self.caller.json("sqs", "AmazonSQS.GetQueueUrl", &json!({ "QueueName": self.queue_name(kind) })).await
            {
                Ok(found) => self.sqs("DeleteQueue", &json!({ "QueueUrl": found["QueueUrl"] })).await?,
                Err(CallError::Absent { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }
}

fn if_there(mut call: Value) -> Value {
    call["ConditionExpression"] = json!("attribute_exists(pk)");
    call
}
