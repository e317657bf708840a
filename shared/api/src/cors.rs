//! Cross-origin requests: an allow-list of origins, empty by default.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::service::Body;

/// The origins whose pages may call this API.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

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

/// The answer to a browser's question whether it may send a request.
#[must_use]
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
    let asks = *method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    asks.then(|| {
        let mut response = Response::new(Body::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    })
}

/// Adds what lets a page of an allowed origin read the answer.
pub fn allow(origin: HeaderValue, response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
    let allowed = HeaderValue::from_static("Authorization, Content-Type, Idempotency-Key, Last-Event-ID");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Link, Location"));
}
