//! Descriptions of the parameters in paths, queries and headers.

use protocol::{JobId, LinkName, Status, TokenName, WorkerId, WorkflowId, limits};
use serde_json::{Value, json};

use super::schemas::Schemas;

/// The variables of a path.
pub(crate) fn of_path(path: &str, schemas: &mut Schemas) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| variable(path, name, schemas)).collect()
}

fn variable(path: &str, name: &str, schemas: &mut Schemas) -> Value {
    let schema = match name {
        "id" if path.starts_with("/api/workers/") => schemas.given::<WorkerId>(),
        "id" | "workflow_id" => schemas.given::<WorkflowId>(),
        "job_id" => schemas.given::<JobId>(),
        "name" => schemas.given::<TokenName>(),
        "link" => schemas.given::<LinkName>(),
        // A text that isn't a lease id is refused like a lost lease.
        _ => json!({ "type": "string", "minLength": 1 }),
    };
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

/// A parameter of the query. An empty one is the same as none.
pub(crate) fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "allowEmptyValue": true, "schema": schema })
}

fn header(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": schema })
}

const LAST_EVENT_ID: &str = "Last-Event-ID";
const FOLLOWING: &str =
    "The `id` of the last event that was seen; those after it follow. An empty one is the same as none.";

pub(crate) fn attempt(schemas: &mut Schemas) -> Value {
    query("attempt", "Which attempt, from 0; without it the latest.", schemas.given::<u32>())
}

pub(crate) fn after(schemas: &mut Schemas) -> Value {
    query("after", "The sequence number after which the page starts.", schemas.given::<u64>())
}

/// The page of a list. The next page's `cursor` is in the `Link` header.
pub(crate) fn page() -> [Value; 2] {
    let [mut limit, cursor] = optional_page();
    limit["schema"]["default"] = limits::PAGE.into();
    [limit, cursor]
}

/// The page of a list that isn't divided unless the client asks for it or the list is too large for one answer.
pub(crate) fn optional_page() -> [Value; 2] {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": limits::LIST });
    [
        query("limit", "The most entries of the page.", limit),
        query("cursor", "From the `Link` of the previous answer.", json!({ "type": "string" })),
    ]
}

pub(crate) fn offset() -> Value {
    let schema = json!({ "type": "integer", "minimum": 0, "maximum": limits::LIST, "default": 0 });
    query("offset", "How many to skip. Following `Link` is better: it misses nothing.", schema)
}

pub(crate) fn status(schemas: &mut Schemas) -> Value {
    query("status", "Only workflows with this status.", schemas.given::<Status>())
}

pub(crate) fn view() -> Value {
    let schema = json!({ "enum": ["summary", ""] });
    query(
        "view",
        "With `summary`: the list has no jobs, but their number, and the number of those that have ended.",
        schema,
    )
}

pub(crate) fn text() -> Value {
    query("q", "With `view=summary`: part of the name or the id, in any case.", json!({ "type": "string" }))
}

pub(crate) fn repository() -> Value {
    query("repository", "The repository's name, if several share the link.", json!({ "type": "string" }))
}

pub(crate) fn once() -> Value {
    query(
        "once",
        "Whether to end the answer after the events that there are.",
        json!({ "type": "boolean", "default": false }),
    )
}

/// The id of the last event of a run that was seen.
pub(crate) fn last_run_event_id() -> Value {
    let pattern = r"^([0-9]{1,9}\.[0-9]{1,19}\.[0-9]{1,9})?$";
    header(LAST_EVENT_ID, FOLLOWING, json!({ "type": "string", "pattern": pattern }))
}

pub(crate) fn if_none_match() -> Value {
    // A header may have tabs.
    let schema = json!({ "type": "string", "pattern": r"^[\u0009\u0020-\u007e]*$" });
    header("If-None-Match", "The `ETag` of the graph that the client has.", schema)
}

pub(crate) fn run() -> Value {
    query("run", "Whether to start the workflow.", json!({ "type": "boolean", "default": false }))
}

pub(crate) fn idempotency_key() -> Value {
    // White space at the ends of a header is not part of it.
    let seen = r"\u0021-\u007e";
    let between = limits::IDEMPOTENCY_KEY - 2;
    let pattern = format!(r"^[{seen}]([\u0009\u0020{seen}]{{0,{between}}}[{seen}])?$");
    let schema = json!({ "type": "string", "pattern": pattern });
    header("Idempotency-Key", "The same request with the same key within 24 hours makes no second workflow.", schema)
}

pub(crate) fn last_event_id() -> Value {
    let schema = json!({ "type": "string", "pattern": r"^(([0-9]{1,9}\.){0,2}[0-9]{1,19})?$" });
    header(LAST_EVENT_ID, FOLLOWING, schema)
}
