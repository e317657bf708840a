//! Function `expire`: processes timers, batch tasks and reconciles from the queue `batches`, and sweeps once a minute for
//! overdue timers.

use aws::{Access, Aws, SchemaGuard, events};
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use engine::Engine;
use engine::messages::QueueMessage;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    functions::start_logging()?;
    let engine = Aws::engine()?;
    let guard = SchemaGuard::new(Access::Change);
    let handle = async |event: LambdaEvent<Value>| {
        guard.check(engine.ports()).await?;
        handle(&engine, event.payload).await
    };
    lambda_runtime::run(service_fn(handle)).await
}

/// An event with records comes from the queue. Any other event comes from the schedule.
async fn handle(engine: &Engine<Aws>, event: Value) -> Result<SqsBatchResponse, Error> {
    let mut response = SqsBatchResponse::default();
    if event.get("Records").is_none() {
        // Each is done whatever becomes of the other.
        let overdue = engine.timers().sweep().await;
        let forges = engine.ports().wake_forge_if_overdue().await?;
        let overdue = overdue?;
        tracing::info!(overdue, forges, "swept");
        return Ok(response);
    }
    for message in serde_json::from_value::<SqsEvent>(event)?.records {
        if let Err(error) = step(engine, &message).await {
            tracing::error!(%error, message = message.message_id, "a message of the queue failed");
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message.message_id.unwrap_or_default();
            response.batch_item_failures.push(failure);
        }
    }
    Ok(response)
}

async fn step(engine: &Engine<Aws>, message: &SqsMessage) -> Result<(), Error> {
    let asked = events::message(message.body.as_deref().unwrap_or_default())?;
    if asked == QueueMessage::ForgesDue {
        return Ok(engine.ports().wake_forge().await?);
    }
    let received = message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse::<u32>().ok());
    Ok(engine.scheduling().on_message(asked, received.is_none_or(|count| count > 1)).await?)
}
