//! A fake SQS: the three calls of a worker over AWS's JSON protocol, with its own clock.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Queues that are empty at first. Nothing in them is hidden for a time only: see [`Queues::reveal`].
pub struct Queues {
    /// For `AWS_ENDPOINT_URL`.
    pub url: String,
    world: watch::Sender<World>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct World {
    queues: BTreeMap<String, Vec<Message>>,
    calls: Vec<Call>,
    receipts: usize,
}

struct Message {
    body: String,
    /// The handle of the last receive; `None` while the message can be received.
    receipt: Option<String>,
}

/// A recorded call.
#[derive(Clone, Debug)]
pub struct Call {
    pub action: String,
    /// The queue's name.
    pub queue: String,
    pub input: Value,
    pub at: Instant,
}

impl Call {
    pub fn is(&self, action: &str, queue: &str) -> bool {
        self.action == action && self.queue == queue
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Queues {
    /// `second`: how long a receive waits for each second that it is asked to.
    pub async fn start(second: Duration, names: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let world = watch::Sender::new(World::default());
        let served = world.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, served.clone(), second));
            }
        });
        let queues = Self { url, world, task };
        for name in names {
            queues.create(name);
        }
        queues
    }

    /// The queue as a server lists it.
    pub fn info(&self, name: &str) -> Value {
        json!({"url": format!("{}/000000000000/{name}", self.url), "labels": ["staging"]})
    }

    pub fn create(&self, name: &str) {
        self.world.send_modify(|world| drop(world.queues.insert(name.to_owned(), Vec::new())));
    }

    pub fn delete(&self, name: &str) {
        self.world.send_modify(|world| drop(world.queues.remove(name)));
    }

    /// Sends each ticket to its queue, all at one time.
    pub fn send(&self, tickets: &[(&str, &str)]) {
        self.world.send_modify(|world| {
            for (name, ticket) in tickets {
                let queue = world.queues.get_mut(*name).expect("a queue");
                queue.push(Message { body: (*ticket).to_owned(), receipt: None });
            }
        });
    }

    /// Makes messages visible again that were received and neither deleted nor released.
    pub fn reveal(&self, name: &str) {
        self.world.send_modify(|world| {
            world.queues.get_mut(name).expect("a queue").iter_mut().for_each(|message| message.receipt = None);
        });
    }

    /// The tickets that a queue has: those that can be received, and those that are hidden.
    pub fn tickets(&self, name: &str) -> (Vec<String>, Vec<String>) {
        let world = self.world.borrow();
        let (hidden, shown): (Vec<&Message>, Vec<_>) =
            world.queues[name].iter().partition(|message| message.receipt.is_some());
        let bodies = |some: Vec<&Message>| some.iter().map(|message| message.body.clone()).collect();
        (bodies(shown), bodies(hidden))
    }

    pub fn calls(&self) -> Vec<Call> {
        self.world.borrow().calls.clone()
    }

    pub fn count(&self, action: &str, queue: &str) -> usize {
        self.calls().iter().filter(|call| call.is(action, queue)).count()
    }

    /// Waits until so many calls have come, from the first on.
    pub async fn until(&self, action: &str, queue: &str, count: usize) {
        let mut world = self.world.subscribe();
        let enough = world.wait_for(|world| world.calls.iter().filter(|call| call.is(action, queue)).count() >= count);
        let came = timeout(Duration::from_secs(30), enough).await.is_ok();
        assert!(came, "{count} times {action} of {queue}, but there came {:#?}", self.calls());
    }
}

async fn serve(stream: TcpStream, world: watch::Sender<World>, second: Duration) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = super::read(&mut stream).await {
        let target = request.head.lines().find_map(|line| line.strip_prefix("x-amz-target: AmazonSQS."));
        let action = target.expect("a call of SQS").to_owned();
        let input = request.json();
        let url = input["QueueUrl"].as_str().expect("a queue's URL");
        let queue = url.rsplit('/').next().expect("a name").to_owned();
        let call = Call { action: action.clone(), queue: queue.clone(), input: input.clone(), at: Instant::now() };
        world.send_modify(|world| world.calls.push(call));
        if action == "ReceiveMessage" {
            let secs = input["WaitTimeSeconds"].as_u64().expect("a number");
            wait(&world, &queue, second * u32::try_from(secs).expect("few")).await;
        }
        let mut answer = None;
        world.send_modify(|world| answer = world.answer(&action, &queue, &input));
        let (status, headers, body) = match answer {
            Some(body) => (200, "", body),
            None => (
                400,
                "x-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender\r\n",
                json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "The specified queue does not exist."}),
            ),
        };
        let body = body.to_string();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/x-amz-json-1.0\r\n{headers}");
        let text = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Waits until a message can be received or the queue is gone.
async fn wait(world: &watch::Sender<World>, queue: &str, longest: Duration) {
    let mut world = world.subscribe();
    let has = |world: &World| world.queues.get(queue).is_none_or(|all| all.iter().any(|one| one.receipt.is_none()));
    let _ = timeout(longest, world.wait_for(has)).await.is_ok();
}

impl World {
    fn answer(&mut self, action: &str, queue: &str, input: &Value) -> Option<Value> {
        let queue = self.queues.get_mut(queue)?;
        let receipt = input["ReceiptHandle"].as_str();
        match action {
            "ReceiveMessage" => {
                let most = usize::try_from(input["MaxNumberOfMessages"].as_u64().expect("a number")).expect("few");
                let mut messages = Vec::new();
                for message in queue.iter_mut().filter(|message| message.receipt.is_none()).take(most) {
                    self.receipts += 1;
                    let receipt = format!("receipt-{}", self.receipts);
                    messages.push(json!({"MessageId": receipt, "ReceiptHandle": receipt, "Body": message.body}));
                    message.receipt = Some(receipt);
                }
                Some(json!({ "Messages": messages }))
            }
            "DeleteMessage" => {
                queue.retain(|message| message.receipt.as_deref() != receipt);
                Some(json!({}))
            }
            "ChangeMessageVisibility" => {
                assert_eq!(input["VisibilityTimeout"], 0);
                for message in queue.iter_mut().filter(|message| message.receipt.as_deref() == receipt) {
                    message.receipt = None;
                }
                Some(json!({}))
            }
            other => panic!("a worker has no right to {other}"),
        }
    }
}
