//! Function `submit`: submits, runs, cancels and deletes workflows, and creates and revokes tokens.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::serve::<api::part::Submit>().await
}
