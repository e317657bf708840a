//! What a request says in its path, its query and its headers.

use protocol::{JobId, Status, TokenName, WorkerId, WorkflowId, limits};
use serde_json::{Value, json};

use super::schemas::Schemas;

/// The variables of a path.
pub(super) fn of_path(path: &str, schemas: &mut Schemas) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| variable(path, name, schemas)).collect()
}

fn variable(path: &str, name: &str, schemas: &mut Schemas) -> Value {
    let schema = match name {
        "id" if path.starts_with("/api/workers/") => schemas.given::<WorkerId>(),
        "id" | "workflow_id" => schemas.given::<WorkflowId>(),
        "job_id" => schemas.given::<JobId>(),
        "name" => schemas.given::<TokenName>(),
        // What isn't a lease is refused like one that was lost.
        _ => json!({ "type": "string", "minLength": 1 }),
    };
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

/// A parameter of the query. An empty one is the same as none.
pub(super) fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "allowEmptyValue": true, "schema": schema })
}

fn header(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": schema })
}

pub(super) fn attempt(schemas: &mut Schemas) -> Value {
    query("attempt", "Which attempt, from 0; without it the latest.", schemas.given::<u32>())
}

pub(super) fn after(schemas: &mut Schemas) -> Value {
    query("after", "The sequence number after which it goes on.", schemas.given::<u64>())
}

/// Which part of a list. Where an answer has the header `Link`, its `cursor` leads on.
pub(super) fn page(usual: usize) -> [Value; 2] {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": limits::LIST, "default": usual });
    [
        query("limit", "How many at the most.", limit),
        query("cursor", "From the `Link` of the answer before.", json!({ "type": "string" })),
    ]
}

pub(super) fn offset() -> Value {
    let schema = json!({ "type": "integer", "minimum": 0, "maximum": limits::LIST, "default": 0 });
    query("offset", "How many to skip. Following `Link` is better: it misses nothing.", schema)
}

pub(super) fn status(schemas: &mut Schemas) -> Value {
    query("status", "Only those that are so.", schemas.given::<Status>())
}

pub(super) fn run() -> Value {
    query("run", "Whether to start it too.", json!({ "type": "boolean", "default": false }))
}

pub(super) fn idempotency_key() -> Value {
    // White space at the ends of a header doesn't count.
    let seen = r"\u0021-\u007e";
    let between = limits::IDEMPOTENCY_KEY - 2;
    let pattern = format!(r"^[{seen}]([\u0009\u0020{seen}]{{0,{between}}}[{seen}])?$");
    let schema = json!({ "type": "string", "pattern": pattern });
    header("Idempotency-Key", "The same request with the same key within 24 hours makes no second workflow.", schema)
}

pub(super) fn last_event_id() -> Value {
    let schema = json!({ "type": "string", "pattern": r"^(([0-9]{1,9}\.)?[0-9]{1,19})?$" });
    header(
        "Last-Event-ID",
        "The `id` of the last event that was seen; those after it follow. An empty one is the same as none.",
        schema,
    )
}
