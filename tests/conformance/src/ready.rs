//! Checks of the pools' ready lists.

use std::sync::Arc;
use std::time::Duration;

use engine::ids::{JobIndex, PoolId, RunKey};
use engine::job::{Change, JobOutcome, JobRecord};
use engine::ports::{Ports, ReadyHead};
use protocol::{LabelSet, Millis};

use crate::fixture::{
    NOW, become_ready, change, end, eventually, fresh_labels, fresh_run, lease, put_jobs, secs, try_again, waiting,
};

async fn ready(ports: &impl Ports, run: &RunKey, index: JobIndex, labels: &LabelSet, at: Millis) -> JobRecord {
    let job = waiting(run, index, &[], labels);
    put_jobs(ports, std::slice::from_ref(&job)).await;
    change(ports, &job, become_ready(&job, at)).await
}

fn head(job: &JobRecord) -> ReadyHead {
    ReadyHead { at: job.ready_at.expect("it is ready"), job: job.key.clone() }
}

/// Reads the list until it equals this one.
async fn heads_become(ports: &impl Ports, pool: &PoolId, now: Millis, jobs: &[&JobRecord]) {
    let mut expected: Vec<ReadyHead> = jobs.iter().map(|job| head(job)).collect();
    expected.sort();
    let ask = async || {
        let mut heads = ports.ready_heads(pool, now).await?;
        // A store may split a list into shards; a claim merges them.
        heads.sort();
        Ok(heads)
    };
    eventually(ask, |heads| *heads == expected).await;
}

/// All jobs of the pool that may start now, and no others.
pub async fn ready_list_returns_the_oldest_due_jobs<P: Ports + 'static>(ports: Arc<P>) {
    let (labels, others) = (fresh_labels(), fresh_labels());
    let (pool, empty) = (PoolId::of(&labels), PoolId::of(&fresh_labels()));
    let (run, second) = (fresh_run(), fresh_run());
    let late = ready(&*ports, &run, 4, &labels, NOW + Duration::from_millis(1)).await;
    let now = ready(&*ports, &run, 3, &labels, NOW).await;
    let old = ready(&*ports, &second, 2, &labels, NOW - secs(60)).await;
    let same = ready(&*ports, &second, 1, &labels, NOW).await;
    let other = ready(&*ports, &run, 0, &others, NOW - secs(90)).await;
    put_jobs(&*ports, &[waiting(&run, 9, &[], &labels)]).await;
    heads_become(&*ports, &pool, NOW, &[&old, &now, &same]).await;
    heads_become(&*ports, &pool, NOW - Duration::from_millis(1), &[&old]).await;
    heads_become(&*ports, &pool, NOW - secs(60), &[&old]).await;
    heads_become(&*ports, &pool, NOW - secs(61), &[]).await;
    heads_become(&*ports, &pool, NOW + secs(1), &[&old, &now, &same, &late]).await;
    heads_become(&*ports, &PoolId::of(&others), NOW, &[&other]).await;
    heads_become(&*ports, &empty, NOW, &[]).await;
    let counted = (4, Some(NOW - secs(60)));
    eventually(|| ports.ready_count(&pool, 1000), |count| *count == counted).await;
    eventually(|| ports.ready_count(&empty, 1000), |count| *count == (0, None)).await;
}

/// A job leaves the list when it starts or ends, and enters it again for another try, with its new time.
pub async fn only_ready_jobs_are_in_the_ready_list<P: Ports + 'static>(ports: Arc<P>) {
    let labels = fresh_labels();
    let pool = PoolId::of(&labels);
    let run = fresh_run();
    let first = ready(&*ports, &run, 0, &labels, NOW).await;
    let second = ready(&*ports, &run, 1, &labels, NOW).await;
    heads_become(&*ports, &pool, NOW, &[&first, &second]).await;
    let first = change(&*ports, &first, Change::Start(lease(1, NOW + secs(30)))).await;
    heads_become(&*ports, &pool, NOW, &[&second]).await;
    let first = change(&*ports, &first, Change::Renew { until: NOW + secs(60) }).await;
    heads_become(&*ports, &pool, NOW + secs(120), &[&second]).await;
    let again = try_again(&first, NOW + secs(10));
    let first = change(&*ports, &first, again).await;
    heads_become(&*ports, &pool, NOW, &[&second]).await;
    heads_become(&*ports, &pool, NOW + secs(10), &[&second, &first]).await;
    change(&*ports, &second, end(JobOutcome::Cancelled)).await;
    heads_become(&*ports, &pool, NOW + secs(10), &[&first]).await;
    let first = change(&*ports, &first, Change::Start(lease(2, NOW + secs(30)))).await;
    change(&*ports, &first, end(JobOutcome::Failure { exit_code: None })).await;
    heads_become(&*ports, &pool, NOW + secs(10), &[]).await;
    eventually(|| ports.ready_count(&pool, 1000), |count| *count == (0, None)).await;
}

/// However many jobs are ready, a read returns a few, including the oldest.
pub async fn number_of_heads_is_bounded<P: Ports + 'static>(ports: Arc<P>) {
    const WAITING: u32 = 300;
    let labels = fresh_labels();
    let pool = PoolId::of(&labels);
    let run = fresh_run();
    let mut jobs = Vec::new();
    for index in 0..WAITING {
        // Not in the order of their indexes.
        let at = NOW - secs(u64::from((index * 77) % WAITING));
        jobs.push(ready(&*ports, &run, index, &labels, at).await);
    }
    let mut all: Vec<ReadyHead> = jobs.iter().map(head).collect();
    all.sort();
    let count = (u64::from(WAITING), Some(all[0].at));
    eventually(|| ports.ready_count(&pool, 1000), |found| *found == count).await;
    let capped = (100, Some(all[0].at));
    assert_eq!(ports.ready_count(&pool, 100).await.expect("the store answers"), capped, "counted up to a number");
    let mut heads = ports.ready_heads(&pool, NOW).await.expect("the store answers");
    heads.sort();
    heads.dedup();
    assert!((8..=64).contains(&heads.len()), "{} heads", heads.len());
    assert_eq!(heads[0], all[0], "the oldest");
    assert!(heads.iter().all(|head| all.contains(head)));
}
