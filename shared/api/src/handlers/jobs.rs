//! Handlers for jobs: claims and reports of workers, logs and outputs.

use engine::Engine;
use engine::ports::Ports;
use http::StatusCode;
use protocol::requests::{Complete, Logs};
use protocol::wire::Reported;
use serde_json::json;

use crate::request::Input;
use crate::response::{Answer, checked, encode, json_answer, link_next};
use crate::stream::LogEvents;

pub(crate) async fn claim<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    json_answer(StatusCode::OK, &engine.claims().claim(input.json()?).await?)
}

pub(crate) async fn heartbeat<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    json_answer(StatusCode::OK, &engine.reports().heartbeat(lease(input)).await?)
}

pub(crate) async fn complete<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let report: Complete = input.json_or_default()?;
    let next = engine.reports().complete(lease(input), report.outputs, report.next).await?;
    json_answer(StatusCode::OK, &Reported { next })
}

pub(crate) async fn fail<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    engine.reports().fail(lease(input), input.json()?).await?;
    json_answer(StatusCode::OK, &Reported::default())
}

pub(crate) async fn append_logs<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let logs: Logs = input.json()?;
    engine.reports().append_logs(lease(input), logs.chunks).await?;
    json_answer(StatusCode::OK, &json!({}))
}

/// The lease id as given. A text that isn't a lease id is refused like a lost lease.
fn lease<'a>(input: &'a Input<'_>) -> &'a str {
    input.params.get("lease_id").map_or("", String::as_str)
}

pub(crate) async fn is_cancelled<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let cancelled = engine.queries().is_cancelled(&input.param("workflow_id")?, &input.param("job_id")?).await?;
    json_answer(StatusCode::OK, &cancelled)
}

pub(crate) async fn log_stream<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    LogEvents::open(engine, input).await
}

pub(crate) async fn outputs<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let (workflow, job) = input.job()?;
    let outputs = engine.queries().outputs(&workflow, &job, input.query("attempt")?).await?;
    checked(json_answer(StatusCode::OK, &outputs)?)
}

pub(crate) async fn logs<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let (workflow, job) = input.job()?;
    let attempt: Option<u32> = input.query("attempt")?;
    let page = engine.queries().logs(&workflow, &job, input.query("after")?, attempt).await?;
    let response = json_answer(StatusCode::OK, &page.chunks)?;
    let Some(last) = page.chunks.last().filter(|_| page.more) else { return Ok(response) };
    let path = format!("/api/workflows/{}/jobs/{}/logs", encode(workflow.as_str()), encode(job.as_str()));
    Ok(link_next(response, &format!("{path}?after={}&attempt={}", last.sequence, page.attempt)))
}
