//! The HTTP client of the API: one method for each route, one request for each call. [`retry`] repeats calls.

mod address;
mod error;
mod token;

pub mod retry;

// `Client`, in this file, is used by these.

mod direct;

mod calls;

mod forge_calls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
/// A client of any server.
pub use fetch::Http;
use fetch::proxy_for;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION, RETRY_AFTER,
};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use address::Address;
pub use address::without_password;
pub use calls::{Logs, Page};
use direct::{Direct, Gateway};
pub use error::ClientError;
pub use token::Token;

/// The URL of the server if none is given.
pub const DEFAULT_SERVER_URL: &str = "http://localhost:3000";

/// How long a whole request may take, from its first byte to the answer's last.
const WHOLE: Duration = Duration::from_secs(30);
/// All but the characters that stay as they are in a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A client of one server. Cheap to clone; clones share their connections.
///
/// A connection may take 5 s and a request 30 s, on top of what a claim asks to wait.
#[derive(Clone)]
pub struct Client {
    http: Http,
    base: String,
    /// The proxy by which the server is reached.
    proxy: Option<String>,
    authorization: Option<HeaderValue>,
    /// Addresses past the gateway.
    direct: Direct,
    /// The server itself, if this client is for such an address.
    gateway: Option<Arc<Gateway>>,
}

impl Client {
    /// A client of the server at `server_url`, which may have a path (`https://host/stage`).
    ///
    /// `token` goes along as `Bearer`. Without one, `user:password` in the URL goes along as `Basic`. Fails with
    /// [`ClientError::BadServer`] if the URL can't be used, and with [`ClientError::BadToken`] if the token can't; nothing is
    /// sent yet.
    pub fn new(server_url: &str, token: Option<String>) -> Result<Self, ClientError> {
        let Address { url, base, basic, .. } = Address::of_server(server_url)?;
        let authorization = token.map(|token| format!("Bearer {}", token.trim())).or(basic);
        let authorization = authorization.map(|text| secret_header(&text)).transpose()?;
        let (http, proxy) = (Http::new(), proxy_for(&url));
        Ok(Self { http, proxy, base, authorization, direct: Direct::default(), gateway: None })
    }

    /// The server's URL, without user and password.
    #[must_use]
    pub fn server_url(&self) -> &str {
        &self.base
    }

    fn request(&self, method: Method, what: &'static str, path: &[&str]) -> Request {
        let mut url = self.base.clone();
        for segment in path {
            url.push('/');
            url.extend(utf8_percent_encode(segment, SEGMENT));
        }
        let mut request = Request::new(self.clone(), method, what, url);
        if let Some(authorization) = &self.authorization {
            request.headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }

    /// A request to an address that isn't the server's: no token goes along.
    fn elsewhere(&self, what: &'static str, url: &str) -> Result<Request, ClientError> {
        let bad = |reason: String| ClientError::Unreadable { url: self.base.clone(), what, status: 200, reason };
        let Address { url: parsed, origin: base, .. } =
            Address::parse(url).map_err(|reason| bad(format!("it names an address that isn't one: {reason}")))?;
        let proxy = proxy_for(&parsed);
        let http = self.http.clone();
        let other = Self { http, base, proxy, authorization: None, direct: Direct::default(), gateway: None };
        Ok(Request::new(other, Method::GET, what, url.to_owned()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server_url", &self.base).finish_non_exhaustive()
    }
}

fn secret_header(text: &str) -> Result<HeaderValue, ClientError> {
    // The user and password of a URL are in base64 here, so that only a token can fail.
    let mut value = HeaderValue::from_str(text).map_err(|_| ClientError::BadToken)?;
    value.set_sensitive(true);
    Ok(value)
}

#[derive(Clone)]
struct Request {
    client: Client,
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    /// How long it may take, from its first byte to the answer's last.
    limit: Duration,
    what: &'static str,
}

impl Request {
    fn new(client: Client, method: Method, what: &'static str, url: String) -> Self {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        Self { client, method, url, headers, body: Bytes::new(), limit: WHOLE, what }
    }

    fn query(mut self, name: &str, value: Option<impl fmt::Display>) -> Self {
        if let Some(value) = value {
            let pair = form_urlencoded::Serializer::new(String::new()).append_pair(name, &value.to_string()).finish();
            self.url.push(if self.url.contains('?') { '&' } else { '?' });
            self.url += &pair;
        }
        self
    }

    fn timeout(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    fn text(mut self, content_type: &'static str, body: String) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }

    /// Lets the call be repeated. Fails if the key can't stand in a header.
    fn idempotency_key(mut self, key: Option<&str>) -> Result<Self, ClientError> {
        if let Some(key) = key {
            let value = HeaderValue::from_str(key).map_err(|_| ClientError::BadRequest {
                what: self.what,
                reason: "the idempotency key has characters that a header can't carry".to_owned(),
            })?;
            self.headers.insert("idempotency-key", value);
        }
        Ok(self)
    }

    fn json(self, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).expect("requests are made of texts, numbers and maps with text keys");
        self.text("application/json", body)
    }

    /// Sends it; an answer that isn't 2xx is [`ClientError::Refused`]. A request to an address past the gateway that didn't arrive at the
    /// server goes to the gateway.
    async fn send(self) -> Result<Answer, ClientError> {
        let Some((gateway, again)) = self.by_the_gateway() else { return Box::pin(self.send_once()).await };
        match Box::pin(self.send_once()).await {
            Err(error) if error.never_arrived() => {
                gateway.forget_endpoints(&error);
                Box::pin(again.send_once()).await
            }
            answer => answer,
        }
    }

    /// The same request for the server's own address, if this one goes past the gateway.
    fn by_the_gateway(&self) -> Option<(Arc<Gateway>, Self)> {
        let gateway = self.client.gateway.clone()?;
        let rest = self.url.strip_prefix(&self.client.base)?;
        let url = format!("{}{rest}", gateway.client.base);
        let again = Self { client: gateway.client.clone(), url, ..self.clone() };
        Some((gateway, again))
    }

    async fn send_once(self) -> Result<Answer, ClientError> {
        let Self { client: Client { http, base, proxy, .. }, method, headers, body, limit, what, .. } = self;
        let mut request = http::Request::new(body);
        *request.uri_mut() = self.url.parse().map_err(|error: http::uri::InvalidUri| {
            // The text may hold a lease, so that it isn't named.
            ClientError::BadRequest { what, reason: format!("its address can't be used: {error}") }
        })?;
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let url = match proxy {
            Some(proxy) => format!("{base} by the proxy {proxy}"),
            None => base,
        };
        let response = http.send(request, limit).await;
        let response = response.map_err(|source| ClientError::Unreachable { url: url.clone(), source })?;
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status, head.headers);
        if status.is_success() {
            return Ok(Answer { url, what, status, headers, body });
        }
        let (location, retry_after) = (header(&headers, &LOCATION), header(&headers, &RETRY_AFTER));
        Err(ClientError::refused(&url, status, location, retry_after, &body))
    }

    async fn read<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        self.send().await?.read()
    }
}

struct Answer {
    url: String,
    what: &'static str,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let kind = header(&self.headers, &CONTENT_TYPE).unwrap_or_default();
            let reason = if kind.starts_with("application/json") {
                error.to_string()
            } else {
                format!("it is {kind:?} and not JSON; is this the right server?")
            };
            ClientError::Unreadable { url: self.url.clone(), what: self.what, status: self.status.as_u16(), reason }
        })
    }

    /// The body as it is.
    fn text(self) -> Result<String, ClientError> {
        String::from_utf8(self.body.into()).map_err(|error| ClientError::Unreadable {
            url: self.url,
            what: self.what,
            status: self.status.as_u16(),
            reason: error.to_string(),
        })
    }

    /// The value of `name` in the query of the `Link` with `rel="next"`. Its host is ignored: the token goes nowhere else.
    fn next(&self, name: &str) -> Option<String> {
        let link = header(&self.headers, &LINK)?;
        let next = link.split(',').find(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))?;
        let (_, query) = next.trim().strip_prefix('<')?.split_once('>')?.0.split_once('?')?;
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    fn has_next(&self) -> bool {
        header(&self.headers, &LINK).is_some_and(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
