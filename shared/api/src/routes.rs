//! Every route, once: its method, its path, and the function that answers it.

use std::collections::HashMap;

use http::Method;
use protocol::access::{AuditAction, Scope};

/// The deployable units. Each has its own binary and its own permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// Writes workflows and runs.
    Submit,
    /// Knows workers and hands out jobs.
    Claim,
    /// Takes what workers report.
    Complete,
    /// Reads.
    Query,
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `POST /api/workflows`
    Submit,
    /// `GET /api/workflows`
    List,
    /// `GET /api/workflows/{id}`, also `…/status`
    Workflow,
    /// `GET /api/workflows/{id}/definition`
    Definition,
    /// `POST /api/workflows/{id}/run`
    Run,
    /// `POST /api/workflows/{id}/cancel`
    Cancel,
    /// `DELETE /api/workflows/{id}`
    Delete,
    /// `GET /api/workers`
    Workers,
    /// `GET /api/pools`
    Pools,
    /// `POST /api/workers/register`
    Register,
    /// `POST /api/workers/{id}/heartbeat`
    WorkerHeartbeat,
    /// `DELETE /api/workers/{id}`
    Unregister,
    /// `POST /api/jobs/claim`
    Claim,
    /// `POST /api/jobs/{lease_id}/heartbeat`
    Heartbeat,
    /// `POST /api/jobs/{lease_id}/complete`
    Complete,
    /// `POST /api/jobs/{lease_id}/fail`
    Fail,
    /// `POST /api/jobs/{lease_id}/logs`
    AppendLogs,
    /// `GET /api/jobs/{workflow_id}/{job_id}/cancelled`
    IsCancelled,
    /// `GET /api/workflows/{id}/jobs/{job_id}/logs`
    Logs,
    /// `GET /api/workflows/{id}/jobs/{job_id}/logs/stream`
    LogStream,
    /// `GET /api/workflows/{id}/jobs/{job_id}/outputs`
    Outputs,
    /// `GET /api/tokens`
    ListTokens,
    /// `POST /api/tokens`
    CreateToken,
    /// `DELETE /api/tokens/{name}`
    RevokeToken,
    /// `GET /api/audit`
    Audit,
    /// `GET /api/health`
    Health,
    /// `GET /api/openapi.json`
    OpenApi,
}

impl Action {
    /// The scopes of which a caller needs one. Empty: it needs no token.
    #[must_use]
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Submit | Self::Run | Self::Cancel | Self::Delete => &[Scope::Submit],
            Self::List
            | Self::Workflow
            | Self::Definition
            | Self::Workers
            | Self::Pools
            | Self::Logs
            | Self::LogStream
            | Self::Outputs => &[Scope::Read],
            Self::IsCancelled => &[Scope::Read, Scope::Work],
            Self::Register
            | Self::WorkerHeartbeat
            | Self::Unregister
            | Self::Claim
            | Self::Heartbeat
            | Self::Complete
            | Self::Fail
            | Self::AppendLogs => &[Scope::Work],
            Self::ListTokens | Self::CreateToken | Self::RevokeToken | Self::Audit => &[Scope::Admin],
            Self::Health | Self::OpenApi => &[],
        }
    }

    /// What is written down when this was done.
    #[must_use]
    pub const fn audit_action(self) -> Option<AuditAction> {
        Some(match self {
            Self::Submit => AuditAction::Submit,
            Self::Run => AuditAction::Run,
            Self::Cancel => AuditAction::Cancel,
            Self::Delete => AuditAction::Delete,
            Self::CreateToken => AuditAction::CreateToken,
            Self::RevokeToken => AuditAction::RevokeToken,
            _ => return None,
        })
    }

    /// Whether the path has a workflow's id.
    #[must_use]
    pub const fn is_of_a_workflow(self) -> bool {
        matches!(
            self,
            Self::Workflow
                | Self::Definition
                | Self::Run
                | Self::Cancel
                | Self::Delete
                | Self::Logs
                | Self::LogStream
                | Self::Outputs
                | Self::IsCancelled
        )
    }
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Route {
    /// The HTTP method.
    pub method: Method,
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
    /// Who answers.
    pub function: Function,
    /// What it does.
    pub action: Action,
}

const fn route(method: Method, path: &'static str, function: Function, action: Action) -> Route {
    Route { method, path, function, action }
}

/// The table.
pub static ROUTES: [Route; 28] = [
    route(Method::POST, "/api/workflows", Function::Submit, Action::Submit),
    route(Method::GET, "/api/workflows", Function::Query, Action::List),
    route(Method::GET, "/api/workflows/{id}", Function::Query, Action::Workflow),
    route(Method::GET, "/api/workflows/{id}/status", Function::Query, Action::Workflow),
    route(Method::GET, "/api/workflows/{id}/definition", Function::Query, Action::Definition),
    route(Method::POST, "/api/workflows/{id}/run", Function::Submit, Action::Run),
    route(Method::POST, "/api/workflows/{id}/cancel", Function::Submit, Action::Cancel),
    route(Method::DELETE, "/api/workflows/{id}", Function::Submit, Action::Delete),
    route(Method::GET, "/api/workflows/{id}/jobs/{job_id}/logs", Function::Query, Action::Logs),
    route(Method::GET, "/api/workflows/{id}/jobs/{job_id}/logs/stream", Function::Query, Action::LogStream),
    route(Method::GET, "/api/workflows/{id}/jobs/{job_id}/outputs", Function::Query, Action::Outputs),
    route(Method::GET, "/api/workers", Function::Query, Action::Workers),
    route(Method::GET, "/api/pools", Function::Query, Action::Pools),
    route(Method::POST, "/api/workers/register", Function::Claim, Action::Register),
    route(Method::POST, "/api/workers/{id}/heartbeat", Function::Claim, Action::WorkerHeartbeat),
    route(Method::DELETE, "/api/workers/{id}", Function::Claim, Action::Unregister),
    route(Method::POST, "/api/jobs/claim", Function::Claim, Action::Claim),
    route(Method::POST, "/api/jobs/{lease_id}/heartbeat", Function::Complete, Action::Heartbeat),
    route(Method::POST, "/api/jobs/{lease_id}/complete", Function::Complete, Action::Complete),
    route(Method::POST, "/api/jobs/{lease_id}/fail", Function::Complete, Action::Fail),
    route(Method::POST, "/api/jobs/{lease_id}/logs", Function::Complete, Action::AppendLogs),
    route(Method::GET, "/api/jobs/{workflow_id}/{job_id}/cancelled", Function::Query, Action::IsCancelled),
    route(Method::GET, "/api/tokens", Function::Query, Action::ListTokens),
    route(Method::POST, "/api/tokens", Function::Submit, Action::CreateToken),
    route(Method::DELETE, "/api/tokens/{name}", Function::Submit, Action::RevokeToken),
    route(Method::GET, "/api/audit", Function::Query, Action::Audit),
    route(Method::GET, "/api/health", Function::Query, Action::Health),
    route(Method::GET, "/api/openapi.json", Function::Query, Action::OpenApi),
];

/// What a path's variables stand for, decoded.
pub type Params = HashMap<&'static str, String>;

/// What the table says of a request.
#[derive(Debug)]
pub enum Found {
    /// The action and the path's variables.
    Route(Action, Params),
    /// The path exists, for these methods.
    OtherMethods(Vec<Method>),
    /// No such path.
    Nothing,
    /// A segment isn't percent-encoded UTF-8.
    BadEncoding(String),
}

/// Looks a request up, among the routes of `only` or all.
#[must_use]
pub fn find(only: Option<Function>, method: &Method, path: &str) -> Found {
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let mut methods = Vec::new();
    for route in &ROUTES {
        let Some(raw) = matches(route.path, &segments) else { continue };
        if route.method != *method {
            methods.push(route.method.clone());
            continue;
        }
        // A gateway sends what it knows to the right function; the one that catches all answers for the rest.
        if only.is_some_and(|only| only != route.function) {
            return Found::Nothing;
        }
        let mut params = Params::new();
        for (name, value) in raw {
            match decode(value) {
                Some(value) => params.insert(name, value),
                None => return Found::BadEncoding(value.to_owned()),
            };
        }
        return Found::Route(route.action, params);
    }
    if methods.is_empty() { Found::Nothing } else { Found::OtherMethods(methods) }
}

fn matches<'a>(pattern: &'static str, segments: &[&'a str]) -> Option<Vec<(&'static str, &'a str)>> {
    let mut params = Vec::new();
    let mut given = segments.iter();
    for part in pattern.split('/') {
        let segment = given.next()?;
        if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            if segment.is_empty() {
                return None;
            }
            params.push((name, *segment));
        } else if part != *segment {
            return None;
        }
    }
    given.next().is_none().then_some(params)
}

/// Decodes `%XX`; `None` if it isn't well formed or not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_segment_wins_over_a_variable() {
        assert!(matches!(find(None, &Method::POST, "/api/jobs/claim"), Found::Route(Action::Claim, _)));
        assert!(matches!(find(None, &Method::POST, "/api/workers/register"), Found::Route(Action::Register, _)));
    }

    #[test]
    fn variables_are_decoded_and_bad_encodings_are_found() {
        let Found::Route(Action::Outputs, params) =
            find(None, &Method::GET, "/api/workflows/w/jobs/a%20%C3%A9/outputs")
        else {
            panic!("no route")
        };
        assert_eq!(params["job_id"], "a é");
        for bad in ["%zz", "%e", "%ff"] {
            let path = format!("/api/workflows/{bad}");
            assert!(matches!(find(None, &Method::GET, &path), Found::BadEncoding(_)), "{bad}");
        }
    }

    #[test]
    fn a_known_path_with_another_method_names_the_methods() {
        let Found::OtherMethods(methods) = find(None, &Method::PUT, "/api/workflows") else { panic!("found") };
        assert_eq!(methods, [Method::POST, Method::GET]);
        assert!(matches!(find(None, &Method::GET, "/api/nothing"), Found::Nothing));
    }

    #[test]
    fn a_function_answers_only_its_own_routes() {
        assert!(matches!(find(Some(Function::Query), &Method::POST, "/api/jobs/claim"), Found::Nothing));
        assert!(matches!(find(Some(Function::Claim), &Method::POST, "/api/jobs/claim"), Found::Route(..)));
    }
}
