//! The handler of the health check.

use engine::Engine;
use engine::ports::Ports;
use http::StatusCode;
use serde_json::json;

use crate::request::Input;
use crate::response::{Answer, json_answer};

#[allow(clippy::unused_async, reason = "the table's handlers are asynchronous")]
pub(crate) async fn health<P: Ports>(_: &Engine<P>, _: &Input<'_>) -> Answer {
    json_answer(StatusCode::OK, &json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}
