//! Function `schedule`: consumes the table's stream. It promotes ready jobs, skips blocked ones and finishes runs. A record that
//! fails is queued for reconciliation so that it doesn't block the shard.

use aws::{Access, Aws, SchemaGuard, events};
use aws_lambda_events::dynamodb::{Event, EventRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use engine::Engine;
use engine::ports::Dispatcher;
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    functions::start_logging()?;
    let engine = Aws::engine().await?;
    let guard = SchemaGuard::new(Access::Change);
    let handle = async |event: LambdaEvent<Event>| {
        guard.check(engine.ports()).await?;
        handle(&engine, event.payload).await
    };
    lambda_runtime::run(service_fn(handle)).await
}

/// Processes the records in order and stops at the first that fails and can't be queued for reconciliation either. The
/// stream delivers that record and those after it again.
async fn handle(engine: &Engine<Aws>, event: Event) -> Result<DynamoDbEventResponse, Error> {
    let mut response = DynamoDbEventResponse::default();
    for record in event.records {
        if let Err(error) = Box::pin(handle_record(engine, &record)).await {
            tracing::error!(%error, record = record.event_id, "a record of the stream failed");
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = record.change.sequence_number;
            response.batch_item_failures.push(failure);
            break;
        }
    }
    Ok(response)
}

async fn handle_record(engine: &Engine<Aws>, record: &EventRecord) -> Result<(), Error> {
    match (events::event(record), events::place(record)) {
        (Ok(Some(event)), _) => Ok(engine.scheduling().on_change_or_reconcile(&event).await?),
        (Err(error), Some(place)) => {
            tracing::error!(%error, ?place, "a record of the stream can't be read; queueing it for reconciliation");
            Ok(engine.ports().send_reconcile(place).await?)
        }
        (Ok(None), _) => Ok(()),
        (Err(error), None) => Err(error.into()),
    }
}
