//! Sends messages over SQS.

use std::time::Duration;

use aws_sdk_sqs::operation::send_message::SendMessageError;
use engine::ids::{RunKey, Ticket};
use engine::messages::{BatchTask, QueueMessage, Reconcile};
use engine::ports::{Dispatcher, PoolQueue, Stored};
use protocol::Millis;

use crate::aws::Aws;
use crate::error::{corrupt, unavailable};

/// The maximum delay of a message in SQS, in seconds.
const MAX_DELAY_SECS: i32 = 900;

impl Dispatcher for Aws {
    async fn send_ticket(&self, queue: &PoolQueue, ticket: Ticket) -> Stored<()> {
        match self.queues.send_message().queue_url(&queue.url).message_body(ticket.text()).send().await {
            Ok(_) => Ok(()),
            // The queue was deleted. A ticket is a hint: claims find its job without it.
            Err(error) if matches!(error.as_service_error(), Some(SendMessageError::QueueDoesNotExist(_))) => {
                tracing::warn!(queue = queue.url, "a pool's queue is gone; it is made again when a worker asks for it");
                self.forget_queue(&ticket.pool, queue).await
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn send_batch(&self, batch: BatchTask) -> Stored<()> {
        self.send(&QueueMessage::BatchTask(batch), Duration::ZERO).await
    }

    async fn send_timer(&self, run: &RunKey, at: Millis, now: Millis) -> Stored<()> {
        self.send(&QueueMessage::Timer(run.clone()), at.since(now)).await
    }

    async fn send_reconcile(&self, reconcile: Reconcile) -> Stored<()> {
        self.send(&QueueMessage::Reconcile(reconcile), Duration::ZERO).await
    }
}

impl Aws {
    /// Sends a message that is delivered after `delay`, rounded up to whole seconds so that it never arrives early.
    async fn send(&self, message: &QueueMessage, delay: Duration) -> Stored<()> {
        let body = serde_json::to_string(message).map_err(corrupt)?;
        let secs =
            i32::try_from(delay.as_millis().div_ceil(1000)).map_or(MAX_DELAY_SECS, |secs| secs.min(MAX_DELAY_SECS));
        let call = self.queues.send_message().queue_url(&self.config.batches_queue).message_body(body);
        call.delay_seconds(secs).send().await.map_err(|error| unavailable(&error))?;
        Ok(())
    }
}
