//! The handler of the health check.

use engine::Engine;
use engine::ports::Ports;
use http::StatusCode;
use serde_json::json;

use crate::request::Input;
use crate::response::{Answer, json_answer};

pub(crate) async fn health<P: Ports>(engine: &Engine<P>, _: &Input<'_>) -> Answer {
    engine.queries().check_writable().await?;
    json_answer(StatusCode::OK, &json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}
