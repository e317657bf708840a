//! Routes for jobs: claims and reports of workers, logs and outputs.

use engine::Engine;
use engine::ports::Ports;
use http::StatusCode;
use protocol::Outputs;
use protocol::access::Scope;
use protocol::requests::{Claim, Complete, Fail, Logs};
use protocol::wire::{Appended, Heartbeat, LogChunk, Reported};

use crate::operation::{answers, bodies, parameters};
use crate::part::Part;
use crate::request::Input;
use crate::response::{Answer, checked, encode, json_answer, link_next};
use crate::route::{Effect, Rate};
use crate::row::{Row, ask, read, report, row};
use crate::stream::LogEvents;

/// The routes that this file answers.
pub(crate) fn rows<P: Ports, F: Part>() -> Vec<Row<P>> {
    vec![
        row!(
            F,
            read("logs", "/api/workflows/{id}/jobs/{job_id}/logs", "Shows a job's log.", |s| {
                answers::page_of::<LogChunk>(s).with([parameters::after(s), parameters::attempt(s)]).refused(&[404])
            }),
            logs
        ),
        row!(
            F,
            read("logStream", "/api/workflows/{id}/jobs/{job_id}/logs/stream", "Follows a job's log.", |s| {
                answers::events()
                    .with([parameters::attempt(s), parameters::once(), parameters::last_event_id()])
                    .refused(&[404])
            }),
            log_stream
        ),
        row!(
            F,
            read("outputs", "/api/workflows/{id}/jobs/{job_id}/outputs", "Shows a job's outputs.", |s| {
                answers::json_body::<Outputs>(s).with([parameters::attempt(s)]).refused(&[404])
            }),
            outputs
        ),
        row!(
            F,
            read(
                "isCancelled",
                "/api/jobs/{workflow_id}/{job_id}/cancelled",
                "Tells whether a job was cancelled.",
                |s| answers::json_body::<bool>(s).refused(&[404])
            )
            .scopes(&[Scope::Read, Scope::Work]),
            is_cancelled
        ),
        row!(
            F,
            ask("claim", "/api/jobs/claim", "Leases a job to the worker, if one is ready.", |s| {
                answers::claimed(s).taking(bodies::required(s.request::<Claim>()))
            })
            .effect(Effect::Claims)
            .rate(Rate::Claim),
            claim
        ),
        row!(
            F,
            report("heartbeat", "/api/jobs/{lease_id}/heartbeat", "Renews a lease and tells of a cancellation.", |s| {
                answers::json_body::<Heartbeat>(s).refused(&[409])
            }),
            heartbeat
        ),
        row!(
            F,
            report("complete", "/api/jobs/{lease_id}/complete", "Reports that a job succeeded.", |s| {
                answers::json_body::<Reported>(s).taking(bodies::optional(s.request::<Complete>())).refused(&[409])
            })
            .effect(Effect::MayReadyJobs),
            complete
        ),
        row!(
            F,
            report("fail", "/api/jobs/{lease_id}/fail", "Reports that a job failed.", |s| {
                answers::json_body::<Reported>(s).taking(bodies::required(s.request::<Fail>())).refused(&[409])
            })
            .effect(Effect::MayReadyJobs),
            fail
        ),
        row!(
            F,
            report("appendLogs", "/api/jobs/{lease_id}/logs", "Appends to a job's log.", |s| {
                answers::json_body::<Appended>(s).taking(bodies::required(s.request::<Logs>())).refused(&[409])
            })
            .effect(Effect::Changes)
            .rate(Rate::Log),
            append_logs
        ),
    ]
}

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
    json_answer(StatusCode::OK, &engine.reports().append_logs(lease(input), logs.chunks).await?)
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
