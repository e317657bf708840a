//! Jobs: what workers report of them, and what people read.

use engine::Engine;
use engine::ports::Ports;
use http::StatusCode;
use protocol::requests::{Complete, Logs};
use protocol::wire::Reported;
use protocol::{JobId, WorkflowId};
use serde_json::json;

use super::{Answer, encode, json_answer, link_next};
use crate::error::ApiError;
use crate::read::Input;

pub(super) async fn heartbeat<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    json_answer(StatusCode::OK, &engine.reports().heartbeat(lease(input)).await?)
}

pub(super) async fn complete<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let said: Complete = input.json_or_default()?;
    let next = engine.reports().complete(lease(input), said.outputs, said.next).await?;
    json_answer(StatusCode::OK, &Reported { next })
}

pub(super) async fn fail<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    engine.reports().fail(lease(input), input.json()?).await?;
    json_answer(StatusCode::OK, &Reported::default())
}

pub(super) async fn append_logs<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let logs: Logs = input.json()?;
    engine.reports().append_logs(lease(input), logs.chunks).await?;
    json_answer(StatusCode::OK, &json!({}))
}

/// The lease's id, as given: what isn't one is refused like one that was lost.
fn lease(input: &Input) -> &str {
    input.params.get("lease_id").map_or("", String::as_str)
}

pub(super) async fn is_cancelled<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let cancelled = engine.queries().is_cancelled(&input.param("workflow_id")?, &input.param("job_id")?).await?;
    json_answer(StatusCode::OK, &cancelled)
}

pub(super) async fn outputs<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let (workflow, job) = job_of(input)?;
    json_answer(StatusCode::OK, &engine.queries().outputs(&workflow, &job, input.query("attempt")?).await?)
}

pub(super) async fn logs<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let (workflow, job) = job_of(input)?;
    let attempt: Option<u32> = input.query("attempt")?;
    let page = engine.queries().logs(&workflow, &job, input.query("after")?, attempt).await?;
    let response = json_answer(StatusCode::OK, &page.chunks)?;
    let Some(last) = page.chunks.last().filter(|_| page.more) else { return Ok(response) };
    let path = format!("/api/workflows/{}/jobs/{}/logs", encode(workflow.as_str()), encode(job.as_str()));
    Ok(link_next(response, &format!("{path}?after={}&attempt={}", last.sequence, page.attempt)))
}

pub(crate) fn job_of(input: &Input) -> Result<(WorkflowId, JobId), ApiError> {
    Ok((input.param("id")?, input.param("job_id")?))
}
