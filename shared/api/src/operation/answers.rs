//! Operations by the answer to a request that succeeds.

use protocol::WorkflowId;
use protocol::forge::Received;
use protocol::page::{Graph, Summary};
use protocol::wire::{Claimed, Workflow};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use super::{Operation, parameters};

/// An operation with one successful answer.
fn answer(status: u16, description: &str, content: Value) -> Operation {
    let answers = vec![(status, json!({ "description": description, "content": content }))];
    Operation { answers, ..Operation::default() }
}

fn json_of(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

/// 200, with JSON of this type.
pub(crate) fn json_body<T: JsonSchema>(schemas: &mut Schemas) -> Operation {
    answer(200, "Success.", json_of(schemas.answer::<T>()))
}

/// 200, with one page of a list and the link to the next.
pub(crate) fn page_of<T: JsonSchema>(schemas: &mut Schemas) -> Operation {
    let description = "The next page of the list, with `rel=\"next\"`; absent on the last page. A page may have fewer entries than \
                       wanted, or none, although more pages follow.";
    let link = json!({ "Link": { "description": description, "schema": { "type": "string" } } });
    json_body::<Vec<T>>(schemas).also("headers", link)
}

/// 200, with a list that comes in one page if it fits an answer.
pub(crate) fn list_of<T: JsonSchema>(schemas: &mut Schemas) -> Operation {
    page_of::<T>(schemas).with(parameters::optional_page())
}

/// 201, with JSON of this type.
pub(crate) fn made<T: JsonSchema>(schemas: &mut Schemas) -> Operation {
    answer(201, "Created.", json_of(schemas.answer::<T>()))
}

/// 202, with the workflow's id.
pub(crate) fn accepted(schemas: &mut Schemas) -> Operation {
    let id = schemas.answer::<WorkflowId>();
    answer(202, "Accepted.", json_of(json!({ "type": "object", "required": ["id"], "properties": { "id": id } })))
}

/// 202, with the id of what was received, or 200 with why nothing follows from it.
pub(crate) fn received(schemas: &mut Schemas) -> Operation {
    let content = json_of(schemas.answer::<Received>());
    let ignored = (200, json!({ "description": "It starts nothing, and why.", "content": content }));
    let mut operation = answer(202, "Stored, and handled.", content.clone());
    operation.answers.push(ignored);
    operation
}

/// 204.
pub(crate) fn no_content(_: &mut Schemas) -> Operation {
    let answers = vec![(204, json!({ "description": "Done; the answer has no body." }))];
    Operation { answers, ..Operation::default() }
}

/// 200, with server-sent events.
pub(crate) fn events() -> Operation {
    let description = "Events `log`, each with a number as its `id` and a LogChunk as its `data`, and `end` when the job has \
                       ended. Where connections aren't held open, what there is; `retry` says when to come again.";
    answer(200, description, json!({ "text/event-stream": { "schema": { "type": "string" } } }))
}

/// 200, with the server-sent events of a run.
pub(crate) fn run_events() -> Operation {
    let description = "Events `snapshot` with all jobs of the run, then `jobs` with those that changed, `rerun` if the workflow was \
                       started again, and `end` when the run is final. A job is written as in the graph's order: index, \
                       status, attempt, and when it became ready, began and ended, and its worker. A job may come again \
                       unchanged. Where connections aren't held open, what there is; `retry` says when to come again.";
    answer(200, description, json!({ "text/event-stream": { "schema": { "type": "string" } } }))
}

/// 200, with a graph and its `ETag`.
pub(crate) fn graph(schemas: &mut Schemas) -> Operation {
    let tag = json!({ "ETag": { "description": "Changes with the run.", "schema": { "type": "string" } } });
    let unchanged = (304, json!({ "description": "`If-None-Match` names the run's graph." }));
    let mut operation = json_body::<Graph>(schemas).also("headers", tag);
    operation.answers.push(unchanged);
    operation
}

/// 200, with workflows without their jobs, or with them.
pub(crate) fn workflow_list(schemas: &mut Schemas) -> Operation {
    let mut operation = page_of::<Workflow>(schemas);
    let (whole, short) = (schemas.answer::<Vec<Workflow>>(), schemas.answer::<Vec<Summary>>());
    operation.answers[0].1["content"]["application/json"]["schema"] = json!({ "anyOf": [whole, short] });
    operation
}

/// The media types of the page's files.
pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(crate) const STYLE: &str = "text/css; charset=utf-8";
pub(crate) const IMAGE: &str = "image/svg+xml";

/// 200, with text of this media type.
pub(crate) fn text_of(kind: &str) -> Operation {
    answer(200, "Success.", json!({ kind: { "schema": { "type": "string" } } }))
}

/// 200, with a definition in the format in which it was submitted.
pub(crate) fn definition() -> Operation {
    let object = json!({ "schema": { "type": "object" } });
    let content = json!({ "application/yaml": object, "application/json": object });
    answer(200, "The definition as submitted.", content)
}

/// A workflow and its path.
pub(crate) fn workflow_made(status: u16, description: &str, schemas: &mut Schemas) -> Operation {
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
    let workflow = json_of(schemas.answer::<Workflow>());
    answer(status, description, workflow).also("headers", location).also("links", links)
}

/// A job and the lease on it, or null.
pub(crate) fn claimed(schemas: &mut Schemas) -> Operation {
    let lease = [("lease_id", "/lease/lease_id")];
    let job = [("workflow_id", "/lease/workflow_id"), ("job_id", "/lease/job_id")];
    let links = links(&[
        ("heartbeat", &lease),
        ("complete", &lease),
        ("fail", &lease),
        ("appendLogs", &lease),
        ("isCancelled", &job),
    ]);
    json_body::<Option<Claimed>>(schemas).also("links", links)
}

/// 200, with an object whose fields aren't described.
pub(crate) fn any_object(_: &mut Schemas) -> Operation {
    answer(200, "Success.", json_of(json!({ "type": "object" })))
}

/// 200, with the API's status and version.
pub(crate) fn health(_: &mut Schemas) -> Operation {
    let text = json!({ "type": "string" });
    let properties = json!({ "status": text, "version": text });
    let required = json!(["status", "version"]);
    answer(200, "Success.", json_of(json!({ "type": "object", "required": required, "properties": properties })))
}

impl Operation {
    /// Adds a part to the description of the answer.
    fn also(mut self, part: &str, value: Value) -> Self {
        self.answers[0].1[part] = value;
        self
    }
}

/// An operation, and which of its parameters are where in the answer's body.
type Link<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// Operations that may follow, with values from the answer.
fn links(to: &[Link<'_>]) -> Value {
    let link = |(operation, parameters): &Link<'_>| {
        let parameters: Map<String, Value> =
            parameters.iter().map(|(name, at)| ((*name).to_owned(), format!("$response.body#{at}").into())).collect();
        ((*operation).to_owned(), json!({ "operationId": operation, "parameters": parameters }))
    };
    Value::Object(to.iter().map(link).collect())
}
