//! Error responses: a status and one JSON shape, never an empty body.

use std::time::Duration;

use bytes::Bytes;
use engine::EngineError;
use engine::error::LeaseLost;
use engine::ports::StoreError;
use engine::throttle::Throttle;
use http::{Response, StatusCode, header};
use protocol::outputs::OutputError;
use protocol::wire::{ErrorBody, ErrorInfo, Problem};
use protocol::{Millis, limits};
use serde_json::{Value, json};

/// An error that is answered to the client.
#[derive(Debug)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// A word for programs, the same in every release.
    pub code: &'static str,
    /// A sentence for people: what is wrong, where, and the limit or the fix.
    pub message: String,
    /// Details, whose shape depends on the code.
    pub details: Option<Value>,
    /// For 405: the methods that are allowed.
    pub allow: Option<String>,
}

impl ApiError {
    /// An error without details.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: None, allow: None }
    }

    /// 400: the request can't be read.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 422: the request can be read but isn't valid.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// 400: a list can't continue at this cursor.
    #[must_use]
    pub fn bad_cursor() -> Self {
        let message =
            "query parameter `cursor` isn't one that this server gave; start without it and follow the Link header";
        Self::bad_request("invalid_query", message)
    }

    /// 413: the body is over the limit. `size` is text, such as `over 5 bytes`.
    #[must_use]
    pub fn body_too_large(size: &str) -> Self {
        let message = format!("the body is {size}; at most {} bytes are allowed in one request", limits::REQUEST_BODY);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    /// 414: the path and query are over the limit; their size, if known.
    #[must_use]
    pub fn url_too_long(size: Option<usize>) -> Self {
        let size = size.map_or_else(|| "too long".to_owned(), |size| format!("{size} bytes"));
        let message = format!("the path and query are {size}; at most {} bytes are allowed", limits::URL);
        Self::new(StatusCode::URI_TOO_LONG, "url_too_long", message)
    }

    /// 503: this server's version can't use the stored records. The text says what wrote them and what to do.
    #[must_use]
    pub fn version(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "version", message)
    }

    /// Whether the caller lacks the permission, or the lease that it reports under.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) || LEASE_CODES.contains(&self.code)
    }

    /// The response.
    #[must_use]
    pub fn response(mut self) -> Response<Bytes> {
        if self.message.len() > limits::MESSAGE {
            self.message.truncate(self.message.floor_char_boundary(limits::MESSAGE));
            self.message.push('…');
        }
        let body =
            ErrorBody { error: ErrorInfo { code: self.code.to_owned(), message: self.message, details: self.details } };
        let mut response = Response::new(Bytes::from(serde_json::to_vec(&body).unwrap_or_default()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        if let Some(allow) = self.allow.and_then(|allow| allow.parse().ok()) {
            headers.insert(header::ALLOW, allow);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer realm=\"workflow-graph\""));
        }
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        let of = |status, code| Self::new(status, code, message.clone());
        match error {
            EngineError::WorkflowNotFound(_) => of(StatusCode::NOT_FOUND, "no_such_workflow"),
            EngineError::NoJob { .. } => of(StatusCode::NOT_FOUND, "no_such_job"),
            EngineError::NoWorker(_) => of(StatusCode::NOT_FOUND, "no_such_worker"),
            EngineError::LeaseLost(why) => of(StatusCode::CONFLICT, lease_code(why)),
            EngineError::InvalidState { .. } => of(StatusCode::CONFLICT, "workflow_running"),
            EngineError::KeyReused { .. } => of(StatusCode::CONFLICT, "idempotency_key_reused"),
            EngineError::Moved(_) => of(StatusCode::CONFLICT, "changed_meanwhile"),
            EngineError::Definition(problems) => {
                let problems: Vec<Problem> = problems.into_iter().map(Problem::from).collect();
                let too_large = problems.iter().any(|problem| problem.code == "too_large");
                let status = if too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::UNPROCESSABLE_ENTITY };
                Self { details: Some(json!({ "problems": problems })), ..of(status, "invalid_definition") }
            }
            EngineError::Inputs(problems) => {
                let code = problems.first().map_or("bad_input", |problem| problem.code);
                let problems: Vec<Problem> = problems.into_iter().map(Problem::from).collect();
                Self { details: Some(json!({ "problems": problems })), ..of(StatusCode::UNPROCESSABLE_ENTITY, code) }
            }
            EngineError::InputsFixed(_) => of(StatusCode::UNPROCESSABLE_ENTITY, "inputs_fixed"),
            EngineError::Outputs(OutputError::TooLarge { .. } | OutputError::TooMany { .. }) => {
                of(StatusCode::PAYLOAD_TOO_LARGE, "outputs_too_large")
            }
            EngineError::Outputs(_) => of(StatusCode::UNPROCESSABLE_ENTITY, "invalid_outputs"),
            EngineError::Id(_) => of(StatusCode::UNPROCESSABLE_ENTITY, "invalid_id"),
            EngineError::Labels(_) => of(StatusCode::UNPROCESSABLE_ENTITY, "invalid_labels"),
            EngineError::BadToken => of(StatusCode::UNAUTHORIZED, "unauthorized"),
            EngineError::GroupsNotAllowed { .. } => of(StatusCode::FORBIDDEN, "group_not_allowed"),
            EngineError::LabelsNotAllowed { .. } => of(StatusCode::FORBIDDEN, "label_not_allowed"),
            EngineError::WorkerTaken(_) => of(StatusCode::FORBIDDEN, "worker_taken"),
            EngineError::SecretNotAllowed(_) => of(StatusCode::FORBIDDEN, "secret_not_allowed"),
            EngineError::TokenExists(_) => of(StatusCode::CONFLICT, "token_exists"),
            EngineError::NoToken(_) => of(StatusCode::NOT_FOUND, "no_such_token"),
            EngineError::NoForges(_) => of(StatusCode::NOT_IMPLEMENTED, "no_forges"),
            EngineError::LinkRights { .. } => of(StatusCode::FORBIDDEN, "link_rights"),
            EngineError::NoLink(_) => of(StatusCode::NOT_FOUND, "no_such_link"),
            EngineError::LinkFile(problems) => {
                let problems: Vec<Problem> = problems.into_iter().map(Problem::from).collect();
                Self {
                    details: Some(json!({ "problems": problems })),
                    ..of(StatusCode::UNPROCESSABLE_ENTITY, "invalid_link")
                }
            }
            EngineError::HeadMoved { head } => {
                Self { details: Some(json!({ "head": head.as_str() })), ..of(StatusCode::CONFLICT, "moved") }
            }
            EngineError::NotAtForge(_) => of(StatusCode::NOT_FOUND, "not_at_forge"),
            EngineError::Contended(_) => of(StatusCode::SERVICE_UNAVAILABLE, "contended"),
            EngineError::Forge(ref error) if error.may_pass() => {
                of(StatusCode::SERVICE_UNAVAILABLE, "forge_unavailable")
            }
            EngineError::Forge(_) => of(StatusCode::UNPROCESSABLE_ENTITY, "forge_refused"),
            EngineError::NoScopes => of(StatusCode::UNPROCESSABLE_ENTITY, "invalid_token"),
            EngineError::Range { .. } | EngineError::TooMuch { .. } => {
                of(StatusCode::UNPROCESSABLE_ENTITY, "out_of_range")
            }
            EngineError::Store(StoreError::DiskFull(_)) => {
                log_unavailable(&DISK_FULL, &error);
                of(StatusCode::SERVICE_UNAVAILABLE, "storage_full")
            }
            error => {
                log_unavailable(&UNAVAILABLE, &error);
                let message = "the store did not answer; repeating the request is safe";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
            }
        }
    }
}

/// The log lines about answers 503, by cause: a caller may repeat its request, and a monitor its check, many times a second.
static DISK_FULL: Throttle = Throttle::every(UNAVAILABLE_EVERY);
static UNAVAILABLE: Throttle = Throttle::every(UNAVAILABLE_EVERY);
const UNAVAILABLE_EVERY: Duration = Duration::from_secs(10);

fn log_unavailable(log: &Throttle, error: &EngineError) {
    if let Some(suppressed) = log.pass(Millis::now()) {
        tracing::error!(%error, suppressed, "answered 503");
    }
}

/// The codes of reports that are refused.
const LEASE_CODES: [&str; 3] = ["cancelled", "already_reported", "lease_lost"];

fn lease_code(why: LeaseLost) -> &'static str {
    let [cancelled, already_reported, lease_lost] = LEASE_CODES;
    match why {
        LeaseLost::Cancelled => cancelled,
        LeaseLost::Reported => already_reported,
        _ => lease_lost,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Counts log lines whose error has a text.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl Visit for Lines {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            let counts = field.name() == "error" && format!("{value:?}").contains("counted by this test");
            self.0.fetch_add(usize::from(counts), Ordering::Relaxed);
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn flood_of_answers_503_is_one_log_line() {
        let lines = Lines::default();
        let log = Throttle::every(Duration::from_hours(1));
        let error = EngineError::Store(StoreError::Unavailable("counted by this test".to_owned()));
        let flood = || {
            // Another test may have reached the line while nothing listened.
            tracing::callsite::rebuild_interest_cache();
            for _ in 0..1000 {
                log_unavailable(&log, &error);
                let answer =
                    ApiError::from(EngineError::Store(StoreError::DiskFull("counted by this test".to_owned())));
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            }
        };
        tracing::subscriber::with_default(lines.clone(), flood);
        let written = lines.0.load(Ordering::Relaxed);
        // Another test may have written the line about a full disk, and a slow machine may take over ten seconds.
        assert!((1..5).contains(&written), "{written} lines");
    }

    #[test]
    fn record_that_others_change_is_asked_for_again_a_second_later() {
        let answer = ApiError::from(EngineError::Contended("pull request 7".to_owned()));
        assert_eq!(answer.code, "contended");
        let response = answer.response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }

    #[test]
    fn full_disk_is_named_and_other_errors_of_the_store_are_not() {
        let of = |error: StoreError| ApiError::from(EngineError::Store(error));
        let full = of(StoreError::DiskFull("/data/wfg.db".to_owned()));
        assert_eq!((full.status.as_u16(), full.code), (503, "storage_full"));
        assert!(full.message.contains("/data/wfg.db"), "{}", full.message);
        let other = of(StoreError::Unavailable("10.0.0.1 refused".to_owned()));
        assert_eq!((other.status.as_u16(), other.code), (503, "unavailable"));
        assert!(!other.message.contains("10.0.0.1"), "{}", other.message);
    }
}
