//! The route table: the rows of all handlers. Authorization, the audit record, the `OpenAPI` document and the gateways' routes are
//! derived from it.

use std::sync::OnceLock;

use engine::Engine;
use engine::ports::Ports;
use http::StatusCode;
use serde_json::Value;

use crate::handlers::{access, forges, jobs, page, runs, status, workers, workflows};
use crate::openapi;
use crate::operation::answers::{any_object, health};
use crate::part::{Described, Part};
use crate::request::Input;
use crate::response::{Answer, json_answer};
use crate::route::Route;
use crate::row::{Row, read, row};

/// Every route with its description.
#[must_use]
pub fn routes<P: Ports>() -> Vec<Route> {
    rows::<P, Described>().into_iter().map(|row| row.route).collect()
}

/// The rows of all routes, as a program has them that answers these.
pub(crate) fn rows<P: Ports, F: Part>() -> Vec<Row<P>> {
    [
        workflows::rows::<P, F>(),
        runs::rows::<P, F>(),
        jobs::rows::<P, F>(),
        workers::rows::<P, F>(),
        access::rows::<P, F>(),
        forges::rows::<P, F>(),
        status_rows::<P, F>(),
        page::rows::<P, F>(),
    ]
    .concat()
}

fn status_rows<P: Ports, F: Part>() -> Vec<Row<P>> {
    vec![
        row!(F, read("health", "/api/health", "Tells that the API answers.", health).scopes(&[]), status::health),
        row!(
            F,
            read("schema", "/api/schema.json", "Returns the JSON Schema of a workflow file.", any_object).scopes(&[]),
            schema_document
        ),
        row!(
            F,
            read("openApi", "/api/openapi.json", "Returns this document.", any_object).scopes(&[]),
            openapi_document
        ),
    ]
}

async fn schema_document<P: Ports>(_: &Engine<P>, _: &Input<'_>) -> Answer {
    json_answer(StatusCode::OK, &workflow::json_schema())
}

async fn openapi_document<P: Ports>(_: &Engine<P>, _: &Input<'_>) -> Answer {
    // The routes are the same for every `P`.
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    json_answer(StatusCode::OK, DOCUMENT.get_or_init(|| openapi::document(&routes::<P>())))
}
