//! What the table doesn't say of a route: what goes in and what comes out. A new action can't be added without.

use protocol::Outputs;
use protocol::access::{AuditEntry, CreatedToken, NewToken, TokenInfo};
use protocol::requests::{Claim, Complete, Fail, Logs, Register, Run};
use protocol::wire::{Heartbeat, LogChunk, PoolInfo, Registered, Reported, WorkerInfo, Workflow};
use serde_json::{Value, json};

use super::answers::{
    Answer, accepted, claimed, definition, events, json_answer, made, nothing, of_schema, page_of, workflow_made,
};
use super::bodies::{self, optional, required};
use super::parameters;
use super::schemas::Schemas;
use crate::handlers::access::PAGE as AUDIT_PAGE;
use crate::handlers::workflows::PAGE;
use crate::routes::Action;

/// An operation, without what its route says.
pub(super) struct Operation {
    pub summary: &'static str,
    /// Of the query and the headers.
    pub parameters: Vec<Value>,
    pub body: Option<Value>,
    /// When all is well.
    pub answers: Vec<Answer>,
    /// How it may be refused, other than in the ways that any may be.
    pub refusals: &'static [u16],
}

/// What may go wrong with a JSON body.
const BODY: &[u16] = &[415, 422];
/// What may go wrong with a report under a lease.
const REPORT: &[u16] = &[409, 415, 422];

pub(super) fn of(action: Action, schemas: &mut Schemas) -> Operation {
    match action {
        Action::Submit => Operation::new("Submits a workflow.", workflow_made(201, "It was made.", schemas))
            .or(workflow_made(200, "It was made before, by a request with the same key.", schemas))
            .with(vec![parameters::run(), parameters::idempotency_key()])
            .taking(bodies::definition(schemas))
            .refused(&[404, 409, 415, 422]),
        Action::List => Operation::new("Lists workflows, newest first.", page_of::<Workflow>(schemas))
            .with([parameters::page(PAGE).as_slice(), &[parameters::offset(), parameters::status(schemas)]].concat()),
        Action::Workflow => {
            Operation::new("Shows a workflow and its jobs.", json_answer::<Workflow>(schemas)).refused(&[404])
        }
        Action::Definition => {
            Operation::new("Shows a workflow's definition, as submitted.", definition()).refused(&[404])
        }
        Action::Run => Operation::new("Starts a workflow, or starts it again.", accepted(schemas))
            .taking(optional(schemas.request::<Run>()))
            .refused(&[404, 409, 415, 422]),
        Action::Cancel => {
            Operation::new("Cancels what hasn't ended of a workflow.", accepted(schemas)).refused(&[404, 409])
        }
        Action::Delete => Operation::new("Deletes a workflow that doesn't run.", nothing()).refused(&[404, 409]),
        Action::Workers => Operation::new("Lists workers.", json_answer::<Vec<WorkerInfo>>(schemas)),
        Action::Pools => {
            Operation::new("Lists pools: what waits and runs, by labels.", json_answer::<Vec<PoolInfo>>(schemas))
        }
        Action::Register => Operation::new("Registers a worker.", json_answer::<Registered>(schemas))
            .taking(required(schemas.request::<Register>()))
            .refused(BODY),
        Action::WorkerHeartbeat => {
            Operation::new("Says that a registered worker is there.", json_answer::<Registered>(schemas))
                .refused(&[404])
        }
        Action::Unregister => Operation::new("Forgets a worker.", nothing()),
        Action::Claim => Operation::new("Takes a job, if there is one for the worker.", claimed(schemas))
            .taking(required(schemas.request::<Claim>()))
            .refused(BODY),
        Action::Heartbeat => {
            Operation::new("Renews a lease, or learns of a cancel.", json_answer::<Heartbeat>(schemas)).refused(&[409])
        }
        Action::Complete => Operation::new("Reports that a job succeeded.", json_answer::<Reported>(schemas))
            .taking(optional(schemas.request::<Complete>()))
            .refused(REPORT),
        Action::Fail => Operation::new("Reports that a job failed.", json_answer::<Reported>(schemas))
            .taking(required(schemas.request::<Fail>()))
            .refused(REPORT),
        Action::AppendLogs => Operation::new("Adds to a job's log.", of_schema(json!({ "type": "object" })))
            .taking(required(schemas.request::<Logs>()))
            .refused(REPORT),
        Action::IsCancelled => {
            Operation::new("Says whether a job was cancelled.", json_answer::<bool>(schemas)).refused(&[404])
        }
        Action::Logs => Operation::new("Shows a job's log.", page_of::<LogChunk>(schemas))
            .with(vec![parameters::after(schemas), parameters::attempt(schemas)])
            .refused(&[404]),
        Action::LogStream => Operation::new("Follows a job's log.", events())
            .with(vec![parameters::attempt(schemas), parameters::last_event_id()])
            .refused(&[404]),
        Action::Outputs => Operation::new("Shows what a job gave.", json_answer::<Outputs>(schemas))
            .with(vec![parameters::attempt(schemas)])
            .refused(&[404]),
        Action::ListTokens => {
            Operation::new("Lists tokens, without their texts.", json_answer::<Vec<TokenInfo>>(schemas))
        }
        Action::CreateToken => Operation::new("Makes a token, and shows it once.", made::<CreatedToken>(schemas))
            .taking(required(schemas.request::<NewToken>()))
            .refused(&[409, 415, 422]),
        Action::RevokeToken => Operation::new("Revokes a token.", nothing()).refused(&[404]),
        Action::Audit => Operation::new("Lists who did what, newest first.", page_of::<AuditEntry>(schemas))
            .with(parameters::page(AUDIT_PAGE).to_vec()),
        Action::Health => Operation::new("Says that the API lives.", of_schema(health())),
        Action::OpenApi => Operation::new("This description.", of_schema(json!({ "type": "object" }))),
    }
}

impl Operation {
    fn new(summary: &'static str, answer: Answer) -> Self {
        Self { summary, parameters: Vec::new(), body: None, answers: vec![answer], refusals: &[] }
    }

    fn or(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    fn with(self, parameters: Vec<Value>) -> Self {
        Self { parameters, ..self }
    }

    fn taking(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn refused(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }
}

fn health() -> Value {
    let text = json!({ "type": "string" });
    json!({ "type": "object", "required": ["status", "version"], "properties": { "status": text, "version": text } })
}
