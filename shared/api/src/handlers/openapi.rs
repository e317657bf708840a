//! A description of the routes, made from the table.

use serde_json::{Map, Value, json};

use crate::routes::ROUTES;

pub(super) fn description() -> Value {
    let mut paths = Map::new();
    for route in &ROUTES {
        let parameters: Vec<Value> = route
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        let operation = json!({
            "operationId": format!("{:?} {}", route.action, route.path),
            "parameters": parameters,
            "responses": {
                "default": { "description": "a JSON body; an error has `{\"error\": {\"code\", \"message\", \"details\"?}}`" }
            },
        });
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "workflow-graph", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
    })
}
