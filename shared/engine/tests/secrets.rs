//! Tests of job secrets: they reach the jobs that name them, on workers whose token allows them, and nothing else.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{StoppedClock, World};
use engine::access::{Grant, TokenRecord, TokenText};
use engine::ports::{SecretStore, StoreError, Stored};
use engine::{Engine, EngineError, Tuning};
use futures::future::BoxFuture;
use memory::Memory;
use protocol::access::{Allowed, Permissions};
use protocol::requests::{FEATURE_SECRETS, Fail, LogPiece, Next, Register, Transport};
use protocol::wire::{Claimed, Stream};
use protocol::{JobId, LabelSet, Millis, SecretName, SecretValue, Secrets, Status, TokenName, WorkerId};

mod common;

const ONE: &str = "jobs: {a: {run: deploy, secrets: KEY}}";

/// A secret store that the test changes. `None` makes reads fail.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Option<Secrets>>>, Arc<AtomicUsize>);

impl Kept {
    fn of(pairs: &[(&str, &str)]) -> Self {
        let kept = Self::default();
        kept.become_these(pairs);
        kept
    }

    fn become_these(&self, pairs: &[(&str, &str)]) {
        let secrets = pairs.iter().map(|(key, value)| (name(key), SecretValue::new(*value).expect("a value")));
        *self.0.lock().expect("no panic") = Some(secrets.collect());
    }

    /// How often secrets were read.
    fn reads(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }

    fn break_down(&self) {
        *self.0.lock().expect("no panic") = None;
    }
}

impl SecretStore for Kept {
    fn secrets<'a>(&'a self, names: &'a BTreeSet<SecretName>) -> BoxFuture<'a, Stored<Secrets>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let kept = self.0.lock().expect("no panic").clone();
        Box::pin(async move {
            kept.ok_or_else(|| StoreError::Unavailable("the file is broken".to_owned()))?.secrets(names).await
        })
    }
}

fn name(text: &str) -> SecretName {
    SecretName::new(text).expect("a name")
}

fn engine(kept: &Kept) -> (Engine<Memory>, Arc<StoppedClock>) {
    let (engine, clock) = common::engine();
    (engine.with_secrets(Arc::new(kept.clone())), clock)
}

/// A grant that allows these secrets.
fn may_have(secrets: &[&str]) -> Grant {
    let token = TokenName::new("t").expect("a name");
    Grant::of(&TokenRecord {
        hash: TokenText::new(token.clone(), [[1; 16], [2; 16]]).hash(),
        name: token,
        permissions: Permissions {
            secrets: Allowed::Only(secrets.iter().copied().map(name).collect()),
            ..Permissions::all()
        },
        created_at: Millis(0),
        expires_at: Millis(u64::MAX),
    })
}

/// A started workflow whose jobs are ready.
async fn world(kept: &Kept, yaml: &str) -> World {
    let (engine, clock) = engine(kept);
    let world = World::started_on(engine, clock, yaml).await;
    world.tell(&world.events()).await;
    world.send_batch().await;
    world
}

impl World {
    /// The same world, for another caller.
    fn for_who(&self, grant: Grant) -> Self {
        Self { engine: self.engine.acting_for(grant), clock: Arc::clone(&self.clock), id: self.id.clone() }
    }

    async fn register(&self, worker: &str, feature: &str) {
        let request = Register {
            worker_id: WorkerId::new(worker).expect("an id"),
            labels: LabelSet::default(),
            transport: Transport::Http,
            exclusive: false,
            features: vec![feature.to_owned()],
            paused: None,
        };
        self.engine.workers().register(request).await.expect("memory answers");
    }
}

#[tokio::test]
async fn job_is_given_only_to_a_worker_whose_token_allows_all_its_secrets() {
    let kept = Kept::of(&[("KEY", "hunter22"), ("OTHER", "swordfish")]);
    let world = world(&kept, "jobs: {a: {run: deploy, secrets: [KEY, OTHER]}}").await;
    for few in [&[] as &[&str], &["KEY"], &["OTHER", "MORE"]] {
        assert!(world.for_who(may_have(few)).claim("w").await.is_none(), "{few:?}");
    }
    let job = world.for_who(may_have(&["KEY", "OTHER"])).claim("w").await.expect("it may have both").job;
    assert_eq!(job.secrets[&name("KEY")].reveal(), "hunter22");
    assert_eq!(job.secrets[&name("OTHER")].reveal(), "swordfish");
    assert!(!format!("{job:?}").contains("hunter22"));
}

#[tokio::test]
async fn completion_grants_no_next_job_whose_secrets_the_token_does_not_allow() {
    let kept = Kept::of(&[("KEY", "hunter22")]);
    let world = world(&kept, "jobs: {a: {run: x}, b: {run: y, needs: a, secrets: KEY}}").await;
    for (grant, brings) in [(may_have(&["OTHER"]), false), (may_have(&["KEY"]), true)] {
        let world = World::started_on(
            world.engine.clone(),
            world.clock.clone(),
            "jobs: {a: {run: x}, b: {run: y, needs: a, secrets: KEY}}",
        )
        .await
        .for_who(grant);
        world.tell(&world.events()).await;
        world.send_batch().await;
        let first = loop {
            let claimed = world.claim("w").await.expect("it needs no secret");
            if claimed.lease.workflow_id == world.id {
                break claimed;
            }
        };
        let next = Next {
            worker_id: WorkerId::new("w").expect("an id"),
            labels: LabelSet::default(),
            lease_ttl_secs: 30,
            exclusive: false,
        };
        let next = world.engine.reports().complete(&first.lease.lease_id.0, [].into(), Some(next)).await.expect("held");
        assert_eq!(next.map(|next| next.job.secrets.len()), brings.then_some(1));
    }
}

#[tokio::test]
async fn worker_with_the_secrets_feature_receives_them_apart_and_others_in_the_command() {
    let kept = Kept::of(&[("KEY", "it's hunter22")]);
    let yaml = "jobs: {a: {run: deploy, secrets: KEY, env: {A: b}}, b: {run: deploy, secrets: KEY, env: {A: b}}}";
    let world = world(&kept, yaml).await;
    world.register("knows", FEATURE_SECRETS).await;
    let apart = world.claim("knows").await.expect("a job").job;
    assert!(apart.command.contains("\nexport A='b'\n") && !apart.command.contains("KEY"), "{}", apart.command);
    assert_eq!(apart.env.keys().collect::<Vec<_>>(), ["A"]);
    assert_eq!(apart.secrets[&name("KEY")].reveal(), "it's hunter22");
    world.register("other", "outputs_url").await;
    let within = world.claim("other").await.expect("a job").job;
    let exports = "\nexport A='b'\nexport KEY='it'\\''s hunter22'\n";
    assert!(within.command.contains(exports), "{}", within.command);
    assert_eq!(within.env["KEY"], "it's hunter22");
    assert_eq!(within.secrets, apart.secrets);
}

#[tokio::test]
async fn missing_secret_fails_its_job_at_once_and_is_named() {
    let world = world(&Kept::of(&[("KEY", "x")]), "jobs: {a: {run: x, secrets: [KEY, NOPE], retries: 3}}").await;
    assert!(world.claim("w").await.is_none());
    let job = world.now().await.jobs.remove(0);
    let error = job.error.expect("an error");
    assert_eq!((job.status, job.attempt), (Status::Failure, 0));
    assert!(error.contains("the secret `NOPE` ") && error.contains("wfg secret set NOPE"), "{error}");
}

#[tokio::test]
async fn replaced_secret_is_used_from_the_next_claim_on() {
    let kept = Kept::of(&[("KEY", "old value")]);
    let world = world(&kept, "jobs: {a: {run: x, secrets: KEY}, b: {run: x, secrets: KEY}}").await;
    let value = |claimed: Claimed| claimed.job.secrets[&name("KEY")].reveal().to_owned();
    assert_eq!(value(world.claim("w").await.expect("a job")), "old value");
    kept.become_these(&[("KEY", "new value")]);
    assert_eq!(value(world.claim("w").await.expect("a job")), "new value");
}

/// As [`world`], where a value that was read is used for 30 s.
async fn world_on_aws(kept: &Kept, yaml: &str) -> World {
    let (engine, clock) = engine(kept);
    let engine = engine.with_tuning(Tuning { secrets_ttl: Duration::from_secs(30), ..Tuning::default() });
    let world = World::started_on(engine, clock, yaml).await;
    world.tell(&world.events()).await;
    world
}

#[tokio::test]
async fn secret_is_read_once_in_30_s_for_all_claims_and_a_replaced_value_is_used_then() {
    let kept = Kept::of(&[("KEY", "old value")]);
    let jobs: Vec<String> = (0..8).map(|n| format!("j{n}: {{run: x, secrets: KEY}}")).collect();
    let world = world_on_aws(&kept, &format!("jobs: {{{}}}", jobs.join(", "))).await;
    let value = async || {
        let claimed = world.claim("w").await.expect("a job");
        claimed.job.secrets[&name("KEY")].reveal().to_owned()
    };
    for _ in 0..4 {
        assert_eq!(value().await, "old value");
    }
    kept.become_these(&[("KEY", "new value")]);
    world.clock.advance(Duration::from_millis(29_999));
    assert_eq!((value().await.as_str(), kept.reads()), ("old value", 1));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!((value().await.as_str(), kept.reads()), ("new value", 2));
}

#[tokio::test]
async fn secret_that_was_missing_is_used_as_soon_as_it_is_set() {
    let kept = Kept::of(&[("OTHER", "x")]);
    let world = world_on_aws(&kept, "jobs: {a: {run: x, secrets: KEY}, b: {run: x, secrets: KEY}}").await;
    assert!(world.claim("w").await.is_none(), "both fail");
    world.tell(&world.events()).await;
    kept.become_these(&[("KEY", "hunter22")]);
    world.engine.runs().start(&world.id, None, None).await.expect("it has ended");
    world.tell(&world.events()).await;
    world.send_batch().await;
    assert_eq!(world.claim("w").await.expect("a job").job.secrets[&name("KEY")].reveal(), "hunter22");
}

#[tokio::test]
async fn unreadable_secrets_delay_only_the_jobs_that_name_them() {
    let kept = Kept::of(&[("KEY", "hunter22")]);
    let world = world(&kept, "jobs: {a: {run: x, secrets: KEY}, b: {run: x}}").await;
    kept.break_down();
    assert_eq!(world.claim("w").await.expect("one needs no secret").job.job_id.as_str(), "b");
    assert!(world.claim("w").await.is_none());
    let waits = world.now().await.jobs.remove(0);
    assert_eq!((waits.status, waits.attempt), (Status::Queued, 0), "no try is used");
    assert_eq!(kept.reads(), 1, "it is not read again at once");
    kept.become_these(&[("KEY", "hunter22")]);
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(world.claim("w").await.expect("it can be read again").job.job_id.as_str(), "a");
}

#[tokio::test]
async fn unreadable_secrets_of_many_older_jobs_do_not_delay_a_job_without_secrets() {
    let kept = Kept::of(&[("KEY", "hunter22")]);
    let jobs: Vec<String> = (0..30).map(|n| format!("j{n}: {{run: x, secrets: KEY}}")).collect();
    let world = world(&kept, &format!("jobs: {{{}}}", jobs.join(", "))).await;
    world.clock.advance(Duration::from_secs(1));
    let newer = World::started_on(world.engine.clone(), Arc::clone(&world.clock), "jobs: {b: {run: x}}").await;
    newer.tell(&newer.events()).await;
    kept.break_down();
    assert_eq!(world.claim("w").await.expect("one needs no secret").job.job_id.as_str(), "b");
    assert!(world.claim("w").await.is_none());
}

#[tokio::test]
async fn caller_without_a_secret_can_not_submit_start_or_cancel_its_job() {
    let engine = engine(&Kept::default()).0.acting_for(may_have(&["KEY"]));
    let submit = async |yaml: &str| engine.submissions().submit(common::submission(yaml, true)).await;
    let other = engine.acting_for(may_have(&["OTHER"]));
    let id = submit(ONE).await.expect("it may").workflow;
    for refused in [other.runs().cancel(&id).await, other.runs().start(&id, None, None).await] {
        assert!(matches!(refused, Err(EngineError::SecretNotAllowed(_))), "{refused:?}");
    }
    let refused = submit("jobs: {a: {run: x, secrets: [KEY, MORE]}}").await.expect_err("not allowed");
    assert!(matches!(&refused, EngineError::SecretNotAllowed(secret) if *secret == name("MORE")), "{refused}");
}

#[tokio::test]
async fn secret_names_are_shown_and_values_are_not() {
    let world = world(&Kept::of(&[("KEY", "hunter22")]), ONE).await;
    world.claim("w").await.expect("a job");
    let shown = serde_json::to_value(world.now().await).expect("JSON");
    assert_eq!(shown["jobs"][0]["secrets"], serde_json::json!(["KEY"]));
    assert!(!shown.to_string().contains("hunter22"));
    let pools = world.engine.workers().pools().await.expect("memory answers");
    assert_eq!(pools[0].secrets, [name("KEY")].into());
}

/// The stored log of a job's stream, pieces joined.
async fn log(world: &World, stream: Stream) -> String {
    let id = JobId::new("a").expect("an id");
    let page = world.engine.queries().logs(&world.id, &id, None, None).await.expect("it is there");
    page.chunks.into_iter().filter(|chunk| chunk.stream == stream).map(|chunk| chunk.data).collect()
}

fn pieces(first: u64, texts: &[&str]) -> Vec<LogPiece> {
    let piece = |(sequence, data): (u64, &&str)| LogPiece {
        sequence,
        data: (*data).to_owned(),
        timestamp_ms: Millis(1),
        stream: Stream::Stdout,
    };
    (first..).zip(texts).map(piece).collect()
}

#[tokio::test]
async fn logs_errors_and_outputs_are_stored_with_secrets_masked() {
    let kept = Kept::of(&[("KEY", "hunter22"), ("OTHER", "swordfish")]);
    let world = world(&kept, ONE).await;
    let claimed = world.claim("w").await.expect("a job");
    let lease = &claimed.lease.lease_id.0;
    let mut sent = pieces(0, &["it is hunter22, ", "no: hunt", "er22, not swordfish\n"]);
    sent.reverse();
    world.engine.reports().append_logs(lease, sent).await.expect("held");
    assert_eq!(log(&world, Stream::Stdout).await, "it is ***, no: ***, not swordfish\n");
    let report = Fail { error: "no good: hunter22".to_owned(), retryable: false, exit_code: None, cause: None };
    world.engine.reports().fail(lease, report.clone()).await.expect("held");
    world.engine.reports().fail(lease, report).await.expect("the same report again");
    let job = world.now().await.jobs.remove(0);
    assert_eq!(job.error.as_deref(), Some("no good: ***"));
    assert_eq!(job.attempts[0].error, "no good: ***");
}

#[tokio::test]
async fn secret_replaced_while_its_job_runs_is_still_masked() {
    let kept = Kept::of(&[("KEY", "old value")]);
    let world = world(&kept, "jobs: {a: {run: x, secrets: KEY}, b: {run: x, secrets: KEY}}").await;
    let first = world.claim("w").await.expect("a job");
    kept.become_these(&[("KEY", "new value")]);
    world.claim("w").await.expect("another, with the new value");
    let lease = &first.lease.lease_id.0;
    let report = Fail { error: "old value, new value".to_owned(), retryable: false, exit_code: None, cause: None };
    world.engine.reports().fail(lease, report).await.expect("held");
    let job = world.now().await.jobs.into_iter().find(|job| job.id == first.job.job_id).expect("it is there");
    assert_eq!(job.error.as_deref(), Some("***, ***"));
}

#[tokio::test]
async fn replaced_secret_is_masked_after_the_new_value_was_read_again() {
    let kept = Kept::of(&[("KEY", "old value")]);
    let jobs = "jobs: {a: {run: x, secrets: KEY}, b: {run: x, secrets: KEY}, c: {run: x, secrets: KEY}}";
    let world = world(&kept, jobs).await;
    let first = world.claim("w").await.expect("a job");
    kept.become_these(&[("KEY", "new value")]);
    for _ in 0..2 {
        world.claim("w").await.expect("another, with the new value");
    }
    let lease = &first.lease.lease_id.0;
    world.engine.reports().append_logs(lease, pieces(0, &["old value, new value"])).await.expect("held");
    let job = first.job.job_id.clone();
    let page = world.engine.queries().logs(&world.id, &job, None, None).await.expect("there");
    assert_eq!(page.chunks[0].data, "***, ***");
}

#[tokio::test]
async fn job_without_secrets_is_stored_unchanged_and_reads_no_secrets() {
    let kept = Kept::default();
    let world = world(&kept, "jobs: {a: {run: deploy}}").await;
    let claimed = world.claim("w").await.expect("no secret is read, so it does no harm that they can't be");
    let lease = &claimed.lease.lease_id.0;
    world.engine.reports().append_logs(lease, pieces(0, &["hunter22\n"])).await.expect("held");
    assert_eq!(log(&world, Stream::Stdout).await, "hunter22\n");
    world.fail(&claimed, false).await.expect("held");
}

#[tokio::test]
async fn log_is_refused_while_its_secrets_can_not_be_read() {
    let kept = Kept::of(&[("KEY", "hunter22")]);
    let world = world(&kept, ONE).await;
    let claimed = world.claim("w").await.expect("a job");
    let lease = &claimed.lease.lease_id.0;
    kept.break_down();
    world.engine.reports().append_logs(lease, pieces(0, &["hunter22 "])).await.expect("they are known from the claim");
    world.clock.advance(Duration::from_secs(20));
    world.engine.reports().heartbeat(lease).await.expect("held");
    world.clock.advance(Duration::from_secs(20));
    let refused =
        world.engine.reports().append_logs(lease, pieces(1, &["hunter22\n"])).await.expect_err("they can't be read");
    assert!(matches!(refused, EngineError::Store(StoreError::Unavailable(_))), "{refused}");
    kept.become_these(&[("KEY", "hunter22")]);
    world.engine.reports().append_logs(lease, pieces(1, &["hunter22\n"])).await.expect("sent again");
    assert_eq!(log(&world, Stream::Stdout).await, "*** ***\n");
}

#[tokio::test]
async fn claim_that_fails_after_it_took_a_job_gives_it_back_and_says_why() {
    let kept = Kept::of(&[("KEY", "hunter22")]);
    let world = world(&kept, "jobs: {a: {run: x, secrets: KEY}, b: {run: x, secrets: KEY}}").await;
    let first = world.claim("w").await.expect("a job");
    kept.break_down();
    // The secrets were read just before, so the claim takes the job.
    let claim = serde_json::from_value(serde_json::json!({ "worker_id": "w" })).expect("a claim");
    let failed = world.engine.claims().claim(claim).await.expect_err("its secrets can't be read");
    assert!(matches!(failed, EngineError::Store(StoreError::Unavailable(_))), "{failed}");
    let waits = world.now().await.jobs.into_iter().find(|job| job.id != first.job.job_id).expect("the other");
    assert_eq!((waits.status, waits.attempt, waits.returned), (Status::Queued, 0, 0), "the attempt has not begun");
    let error = waits.error.expect("why it waits");
    assert!(error.contains("could not be given") && error.contains("the file is broken"), "{error}");
    kept.become_these(&[("KEY", "hunter22")]);
    assert!(world.claim("w").await.is_none(), "not at once");
    world.clock.advance(Duration::from_secs(5));
    let second = world.claim("w").await.expect("the same worker may have it");
    assert_eq!((&second.job.job_id, second.job.attempt), (&waits.id, 0));
    world.fail(&second, false).await.expect("the lease is a new one");
}

/// A secret store of which every second read fails: a claim finds the secrets readable, and then can't read them.
#[derive(Default)]
struct FailsEverySecondRead(AtomicU32);

impl SecretStore for FailsEverySecondRead {
    fn secrets<'a>(&'a self, _names: &'a BTreeSet<SecretName>) -> BoxFuture<'a, Stored<Secrets>> {
        let fails = self.0.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        let read = Secrets::from([(name("KEY"), SecretValue::new("hunter22").expect("a value"))]);
        Box::pin(async move { if fails { Err(StoreError::Unavailable("no answer".to_owned())) } else { Ok(read) } })
    }
}

#[tokio::test]
async fn claims_that_fail_again_and_again_are_minutes_apart_and_do_not_number_attempts() {
    let (engine, clock) = common::engine();
    let engine = engine.with_secrets(Arc::new(FailsEverySecondRead::default()));
    let world = World::started_on(engine, clock, ONE).await;
    world.tell(&world.events()).await;
    let mut pauses = Vec::new();
    for _ in 0..30 {
        let claim = serde_json::from_value(serde_json::json!({ "worker_id": "w" })).expect("a claim");
        world.engine.claims().claim(claim).await.expect_err("its secrets can't be read");
        let job = world.now().await.jobs.remove(0);
        assert_eq!((job.attempt, job.returned, job.attempts.len()), (0, 0, 1));
        assert!(job.attempts[0].error.contains("no answer"), "{}", job.attempts[0].error);
        let until = job.waiting_for.and_then(|waits| waits.until_ms).expect("the earliest start");
        pauses.push(until.since(world.engine.now()).as_secs());
        world.clock.advance(until.since(world.engine.now()));
    }
    assert_eq!(pauses[..8], [5, 10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(pauses[29], 300);
}
