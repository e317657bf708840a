//! Knows workers and hands out jobs: register, heartbeat, claim.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::serve(api::Function::Claim).await
}
