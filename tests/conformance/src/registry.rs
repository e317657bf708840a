//! Checks of the records of pools and workers.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::ids::{JobKey, PoolId, Ticket};
use engine::job::{JobOutcome, JobRecord};
use engine::ports::{Consistency, HeldJob, Pool, PoolQueue, Ports, WorkerRecord};
use protocol::requests::Transport;
use protocol::{JobId, LabelSet, Millis, SecretName, TokenName, WorkerId, limits};

use crate::fixture::{
    at_once, become_ready, change, end, eventually, fresh_labels, fresh_run, name, put_jobs, secs, waiting,
};

async fn listed(ports: &impl Ports, pool: &Pool, now: Millis) -> engine::ports::Stored<Vec<Pool>> {
    Ok(ports.pools(now).await?.into_iter().filter(|other| other.id == pool.id).collect())
}

/// The pools in which a claim looks for jobs.
async fn pools_for(ports: &impl Ports, labels: &LabelSet, now: Millis) -> engine::ports::Stored<Vec<Pool>> {
    match ports.ready_pools(labels).await? {
        Some(pools) => Ok(pools),
        None => ports.pools(now).await,
    }
}

/// Pools with one label and several, with secrets and without, added by two submissions, also concurrently.
pub async fn added_pool_keeps_its_labels_and_secrets<P: Ports + 'static>(ports: Arc<P>) {
    let now = Millis::now();
    let few = Pool::of(fresh_labels());
    let names: Vec<String> = (0..32).map(|_| name("l")).collect();
    let many = Pool::of(LabelSet::parse(names.iter().map(String::as_str)).expect("labels"));
    let third = Pool::of(fresh_labels());
    let secrets_of = |given: &[&str]| given.iter().map(|name| SecretName::new(*name).expect("a name")).collect();
    let [one_secret, two_secrets] =
        [secrets_of(&["A"]), secrets_of(&["A", "b_2"])].map(|secrets| Pool::with_secrets(few.labels.clone(), secrets));
    ports.add_pools(vec![two_secrets.clone(), one_secret.clone()], now).await.expect("the store answers");
    ports.add_pools(vec![few.clone(), many.clone()], now).await.expect("the store answers");
    let (one, other) = tokio::join!(
        ports.add_pools(vec![many.clone(), third.clone()], now),
        ports.add_pools(vec![third.clone()], now)
    );
    one.and(other).expect("the store answers");
    ports.add_pools(Vec::new(), now).await.expect("the store answers");
    ports.add_pools(vec![one_secret.clone()], now).await.expect("the store answers");
    for pool in [few, many, third, one_secret, two_secrets] {
        eventually(|| listed(&*ports, &pool, now), |found| *found == [pool.clone()]).await;
    }
}

/// A pool that nothing uses is listed for [`limits::POOL_TIME`] and no longer. After it was added again, it is listed again,
/// also for claims, and a job that is ready in it is found.
pub async fn unused_pool_is_not_listed_until_it_is_added_again<P: Ports + 'static>(ports: Arc<P>) {
    let labels = fresh_labels();
    let pool = Pool::of(labels.clone());
    let now = Millis::now();
    let later = now + limits::POOL_TIME + secs(1);
    ports.add_pools(vec![pool.clone()], now).await.expect("the store answers");
    eventually(|| listed(&*ports, &pool, now), |found| *found == [pool.clone()]).await;
    assert_eq!(listed(&*ports, &pool, later).await.expect("the store answers"), []);
    let for_claims = async |now| {
        let pools = pools_for(&*ports, &labels, now).await?;
        Ok(pools.iter().filter(|other| other.id == pool.id).count())
    };
    assert_eq!(for_claims(later).await.expect("the store answers"), 0);

    let job = waiting(&fresh_run(), 0, &[], &labels);
    put_jobs(&*ports, std::slice::from_ref(&job)).await;
    let ready = change(&*ports, &job, become_ready(&job, now)).await;
    ports.add_pools(vec![pool.clone()], later).await.expect("the store answers");
    eventually(|| listed(&*ports, &pool, later), |found| *found == [pool.clone()]).await;
    eventually(|| for_claims(later), |found| *found == 1).await;
    change(&*ports, &ready, end(JobOutcome::Cancelled)).await;
}

/// If the store has queues: a wanted queue is stored with the pool, stays when the pool is added again, and accepts
/// tickets.
pub async fn wanted_queue_is_stored_with_its_pool<P: Ports + 'static>(ports: Arc<P>) {
    let secrets = [SecretName::new("A").expect("a name")].into();
    let pool = Pool::with_secrets(fresh_labels(), secrets);
    let now = Millis::now();
    ports.add_pools(vec![pool.clone()], now).await.expect("the store answers");
    let Some(queue) = ports.want_queue(&pool, now).await.expect("the store answers") else {
        eventually(|| listed(&*ports, &pool, now), |found| *found == [pool.clone()]).await;
        return;
    };
    assert_eq!(queue.wanted_at, now);
    ports.add_pools(vec![pool.clone()], now).await.expect("the store answers");
    let with_queue = Pool { queue: Some(queue.clone()), ..pool.clone() };
    eventually(|| listed(&*ports, &pool, now), |found| *found == [with_queue.clone()]).await;
    let later = now + secs(3000);
    let again = ports.want_queue(&with_queue, later).await.expect("the store answers");
    assert_eq!(again, Some(PoolQueue { url: queue.url.clone(), wanted_at: later }), "wanted again, it is the same one");
    let absent = Pool::of(fresh_labels());
    assert_eq!(ports.want_queue(&absent, now).await.expect("the store answers"), None, "there is no such pool");
    assert_eq!(listed(&*ports, &absent, now).await.expect("the store answers"), [], "and none is made by asking");
    let job = JobKey::new(&fresh_run(), 0);
    ports.send_ticket(&queue, Ticket { pool: pool.id, job }).await.expect("the queue takes it");
}

fn worker() -> WorkerRecord {
    WorkerRecord {
        id: WorkerId::new(name("wörker")).expect("an id"),
        labels: fresh_labels(),
        transport: Transport::Sqs,
        exclusive: true,
        features: vec!["outputs_url".to_owned()],
        registered_at: Millis::now() - secs(100),
        last_seen: Millis::now(),
        owner: Some(TokenName::new("ci").expect("a name")),
        paused: Some("its disk is full".to_owned()),
        holds: (0..2).map(held).collect(),
    }
}

fn held(index: u32) -> HeldJob {
    HeldJob {
        job: JobKey::new(&fresh_run(), index),
        id: JobId::new(format!("jöb-{index}")).expect("an id"),
        pool: PoolId::of(&fresh_labels()),
        at: Millis::now(),
        until: Millis::now() + secs(30),
    }
}

async fn among(ports: &impl Ports, id: &WorkerId) -> engine::ports::Stored<Vec<WorkerRecord>> {
    Ok(ports.workers(Millis::now(), usize::MAX).await?.into_iter().filter(|worker| worker.id == *id).collect())
}

/// A worker is read as given. A later record replaces all of it. A removed worker can be removed again.
pub async fn worker_is_stored_replaced_and_removed<P: Ports + 'static>(ports: Arc<P>) {
    let first = worker();
    let of_id = || ports.worker(&first.id, Millis::now(), Consistency::Eventual);
    eventually(of_id, Option::is_none).await;
    ports.put_worker(first.clone()).await.expect("the store answers");
    eventually(of_id, |found| found.as_ref() == Some(&first)).await;
    let other = WorkerRecord {
        labels: LabelSet::default(),
        transport: Transport::Http,
        exclusive: false,
        features: Vec::new(),
        paused: None,
        holds: Vec::new(),
        last_seen: first.last_seen + secs(30),
        ..first.clone()
    };
    ports.put_worker(other.clone()).await.expect("the store answers");
    eventually(of_id, |found| found.as_ref() == Some(&other)).await;
    eventually(|| among(&*ports, &first.id), |found| *found == [other.clone()]).await;
    for _ in 0..2 {
        ports.remove_worker(&first.id).await.expect("the store answers");
    }
    eventually(of_id, Option::is_none).await;
    eventually(|| among(&*ports, &first.id), Vec::is_empty).await;
}

/// A worker's record is replaced only by one of the same token, and also at the same time only one token gets an id.
pub async fn worker_belongs_to_one_token<P: Ports + 'static>(ports: Arc<P>) {
    let id = WorkerId::new(name("worker")).expect("an id");
    let of =
        |token: &str| WorkerRecord { id: id.clone(), owner: Some(TokenName::new(token).expect("a name")), ..worker() };
    let nobody = WorkerRecord { owner: None, ..of("x") };
    assert!(ports.put_worker(nobody.clone()).await.expect("the store answers"));
    let answers = at_once((0..10).map(|n| {
        let (ports, worker) = (Arc::clone(&ports), of(&format!("token-{n}")));
        async move { ports.put_worker(worker).await.expect("the store answers") }
    }))
    .await;
    assert_eq!(answers.iter().filter(|&&done| done).count(), 1, "{answers:?}");
    let first =
        ports.worker(&id, Millis::now(), Consistency::Strong).await.expect("the store answers").expect("it is there");
    let again = WorkerRecord { labels: LabelSet::default(), ..first.clone() };
    assert!(ports.put_worker(again.clone()).await.expect("the store answers"), "by its own token");
    for other in [of("other"), nobody] {
        assert!(!ports.put_worker(other).await.expect("the store answers"));
    }
    eventually(|| ports.worker(&id, Millis::now(), Consistency::Strong), |found| found.as_ref() == Some(&again)).await;
    ports.remove_worker(&id).await.expect("the store answers");
}

/// A worker last seen more than a day ago isn't listed. Its record remains, so that its id belongs to its token.
pub async fn worker_unseen_for_a_day_is_not_listed<P: Ports + 'static>(ports: Arc<P>) {
    let old = WorkerRecord { last_seen: Millis::now() - secs(25 * 3600), ..worker() };
    let young = WorkerRecord { last_seen: Millis::now() - secs(23 * 3600), ..worker() };
    for worker in [&young, &old] {
        ports.put_worker(worker.clone()).await.expect("the store answers");
    }
    eventually(|| among(&*ports, &young.id), |found| *found == [young.clone()]).await;
    eventually(|| among(&*ports, &old.id), Vec::is_empty).await;
    eventually(|| ports.worker(&young.id, Millis::now(), Consistency::Eventual), Option::is_some).await;
    eventually(|| ports.worker(&old.id, Millis::now(), Consistency::Eventual), Option::is_some).await;
    for id in [&young.id, &old.id] {
        ports.remove_worker(id).await.expect("the store answers");
    }
}

/// Each worker once, those seen last first, and no more than wanted.
pub async fn workers_are_listed_from_the_one_seen_last<P: Ports + 'static>(ports: Arc<P>) {
    const WORKERS: u64 = 64;
    // Later than all others.
    let at = |n: u64| Millis::now() + secs(3600 + 10 * n);
    let mut workers: Vec<WorkerRecord> = (0..WORKERS).map(|n| WorkerRecord { last_seen: at(n), ..worker() }).collect();
    for worker in &workers {
        assert!(ports.put_worker(worker.clone()).await.expect("the store answers"));
    }
    workers.reverse();
    let ids = |workers: &[WorkerRecord]| workers.iter().map(|worker| worker.id.clone()).collect::<BTreeSet<_>>();
    for most in [1, 10, 64, 1000] {
        let first = ids(&workers[..most.min(workers.len())]);
        let listed = async || {
            let listed = ports.workers(Millis::now(), most).await?;
            assert!(listed.len() <= most && ids(&listed).len() == listed.len(), "each once");
            Ok(listed)
        };
        let enough = |listed: &Vec<WorkerRecord>| ids(listed).is_superset(&first);
        eventually(listed, enough).await;
    }
    for worker in workers {
        ports.remove_worker(&worker.id).await.expect("the store answers");
    }
}

/// A worker finds the ready jobs of every pool that its labels cover: without labels, with one or several, with secrets. A store
/// that knows the pools with ready jobs returns no others.
pub async fn pools_with_ready_jobs_are_found_by_labels<P: Ports + 'static>(ports: Arc<P>) {
    let now = Millis::now();
    let [a, b, c] = ["a", "b", "c"].map(|first| format!("{first}-{}", name("l")));
    let set = |labels: &[&String]| LabelSet::parse(labels.iter().map(|label| label.as_str())).expect("labels");
    let secrets = [SecretName::new("A").expect("a name")].into();
    let pools = [
        Pool::of(LabelSet::default()),
        Pool::of(set(&[&a])),
        Pool::of(set(&[&b])),
        Pool::of(set(&[&a, &b])),
        Pool::with_secrets(set(&[&b, &c]), secrets),
    ];
    ports.add_pools(pools.to_vec(), now).await.expect("the store answers");
    let mut jobs = Vec::new();
    for pool in &pools {
        let job = JobRecord { pool: pool.id.clone(), ..waiting(&fresh_run(), 0, &[], &pool.labels) };
        put_jobs(&*ports, std::slice::from_ref(&job)).await;
        jobs.push(change(&*ports, &job, become_ready(&job, now)).await);
    }
    for (labels, covered) in [
        (set(&[]), &pools[..1]),
        (set(&[&a]), &pools[..2]),
        (set(&[&a, &b]), &pools[..4]),
        (set(&[&a, &b, &c]), &pools[..]),
    ] {
        let found = async || Ok(pools_for(&*ports, &labels, now).await?.into_iter().map(|pool| pool.id).collect());
        let all = |found: &BTreeSet<PoolId>| covered.iter().all(|pool| found.contains(&pool.id));
        eventually(found, all).await;
    }
    for job in &jobs {
        change(&*ports, job, end(JobOutcome::Cancelled)).await;
    }
    if let Some(found) = ports.ready_pools(&set(&[&a, &b, &c])).await.expect("the store answers") {
        assert!(found.iter().all(|pool| pool.labels.is_empty() || !pools.contains(pool)), "no job is ready there");
    }
}
