//! A proxy that injects faults into the functions' calls to AWS.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::between;
use crate::relay::Received;

/// The percentage of calls that meet each fault.
const EACH: u64 = 3;

/// A fault in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// The connection ends before the call is executed.
    Unsent,
    /// The call is executed, and the connection ends instead of the answer.
    Lost,
    /// The call is throttled.
    Throttled,
    /// The call is executed late.
    Late,
    /// The call is executed twice in a row.
    Twice,
}

const FAULTS: [Fault; 5] = [Fault::Unsent, Fault::Lost, Fault::Throttled, Fault::Late, Fault::Twice];

/// Passes calls on to AWS until it is dropped.
pub struct FaultProxy {
    /// Its address.
    pub url: String,
    counts: Counts,
    task: JoinHandle<()>,
}

type Counts = Arc<Mutex<BTreeMap<Option<Fault>, usize>>>;

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FaultProxy {
    /// Starts to listen, in front of this URL.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let target = endpoint.trim_start_matches("http://").to_owned();
        let counts = Counts::default();
        let counted = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (target, counts) = (target.clone(), Arc::clone(&counted));
                // The caller must handle a failed connection.
                tokio::spawn(async move { pass(connection, &target, &counts).await });
            }
        });
        Self { url, counts, task }
    }

    /// The number of calls that met a fault.
    ///
    /// # Panics
    /// If a thread panicked while it held the lock.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.counts.lock().expect("no panic").iter().filter(|(fault, _)| fault.is_some()).map(|(_, count)| count).sum()
    }

    /// The number of calls by fault, as text.
    ///
    /// # Panics
    /// If a thread panicked while it held the lock.
    #[must_use]
    pub fn summary(&self) -> String {
        let counts = self.counts.lock().expect("no panic");
        let name =
            |fault: &Option<Fault>| fault.map_or_else(|| "as it should be".to_owned(), |fault| format!("{fault:?}"));
        counts.iter().map(|(fault, count)| format!("{count} {}", name(fault))).collect::<Vec<_>>().join(", ")
    }
}

/// Passes on one call, then closes the connection.
async fn pass(connection: TcpStream, target: &str, counts: &Counts) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let Some(call) = Received::read(&mut connection).await? else { return Ok(()) };
    let fault = usize::try_from(between(0, 99) / EACH).ok().and_then(|n| FAULTS.get(n)).copied();
    *counts.lock().expect("no panic").entry(fault).or_default() += 1;
    let answer = match fault {
        Some(Fault::Unsent) => return Ok(()),
        Some(Fault::Lost) => {
            call.forward(target).await?;
            return Ok(());
        }
        Some(Fault::Throttled) => refusal(&call.head),
        Some(Fault::Late) => {
            tokio::time::sleep(Duration::from_millis(between(100, 1500))).await;
            call.forward(target).await?
        }
        Some(Fault::Twice) => {
            call.forward(target).await?;
            call.forward(target).await?
        }
        None => call.forward(target).await?,
    };
    connection.write_all(&answer).await
}

fn refusal(head: &str) -> Vec<u8> {
    let (status, body) = if head.to_lowercase().contains("x-amz-target: dynamodb") {
        ("400 Bad Request", r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#)
    } else {
        ("503 Slow Down", "")
    };
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/x-amz-json-1.0\r\n");
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
