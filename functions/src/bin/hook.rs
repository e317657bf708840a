//! Function `hook`: receives deliveries of forges, checks their signatures and stores them. The stream brings them to function `forge`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::serve::<api::part::Hook>().await
}
