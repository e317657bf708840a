//! Descriptions of the answers to requests that succeed.

use protocol::WorkflowId;
use protocol::wire::{Claimed, Workflow};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::schemas::Schemas;

/// The description of an answer.
pub(crate) struct Described {
    pub status: u16,
    pub description: &'static str,
    pub content: Option<Value>,
    pub headers: Option<Value>,
    /// Operations that may follow, with values from this answer.
    pub links: Option<Value>,
}

/// 200, with JSON of this schema.
fn of_schema(schema: Value) -> Described {
    let content = json!({ "application/json": { "schema": schema } });
    Described { status: 200, description: "Success.", content: Some(content), headers: None, links: None }
}

/// 200, with JSON of this type.
pub(crate) fn json_body<T: JsonSchema>(schemas: &mut Schemas) -> Described {
    of_schema(schemas.answer::<T>())
}

/// 200, with one page of a list and the link to the next.
pub(crate) fn page_of<T: JsonSchema>(schemas: &mut Schemas) -> Described {
    let description = "The next page of the list, with `rel=\"next\"`; absent on the last page.";
    let link = json!({ "Link": { "description": description, "schema": { "type": "string" } } });
    Described { headers: Some(link), ..json_body::<Vec<T>>(schemas) }
}

/// 201, with JSON of this type.
pub(crate) fn made<T: JsonSchema>(schemas: &mut Schemas) -> Described {
    Described { description: "Created.", ..json_body::<T>(schemas) }.with_status(201)
}

/// 202, with the workflow's id.
pub(crate) fn accepted(schemas: &mut Schemas) -> Described {
    let id = schemas.answer::<WorkflowId>();
    let schema = json!({ "type": "object", "required": ["id"], "properties": { "id": id } });
    Described { status: 202, description: "Accepted.", ..of_schema(schema) }
}

/// 204.
pub(crate) fn no_content() -> Described {
    Described { status: 204, description: "Done; the answer has no body.", content: None, headers: None, links: None }
}

/// 200, with server-sent events.
pub(crate) fn events() -> Described {
    let description = "Events `log`, each with a number as its `id` and a LogChunk as its `data`, and `end` when the job has \
                       ended. Where connections aren't held open, what there is; `retry` says when to come again.";
    let content = json!({ "text/event-stream": { "schema": { "type": "string" } } });
    Described { description, content: Some(content), ..no_content() }.with_status(200)
}

/// 200, with a definition in the format in which it was submitted.
pub(crate) fn definition() -> Described {
    let content = json!({
        "application/yaml": { "schema": { "type": "object" } },
        "application/json": { "schema": { "type": "object" } },
    });
    Described { content: Some(content), description: "The definition as submitted.", ..no_content() }.with_status(200)
}

/// A workflow and its path.
pub(crate) fn workflow_made(status: u16, description: &'static str, schemas: &mut Schemas) -> Described {
    let location =
        json!({ "Location": { "description": "Its path.", "required": true, "schema": { "type": "string" } } });
    let (id, job) = (("id", "/id"), ("job_id", "/jobs/0/id"));
    let links = links(&[
        ("workflow", &[id]),
        ("run", &[id]),
        ("cancel", &[id]),
        ("delete", &[id]),
        ("logs", &[id, job]),
        ("outputs", &[id, job]),
        ("isCancelled", &[("workflow_id", "/id"), job]),
    ]);
    let answer = json_body::<Workflow>(schemas);
    Described { status, description, headers: Some(location), links: Some(links), ..answer }
}

/// A job and the lease on it, or null.
pub(crate) fn claimed(schemas: &mut Schemas) -> Described {
    let lease = [("lease_id", "/lease/lease_id")];
    let job = [("workflow_id", "/lease/workflow_id"), ("job_id", "/lease/job_id")];
    let links = links(&[
        ("heartbeat", &lease),
        ("complete", &lease),
        ("fail", &lease),
        ("appendLogs", &lease),
        ("isCancelled", &job),
    ]);
    Described { links: Some(links), ..json_body::<Option<Claimed>>(schemas) }
}

/// 200, with an object whose fields aren't described.
pub(crate) fn any_object() -> Described {
    of_schema(json!({ "type": "object" }))
}

/// 200, with the API's status and version.
pub(crate) fn health() -> Described {
    let text = json!({ "type": "string" });
    of_schema(json!({
        "type": "object",
        "required": ["status", "version"],
        "properties": { "status": text, "version": text },
    }))
}

impl Described {
    fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// An operation, and which of its parameters are where in the answer's body.
type Link<'a> = (&'a str, &'a [(&'a str, &'a str)]);

fn links(to: &[Link<'_>]) -> Value {
    let link = |(operation, parameters): &Link<'_>| {
        let parameters: Map<String, Value> =
            parameters.iter().map(|(name, at)| ((*name).to_owned(), format!("$response.body#{at}").into())).collect();
        ((*operation).to_owned(), json!({ "operationId": operation, "parameters": parameters }))
    };
    Value::Object(to.iter().map(link).collect())
}
