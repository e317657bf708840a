//! Code that the Lambda functions share: start-up, and the conversion of API Gateway events to requests and back.

use api::cors::Origins;
use api::{Admission, Function, Service};
use aws::Aws;
use bytes::Bytes;
use lambda_http::http::{Uri, header};
use lambda_http::{Body, Error, Request, RequestExt, Response, service_fn};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tracing_subscriber::EnvFilter;

/// Characters that a gateway may have decoded in a path and that a URI can't contain. `%` is not encoded again.
const UNSAFE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}').add(b'?').add(b'#');

/// Answers one function's routes until Lambda stops the process.
///
/// # Errors
/// If the environment isn't what the template sets, or the runtime's API fails.
pub async fn serve(function: Function) -> Result<(), Error> {
    start_logging();
    let origins = Origins::from_comma_separated(&std::env::var("WFG_CORS_ORIGINS").unwrap_or_default());
    let engine = Aws::engine().await?;
    if function == Function::Submit {
        // The only function that may write it. Without a submission there is nothing that has a schema.
        engine.ports().initialize_schema().await?;
    }
    let service = Service::new(engine).only(function).allowing(origins).admitting(Admission::Tokens);
    lambda_http::run(service_fn(|request: Request| answer(&service, request))).await
}

/// Logs as JSON lines, which CloudWatch reads; `RUST_LOG` says how much.
pub fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call in one process changes nothing.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_target(false).without_time().try_init();
}

async fn answer(service: &Service<Aws>, request: Request) -> Result<Response<Body>, Error> {
    let response = Box::pin(service.answer(plain(request)?)).await;
    let (head, body) = response.into_parts();
    // Every body of this API is text. A binary body would be sent in base64.
    let text = String::from_utf8(body.to_vec())?;
    Ok(Response::from_parts(head, if text.is_empty() { Body::Empty } else { Body::Text(text) }))
}

/// The request as the client sent it: without the stage that a gateway puts before the path.
fn plain(request: Request) -> Result<lambda_http::http::Request<Bytes>, Error> {
    let path = utf8_percent_encode(request.raw_http_path(), UNSAFE).to_string();
    let path = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let (mut head, body) = request.into_parts();
    head.uri = path.parse::<Uri>()?;
    head.headers.remove(header::HOST);
    let body = match body {
        Body::Empty => Bytes::new(),
        Body::Text(text) => Bytes::from(text),
        Body::Binary(bytes) => Bytes::from(bytes),
        _ => return Err("a body of an unknown kind".into()),
    };
    Ok(lambda_http::http::Request::from_parts(head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_the_gateway_decoded_is_the_path_that_was_sent() {
        for (decoded, path) in [
            ("/api/workflows/a#b", "/api/workflows/a%23b"),
            ("/api/workflows/a?b", "/api/workflows/a%3Fb"),
            ("/api/workflows/é b", "/api/workflows/%C3%A9%20b"),
            ("/api/workflows/a%2Fb", "/api/workflows/a%2Fb"),
        ] {
            let request = Request::new(Body::Empty).with_raw_http_path(decoded);
            assert_eq!(plain(request).expect("a request").uri().path(), path);
        }
    }
}
