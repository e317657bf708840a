//! How many calls to AWS a request takes, and which items it writes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws::{Aws, Config};
use aws_config::SdkConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use engine::clock::Clock;
use engine::messages::ChangeEvent;
use engine::ports::{Consistency, RunStore, Source};
use engine::submit::Submission;
use engine::{Engine, Tuning};
use futures::{StreamExt, TryStreamExt, stream};
use protocol::{Millis, WorkflowId};
use serde_json::Value;

/// Runs that are open while the calls are counted.
const OPEN_RUNS: usize = 500;
const AT_ONCE: usize = 16;

/// Stands before another HTTP client, and keeps the body of each request.
#[derive(Clone, Debug)]
struct Counter {
    inner: SharedHttpClient,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl HttpClient for Counter {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Counting { inner, bodies: Arc::clone(&self.bodies) })
    }
}

#[derive(Debug)]
struct Counting {
    inner: SharedHttpConnector,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl HttpConnector for Counting {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
        self.bodies.lock().expect("nobody panicked").push(body);
        self.inner.call(request)
    }
}

impl Counter {
    /// The requests since this was last asked.
    fn taken(&self) -> Vec<Value> {
        std::mem::take(&mut *self.bodies.lock().expect("nobody panicked"))
    }
}

/// A clock that stands still, so that what is read doesn't depend on how long the test takes.
struct StoppedClock(Millis);

impl Clock for StoppedClock {
    fn now(&self) -> Millis {
        self.0
    }
}

/// Processes on one stack whose calls are counted.
struct Counted {
    config: Config,
    settings: SdkConfig,
    counter: Counter,
    began: Millis,
}

impl Counted {
    fn new(config: Config, settings: &SdkConfig) -> Self {
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let counter = Counter { inner: http, bodies: Arc::default() };
        let settings = settings.to_builder().http_client(counter.clone()).build();
        Self { config, settings, counter, began: Millis::now() }
    }

    /// A process that has read nothing yet.
    fn process(&self) -> Engine<Aws> {
        self.process_after(Duration::ZERO)
    }

    fn process_after(&self, time: Duration) -> Engine<Aws> {
        let engine = Aws::engine_with(self.config.clone(), &self.settings).with_tuning(Tuning::default());
        engine.with_clock(Arc::new(StoppedClock(self.began + time)))
    }
}

async fn submit(engine: &Engine<Aws>, yaml: &str) -> WorkflowId {
    let definition = workflow::from_yaml(yaml).expect("a good definition");
    let source = Source { content_type: "application/yaml".to_owned(), text: yaml.to_owned() };
    let submission = Submission {
        definition,
        source,
        inputs: protocol::requests::GivenInputs::new(),
        run: true,
        key: None,
        report: None,
        place_at: None,
        started_by: None,
    };
    engine.submissions().submit(submission).await.expect("submitted").workflow
}

/// Makes the first jobs of a workflow ready, as its change event does.
async fn make_ready(engine: &Engine<Aws>, id: &WorkflowId) {
    let ports = engine.ports();
    let workflow = ports.workflow(id, Consistency::Strong).await.expect("read").expect("it is there");
    let control = ports.control(&workflow.run, Consistency::Strong).await.expect("read").expect("it is there");
    engine.scheduling().on_change(&ChangeEvent::RunOpened(control)).await.expect("handled");
}

/// The calls of a status, a list of pools and a list of workers, each by a process that has read nothing yet.
async fn calls_of_reads(counted: &Counted, id: &WorkflowId) -> [usize; 3] {
    // By then a job that is still shown as running is read.
    let reader = || counted.process_after(Duration::from_secs(20));
    counted.counter.taken();
    let status = reader().queries().workflow(id).await.expect("answered");
    assert_eq!(status.jobs.iter().filter_map(|job| job.waiting_for.as_ref()?.busy).collect::<Vec<_>>(), [1]);
    let status = counted.counter.taken().len();
    let process = reader();
    let pools = process.workers().pools().await.expect("answered");
    let pools = process.workers().count_pools(pools).await.expect("answered");
    assert_eq!(pools.iter().map(|pool| (pool.waiting, pool.running)).collect::<Vec<_>>(), [(1, 1)]);
    let pools = counted.counter.taken().len();
    let workers = reader().workers().list().await.expect("answered");
    assert!(workers[0].current_job.is_some());
    [status, pools, counted.counter.taken().len()]
}

/// What a status of a waiting run, a list of pools and a list of workers read doesn't grow with the open runs.
pub async fn reads_take_as_many_calls_with_500_open_runs_as_without(config: Config, settings: &SdkConfig) {
    let counted = Counted::new(config, settings);
    let engine = counted.process();
    let id = submit(&engine, "jobs: {a: {run: x}, b: {run: x}}").await;
    make_ready(&engine, &id).await;
    let claim = serde_json::from_value(serde_json::json!({ "worker_id": "w" })).expect("a claim");
    engine.claims().claim(claim).await.expect("answered").expect("a job");
    let alone = calls_of_reads(&counted, &id).await;
    stream::iter(0..OPEN_RUNS)
        .map(|_| async { Ok::<_, ()>(submit(&engine, "jobs: {c: {run: x}}").await) })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await
        .expect("submitted");
    let among_others = calls_of_reads(&counted, &id).await;
    println!("calls of a status, of a list of pools and of a list of workers: {alone:?}");
    assert_eq!(among_others, alone, "with {OPEN_RUNS} more open runs");
}

/// A submission to a pool that another process added just before doesn't write the pool's item.
pub async fn submission_to_a_known_pool_writes_no_pool(config: Config, settings: &SdkConfig) {
    let counted = Counted::new(config, settings);
    let pool_writes = async |yaml| {
        submit(&counted.process(), yaml).await;
        let is_of_a_pool = |body: &&Value| body["Key"]["pk"]["S"] == "POOL" && body.get("UpdateExpression").is_some();
        counted.counter.taken().iter().filter(is_of_a_pool).count()
    };
    let yaml = "jobs: {a: {run: x, labels: known}, b: {run: x, labels: [known, too]}}";
    assert_eq!(pool_writes(yaml).await, 2);
    assert_eq!(pool_writes(yaml).await, 0);
    assert_eq!(pool_writes("jobs: {a: {run: x, labels: known}, c: {run: x, labels: new}}").await, 1);
}
