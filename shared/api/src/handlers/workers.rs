//! Handlers for workers and pools.

use engine::Engine;
use engine::ports::Ports;
use http::StatusCode;

use crate::request::Input;
use crate::response::{Answer, empty, json_answer};

pub(crate) async fn list<P: Ports>(engine: &Engine<P>, _: &Input<'_>) -> Answer {
    json_answer(StatusCode::OK, &engine.workers().list().await?)
}

pub(crate) async fn pools<P: Ports>(engine: &Engine<P>, _: &Input<'_>) -> Answer {
    json_answer(StatusCode::OK, &engine.workers().pools().await?)
}

pub(crate) async fn register<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    json_answer(StatusCode::OK, &engine.workers().register(input.json()?).await?)
}

pub(crate) async fn heartbeat<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    json_answer(StatusCode::OK, &engine.workers().heartbeat(&input.param("id")?).await?)
}

pub(crate) async fn unregister<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    engine.workers().unregister(&input.param("id")?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
