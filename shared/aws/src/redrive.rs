//! Sends dead letters again, after their cause was fixed. An operation on a stack, not a port of the engine.

use std::collections::{HashMap, HashSet};

use aws_config::SdkConfig;
use aws_lambda_events::dynamodb::EventRecord;
use aws_sdk_sqs::operation::get_queue_url::GetQueueUrlError;
use aws_sdk_sqs::types::Message;
use engine::messages::QueueMessage;
use futures::future::{join_all, try_join_all};
use serde::Deserialize;
use serde_json::Value;

use crate::events;
use crate::objects::Objects;
use crate::stack::{self, StackError};

/// The prefix of the objects in which Lambda stores batches that it gave up.
const BATCHES: &str = "aws/lambda/";
/// The most messages that SQS returns at once.
const MAX_MESSAGES: i32 = 10;
/// How long a received message is hidden from other receivers. A batch has up to 100 records.
const HIDDEN_SECS: i32 = 120;
/// A receive that waits asks all of SQS's servers; one that doesn't wait asks only some.
const WAIT_SECS: i32 = 1;

/// The queues of a stack that hold dead letters.
///
/// Needs `sqs:GetQueueUrl`, `sqs:ReceiveMessage`, `sqs:DeleteMessage` and `sqs:ChangeMessageVisibility` on the queues
/// `<stack>-batches-dead` and `<stack>-stream-dead`, `sqs:GetQueueUrl` and `sqs:SendMessage` on `<stack>-batches`, and
/// `s3:GetObject` on `aws/lambda/*` in the bucket of the stack's output `StreamDeadBucket`.
pub struct DeadLetters {
    settings: SdkConfig,
    sqs: aws_sdk_sqs::Client,
    batches: Queue,
    batches_dead: Queue,
    stream_dead: Queue,
}

struct Queue {
    name: String,
    url: String,
}

/// A kind of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Timers, batch tasks and reconciles that failed five times.
    Batches,
    /// Batches of the stream that function `schedule` couldn't handle.
    Stream,
}

/// The result of a redrive, or of its dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    /// The queue of dead letters.
    pub from: String,
    /// The queue that the messages were sent to.
    pub to: String,
    /// Dead letters that were sent again and deleted.
    pub messages: usize,
    /// Messages that were sent for them.
    pub sent: usize,
    /// Dead letters that stay, because they can't be sent again, or not whole.
    pub left: Vec<Left>,
}

/// A message that stays a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The message's id.
    pub id: String,
    /// Why it stays, as text.
    pub reason: String,
}

/// The messages to send for a dead letter, and why it must stay, if it must.
#[derive(Debug, Default)]
struct Letter {
    bodies: Vec<String>,
    stays: Option<String>,
}

impl DeadLetters {
    /// Finds the queues by the stack's name.
    ///
    /// # Errors
    /// [`StackError::NoRegion`], [`StackError::NoQueue`], or any other error after the client library's own tries.
    pub async fn of_stack(stack: &str) -> Result<Self, StackError> {
        let (settings, region) = stack::settings().await?;
        let sqs = aws_sdk_sqs::Client::new(&settings);
        let queue = async |part: &str| find(&sqs, format!("{stack}-{part}"), &region).await;
        let (batches, batches_dead, stream_dead) =
            (queue("batches").await?, queue("batches-dead").await?, queue("stream-dead").await?);
        Ok(Self { settings, sqs, batches, batches_dead, stream_dead })
    }

    /// Sends the messages of a queue of dead letters again. Each is deleted after all that it stands for was sent. A
    /// dry run sends and deletes nothing, and hides the messages from others for a moment.
    ///
    /// # Errors
    /// The first call that AWS refused. What was sent before is sent; repeating the rest does no harm.
    pub async fn redrive(&self, kind: Kind, dry_run: bool) -> Result<Redriven, StackError> {
        let queue = match kind {
            Kind::Batches => &self.batches_dead,
            Kind::Stream => &self.stream_dead,
        };
        let mut done = Redriven { from: queue.name.clone(), to: self.batches.name.clone(), ..Redriven::default() };
        let mut hidden = HashMap::new();
        let result = self.redrive_all(kind, queue, dry_run, &mut done, &mut hidden).await;
        join_all(hidden.values().map(|message| self.release(queue, message))).await;
        result.map(|()| done)
    }

    /// Leaves the messages that stay in `hidden`, by their ids.
    async fn redrive_all(
        &self,
        kind: Kind,
        queue: &Queue,
        dry_run: bool,
        done: &mut Redriven,
        hidden: &mut HashMap<String, Message>,
    ) -> Result<(), StackError> {
        loop {
            let mut messages = self.receive(queue).await?;
            // A message that stays is received again once it is no longer hidden.
            messages.retain(|message| hidden.insert(id(message).to_owned(), message.clone()).is_none());
            if messages.is_empty() {
                return Ok(());
            }
            for message in messages {
                let body = message.body().unwrap_or_default();
                let letter = match kind {
                    Kind::Batches => batch_task(body),
                    Kind::Stream => self.stream_batch(body).await?,
                };
                if !dry_run {
                    self.send(&letter.bodies).await?;
                }
                done.sent += letter.bodies.len();
                if let Some(reason) = letter.stays {
                    done.left.push(Left { id: id(&message).to_owned(), reason });
                    continue;
                }
                done.messages += 1;
                if !dry_run {
                    self.delete(queue, &message).await?;
                    hidden.remove(id(&message));
                }
            }
        }
    }

    /// Reads the batch that the message names.
    async fn stream_batch(&self, body: &str) -> Result<Letter, StackError> {
        let stays = |reason| Letter { stays: Some(reason), ..Letter::default() };
        let (bucket, key) = match named_batch(body) {
            Ok(named) => named,
            Err(reason) => return Ok(stays(reason)),
        };
        let address = format!("s3://{bucket}/{key}");
        let batch = Objects::new(&self.settings, bucket).get(&key).await;
        let reading = || format!("reading {address}, which {} names", self.stream_dead.name);
        Ok(match batch.map_err(|error| StackError::failed(reading(), &error))? {
            Some(batch) => reconciles(&batch).unwrap_or_else(|reason| stays(format!("{address} {reason}"))),
            None => stays(format!("{address} is gone; delete the message by hand")),
        })
    }

    async fn receive(&self, queue: &Queue) -> Result<Vec<Message>, StackError> {
        let call = self.sqs.receive_message().queue_url(&queue.url).max_number_of_messages(MAX_MESSAGES);
        let answer = call.wait_time_seconds(WAIT_SECS).visibility_timeout(HIDDEN_SECS).send().await;
        let answer = answer.map_err(|error| StackError::failed(format!("receiving from {}", queue.name), &error))?;
        Ok(answer.messages.unwrap_or_default())
    }

    async fn send(&self, bodies: &[String]) -> Result<(), StackError> {
        let send = |body| self.sqs.send_message().queue_url(&self.batches.url).message_body(body).send();
        for some in bodies.chunks(10) {
            let answers = try_join_all(some.iter().map(send)).await;
            answers.map_err(|error| StackError::failed(format!("sending to {}", self.batches.name), &error))?;
        }
        Ok(())
    }

    async fn delete(&self, queue: &Queue, message: &Message) -> Result<(), StackError> {
        let call = self.sqs.delete_message().queue_url(&queue.url).set_receipt_handle(message.receipt_handle.clone());
        let deleted = call.send().await.map(drop);
        deleted.map_err(|error| StackError::failed(format!("deleting from {}", queue.name), &error))
    }

    /// Makes a message visible to others at once. If that fails, it becomes visible a little later.
    async fn release(&self, queue: &Queue, message: &Message) {
        let call = self.sqs.change_message_visibility().queue_url(&queue.url);
        let call = call.set_receipt_handle(message.receipt_handle.clone()).visibility_timeout(0);
        if let Err(error) = call.send().await {
            tracing::debug!(%error, queue = queue.name, "a message could not be released");
        }
    }
}

fn id(message: &Message) -> &str {
    message.message_id().unwrap_or_default()
}

async fn find(sqs: &aws_sdk_sqs::Client, name: String, region: &str) -> Result<Queue, StackError> {
    match sqs.get_queue_url().queue_name(&name).send().await {
        Ok(answer) => Ok(Queue { name, url: answer.queue_url.unwrap_or_default() }),
        Err(error) if matches!(error.as_service_error(), Some(GetQueueUrlError::QueueDoesNotExist(_))) => {
            Err(StackError::NoQueue { queue: name, region: region.to_owned() })
        }
        Err(error) => Err(StackError::failed(format!("looking for {name}"), &error)),
    }
}

/// A message of the queue `batches` is sent again as it is. A batch task that was given up, since it had run too many
/// batches, goes on, and its batches are counted from zero.
fn batch_task(body: &str) -> Letter {
    match events::message(body) {
        Ok(QueueMessage::BatchTask(batch)) if batch.batches > 0 => {
            let message = QueueMessage::BatchTask(batch.counted_anew());
            Letter { bodies: serde_json::to_string(&message).into_iter().collect(), stays: None }
        }
        Ok(_) => Letter { bodies: vec![body.to_owned()], stays: None },
        Err(error) => {
            Letter { stays: Some(format!("it isn't a message of this project: {error}")), ..Letter::default() }
        }
    }
}

/// The bucket and the key of the batch that S3's event names.
fn named_batch(message: &str) -> Result<(String, String), String> {
    let event: Value = serde_json::from_str(message).unwrap_or_default();
    let detail = &event["detail"];
    let (Some(bucket), Some(key)) = (detail["bucket"]["name"].as_str(), detail["object"]["key"].as_str()) else {
        return Err("it isn't S3's event of a new object".to_owned());
    };
    if !key.starts_with(BATCHES) {
        return Err(format!("it names s3://{bucket}/{key}, which isn't under {BATCHES}"));
    }
    Ok((bucket.to_owned(), key.to_owned()))
}

/// One reconcile for each record of a batch that Lambda gave up.
fn reconciles(batch: &[u8]) -> Result<Letter, String> {
    let unusable = |error: serde_json::Error| format!("isn't a batch that Lambda gave up: {error}");
    let mut batch: Value = serde_json::from_slice(batch).map_err(unusable)?;
    let payload = match batch["payload"].take() {
        Value::String(text) => serde_json::from_str(&text).map_err(unusable)?,
        payload => payload,
    };
    let Some(records) = payload["Records"].as_array() else {
        return Err("isn't a batch that Lambda gave up: it has no `payload` with `Records`".to_owned());
    };
    let mut bodies: Vec<String> = Vec::new();
    let mut unreadable = 0;
    for record in records {
        match EventRecord::deserialize(record).map(|record| events::place(&record)) {
            Ok(Some(place)) => bodies.push(serde_json::to_string(&QueueMessage::Reconcile(place)).map_err(unusable)?),
            Ok(None) => {}
            Err(_) => unreadable += 1,
        }
    }
    let mut seen = HashSet::new();
    bodies.retain(|body| seen.insert(body.clone()));
    let stays = (unreadable > 0).then(|| format!("has {unreadable} of {} records that can't be read", records.len()));
    Ok(Letter { bodies, stays })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(pk: &str, sk: &str) -> Value {
        json!({
            "eventID": "c4ca4238a0b923820dcc509a6f75849b",
            "eventName": "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-west-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_767_225_600,
                "Keys": { "pk": { "S": pk }, "sk": { "S": sk } },
                "SequenceNumber": "111",
                "SizeBytes": 26,
                "StreamViewType": "NEW_AND_OLD_IMAGES"
            }
        })
    }

    fn opened(payload: &Value) -> (Vec<QueueMessage>, Option<String>) {
        let batch = json!({ "version": "1.0", "DDBStreamBatchInfo": { "batchSize": 3 }, "payload": payload });
        let letter = reconciles(batch.to_string().as_bytes()).expect("a batch");
        (letter.bodies.iter().map(|body| events::message(body).expect("a queue message")).collect(), letter.stays)
    }

    #[test]
    fn each_record_of_a_batch_is_reconciled_once() {
        use engine::ids::{JobKey, RunKey};
        use engine::messages::Reconcile;
        let run = RunKey::from_stored("run".to_owned());
        let job = QueueMessage::Reconcile(Reconcile::Job(JobKey::new(&run, 7)));
        let records = [
            record("R#run#0", "JOB#00007"),
            record("R#run", "CTL"),
            record("R#run#0", "JOB#00007"),
            record("POOL", "x"),
        ];
        let batch = json!({ "Records": records });
        let expected = (vec![job, QueueMessage::Reconcile(Reconcile::Run(run))], None);
        assert_eq!(opened(&batch), expected);
        // Lambda writes the payload as text.
        assert_eq!(opened(&Value::String(batch.to_string())), expected);
    }

    #[test]
    fn batch_task_that_ran_too_many_batches_is_counted_anew() {
        let body = |batches| format!(r#"{{"batch_task":{{"run":"r","kind":"skip","from":7,"batches":{batches}}}}}"#);
        assert_eq!(batch_task(&body(10_000)).bodies, [body(0)]);
    }

    #[test]
    fn unreadable_record_keeps_the_message_and_the_others_are_sent() {
        let (reconciles, stays) = opened(&json!({ "Records": [record("R#run", "CTL"), { "dynamodb": 7 }] }));
        assert_eq!(reconciles.len(), 1);
        assert_eq!(stays.as_deref(), Some("has 1 of 2 records that can't be read"));
    }

    #[test]
    fn refused_batch_says_what_it_lacks() {
        let refused = |batch: &str| reconciles(batch.as_bytes()).expect_err("refused");
        assert!(refused("{").starts_with("isn't a batch that Lambda gave up: EOF"), "{}", refused("{"));
        assert_eq!(refused("{}"), "isn't a batch that Lambda gave up: it has no `payload` with `Records`");
        assert!(refused(r#"{"payload": "x"}"#).starts_with("isn't a batch that Lambda gave up: expected value"));
    }

    #[test]
    fn only_objects_that_lambda_wrote_are_read() {
        let named = |key| {
            named_batch(&json!({ "detail": { "bucket": { "name": "b" }, "object": { "key": key } } }).to_string())
        };
        assert_eq!(named("aws/lambda/x"), Ok(("b".to_owned(), "aws/lambda/x".to_owned())));
        assert_eq!(named("outputs/x"), Err("it names s3://b/outputs/x, which isn't under aws/lambda/".to_owned()));
        for other in ["{}", "{", r#"{"detail": {"bucket": "b"}}"#] {
            assert_eq!(named_batch(other), Err("it isn't S3's event of a new object".to_owned()));
        }
    }
}
