//! From a request to a response, in three steps: [`Service::find`] matches the route, [`Matched::admit`] authorizes the caller,
//! [`Accepted::run`] calls the handler. The first two need only the head, so that a server can refuse a request before it reads
//! the body.

use std::sync::Arc;

use bytes::Bytes;
use engine::Engine;
use engine::ports::Ports;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use protocol::{TokenName, limits};

use crate::audit;
use crate::auth::{self, Admission};
use crate::cors::{self, Origins};
use crate::error::ApiError;
use crate::part::{Part, Whole};
use crate::request::{Input, Params};
use crate::response::Answer;
use crate::route::Route;
use crate::router::RouteTable;
use crate::row::Handler;
use crate::stream::Events;

/// Answers requests, for one function or for all.
pub struct Service<P> {
    engine: Engine<P>,
    routes: Arc<RouteTable<P>>,
    origins: Origins,
    auth: Admission,
}

impl<P> Clone for Service<P> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            routes: Arc::clone(&self.routes),
            origins: self.origins.clone(),
            auth: self.auth.clone(),
        }
    }
}

impl<P: Ports> Service<P> {
    /// Answers all routes and admits everybody.
    #[must_use]
    pub fn new(engine: Engine<P>) -> Self {
        Self::of::<Whole>(engine)
    }

    /// Answers only these routes, and admits everybody.
    #[must_use]
    pub fn of<F: Part>(engine: Engine<P>) -> Self {
        let routes = Arc::new(RouteTable::new::<F>());
        Self { engine, routes, origins: Origins::default(), auth: Admission::Everybody }
    }

    /// Admits only these callers.
    #[must_use]
    pub fn admitting(self, auth: Admission) -> Self {
        Self { auth, ..self }
    }

    /// Lets pages of these origins call.
    #[must_use]
    pub fn allowing(self, origins: Origins) -> Self {
        Self { origins, ..self }
    }

    /// The engine that is served.
    #[must_use]
    pub fn engine(&self) -> &Engine<P> {
        &self.engine
    }

    /// Whether the request has an `Origin` header that is not allowed.
    #[must_use]
    pub fn is_foreign(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(header::ORIGIN) && self.origins.allowed(headers).is_none()
    }

    /// Answers one request. An error is a response too.
    pub async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        match self.accept(head).await {
            Ok(accepted) => accepted.run(body).await,
            Err(refusal) => refusal,
        }
    }

    /// Matches the route and admits the caller, from the head alone.
    ///
    /// # Errors
    /// The response to a request that has no route or whose caller isn't admitted.
    pub async fn accept(&self, head: Parts) -> Result<Accepted<P>, Response<Bytes>> {
        self.find(head)?.admit().await
    }

    /// Matches the route of a request. Reads no store.
    ///
    /// # Errors
    /// The response to a request that has no route: 404, 405, 414, or the answer to a browser's preflight request.
    #[allow(clippy::result_large_err, reason = "a response is what the caller sends next")]
    pub fn find(&self, head: Parts) -> Result<Matched<P>, Response<Bytes>> {
        let reply = Reply { origin: self.origins.allowed(&head.headers), without_body: head.method == Method::HEAD };
        if let Some(response) = reply.origin.as_ref().and_then(|_| cors::preflight(&head.method, &head.headers)) {
            return Err(reply.of(response));
        }
        // HEAD is answered like GET, without the body.
        let method = if reply.without_body { &Method::GET } else { &head.method };
        match check_head(&head).and_then(|()| self.routes.find(method, head.uri.path())) {
            Ok((route, handler, params)) => {
                Ok(Matched { route: route.clone(), handler, params, service: self.clone(), head, reply })
            }
            Err(error) => Err(reply.of(error.response())),
        }
    }
}

/// Headers that may be there once. A program in between may have read the other of two.
const ONCE: [HeaderName; 6] = [
    header::HOST,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::ORIGIN,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
];

fn check_head(head: &Parts) -> Result<(), ApiError> {
    let size = head.uri.path().len() + head.uri.query().map_or(0, |query| query.len() + 1);
    if size > limits::URL {
        return Err(ApiError::url_too_long(Some(size)));
    }
    let any_twice = head.headers.len() > head.headers.keys_len();
    let twice = |name: &&HeaderName| any_twice && head.headers.get_all(*name).iter().count() > 1;
    if let Some(name) = ONCE.iter().find(twice) {
        return Err(ApiError::bad_request("invalid_header", format!("header `{name}` is there more than once")));
    }
    for (name, understood) in [(header::CONTENT_ENCODING, "identity"), (header::TRANSFER_ENCODING, "chunked")] {
        let values = head.headers.get_all(&name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let mut values = values.map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
        if let Some(value) = values.find(|value| !value.eq_ignore_ascii_case(understood.as_bytes())) {
            let value = String::from_utf8_lossy(value);
            let message = format!("{name} {value:?} isn't supported; send the body as it is, without compression");
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message));
        }
    }
    Ok(())
}

/// How the response to a request is sent.
struct Reply {
    /// The request's origin, if it is allowed.
    origin: Option<HeaderValue>,
    /// The request is HEAD.
    without_body: bool,
}

impl Reply {
    fn of(&self, mut response: Response<Bytes>) -> Response<Bytes> {
        if let Some(origin) = &self.origin {
            cors::allow(origin.clone(), &mut response);
        }
        if !self.without_body {
            return response;
        }
        let size = response.body().len();
        // A stream has no size, and isn't continued.
        if response.extensions_mut().remove::<Events>().is_none() && size > 0 {
            response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
        }
        response.map(|_| Bytes::new())
    }
}

/// A request whose route is known, and whose caller isn't yet.
pub struct Matched<P> {
    service: Service<P>,
    route: Route,
    handler: Handler<P>,
    params: Params,
    head: Parts,
    reply: Reply,
}

impl<P: Ports> Matched<P> {
    /// The request's route.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Admits the caller. A refusal is recorded.
    ///
    /// # Errors
    /// The response to a caller that isn't admitted.
    pub async fn admit(self) -> Result<Accepted<P>, Response<Bytes>> {
        match self.authorize().await {
            Ok(engine) => Ok(Accepted { engine, request: self }),
            Err(error) => Err(self.reply.of(error.response())),
        }
    }

    async fn authorize(&self) -> Result<Engine<P>, ApiError> {
        let Service { engine, auth, .. } = &self.service;
        auth::admit(engine, auth, &self.route, &self.params, &self.head.headers).await
    }
}

/// A request whose route is known and whose caller is admitted. Its body isn't read yet.
pub struct Accepted<P> {
    request: Matched<P>,
    /// Acts with the caller's permissions.
    engine: Engine<P>,
}

impl<P: Ports> Accepted<P> {
    /// The request's route.
    #[must_use]
    pub fn route(&self) -> &Route {
        self.request.route()
    }

    /// The request's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.request.head.headers
    }

    /// The name of the caller's token, if it has one.
    #[must_use]
    pub fn token(&self) -> Option<TokenName> {
        self.engine.caller().name.clone()
    }

    /// A variable of the path, decoded.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.request.params.get(name).map(String::as_str)
    }

    /// Admits the caller again, for a request that goes on for long: its token may have been revoked.
    ///
    /// # Errors
    /// The response to a caller that isn't admitted any more.
    pub async fn readmit(&mut self) -> Result<(), Response<Bytes>> {
        match self.request.authorize().await {
            Ok(engine) => {
                self.engine = engine;
                Ok(())
            }
            Err(error) => Err(self.request.reply.of(error.response())),
        }
    }

    /// Carries the request out. An error is a response too.
    pub async fn run(&self, body: Bytes) -> Response<Bytes> {
        let Matched { route, params, reply, .. } = &self.request;
        let answer = self.handle(body).await;
        if let Err(error) = &answer {
            audit::record_failure(&self.engine, route, params, error).await;
        }
        reply.of(answer.unwrap_or_else(ApiError::response))
    }

    async fn handle(&self, body: Bytes) -> Answer {
        let Matched { route, handler, params, head, .. } = &self.request;
        let input = Input::new(route, params, &head.uri, &head.headers, body)?;
        handler(&self.engine, &input).await
    }
}
