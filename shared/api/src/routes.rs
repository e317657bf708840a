//! The route table: each route once, with what it needs, what it causes, how it is described and which handler answers.
//! A new route is a row here and a handler.

use std::pin::Pin;
use std::sync::OnceLock;

use engine::Engine;
use engine::ports::Ports;
use http::{Method, StatusCode};
use protocol::Outputs;
use protocol::access::{AuditAction, AuditEntry, CreatedToken, NewToken, Scope, TokenInfo};
use protocol::requests::{Claim, Complete, Fail, Logs, Register, Run};
use protocol::wire::{Heartbeat, LogChunk, PoolInfo, Registered, Reported, WorkerInfo, Workflow};
use serde_json::Value;

use crate::handlers::{access, jobs, status, workers, workflows};
use crate::openapi;
use crate::operation::answers::{
    accepted, any_object, claimed, definition, events, health, json_body, made, no_content, page_of, workflow_made,
};
use crate::operation::bodies::{self, optional, required};
use crate::operation::{Operation, parameters};
use crate::request::Input;
use crate::response::{Answer, json_answer};
use crate::route::{Effect, Function, Route};

const READ: &[Scope] = &[Scope::Read];
const SUBMIT: &[Scope] = &[Scope::Submit];
const WORK: &[Scope] = &[Scope::Work];
const ADMIN: &[Scope] = &[Scope::Admin];

/// How a request with a JSON body may be refused.
const BODY: &[u16] = &[415, 422];
/// How a report under a lease may be refused.
const REPORT: &[u16] = &[409, 415, 422];

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
    [workflow_rows(), job_rows(), worker_rows(), report_rows(), access_rows(), status_rows()]
        .into_iter()
        .flatten()
        .collect()
}

fn workflow_rows<P: Ports>() -> Vec<Row<P>> {
    vec![
        row!(
            Route::new("submit", Method::POST, "/api/workflows", Function::Submit, "Submits a workflow.", |s| {
                Operation::new(workflow_made(201, "The workflow was created.", s))
                    .or(workflow_made(200, "A request with the same key created it before.", s))
                    .with(vec![parameters::run(), parameters::idempotency_key()])
                    .taking(bodies::definition(s))
                    .refused(&[404, 409, 415, 422])
            })
            .scopes(SUBMIT)
            .audited(AuditAction::Submit)
            .effect(Effect::Changes),
            workflows::submit
        ),
        row!(
            Route::new("list", Method::GET, "/api/workflows", Function::Query, "Lists workflows, newest first.", |s| {
                Operation::new(page_of::<Workflow>(s))
                    .with([&parameters::page()[..], &[parameters::offset(), parameters::status(s)]].concat())
            })
            .scopes(READ),
            workflows::list
        ),
        row!(one_workflow("workflow", "/api/workflows/{id}"), workflows::one),
        row!(one_workflow("workflowStatus", "/api/workflows/{id}/status"), workflows::one),
        row!(
            Route::new(
                "definition",
                Method::GET,
                "/api/workflows/{id}/definition",
                Function::Query,
                "Shows a workflow's definition, as submitted.",
                |_| { Operation::new(definition()).refused(&[404]) }
            )
            .scopes(READ),
            workflows::definition
        ),
        row!(
            Route::new(
                "run",
                Method::POST,
                "/api/workflows/{id}/run",
                Function::Submit,
                "Starts or restarts a workflow.",
                |s| { Operation::new(accepted(s)).taking(optional(s.request::<Run>())).refused(&[404, 409, 415, 422]) }
            )
            .scopes(SUBMIT)
            .audited(AuditAction::Run)
            .effect(Effect::Changes),
            workflows::run
        ),
        row!(
            Route::new(
                "cancel",
                Method::POST,
                "/api/workflows/{id}/cancel",
                Function::Submit,
                "Cancels the unfinished jobs of a workflow.",
                |s| { Operation::new(accepted(s)).refused(&[404, 409]) }
            )
            .scopes(SUBMIT)
            .audited(AuditAction::Cancel)
            .effect(Effect::Changes),
            workflows::cancel
        ),
        row!(
            Route::new(
                "delete",
                Method::DELETE,
                "/api/workflows/{id}",
                Function::Submit,
                "Deletes a workflow that isn't running.",
                |_| { Operation::new(no_content()).refused(&[404, 409]) }
            )
            .scopes(SUBMIT)
            .audited(AuditAction::Delete)
            .effect(Effect::Changes),
            workflows::delete
        ),
    ]
}

fn one_workflow(id: &'static str, path: &'static str) -> Route {
    Route::new(id, Method::GET, path, Function::Query, "Shows a workflow and its jobs.", |s| {
        Operation::new(json_body::<Workflow>(s)).refused(&[404])
    })
    .scopes(READ)
}

fn job_rows<P: Ports>() -> Vec<Row<P>> {
    vec![
        row!(
            Route::new(
                "logs",
                Method::GET,
                "/api/workflows/{id}/jobs/{job_id}/logs",
                Function::Query,
                "Shows a job's log.",
                |s| {
                    Operation::new(page_of::<LogChunk>(s))
                        .with(vec![parameters::after(s), parameters::attempt(s)])
                        .refused(&[404])
                }
            )
            .scopes(READ),
            jobs::logs
        ),
        row!(
            Route::new(
                "logStream",
                Method::GET,
                "/api/workflows/{id}/jobs/{job_id}/logs/stream",
                Function::Query,
                "Follows a job's log.",
                |s| {
                    Operation::new(events())
                        .with(vec![parameters::attempt(s), parameters::last_event_id()])
                        .refused(&[404])
                }
            )
            .scopes(READ),
            jobs::log_stream
        ),
        row!(
            Route::new(
                "outputs",
                Method::GET,
                "/api/workflows/{id}/jobs/{job_id}/outputs",
                Function::Query,
                "Shows a job's outputs.",
                |s| { Operation::new(json_body::<Outputs>(s)).with(vec![parameters::attempt(s)]).refused(&[404]) }
            )
            .scopes(READ),
            jobs::outputs
        ),
        row!(
            Route::new(
                "isCancelled",
                Method::GET,
                "/api/jobs/{workflow_id}/{job_id}/cancelled",
                Function::Query,
                "Tells whether a job was cancelled.",
                |s| { Operation::new(json_body::<bool>(s)).refused(&[404]) }
            )
            .scopes(&[Scope::Read, Scope::Work]),
            jobs::is_cancelled
        ),
    ]
}

fn worker_rows<P: Ports>() -> Vec<Row<P>> {
    vec![
        row!(
            Route::new("workers", Method::GET, "/api/workers", Function::Query, "Lists workers.", |s| {
                Operation::new(json_body::<Vec<WorkerInfo>>(s))
            })
            .scopes(READ),
            workers::list
        ),
        row!(
            Route::new(
                "pools",
                Method::GET,
                "/api/pools",
                Function::Query,
                "Lists pools: waiting and running jobs by labels.",
                |s| { Operation::new(json_body::<Vec<PoolInfo>>(s)) }
            )
            .scopes(READ),
            workers::pools
        ),
        row!(
            Route::new(
                "register",
                Method::POST,
                "/api/workers/register",
                Function::Claim,
                "Registers a worker.",
                |s| {
                    Operation::new(json_body::<Registered>(s)).taking(required(s.request::<Register>())).refused(BODY)
                }
            )
            .scopes(WORK),
            workers::register
        ),
        row!(
            Route::new(
                "workerHeartbeat",
                Method::POST,
                "/api/workers/{id}/heartbeat",
                Function::Claim,
                "Reports that a registered worker is online.",
                |s| { Operation::new(json_body::<Registered>(s)).refused(&[404]) }
            )
            .scopes(WORK),
            workers::heartbeat
        ),
        row!(
            Route::new("unregister", Method::DELETE, "/api/workers/{id}", Function::Claim, "Removes a worker.", |_| {
                Operation::new(no_content())
            })
            .scopes(WORK)
            .effect(Effect::WorkerLeaves),
            workers::unregister
        ),
    ]
}

fn report_rows<P: Ports>() -> Vec<Row<P>> {
    vec![
        row!(
            Route::new(
                "claim",
                Method::POST,
                "/api/jobs/claim",
                Function::Claim,
                "Leases a job to the worker, if one is ready.",
                |s| { Operation::new(claimed(s)).taking(required(s.request::<Claim>())).refused(BODY) }
            )
            .scopes(WORK)
            .effect(Effect::Claims),
            jobs::claim
        ),
        row!(
            Route::new(
                "heartbeat",
                Method::POST,
                "/api/jobs/{lease_id}/heartbeat",
                Function::Complete,
                "Renews a lease and tells of a cancellation.",
                |s| { Operation::new(json_body::<Heartbeat>(s)).refused(&[409]) }
            )
            .scopes(WORK),
            jobs::heartbeat
        ),
        row!(
            Route::new(
                "complete",
                Method::POST,
                "/api/jobs/{lease_id}/complete",
                Function::Complete,
                "Reports that a job succeeded.",
                |s| {
                    Operation::new(json_body::<Reported>(s)).taking(optional(s.request::<Complete>())).refused(REPORT)
                }
            )
            .scopes(WORK)
            .effect(Effect::MayReadyJobs),
            jobs::complete
        ),
        row!(
            Route::new(
                "fail",
                Method::POST,
                "/api/jobs/{lease_id}/fail",
                Function::Complete,
                "Reports that a job failed.",
                |s| { Operation::new(json_body::<Reported>(s)).taking(required(s.request::<Fail>())).refused(REPORT) }
            )
            .scopes(WORK)
            .effect(Effect::MayReadyJobs),
            jobs::fail
        ),
        row!(
            Route::new(
                "appendLogs",
                Method::POST,
                "/api/jobs/{lease_id}/logs",
                Function::Complete,
                "Appends to a job's log.",
                |s| { Operation::new(any_object()).taking(required(s.request::<Logs>())).refused(REPORT) }
            )
            .scopes(WORK)
            .effect(Effect::Changes),
            jobs::append_logs
        ),
    ]
}

fn access_rows<P: Ports>() -> Vec<Row<P>> {
    vec![
        row!(
            Route::new(
                "listTokens",
                Method::GET,
                "/api/tokens",
                Function::Query,
                "Lists tokens, without their texts.",
                |s| { Operation::new(json_body::<Vec<TokenInfo>>(s)) }
            )
            .scopes(ADMIN),
            access::tokens
        ),
        row!(
            Route::new(
                "createToken",
                Method::POST,
                "/api/tokens",
                Function::Submit,
                "Creates a token and shows it once.",
                |s| {
                    Operation::new(made::<CreatedToken>(s))
                        .taking(required(s.request::<NewToken>()))
                        .refused(&[409, 415, 422])
                }
            )
            .scopes(ADMIN)
            .audited(AuditAction::CreateToken),
            access::create
        ),
        row!(
            Route::new(
                "revokeToken",
                Method::DELETE,
                "/api/tokens/{name}",
                Function::Submit,
                "Revokes a token.",
                |_| { Operation::new(no_content()).refused(&[404]) }
            )
            .scopes(ADMIN)
            .audited(AuditAction::RevokeToken),
            access::revoke
        ),
        row!(
            Route::new(
                "audit",
                Method::GET,
                "/api/audit",
                Function::Query,
                "Lists audit entries, newest first.",
                |s| { Operation::new(page_of::<AuditEntry>(s)).with(parameters::page().to_vec()) }
            )
            .scopes(ADMIN),
            access::audit
        ),
    ]
}

fn status_rows<P: Ports>() -> Vec<Row<P>> {
    vec![
        row!(
            Route::new("health", Method::GET, "/api/health", Function::Query, "Tells that the API answers.", |_| {
                Operation::new(health())
            }),
            status::health
        ),
        row!(
            Route::new("openApi", Method::GET, "/api/openapi.json", Function::Query, "Returns this document.", |_| {
                Operation::new(any_object())
            }),
            openapi_document
        ),
    ]
}

async fn openapi_document<P: Ports>(_: &Engine<P>, _: &Input<'_>) -> Answer {
    // The routes are the same for every `P`.
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    json_answer(StatusCode::OK, DOCUMENT.get_or_init(|| openapi::document(&routes::<P>())))
}
