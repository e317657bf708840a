//! What the route table says of one route. Authorization, the audit record, the `OpenAPI` document, the gateways' routes in the
//! template and the server's wake-ups are all derived from it.

use http::Method;
use protocol::access::{AuditAction, Scope};

use crate::operation::{Operation, Schemas};

/// The Lambda functions that answer requests. Each has its own binary and its own permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// Writes workflows, runs and tokens.
    Submit,
    /// Registers workers and leases jobs to them.
    Claim,
    /// Accepts workers' reports.
    Complete,
    /// Receives deliveries of forges.
    Hook,
    /// Reads. Also answers requests that match no route.
    Query,
}

/// What a request may cause beyond its answer. The server in one process uses it to wake what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that anybody waits for.
    None,
    /// Stored data changes: followers of a log read again, and the change feed has work.
    Changes,
    /// As [`Effect::Changes`]; if the request succeeds, other jobs may be ready.
    MayReadyJobs,
    /// A job may be leased. A request may wait for one.
    Claims,
    /// The worker in the path wants no more jobs.
    WorkerLeaves,
}

/// The parameter of the template that limits how many requests a second the gateway lets through for a route. Each route has
/// the whole rate for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Reports that keep a lease or end an attempt. Without them jobs run twice, so they have the highest rate.
    Report,
    /// Pieces of logs.
    Log,
    /// Polls for jobs.
    Claim,
    /// Requests that change workflows or tokens.
    Submit,
    /// Deliveries of forges.
    Hook,
    /// Requests that only read.
    Read,
    /// Anything else, as for requests that match no route.
    Api,
}

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name of the operation in the `OpenAPI` document.
    pub id: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
    /// The function that answers.
    pub function: Function,
    /// One sentence for people.
    pub summary: &'static str,
    /// The scopes of which a caller needs one. Empty: the route needs no token.
    pub scopes: &'static [Scope],
    /// The handler checks a signature over the body, in place of a token. Other routes without a token read no body.
    pub signed: bool,
    /// How a request that succeeds is recorded.
    pub audit: Option<AuditAction>,
    /// What a request may cause beyond its answer.
    pub effect: Effect,
    /// How many requests a second the gateway lets through.
    pub rate: Rate,
    pub(crate) describe: Describe,
}

/// Describes a route's operation.
pub(crate) type Describe = fn(&mut Schemas) -> Operation;

impl Route {
    /// A route that isn't recorded and causes nothing beyond its answer.
    pub(crate) const fn new(
        id: &'static str,
        method: Method,
        path: &'static str,
        function: Function,
        scopes: &'static [Scope],
        summary: &'static str,
        describe: Describe,
    ) -> Self {
        let rate = match function {
            Function::Submit => Rate::Submit,
            Function::Claim => Rate::Api,
            Function::Complete => Rate::Report,
            Function::Hook => Rate::Hook,
            Function::Query => Rate::Read,
        };
        Self {
            id,
            method,
            path,
            function,
            summary,
            scopes,
            signed: false,
            audit: None,
            effect: Effect::None,
            rate,
            describe,
        }
    }

    /// Needs one of these scopes.
    pub(crate) const fn scopes(mut self, scopes: &'static [Scope]) -> Self {
        self.scopes = scopes;
        self
    }

    /// Causes more than its answer.
    pub(crate) const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// Has another rate than the other routes of its function.
    pub(crate) const fn rate(mut self, rate: Rate) -> Self {
        self.rate = rate;
        self
    }

    /// Is authorized by a signature over the body.
    pub(crate) const fn signed(mut self) -> Self {
        self.signed = true;
        self
    }

    /// Whether a request's body is read.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        self.needs_token() || self.signed
    }

    /// Whether a request needs a token, unless the server admits everybody.
    #[must_use]
    pub fn needs_token(&self) -> bool {
        !self.scopes.is_empty()
    }

    /// The path's variable that holds a workflow's id, if it has one.
    pub(crate) fn workflow_variable(&self) -> Option<&'static str> {
        if self.path.contains("{workflow_id}") {
            return Some("workflow_id");
        }
        self.path.starts_with("/api/workflows/{id}").then_some("id")
    }
}
