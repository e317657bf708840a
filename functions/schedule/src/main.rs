//! Works off the change feed: promotes what became ready, skips what can't start, finishes runs.

use aws::{Aws, events};
use aws_lambda_events::dynamodb::{Event, EventRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use engine::Engine;
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda::start_logging();
    let engine = Aws::engine().await?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Event>| handle(&engine, event.payload))).await
}

/// Handles records in order, up to the first that fails: the stream gives that one and those after it again.
async fn handle(engine: &Engine<Aws>, event: Event) -> Result<DynamoDbEventResponse, Error> {
    let mut response = DynamoDbEventResponse::default();
    for record in event.records {
        if let Err(error) = handle_record(engine, &record).await {
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
    match events::notice(record)? {
        Some(notice) => Ok(engine.on_notice(&notice).await?),
        None => Ok(()),
    }
}
