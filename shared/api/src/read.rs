//! Reading what a request carries.

use std::str::FromStr;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri, header};
use protocol::limits;
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::routes::{self, Params};

/// A request, taken apart.
pub(crate) struct Input {
    pub params: Params,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// How a body is written.
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

impl Input {
    /// Refuses a body over the limit and a query that can't be decoded.
    pub(crate) fn new(params: Params, uri: &Uri, headers: HeaderMap, body: Bytes) -> Result<Self, ApiError> {
        if body.len() > limits::REQUEST_BODY {
            return Err(ApiError::body_too_large(Some(body.len() as u64)));
        }
        Ok(Self { params, query: parse_query(uri.query().unwrap_or_default())?, headers, body })
    }

    /// A variable of the path, as its type.
    pub(crate) fn param<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<T, ApiError> {
        let text = self.params.get(name).map_or("", String::as_str);
        text.parse().map_err(|error: T::Err| ApiError::bad_request("invalid_path", format!("in the path: {error}")))
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

    /// How many of a list are asked for.
    pub(crate) fn limit(&self, unless_asked: usize) -> Result<usize, ApiError> {
        let limit = self.query::<usize>("limit")?.unwrap_or(unless_asked);
        if (1..=limits::LIST).contains(&limit) {
            return Ok(limit);
        }
        let message = format!("query parameter `limit` is {limit}; it must be from 1 to {}", limits::LIST);
        Err(ApiError::bad_request("invalid_query", message))
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
        let text = self.text()?;
        let reader = &mut serde_json::Deserializer::from_str(text);
        let value = serde_path_to_error::deserialize(&mut *reader).map_err(|error| json_error(&error))?;
        reader.end().map_err(|error| {
            ApiError::bad_request("invalid_json", format!("the body isn't one JSON value: {error}"))
        })?;
        if !text.trim_ascii_start().starts_with('{') {
            // The fields in a row would be taken too, and none at all where each has a default.
            return Err(ApiError::invalid("invalid_field", "the body is a list; it must be an object"));
        }
        Ok(value)
    }

    /// The body as JSON, or the default if there is none.
    pub(crate) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, ApiError> {
        if self.body.iter().all(u8::is_ascii_whitespace) { Ok(T::default()) } else { self.json() }
    }

    /// The body as text.
    pub(crate) fn text(&self) -> Result<&str, ApiError> {
        std::str::from_utf8(&self.body).map_err(|error| {
            let message = format!("the body isn't UTF-8: byte {} can't be read", error.valid_up_to());
            ApiError::bad_request("not_utf8", message)
        })
    }

    /// What `Content-Type` says; `default` if there is none.
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
            // What curl and some clients send when told nothing.
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
        // serde_json appends where it was in the text; the field says it better.
        let text = inner.to_string();
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        let message = if path == "." { format!("the body: {text}") } else { format!("field `{path}`: {text}") };
        return ApiError::invalid("invalid_field", message);
    }
    ApiError::bad_request("invalid_json", format!("the body isn't JSON: {inner}"))
}

fn parse_query(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    let decode = |text: &str| {
        let message = || format!("the query isn't percent-encoded UTF-8 at {text:?}");
        routes::decode(&text.replace('+', " ")).ok_or_else(|| ApiError::bad_request("invalid_query", message()))
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}
