//! A layer under the AWS libraries that does wrong by one call.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use serde_json::{Value, json};

const LATE: Duration = Duration::from_millis(300);
/// Calls between a call and its echo.
const BETWEEN: usize = 30;

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The connection fails before anything is sent; the library tries again.
    Unsent,
    /// Done, and the answer is lost; the library does it again.
    Lost,
    /// Done twice in a row.
    Twice,
    /// Done, and once more when others were done meanwhile. A batch of writes, which have no conditions, is done only then:
    /// its caller is told that the connection broke.
    Echo,
    /// Done late.
    Late,
    /// Refused once as too much; the library tries again.
    Throttled,
    /// An update is refused once, since a transaction writes its item just then.
    Conflict,
    /// Half of a batch isn't done and is given back.
    LeftOver,
    /// Never sent, however often it is tried.
    Down,
    /// Done, and no answer comes however often it is tried.
    Silent,
    /// Refused as too much, however often it is tried.
    Flooded,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Unsent,
        Self::Lost,
        Self::Twice,
        Self::Echo,
        Self::Late,
        Self::Throttled,
        Self::Conflict,
        Self::LeftOver,
        Self::Down,
        Self::Silent,
        Self::Flooded,
    ];

    /// Whether it stays with the library, which tries again: nobody else may event.
    pub fn is_mended(self) -> bool {
        !self.lasts()
    }

    fn lasts(self) -> bool {
        matches!(self, Self::Down | Self::Silent | Self::Flooded)
    }
}

/// One fault: which call of those it is for, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: usize,
    pub kind: Kind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.kind, self.at)
    }
}

/// What the layer has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Calls, each with what it was; tries of the same one aren't counted again.
    pub calls: Vec<String>,
    /// Calls of those that were batches.
    pub batches: usize,
    /// Calls of those that were updates.
    pub updates: usize,
    /// Tries after the first.
    pub retries: usize,
    /// The call that the fault hit.
    pub hit: Option<String>,
    known: HashSet<String>,
    hit_id: Option<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds = BTreeMap::<&str, usize>::new();
        for call in &self.calls {
            *kinds.entry(call).or_default() += 1;
        }
        write!(f, "{} calls: {kinds:?}", self.calls.len())
    }
}

/// Stands before another HTTP client.
#[derive(Clone, Debug)]
pub struct Layer {
    inner: SharedHttpClient,
    fault: Option<Fault>,
    seen: Arc<Mutex<Seen>>,
    echo: Arc<Mutex<Option<HttpRequest>>>,
}

impl Layer {
    pub fn new(inner: SharedHttpClient, fault: Option<Fault>) -> Self {
        Self { inner, fault, seen: Arc::default(), echo: Arc::default() }
    }

    /// What is to be sent again by now.
    fn echo(&self) -> Option<HttpRequest> {
        let fault = self.fault.filter(|fault| fault.kind == Kind::Echo)?;
        let now = self.lock().calls.len() >= fault.at + BETWEEN;
        now.then(|| self.echo.lock().unwrap_or_else(PoisonError::into_inner).take()).flatten()
    }

    pub fn seen(&self) -> Seen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request, and says what is to be done wrong by it.
    fn wrong(&self, request: &HttpRequest) -> Option<Kind> {
        let id = request.headers().get("amz-sdk-invocation-id").unwrap_or_default().to_owned();
        let mut seen = self.lock();
        if !seen.known.insert(id.clone()) {
            seen.retries += 1;
            let again = seen.hit_id.as_ref() == Some(&id);
            return self.fault.map(|fault| fault.kind).filter(|kind| again && kind.lasts());
        }
        let what = described(request);
        let batch = what.contains(".Batch");
        seen.calls.push(what.clone());
        seen.batches += usize::from(batch);
        let update = what.ends_with(".UpdateItem");
        seen.updates += usize::from(update);
        let fault = self.fault?;
        let hit = match fault.kind {
            Kind::LeftOver => batch && seen.batches == fault.at,
            Kind::Conflict => update && seen.updates == fault.at,
            _ => seen.calls.len() == fault.at,
        };
        if !hit {
            return None;
        }
        seen.hit = Some(what);
        seen.hit_id = Some(id);
        Some(fault.kind)
    }
}

fn described(request: &HttpRequest) -> String {
    let Some(target) = request.headers().get("x-amz-target") else { return format!("S3.{}", request.method()) };
    let service = match target.split('.').next() {
        Some("AmazonSQS") => "SQS",
        Some("AmazonSSM") => "SSM",
        _ => "DynamoDB",
    };
    format!("{service}.{}", target.rsplit('.').next().unwrap_or_default())
}

impl HttpClient for Layer {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            layer: self.clone(),
            inner: self.inner.http_connector(settings, components),
        })
    }
}

#[derive(Debug)]
struct Connector {
    layer: Layer,
    inner: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let kind = self.layer.wrong(&request);
        let (inner, echo) = (self.inner.clone(), self.layer.echo());
        match kind {
            None if echo.is_none() => inner.call(request),
            None => HttpConnectorFuture::new(async move {
                if let Some(echo) = echo {
                    inner.call(echo).await?;
                }
                inner.call(request).await
            }),
            Some(Kind::Echo) => {
                *self.layer.echo.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy(&request));
                if described(&request).ends_with(".BatchWriteItem") {
                    let broken = ConnectorError::io("the connection was closed".into());
                    return HttpConnectorFuture::ready(Err(broken));
                }
                inner.call(request)
            }
            Some(kind) => HttpConnectorFuture::new(do_wrong(kind, inner, request)),
        }
    }
}

async fn do_wrong(
    kind: Kind,
    inner: SharedHttpConnector,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    match kind {
        Kind::Unsent => Err(ConnectorError::io("nothing listens there".into())),
        Kind::Down => Err(ConnectorError::other("nothing listens there".into(), None)),
        Kind::Lost => {
            inner.call(request).await?;
            Err(ConnectorError::io("the connection was closed".into()))
        }
        Kind::Silent => {
            inner.call(request).await?;
            Err(ConnectorError::other("the connection was closed".into(), None))
        }
        Kind::Twice | Kind::Echo => {
            let again = copy(&request);
            let answer = inner.call(request).await?;
            inner.call(again).await?;
            Ok(answer)
        }
        Kind::Late => {
            tokio::time::sleep(LATE).await;
            inner.call(request).await
        }
        Kind::Throttled | Kind::Flooded => Ok(refusal(&request)),
        Kind::Conflict => Ok(conflict()),
        Kind::LeftOver => leave_half(&inner, request).await,
    }
}

/// Half of a batch is sent on; what was left comes back with the answer, as the service gives it back.
async fn leave_half(inner: &SharedHttpConnector, mut request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let body: Value = serde_json::from_slice(request.body().bytes().expect("a body in memory")).expect("JSON");
    let (mut first, mut left) = (body.clone(), body["RequestItems"].clone());
    let tables = first["RequestItems"].as_object_mut().expect("tables");
    for (table, wanted) in tables.iter_mut() {
        let list = if wanted.is_array() { &mut *wanted } else { &mut wanted["Keys"] };
        let list = list.as_array_mut().expect("a list of keys or writes");
        let rest = list.split_off(list.len() / 2);
        let left = if left[table].is_array() { &mut left[table] } else { &mut left[table]["Keys"] };
        *left = Value::from(rest);
    }
    let reads = request.headers().get("x-amz-target").is_some_and(|target| target.ends_with("BatchGetItem"));
    let none = tables.values().all(|wanted| wanted.get("Keys").unwrap_or(wanted).as_array().is_some_and(Vec::is_empty));
    let mut answer = if none {
        json!({})
    } else {
        let text = first.to_string();
        request.headers_mut().insert("content-length", text.len().to_string());
        *request.body_mut() = SdkBody::from(text);
        let answer = ByteStream::new(inner.call(request).await?.into_body()).collect().await;
        serde_json::from_slice(&answer.expect("a whole answer").into_bytes()).expect("JSON")
    };
    answer[if reads { "UnprocessedKeys" } else { "UnprocessedItems" }] = left;
    Ok(HttpResponse::new(200_u16.try_into().expect("a status"), SdkBody::from(answer.to_string())))
}

fn copy(request: &HttpRequest) -> HttpRequest {
    request.try_clone().expect("a body that is in memory")
}

/// As the service says that a transaction is about to write the item.
fn conflict() -> HttpResponse {
    let text =
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"a transaction"}"#;
    HttpResponse::new(400.try_into().expect("a status"), SdkBody::from(text))
}

/// As the service says that it is too much.
fn refusal(request: &HttpRequest) -> HttpResponse {
    let text = match request.headers().get("x-amz-target") {
        Some(target) if target.starts_with("DynamoDB") => {
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"too much"}"#
        }
        Some(_) => r#"{"__type":"com.amazonaws.sqs#RequestThrottled","message":"too much"}"#,
        None => "<Error><Code>SlowDown</Code><Message>too much</Message></Error>",
    };
    let status = if text.starts_with('<') { 503 } else { 400 };
    HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(text))
}
