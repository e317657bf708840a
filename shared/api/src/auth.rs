//! Who is let in, and what is written down of who isn't.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::Engine;
use engine::access::Grant;
use engine::ports::Ports;
use http::{HeaderMap, StatusCode, header};
use protocol::access::{AuditAction, AuditEntry};
use protocol::{TokenName, WorkflowId};
use subtle::ConstantTimeEq;

use crate::error::ApiError;
use crate::routes::{Action, Params, ROUTES};

/// Who may call.
#[derive(Clone, Default)]
pub enum Admission {
    /// Whoever reaches the server, for everything.
    #[default]
    Everybody,
    /// Whoever has a token, for what it allows.
    Tokens,
    /// Whoever knows this, for everything: a server that is another program's own.
    Secret(Arc<str>),
}

/// What a refusal says of why is kept up to this many bytes.
const REASON: usize = 1000;

/// The engine for who calls, if it may do this.
pub(crate) async fn admit<P: Ports>(
    engine: &Engine<P>,
    admission: &Admission,
    action: Action,
    params: &Params,
    headers: &HeaderMap,
) -> Result<Engine<P>, ApiError> {
    if action.scopes().is_empty() {
        return Ok(engine.clone());
    }
    let caller = match admission {
        Admission::Everybody => Ok(Grant::open()),
        Admission::Secret(secret) => match credential(headers) {
            Some(given) if given.as_bytes().ct_eq(secret.as_bytes()).into() => Ok(Grant::open()),
            _ => Err(unauthorized("this server is another program's own; it takes no requests from elsewhere")),
        },
        Admission::Tokens => match credential(headers) {
            Some(token) => engine.tokens().grant_of(&token).await.map_err(ApiError::from),
            None => Err(unauthorized(
                "this needs a token: send it as `Authorization: Bearer TOKEN`, or as the password in the server's URL",
            )),
        },
    };
    let (engine, refusal) = match caller {
        Ok(grant) if grant.has(action.scopes()) => return Ok(engine.acting_for(grant)),
        Ok(grant) => (engine.acting_for(grant), lacks_scope(action)),
        Err(error) if is_refusal(&error) => (engine.clone(), error),
        Err(error) => return Err(error),
    };
    failed(&engine, action, params, &refusal).await;
    Err(refusal)
}

fn lacks_scope(action: Action) -> ApiError {
    let scopes: Vec<&str> = action.scopes().iter().map(|scope| scope.as_str()).collect();
    let message = format!("the token lacks the scope `{}`, which this needs", scopes.join("` or `"));
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

/// A token comes as `Bearer`, or as the password of `Basic`, which is what a client makes of `https://w:TOKEN@host`.
fn credential(headers: &HeaderMap) -> Option<String> {
    let (scheme, given) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(given.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(given.trim()).ok()?).ok()?;
    Some(pair.split_once(':')?.1.to_owned())
}

/// Writes down what was refused for want of a token that may do it, and what may have been done though no answer says so.
pub(crate) async fn failed<P: Ports>(engine: &Engine<P>, action: Action, params: &Params, error: &ApiError) {
    if is_refusal(error) {
        note(engine, action, AuditAction::Refused, params, error).await;
    } else if let Some(audit_action) = action.audit_action()
        && error.status == StatusCode::SERVICE_UNAVAILABLE
    {
        note(engine, action, audit_action, params, error).await;
    }
}

async fn note<P: Ports>(
    engine: &Engine<P>,
    action: Action,
    audit_action: AuditAction,
    params: &Params,
    error: &ApiError,
) {
    let of = |name: &str| params.get(name).map(String::as_str);
    // What else a path has stays out: a lease's id is never written down.
    let workflow = of("id").or(of("workflow_id")).filter(|_| action.is_of_a_workflow());
    let mut reason = error.message.clone();
    reason.truncate(reason.floor_char_boundary(REASON));
    let entry = AuditEntry {
        workflow: workflow.and_then(|id| id.parse().ok()),
        job: of("job_id").and_then(|id| id.parse().ok()),
        subject: of("name").and_then(|name| name.parse().ok()),
        reason: Some(reason),
        ..entry(engine, action, audit_action)
    };
    engine.audit().record(entry).await;
}

/// Writes down what was done to a workflow.
pub(crate) async fn record_action<P: Ports>(engine: &Engine<P>, action: Action, workflow: &WorkflowId) {
    if let Some(audit_action) = action.audit_action() {
        engine
            .audit()
            .record(AuditEntry { workflow: Some(workflow.clone()), ..entry(engine, action, audit_action) })
            .await;
    }
}

/// Writes down what was done to a token.
pub(crate) async fn record_token_action<P: Ports>(engine: &Engine<P>, action: Action, subject: &TokenName) {
    if let Some(audit_action) = action.audit_action() {
        engine
            .audit()
            .record(AuditEntry { subject: Some(subject.clone()), ..entry(engine, action, audit_action) })
            .await;
    }
}

fn entry<P: Ports>(engine: &Engine<P>, action: Action, audit_action: AuditAction) -> AuditEntry {
    let route = ROUTES.iter().find(|route| route.action == action);
    let route = route.map_or_else(String::new, |route| format!("{} {}", route.method, route.path));
    AuditEntry::new(engine.now(), engine.caller().name().cloned(), audit_action, route)
}

/// Whether an answer says that the caller may not do this.
fn is_refusal(error: &ApiError) -> bool {
    matches!(error.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn given(authorization: &str) -> Option<String> {
        let value = HeaderValue::from_str(authorization).expect("a header");
        credential(&HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
    }

    #[test]
    fn a_token_is_read_as_bearer_and_as_the_password_of_basic() {
        for good in ["Bearer T:1", "bearer  T:1", "Basic dzpUOjE=", "basic dzpUOjE="] {
            assert_eq!(given(good).as_deref(), Some("T:1"), "{good}");
        }
        for bad in ["T:1", "Basic !", "Basic dw==", "Digest T:1", ""] {
            assert_eq!(given(bad), None, "{bad}");
        }
        assert_eq!(credential(&HeaderMap::new()), None);
    }
}
