//! Function `forge`: asks forges about deliveries, starts runs, tells states, and answers what other functions ask about a forge. It alone
//! has the tokens of forges and the keys of Apps.

use std::sync::Arc;

use aws::{Access, Aws, ForgeQuestion, SchemaGuard, events};
use aws_lambda_events::dynamodb::Event;
use aws_lambda_events::streams::DynamoDbEventResponse;
use engine::Engine;
use engine::clock::SystemClock;
use forge::Forges;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, from_value, to_value};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    functions::start_logging()?;
    let engine = Aws::engine()?;
    let forges = Arc::new(Forges::new(engine.secrets(), Arc::new(SystemClock)));
    let engine = engine.with_forges(forges.clone());
    let guard = SchemaGuard::new(Access::Change);
    let handle = async |event: LambdaEvent<Value>| {
        guard.check(engine.ports()).await?;
        handle(&engine, &forges, event.payload).await
    };
    lambda_runtime::run(service_fn(handle)).await
}

/// An event with records comes from the stream, a question from another function. Any other says that something is due.
async fn handle(engine: &Engine<Aws>, forges: &Forges, event: Value) -> Result<Value, Error> {
    if event.get("Records").is_some() {
        return Ok(to_value(follow(engine, &from_value(event)?).await)?);
    }
    if let Ok(question) = from_value::<ForgeQuestion>(event) {
        return Ok(engine.ports().answer(forges, question).await?);
    }
    let round = engine.forges().run_due().await?;
    // What failed may be due still, and a message for it would come at once, again and again. The sweep finds it.
    if !round.failed
        && let Some(next) = engine.forges().next_due().await?
    {
        engine.ports().wake_forge_after_round(next).await?;
    }
    Ok(Value::Null)
}

/// Names the records that could not be noted. The stream delivers the first of them and all behind it again.
async fn follow(engine: &Engine<Aws>, event: &Event) -> DynamoDbEventResponse {
    let (changes, records) = events::forge_changes(&event.records);
    let followed = engine.forges().on_changes(&changes).await;
    if let Some(next) = followed.next
        && let Err(error) = engine.ports().wake_forge_at(next).await
    {
        tracing::warn!(%error, "the sweep finds what is due");
    }
    functions::failed_records(followed.failed.into_iter().map(|(change, error)| (records[change], error)))
}
