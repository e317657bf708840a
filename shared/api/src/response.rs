//! Building responses: JSON, an empty body, and the link to a list's next page.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::error::ApiError;

/// A response, or the error that becomes one.
pub(crate) type Answer = Result<Response<Bytes>, ApiError>;

/// All characters but those that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(crate) fn json_answer(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer can't be written as JSON");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer could not be written")
    })?;
    Ok(typed(status, "application/json", Bytes::from(body)))
}

pub(crate) fn typed(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// Adds the address of the list's next page, for clients that follow `Link`.
pub(crate) fn link_next(mut response: Response<Bytes>, path_and_query: &str) -> Response<Bytes> {
    if let Ok(link) = HeaderValue::try_from(format!("<{path_and_query}>; rel=\"next\"")) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// Percent-encodes a path segment or a query's value.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
