//! The audit record: requests that changed a workflow or a token, and requests that were refused.

use engine::Engine;
use engine::ports::Ports;
use http::StatusCode;
use protocol::access::{AuditAction, AuditEntry};
use protocol::{TokenName, WorkflowId};

use crate::error::ApiError;
use crate::request::Params;
use crate::route::Route;

/// A reason is kept up to this many bytes.
const REASON: usize = 1000;

/// Records a change of a workflow.
pub(crate) async fn record_workflow<P: Ports>(engine: &Engine<P>, route: &Route, workflow: &WorkflowId) {
    if let Some(action) = route.audit {
        engine.audit().record(AuditEntry { workflow: Some(workflow.clone()), ..entry(engine, route, action) }).await;
    }
}

/// Records a change of a token.
pub(crate) async fn record_token<P: Ports>(engine: &Engine<P>, route: &Route, subject: &TokenName) {
    if let Some(action) = route.audit {
        engine.audit().record(AuditEntry { subject: Some(subject.clone()), ..entry(engine, route, action) }).await;
    }
}

/// Records a change of something that is neither a workflow nor a token.
pub(crate) async fn record<P: Ports>(engine: &Engine<P>, route: &Route, about: &str) {
    if let Some(action) = route.audit {
        engine.audit().record(AuditEntry { about: Some(about.to_owned()), ..entry(engine, route, action) }).await;
    }
}

/// Records a request that failed, if it was refused for want of permission or of a lease, or if it may have changed
/// something although the store didn't answer.
pub(crate) async fn record_failure<P: Ports>(engine: &Engine<P>, route: &Route, params: &Params, error: &ApiError) {
    let action = match route.audit {
        _ if error.is_refusal() => AuditAction::Refused,
        Some(action) if error.status == StatusCode::SERVICE_UNAVAILABLE => action,
        _ => return,
    };
    // Other variables of a path are left out: a lease id is never recorded.
    let of = |name: &str| params.get(name).map(String::as_str);
    // Control characters would take six bytes each in a list of entries.
    let mut reason = error.message.replace(char::is_control, " ");
    reason.truncate(reason.floor_char_boundary(REASON));
    // A flood of requests without a valid token must not cost reads.
    let lease = of("lease_id").filter(|_| error.status != StatusCode::UNAUTHORIZED);
    let reported = match lease {
        Some(lease) => engine.reports().subject_of(lease).await,
        None => None,
    };
    let (workflow, job) = reported.unzip();
    let entry = AuditEntry {
        workflow: workflow.or_else(|| route.workflow_variable().and_then(of).and_then(|id| id.parse().ok())),
        job: job.or_else(|| of("job_id").and_then(|id| id.parse().ok())),
        subject: of("name").and_then(|name| name.parse().ok()),
        reason: Some(reason),
        ..entry(engine, route, action)
    };
    engine.audit().record(entry).await;
}

fn entry<P: Ports>(engine: &Engine<P>, route: &Route, action: AuditAction) -> AuditEntry {
    let named = format!("{} {}", route.method, route.path);
    AuditEntry::new(engine.now(), engine.caller().name.clone(), action, named)
}
