//! Cross-origin requests: an allow-list of origins, empty by default.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

/// The origins whose pages may call this API.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<[String]>);

impl Origins {
    /// Reads origins separated by commas, each as a browser sends it: `https://ci.example.com`.
    #[must_use]
    pub fn from_comma_separated(text: &str) -> Self {
        Self(text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect())
    }

    /// The request's origin, if it is on the list.
    #[must_use]
    pub fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.0.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

/// Answers a browser's preflight request; `None` if the request isn't one.
#[must_use]
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Response<Bytes>> {
    let is_preflight = *method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    is_preflight.then(|| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    })
}

/// Adds the headers that let a page of an allowed origin read the response.
pub fn allow(origin: HeaderValue, response: &mut Response<Bytes>) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
    let allowed = HeaderValue::from_static("Authorization, Content-Type, Idempotency-Key, Last-Event-ID");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Link, Location"));
}
