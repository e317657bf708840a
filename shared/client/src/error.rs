//! Errors of a call.

use std::time::Duration;

use fetch::FetchError;
use http::StatusCode;
use protocol::wire::ErrorBody;
use serde_json::Value;

/// Why a call failed. The text is for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server's URL can't be used; nothing was sent.
    #[error("{url} can't be used: {reason}")]
    BadServer {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token can't be sent in a header; nothing was sent. The text doesn't contain the token.
    #[error(
        "the token can't be used: it has a line end, a control character or a character outside ASCII, which a header \
         can't carry"
    )]
    BadToken,
    /// Something of the request can't be sent.
    #[error("`{what}` can't be sent: {reason}")]
    BadRequest {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// No answer: no connection, a broken one, or a timeout. The request may have been carried out.
    #[error("can't reach {url}: {}", source.root_cause())]
    Unreachable {
        /// The server.
        url: String,
        /// The cause. It names no path, since a path may hold a lease.
        source: FetchError,
    },
    /// The server answered, and not with success.
    #[error("{message} ({status} {code})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's stable word; `http_<status>` if the answer wasn't one of workflow-graph.
        code: String,
        /// What, where, and the limit or the fix.
        message: String,
        /// More, by code: every problem of a definition, for one.
        details: Option<Value>,
        /// How long the server asked to wait (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// The server answered with success, but not with what was asked for.
    #[error("{url} answered {status} to `{what}`, but the answer can't be read: {reason}")]
    Unreadable {
        /// The server.
        url: String,
        /// What was asked.
        what: &'static str,
        /// The HTTP status.
        status: u16,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl ClientError {
    pub(super) fn refused(
        url: &str,
        status: StatusCode,
        location: Option<&str>,
        retry_after: Option<&str>,
        body: &[u8],
    ) -> Self {
        let retry_after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let status_number = status.as_u16();
        if let Ok(ErrorBody { error }) = serde_json::from_slice(body) {
            let protocol::wire::ErrorInfo { code, message, details } = error;
            return Self::Refused { status: status_number, code, message, details, retry_after };
        }
        let message = match location {
            Some(location) if status.is_redirection() => {
                format!("the server sends on to {location}; use that address as the server URL")
            }
            _ => foreign_message(url, status, body),
        };
        Self::Refused {
            status: status_number,
            code: format!("http_{status_number}"),
            message,
            details: None,
            retry_after,
        }
    }

    /// The HTTP status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the server certainly didn't get the request: there was no connection, or something else than the server refused it.
    pub(crate) fn never_arrived(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.is_connect(),
            Self::Refused { status: 401 | 403 | 404, code, .. } => code.starts_with("http_"),
            _ => false,
        }
    }

    /// Whether the same request may succeed later: the server wasn't reached, was busy, or something before it was.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => {
                !matches!(source, FetchError::NoCertificates(_) | FetchError::Unsendable(_))
            }
            // 500 is a gateway's word for a function that broke off; the server itself says 503.
            Self::Refused { status, code, .. } => matches!(status, 429 | 502 | 503 | 504) || code == "http_500",
            Self::BadServer { .. } | Self::BadToken | Self::BadRequest { .. } | Self::Unreadable { .. } => false,
        }
    }
}

/// The message of a refusal by a gateway or a proxy, whose bodies have other shapes.
fn foreign_message(url: &str, status: StatusCode, body: &[u8]) -> String {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let message = body.as_ref().and_then(|body| body.get("message")?.as_str());
    let reason = message.or(status.canonical_reason()).unwrap_or("an unknown status");
    format!("{url} refused the request: {reason}")
}
