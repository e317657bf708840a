//! The route table: each route once, with what it needs, what it causes, how it is described and which handler answers.
//! A new route is a row here and a handler.

use std::pin::Pin;
use std::sync::OnceLock;

use engine::Engine;
use engine::ports::Ports;
use http::{Method, StatusCode};
use protocol::Outputs;
use protocol::access::{AuditAction, AuditEntry, CreatedToken, NewToken, Scope, TokenInfo};
use protocol::requests::{Claim, Complete, Fail, Logs, Register, Run, WorkerHeartbeat};
use protocol::wire::{Heartbeat, LogChunk, PoolInfo, Registered, Reported, WorkerInfo, Workflow};
use serde_json::Value;

use crate::handlers::{access, jobs, status, workers, workflows};
use crate::openapi;
use crate::operation::answers::{
    accepted, any_object, claimed, definition, events, health, json_body, list_of, made, no_content, page_of,
    workflow_made,
};
use crate::operation::bodies::{self, optional, required};
use crate::operation::parameters;
use crate::request::Input;
use crate::response::{Answer, json_answer};
use crate::route::{Describe, Effect, Function, Route};

/// Answers the requests of one route.
pub(crate) type Handler<P> =
    for<'a> fn(&'a Engine<P>, &'a Input<'a>) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// A route and its handler.
pub(crate) struct Row<P> {
    pub route: Route,
    pub handler: Handler<P>,
}

impl<P> Clone for Row<P> {
    fn clone(&self) -> Self {
        Self { route: self.route.clone(), handler: self.handler }
    }
}

/// Every route, for tests and generators.
#[must_use]
pub fn routes<P: Ports>() -> Vec<Route> {
    rows::<P>().into_iter().map(|row| row.route).collect()
}

/// A row of the table: the route, then the handler.
macro_rules! row {
    ($route:expr, $handler:path) => {
        Row { route: $route, handler: |engine, input| Box::pin($handler(engine, input)) }
    };
}

pub(crate) fn rows<P: Ports>() -> Vec<Row<P>> {
    [workflow_rows(), job_rows(), worker_rows(), report_rows(), access_rows(), status_rows()].concat()
}

/// A route that shows something to a caller with the scope `read`.
fn read(id: &'static str, path: &'static str, summary: &'static str, describe: Describe) -> Route {
    Route::new(id, Method::GET, path, Function::Query, &[Scope::Read], summary, describe)
}

/// A route on which a caller with the scope `submit` changes something, which is recorded.
fn change(
    action: AuditAction,
    id: &'static str,
    (method, path): (Method, &'static str),
    summary: &'static str,
    describe: Describe,
) -> Route {
    let route = Route::new(id, method, path, Function::Submit, &[Scope::Submit], summary, describe);
    Route { audit: Some(action), effect: Effect::Changes, ..route }
}

/// A route on which a worker registers or asks for jobs.
fn ask(id: &'static str, path: &'static str, summary: &'static str, describe: Describe) -> Route {
    Route::new(id, Method::POST, path, Function::Claim, &[Scope::Work], summary, describe)
}

/// A route on which a worker reports on the job that it runs.
fn report(id: &'static str, path: &'static str, summary: &'static str, describe: Describe) -> Route {
    Route::new(id, Method::POST, path, Function::Complete, &[Scope::Work], summary, describe)
}

fn workflow_rows<P: Ports>() -> Vec<Row<P>> {
    const ALL: &str = "/api/workflows";
    const ONE: &str = "/api/workflows/{id}";
    const SHOWS: &str = "Shows a workflow and its jobs.";
    vec![
        row!(
            change(AuditAction::Submit, "submit", (Method::POST, ALL), "Submits a workflow.", |s| {
                workflow_made(201, "The workflow was created.", s)
                    .or(workflow_made(200, "A request with the same key created it before.", s))
                    .with([parameters::run(), parameters::idempotency_key()])
                    .taking(bodies::definition(s))
                    .refused(&[404, 409])
            }),
            workflows::submit
        ),
        row!(
            read("list", ALL, "Lists workflows, newest first.", |s| {
                page_of::<Workflow>(s)
                    .with([&parameters::page()[..], &[parameters::offset(), parameters::status(s)]].concat())
            }),
            workflows::list
        ),
        row!(read("workflow", ONE, SHOWS, |s| json_body::<Workflow>(s).refused(&[404])), workflows::one),
        row!(
            read("workflowStatus", "/api/workflows/{id}/status", SHOWS, |s| json_body::<Workflow>(s).refused(&[404])),
            workflows::one
        ),
        row!(
            read(
                "definition",
                "/api/workflows/{id}/definition",
                "Shows a workflow's definition, as submitted.",
                |_| { definition().refused(&[404]) }
            ),
            workflows::definition
        ),
        row!(
            change(
                AuditAction::Run,
                "run",
                (Method::POST, "/api/workflows/{id}/run"),
                "Starts or restarts a workflow.",
                |s| accepted(s).taking(optional(s.request::<Run>())).refused(&[404, 409])
            ),
            workflows::run
        ),
        row!(
            change(
                AuditAction::Cancel,
                "cancel",
                (Method::POST, "/api/workflows/{id}/cancel"),
                "Cancels the unfinished jobs of a workflow.",
                |s| accepted(s).refused(&[404, 409])
            ),
            workflows::cancel
        ),
        row!(
            change(
                AuditAction::Delete,
                "delete",
                (Method::DELETE, ONE),
                "Deletes a workflow that isn't running.",
                |s| no_content(s).refused(&[404, 409])
            ),
            workflows::delete
        ),
    ]
}

fn job_rows<P: Ports>() -> Vec<Row<P>> {
    vec![
        row!(
            read("logs", "/api/workflows/{id}/jobs/{job_id}/logs", "Shows a job's log.", |s| {
                page_of::<LogChunk>(s).with([parameters::after(s), parameters::attempt(s)]).refused(&[404])
            }),
            jobs::logs
        ),
        row!(
            read("logStream", "/api/workflows/{id}/jobs/{job_id}/logs/stream", "Follows a job's log.", |s| {
                events().with([parameters::attempt(s), parameters::last_event_id()]).refused(&[404])
            }),
            jobs::log_stream
        ),
        row!(
            read("outputs", "/api/workflows/{id}/jobs/{job_id}/outputs", "Shows a job's outputs.", |s| {
                json_body::<Outputs>(s).with([parameters::attempt(s)]).refused(&[404])
            }),
            jobs::outputs
        ),
        row!(
            read(
                "isCancelled",
                "/api/jobs/{workflow_id}/{job_id}/cancelled",
                "Tells whether a job was cancelled.",
                |s| json_body::<bool>(s).refused(&[404])
            )
            .scopes(&[Scope::Read, Scope::Work]),
            jobs::is_cancelled
        ),
    ]
}

fn worker_rows<P: Ports>() -> Vec<Row<P>> {
    let leaves = Route::new(
        "unregister",
        Method::DELETE,
        "/api/workers/{id}",
        Function::Claim,
        &[Scope::Work],
        "Removes a worker.",
        no_content,
    );
    vec![
        row!(read("workers", "/api/workers", "Lists workers.", list_of::<WorkerInfo>), workers::list),
        row!(
            read("pools", "/api/pools", "Lists pools: waiting and running jobs by labels.", list_of::<PoolInfo>),
            workers::pools
        ),
        row!(
            ask("register", "/api/workers/register", "Registers a worker.", |s| {
                json_body::<Registered>(s).taking(required(s.request::<Register>()))
            }),
            workers::register
        ),
        row!(
            ask("workerHeartbeat", "/api/workers/{id}/heartbeat", "Reports that a registered worker is online.", |s| {
                json_body::<Registered>(s).taking(optional(s.request::<WorkerHeartbeat>())).refused(&[404])
            }),
            workers::heartbeat
        ),
        row!(leaves.effect(Effect::WorkerLeaves), workers::unregister),
        row!(
            ask("claim", "/api/jobs/claim", "Leases a job to the worker, if one is ready.", |s| {
                claimed(s).taking(required(s.request::<Claim>()))
            })
            .effect(Effect::Claims),
            jobs::claim
        ),
    ]
}

fn report_rows<P: Ports>() -> Vec<Row<P>> {
    vec![
        row!(
            report("heartbeat", "/api/jobs/{lease_id}/heartbeat", "Renews a lease and tells of a cancellation.", |s| {
                json_body::<Heartbeat>(s).refused(&[409])
            }),
            jobs::heartbeat
        ),
        row!(
            report("complete", "/api/jobs/{lease_id}/complete", "Reports that a job succeeded.", |s| {
                json_body::<Reported>(s).taking(optional(s.request::<Complete>())).refused(&[409])
            })
            .effect(Effect::MayReadyJobs),
            jobs::complete
        ),
        row!(
            report("fail", "/api/jobs/{lease_id}/fail", "Reports that a job failed.", |s| {
                json_body::<Reported>(s).taking(required(s.request::<Fail>())).refused(&[409])
            })
            .effect(Effect::MayReadyJobs),
            jobs::fail
        ),
        row!(
            report("appendLogs", "/api/jobs/{lease_id}/logs", "Appends to a job's log.", |s| {
                any_object(s).taking(required(s.request::<Logs>())).refused(&[409])
            })
            .effect(Effect::Changes),
            jobs::append_logs
        ),
    ]
}

fn access_rows<P: Ports>() -> Vec<Row<P>> {
    const ADMIN: &[Scope] = &[Scope::Admin];
    vec![
        row!(
            read("listTokens", "/api/tokens", "Lists tokens, without their texts.", list_of::<TokenInfo>).scopes(ADMIN),
            access::tokens
        ),
        row!(
            change(
                AuditAction::CreateToken,
                "createToken",
                (Method::POST, "/api/tokens"),
                "Creates a token and shows it once.",
                |s| made::<CreatedToken>(s).taking(required(s.request::<NewToken>())).refused(&[409])
            )
            .scopes(ADMIN),
            access::create
        ),
        row!(
            change(
                AuditAction::RevokeToken,
                "revokeToken",
                (Method::DELETE, "/api/tokens/{name}"),
                "Revokes a token.",
                |s| no_content(s).refused(&[404])
            )
            .scopes(ADMIN),
            access::revoke
        ),
        row!(
            read("audit", "/api/audit", "Lists audit entries, newest first.", |s| {
                page_of::<AuditEntry>(s).with(parameters::page())
            })
            .scopes(ADMIN),
            access::audit
        ),
    ]
}

fn status_rows<P: Ports>() -> Vec<Row<P>> {
    vec![
        row!(read("health", "/api/health", "Tells that the API answers.", health).scopes(&[]), status::health),
        row!(read("openApi", "/api/openapi.json", "Returns this document.", any_object).scopes(&[]), openapi_document),
    ]
}

async fn openapi_document<P: Ports>(_: &Engine<P>, _: &Input<'_>) -> Answer {
    // The routes are the same for every `P`.
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    json_answer(StatusCode::OK, DOCUMENT.get_or_init(|| openapi::document(&routes::<P>())))
}
