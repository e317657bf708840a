//! Sends dead letters again, after their cause was fixed. An operation on a stack, not a port of the engine.

use std::collections::HashSet;

use aws_config::BehaviorVersion;
use aws_lambda_events::dynamodb::EventRecord;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_sqs::operation::get_queue_url::GetQueueUrlError;
use aws_sdk_sqs::types::Message;
use engine::messages::QueueMessage;
use futures::future::{join_all, try_join_all};
use serde::Deserialize;
use serde_json::Value;

use crate::error::unavailable;
use crate::{NoRegion, config, events};

/// What Lambda begins the names of given-up batches with.
const BATCHES: &str = "aws/lambda/";
/// The most messages that SQS gives at once.
const MOST: i32 = 10;
/// How long a message is hidden while it is worked on: a batch has up to 100 records.
const HIDDEN_SECS: i32 = 120;
/// A receive that waits asks all of SQS's servers, one that doesn't only some.
const WAIT_SECS: i32 = 1;

/// The queues of a stack that hold what was given up.
///
/// Needs `sqs:GetQueueUrl`, `sqs:ReceiveMessage`, `sqs:DeleteMessage` and `sqs:ChangeMessageVisibility` on the queues
/// `<stack>-batches-dead` and `<stack>-stream-dead`, `sqs:GetQueueUrl` and `sqs:SendMessage` on `<stack>-batches`, and
/// `s3:GetObject` on `aws/lambda/*` in the stack's bucket.
pub struct DeadLetters {
    sqs: aws_sdk_sqs::Client,
    s3: aws_sdk_s3::Client,
    batches: Queue,
    batches_dead: Queue,
    stream_dead: Queue,
}

struct Queue {
    name: String,
    url: String,
}

/// Which dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Timers, batch tasks and reconciles that failed five times.
    Batches,
    /// Batches of the stream that function `schedule` couldn't handle.
    Stream,
}

/// What was done with a queue of dead letters, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redriven {
    /// The queue.
    pub from: String,
    /// The queue that does it again.
    pub to: String,
    /// Messages that were put back and deleted.
    pub messages: usize,
    /// Messages that were sent for them.
    pub sent: usize,
    /// Messages that can't be put back, or not all of them, and were left.
    pub left: Vec<Left>,
}

/// A message that stays a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The message's.
    pub id: String,
    /// For people.
    pub reason: String,
}

/// Why dead letters couldn't be put back. What was put back before is done, and repeating the rest does no harm.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedriveError {
    /// No region is set.
    #[error(transparent)]
    NoRegion(#[from] NoRegion),
    /// The stack is another, or elsewhere.
    #[error("there is no queue {queue} in {region}; check the stack's name, the region and the account")]
    NoQueue {
        /// Its name.
        queue: String,
        /// Where it was looked for.
        region: String,
    },
    /// Anything else, with its causes: no credentials, no permission, no network.
    #[error("{what}: {reason}")]
    Failed {
        /// What was attempted, with the queue.
        what: String,
        /// What AWS said.
        reason: String,
    },
}

/// What a dead letter turns to.
struct Letter {
    bodies: Vec<String>,
    /// Why it must stay.
    stays: Option<String>,
}

impl Letter {
    fn stays(reason: impl Into<String>) -> Self {
        Self { bodies: Vec::new(), stays: Some(reason.into()) }
    }
}

impl DeadLetters {
    /// Finds the queues by the stack's name. Credentials, region and `AWS_ENDPOINT_URL` come from the environment, the
    /// profile or the machine's role.
    ///
    /// # Errors
    /// [`RedriveError::NoRegion`], [`RedriveError::NoQueue`], or what else went wrong after the client library's own
    /// tries.
    pub async fn of_stack(stack: &str) -> Result<Self, RedriveError> {
        let shared = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
        let region = config::region(&shared)?;
        let sqs = aws_sdk_sqs::Client::new(&shared);
        let queue = async |part: &str| find(&sqs, format!("{stack}-{part}"), &region).await;
        let (batches, batches_dead, stream_dead) =
            (queue("batches").await?, queue("batches-dead").await?, queue("stream-dead").await?);
        Ok(Self { s3: crate::bucket_client(&shared), batches, batches_dead, stream_dead, sqs })
    }

    /// Puts back what a queue of dead letters holds: each message is deleted once all that it asks for was sent. With
    /// `only_look` nothing is sent or deleted, and the messages are hidden from others for a moment.
    ///
    /// # Errors
    /// The first thing that AWS refused.
    pub async fn redrive(&self, kind: Kind, only_look: bool) -> Result<Redriven, RedriveError> {
        let queue = self.queue(kind);
        let mut done = Redriven {
            from: queue.name.clone(),
            to: self.batches.name.clone(),
            messages: 0,
            sent: 0,
            left: Vec::new(),
        };
        let mut seen = HashSet::new();
        let mut held = Vec::new();
        let result = self.redrive_all(kind, only_look, &mut done, &mut seen, &mut held).await;
        join_all(held.iter().map(|message| self.release(queue, message))).await;
        result.map(|()| done)
    }

    async fn redrive_all(
        &self,
        kind: Kind,
        only_look: bool,
        done: &mut Redriven,
        seen: &mut HashSet<String>,
        held: &mut Vec<Message>,
    ) -> Result<(), RedriveError> {
        let queue = self.queue(kind);
        loop {
            let mut messages = self.receive(queue).await?;
            // One that was left comes back when it isn't hidden any more.
            messages.retain(|message| seen.insert(id(message).to_owned()));
            if messages.is_empty() {
                return Ok(());
            }
            let letters = try_join_all(messages.iter().map(|message| self.open(kind, message))).await;
            held.extend(messages.iter().cloned());
            for (message, letter) in messages.iter().zip(letters?) {
                if !only_look {
                    self.send(&letter.bodies).await?;
                }
                done.sent += letter.bodies.len();
                if let Some(reason) = letter.stays {
                    done.left.push(Left { id: id(message).to_owned(), reason });
                    continue;
                }
                if !only_look {
                    self.delete(queue, message).await?;
                    held.retain(|other| id(other) != id(message));
                }
                done.messages += 1;
            }
        }
    }

    fn queue(&self, kind: Kind) -> &Queue {
        match kind {
            Kind::Batches => &self.batches_dead,
            Kind::Stream => &self.stream_dead,
        }
    }

    async fn open(&self, kind: Kind, message: &Message) -> Result<Letter, RedriveError> {
        let body = message.body().unwrap_or_default();
        match kind {
            Kind::Batches => Ok(match events::message(body) {
                Ok(_) => Letter { bodies: vec![body.to_owned()], stays: None },
                Err(error) => Letter::stays(format!("it isn't a message of this project: {error}")),
            }),
            Kind::Stream => match named_batch(body) {
                Ok((bucket, key)) => self.fetch(&bucket, &key).await,
                Err(reason) => Ok(Letter::stays(reason)),
            },
        }
    }

    async fn fetch(&self, bucket: &str, key: &str) -> Result<Letter, RedriveError> {
        let place = format!("s3://{bucket}/{key}");
        let failed = |error: &(dyn std::error::Error + 'static)| {
            failed(format!("reading {place}, which {} names", self.stream_dead.name), error)
        };
        match self.s3.get_object().bucket(bucket).key(key).send().await {
            Ok(answer) => {
                let batch = answer.body.collect().await.map_err(|error| failed(&error))?.to_vec();
                Ok(reconciles(&batch).unwrap_or_else(|reason| Letter::stays(format!("{place} {reason}"))))
            }
            Err(error) if matches!(error.as_service_error(), Some(GetObjectError::NoSuchKey(_))) => {
                Ok(Letter::stays(format!("{place} is gone; delete the message by hand")))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    async fn receive(&self, queue: &Queue) -> Result<Vec<Message>, RedriveError> {
        let call = self.sqs.receive_message().queue_url(&queue.url).max_number_of_messages(MOST);
        let call = call.wait_time_seconds(WAIT_SECS).visibility_timeout(HIDDEN_SECS);
        let answer = call.send().await.map_err(|error| failed(format!("receiving from {}", queue.name), &error))?;
        Ok(answer.messages.unwrap_or_default())
    }

    async fn send(&self, bodies: &[String]) -> Result<(), RedriveError> {
        for some in bodies.chunks(10) {
            let calls =
                some.iter().map(|body| self.sqs.send_message().queue_url(&self.batches.url).message_body(body).send());
            try_join_all(calls).await.map_err(|error| failed(format!("sending to {}", self.batches.name), &error))?;
        }
        Ok(())
    }

    async fn delete(&self, queue: &Queue, message: &Message) -> Result<(), RedriveError> {
        let call = self.sqs.delete_message().queue_url(&queue.url).set_receipt_handle(message.receipt_handle.clone());
        call.send().await.map_err(|error| failed(format!("deleting from {}", queue.name), &error))?;
        Ok(())
    }

    /// Lets others see it at once. If that fails, they see it a little later.
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

fn failed(what: String, error: &(dyn std::error::Error + 'static)) -> RedriveError {
    RedriveError::Failed { what, reason: unavailable(error).to_string() }
}

async fn find(sqs: &aws_sdk_sqs::Client, name: String, region: &str) -> Result<Queue, RedriveError> {
    match sqs.get_queue_url().queue_name(&name).send().await {
        Ok(answer) => Ok(Queue { name, url: answer.queue_url.unwrap_or_default() }),
        Err(error) if matches!(error.as_service_error(), Some(GetQueueUrlError::QueueDoesNotExist(_))) => {
            Err(RedriveError::NoQueue { queue: name, region: region.to_owned() })
        }
        Err(error) => Err(failed(format!("looking for {name}"), &error)),
    }
}

/// The bucket and the key of the batch that S3's event names.
fn named_batch(message: &str) -> Result<(String, String), String> {
    #[derive(Deserialize)]
    struct Event {
        detail: Detail,
    }
    #[derive(Deserialize)]
    struct Detail {
        bucket: Bucket,
        object: Object,
    }
    #[derive(Deserialize)]
    struct Bucket {
        name: String,
    }
    #[derive(Deserialize)]
    struct Object {
        key: String,
    }
    let event: Event =
        serde_json::from_str(message).map_err(|error| format!("it isn't S3's event of a new object: {error}"))?;
    let Detail { bucket: Bucket { name }, object: Object { key } } = event.detail;
    if !key.starts_with(BATCHES) {
        return Err(format!("it names s3://{name}/{key}, which isn't under {BATCHES}"));
    }
    Ok((name, key))
}

/// The reconciles for a batch that Lambda gave up: one for each record, once.
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
    let mut unread = 0;
    for record in records {
        match EventRecord::deserialize(record).map(|record| events::place(&record)) {
            Ok(Some(place)) => bodies.push(serde_json::to_string(&QueueMessage::Reconcile(place)).map_err(unusable)?),
            Ok(None) => {}
            Err(_) => unread += 1,
        }
    }
    let mut seen = HashSet::new();
    bodies.retain(|body| seen.insert(body.clone()));
    let stays = (unread > 0).then(|| format!("has {unread} of {} records that can't be read", records.len()));
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
    fn each_place_of_a_batch_is_repaired_once() {
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
        // As Lambda writes it: as text.
        assert_eq!(opened(&Value::String(batch.to_string())), expected);
    }

    #[test]
    fn a_record_that_can_not_be_read_keeps_the_message_and_not_the_others() {
        let (reconciles, stays) = opened(&json!({ "Records": [record("R#run", "CTL"), { "dynamodb": 7 }] }));
        assert_eq!(reconciles.len(), 1);
        assert_eq!(stays.as_deref(), Some("has 1 of 2 records that can't be read"));
    }

    #[test]
    fn what_is_no_batch_says_what_it_lacks() {
        let refused = |batch: &str| reconciles(batch.as_bytes()).err().expect("refused");
        assert!(refused("{").starts_with("isn't a batch that Lambda gave up: EOF"), "{}", refused("{"));
        assert_eq!(refused("{}"), "isn't a batch that Lambda gave up: it has no `payload` with `Records`");
        assert!(refused(r#"{"payload": "x"}"#).starts_with("isn't a batch that Lambda gave up: expected value"));
    }

    #[test]
    fn only_what_lambda_wrote_is_read() {
        let named = |key| {
            named_batch(&json!({ "detail": { "bucket": { "name": "b" }, "object": { "key": key } } }).to_string())
        };
        assert_eq!(named("aws/lambda/x"), Ok(("b".to_owned(), "aws/lambda/x".to_owned())));
        assert_eq!(named("outputs/x"), Err("it names s3://b/outputs/x, which isn't under aws/lambda/".to_owned()));
        assert!(
            named_batch("{}").expect_err("no event").starts_with("it isn't S3's event of a new object: missing field")
        );
    }
}
