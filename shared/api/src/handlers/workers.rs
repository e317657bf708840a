//! Handlers for workers and pools.

use engine::Engine;
use engine::ports::Ports;
use http::StatusCode;
use protocol::SecretName;

use crate::request::Input;
use crate::response::{Answer, empty, json_answer, json_page};

pub(crate) async fn list<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    json_page(input, engine.workers().list().await?, |worker| worker.worker_id.to_string())
}

pub(crate) async fn pools<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    // No label and no secret has a comma in it.
    json_page(input, engine.workers().pools().await?, |pool| {
        let secrets: Vec<&str> = pool.secrets.iter().map(SecretName::as_str).collect();
        format!("{},,{}", pool.labels, secrets.join(","))
    })
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
