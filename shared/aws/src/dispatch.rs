//! Messages over SQS.

use aws_sdk_sqs::operation::send_message::SendMessageError;
use engine::ids::Ticket;
use engine::ports::{Dispatcher, PoolQueue, Stored, Walk};

use crate::Aws;
use crate::error::{corrupt, unavailable};

impl Dispatcher for Aws {
    async fn ticket(&self, queue: &PoolQueue, ticket: Ticket) -> Stored<()> {
        match self.queues.send_message().queue_url(&queue.url).message_body(ticket.text()).send().await {
            Ok(_) => Ok(()),
            // Somebody deleted the queue. A ticket is a hint: its job is found without.
            Err(error) if matches!(error.as_service_error(), Some(SendMessageError::QueueDoesNotExist(_))) => {
                tracing::warn!(queue = queue.url, "a pool's queue is gone");
                Ok(())
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn walk(&self, walk: Walk) -> Stored<()> {
        let body = serde_json::to_string(&walk).map_err(corrupt)?;
        let call = self.queues.send_message().queue_url(&self.config.walks_queue).message_body(body);
        call.send().await.map_err(|error| unavailable(&error))?;
        Ok(())
    }
}
