//! Function `schedule`: consumes the table's stream. It promotes ready jobs, skips blocked ones and finishes runs. A record that
//! fails is queued for reconciliation so that it doesn't block the shard, and so are records for which no time is left.

use aws::{Access, Aws, SchemaGuard, events};
use aws_lambda_events::dynamodb::Event;
use aws_lambda_events::streams::DynamoDbEventResponse;
use engine::Engine;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use protocol::Millis;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    functions::start_logging()?;
    let engine = Aws::engine()?;
    let guard = SchemaGuard::new(Access::Change);
    let handle = async |event: LambdaEvent<Event>| {
        guard.check(engine.ports()).await?;
        handle(&engine, event).await
    };
    lambda_runtime::run(service_fn(handle)).await
}

/// Names the records that could be neither handled nor queued. The stream delivers the first of them and all behind it again.
async fn handle(engine: &Engine<Aws>, event: LambdaEvent<Event>) -> Result<DynamoDbEventResponse, Error> {
    let (mut changes, mut positions, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (position, record) in event.payload.records.iter().enumerate() {
        match events::delivered(record) {
            Ok(Some(change)) => {
                changes.push(change);
                positions.push(position);
            }
            Ok(None) => {}
            Err(error) => failed.push((position, error.into())),
        }
    }
    let left = Box::pin(engine.scheduling().on_changes(&changes, Millis(event.context.deadline))).await;
    failed.extend(left.into_iter().map(|(change, error)| (positions[change], error)));
    failed.sort_by_key(|(position, _)| *position);
    Ok(functions::failed_records(failed.into_iter().map(|(position, error)| (&event.payload.records[position], error))))
}
