//! Building responses: JSON, an empty body, and the link to a list's next page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::limits;
use serde::Serialize;

use crate::error::ApiError;
use crate::request::Input;

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

/// The size of a JSON text and its size as text within JSON, where quotes and backslashes take two bytes: a function's answer is
/// sent to its gateway in this form.
fn sizes(body: &[u8]) -> (usize, usize) {
    (body.len(), body.len() + body.iter().filter(|byte| matches!(byte, b'"' | b'\\')).count())
}

/// Whether a body is within the limits of an answer.
pub(crate) fn fits(body: &[u8]) -> bool {
    let (size, escaped) = sizes(body);
    size <= limits::ANSWER && escaped <= limits::ANSWER_ESCAPED
}

/// Refuses an answer that is over the limit, instead of one that a gateway refuses without a reason.
pub(crate) fn checked(response: Response<Bytes>) -> Answer {
    if fits(response.body()) {
        return Ok(response);
    }
    let (size, limit) = (response.body().len(), limits::ANSWER);
    let message = format!("the answer has {size} bytes as JSON; at most {limit} are sent");
    Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "answer_too_large", message))
}

/// Answers with one page of a list whose entries have unique keys: those after the `cursor`, as many as the client wants and an
/// answer may hold. The page is in the order of the keys.
pub(crate) fn json_page<T: Serialize>(input: &Input<'_>, entries: Vec<T>, key: fn(&T) -> String) -> Answer {
    let page = PageOf::requested(input, entries, usize::MAX, key)?;
    page.answer(input, key)
}

/// One page of a list, before it is cut to what an answer may hold.
pub(crate) struct PageOf<T> {
    pub entries: Vec<T>,
    /// True if the list goes on after the page.
    more: bool,
}

impl<T> PageOf<T> {
    /// The entries after the `cursor`, in the order of their keys: as many as the client wants, and at most `most`.
    pub fn requested(
        input: &Input<'_>,
        mut entries: Vec<T>,
        most: usize,
        key: fn(&T) -> String,
    ) -> Result<Self, ApiError> {
        let limit = input.limit()?.unwrap_or(usize::MAX).min(most);
        if let Some(cursor) = input.query::<String>("cursor")? {
            let after = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|text| String::from_utf8(text).ok());
            let after = after.ok_or_else(ApiError::bad_cursor)?;
            entries.retain(|entry| key(entry) > after);
        }
        entries.sort_by_cached_key(key);
        let more = entries.len() > limit;
        entries.truncate(limit);
        Ok(Self { entries, more })
    }

    /// The same page with other entries under the same keys.
    pub fn with<U>(&self, entries: Vec<U>) -> PageOf<U> {
        PageOf { entries, more: self.more }
    }
}

impl<T: Serialize> PageOf<T> {
    /// Answers with the page, or its beginning, and a link to the next one.
    pub fn answer(&self, input: &Input<'_>, key: fn(&T) -> String) -> Answer {
        let (mut size, mut escaped, mut count) = (2, 2, 0);
        for entry in &self.entries {
            let (more, more_escaped) = sizes(&serde_json::to_vec(entry).unwrap_or_default());
            size += more + 1;
            escaped += more_escaped + 1;
            if count > 0 && (size > limits::ANSWER || escaped > limits::ANSWER_ESCAPED) {
                break;
            }
            count += 1;
        }
        let shown = &self.entries[..count];
        let response = json_answer(StatusCode::OK, &shown)?;
        let goes_on = self.more || count < self.entries.len();
        let Some(last) = shown.last().filter(|_| goes_on) else { return Ok(response) };
        let path = input.route.path;
        let limit = input.limit()?.map_or_else(String::new, |limit| format!("limit={limit}&"));
        Ok(link_next(response, &format!("{path}?{limit}cursor={}", URL_SAFE_NO_PAD.encode(key(last)))))
    }
}
