//! A proxy that records requests and answers.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::PATIENCE;
use crate::cloud::Cloud;
use crate::relay::Received;

/// Passes requests on to the target until it is dropped.
pub struct RecordingProxy {
    /// Its address.
    pub url: String,
    seen: watch::Receiver<Vec<Exchange>>,
    way: Arc<Way>,
    task: JoinHandle<()>,
}

/// A request that the target has answered.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The request line and the headers, in lower case.
    pub head: String,
    /// The path and the query, unchanged.
    pub path: String,
    /// The request's body.
    pub body: String,
    /// The status of the answer.
    pub status: u16,
    /// The body of the answer.
    pub answer: String,
}

struct Way {
    cloud: Cloud,
    seen: watch::Sender<Vec<Exchange>>,
    /// The connection breaks instead of the next answer to a path that ends so.
    loses: Mutex<Option<&'static str>>,
    /// A path that ends so is answered 503 and not passed on.
    refuses: Mutex<Option<&'static str>>,
}

impl Drop for RecordingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RecordingProxy {
    /// Starts to listen. `loses`: the connection breaks instead of the first answer to a path that ends so.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(cloud: &Cloud, loses: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (sender, seen) = watch::channel(Vec::new());
        let (loses, refuses) = (Mutex::new(loses), Mutex::default());
        let way = Arc::new(Way { cloud: cloud.clone(), seen: sender, loses, refuses });
        let accepted = Arc::clone(&way);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let way = Arc::clone(&accepted);
                // The program under test must handle a failed connection.
                tokio::spawn(async move { way.pass(connection).await });
            }
        });
        Self { url, seen, way, task }
    }

    /// Sets the end of the paths that are answered 503.
    ///
    /// # Panics
    /// If a thread panicked while it held the lock.
    pub fn refuses(&self, end: Option<&'static str>) {
        *self.way.refuses.lock().expect("no panic") = end;
    }

    /// The answered requests so far, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Exchange> {
        self.seen.borrow().clone()
    }

    /// Waits until the condition is true for the answered requests, and returns them.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn until(&self, what: &str, is: impl Fn(&[Exchange]) -> bool) -> Vec<Exchange> {
        let mut seen = self.seen.clone();
        let found = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| is(seen))).await.map(|seen| seen.is_ok());
        assert!(found == Ok(true), "not within {} s: {what}: {:#?}", PATIENCE.as_secs(), self.seen());
        self.seen()
    }
}

impl Way {
    /// Passes on one request, then closes the connection.
    async fn pass(&self, connection: TcpStream) -> std::io::Result<()> {
        let mut connection = BufReader::new(connection);
        let Some(request) = Received::read(&mut connection).await? else { return Ok(()) };
        let (method, path) = request.line();
        let (method, path) = (method.to_owned(), path.to_owned());
        if self.refuses.lock().expect("no panic").is_some_and(|end| path.ends_with(end)) {
            let refusal = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            return connection.write_all(refusal.as_bytes()).await;
        }
        let sent = String::from_utf8_lossy(&request.body).into_owned();
        let passed = ["content-type", "authorization"];
        let passed: Vec<_> = passed.into_iter().filter_map(|name| Some((name, request.header(name)?))).collect();
        let answer = self.cloud.send_with(&method, &path, &passed, request.body.clone()).await;
        let head = request.head.to_lowercase();
        let lost = self.loses.lock().expect("no panic").take_if(|end| path.ends_with(*end));
        let (status, text) = (answer.status.as_u16(), answer.body.clone());
        self.seen.send_modify(|seen| seen.push(Exchange { head, path, body: sent, status, answer: text }));
        if lost.is_some() {
            return Ok(());
        }
        let length = answer.body.len();
        let head = format!("HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n", answer.status);
        connection.write_all((head + &answer.body).as_bytes()).await
    }
}
