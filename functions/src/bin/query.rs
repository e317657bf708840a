//! Function `query`: answers reads of workflows, logs, outputs, workers and pools, and requests that match no route.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::serve::<api::part::Query>().await
}
