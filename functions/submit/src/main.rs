//! Accepts workflows: submit, run, cancel, delete.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::serve(api::Function::Submit).await
}
