//! Workflows: submit, list, show, run, cancel, delete.

use engine::Engine;
use engine::definition::{self, Definition, Problem};
use engine::ids::ReportHash;
use engine::ports::{ListCursor, Ports};
use engine::submit::Submission;
use http::{HeaderValue, StatusCode, header};
use protocol::requests::Run;
use protocol::wire::Workflow;
use protocol::{Millis, Status, WorkflowId, limits};
use serde_json::json;

use super::{Answer, empty, encode, json_answer, link_next};
use crate::error::ApiError;
use crate::read::{Format, Input};

/// Workflows in a page, unless the client asks for another number.
const PAGE: usize = 100;

pub(super) async fn submit<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let format = input.format(Format::Json)?;
    let text = input.text()?;
    let run = input.query::<bool>("run")?.unwrap_or(false);
    let key = idempotency_key(input)?;
    let definition = parse(format, text)?;
    let hash = |key: String| (key, ReportHash::of([text, if run { "run" } else { "" }]));
    let submission = Submission {
        definition,
        default_name: "workflow".to_owned(),
        source: text.to_owned(),
        run,
        key: key.map(hash),
    };
    let submitted = engine.submit(submission).await?;
    let workflow = engine.workflow(&submitted.workflow).await?;
    let status = if submitted.repeat { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = workflow_answer(status, workflow)?;
    if let Ok(location) = HeaderValue::try_from(format!("/api/workflows/{}", encode(submitted.workflow.as_str()))) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn idempotency_key(input: &Input) -> Result<Option<String>, ApiError> {
    let Some(key) = input.header("Idempotency-Key")? else { return Ok(None) };
    if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY {
        let message =
            format!("the Idempotency-Key is {} bytes; it must have 1 to {}", key.len(), limits::IDEMPOTENCY_KEY);
        return Err(ApiError::bad_request("invalid_header", message));
    }
    Ok(Some(key.to_owned()))
}

/// A text that isn't YAML or JSON at all can't be read (400); one with problems isn't valid (422).
fn parse(format: Format, text: &str) -> Result<Definition, ApiError> {
    let parsed = match format {
        Format::Yaml => definition::from_yaml(text),
        Format::Json => definition::from_json(text),
    };
    parsed.map_err(|problems| {
        let unreadable = problems.iter().any(|problem: &Problem| problem.code == "syntax");
        let error = ApiError::from(engine::EngineError::Definition(problems));
        if unreadable { ApiError { status: StatusCode::BAD_REQUEST, ..error } } else { error }
    })
}

pub(super) async fn one<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    workflow_answer(StatusCode::OK, engine.workflow(&input.param("id")?).await?)
}

/// A workflow, less what would make the answer too large: outputs first, then commands.
fn workflow_answer(status: StatusCode, mut workflow: Workflow) -> Answer {
    let response = json_answer(status, &workflow)?;
    if response.body().len() <= limits::ANSWER {
        return Ok(response);
    }
    for job in &mut workflow.jobs {
        job.outputs_truncated |= !job.outputs.is_empty();
        job.outputs.clear();
    }
    let response = json_answer(status, &workflow)?;
    if response.body().len() <= limits::ANSWER {
        return Ok(response);
    }
    for job in &mut workflow.jobs {
        job.command.clear();
    }
    json_answer(status, &workflow)
}

pub(super) async fn list<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let limit = input.query::<usize>("limit")?.unwrap_or(PAGE);
    if !(1..=limits::LIST).contains(&limit) {
        let message = format!("query parameter `limit` is {limit}; it must be from 1 to {}", limits::LIST);
        return Err(ApiError::bad_request("invalid_query", message));
    }
    let skip = input.query::<usize>("offset")?.unwrap_or(0);
    if skip > limits::LIST {
        let message = format!(
            "query parameter `offset` is {skip}; at most {} are skipped: follow the Link header instead",
            limits::LIST
        );
        return Err(ApiError::bad_request("invalid_query", message));
    }
    let status = input.query::<Status>("status")?;
    let after = input.query::<String>("cursor")?.map(|text| parse_cursor(&text)).transpose()?;
    let page = engine.workflows(after, limit, skip, status).await?;
    let response = json_answer(StatusCode::OK, &page.workflows)?;
    let Some(next) = page.next else { return Ok(response) };
    let cursor = encode(&format!("{}.{}", next.created_at, next.id));
    let status = status.map_or_else(String::new, |status| format!("&status={status}"));
    Ok(link_next(response, &format!("/api/workflows?limit={limit}&cursor={cursor}{status}")))
}

fn parse_cursor(text: &str) -> Result<ListCursor, ApiError> {
    let parsed = text.split_once('.').and_then(|(created_at, id)| {
        let created_at = Millis(created_at.parse().ok()?);
        Some(ListCursor { created_at, id: WorkflowId::new(id).ok()? })
    });
    parsed.ok_or_else(|| {
        let message =
            "query parameter `cursor` isn't one that this server gave; start without it and follow the Link header";
        ApiError::bad_request("invalid_query", message)
    })
}

pub(super) async fn run<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let id: WorkflowId = input.param("id")?;
    let run: Run = input.json_or_default()?;
    engine.start(&id, run.only).await?;
    accepted(&id)
}

pub(super) async fn cancel<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let id: WorkflowId = input.param("id")?;
    engine.cancel(&id).await?;
    accepted(&id)
}

fn accepted(id: &WorkflowId) -> Answer {
    json_answer(StatusCode::ACCEPTED, &json!({ "id": id }))
}

pub(super) async fn delete<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    engine.delete(&input.param("id")?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
