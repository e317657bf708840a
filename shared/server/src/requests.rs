//! Converts a connection's request to the API's request, and the response back.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use api::error::ApiError;
use api::route::{Effect, Function};
use api::{Accepted, Events};
use bytes::Bytes;
use engine::ports::Local;
use futures::FutureExt;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use protocol::limits;
use protocol::requests::Claim;
use protocol::text::bytes_without_mark;
use tokio::time::{sleep, timeout};

use crate::persistent::Persistent;
use crate::rate::Caller;
use crate::shared::{LOOKING, Response, Shared};
use crate::waiting::Turn;
use crate::{body, stream};

/// The response to a request that is refused.
type Refusal = http::Response<Bytes>;

fn whole(response: http::Response<Bytes>) -> Response {
    response.map(|body| Full::new(body).boxed_unsync())
}

impl<P: Local + 'static> Shared<P> {
    /// Answers one request from this address.
    pub async fn answer(self: &Arc<Self>, request: Request<Incoming>, address: IpAddr) -> Response {
        self.respond(request, address).await.unwrap_or_else(whole)
    }

    /// Matches the route, admits the caller, reads the body and runs the handler, in this order: each step is cheaper than the
    /// next, and a caller without a token can't make the server read a body.
    async fn respond(self: &Arc<Self>, request: Request<Incoming>, address: IpAddr) -> Result<Response, Refusal> {
        let (head, body) = request.into_parts();
        self.check_origin(&head.method, &head.headers).map_err(ApiError::response)?;
        let matched = self.service.find(head)?;
        if !matched.route().needs_token() {
            self.count(Caller::Address(address)).map_err(ApiError::response)?;
        }
        if !matched.route().reads_body() {
            return Ok(whole(matched.admit().await?.run(Bytes::new()).await));
        }
        let mut place = self.capacity.request().map_err(ApiError::response)?;
        let accepted = match matched.admit().await {
            Ok(accepted) => accepted,
            Err(refusal) => {
                self.count(Caller::Address(address)).map_err(ApiError::response)?;
                return Err(refusal);
            }
        };
        if accepted.route().needs_token() {
            let caller = accepted.token().map_or(Caller::Address(address), Caller::Token);
            self.count(caller).map_err(ApiError::response)?;
        }
        let body = body::read(accepted.headers(), body, &mut place).await.map_err(ApiError::response)?;
        if accepted.route().effect == Effect::Claims {
            return Ok(whole(self.claim(accepted, body).await));
        }
        // The request is carried out and recorded even if the client goes away.
        let own = Arc::clone(self);
        let is_report = accepted.route().function == Function::Complete;
        let work = async move { (own.carry_out(&accepted, body).await, accepted) };
        let carried = if is_report {
            Persistent::new(AssertUnwindSafe(work).catch_unwind()).await.ok()
        } else {
            self.runtime.spawn(work).await.ok()
        };
        let (mut response, accepted) = carried.ok_or_else(|| {
            // It panicked; the panic's text is on the error output.
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request failed").response()
        })?;
        Ok(match response.extensions_mut().remove::<Events>() {
            Some(events) => stream::held_open(self, accepted, response, events),
            None => whole(response),
        })
    }

    /// Counts a request towards its caller's rate, unless the server belongs to one program.
    fn count(&self, caller: Caller) -> Result<(), ApiError> {
        if self.private { Ok(()) } else { self.rates.count(caller) }
    }

    async fn carry_out(&self, accepted: &Accepted<P>, body: Bytes) -> http::Response<Bytes> {
        let response = accepted.run(body).await;
        let succeeded = response.status().is_success();
        // A request that failed may have changed something too.
        match accepted.route().effect {
            Effect::MayReadyJobs if succeeded => self.signals.may_be_ready(),
            Effect::MayReadyJobs | Effect::Changes => self.signals.changed(),
            Effect::WorkerLeaves if succeeded => {
                if let Some(worker) = accepted.param("id").and_then(|id| id.parse().ok()) {
                    self.signals.waiting.deregister(worker);
                }
            }
            Effect::WorkerLeaves | Effect::Claims | Effect::None => {}
        }
        response
    }

    /// Refuses requests from pages of other sites. A browser lets any page send requests to this machine, and read the answers
    /// if the page's host name is made to resolve to this machine (DNS rebinding).
    fn check_origin(&self, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
        if self.loopback_only && !names_this_machine(headers) {
            let message = "this server answers on this machine only; ask for it as localhost or 127.0.0.1";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "foreign_host", message));
        }
        if !method.is_safe() && self.service.is_foreign(headers) && !self.is_own_page(headers) {
            let message = "pages of this origin may not change anything here; without tokens, only this server's own page may, \
                           if it was opened as localhost or by an IP address";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "foreign_origin", message));
        }
        Ok(())
    }

    /// Whether the request may come from the page that this server serves.
    ///
    /// Where tokens are required, a `Bearer` token shows it: a browser adds none by itself, and a page that another server serves may
    /// not send one here. This also holds behind a proxy, which may change `Host`. Without tokens the origin must be the host that
    /// was asked, under no name that could be another site's (DNS rebinding).
    fn is_own_page(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if self.requires_tokens
            && text(AUTHORIZATION).get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer "))
        {
            return true;
        }
        let origin = text(ORIGIN).split_once("://").map(|(_, authority)| authority);
        names_this_machine(headers) && origin.is_some_and(|authority| authority.eq_ignore_ascii_case(text(HOST)))
    }

    /// Answers a claim. One that may wait asks again whenever a job may have become ready, until its time is over.
    async fn claim(&self, mut accepted: Accepted<P>, body: Bytes) -> http::Response<Bytes> {
        let claim = serde_json::from_slice::<Claim>(bytes_without_mark(&body)).ok();
        let Some(claim) = claim.filter(|claim| claim.wait_secs > 0 && claim.ticket.is_none()) else {
            return self.try_claim(&accepted, body).await;
        };
        let signals = &self.signals;
        let over = sleep(Duration::from_secs(claim.wait_secs.min(limits::WAIT_SECS).into()));
        let (left, stopped) = (signals.waiting.left(claim.worker_id.clone()), signals.stopped());
        tokio::pin!(over, left, stopped);
        let credential = accepted.headers().get(AUTHORIZATION).cloned();
        let kind = async || {
            let kind = self.service.engine().workers().claim_kind(&claim.worker_id, claim.exclusive).await;
            kind.map(|kind| (claim.labels.clone(), kind, credential.clone())).map_err(ApiError::from)
        };
        let mut place = match kind().await {
            Ok(kind) => signals.waiting.join(kind),
            Err(error) => return error.response(),
        };
        let mut turn = None;
        loop {
            let response = self.try_claim(&accepted, body.clone()).await;
            if response.status() != StatusCode::OK || *response.body() != NOTHING {
                return response;
            }
            if let Some(turn) = turn.take() {
                match kind().await {
                    Ok(kind) if kind == *place.kind() => Turn::found_nothing(turn),
                    // Others of its former kind may find a job.
                    Ok(kind) => {
                        place = signals.waiting.join(kind);
                        continue;
                    }
                    Err(error) => return error.response(),
                }
            }
            tokio::select! {
                mine = place.turn() => turn = Some(mine),
                () = &mut over => return response,
                () = &mut left => return response,
                () = &mut stopped => return response,
            }
            if let Err(refusal) = accepted.readmit().await {
                return refusal;
            }
        }
    }

    async fn try_claim(&self, accepted: &Accepted<P>, body: Bytes) -> http::Response<Bytes> {
        let permit = self.claims.acquire().await;
        let run = accepted.run(body);
        tokio::pin!(run);
        let in_time = timeout(LOOKING, &mut run).await;
        drop(permit);
        let response = match in_time {
            Ok(response) => response,
            Err(_) => run.await,
        };
        if response.status() == StatusCode::OK && *response.body() != NOTHING {
            // There may be more ready jobs where this one came from.
            self.signals.worked();
        }
        // Such as a job that was leased and had to be released.
        if self.service.engine().ports().may_have_work() {
            self.signals.work.is_listed();
        }
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
