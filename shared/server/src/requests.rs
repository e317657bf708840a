//! From a connection's request to the API's, and its answer back.

use std::net::IpAddr;
use std::time::Duration;

use api::error::ApiError;
use api::routes::{self, Action, Found, Params};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use engine::ports::Local;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use protocol::limits;
use protocol::requests::Claim;
use tokio::time::sleep;

use crate::waiting::Turn;
use crate::{Shared, body, stream};

/// Answers one request.
pub async fn answer<P: Local + 'static>(State(shared): State<Shared<P>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if let Some(refusal) = shared.refuses(&head.method, &head.headers) {
        return refusal.response().map(Body::from);
    }
    // What nobody with a token asked for has no body that anybody reads.
    if !reads_a_body(&head) {
        return shared.service.answer(http::Request::from_parts(head, Bytes::new())).await.map(Body::from);
    }
    let mut place = match shared.capacity.request() {
        Ok(place) => place,
        Err(error) => return error.response().map(Body::from),
    };
    // A stranger's body isn't even read.
    if let Some(refusal) = shared.service.refusal(&head.method, &head.uri, &head.headers).await {
        return refusal.map(Body::from);
    }
    let request = match body::read(&head.headers, body, &mut place).await {
        Ok(body) => http::Request::from_parts(head, body),
        Err(error) => return error.response().map(Body::from),
    };
    let Found::Route(action, params) = routes::find(None, request.method(), request.uri().path()) else {
        return shared.service.answer(request).await.map(Body::from);
    };
    match action {
        Action::Claim => shared.claim(request).await.map(Body::from),
        Action::LogStream => {
            let (asked, body) = request.into_parts();
            let (response, more) = shared.service.open(http::Request::from_parts(asked.clone(), body)).await;
            match more {
                Some(events) => stream::held_open(&shared, asked, response, events),
                None => response.map(Body::from),
            }
        }
        _ => {
            // A client that goes away doesn't stop what it has begun: what follows from it, and that it is written down.
            let own = shared.clone();
            let done = tokio::spawn(async move { own.carry_out(action, &params, request).await });
            let failed = |error| {
                tracing::error!(%error, "a request was not carried out");
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request failed").response()
            };
            done.await.unwrap_or_else(failed).map(Body::from)
        }
    }
}

/// Whether a route takes what a request carries, and only from who may use it.
fn reads_a_body(head: &Parts) -> bool {
    let found = routes::find(None, &head.method, head.uri.path());
    matches!(found, Found::Route(action, _) if !action.scopes().is_empty())
}

impl<P: Local + 'static> Shared<P> {
    async fn carry_out(&self, action: Action, params: &Params, request: http::Request<Bytes>) -> http::Response<Bytes> {
        let response = self.service.answer(request).await;
        if action == Action::Unregister
            && response.status().is_success()
            && let Some(worker) = params.get("id").and_then(|id| id.parse().ok())
        {
            self.signals.waiting.deregister(worker);
        }
        self.answered(action, response.status());
        response
    }

    /// The pages of other sites: a browser lets any page send requests to this machine, and read the answers if the page's
    /// name is made to mean this machine.
    fn refuses(&self, method: &Method, headers: &HeaderMap) -> Option<ApiError> {
        if self.loopback_only && !names_this_machine(headers) {
            let message = "this server answers on this machine only; ask for it as localhost or 127.0.0.1";
            return Some(ApiError::new(StatusCode::FORBIDDEN, "foreign_host", message));
        }
        if !method.is_safe() && self.service.is_foreign(headers) {
            let message = "pages of this origin may not change anything here";
            return Some(ApiError::new(StatusCode::FORBIDDEN, "foreign_origin", message));
        }
        None
    }

    /// Tells who waits for what this request may have done. A request that was refused may have done something too.
    fn answered(&self, action: Action, status: StatusCode) {
        match action {
            Action::Complete | Action::Fail if status.is_success() => self.signals.may_be_ready(),
            Action::Complete
            | Action::Fail
            | Action::AppendLogs
            | Action::Submit
            | Action::Run
            | Action::Cancel
            | Action::Delete => self.signals.changed(),
            _ => {}
        }
    }

    /// A claim that may wait asks again whenever a job may have become ready, and gives the last answer.
    async fn claim(&self, request: http::Request<Bytes>) -> http::Response<Bytes> {
        let waits = serde_json::from_slice::<Claim>(request.body()).ok();
        let waits = waits.filter(|claim| claim.wait_secs > 0 && claim.ticket.is_none());
        let Some(claim) = waits else { return self.ask(request).await };
        let signals = &self.signals;
        let over = sleep(Duration::from_secs(claim.wait_secs.min(limits::WAIT_SECS).into()));
        let (left, stopped) = (signals.waiting.left(claim.worker_id), signals.stopped());
        tokio::pin!(over, left, stopped);
        let place =
            signals.waiting.join((claim.labels, claim.exclusive, request.headers().get(AUTHORIZATION).cloned()));
        let mut turn = None;
        loop {
            let response = self.ask(request.clone()).await;
            if response.status() != StatusCode::OK || *response.body() != NOTHING {
                return response;
            }
            if let Some(turn) = turn.take() {
                Turn::found_nothing(turn);
            }
            tokio::select! {
                mine = place.turn() => turn = Some(mine),
                () = &mut over => return response,
                () = &mut left => return response,
                () = &mut stopped => return response,
            }
        }
    }

    async fn ask(&self, request: http::Request<Bytes>) -> http::Response<Bytes> {
        let turn = self.claims.acquire().await;
        let response = self.service.answer(request).await;
        drop(turn);
        if response.status() != StatusCode::OK || *response.body() == NOTHING {
            // What was taken and had to be given back is listed as work.
            self.signals.work.notify_one();
            return response;
        }
        // There may be more where this came from.
        self.signals.may_be_ready();
        response
    }
}

/// Whether the request's `Host` is a name of this machine, or an address.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let host = host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// The answer to a claim when there is no job.
const NOTHING: &[u8] = b"null";
