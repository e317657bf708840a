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
/// A timer that is due later than this has no message, which would cost a send, a delivery and an invocation. Most runs have ended by then.
const MESSAGE_WITHIN: Duration = Duration::from_mins(1);

/// When to look again for what is due after a round over all that was due.
const STILL_DUE: Duration = Duration::from_secs(2);

/// The delay of a timer's message. `None`: the sweep finds the timer when it is due.
fn message_delay(at: Millis, now: Millis) -> Option<Duration> {
    Some(at.since(now)).filter(|delay| *delay <= MESSAGE_WITHIN)
}

fn after_a_round(next: Millis, now: Millis) -> Millis {
    if next <= now { now + STILL_DUE } else { next }
}

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
        match message_delay(at, now) {
            Some(delay) => self.send(&QueueMessage::Timer(run.clone()), delay).await,
            None => Ok(()),
        }
    }

    async fn send_reconcile(&self, reconcile: Reconcile) -> Stored<()> {
        self.send(&QueueMessage::Reconcile(reconcile), Duration::ZERO).await
    }
}

impl Aws {
    /// Sends a message that says that a delivery or a report of a forge is due, if it is within a minute. The sweep finds the others.
    ///
    /// # Errors
    /// The queue doesn't answer.
    pub async fn wake_forge_at(&self, at: Millis) -> Stored<()> {
        match message_delay(at, Millis::now()) {
            Some(delay) => self.send(&QueueMessage::ForgesDue, delay).await,
            None => Ok(()),
        }
    }

    /// As [`Self::wake_forge_at`], after a round over all that was due. What is due still may have no record any more, and only the
    /// index names it, so that a round at once would find nothing again.
    ///
    /// # Errors
    /// The queue doesn't answer.
    pub async fn wake_forge_after_round(&self, next: Millis) -> Stored<()> {
        self.wake_forge_at(after_a_round(next, Millis::now())).await
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_that_is_due_in_over_a_minute_has_no_message() {
        let now = Millis(1_000_000);
        assert_eq!(message_delay(now, now), Some(Duration::ZERO));
        assert_eq!(message_delay(now + Duration::from_secs(30), now), Some(Duration::from_secs(30)));
        assert_eq!(message_delay(now + MESSAGE_WITHIN, now), Some(MESSAGE_WITHIN));
        assert_eq!(message_delay(now + MESSAGE_WITHIN + Duration::from_millis(1), now), None);
    }

    #[test]
    fn what_is_due_still_after_a_round_is_not_looked_for_at_once() {
        let (now, second) = (Millis(1_000_000), Duration::from_secs(1));
        assert_eq!([now - second, now].map(|next| after_a_round(next, now)), [now + STILL_DUE; 2]);
        assert_eq!(after_a_round(now + second, now), now + second);
    }
}
