//! The store on AWS does what every store must.
//!
//! It runs where `WFG_TEST_AWS` is set, to anything, against whatever the usual variables of the AWS libraries name:
//! `AWS_ENDPOINT_URL` (an emulator's address), `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`. It makes
//! tables, a bucket and queues of its own and removes them; a deployed stack is left alone.

mod own;

use std::sync::Arc;

use aws::Aws;
use own::Own;

/// Index partitions of a ready list: those of an emulator, and the default.
const READY_SHARDS: [u32; 2] = [1, 4];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_on_aws_does_what_every_store_must() {
    if std::env::var_os("WFG_TEST_AWS").is_none() {
        eprintln!("skipped: WFG_TEST_AWS isn't set; the first lines of shared/aws/tests/ports.rs say how to run it");
        return;
    }
    let settings = Aws::load_settings().await;
    let own = Own::new(&settings, "conformance").await;
    let mut failed = Vec::new();
    for shards in READY_SHARDS {
        eprintln!("with ready lists in {shards} parts:");
        failed.extend(conformance::failures(Arc::new(Aws::with_settings(own.config(shards), &settings))).await);
    }
    own.remove().await;
    assert!(failed.is_empty(), "{failed:#?}");
}
