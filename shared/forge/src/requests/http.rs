//! Requests to one forge. The only module that knows the HTTP client.
//!
//! A request takes at most 10 s, follows redirects only to the same origin, and reads answers up to 10 MB. The token is sent to the
//! forge's own origin and nowhere else.

use std::time::Duration;

use client::Http;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

/// How long a request may take, with its redirects and the whole answer.
pub const WHOLE: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
pub const ANSWER: usize = 10 * 1024 * 1024;
/// Redirects that are followed in a row.
const REDIRECTS: usize = 3;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The address of the forge can't be used.
    #[error("the forge's address {url:?} can't be used: {reason}")]
    BadUrl {
        /// As given.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// No answer, or a broken one. The request may have been carried out.
    #[error("{host} didn't answer: {reason}")]
    NoAnswer {
        /// The forge.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The answer isn't one that is read.
    #[error("{host} answered with something that can't be used: {reason}")]
    Unusable {
        /// The forge.
        host: String,
        /// What is wrong.
        reason: String,
    },
}

/// A request, relative to the base of the API.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Call {
    /// A read. `path` begins with `/` and is encoded.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: Vec::new(), body: None }
    }

    /// A request that creates something.
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, body: Some(body).filter(|body| !body.is_null()), ..Self::get(path) }
    }

    /// A request that changes something.
    pub fn patch(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::PATCH, body: Some(body), ..Self::get(path) }
    }

    /// With this header, unless it has one of this name.
    pub fn or_header(self, name: &'static str, value: impl Into<String>) -> Self {
        if self.headers.iter().any(|(given, _)| *given == name) { self } else { self.header(name, value) }
    }

    /// With this header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// An answer, of any status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    host: String,
}

impl Answer {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header's number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        serde_json::from_slice(&self.body).map_err(|error| HttpError::Unusable {
            host: self.host.clone(),
            reason: format!("status {}, {error}", self.status),
        })
    }

    /// What the forge says is wrong, for people: at most 300 bytes.
    pub fn message(&self) -> String {
        let value: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let said = value.get("message").or_else(|| value.get("error"));
        let mut text = match said {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).into_owned(),
        };
        text.truncate(text.floor_char_boundary(300));
        text.replace(char::is_control, " ")
    }
}

/// The connections to a forge.
pub struct Origin {
    http: Http,
    base: Url,
}

impl Origin {
    /// A forge's API. `base` has no slash at its end.
    ///
    /// # Errors
    /// [`HttpError::BadUrl`] unless it is https, or http on this machine.
    pub fn new(base: &str) -> Result<Self, HttpError> {
        let bad = |reason: String| HttpError::BadUrl { url: base.to_owned(), reason };
        let url = Url::parse(base).map_err(|error| bad(error.to_string()))?;
        let allowed = url.scheme() == "https" || url.scheme() == "http" && client::is_loopback(&url);
        if !allowed {
            return Err(bad("it must begin with https:// (http:// only for this machine)".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it contains a user or a password".to_owned()));
        }
        let http = client::http(base).map_err(|error| bad(error.to_string()))?;
        Ok(Self { http, base: url })
    }

    /// The base of the API.
    pub fn base(&self) -> String {
        self.base.to_string()
    }

    /// Sends a request. An answer of any status is an answer.
    ///
    /// # Errors
    /// [`HttpError`] if there is no answer in time, or none that can be read.
    pub async fn send(&self, call: &Call) -> Result<Answer, HttpError> {
        match timeout(WHOLE, self.follow(call)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.no_answer(format!("not within {} s", WHOLE.as_secs()))),
        }
    }

    fn host(&self) -> String {
        self.base.host_str().unwrap_or_default().to_owned()
    }

    fn no_answer(&self, reason: String) -> HttpError {
        HttpError::NoAnswer { host: self.host(), reason }
    }

    fn unusable(&self, reason: String) -> HttpError {
        HttpError::Unusable { host: self.host(), reason }
    }

    async fn follow(&self, call: &Call) -> Result<Answer, HttpError> {
        let mut url = Url::parse(&format!("{}{}", self.base.as_str().trim_end_matches('/'), call.path))
            .map_err(|error| self.unusable(format!("no address can be made of {}: {error}", call.path)))?;
        for _ in 0..=REDIRECTS {
            let answer = self.once(call, url.clone()).await?;
            if !matches!(answer.status, 301 | 302 | 307 | 308) {
                return Ok(answer);
            }
            let location = answer.header(LOCATION.as_str()).unwrap_or_default();
            let next =
                url.join(location).map_err(|error| self.unusable(format!("a redirect to no address: {error}")))?;
            if next.origin() != self.base.origin() {
                let host = next.host_str().unwrap_or_default();
                return Err(self.unusable(format!("a redirect to another host, {host}, which is not followed")));
            }
            // A write keeps its method: only these two statuses promise it.
            if call.method != Method::GET && !matches!(answer.status, 307 | 308) {
                return Err(self.unusable("a redirect of a write that doesn't keep its method".to_owned()));
            }
            url = next;
        }
        Err(self.unusable(format!("more than {REDIRECTS} redirects in a row")))
    }

    async fn once(&self, call: &Call, url: Url) -> Result<Answer, HttpError> {
        let broken = |error: reqwest::Error| self.no_answer(cause(&error.without_url()));
        let mut request = self.http.request(call.method.clone(), url);
        for (name, value) in &call.headers {
            let name = HeaderName::from_static(name);
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| self.unusable(format!("header {name} has characters that can't be sent")))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        if let Some(body) = &call.body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > ANSWER {
                return Err(self.unusable(format!("an answer of over {ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body, host: self.host() })
    }
}

/// The innermost cause, which says the most.
fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
