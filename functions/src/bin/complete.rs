//! Function `complete`: accepts a worker's reports under a lease: complete, fail, heartbeat, logs.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::serve::<api::part::Complete>().await
}
