//! Routes for programs that show runs: who the caller is, summaries, a run's graph, its events, one job.

use engine::Engine;
use engine::ports::{ListCursor, Ports};
use engine::view::summary::Filter;
use http::{HeaderValue, StatusCode, header};
use protocol::WorkflowId;
use protocol::access::Scope;
use protocol::page::{Auth, Graph, Me};
use protocol::wire::Job;

use crate::operation::{answers, parameters};
use crate::part::Part;
use crate::request::Input;
use crate::response::{Answer, checked, empty, encode, fits, json_answer, link_next};
use crate::row::{Row, read, row};
use crate::stream::Events;

/// Names in a list that is too large for an answer are cut to this many bytes.
const SHORT_NAME: usize = 100;

/// The routes that this file answers.
pub(crate) fn rows<P: Ports, F: Part>() -> Vec<Row<P>> {
    const ANY: &[Scope] = &[Scope::Read, Scope::Submit, Scope::Work, Scope::Admin, Scope::Approve];
    vec![
        row!(F, read("me", "/api/me", "Shows what the caller may do.", answers::json_body::<Me>).scopes(ANY), me),
        row!(
            F,
            read("graph", "/api/workflows/{id}/graph", "Shows the jobs of a run and what each needs.", |s| {
                answers::graph(s).with([parameters::if_none_match()]).refused(&[404])
            }),
            graph
        ),
        row!(
            F,
            read("events", "/api/workflows/{id}/events", "Follows the jobs of a run.", |_| {
                answers::run_events().with([parameters::once(), parameters::last_run_event_id()]).refused(&[404])
            }),
            events
        ),
        row!(
            F,
            read("job", "/api/workflows/{id}/jobs/{job_id}", "Shows a job.", |s| {
                answers::json_body::<Job>(s).refused(&[404])
            }),
            job
        ),
    ]
}

pub(crate) async fn me<P: Ports>(engine: &Engine<P>, _: &Input<'_>) -> Answer {
    let caller = engine.caller();
    let permissions = caller.permissions.clone();
    json_answer(
        StatusCode::OK,
        &Me {
            auth: if caller.name.is_some() { Auth::Token } else { Auth::None },
            name: caller.name.clone(),
            scopes: permissions.scopes,
            labels: permissions.labels,
            secrets: permissions.secrets,
            expires_at_ms: caller.expires_at,
        },
    )
}

/// `GET /api/workflows?view=summary`.
pub(crate) async fn summaries<P: Ports>(engine: &Engine<P>, input: &Input<'_>, limit: usize, skip: usize) -> Answer {
    let after = input.cursor(|created_at, id| Some(ListCursor { created_at, id: WorkflowId::new(id).ok()? }))?;
    let filter = Filter { text: input.query("q")?, status: input.query("status")? };
    let mut page = engine.queries().summaries(after, limit, skip, &filter).await?;
    let mut response = json_answer(StatusCode::OK, &page.workflows)?;
    if !fits(response.body()) {
        for workflow in &mut page.workflows {
            workflow.name.truncate(workflow.name.floor_char_boundary(SHORT_NAME));
        }
        response = checked(json_answer(StatusCode::OK, &page.workflows)?)?;
    }
    let Some(next) = page.next else { return Ok(response) };
    let mut query = format!("view=summary&limit={limit}");
    let skip = (page.skip > 0).then(|| page.skip.to_string());
    let status = filter.status.map(|status| status.to_string());
    for (name, value) in [("status", status), ("q", filter.text), ("offset", skip)] {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", encode(&value)));
        }
    }
    let cursor = encode(&format!("{}.{}", next.created_at, next.id));
    Ok(link_next(response, &format!("/api/workflows?{query}&cursor={cursor}")))
}

pub(crate) async fn graph<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let given = input.header("If-None-Match")?.unwrap_or_default();
    let known =
        |run: u32| given.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|known| known == tag(run));
    let id = input.param("id")?;
    let (run, graph) = engine.queries().graph(&id, known).await?;
    let mut response = match graph {
        Some(graph) => graph_answer(graph)?,
        None => empty(StatusCode::NOT_MODIFIED),
    };
    // A copy may be kept, and used after it was asked for with its tag.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag(run)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// The graph changes with the run, and another version may find other stacks.
fn tag(run: u32) -> String {
    format!("\"{run}-{}\"", env!("CARGO_PKG_VERSION"))
}

/// The graph; without the names of the jobs if it is too large with them.
fn graph_answer(mut graph: Graph) -> Answer {
    let whole = json_answer(StatusCode::OK, &graph)?;
    if fits(whole.body()) {
        return Ok(whole);
    }
    graph.jobs.iter_mut().for_each(|job| job.1 = None);
    checked(json_answer(StatusCode::OK, &graph)?)
}

pub(crate) async fn events<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    Events::of_run(engine, input).await
}

pub(crate) async fn job<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let (workflow, id) = input.job()?;
    let mut job = engine.queries().job(&workflow, &id).await?;
    let whole = json_answer(StatusCode::OK, &job)?;
    if fits(whole.body()) {
        return Ok(whole);
    }
    // A command has at most 1 MB, and the rest of what a job keeps as given another.
    job.outputs_truncated |= !job.outputs.is_empty();
    job.outputs.clear();
    job.command.clear();
    checked(json_answer(StatusCode::OK, &job)?)
}
