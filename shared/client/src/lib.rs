//! The HTTP client of the API: one method for each route, one request for each call. [`retry`] repeats calls.

mod error;
mod proxy;
mod token;

pub mod retry;

// `Client`, in this file, is used by these.

mod direct;

mod calls;

use std::fmt;
use std::sync::{Arc, Once};
use std::time::Duration;

use base64::Engine as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use calls::{Logs, Page};
use direct::{Direct, Gateway};
pub use error::ClientError;
pub use proxy::is_loopback;
/// A client of any server: what [`http`] returns.
pub use reqwest::Client as Http;
pub use token::Token;

/// The URL of the server if none is given.
pub const DEFAULT_SERVER_URL: &str = "http://localhost:3000";

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a whole request may take, from its first byte to the answer's last.
const WHOLE: Duration = Duration::from_secs(30);
/// Less than the 60 s after which load balancers drop a connection they believe idle.
const IDLE: Duration = Duration::from_secs(30);

/// All but the characters that stay as they are in a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A client of one server. Cheap to clone; clones share their connections.
///
/// A connection may take 5 s and a request 30 s, on top of what a claim asks to wait.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
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
    /// [`ClientError::BadServer`] if the URL or the token can't be used; nothing is sent yet.
    pub fn new(server_url: &str, token: Option<String>) -> Result<Self, ClientError> {
        let (url, basic) = read_server_url(server_url)?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        let authorization = token.map(|token| format!("Bearer {}", token.trim())).or(basic);
        let authorization = authorization.map(|text| secret_header(&base, &text)).transpose()?;
        let http = http_client(&url)
            .map_err(|error| ClientError::BadServer { url: base.clone(), reason: error::root_cause(&error) })?;
        let proxy = proxy::proxy_for(&url);
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
        let url = Url::parse(&url).expect("the base was parsed before, and what follows is percent-encoded");
        let mut request = Request::new(self.clone(), method, what, url);
        if let Some(authorization) = &self.authorization {
            request.inner.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        request
    }

    /// A request to an address that isn't the server's: no token goes along.
    fn elsewhere(&self, what: &'static str, url: &str) -> Result<Request, ClientError> {
        let bad = |reason: String| ClientError::Unreadable { url: self.base.clone(), what, status: 200, reason };
        let url = Url::parse(url).map_err(|error| bad(format!("it names an address that isn't one: {error}")))?;
        let base = url.origin().ascii_serialization();
        let proxy = proxy::proxy_for(&url);
        let http = self.http_for(&url, proxy.as_deref()).map_err(|error| bad(error::root_cause(&error)))?;
        let other = Self { http, base, proxy, authorization: None, direct: Direct::default(), gateway: None };
        Ok(Request::new(other, Method::GET, what, url))
    }

    /// An HTTP client for another address. The connections of this client are reused if both are reached in the same way.
    fn http_for(&self, url: &Url, proxy: Option<&str>) -> reqwest::Result<reqwest::Client> {
        let same_scheme = self.base.split(':').next() == Some(url.scheme());
        if same_scheme && proxy == self.proxy.as_deref() { Ok(self.http.clone()) } else { http_client(url) }
    }
}

/// An HTTP client for the host of this URL, for calls other than the API's. The environment's proxy is used unless the host is this
/// machine.
///
/// # Errors
/// [`ClientError::BadServer`] if the URL can't be used.
pub fn http(url: &str) -> Result<Http, ClientError> {
    let bad = |reason: String| ClientError::BadServer { url: url.to_owned(), reason };
    let url = Url::parse(url).map_err(|error| bad(error.to_string()))?;
    http_client(&url).map_err(|error| bad(error::root_cause(&error)))
}

/// A client for the host of this URL: a proxy of the environment is used unless the host is this machine.
fn http_client(url: &Url) -> reqwest::Result<reqwest::Client> {
    install_crypto_provider();
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("workflow-graph/", env!("CARGO_PKG_VERSION")));
    let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
    // Without TLS no certificates are read. A small container may have none.
    let plain = url.scheme() == "http" && proxy::proxy_for(url).is_none();
    if plain { builder.tls_certs_only([]).build() } else { builder.build() }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server_url", &self.base).finish_non_exhaustive()
    }
}

/// The URL without user, password and query, and the `Authorization` header that user and password make.
fn read_server_url(text: &str) -> Result<(Url, Option<String>), ClientError> {
    // The text may hold a password, so that it is named in no message.
    let bad = |reason: String| ClientError::BadServer { url: "the server URL".to_owned(), reason };
    let mut url =
        Url::parse(text.trim()).map_err(|error| bad(format!("{error}; expected http://host or https://host")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad(format!("it begins with `{}:`; expected http://host or https://host", url.scheme())));
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let basic = url.password().map(|password| {
        let pair = format!("{}:{}", decoded(url.username()), decoded(password));
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    });
    url.set_username("").and_then(|()| url.set_password(None)).expect("a URL with a host can do without a user");
    url.set_query(None);
    url.set_fragment(None);
    Ok((url, basic))
}

/// `server_url` without its password, if it has one.
#[must_use]
pub fn without_password(server_url: &str) -> Option<String> {
    let (cleaned, basic) = read_server_url(server_url).ok()?;
    basic.map(|_| cleaned.as_str().trim_end_matches('/').to_owned())
}

fn secret_header(base: &str, text: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| ClientError::BadServer {
        url: base.to_owned(),
        reason: "the token has characters that a header can't carry".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn install_crypto_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that the program has installed one of its own, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

struct Request {
    client: Client,
    inner: reqwest::Request,
    what: &'static str,
}

impl Request {
    fn new(client: Client, method: Method, what: &'static str, url: Url) -> Self {
        let mut inner = reqwest::Request::new(method, url);
        *inner.timeout_mut() = Some(WHOLE);
        inner.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        Self { client, inner, what }
    }

    fn query(mut self, name: &str, value: Option<impl fmt::Display>) -> Self {
        if let Some(value) = value {
            self.inner.url_mut().query_pairs_mut().append_pair(name, &value.to_string());
        }
        self
    }

    fn timeout(mut self, timeout: Duration) -> Self {
        *self.inner.timeout_mut() = Some(timeout);
        self
    }

    fn text(mut self, content_type: &'static str, body: String) -> Self {
        self.inner.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        *self.inner.body_mut() = Some(body.into());
        self
    }

    /// Lets the call be repeated. Fails if the key can't stand in a header.
    fn idempotency_key(mut self, key: Option<&str>) -> Result<Self, ClientError> {
        if let Some(key) = key {
            let value = HeaderValue::from_str(key).map_err(|_| ClientError::BadRequest {
                what: self.what,
                reason: "the idempotency key has characters that a header can't carry".to_owned(),
            })?;
            self.inner.headers_mut().insert("idempotency-key", value);
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
        let rest = self.inner.url().as_str().strip_prefix(&self.client.base)?;
        let mut inner = self.inner.try_clone()?;
        *inner.url_mut() = Url::parse(&format!("{}{rest}", gateway.client.base)).ok()?;
        let again = Self { client: gateway.client.clone(), inner, what: self.what };
        Some((gateway, again))
    }

    async fn send_once(self) -> Result<Answer, ClientError> {
        let Client { http, base, proxy, .. } = self.client;
        let url = match proxy {
            Some(proxy) => format!("{base} by the proxy {proxy}"),
            None => base,
        };
        let unreachable = |source: reqwest::Error| ClientError::unreachable(&url, source);
        let response = http.execute(self.inner).await.map_err(unreachable)?;
        let status = response.status();
        let headers = response.headers().clone();
        let body = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(Answer { url, what: self.what, status, headers, body: body.to_vec() });
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
    body: Vec<u8>,
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
        String::from_utf8(self.body).map_err(|error| ClientError::Unreadable {
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
        let url = Url::parse(&format!("http://ignored/?{query}")).ok()?;
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    fn has_next(&self) -> bool {
        header(&self.headers, &LINK).is_some_and(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
