//! Requests to one forge. The only module that knows the HTTP client.
//!
//! A request takes at most 10 s, follows redirects only to the same origin, and reads answers up to 10 MB. The token is sent to the
//! forge's own origin and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use fetch::{FetchError, Http};
use http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, Request, Uri};
use protocol::host;
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
    /// Without a slash at the end.
    base: String,
    /// Scheme, host and port.
    site: String,
    host: String,
}

/// Scheme, host and port of an address, such as `https://api.github.com`.
fn origin_of(uri: &Uri) -> Option<String> {
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?).to_ascii_lowercase())
}

impl Origin {
    /// A forge's API.
    ///
    /// # Errors
    /// [`HttpError::BadUrl`] unless it is https, or http on this machine.
    pub fn new(base: &str) -> Result<Self, HttpError> {
        let bad = |reason: &str| HttpError::BadUrl { url: base.to_owned(), reason: reason.to_owned() };
        let uri: Uri = base.parse().map_err(|_| bad("it isn't an address"))?;
        let host = uri.host().unwrap_or_default().to_owned();
        let allowed = uri.scheme_str() == Some("https") || uri.scheme_str() == Some("http") && host::is_loopback(&host);
        if !allowed {
            return Err(bad("it must begin with https:// (http:// only for this machine)"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(bad("it contains a user or a password"));
        }
        let site = origin_of(&uri).ok_or_else(|| bad("it has no host"))?;
        Ok(Self { http: Http::new(), base: base.trim_end_matches('/').to_owned(), site, host })
    }

    /// The base of the API.
    pub fn base(&self) -> String {
        self.base.clone()
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

    fn no_answer(&self, reason: String) -> HttpError {
        HttpError::NoAnswer { host: self.host.clone(), reason }
    }

    fn unusable(&self, reason: String) -> HttpError {
        HttpError::Unusable { host: self.host.clone(), reason }
    }

    async fn follow(&self, call: &Call) -> Result<Answer, HttpError> {
        let mut url = format!("{}{}", self.base, call.path);
        for _ in 0..=REDIRECTS {
            let answer = self.once(call, &url).await?;
            if !matches!(answer.status, 301 | 302 | 307 | 308) {
                return Ok(answer);
            }
            let next = self.redirected(answer.header(LOCATION.as_str()).unwrap_or_default())?;
            // A write keeps its method: only these two statuses promise it.
            if call.method != Method::GET && !matches!(answer.status, 307 | 308) {
                return Err(self.unusable("a redirect of a write that doesn't keep its method".to_owned()));
            }
            url = next;
        }
        Err(self.unusable(format!("more than {REDIRECTS} redirects in a row")))
    }

    /// Where a redirect leads, if it is within the forge.
    fn redirected(&self, location: &str) -> Result<String, HttpError> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Ok(format!("{}{location}", self.site));
        }
        let to: Option<Uri> = location.parse().ok();
        let to = to.as_ref().and_then(origin_of);
        if to.as_ref() == Some(&self.site) {
            return Ok(location.to_owned());
        }
        let to = to.unwrap_or_default();
        Err(self.unusable(format!("a redirect to another host, {to:?}, which is not followed")))
    }

    async fn once(&self, call: &Call, url: &str) -> Result<Answer, HttpError> {
        let body = call.body.as_ref().map_or_else(Bytes::new, |body| body.to_string().into());
        let mut request = Request::new(body);
        *request.method_mut() = call.method.clone();
        *request.uri_mut() =
            url.parse().map_err(|_| self.unusable(format!("no address can be made of {}", call.path)))?;
        for (name, value) in &call.headers {
            let name = HeaderName::from_static(name);
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| self.unusable(format!("header {name} has characters that can't be sent")))?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        if call.body.is_some() {
            request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        }
        let response = self.http.send_up_to(request, WHOLE, ANSWER).await.map_err(|error| match error {
            FetchError::TooLarge(_) => self.unusable(error.to_string()),
            error => self.no_answer(error.root_cause()),
        })?;
        let (head, body) = response.into_parts();
        let host = self.host.clone();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_vec(), host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forge_is_asked_over_tls_or_on_this_machine() {
        for good in
            ["https://api.github.com", "https://git.example.com:8443/gitea/api/v1", "http://127.0.0.1:3000/api/v3"]
        {
            assert_eq!(Origin::new(good).map(|origin| origin.base()).ok().as_deref(), Some(good));
        }
        for bad in ["http://git.example.com", "ftp://a", "https://user@host", "git.example.com", ""] {
            assert!(Origin::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn redirect_stays_within_scheme_host_and_port() {
        let forge = Origin::new("https://git.example.com/api/v1").expect("an address");
        assert_eq!(forge.redirected("/other").ok().as_deref(), Some("https://git.example.com/other"));
        assert!(forge.redirected("https://git.example.com/x").is_ok());
        for other in [
            "//evil.example",
            "https://git.example.com.evil/x",
            "http://git.example.com/x",
            "https://git.example.com:444/",
            "x",
            "",
        ] {
            assert!(forge.redirected(other).is_err(), "{other}");
        }
    }
}
