//! The store on AWS does what every store must.
//!
//! It runs where `WFG_TEST_AWS` is set, to anything, against whatever the usual variables of the AWS libraries name:
//! `AWS_ENDPOINT_URL` (an emulator's address), `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`. It makes
//! tables, a bucket and queues of its own and removes them; a deployed stack is left alone.

mod counted;
mod own;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws::Aws;
use aws_config::SdkConfig;
use engine::ids::{self, JobKey, RunKey};
use engine::job::{Change, JobRecord, JobSettings, JobSpec, JobUpdate, Phase, Precondition};
use engine::ports::{JobStore, NewItem, Pool, RunStore, WorkerRegistry};
use own::Own;
use protocol::{JobId, LabelSet, Millis};

/// The checks that run again with ready lists in four parts: those of what reads or writes the lists.
const WITH_PARTS: [&str; 4] = [
    "ready::",
    "change::change_leaves_the_record",
    "registry::unused_pool_is_not_listed",
    "registry::pools_with_ready_jobs",
];

/// The settings of the AWS libraries, if the tests are to run.
async fn settings() -> Option<SdkConfig> {
    if std::env::var_os("WFG_TEST_AWS").is_none() {
        eprintln!("skipped: WFG_TEST_AWS isn't set; the first lines of shared/aws/tests/ports.rs say how to run it");
        return None;
    }
    Some(Aws::load_settings().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_status_and_lists_take_as_many_calls_with_500_open_runs_as_without() {
    let Some(settings) = settings().await else { return };
    let own = Own::new(&settings, "reads").await;
    let config = own.config(4);
    let done = tokio::spawn(async move {
        Box::pin(counted::reads_take_as_many_calls_with_500_open_runs_as_without(config, &settings)).await;
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
    let aws = |parts| Arc::new(Aws::with_settings(own.config(parts), &settings));
    let mut failed = conformance::failures(aws(1), |_| true).await;
    eprintln!("with ready lists in four parts:");
    let mut found = BTreeSet::new();
    let with_parts = |name: &str| {
        let start = WITH_PARTS.into_iter().find(|start| name.starts_with(start));
        found.extend(start);
        start.is_some()
    };
    failed.extend(conformance::failures(aws(4), with_parts).await);
    own.remove().await;
    assert_eq!(found, WITH_PARTS.into(), "each names a check");
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Jobs that are ready in a pool's list, one after the other.
async fn make_ready(ports: &Aws, pool: &Pool, jobs: u32, at: Millis) {
    let run = RunKey::new(ids::random());
    for index in 0..jobs {
        let settings = JobSettings { labels: pool.labels.clone(), ..JobSettings::new("job", "true") };
        let spec =
            JobSpec { settings, needs: Vec::new(), dependents: Vec::new(), conditional: Vec::new(), position: index };
        let id = JobId::new(format!("job-{index}")).expect("an id");
        let waiting = Phase::Waiting { on: ids::Waits::new() };
        let job = JobRecord {
            pool: pool.id.clone(),
            spec: Some(Arc::new(spec)),
            ..JobRecord::first(JobKey::new(&run, index), id, waiting)
        };
        ports.put_new(vec![NewItem::Job(Box::new(job.clone()))]).await.expect("put");
        let ready = Change::BecomeReady { pool: pool.id.clone(), at, until: None };
        let update = JobUpdate { expect: Precondition::WaitingOnNothing, change: ready };
        ports.update(&job.key, update).await.expect("updated");
    }
}

#[tokio::test]
async fn jobs_that_wait_in_a_larger_number_of_parts_are_found_after_the_number_was_lowered() {
    if std::env::var_os("WFG_TEST_AWS").is_none() {
        return;
    }
    let settings = Aws::settings().load().await;
    let own = Own::new(&settings, "parts").await;
    let [before, after] = [4, 1].map(|parts| Aws::with_settings(own.config(parts), &settings));
    let pool = Pool::of(LabelSet::from_comma_separated("parts").expect("a label"));
    let (jobs, now) = (12, Millis::now());
    before.add_pools(vec![pool.clone()], now).await.expect("added");
    make_ready(&before, &pool, jobs, now).await;

    let in_one_part = after.ready_heads(&pool.id, now).await.expect("read").len();
    assert!(in_one_part < jobs as usize, "some jobs are in other parts");
    // Processes with the lower number renew the pool, and read the pools before a claim.
    after.add_pools(vec![pool.clone()], now).await.expect("renewed");
    after.pools(now).await.expect("read");
    assert_eq!(after.ready_heads(&pool.id, now).await.expect("read").len(), jobs as usize);
    assert_eq!(after.ready_count(&pool.id, 1000).await.expect("read").0, u64::from(jobs));

    // By then every run of that time has ended, and the lower number is used alone.
    let later = now + Duration::from_hours(32 * 24);
    after.pools(later).await.expect("read");
    assert_eq!(after.ready_heads(&pool.id, later).await.expect("read").len(), in_one_part);
    own.remove().await;
}
