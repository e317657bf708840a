//! Reads the properties of a live resource, by the names that they have in the template.
//!
//! The properties that are compared are the ones that are read here. A property that isn't set is null.

use serde_json::{Map, Value, json};

use super::expected::Expected;
use crate::call::{CallError, Caller};

/// A resource as it is.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// What was read.
    pub properties: Map<String, Value>,
    /// What properties have that the template doesn't name, if not null.
    pub defaults: Map<String, Value>,
    /// Properties that could not be read, and why.
    pub unread: Vec<(String, String)>,
    /// Attributes that only the resource knows.
    pub attributes: Vec<(&'static str, String)>,
}

impl Live {
    fn set(&mut self, property: &str, value: Value) {
        self.properties.insert(property.to_owned(), value);
    }

    /// Sets a property that has a default, which services may leave out.
    fn set_or(&mut self, property: &str, default: &str, value: &Value) {
        self.defaults.insert(property.to_owned(), json!(default));
        self.set(property, if value.is_null() { json!(default) } else { value.clone() });
    }

    /// Keeps the answer of a call on one property. A call that isn't served is noted.
    fn take(&mut self, property: &str, answer: Result<Value, CallError>) -> Result<(), CallError> {
        match answer {
            Ok(value) => self.set(property, value),
            Err(CallError::Absent { .. }) => self.set(property, Value::Null),
            Err(CallError::NotServed { text, .. }) => self.unread.push((property.to_owned(), text)),
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Copies properties that have the same names in an answer.
    fn copy(&mut self, names: &[&str], from: &Value) {
        for name in names {
            self.set(name, from[*name].clone());
        }
    }
}

/// The types whose properties are read.
const READ: [&str; 13] = [
    "AWS::DynamoDB::Table",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::Lambda::Function",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Events::Rule",
    "AWS::Logs::LogGroup",
    "AWS::CloudWatch::Alarm",
    "AWS::ApiGatewayV2::Stage",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGateway::Stage",
];

/// Whether resources of this type are read.
pub(crate) fn is_read(kind: &str) -> bool {
    READ.contains(&kind)
}

/// Reads a resource. `None`: it is gone.
///
/// # Errors
/// A call that the caller has no right to make, or that failed.
pub(crate) async fn read(caller: &Caller, expected: &Expected, id: &str) -> Result<Option<Live>, CallError> {
    let properties = &expected.properties;
    let read = match expected.kind.as_str() {
        "AWS::DynamoDB::Table" => table(caller, id).await,
        "AWS::S3::Bucket" => bucket(caller, id).await,
        "AWS::SQS::Queue" => queue(caller, id).await,
        "AWS::Lambda::Function" => function(caller, id).await,
        "AWS::Lambda::EventSourceMapping" => mapping(caller, id).await,
        "AWS::Events::Rule" => rule(caller, id).await,
        "AWS::Logs::LogGroup" => log_group(caller, id).await,
        "AWS::CloudWatch::Alarm" => alarm(caller, id).await,
        "AWS::ApiGatewayV2::Stage" => http_stage(caller, &properties["ApiId"], &properties["StageName"]).await,
        "AWS::ApiGatewayV2::Integration" => http_integration(caller, &properties["ApiId"], id).await,
        "AWS::ApiGatewayV2::Route" => http_routes(caller, id).await,
        "AWS::ApiGateway::RestApi" => rest_api(caller, id).await,
        _ => rest_stage(caller, &properties["RestApiId"], &properties["StageName"]).await,
    };
    match read {
        Ok(live) => Ok(Some(live)),
        Err(CallError::Absent { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

fn or_null(condition: bool, value: Value) -> Value {
    if condition { value } else { Value::Null }
}

async fn table(caller: &Caller, name: &str) -> Result<Live, CallError> {
    let ask = async |call: &str| {
        caller.json("dynamodb", &format!("DynamoDB_20120810.{call}"), &json!({ "TableName": name })).await
    };
    let mut live = Live::default();
    let table = ask("DescribeTable").await?["Table"].take();
    live.set("BillingMode", table["BillingModeSummary"]["BillingMode"].clone());
    live.copy(&["KeySchema"], &table);
    let indexes = &table["GlobalSecondaryIndexes"];
    live.set("GlobalSecondaryIndexes", or_null(!list(indexes).is_empty(), indexes.clone()));
    let stream = &table["StreamSpecification"];
    live.set("StreamSpecification", or_null(stream["StreamEnabled"] == true, stream.clone()));
    live.set("DeletionProtectionEnabled", table["DeletionProtectionEnabled"].clone());
    let limits =
        table["OnDemandThroughput"].as_object().into_iter().flatten().filter(|(_, units)| **units != json!(-1));
    let limits: Map<String, Value> = limits.map(|(name, units)| (name.clone(), units.clone())).collect();
    live.set("OnDemandThroughput", or_null(!limits.is_empty(), Value::Object(limits)));
    live.set("SSESpecification", or_null(table["SSEDescription"]["SSEType"] == "KMS", json!({ "SSEEnabled": true })));
    if let Some(arn) = table["LatestStreamArn"].as_str() {
        live.attributes.push(("StreamArn", arn.to_owned()));
    }
    let expiry = ask("DescribeTimeToLive").await.map(|answer| {
        let expiry = &answer["TimeToLiveDescription"];
        let on = matches!(expiry["TimeToLiveStatus"].as_str(), Some("ENABLED" | "ENABLING"));
        json!({ "AttributeName": expiry["AttributeName"], "Enabled": on })
    });
    live.take("TimeToLiveSpecification", expiry)?;
    let backups = ask("DescribeContinuousBackups").await.map(|answer| {
        let status =
            &answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"];
        json!({ "PointInTimeRecoveryEnabled": status == "ENABLED" })
    });
    live.take("PointInTimeRecoverySpecification", backups)?;
    Ok(live)
}

/// A list, also of one element, which XML doesn't tell from the element itself.
fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

async fn bucket(caller: &Caller, name: &str) -> Result<Live, CallError> {
    let mut live = Live::default();
    let ask = async |call: &str, setting: &str| caller.bucket(&format!("s3:{call}"), name, setting).await;
    live.take("PublicAccessBlockConfiguration", ask("GetPublicAccessBlock", "publicAccessBlock").await)?;
    let owners = ask("GetBucketOwnershipControls", "ownershipControls").await;
    live.take("OwnershipControls", owners.map(|answer| json!({ "Rules": list(&answer["Rule"]) })))?;
    let encryption = ask("GetEncryptionConfiguration", "encryption").await.map(|answer| {
        let rules = list(&answer["Rule"]);
        let rules = rules
            .iter()
            .map(|rule| json!({ "ServerSideEncryptionByDefault": rule["ApplyServerSideEncryptionByDefault"] }));
        json!({ "ServerSideEncryptionConfiguration": rules.collect::<Vec<_>>() })
    });
    live.take("BucketEncryption", encryption)?;
    let lifecycle = ask("GetLifecycleConfiguration", "lifecycle").await;
    live.take(
        "LifecycleConfiguration",
        lifecycle
            .map(|answer| json!({ "Rules": list(&answer["Rule"]).iter().map(lifecycle_rule).collect::<Vec<_>>() })),
    )?;
    let notification = ask("GetBucketNotification", "notification").await.map(|answer| {
        let on = !answer["EventBridgeConfiguration"].is_null();
        or_null(on, json!({ "EventBridgeConfiguration": { "EventBridgeEnabled": true } }))
    });
    live.take("NotificationConfiguration", notification)?;
    Ok(live)
}

fn lifecycle_rule(rule: &Value) -> Value {
    let prefix = [&rule["Filter"]["Prefix"], &rule["Prefix"]].into_iter().find(|prefix| !prefix.is_null());
    json!({
        "Id": rule["ID"],
        "Status": rule["Status"],
        "Prefix": prefix,
        "ExpirationInDays": rule["Expiration"]["Days"],
        "AbortIncompleteMultipartUpload": rule["AbortIncompleteMultipartUpload"],
    })
}

async fn queue(caller: &Caller, url: &str) -> Result<Live, CallError> {
    let ask = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
    let attributes = caller.json("sqs", "AmazonSQS.GetQueueAttributes", &ask).await?["Attributes"].take();
    let mut live = Live::default();
    live.set_or("VisibilityTimeout", "30", &attributes["VisibilityTimeout"]);
    live.set_or("MessageRetentionPeriod", "345600", &attributes["MessageRetentionPeriod"]);
    live.set_or("DelaySeconds", "0", &attributes["DelaySeconds"]);
    live.copy(&["SqsManagedSseEnabled"], &attributes);
    let redrive = attributes["RedrivePolicy"].as_str().and_then(|text| serde_json::from_str(text).ok());
    live.set("RedrivePolicy", redrive.unwrap_or_default());
    Ok(live)
}

async fn function(caller: &Caller, name: &str) -> Result<Live, CallError> {
    let path = |date: &str, what: &str| format!("/{date}/functions/{name}/{what}");
    let mut live = Live::default();
    let configuration = caller.get("lambda:GetFunctionConfiguration", &path("2015-03-31", "configuration")).await?;
    let copied =
        ["Runtime", "Handler", "Architectures", "MemorySize", "Timeout", "Role", "LoggingConfig", "Environment"];
    live.copy(&copied, &configuration);
    let recursion = caller.get("lambda:GetFunctionRecursionConfig", &path("2024-08-31", "recursion-config")).await;
    live.take("RecursiveLoop", recursion.map(|answer| answer["RecursiveLoop"].clone()))?;
    live.defaults.insert("RecursiveLoop".to_owned(), json!("Terminate"));
    let reserved = caller.get("lambda:GetFunctionConcurrency", &path("2019-09-30", "concurrency")).await;
    live.take("ReservedConcurrentExecutions", reserved.map(|answer| answer["ReservedConcurrentExecutions"].clone()))?;
    let events = caller.get("lambda:GetFunctionEventInvokeConfig", &path("2019-09-25", "event-invoke-config")).await;
    live.take("EventInvokeConfig", events)?;
    Ok(live)
}

async fn mapping(caller: &Caller, id: &str) -> Result<Live, CallError> {
    let found = caller.get("lambda:GetEventSourceMapping", &format!("/2015-03-31/event-source-mappings/{id}")).await?;
    let mut live = Live::default();
    live.copy(
        &[
            "EventSourceArn",
            "BatchSize",
            "ScalingConfig",
            "FunctionResponseTypes",
            "FilterCriteria",
            "ParallelizationFactor",
        ],
        &found,
    );
    live.copy(&["BisectBatchOnFunctionError", "MaximumRetryAttempts", "DestinationConfig"], &found);
    live.set_or("MaximumBatchingWindowInSeconds", "0", &found["MaximumBatchingWindowInSeconds"]);
    live.set("FunctionName", json!(found["FunctionArn"].as_str().and_then(|arn| arn.rsplit(':').next())));
    live.set(
        "Enabled",
        json!(matches!(found["State"].as_str(), Some("Enabled" | "Enabling" | "Creating" | "Updating"))),
    );
    Ok(live)
}

async fn rule(caller: &Caller, name: &str) -> Result<Live, CallError> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let mut live = Live::default();
    let found = caller.json("events", "AWSEvents.DescribeRule", &json!({ "Name": name })).await?;
    live.set("ScheduleExpression", found["ScheduleExpression"].clone());
    live.set_or("State", "ENABLED", &found["State"]);
    let pattern = found["EventPattern"].as_str().and_then(|text| serde_json::from_str(text).ok());
    live.set("EventPattern", pattern.unwrap_or_default());
    let targets = caller.json("events", "AWSEvents.ListTargetsByRule", &json!({ "Rule": name })).await;
    live.take("Targets", targets.map(|answer| answer["Targets"].clone()))?;
    Ok(live)
}

async fn log_group(caller: &Caller, name: &str) -> Result<Live, CallError> {
    let ask = json!({ "logGroupNamePrefix": name });
    let found = caller.json("logs", "Logs_20140328.DescribeLogGroups", &ask).await?;
    let groups = found["logGroups"].as_array().cloned().unwrap_or_default();
    let group = groups.iter().find(|group| group["logGroupName"] == name);
    let absent = || CallError::Absent { call: "logs:DescribeLogGroups".to_owned(), code: "none".to_owned() };
    let mut live = Live::default();
    live.set("RetentionInDays", group.ok_or_else(absent)?["retentionInDays"].clone());
    Ok(live)
}

async fn alarm(caller: &Caller, name: &str) -> Result<Live, CallError> {
    let ask = json!({ "AlarmNames": [name] });
    let found = caller.json("monitoring", "GraniteServiceVersion20100801.DescribeAlarms", &ask).await?;
    let absent = || CallError::Absent { call: "cloudwatch:DescribeAlarms".to_owned(), code: "none".to_owned() };
    let alarm = found["MetricAlarms"].get(0).ok_or_else(absent)?;
    let mut live = Live::default();
    live.copy(&["Namespace", "MetricName", "Statistic", "Period", "EvaluationPeriods", "Threshold"], alarm);
    live.copy(&["ComparisonOperator", "TreatMissingData", "AlarmActions"], alarm);
    live.set("Dimensions", or_null(!list(&alarm["Dimensions"]).is_empty(), alarm["Dimensions"].clone()));
    live.set_or("ActionsEnabled", "true", &alarm["ActionsEnabled"]);
    Ok(live)
}

/// A text of the template in a path.
fn segment(value: &Value) -> String {
    percent_encoding::utf8_percent_encode(value.as_str().unwrap_or_default(), percent_encoding::NON_ALPHANUMERIC)
        .to_string()
}

/// An answer of API Gateway with the names of the template, which begin with a capital letter.
fn capitalized(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (capital(key), capitalized(value))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

async fn http_stage(caller: &Caller, api: &Value, stage: &Value) -> Result<Live, CallError> {
    let path = format!("/v2/apis/{}/stages/{}", segment(api), segment(stage));
    let answer = caller.get("apigateway:GetStage", &path).await?;
    let mut live = Live::default();
    // The keys of route settings are routes, not names.
    let routes = answer["routeSettings"].as_object().into_iter().flatten();
    let routes: Map<String, Value> = routes.map(|(route, settings)| (route.clone(), capitalized(settings))).collect();
    live.set("RouteSettings", or_null(!routes.is_empty(), Value::Object(routes)));
    live.set("DefaultRouteSettings", capitalized(&answer["defaultRouteSettings"]));
    live.set("AutoDeploy", answer["autoDeploy"].clone());
    Ok(live)
}

async fn http_integration(caller: &Caller, api: &Value, id: &str) -> Result<Live, CallError> {
    let path = format!("/v2/apis/{}/integrations/{}", segment(api), segment(&json!(id)));
    let found = capitalized(&caller.get("apigateway:GetIntegration", &path).await?);
    let mut live = Live::default();
    live.copy(&["IntegrationType", "IntegrationUri", "PayloadFormatVersion"], &found);
    Ok(live)
}

async fn http_routes(caller: &Caller, api: &str) -> Result<Live, CallError> {
    let path = format!("/v2/apis/{}/routes?maxResults=500", segment(&json!(api)));
    let found = caller.get("apigateway:GetRoutes", &path).await?;
    let key = |route: &Value| route["routeKey"].as_str().unwrap_or_default().to_owned();
    let routes: Map<String, Value> =
        list(&found["items"]).iter().map(|one| (key(one), one["target"].clone())).collect();
    let mut live = Live::default();
    live.set("Routes", Value::Object(routes));
    Ok(live)
}

async fn rest_api(caller: &Caller, id: &str) -> Result<Live, CallError> {
    let mut live = Live::default();
    let mut methods = Map::new();
    let found =
        caller.get("apigateway:GetResources", &format!("/restapis/{id}/resources?embed=methods&limit=500")).await?;
    let resources = [&found["item"], &found["_embedded"]["item"]].into_iter().find(|items| !items.is_null());
    for resource in list(resources.unwrap_or(&Value::Null)) {
        let path = resource["path"].as_str().unwrap_or_default().to_owned();
        for (method, described) in resource["resourceMethods"].as_object().into_iter().flatten() {
            methods.insert(format!("{method} {path}"), described["methodIntegration"]["uri"].clone());
        }
    }
    live.set("Methods", Value::Object(methods));
    Ok(live)
}

async fn rest_stage(caller: &Caller, api: &Value, stage: &Value) -> Result<Live, CallError> {
    let path = format!("/restapis/{}/stages/{}", segment(api), segment(stage));
    let found = caller.get("apigateway:GetStage", &path).await?;
    let settings = found["methodSettings"].as_object().into_iter().flatten().map(|(place, settings)| {
        // `*/*`, or a path in which `~1` is a slash, a slash and a method.
        let (path, method) = place.rsplit_once('/').unwrap_or((place, "*"));
        let path = format!("/{}", path.trim_start_matches("~1").replace("~1", "/"));
        json!({
            "ResourcePath": path,
            "HttpMethod": method,
            "ThrottlingRateLimit": settings["throttlingRateLimit"],
            "ThrottlingBurstLimit": settings["throttlingBurstLimit"],
        })
    });
    let settings: Vec<Value> = settings.collect();
    let mut live = Live::default();
    live.set("MethodSettings", or_null(!settings.is_empty(), Value::Array(settings)));
    Ok(live)
}
