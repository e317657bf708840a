//! The resources that a stack must have, from the template: with SAM's functions in the form of CloudFormation.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::scope::Scope;

/// A resource that must exist.
#[derive(Debug, PartialEq)]
pub(crate) struct Expected {
    /// Its name in the template, or the one that SAM gives it.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its properties, evaluated.
    pub properties: Value,
}

/// All resources whose condition holds.
pub(crate) fn resources(scope: &Scope) -> Vec<Expected> {
    let mut all = Vec::new();
    let mut routes: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (name, resource) in scope.template["Resources"].as_object().into_iter().flatten() {
        if resource["Condition"].as_str().is_some_and(|condition| !scope.holds(condition)) {
            continue;
        }
        let kind = resource["Type"].as_str().unwrap_or_default();
        match kind {
            "AWS::Serverless::Function" => all.extend(function(scope, name, &resource["Properties"])),
            // One call reads all routes of an API.
            "AWS::ApiGatewayV2::Route" => route(scope, &mut routes, &resource["Properties"]),
            "AWS::Serverless::Api" => all.extend(rest_api(scope, name, &resource["Properties"])),
            _ => all.push(expected(scope, name, kind, &resource["Properties"])),
        }
    }
    all.extend(routes.into_iter().map(|(api, routes)| Expected {
        properties: json!({ "Routes": routes }),
        name: api,
        kind: "AWS::ApiGatewayV2::Route".to_owned(),
    }));
    all
}

/// Adds a route to those of its API: what it calls, by its key.
fn route(scope: &Scope, routes: &mut BTreeMap<String, Map<String, Value>>, properties: &Value) {
    let api = properties["ApiId"]["Ref"].as_str().unwrap_or_default().to_owned();
    let key = properties["RouteKey"].as_str().unwrap_or_default().to_owned();
    routes.entry(api).or_default().insert(key, scope.value(&properties["Target"]));
}

fn expected(scope: &Scope, name: &str, kind: &str, properties: &Value) -> Expected {
    Expected { name: name.to_owned(), kind: kind.to_owned(), properties: scope.value(properties) }
}

/// A function, and the mapping of each of its events, which SAM names after both.
fn function(scope: &Scope, name: &str, own: &Value) -> Vec<Expected> {
    let mut properties = scope.template["Globals"]["Function"].clone();
    merge(&mut properties, own);
    let events = properties.as_object_mut().and_then(|fields| fields.remove("Events")).unwrap_or_default();
    let mut all = vec![expected(scope, name, "AWS::Lambda::Function", &properties)];
    for (event, described) in events.as_object().into_iter().flatten() {
        let mut mapping = described["Properties"].clone();
        let fields = mapping.as_object_mut().map(std::mem::take).unwrap_or_default();
        let named = |(key, value): (String, Value)| match key.as_str() {
            "Stream" | "Queue" => ("EventSourceArn".to_owned(), value),
            _ => (key, value),
        };
        let mut fields: Map<String, Value> = fields.into_iter().map(named).collect();
        if let Some(failure) =
            fields.get_mut("DestinationConfig").and_then(|config| config["OnFailure"].as_object_mut())
        {
            // SAM's word for what the ARN says.
            failure.remove("Type");
        }
        fields.insert("FunctionName".to_owned(), json!({ "Ref": name }));
        fields.insert("Enabled".to_owned(), json!(true));
        all.push(expected(scope, &format!("{name}{event}"), "AWS::Lambda::EventSourceMapping", &Value::Object(fields)));
    }
    all
}

/// A REST API's methods and their functions, and its stage, which SAM names after it.
fn rest_api(scope: &Scope, name: &str, own: &Value) -> Vec<Expected> {
    let properties = scope.value(own);
    let mut methods = Map::new();
    for (path, described) in properties["DefinitionBody"]["paths"].as_object().into_iter().flatten() {
        for (method, described) in described.as_object().into_iter().flatten() {
            let method = method.trim_start_matches("x-amazon-apigateway-").trim_end_matches("-method").to_uppercase();
            methods.insert(format!("{method} {path}"), described["x-amazon-apigateway-integration"]["uri"].clone());
        }
    }
    let api = json!({ "Name": properties["Name"], "Methods": methods });
    let stage = json!({
        "RestApiId": { "Ref": name }, "StageName": properties["StageName"], "MethodSettings": properties["MethodSettings"]
    });
    vec![
        expected(scope, name, "AWS::ApiGateway::RestApi", &api),
        expected(scope, &format!("{name}Stage"), "AWS::ApiGateway::Stage", &stage),
    ]
}

/// Puts `own` over `global`, as SAM does: mappings are merged, and anything else is replaced.
fn merge(global: &mut Value, own: &Value) {
    match (global, own) {
        (Value::Object(global), Value::Object(own)) if !is_function(own) && !is_function(global) => {
            for (key, value) in own {
                merge(global.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (global, own) => *global = own.clone(),
    }
}

fn is_function(map: &Map<String, Value>) -> bool {
    map.keys().any(|key| key == "Ref" || key.starts_with("Fn::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_has_the_global_properties_and_a_mapping_for_each_event() {
        let template = json!({
            "Globals": { "Function": { "MemorySize": 256, "Environment": { "Variables": { "A": "1" } } } },
            "Conditions": { "Never": { "Fn::Equals": [1, 2] } },
            "Resources": {
                "Work": { "Type": "AWS::Serverless::Function", "Properties": {
                    "MemorySize": 512, "Environment": { "Variables": { "B": "2" } },
                    "Events": { "Q": { "Type": "SQS", "Properties": { "Queue": "arn", "BatchSize": 5 } } }
                } },
                "Gone": { "Type": "AWS::SQS::Queue", "Condition": "Never" }
            }
        });
        let ids = [("Work".to_owned(), "wf-work".to_owned())].into();
        let all = resources(&Scope { template, ids, ..Scope::default() });
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(
            all[0].properties,
            json!({ "MemorySize": 512, "Environment": { "Variables": { "A": "1", "B": "2" } } })
        );
        assert_eq!(all[1].name, "WorkQ");
        let mapping = json!({ "EventSourceArn": "arn", "BatchSize": 5, "FunctionName": "wf-work", "Enabled": true });
        assert_eq!(all[1].properties, mapping);
    }
}
