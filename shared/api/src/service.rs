//! From a request to an answer.

use bytes::Bytes;
use engine::Engine;
use engine::ports::Ports;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use protocol::limits;

use crate::auth::{self, Admission};
use crate::cors::{self, Origins};
use crate::error::ApiError;
use crate::handlers;
use crate::read::Input;
use crate::routes::{self, Action, Found, Function};
use crate::stream::LogEvents;

/// A body, whole.
pub type Body = Bytes;

/// Answers requests, for one function or for all.
pub struct Service<P> {
    engine: Engine<P>,
    only: Option<Function>,
    origins: Origins,
    auth: Admission,
}

impl<P> Clone for Service<P> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), only: self.only, origins: self.origins.clone(), auth: self.auth.clone() }
    }
}

impl<P: Ports> Service<P> {
    /// Answers all routes, to everybody.
    #[must_use]
    pub fn new(engine: Engine<P>) -> Self {
        Self { engine, only: None, origins: Origins::default(), auth: Admission::Everybody }
    }

    /// Answers only who is let in.
    #[must_use]
    pub fn admitting(self, auth: Admission) -> Self {
        Self { auth, ..self }
    }

    /// Answers the routes of one function.
    #[must_use]
    pub fn only(self, function: Function) -> Self {
        Self { only: Some(function), ..self }
    }

    /// Lets pages of these origins call.
    #[must_use]
    pub fn allowing(self, origins: Origins) -> Self {
        Self { origins, ..self }
    }

    /// The engine behind it.
    #[must_use]
    pub fn engine(&self) -> &Engine<P> {
        &self.engine
    }

    /// Whether a page calls whose origin isn't on the list.
    #[must_use]
    pub fn is_foreign(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(header::ORIGIN) && self.origins.allowed(headers).is_none()
    }

    /// Refuses a request before its body is read: one of which what comes first says that it will be.
    pub async fn refusal(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response<Body>> {
        let Found::Route(action, params) = routes::find(self.only, method, uri.path()) else { return None };
        let admitted = auth::admit(&self.engine, &self.auth, action, &params, headers).await;
        let mut response = admitted.err()?.response();
        if let Some(origin) = self.origins.allowed(headers) {
            cors::allow(origin, &mut response);
        }
        Some(response)
    }

    /// Answers one request. Never fails: what goes wrong is an answer too.
    pub async fn answer(&self, request: Request<Bytes>) -> Response<Body> {
        self.open(request).await.0
    }

    /// As [`Self::answer`]. With an answer that can go on where connections are held open: what follows it.
    pub async fn open(&self, request: Request<Bytes>) -> (Response<Body>, Option<LogEvents>) {
        let origin = self.origins.allowed(request.headers());
        let preflight = origin.as_ref().and_then(|_| cors::preflight(request.method(), request.headers()));
        let (mut response, more) = match preflight {
            Some(response) => (response, None),
            None => self.route(request).await.unwrap_or_else(|error| (error.response(), None)),
        };
        if let Some(origin) = origin {
            cors::allow(origin, &mut response);
        }
        (response, more)
    }

    async fn route(&self, request: Request<Bytes>) -> Result<(Response<Body>, Option<LogEvents>), ApiError> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let (size, limit) = (path.len() + head.uri.query().map_or(0, |query| query.len() + 1), limits::URL);
        if size > limit {
            let message = format!("the path and query are {size} bytes; at most {limit} are allowed");
            return Err(ApiError::new(StatusCode::URI_TOO_LONG, "url_too_long", message));
        }
        match routes::find(self.only, &head.method, path) {
            Found::Route(action, params) => {
                let engine = auth::admit(&self.engine, &self.auth, action, &params, &head.headers).await?;
                let input = Input::new(params, &head.uri, head.headers, body)?;
                let answer = match action {
                    Action::LogStream => LogEvents::open(&engine, &input).await,
                    _ => handlers::handle(&engine, action, &input).await.map(|response| (response, None)),
                };
                if let Err(error) = &answer {
                    auth::failed(&engine, action, &input.params, error).await;
                }
                answer
            }
            Found::OtherMethods(methods) => {
                let allow = methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", ");
                let message = format!("{} isn't allowed on {path}; it takes {allow}", head.method);
                let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
                Err(ApiError { allow: Some(allow), ..error })
            }
            Found::Nothing => {
                let message = format!("there is nothing at {path}; GET /api/openapi.json lists what there is");
                Err(ApiError::new(StatusCode::NOT_FOUND, "no_such_route", message))
            }
            Found::BadEncoding(segment) => {
                let message = format!("path segment {segment:?} isn't percent-encoded UTF-8");
                Err(ApiError::bad_request("invalid_path", message))
            }
        }
    }
}
