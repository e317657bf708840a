//! Reads: workflows, logs, outputs, workers, pools. Also answers what no route matches.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::serve(api::Function::Query).await
}
