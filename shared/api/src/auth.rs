//! Authorization: which callers are admitted, and for which routes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::Engine;
use engine::access::Grant;
use engine::ports::Ports;
use http::{HeaderMap, StatusCode, header};
use subtle::ConstantTimeEq;

use crate::audit;
use crate::error::ApiError;
use crate::request::Params;
use crate::route::Route;

/// Which callers are admitted.
#[derive(Clone, Default)]
pub enum Admission {
    /// Every caller that reaches the server, with all permissions.
    #[default]
    Everybody,
    /// Callers with a token, with the token's permissions.
    Tokens,
    /// Callers that know this secret, with all permissions: the server belongs to one other program.
    Secret(Arc<str>),
}

/// Admits a caller to a route: the engine that acts with the caller's permissions. A refusal is recorded.
pub(crate) async fn admit<P: Ports>(
    engine: &Engine<P>,
    policy: &Admission,
    route: &Route,
    params: &Params,
    headers: &HeaderMap,
) -> Result<Engine<P>, ApiError> {
    if !route.needs_token() {
        return Ok(engine.clone());
    }
    let (engine, refusal) = match authenticate(engine, policy, headers).await {
        Ok(grant) if grant.has(route.scopes) => return Ok(engine.acting_for(grant)),
        Ok(grant) => (engine.acting_for(grant), lacks_scope(route)),
        Err(error) if error.is_refusal() => (engine.clone(), error),
        Err(error) => return Err(error),
    };
    audit::record_failure(&engine, route, params, &refusal).await;
    Err(refusal)
}

async fn authenticate<P: Ports>(
    engine: &Engine<P>,
    policy: &Admission,
    headers: &HeaderMap,
) -> Result<Grant, ApiError> {
    match policy {
        Admission::Everybody => Ok(Grant::open()),
        Admission::Secret(secret) => match credential(headers) {
            Some(given) if given.as_bytes().ct_eq(secret.as_bytes()).into() => Ok(Grant::open()),
            _ => Err(unauthorized("this server belongs to another program and takes only that program's requests")),
        },
        Admission::Tokens => match credential(headers) {
            Some(token) => engine.tokens().grant_of(&token).await.map_err(ApiError::from),
            None => Err(unauthorized(
                "this needs a token: send it as `Authorization: Bearer TOKEN`, or as the password in the server's URL",
            )),
        },
    }
}

fn lacks_scope(route: &Route) -> ApiError {
    let scopes: Vec<&str> = route.scopes.iter().map(AsRef::as_ref).collect();
    let message = format!("the token lacks the scope `{}`, which this needs", scopes.join("` or `"));
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

/// Reads the token of a `Bearer` credential, or the password of `Basic`, which a client sends for `https://w:TOKEN@host`.
fn credential(headers: &HeaderMap) -> Option<String> {
    let (scheme, given) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(given.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(given.trim()).ok()?).ok()?;
    Some(pair.split_once(':')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn given(authorization: &str) -> Option<String> {
        let value = HeaderValue::from_str(authorization).expect("a header");
        credential(&HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
    }

    #[test]
    fn token_is_read_from_bearer_and_from_the_password_of_basic() {
        for good in ["Bearer T:1", "bearer  T:1", "Basic dzpUOjE=", "basic dzpUOjE="] {
            assert_eq!(given(good).as_deref(), Some("T:1"), "{good}");
        }
        for bad in ["T:1", "Basic !", "Basic dw==", "Digest T:1", ""] {
            assert_eq!(given(bad), None, "{bad}");
        }
        assert_eq!(credential(&HeaderMap::new()), None);
    }
}
