//! What each action does: read the request, call the use case, shape the answer.

pub(crate) mod access;
pub(crate) mod jobs;
pub(crate) mod workflows;

use std::fmt::Write;

use bytes::Bytes;
use engine::Engine;
use engine::ports::Ports;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::json;

use crate::error::ApiError;
use crate::openapi;
use crate::read::Input;
use crate::routes::Action;
use crate::service::Body;
use crate::stream::LogEvents;

pub(crate) type Answer = Result<Response<Body>, ApiError>;

pub(crate) async fn handle<P: Ports>(engine: &Engine<P>, action: Action, input: &Input) -> Answer {
    match action {
        Action::Submit => workflows::submit(engine, input).await,
        Action::List => workflows::list(engine, input).await,
        Action::Workflow => workflows::one(engine, input).await,
        Action::Definition => workflows::definition(engine, input).await,
        Action::Run => workflows::run(engine, input).await,
        Action::Cancel => workflows::cancel(engine, input).await,
        Action::Delete => workflows::delete(engine, input).await,
        Action::Logs => jobs::logs(engine, input).await,
        Action::LogStream => Ok(LogEvents::open(engine, input).await?.0),
        Action::Outputs => jobs::outputs(engine, input).await,
        Action::IsCancelled => jobs::is_cancelled(engine, input).await,
        Action::Workers => json_answer(StatusCode::OK, &engine.workers().list().await?),
        Action::Pools => json_answer(StatusCode::OK, &engine.workers().pools().await?),
        Action::Register => json_answer(StatusCode::OK, &engine.workers().register(input.json()?).await?),
        Action::WorkerHeartbeat => json_answer(StatusCode::OK, &engine.workers().heartbeat(&input.param("id")?).await?),
        Action::Unregister => {
            engine.workers().unregister(&input.param("id")?).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        Action::Claim => json_answer(StatusCode::OK, &engine.claims().claim(input.json()?).await?),
        Action::Heartbeat => jobs::heartbeat(engine, input).await,
        Action::Complete => jobs::complete(engine, input).await,
        Action::Fail => jobs::fail(engine, input).await,
        Action::AppendLogs => jobs::append_logs(engine, input).await,
        Action::ListTokens => access::tokens(engine).await,
        Action::CreateToken => access::create(engine, input).await,
        Action::RevokeToken => access::revoke(engine, input).await,
        Action::Audit => access::audit(engine, input).await,
        Action::Health => json_answer(StatusCode::OK, &json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })),
        Action::OpenApi => json_answer(StatusCode::OK, openapi::description()),
    }
}

pub(crate) fn json_answer(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer can't be written as JSON");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer could not be written")
    })?;
    Ok(typed(status, "application/json", Bytes::from(body)))
}

pub(crate) fn typed(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// Says where the list goes on, for clients that follow `Link`.
pub(crate) fn link_next(mut response: Response<Body>, path_and_query: &str) -> Response<Body> {
    if let Ok(link) = HeaderValue::try_from(format!("<{path_and_query}>; rel=\"next\"")) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// Percent-encodes a path segment or a query's value.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
