//! Reading a request: path variables, query parameters, headers and the body, each as its type or an error.

use std::borrow::Cow;
use std::collections::HashMap;
use std::str::FromStr;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use protocol::text::without_mark;
use protocol::{JobId, Millis, WorkflowId, limits};
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::route::Route;

/// The variables of a path, decoded, by name.
pub(crate) type Params = HashMap<String, String>;

/// A request to a route.
pub(crate) struct Input<'a> {
    pub route: &'a Route,
    pub params: &'a Params,
    pub query: Vec<(String, String)>,
    pub headers: &'a HeaderMap,
    pub body: Bytes,
}

/// The format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

impl Format {
    /// The media type under which a definition of this format is stored and served.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
        }
    }

    /// The format of a stored media type.
    pub(crate) fn of(content_type: &str) -> Self {
        if content_type == Self::Json.content_type() { Self::Json } else { Self::Yaml }
    }
}

impl<'a> Input<'a> {
    /// Refuses a body over the limit and a query that can't be decoded.
    pub(crate) fn new(
        route: &'a Route,
        params: &'a Params,
        uri: &Uri,
        headers: &'a HeaderMap,
        body: Bytes,
    ) -> Result<Self, ApiError> {
        if body.len() > limits::REQUEST_BODY {
            return Err(ApiError::body_too_large(&format!("{} bytes", body.len())));
        }
        Ok(Self { route, params, query: parse_query(uri.query().unwrap_or_default())?, headers, body })
    }

    /// A variable of the path, as its type.
    pub(crate) fn param<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<T, ApiError> {
        let text = self.params.get(name).map_or("", String::as_str);
        text.parse().map_err(|error: T::Err| ApiError::bad_request("invalid_path", format!("in the path: {error}")))
    }

    /// The workflow and the job of a path under `/api/workflows/{id}/jobs/{job_id}`.
    pub(crate) fn job(&self) -> Result<(WorkflowId, JobId), ApiError> {
        Ok((self.param("id")?, self.param("job_id")?))
    }

    /// A parameter of the query, if it is there and not empty.
    pub(crate) fn query<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some((_, text)) = self.query.iter().find(|(key, text)| key == name && !text.is_empty()) else {
            return Ok(None);
        };
        let parsed = text.parse().map_err(|error: T::Err| {
            ApiError::bad_request("invalid_query", format!("query parameter `{name}`: {text:?}: {error}"))
        });
        parsed.map(Some)
    }

    /// How many entries of a list the client wants, if it says so.
    pub(crate) fn limit(&self) -> Result<Option<usize>, ApiError> {
        let limit = self.query::<usize>("limit")?;
        let Some(limit) = limit.filter(|limit| !(1..=limits::LIST).contains(limit)) else { return Ok(limit) };
        let message = format!("query parameter `limit` is {limit}; it must be from 1 to {}", limits::LIST);
        Err(ApiError::bad_request("invalid_query", message))
    }

    /// The cursor of a list in the order of time: a time and an id.
    pub(crate) fn cursor<T>(&self, read: impl FnOnce(Millis, &str) -> Option<T>) -> Result<Option<T>, ApiError> {
        let Some(text) = self.query::<String>("cursor")? else { return Ok(None) };
        let cursor = text.split_once('.').and_then(|(at, id)| read(Millis(at.parse().ok()?), id));
        cursor.map(Some).ok_or_else(ApiError::bad_cursor)
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        let (size, limit) = (value.len(), limits::HEADER);
        if size > limit {
            let message = format!("header `{name}` is {size} bytes; at most {limit} are allowed");
            return Err(ApiError::bad_request("invalid_header", message));
        }
        let text = value.to_str();
        text.map(Some)
            .map_err(|_| ApiError::bad_request("invalid_header", format!("header `{name}` isn't plain ASCII text")))
    }

    /// The body as JSON: an object.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if self.format(Format::Json)? != Format::Json {
            return Err(unsupported("application/json"));
        }
        let text = without_mark(self.text()?);
        let reader = &mut serde_json::Deserializer::from_str(text);
        let value = serde_path_to_error::deserialize(&mut *reader).map_err(|error| json_error(&error))?;
        reader.end().map_err(|error| {
            ApiError::bad_request("invalid_json", format!("the body isn't one JSON value: {error}"))
        })?;
        if !text.trim_ascii_start().starts_with('{') {
            // serde reads a list as the fields in order, and an empty one where each field has a default.
            return Err(ApiError::invalid("invalid_field", "the body is a list; it must be an object"));
        }
        Ok(value)
    }

    /// The body as JSON, or the default if there is none.
    pub(crate) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if without_mark(self.text()?).trim_ascii().is_empty() { Ok(T::default()) } else { self.json() }
    }

    /// The body as text.
    pub(crate) fn text(&self) -> Result<&str, ApiError> {
        std::str::from_utf8(&self.body).map_err(|error| {
            let is_utf16 = self.body.starts_with(b"\xff\xfe") || self.body.starts_with(b"\xfe\xff");
            let encoding = if is_utf16 { "it is UTF-16" } else { "the byte isn't part of a character" };
            let message = format!("the body isn't UTF-8: byte {} can't be read; {encoding}", error.valid_up_to());
            ApiError::bad_request("not_utf8", message)
        })
    }

    /// The format that `Content-Type` names; `default` if there is none.
    pub(crate) fn format(&self, default: Format) -> Result<Format, ApiError> {
        let Some(given) = self.header(header::CONTENT_TYPE.as_str())? else { return Ok(default) };
        let (kind, rest) = given.split_once(';').unwrap_or((given, ""));
        let charset = rest
            .split(';')
            .filter_map(|part| part.trim().split_once('='))
            .find(|(name, _)| name.eq_ignore_ascii_case("charset"));
        if let Some((_, charset)) = charset
            && !charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
        {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_charset",
                format!("charset {charset:?} isn't supported; send UTF-8"),
            ));
        }
        match kind.trim().to_ascii_lowercase().as_str() {
            "application/json" => Ok(Format::Json),
            "application/yaml" | "text/yaml" | "application/x-yaml" => Ok(Format::Yaml),
            // The defaults of curl and some other clients.
            "" | "application/x-www-form-urlencoded" | "text/plain" | "application/octet-stream" => Ok(default),
            _ => Err(unsupported(given)),
        }
    }
}

fn unsupported(given: &str) -> ApiError {
    let message = format!(
        "Content-Type {given:?} isn't supported here; send application/json, or application/yaml for a definition"
    );
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
}

fn json_error(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    use serde_json::error::Category;
    let path = error.path().to_string();
    let inner = error.inner();
    if inner.classify() == Category::Data {
        // serde_json appends the place in the text; the field's path is clearer.
        let text = inner.to_string();
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        let message = if path == "." { format!("the body: {text}") } else { format!("field `{path}`: {text}") };
        return ApiError::invalid("invalid_field", message);
    }
    ApiError::bad_request("invalid_json", format!("the body isn't JSON: {inner}"))
}

fn parse_query(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    // `form_urlencoded` replaces what it can't decode; a client must learn of it instead.
    if let Some(bad) = query.split(['&', '=']).find(|part| decode(part).is_none()) {
        let message = format!("the query isn't percent-encoded UTF-8 at {bad:?}");
        return Err(ApiError::bad_request("invalid_query", message));
    }
    Ok(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

/// Decodes `%XX`. Returns `None` if an escape isn't complete, or the result isn't UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let escapes = text.split('%').skip(1);
    let complete = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !escapes.into_iter().all(complete) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_is_decoded_and_bad_escapes_are_refused() {
        let pairs = parse_query("a=1+2&&b=%C3%A9&c&d=x=y").expect("well formed");
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "1 2"), ("b", "é"), ("c", ""), ("d", "x=y")]);
        for bad in ["a=%", "a=%4", "%zz=1", "a=%ff", "a=%C3&b=%A9"] {
            assert_eq!(parse_query(bad).expect_err(bad).code, "invalid_query", "{bad}");
        }
    }
}
