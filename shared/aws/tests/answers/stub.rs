//! A stub in the place of AWS: it answers every request, and keeps what it was and when it came.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws::secrets::Parameters;
use aws::{Aws, Config};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use engine::Engine;
use serde_json::Value;
use tokio::time::Instant;

pub const TABLE: &str = "jobs";

type Answer = dyn Fn(&Value) -> (u16, Value) + Send + Sync;

/// Answers every request, and keeps what it was and when it came.
#[derive(Clone)]
pub struct Stub {
    answer: Arc<Answer>,
    /// The time after which it answers. `None`: it never does.
    late: Option<Duration>,
    came: Arc<Mutex<Vec<(Instant, Value)>>>,
    busy: Arc<Busy>,
}

/// Requests that wait for their answers.
#[derive(Default)]
struct Busy {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stub")
    }
}

impl HttpClient for Stub {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Stub {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // What S3 is asked isn't JSON.
        let body = serde_json::from_slice(request.body().bytes().expect("a body in memory")).unwrap_or_default();
        let (status, answer) = (self.answer)(&body);
        self.came.lock().expect("nobody panicked").push((Instant::now(), body));
        let status = status.try_into().expect("a status");
        let answer = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
        let answer = HttpResponse::new(status, SdkBody::from(answer));
        let (late, busy) = (self.late, Arc::clone(&self.busy));
        HttpConnectorFuture::new(async move {
            busy.most.fetch_max(busy.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            match late {
                Some(late) => tokio::time::sleep(late).await,
                None => std::future::pending().await,
            }
            busy.now.fetch_sub(1, Ordering::Relaxed);
            Ok(answer)
        })
    }
}

impl Stub {
    pub fn new(answer: impl Fn(&Value) -> (u16, Value) + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), late: Some(Duration::ZERO), came: Arc::default(), busy: Arc::default() }
    }

    /// The same, with every answer this much later, or never.
    pub fn late(self, late: Option<Duration>) -> Self {
        Self { late, ..self }
    }

    /// The most requests that waited for their answers at one time.
    pub fn most_at_once(&self) -> usize {
        self.busy.most.load(Ordering::Relaxed)
    }

    pub async fn engine(&self) -> Engine<Aws> {
        Aws::engine_with(Self::config(true), &self.settings().await)
    }

    pub async fn ports(&self) -> Aws {
        self.ports_where(true).await
    }

    pub async fn ports_where(&self, require_tls: bool) -> Aws {
        Aws::with_settings(Self::config(require_tls), &self.settings().await)
    }

    pub async fn parameters(&self) -> Parameters {
        Parameters::from_config(&Self::config(true), &self.settings().await).expect("it has a path")
    }

    async fn settings(&self) -> SdkConfig {
        let settings = Aws::settings()
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .http_client(self.clone());
        settings.load().await
    }

    fn config(require_tls: bool) -> Config {
        Config {
            jobs_table: TABLE.to_owned(),
            logs_table: "logs".to_owned(),
            bucket: "bucket".to_owned(),
            batches_queue: "http://localhost/batches".to_owned(),
            queue_prefix: "pool-".to_owned(),
            stack: Some("stack".to_owned()),
            require_tls,
            secrets_path: Some("/wf/secrets/".to_owned()),
            endpoints_parameter: None,
            ready_shards: 1,
            ..Config::default()
        }
    }

    pub fn bodies(&self) -> Vec<Value> {
        self.came.lock().expect("nobody panicked").iter().map(|(_, body)| body.clone()).collect()
    }

    /// Times between one request and the next.
    pub fn waits(&self) -> Vec<Duration> {
        let came = self.came.lock().expect("nobody panicked");
        came.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}
