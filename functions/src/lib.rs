//! Code that the Lambda functions share: start-up, and the conversion of API Gateway events to requests and back.

use std::env::VarError;
use std::fmt::Display;

use api::cors::Origins;
use api::error::ApiError;
use api::part::{Answers, Part};
use api::{Admission, Function, Service};
use aws::{Access, Aws, SchemaError, SchemaGuard};
use aws_lambda_events::dynamodb::EventRecord;
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use bytes::Bytes;
use engine::EngineError;
use engine::ports::Ports;
use lambda_http::http::{Uri, header};
use lambda_http::{Body, Error, Request, RequestExt, Response, service_fn};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// The origins whose pages may call this API, separated by commas.
const ORIGINS: &str = "WFG_CORS_ORIGINS";
/// What is logged, such as `info` or `aws=debug,info`.
const LOG_LEVEL: &str = "RUST_LOG";
/// Characters that a gateway may have decoded in a path and that a URI can't contain. `%` is not encoded again.
const UNSAFE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}').add(b'?').add(b'#');

/// Answers one function's routes until Lambda stops the process.
///
/// # Errors
/// If the environment isn't what the template sets, or the runtime's API fails.
pub async fn serve<F: Part>() -> Result<(), Error> {
    start_logging()?;
    let origins = Origins::from_comma_separated(&setting(ORIGINS)?.unwrap_or_default());
    let origins = origins.map_err(|error| format!("{ORIGINS}: {error}"))?;
    let service = Service::of::<F>(Aws::engine()?).allowing(origins).admitting(Admission::Tokens);
    let guard = match F::ANSWERS {
        // The only function that may write it. Without a submission there is nothing that has a schema.
        Answers::Only(Function::Submit) => SchemaGuard::that_initializes(),
        Answers::Only(Function::Query) => SchemaGuard::new(Access::Read),
        _ => SchemaGuard::new(Access::Change),
    };
    let handle = async |request: Request| match guard.check(service.engine().ports()).await {
        Ok(()) => answer(&service, request).await,
        Err(error) => response(refusal(&error).response()),
    };
    lambda_http::run(service_fn(handle)).await
}

/// The answer while the stored records can't be used.
fn refusal(error: &SchemaError) -> ApiError {
    match error {
        SchemaError::Store(error) => EngineError::Store(error.clone()).into(),
        other => ApiError::version(other.to_string()),
    }
}

/// Logs as JSON lines, which CloudWatch reads; `RUST_LOG` says how much. A line that can't be written is lost and no error.
///
/// # Errors
/// If `RUST_LOG` can't be read.
pub fn start_logging() -> Result<(), Error> {
    let filter = setting(LOG_LEVEL)?.unwrap_or_else(|| "info".to_owned());
    let filter = filter.parse::<Targets>().map_err(|error| format!("{LOG_LEVEL}: {error}"))?;
    // A second call in one process changes nothing.
    let _ = tracing::subscriber::set_global_default(lines(filter, std::io::stdout));
    Ok(())
}

/// Writes log lines as JSON.
fn lines<W>(filter: Targets, to: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().json().with_target(false).without_time().log_internal_errors(false);
    lines.with_max_level(LevelFilter::TRACE).with_writer(to).finish().with(filter)
}

/// Logs the records of the stream that failed, and names them. The stream delivers the first of them and all behind it again.
pub fn failed_records<'r, E: Display>(failed: impl IntoIterator<Item = (&'r EventRecord, E)>) -> DynamoDbEventResponse {
    let mut response = DynamoDbEventResponse::default();
    for (record, error) in failed {
        tracing::error!(%error, record = record.event_id, "a record of the stream failed");
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier.clone_from(&record.change.sequence_number);
        response.batch_item_failures.push(failure);
    }
    response
}

/// An environment variable. An empty one counts as unset.
fn setting(name: &str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} isn't UTF-8").into()),
    }
}

async fn answer<P: Ports>(service: &Service<P>, request: Request) -> Result<Response<Body>, Error> {
    response(Box::pin(service.answer(plain(request)?)).await)
}

fn response(response: lambda_http::http::Response<Bytes>) -> Result<Response<Body>, Error> {
    let (mut head, body) = response.into_parts();
    // The gateway sets it, from the body that it gets.
    head.headers.remove(header::CONTENT_LENGTH);
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
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use api::part::Query;
    use engine::Engine;
    use engine::ports::StoreError;
    use lambda_http::http::Method;
    use memory::Memory;

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn error_is_logged_as_one_line_of_json() {
        let written = Written::default();
        let to = written.clone();
        let lines = lines(Targets::new().with_default(LevelFilter::INFO), move || to.clone());
        let error = StoreError::Unavailable("two\nlines, a \"quote\"".to_owned());
        tracing::subscriber::with_default(lines, || {
            tracing::error!(%error, suppressed = 3, "answered 503");
            tracing::debug!("not logged");
        });
        let text = String::from_utf8(written.0.lock().expect("nobody panicked").clone()).expect("text");
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&line["level"], &line["fields"]["message"]), (&"ERROR".into(), &"answered 503".into()));
        assert_eq!(line["fields"]["error"], error.to_string());
        assert_eq!(line["fields"]["suppressed"], 3);
    }

    #[test]
    fn path_decoded_by_the_gateway_is_encoded_again() {
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

    #[tokio::test]
    async fn head_is_answered_without_a_body() {
        let service = Service::of::<Query>(Engine::new(Memory::new()));
        for (path, status) in [("/api/health", 200), ("/api/workflows", 200), ("/api/nothing", 404)] {
            let mut request = Request::new(Body::Empty).with_raw_http_path(path);
            *request.method_mut() = Method::HEAD;
            let response = answer(&service, request).await.expect("answered");
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "{path}");
            assert!(!response.headers().contains_key(header::CONTENT_LENGTH), "{path}");
            assert!(matches!(response.body(), Body::Empty), "{path}");
        }
    }

    #[tokio::test]
    async fn page_is_answered_as_text_with_its_headers_without_a_token() {
        let service = Service::of::<Query>(Engine::new(Memory::new())).admitting(Admission::Tokens);
        for path in ["/", "/app.js", "/layout.js", "/app.css", "/icon.svg"] {
            let request = Request::new(Body::Empty).with_raw_http_path(path);
            let response = answer(&service, request).await.expect("answered");
            assert_eq!(response.status(), 200, "{path}");
            assert!(matches!(response.body(), Body::Text(_)), "{path}");
            for name in ["content-security-policy", "x-content-type-options", "referrer-policy", "cache-control"] {
                assert!(response.headers().contains_key(name), "{path}: {name}");
            }
        }
    }
}
