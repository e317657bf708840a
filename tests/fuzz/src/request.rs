//! Fuzz target `request`: arbitrary requests to the API, on an engine in memory.

use std::sync::OnceLock;

use api::{Admission, Service};
use bytes::Bytes;
use engine::Engine;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use memory::Memory;
use protocol::limits;
use protocol::wire::ErrorBody;
use tokio::runtime::{Builder, Runtime};

/// The separator of requests.
const NEXT: &[u8] = b"\n%%\n";
/// Requests of one input.
const MOST: usize = 8;

/// Two jobs. The second has every key of a job.
const WORKFLOW: &str = r#"{"name": "w", "jobs": {"a": {"run": "x", "retries": 1},
    "b": {"run": "x", "needs": ["a"], "labels": ["l"], "env": {"N": {"from": "a.n"}}, "timeout": "1h"}}}"#;

/// No request causes a server error, and every error has the form of the protocol.
///
/// The input is up to eight requests, written as `METHOD /path`, lines of headers, an empty line and a body, with a line
/// `%%` between them. A workflow runs already: `$WORKFLOW` is its id, `$LEASE` a lease on its first job.
///
/// # Panics
/// If a property is broken.
pub fn request(data: &[u8]) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Builder::new_current_thread().build().expect("a runtime"));
    runtime.block_on(async {
        let world = World::new().await;
        for text in split(data).into_iter().take(MOST) {
            let Some(request) = world.read(text) else { continue };
            let shown = format!("{} {}", request.method(), request.uri());
            // A server that requires tokens refuses a caller without one from the head alone.
            let (head, body) = request.into_parts();
            if let Err(refusal) = world.closed.accept(head.clone()).await {
                check(&shown, &refusal);
            }
            let request = Request::from_parts(head, body);
            let response = world.service.answer(request).await;
            check(&shown, &response);
            world.service.engine().scheduling().drain().await.expect("a store in memory answers");
        }
    });
}

struct World {
    service: Service<Memory>,
    /// The same server, but it requires tokens.
    closed: Service<Memory>,
    workflow: String,
    lease: String,
}

impl World {
    async fn new() -> Self {
        let service = Service::new(Engine::new(Memory::new()));
        let closed = service.clone().admitting(Admission::Tokens);
        let mut world = Self { service, closed, workflow: String::new(), lease: String::new() };
        world.workflow = world.answer_at("/api/workflows?run=true", WORKFLOW, "/id").await;
        world.service.engine().scheduling().drain().await.expect("a store in memory answers");
        let claim = r#"{"worker_id": "w", "labels": ["l"]}"#;
        world.lease = world.answer_at("/api/jobs/claim", claim, "/lease/lease_id").await;
        world
    }

    async fn answer_at(&self, path: &str, body: &'static str, pointer: &str) -> String {
        let request = Request::post(path).body(Bytes::from(body)).expect("a request");
        let response = self.service.answer(request).await;
        let answer: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
        answer.pointer(pointer).and_then(|text| text.as_str()).expect("what was asked for").to_owned()
    }

    /// `None`: a request that no HTTP server would accept.
    fn read(&self, text: &[u8]) -> Option<Request<Bytes>> {
        let (head, body) = match find(text, b"\n\n") {
            Some(at) => (&text[..at], &text[at + 2..]),
            None => (text, &[][..]),
        };
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = lines.next()?;
        let space = find(first, b" ")?;
        let method = Method::from_bytes(&first[..space]).ok()?;
        let uri = Uri::try_from(self.filled(&first[space + 1..])).ok().filter(|uri| uri.path().starts_with('/'))?;
        let mut request = Request::new(Bytes::from(self.filled(body)));
        for line in lines {
            let colon = find(line, b": ")?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(&line[colon + 2..]).ok()?);
        }
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        Some(request)
    }

    fn filled(&self, text: &[u8]) -> Vec<u8> {
        let known = [(&b"$WORKFLOW"[..], &self.workflow), (b"$LEASE", &self.lease)];
        known.into_iter().fold(text.to_vec(), |text, (name, value)| {
            let mut filled = Vec::with_capacity(text.len());
            let mut rest = &text[..];
            while let Some(at) = find(rest, name) {
                filled.extend_from_slice(&rest[..at]);
                filled.extend_from_slice(value.as_bytes());
                rest = &rest[at + name.len()..];
            }
            filled.extend_from_slice(rest);
            filled
        })
    }
}

fn split(data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = find(rest, NEXT) {
        parts.push(&rest[..at]);
        rest = &rest[at + NEXT.len()..];
    }
    parts.push(rest);
    parts
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn check(asked: &str, response: &Response<Bytes>) {
    let (status, body) = (response.status(), response.body());
    let shown = || format!("{asked:.300}: {status}: {:.300}", String::from_utf8_lossy(body));
    assert!(!status.is_server_error(), "{}", shown());
    assert!(body.len() <= limits::ANSWER, "{} bytes: {}", body.len(), shown());
    if status.is_client_error() {
        let error = serde_json::from_slice::<ErrorBody>(body).unwrap_or_else(|error| panic!("{error}: {}", shown()));
        assert!(!error.error.code.is_empty() && !error.error.message.is_empty(), "{}", shown());
        assert_eq!(response.headers().get("content-type").map(HeaderValue::as_bytes), Some(&b"application/json"[..]));
    } else if status != StatusCode::NO_CONTENT && !body.is_empty() {
        std::str::from_utf8(body).unwrap_or_else(|error| panic!("{error}: {}", shown()));
    }
}
