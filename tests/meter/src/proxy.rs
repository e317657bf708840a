//! A proxy between the functions and the emulator that counts the functions' calls to AWS.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cost::Usage;
use harness::{Received, header};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::dynamo::{self, Becomes, Charge, Image, Key, Written};
use crate::ledger::Ledger;
use crate::limits::{Limits, Refusal, Units};

/// The number of bytes of a message that one request to a queue covers.
const MESSAGE_BLOCK: usize = 64 * 1024;

/// A message that a function sent to the queue of batch tasks and timers.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its body.
    pub body: String,
    /// The delay with which it was sent, in seconds.
    pub delay_secs: u64,
}

/// Passes the functions' calls on to the emulator and counts them, until it is dropped.
pub struct MeterProxy {
    /// Its address, for the functions.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    /// The emulator's host and port.
    target: String,
    /// The bucket that sends its events to `EventBridge`, if one does.
    bucket_with_events: Option<String>,
    counted: Mutex<Counted>,
    /// The items that were seen. Held during a whole call of the database, so that the images before and after it are its own.
    items: tokio::sync::Mutex<HashMap<Key, Image>>,
}

#[derive(Default)]
struct Counted {
    step: String,
    ledger: Ledger,
    /// Units by partition key, of the tables and of the index.
    keys: BTreeMap<String, Usage>,
    sent: Vec<Sent>,
    retries: usize,
    /// The model of the database's limits, while it is in force.
    limits: Option<Limits>,
}

impl Drop for MeterProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MeterProxy {
    /// Starts to listen, in front of this URL. `bucket_with_events` is the bucket that sends its events to `EventBridge`.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(endpoint: &str, bucket_with_events: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let target = endpoint.trim_start_matches("http://").to_owned();
        let (counted, items) = (Mutex::default(), tokio::sync::Mutex::default());
        let shared = Arc::new(Shared { target, bucket_with_events, counted, items });
        let accepted = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let shared = Arc::clone(&accepted);
                // The function must handle a failed connection.
                tokio::spawn(async move { shared.pass(connection).await });
            }
        });
        Self { url, shared, task }
    }

    /// Names the step that the following calls belong to.
    pub fn step(&self, name: &str) {
        name.clone_into(&mut self.shared.counted().step);
    }

    /// Adds a charge that doesn't pass through the proxy to the current step.
    pub fn charge(&self, item: &str, usage: Usage) {
        self.shared.charge(item, usage);
    }

    /// Returns the counts so far, and begins anew.
    #[must_use]
    pub fn take(&self) -> Ledger {
        std::mem::take(&mut self.shared.counted().ledger)
    }

    /// Returns the units by partition key so far, and begins anew. A key of the index begins with `index `.
    #[must_use]
    pub fn take_keys(&self) -> BTreeMap<String, Usage> {
        std::mem::take(&mut self.shared.counted().keys)
    }

    /// Returns the messages to the queue of batch tasks and timers that weren't taken yet.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.shared.counted().sent)
    }

    /// Puts limits in force, or ends them.
    pub fn limit(&self, limits: Option<Limits>) {
        self.shared.counted().limits = limits;
    }

    /// Begins the next second of the limits' clock.
    pub fn tick(&self) {
        if let Some(limits) = &mut self.shared.counted().limits {
            limits.tick();
        }
    }

    /// The first refusal by the limits that are in force, and the units that a new table would have run out of.
    #[must_use]
    pub fn used_up(&self) -> (Option<Refusal>, Option<Units>) {
        let counted = self.shared.counted();
        let limits = counted.limits.as_ref();
        (limits.and_then(Limits::refusal).cloned(), limits.and_then(Limits::table_used_up))
    }

    /// The number of calls that the client library repeated. They aren't counted.
    #[must_use]
    pub fn retries(&self) -> usize {
        self.shared.counted().retries
    }
}

impl Shared {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn charge(&self, item: &str, usage: Usage) {
        let counted = &mut *self.counted();
        counted.ledger.add(&counted.step, item, usage);
    }

    /// Passes on one call, then closes the connection.
    async fn pass(&self, connection: TcpStream) -> io::Result<()> {
        let mut connection = BufReader::new(connection);
        let Some(call) = Received::read(&mut connection).await? else { return Ok(()) };
        let is_retry = call.header("amz-sdk-request").is_some_and(|try_| !try_.contains("attempt=1"));
        if is_retry {
            self.counted().retries += 1;
        }
        let target = call.header("x-amz-target").unwrap_or_default().to_owned();
        let (service, action) = target.split_once('.').unwrap_or_default();
        let answer = match service {
            "DynamoDB_20120810" => self.database(action, &call, is_retry).await?,
            "AmazonSQS" => {
                self.queue(action, &call);
                call.forward(&self.target).await?
            }
            "AmazonSSM" => {
                let names = input(&call)["Names"].as_array().map_or(1, Vec::len);
                let kms_requests = u32::try_from(names).map_or(0.0, f64::from);
                self.charge("secret", Usage { ssm_requests: 1.0, kms_requests, ..Usage::default() });
                call.forward(&self.target).await?
            }
            _ => {
                self.charge("bucket", bucket_usage(&call, self.bucket_with_events.as_deref()));
                call.forward(&self.target).await?
            }
        };
        connection.write_all(&answer).await
    }

    fn queue(&self, action: &str, call: &Received) {
        let input = input(call);
        let body = input["MessageBody"].as_str().unwrap_or_default();
        let requests = body.len().div_ceil(MESSAGE_BLOCK).max(1);
        let sqs_requests = u32::try_from(requests).map_or(f64::MAX, f64::from);
        let is_batches = input["QueueUrl"].as_str().is_some_and(|url| url.ends_with("-batches"));
        let item = if is_batches { "queue batches" } else { "queue of a pool" };
        self.charge(item, Usage { sqs_requests, ..Usage::default() });
        if is_batches && action == "SendMessage" {
            let delay_secs = input["DelaySeconds"].as_u64().unwrap_or(0);
            self.counted().sent.push(Sent { body: body.to_owned(), delay_secs });
        }
    }

    async fn database(&self, action: &str, call: &Received, is_retry: bool) -> io::Result<Vec<u8>> {
        let mut items = self.items.lock().await;
        let input = input(call);
        let writes = dynamo::writes(action, &input);
        let mut before = Vec::with_capacity(writes.len());
        for written in &writes {
            if !items.contains_key(&written.key) {
                let image = self.image(&written.key).await?;
                items.insert(written.key.clone(), image);
            }
            before.push(items[&written.key].clone());
        }
        if !self.admits(action, &input, &writes.iter().zip(&before).collect::<Vec<_>>()) {
            return Ok(throttled());
        }
        let bytes = call.forward(&self.target).await?;
        let (status, answer) = parse(&bytes);
        let refusal = answer["__type"].as_str().unwrap_or_default();
        let is_refused = refusal.contains("ConditionalCheckFailed") || refusal.contains("TransactionCanceled");
        if status != 200 && !is_refused {
            return Ok(bytes);
        }
        let mut charges = Vec::new();
        for (written, before) in writes.iter().zip(before) {
            let after = match &written.becomes {
                _ if is_refused => before.clone(),
                Becomes::Item(item) => Image::of(Some(item)),
                Becomes::Missing => Image::default(),
                Becomes::Updated => match answer["Attributes"].as_object() {
                    Some(item) if input["ReturnValues"] == "ALL_NEW" => Image::of(Some(item)),
                    _ => self.image(&written.key).await?,
                },
            };
            charges.extend(dynamo::write_charges(written, &before, &after));
            items.insert(written.key.clone(), after);
        }
        let whole = if input["Select"] == "COUNT" { self.items_of(&input).await? } else { answer };
        charges.extend(dynamo::read_charges(action, &input, &whole));
        if !is_retry {
            for Charge { item, key, usage } in charges {
                self.charge(item, usage);
                if let Some(limits) = &mut self.counted().limits {
                    limits.use_up(&key, usage);
                }
                *self.counted().keys.entry(key).or_default() += usage;
            }
        }
        Ok(bytes)
    }

    /// Asks the model of the limits for a call.
    fn admits(&self, action: &str, input: &Value, before: &[(&Written, &Image)]) -> bool {
        let mut counted = self.counted();
        let Some(limits) = &mut counted.limits else { return true };
        let of_index: Vec<String> = limits.index_keys().map(str::to_owned).collect();
        let units = if before.is_empty() { Units::Reads } else { Units::Writes };
        let keys = dynamo::touched(action, input, before, &of_index);
        limits.admits(units, keys.iter().map(String::as_str))
    }

    /// The image of an item in the emulator.
    async fn image(&self, (table, pk, sk): &Key) -> io::Result<Image> {
        let key = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
        let get = json!({ "TableName": table, "Key": key, "ConsistentRead": true });
        let answer = self.ask("GetItem", &get).await?;
        Ok(Image::of(answer["Item"].as_object()))
    }

    /// The answer of a query that counts, with its items.
    async fn items_of(&self, query: &Value) -> io::Result<Value> {
        let mut query = query.clone();
        if let Some(query) = query.as_object_mut() {
            query.remove("Select");
        }
        self.ask("Query", &query).await
    }

    /// A call of the proxy's own. It isn't counted.
    async fn ask(&self, action: &str, input: &Value) -> io::Result<Value> {
        let body = input.to_string().into_bytes();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\
             x-amz-target: DynamoDB_20120810.{action}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=x\r\n\r\n",
            self.target,
            body.len()
        );
        let (status, answer) = parse(&Received { head, body }.forward(&self.target).await?);
        if status == 200 { Ok(answer) } else { Err(io::Error::other(format!("{action}: {status} {answer}"))) }
    }
}

fn input(call: &Received) -> Value {
    serde_json::from_slice(&call.body).unwrap_or_default()
}

/// The answer of `DynamoDB` to a call that exceeds a limit.
fn throttled() -> Vec<u8> {
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        "message": "the model of DynamoDB's limits refuses this call"
    })
    .to_string();
    let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/x-amz-json-1.0";
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// What a call to the bucket costs. Deletes are free.
fn bucket_usage(call: &Received, bucket_with_events: Option<&str>) -> Usage {
    let (method, path) = call.line();
    let has_events = bucket_with_events.is_some_and(|bucket| path.split('/').nth(1) == Some(bucket));
    let query = path.split_once('?').map_or("", |(_, query)| query);
    match method {
        // An object is announced when it appears, and when it expires.
        "PUT" => Usage { s3_puts: 1.0, events: if has_events { 2.0 } else { 0.0 }, ..Usage::default() },
        "GET" if query.contains("list-type") => Usage { s3_puts: 1.0, ..Usage::default() },
        "GET" | "HEAD" => Usage { s3_gets: 1.0, ..Usage::default() },
        _ => Usage::default(),
    }
}

/// The status and the JSON body of an answer. `Null` if it has another body.
fn parse(answer: &[u8]) -> (u16, Value) {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return (0, Value::Null) };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = &answer[end + 4..];
    let chunked = header(&head, "transfer-encoding").is_some_and(|encoding| encoding.eq_ignore_ascii_case("chunked"));
    let body = if chunked { dechunk(body) } else { body.to_vec() };
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// The content of a chunked body.
fn dechunk(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let (Some(size), rest) = (size.filter(|size| *size > 0), &body[end + 2..]) else { break };
        if rest.len() < size + 2 {
            break;
        }
        content.extend_from_slice(&rest[..size]);
        body = &rest[size + 2..];
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Received {
        Received { head: format!("{line} HTTP/1.1\r\n\r\n"), body: Vec::new() }
    }

    #[test]
    fn puts_lists_and_gets_of_objects_are_priced_apart_and_deletes_are_free() {
        let puts = Usage { s3_puts: 1.0, ..Usage::default() };
        assert_eq!(bucket_usage(&call("PUT /bucket/defs/a"), Some("other")), puts);
        assert_eq!(bucket_usage(&call("PUT /bucket/defs/a"), Some("bucket")), Usage { events: 2.0, ..puts });
        assert_eq!(bucket_usage(&call("GET /bucket?list-type=2&prefix=a"), Some("bucket")), puts);
        assert_eq!(
            bucket_usage(&call("GET /bucket/defs/a"), Some("bucket")),
            Usage { s3_gets: 1.0, ..Usage::default() }
        );
        assert_eq!(bucket_usage(&call("POST /bucket?delete"), None), Usage::default());
    }

    #[test]
    fn a_chunked_answer_is_read() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n";
        assert_eq!(parse(answer), (200, json!({ "a": 1 })));
        assert_eq!(parse(b"HTTP/1.1 400 No\r\ncontent-length: 2\r\n\r\n{}"), (400, json!({})));
    }
}
