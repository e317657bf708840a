//! The store on AWS does what every store must.
//!
//! It runs where `WFG_TEST_AWS` is set, to anything, against whatever the usual variables of the AWS libraries name:
//! `AWS_ENDPOINT_URL` (an emulator's address), `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`. It makes
//! tables, a bucket and queues of its own and removes them; a deployed stack is left alone.

mod counted;
mod own;

use std::sync::Arc;

use aws::Aws;
use aws_config::SdkConfig;
use own::Own;

/// Index partitions of a ready list: those of an emulator, and the default.
const READY_SHARDS: [u32; 2] = [1, 4];

/// The settings of the AWS libraries, if the tests are to run.
async fn settings() -> Option<SdkConfig> {
    if std::env::var_os("WFG_TEST_AWS").is_none() {
        eprintln!("skipped: WFG_TEST_AWS isn't set; the first lines of shared/aws/tests/ports.rs say how to run it");
        return None;
    }
    Some(Aws::settings().load().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_status_and_lists_take_as_many_calls_with_500_open_runs_as_without() {
    let Some(settings) = settings().await else { return };
    let own = Own::new(&settings, "reads").await;
    let config = own.config(4);
    let done = tokio::spawn(async move {
        counted::reads_take_as_many_calls_with_500_open_runs_as_without(config, &settings).await;
    });
    let done = done.await;
    own.remove().await;
    done.expect("as many");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_submission_to_a_known_pool_writes_no_pool() {
    let Some(settings) = settings().await else { return };
    let own = Own::new(&settings, "pools").await;
    let config = own.config(4);
    let done = tokio::spawn(async move { counted::submission_to_a_known_pool_writes_no_pool(config, &settings).await });
    let done = done.await;
    own.remove().await;
    done.expect("only new pools");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_on_aws_does_what_every_store_must() {
    let Some(settings) = settings().await else { return };
    let own = Own::new(&settings, "conformance").await;
    let mut failed = Vec::new();
    for shards in READY_SHARDS {
        eprintln!("with ready lists in {shards} parts:");
        failed.extend(conformance::failures(Arc::new(Aws::with_settings(own.config(shards), &settings))).await);
    }
    own.remove().await;
    assert!(failed.is_empty(), "{failed:#?}");
}
