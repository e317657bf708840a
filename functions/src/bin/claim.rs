//! Function `claim`: registers workers, takes their heartbeats, and leases jobs to them.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    functions::serve::<api::part::Claim>().await
}
