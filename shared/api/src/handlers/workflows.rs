//! Routes for workflows: submit, list, show, run, cancel, delete.

use std::borrow::Cow;

use engine::Engine;
use engine::ids::ReportHash;
use engine::ports::{ListCursor, Ports, Source};
use engine::submit::Submission;
use http::{HeaderValue, Method, StatusCode, header};
use protocol::access::AuditAction;
use protocol::requests::{GivenInputs, Run, SubmitWithInputs};
use protocol::text::without_mark;
use protocol::wire::{Job, Workflow};
use protocol::{LabelSet, Status, WorkflowId, limits};
use serde::Serialize;
use serde_json::{Value, json};
use workflow::{Definition, Problem};

use crate::audit;
use crate::error::ApiError;
use crate::handlers::runs;
use crate::operation::{answers, bodies, parameters};
use crate::part::Part;
use crate::request::{Format, Input};
use crate::response::{Answer, checked, empty, encode, fits, json_answer, link_next, typed};
use crate::row::{Row, change, read, row};

/// The routes that this file answers.
pub(crate) fn rows<P: Ports, F: Part>() -> Vec<Row<P>> {
    const ALL: &str = "/api/workflows";
    const ONE: &str = "/api/workflows/{id}";
    const SHOWS: &str = "Shows a workflow and its jobs.";
    vec![
        row!(
            F,
            change(AuditAction::Submit, "submit", Method::POST, ALL, "Submits a workflow.", |s| {
                answers::workflow_made(201, "The workflow was created.", s)
                    .or(answers::workflow_made(200, "A request with the same key created it before.", s))
                    .with([parameters::run(), parameters::idempotency_key()])
                    .taking(bodies::definition(s))
                    .refused(&[404, 409])
            }),
            submit
        ),
        row!(
            F,
            read("list", ALL, "Lists workflows, newest first.", |s| {
                let more = [parameters::offset(), parameters::status(s), parameters::view(), parameters::text()];
                answers::workflow_list(s).with([&parameters::page()[..], &more].concat())
            }),
            list
        ),
        row!(F, read("workflow", ONE, SHOWS, |s| answers::json_body::<Workflow>(s).refused(&[404])), one),
        row!(
            F,
            read("workflowStatus", "/api/workflows/{id}/status", SHOWS, |s| answers::json_body::<Workflow>(s)
                .refused(&[404])),
            one
        ),
        row!(
            F,
            read(
                "definition",
                "/api/workflows/{id}/definition",
                "Shows a workflow's definition, as submitted.",
                |_| { answers::definition().refused(&[404]) }
            ),
            definition
        ),
        row!(
            F,
            change(
                AuditAction::Run,
                "run",
                Method::POST,
                "/api/workflows/{id}/run",
                "Starts or restarts a workflow.",
                |s| answers::accepted(s).taking(bodies::optional(s.request::<Run>())).refused(&[404, 409])
            ),
            run
        ),
        row!(
            F,
            change(
                AuditAction::Cancel,
                "cancel",
                Method::POST,
                "/api/workflows/{id}/cancel",
                "Cancels the unfinished jobs of a workflow.",
                |s| answers::accepted(s).refused(&[404, 409])
            ),
            cancel
        ),
        row!(
            F,
            change(AuditAction::Delete, "delete", Method::DELETE, ONE, "Deletes a workflow that isn't running.", |s| {
                answers::no_content(s).refused(&[404, 409])
            }),
            delete
        ),
    ]
}

pub(crate) async fn submit<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let format = input.format(Format::Json)?;
    let text = input.text()?;
    let run = input.query::<bool>("run")?.unwrap_or(false);
    let key = idempotency_key(input)?;
    let (format, definition_text, inputs) = with_inputs(format, text)?;
    let is_within = matches!(definition_text, Cow::Owned(_));
    let source = Source { content_type: format.content_type().to_owned(), text: definition_text.into_owned() };
    let definition = parse(&source).map_err(|error| match error.status {
        // The body itself could be read.
        StatusCode::BAD_REQUEST if is_within => ApiError { status: StatusCode::UNPROCESSABLE_ENTITY, ..error },
        _ => error,
    })?;
    let key = key.map(|key: String| (key, ReportHash::of([text, if run { "run" } else { "" }])));
    let submission =
        Submission { definition, source, inputs, run, key, report: None, place_at: None, started_by: None };
    let submitted = engine.submissions().submit(submission).await?;
    // A repeat is recorded too: the first request may have stopped before it was recorded.
    audit::record_workflow(engine, input.route, &submitted.workflow).await;
    let (status, workflow) = match submitted.created {
        Some(created) => (StatusCode::CREATED, *created),
        None => (StatusCode::OK, engine.queries().workflow(&submitted.workflow).await?),
    };
    let mut response = workflow_answer(status, workflow)?;
    if let Ok(location) = HeaderValue::try_from(format!("/api/workflows/{}", encode(submitted.workflow.as_str()))) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The definition of a body, and the values given for its inputs: `{"definition": ..., "inputs": {...}}`. Any other body is the
/// definition itself.
fn with_inputs(format: Format, text: &str) -> Result<(Format, Cow<'_, str>, GivenInputs), ApiError> {
    let none = || (format, Cow::Borrowed(text), GivenInputs::new());
    if format != Format::Json || !text.contains("\"definition\"") {
        return Ok(none());
    }
    // A definition that can't be read gets its message from the parser.
    let Ok(Value::Object(fields)) = serde_json::from_str(without_mark(text)) else { return Ok(none()) };
    if !fields.contains_key("definition") || fields.contains_key("jobs") {
        return Ok(none());
    }
    let body: SubmitWithInputs = serde_json::from_value(fields.into())
        .map_err(|error| ApiError::bad_request("invalid_body", format!("the body isn't right: {error}")))?;
    match body.definition {
        Value::String(text) => Ok((Format::Yaml, Cow::Owned(text), body.inputs)),
        definition @ Value::Object(_) => Ok((Format::Json, Cow::Owned(definition.to_string()), body.inputs)),
        _ => {
            let message = "`definition` must be the text of a workflow file, or the same as an object";
            Err(ApiError::bad_request("invalid_body", message))
        }
    }
}

fn idempotency_key(input: &Input<'_>) -> Result<Option<String>, ApiError> {
    let Some(key) = input.header("Idempotency-Key")? else { return Ok(None) };
    if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY {
        let message =
            format!("the Idempotency-Key is {} bytes; it must have 1 to {}", key.len(), limits::IDEMPOTENCY_KEY);
        return Err(ApiError::bad_request("invalid_header", message));
    }
    Ok(Some(key.to_owned()))
}

/// A text that isn't YAML or JSON at all can't be read (400); one with problems isn't valid (422).
fn parse(source: &Source) -> Result<Definition, ApiError> {
    source.read().map_err(|problems| {
        let unreadable = problems.iter().any(|problem: &Problem| problem.code == "syntax");
        let error = ApiError::from(engine::EngineError::Definition(problems));
        if unreadable { ApiError { status: StatusCode::BAD_REQUEST, ..error } } else { error }
    })
}

pub(crate) async fn one<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    workflow_answer(StatusCode::OK, engine.queries().workflow(&input.param("id")?).await?)
}

/// The definition as submitted, with its content type.
pub(crate) async fn definition<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let source = engine.queries().definition(&input.param("id")?).await?;
    Ok(typed(StatusCode::OK, Format::of(&source.content_type).content_type(), source.text.into()))
}

/// Steps that shorten an answer that is too large, applied in this order until it fits.
const LESS: [fn(&mut Job); 11] = [
    |job| {
        job.outputs_truncated |= !job.outputs.is_empty();
        job.outputs.clear();
    },
    |job| job.command.clear(),
    |job| job.attempts.clear(),
    // The error's text once more.
    |job| job.output = None,
    |job| {
        if let Some(error) = &mut job.error {
            error.truncate(error.floor_char_boundary(SHORT_ERROR));
        }
    },
    |job| {
        for kept in [&mut job.metadata, &mut job.ports, &mut job.children, &mut job.collapsed] {
            *kept = Value::Null;
        }
    },
    |job| job.waiting_for = None,
    |job| job.depends_on.clear(),
    |job| job.error = None,
    |job| {
        job.name.clear();
        job.required_labels = LabelSet::default();
        job.secrets.clear();
    },
    |job| job.worker_id = None,
];
const SHORT_ERROR: usize = 100;

/// One workflow, or several, with as much of their jobs as fits an answer.
fn fitting<T: Serialize>(status: StatusCode, mut value: T, jobs: fn(&mut T, fn(&mut Job))) -> Answer {
    let mut response = json_answer(status, &value)?;
    for less in LESS {
        if fits(response.body()) {
            break;
        }
        jobs(&mut value, less);
        response = json_answer(status, &value)?;
    }
    if !fits(response.body()) {
        let mut value = serde_json::to_value(&value).unwrap_or_default();
        remove_nulls(&mut value);
        response = json_answer(status, &value)?;
    }
    checked(response)
}

/// Removes fields without a value. Ten thousand jobs with the longest ids leave no room for them.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

fn shorten(workflow: &mut Workflow, less: fn(&mut Job)) {
    workflow.truncated = true;
    workflow.jobs.iter_mut().for_each(less);
}

fn workflow_answer(status: StatusCode, workflow: Workflow) -> Answer {
    fitting(status, workflow, shorten)
}

pub(crate) async fn list<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let limit = input.limit()?.unwrap_or(limits::PAGE);
    let skip = input.query::<usize>("offset")?.unwrap_or(0);
    if skip > limits::LIST {
        let message = format!(
            "query parameter `offset` is {skip}; at most {} are skipped: follow the Link header instead",
            limits::LIST
        );
        return Err(ApiError::bad_request("invalid_query", message));
    }
    match input.query::<String>("view")?.as_deref() {
        None => {}
        Some("summary") => return runs::summaries(engine, input, limit, skip).await,
        Some(other) => {
            let message =
                format!("query parameter `view` is {other:?}; `summary` is the only view, and none gives all jobs");
            return Err(ApiError::bad_request("invalid_query", message));
        }
    }
    let status = input.query::<Status>("status")?;
    let after = input.cursor(|created_at, id| Some(ListCursor { created_at, id: WorkflowId::new(id).ok()? }))?;
    let page = engine.queries().workflows(after, limit, skip, status).await?;
    let response = fitting(StatusCode::OK, page.workflows, |workflows, less| {
        for workflow in workflows {
            shorten(workflow, less);
        }
    })?;
    let Some(next) = page.next else { return Ok(response) };
    let cursor = encode(&format!("{}.{}", next.created_at, next.id));
    let status = status.map_or_else(String::new, |status| format!("&status={status}"));
    let offset = if page.skip > 0 { format!("&offset={}", page.skip) } else { String::new() };
    Ok(link_next(response, &format!("/api/workflows?limit={limit}&cursor={cursor}{status}{offset}")))
}

pub(crate) async fn run<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let id: WorkflowId = input.param("id")?;
    let run: Run = input.json_or_default()?;
    engine.runs().start(&id, run.only, run.inputs).await?;
    audit::record_workflow(engine, input.route, &id).await;
    accepted(&id)
}

pub(crate) async fn cancel<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let id: WorkflowId = input.param("id")?;
    engine.runs().cancel(&id).await?;
    audit::record_workflow(engine, input.route, &id).await;
    accepted(&id)
}

fn accepted(id: &WorkflowId) -> Answer {
    json_answer(StatusCode::ACCEPTED, &json!({ "id": id }))
}

pub(crate) async fn delete<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let id: WorkflowId = input.param("id")?;
    engine.runs().delete(&id).await?;
    audit::record_workflow(engine, input.route, &id).await;
    Ok(empty(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many jobs as a workflow may have, each with all that a status says of a failed one.
    fn all_failed() -> Workflow {
        let name = |n: usize| format!("{n:0>width$}", width = limits::ID);
        let kept = json!({ "kept": "k".repeat(50) });
        let job = |n: usize| {
            json!({
                "id": name(n), "name": "name".repeat(20), "status": "cancelled", "command": "x\n".repeat(30),
                "depends_on": [name(n / 2)], "required_labels": ["gpu"], "max_retries": 100, "attempt": 100,
                "secrets": (0..limits::SECRETS_PER_JOB).map(|n| format!("S{n}")).collect::<Vec<_>>(),
                "attempts": [{ "attempt": 0, "cause": "failure", "error": "\"no\"".repeat(10), "finished_at_ms": 1 }],
                "error": "\"no\"".repeat(40), "output": "\"no\"".repeat(40), "outputs": { "a": "b" },
                "metadata": kept, "ports": kept, "children": kept, "collapsed": kept, "worker_id": name(n),
                "duration_secs": 1_209_600, "started_at": u64::MAX, "finished_at_ms": u64::MAX, "exit_code": i32::MIN,
            })
        };
        serde_json::from_value(json!({
            "id": "wf-1", "name": "wide", "trigger": "manual", "status": "failure", "run": 1, "created_at_ms": 1,
            "jobs": (0..limits::JOBS).map(job).collect::<Vec<_>>(),
        }))
        .expect("a workflow")
    }

    #[test]
    fn status_of_ten_thousand_failed_jobs_fits_an_answer() {
        let answer = workflow_answer(StatusCode::OK, all_failed()).unwrap_or_else(|error| panic!("{error:?}"));
        assert!(fits(answer.body()), "{} bytes", answer.body().len());
        let shown: Value = serde_json::from_slice(answer.body()).expect("JSON");
        let jobs = shown["jobs"].as_array().expect("jobs");
        assert_eq!(jobs.len(), limits::JOBS);
        assert!(jobs.iter().all(|job| job["status"] == "cancelled" && job["attempt"] == 100 && job["id"].is_string()));
        let shown: Workflow = serde_json::from_value(shown).expect("a client can read it");
        assert!(shown.truncated);
    }
}
