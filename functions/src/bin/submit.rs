//! Accepts workflows: submit, run, cancel, delete.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::serve(api::Function::Submit).await
}
