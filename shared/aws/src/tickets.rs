//! Receives tickets from pool queues, for a worker. Not a port of the engine.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::operation::receive_message::ReceiveMessageError;

use crate::aws::load;
use crate::aws::region;
use crate::client;
use crate::error::with_causes;

/// The maximum wait of a receive in SQS.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// The maximum number of messages that SQS returns at once.
const MAX_MESSAGES: usize = 10;
/// The time for the answer after the maximum wait. Ends a receive whose connection was lost.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Receives tickets from the pools' queues.
///
/// Needs `sqs:ReceiveMessage`, `sqs:DeleteMessage` and `sqs:ChangeMessageVisibility` on them, and no other right.
#[derive(Clone, Debug)]
pub struct TicketQueues {
    sqs: aws_sdk_sqs::Client,
}

/// A message of a pool's queue. Until it is deleted or released it is hidden from other workers, for 30 s.
#[derive(Debug)]
pub struct TicketMessage {
    /// What a claim sends along.
    pub ticket: String,
    receipt: String,
}

/// Why a queue didn't do as it was asked. The text is for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// Neither the environment nor the profile names a region.
    #[error("no AWS region is set; set AWS_REGION to the one that the queues are in")]
    NoRegion,
    /// Somebody deleted it.
    #[error("the queue is gone")]
    QueueGone,
    /// Anything else, with its causes: no credentials, no permission, no network.
    #[error("{0}")]
    Failed(String),
}

impl TicketQueues {
    /// Credentials, region and `AWS_ENDPOINT_URL` from the environment, the profile or the machine's role.
    ///
    /// # Errors
    /// [`TicketError::NoRegion`]. Missing credentials show when something is received.
    pub async fn from_env() -> Result<Self, TicketError> {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(MAX_WAIT + ANSWER_TIME).build();
        let shared = load(client::defaults().timeout_config(timeouts)).await;
        if region(&shared).is_none() {
            return Err(TicketError::NoRegion);
        }
        Ok(Self { sqs: aws_sdk_sqs::Client::new(&shared) })
    }

    /// Waits up to `wait` (20 s at most, whole seconds) for messages: `most` of them at most, and 10 at most.
    ///
    /// # Errors
    /// [`TicketError::QueueGone`], or what else went wrong after the client library's own tries.
    pub async fn receive(&self, queue: &str, most: usize, wait: Duration) -> Result<Vec<TicketMessage>, TicketError> {
        let seconds = i32::try_from(wait.min(MAX_WAIT).as_secs()).unwrap_or_default();
        let most = i32::try_from(most.clamp(1, MAX_MESSAGES)).unwrap_or(1);
        let call = self.sqs.receive_message().queue_url(queue).max_number_of_messages(most).wait_time_seconds(seconds);
        let answer = call.send().await.map_err(|error| match error.as_service_error() {
            Some(ReceiveMessageError::QueueDoesNotExist(_)) => TicketError::QueueGone,
            _ => failed(&error),
        })?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        Ok(messages
            .filter_map(|message| Some(TicketMessage { ticket: message.body?, receipt: message.receipt_handle? }))
            .collect())
    }

    /// Deletes a message: its ticket is used, or stale.
    ///
    /// # Errors
    /// If it couldn't. The message then comes back, and its ticket is stale.
    pub async fn delete(&self, queue: &str, message: &TicketMessage) -> Result<(), TicketError> {
        let call = self.sqs.delete_message().queue_url(queue).receipt_handle(&message.receipt);
        call.send().await.map(drop).map_err(|error| failed(&error))
    }

    /// Lets other workers have a message at once.
    ///
    /// # Errors
    /// If it couldn't. The message then comes back by itself.
    pub async fn release(&self, queue: &str, message: &TicketMessage) -> Result<(), TicketError> {
        let call = self.sqs.change_message_visibility().queue_url(queue).receipt_handle(&message.receipt);
        call.visibility_timeout(0).send().await.map(drop).map_err(|error| failed(&error))
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> TicketError {
    TicketError::Failed(with_causes(error))
}
