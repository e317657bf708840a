//! Answers, when all is well.

use protocol::WorkflowId;
use protocol::wire::{Claimed, Workflow};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::schemas::Schemas;

/// An answer, when all is well.
pub(super) struct Answer {
    pub status: u16,
    pub description: &'static str,
    pub content: Option<Value>,
    pub headers: Option<Value>,
    /// What may be asked next, with what this answer says.
    pub links: Option<Value>,
}

/// 200, with JSON of this schema.
pub(super) fn of_schema(schema: Value) -> Answer {
    let content = json!({ "application/json": { "schema": schema } });
    Answer { status: 200, description: "It is so.", content: Some(content), headers: None, links: None }
}

/// 200, with this as JSON.
pub(super) fn json_answer<T: JsonSchema>(schemas: &mut Schemas) -> Answer {
    of_schema(schemas.answer::<T>())
}

/// 200, with a part of a list, and where it goes on.
pub(super) fn page_of<T: JsonSchema>(schemas: &mut Schemas) -> Answer {
    let description = "Where the list goes on, with `rel=\"next\"`; without it this is the end.";
    let link = json!({ "Link": { "description": description, "schema": { "type": "string" } } });
    Answer { headers: Some(link), ..json_answer::<Vec<T>>(schemas) }
}

/// 201, with this as JSON.
pub(super) fn made<T: JsonSchema>(schemas: &mut Schemas) -> Answer {
    Answer { description: "It was made.", ..json_answer::<T>(schemas) }.with_status(201)
}

/// 202, with the workflow's id.
pub(super) fn accepted(schemas: &mut Schemas) -> Answer {
    let id = schemas.answer::<WorkflowId>();
    let schema = json!({ "type": "object", "required": ["id"], "properties": { "id": id } });
    Answer { status: 202, description: "It will be so.", ..of_schema(schema) }
}

/// 204.
pub(super) fn nothing() -> Answer {
    Answer { status: 204, description: "It is done.", content: None, headers: None, links: None }
}

/// 200, with what is written as it comes.
pub(super) fn events() -> Answer {
    let description = "Events `log`, each with a number as its `id` and a LogChunk as its `data`, and `end` when the job has \
                       ended. Where connections aren't held open, what there is; `retry` says when to come again.";
    let content = json!({ "text/event-stream": { "schema": { "type": "string" } } });
    Answer { description, content: Some(content), ..nothing() }.with_status(200)
}

/// 200, with a definition in the format in which it was submitted.
pub(super) fn definition() -> Answer {
    let content = json!({
        "application/yaml": { "schema": { "type": "string" } },
        "application/json": { "schema": { "type": "object" } },
    });
    Answer { content: Some(content), description: "The text that was sent.", ..nothing() }.with_status(200)
}

/// A workflow, and where it is.
pub(super) fn workflow_made(status: u16, description: &'static str, schemas: &mut Schemas) -> Answer {
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
    let answer = json_answer::<Workflow>(schemas);
    Answer { status, description, headers: Some(location), links: Some(links), ..answer }
}

/// A job and the lease on it, or null.
pub(super) fn claimed(schemas: &mut Schemas) -> Answer {
    let lease = [("lease_id", "/lease/lease_id")];
    let job = [("workflow_id", "/lease/workflow_id"), ("job_id", "/lease/job_id")];
    let links = links(&[
        ("heartbeat", &lease),
        ("complete", &lease),
        ("fail", &lease),
        ("appendLogs", &lease),
        ("isCancelled", &job),
    ]);
    Answer { links: Some(links), ..json_answer::<Option<Claimed>>(schemas) }
}

impl Answer {
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
