//! A scripted server that can refuse requests, drop connections and cancel jobs.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use workflow_graph_worker_sdk::protocol::{LabelSet, WorkerId};
use workflow_graph_worker_sdk::{Worker, WorkerConfig};

pub mod queues;

/// The time limit for anything that must happen.
pub const LONG: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub head: String,
    pub body: String,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("requests of a worker are JSON")
    }

    pub fn is(&self, end: &str) -> bool {
        self.path.ends_with(end)
    }
}

/// What the server does with a request.
pub enum Answer {
    Json(u16, Value),
    /// With headers of its own; each ends with CRLF.
    Raw(u16, &'static str, String),
    /// The connection ends without an answer.
    Drop,
}

pub struct Fake {
    pub url: String,
    seen: watch::Receiver<Vec<Request>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Script = dyn Fn(&Request) -> Option<Answer> + Send + Sync;

impl Fake {
    /// Starts a server. Requests for which `script` returns `None` get the answers of an engine without jobs.
    pub async fn start(script: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (sender, seen) = watch::channel(Vec::new());
        let script: Arc<Script> = Arc::new(script);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&script), sender.clone()));
            }
        });
        Self { url, seen, task }
    }

    pub fn seen(&self, end: &str) -> Vec<Request> {
        self.seen.borrow().iter().filter(|request| request.is(end)).cloned().collect()
    }

    pub fn all(&self) -> Vec<Request> {
        self.seen.borrow().clone()
    }

    /// Waits until `count` requests to paths with this end have arrived.
    pub async fn until(&self, end: &str, count: usize) -> Vec<Request> {
        let mut seen = self.seen.clone();
        let enough = seen.wait_for(|all| all.iter().filter(|request| request.is(end)).count() >= count);
        tokio::time::timeout(Duration::from_secs(30), enough)
            .await
            .unwrap_or_else(|_| panic!("{count} times {end}, but there came {:?}", self.all()))
            .expect("the server lives");
        self.seen(end)
    }

    pub fn config(&self) -> WorkerConfig {
        WorkerConfig {
            server_url: self.url.clone(),
            worker_id: WorkerId::new("w1").expect("good"),
            labels: LabelSet::parse(["staging"]).expect("good"),
            poll: Duration::from_millis(20),
            log_flush: Duration::from_millis(20),
            ..WorkerConfig::default()
        }
    }
}

async fn serve(stream: TcpStream, script: Arc<Script>, seen: watch::Sender<Vec<Request>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let answer = script(&request).unwrap_or_else(|| usual(&request));
        seen.send_modify(|all| all.push(request));
        let (status, headers, body) = match answer {
            Answer::Json(status, body) => (status, "content-type: application/json\r\n", body.to_string()),
            Answer::Raw(status, headers, body) => (status, headers, body),
            Answer::Drop => return,
        };
        let text = format!("HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    let mut words = head.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    Some(Request { method, path, head, body: String::from_utf8(body).ok()? })
}

fn usual(request: &Request) -> Answer {
    let body = match request.path.as_str() {
        "/api/workers/register" => json!({"queues": [], "heartbeat_secs": 30}),
        "/api/jobs/claim" => Value::Null,
        path if path.ends_with("/heartbeat") => json!({"lease": lease(30), "cancelled": false}),
        path if path.ends_with("/complete") || path.ends_with("/fail") => json!({"next": null}),
        _ => json!({}),
    };
    Answer::Json(200, body)
}

#[expect(clippy::unnecessary_wraps, reason = "what a script returns")]
pub fn refuse(status: u16) -> Option<Answer> {
    Some(Answer::Json(status, json!({"error": {"code": "some_word", "message": format!("refused with {status}")}})))
}

pub fn lease(ttl: u32) -> Value {
    json!({"lease_id": "L1", "job_id": "deploy", "workflow_id": "wf1", "worker_id": "w1",
           "ttl_secs": ttl, "granted_at_ms": 0})
}

/// `prefix` and a number on each line.
pub fn numbered(prefix: &str, numbers: std::ops::Range<u32>) -> String {
    numbers.fold(String::new(), |text, number| text + prefix + &number.to_string() + "\n")
}

pub fn job(command: &str) -> Value {
    json!({"job_id": "deploy", "workflow_id": "wf1", "command": command, "required_labels": [],
           "retry_policy": {"max_retries": 0, "backoff": "None"}, "attempt": 2,
           "upstream_outputs": {"build": {"artifact_url": "s3://bucket/a b"}}, "enqueued_at_ms": 0,
           "delayed_until_ms": 0, "env": {"GREETING": "it's \"me\""}})
}

/// Grants `job` once.
pub fn once(job: &Value, ttl: u32) -> impl Fn(&Request) -> Option<Answer> + use<> {
    let left = std::sync::Mutex::new(Some(json!({"job": job, "lease": lease(ttl)})));
    move |request| {
        let grants = request.is("/claim").then(|| left.lock().expect("unpoisoned").take()).flatten();
        grants.map(|claimed| Answer::Json(200, claimed))
    }
}

/// Runs one job to its end.
pub async fn run_once(server: &Fake, config: WorkerConfig) {
    let config = WorkerConfig { once: true, ..config };
    timeout(LONG, Worker::new(config).run()).await.unwrap_or_else(|_| panic!("{:?}", server.all())).expect("worked");
}

/// The text of a file that a job writes, when it ends with a line.
pub async fn until_written(file: &Path) -> String {
    timeout(LONG, async {
        loop {
            match std::fs::read_to_string(file) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await
    .expect("the job writes it")
}

/// The text of the log of lease `L1`.
pub fn log_text(server: &Fake) -> String {
    let requests = server.seen("/jobs/L1/logs");
    let chunks = requests.iter().flat_map(|request| request.json()["chunks"].as_array().expect("a list").clone());
    chunks.map(|chunk| chunk["data"].as_str().expect("a text").to_owned()).collect()
}
