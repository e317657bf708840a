//! The `OpenAPI` 3.1 document, made from the route table and the schemas of the protocol's types.

use serde_json::{Map, Value, json};

use crate::operation::{Operation, Schemas, parameters, tidy};
use crate::route::Route;

/// The statuses of refusals. All have the same shape of body.
const REFUSALS: [(u16, &str); 14] = [
    (400, "The request can't be read."),
    (401, "There is no token with it, or none that is good."),
    (403, "The token doesn't allow it, or the request comes from the page of another site."),
    (404, "There is no such thing."),
    (405, "The path exists, for other methods; the header `Allow` names them."),
    (408, "The body came too slowly."),
    (409, "It doesn't fit what is there."),
    (413, "It is too large; the message names the limit."),
    (414, "The path and query are too long; the message names the limit."),
    (415, "Content-Type or charset aren't supported."),
    (422, "It can be read but isn't valid."),
    (429, "Too many requests; later is fine."),
    (431, "The headers are too large or too many."),
    (503, "The store did not answer or its disk is full. Something may have changed; repeating the request is safe."),
];
/// Refusals of every operation.
const ALWAYS: [u16; 7] = [400, 408, 413, 414, 429, 431, 503];
/// Further refusals of operations that need a token.
const WITH_TOKEN: [u16; 2] = [401, 403];
/// Further refusals of operations that take a body.
const WITH_BODY: [u16; 2] = [415, 422];

/// The whole document.
pub(crate) fn document(routes: &[Route]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in routes {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut schemas);
    }
    let mut whole = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "workflow-graph",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A DAG workflow engine. Fields that a request has and this doesn't name are ignored; an answer may get \
                            more fields in later versions.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "responses": refusals(&mut schemas),
            "schemas": schemas.into_components(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "The token." },
                "basic": { "type": "http", "scheme": "basic", "description": "Any name, with the token as its password." },
            },
        },
    });
    tidy(&mut whole);
    whole
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let Operation { parameters, body, answers, refusals } = (route.describe)(schemas);
    let open = !route.needs_token();
    let parameters: Vec<Value> = parameters::of_path(route.path, schemas).into_iter().chain(parameters).collect();
    let mut responses = Map::new();
    for (status, response) in answers {
        responses.insert(status.to_string(), response);
    }
    let with_token = if open { &[][..] } else { &WITH_TOKEN };
    let with_body = if body.is_some() { &WITH_BODY[..] } else { &[] };
    for status in ALWAYS.iter().chain(with_token).chain(with_body).chain(refusals) {
        responses.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/{status}") }));
    }
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
        "security": if open { json!([]) } else { json!([{ "bearer": [] }, { "basic": [] }]) },
    });
    if let Some(body) = body {
        operation["requestBody"] = body;
    }
    operation
}

fn refusals(schemas: &mut Schemas) -> Value {
    let schema = schemas.answer::<protocol::wire::ErrorBody>();
    let mut refusals = Map::new();
    for (status, description) in REFUSALS {
        let content = json!({ "application/json": { "schema": &schema } });
        let mut response = json!({ "description": description, "content": content });
        if matches!(status, 429 | 503) {
            let schema = json!({ "type": "integer", "minimum": 0 });
            response["headers"] = json!({ "Retry-After": { "description": "In how many seconds.", "schema": schema } });
        }
        refusals.insert(status.to_string(), response);
    }
    Value::Object(refusals)
}
