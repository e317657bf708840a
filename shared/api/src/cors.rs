//! Cross-origin requests: an allow-list of origins, empty by default.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};

/// The origins whose pages may call this API.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<[String]>);

impl Origins {
    /// Reads origins separated by commas, each as a browser sends it: `https://ci.example.com`.
    ///
    /// # Errors
    /// If one isn't an origin.
    pub fn from_comma_separated(text: &str) -> Result<Self, String> {
        let origin = |text: &str| {
            let uri = text.parse::<Uri>().ok();
            let is_origin = uri.is_some_and(|uri| {
                uri.scheme().is_some() && uri.path_and_query().is_none_or(|path| path == "/") && !text.ends_with('/')
            });
            if is_origin {
                Ok(text.to_owned())
            } else {
                Err(format!("{text:?} isn't an origin such as https://ci.example.com"))
            }
        };
        text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(origin).collect::<Result<_, _>>().map(Self)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_origins_may_be_empty_and_names_what_is_not_an_origin() {
        let read = |text| Origins::from_comma_separated(text).map(|origins| origins.0.len());
        assert_eq!(read(""), Ok(0));
        assert_eq!(read(" https://a.example , http://localhost:3000,"), Ok(2));
        for bad in ["a.example", "https://a.example/", "https://a.example/path", "*", "https://"] {
            assert!(read(bad).expect_err(bad).contains(bad), "{bad}");
        }
    }
}
