//! An HTTP client: TLS by the system's certificates, the environment's proxies, time limits. One request for each call; it follows no
//! redirections.
//!
//! Proxies are those that `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` name. This machine is never reached by one.

mod error;
mod proxied;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
pub use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{self, Builder};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use protocol::host;
use rustls::ClientConfig;

pub use self::error::FetchError;
use self::proxied::{Timed, ToProxy};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Less than the 60 s after which load balancers drop a connection they believe idle.
const IDLE: Duration = Duration::from_secs(30);
/// The pause before a silent connection is asked whether it still lives.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The client's name for servers.
const USER_AGENT: &str = concat!("workflow-graph/", env!("CARGO_PKG_VERSION"));

/// Connects with or without TLS, as the URL says.
type Direct = HttpsConnector<HttpConnector>;
type Pool<C> = legacy::Client<Timed<C>, Full<Bytes>>;

/// A client. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    proxies: Matcher,
    /// For URLs without TLS.
    plain: Pool<HttpConnector>,
    /// For URLs with TLS.
    direct: OnceLock<Pool<Direct>>,
    /// For URLs without TLS, by the environment's proxy.
    proxied: OnceLock<Pool<ToProxy<Direct>>>,
    /// For URLs with TLS, through the environment's proxy.
    tunnelled: OnceLock<Pool<HttpsConnector<Tunnel<Direct>>>>,
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Http {
    /// A client with the proxies of the environment. The system's certificates are read at the first request that needs them.
    #[must_use]
    pub fn new() -> Self {
        Self::by(Matcher::from_env())
    }

    fn by(proxies: Matcher) -> Self {
        Self(Arc::new(Inner {
            proxies,
            plain: pool(tcp()),
            direct: OnceLock::new(),
            proxied: OnceLock::new(),
            tunnelled: OnceLock::new(),
        }))
    }

    /// Sends a request and reads the whole answer, within `limit` from its first byte to the answer's last. A connection may take 5 s.
    ///
    /// # Errors
    /// No answer, or none in time. An answer of any status is no error.
    pub async fn send(&self, request: Request<Bytes>, limit: Duration) -> Result<Response<Bytes>, FetchError> {
        self.send_up_to(request, limit, usize::MAX).await
    }

    /// As [`Self::send`], for a server that isn't trusted: an answer of over `most` bytes isn't read further.
    ///
    /// # Errors
    /// As [`Self::send`], and [`FetchError::TooLarge`].
    pub async fn send_up_to(
        &self,
        mut request: Request<Bytes>,
        limit: Duration,
        most: usize,
    ) -> Result<Response<Bytes>, FetchError> {
        let agent = header::HeaderValue::from_static(USER_AGENT);
        request.headers_mut().entry(header::USER_AGENT).or_insert(agent);
        let answered = async {
            let (head, body) = self.begin(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, most).collect().await.map_err(|error| {
                match error.downcast::<LengthLimitError>() {
                    Ok(_) => FetchError::TooLarge(most),
                    Err(error) => FetchError::Broken(error),
                }
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(limit, answered).await.unwrap_or(Err(FetchError::TimedOut))
    }

    /// Sends the request directly or by a proxy.
    async fn begin(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, FetchError> {
        let Inner { proxies, plain, direct, proxied, tunnelled } = &*self.0;
        let has_tls = request.uri().scheme_str() == Some("https");
        let Some(proxy) = intercepted(proxies, request.uri()) else {
            if !has_tls {
                return Ok(plain.request(request).await?);
            }
            let tls = tls()?;
            return Ok(direct.get_or_init(|| pool(with_tls(tls, tcp()))).request(request).await?);
        };
        // A proxy may itself want TLS.
        let tls = tls()?;
        if has_tls {
            return Ok(tunnelled.get_or_init(|| pool(tunnel(tls, &proxy))).request(request).await?);
        }
        if let Some(authorization) = proxy.basic_auth() {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        let to_proxy = || pool(ToProxy { connector: with_tls(tls, tcp()), proxy: proxy.uri().clone() });
        Ok(proxied.get_or_init(to_proxy).request(request).await?)
    }
}

/// The settings of TLS, made once for the process.
fn tls() -> Result<&'static ClientConfig, FetchError> {
    static TLS: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(made) = TLS.get() {
        return Ok(made);
    }
    let provider = rustls::crypto::ring::default_provider();
    let made = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchError::NoCertificates(error.into()))?
        .with_native_roots()
        .map_err(|error| FetchError::NoCertificates(error.into()))?
        .with_no_client_auth();
    Ok(TLS.get_or_init(|| made))
}

/// The proxy by which requests to this URL go, without user and password.
#[must_use]
pub fn proxy_for(url: &Uri) -> Option<String> {
    let proxy = intercepted(&Matcher::from_env(), url)?;
    let uri = proxy.uri();
    Some(format!("{}://{}", uri.scheme_str().unwrap_or("http"), uri.authority()?.as_str().rsplit('@').next()?))
}

fn intercepted(proxies: &Matcher, url: &Uri) -> Option<Intercept> {
    proxies.intercept(url).filter(|_| !url.host().is_some_and(host::is_loopback))
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp
}

/// Connects through a proxy, which sees only the host's name.
fn tunnel(tls: &ClientConfig, proxy: &Intercept) -> HttpsConnector<Tunnel<Direct>> {
    let tunnel = Tunnel::new(proxy.uri().clone(), with_tls(tls, tcp()));
    let tunnel = match proxy.basic_auth() {
        Some(authorization) => tunnel.with_auth(authorization.clone()),
        None => tunnel,
    };
    with_tls(tls, tunnel)
}

fn with_tls<C>(tls: &ClientConfig, connector: C) -> HttpsConnector<C> {
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls.clone());
    builder.https_or_http().enable_http1().wrap_connector(connector)
}

fn pool<C>(connector: C) -> Pool<C>
where
    Timed<C>: legacy::connect::Connect + Clone,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new());
    builder.build(Timed { connector, limit: CONNECT })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// Sends a request by a proxy that answers `answer` and closes. Returns what it was asked, in lower case, and the result.
    async fn by_a_proxy(url: &str, answer: &str) -> (String, Result<StatusCode, FetchError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let proxy = format!("http://user:word@{}", listener.local_addr().expect("an address"));
        let http = Http::by(Matcher::builder().all(proxy).build());
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("asked");
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.expect("a head"));
            }
            stream.write_all(answer.as_bytes()).await.expect("answered");
            String::from_utf8(asked).expect("text").to_lowercase()
        };
        let request = Request::get(url).body(Bytes::new()).expect("a request");
        let (asked, result) = tokio::join!(serve, http.send(request, LIMIT));
        (asked, result.map(|response| response.status()))
    }

    /// `user:word`, in lower case.
    const AUTHORIZATION: &str = "proxy-authorization: basic dxnlcjp3b3jk\r\n";

    #[tokio::test]
    async fn proxy_gets_the_whole_url_of_a_request_without_tls() {
        let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
        let (asked, status) = by_a_proxy("http://server.invalid/x?y=1", answer).await;
        assert!(asked.starts_with("get http://server.invalid/x?y=1 http/1.1\r\n"), "{asked}");
        assert!(asked.contains(AUTHORIZATION) && asked.contains("user-agent: workflow-graph/"), "{asked}");
        assert_eq!(status.ok(), Some(StatusCode::NO_CONTENT));
    }

    #[tokio::test]
    async fn proxy_gets_only_the_host_of_a_request_with_tls() {
        let answer = "HTTP/1.1 403 Forbidden\r\n\r\n";
        let (asked, status) = by_a_proxy("https://server.invalid/secret", answer).await;
        assert!(asked.starts_with("connect server.invalid:443 http/1.1\r\n"), "{asked}");
        assert!(asked.contains(AUTHORIZATION) && !asked.contains("secret"), "{asked}");
        // Nothing was sent to the server, so that the request may be repeated.
        assert!(status.expect_err("the proxy refused").is_connect());
    }

    #[tokio::test]
    async fn request_that_no_one_answers_ends_at_its_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let request = Request::get(url).body(Bytes::new()).expect("a request");
        let error = Http::new().send(request, Duration::from_millis(50)).await.expect_err("no answer");
        assert!(matches!(error, FetchError::TimedOut), "{error:?}");
        assert_eq!(error.root_cause(), "no answer in time");
    }

    #[tokio::test]
    async fn refused_connection_is_known_as_one() {
        // Nothing listens on port 1.
        let request = Request::get("http://127.0.0.1:1/").body(Bytes::new()).expect("a request");
        let error = Http::new().send(request, LIMIT).await.expect_err("refused");
        assert!(error.is_connect() && error.root_cause().contains("refused"), "{error:?}");
    }
}
