//! Tests of what a caller may do with its token.

use std::time::Duration;

use engine::access::{Grant, TokenRecord};
use engine::ids::{JobKey, Ticket};
use engine::ports::{JobStore, Pool, Stored, TokenStore};
use engine::{Engine, EngineError};
use memory::Memory;
use protocol::access::{Allowed, NewToken, Permissions, Scope};
use protocol::requests::{Claim, Register};
use protocol::wire::Claimed;
use protocol::{LabelSet, Millis, SecretName, TokenName, WorkerId, limits};

mod common;

fn engine() -> Engine<Memory> {
    Engine::new(Memory::new())
}

fn token(name: &str, labels: &str) -> NewToken {
    let labels = LabelSet::from_comma_separated(labels).expect("labels");
    NewToken {
        name: TokenName::new(name).expect("a name"),
        permissions: Permissions { labels: Allowed::Only(labels.iter().cloned().collect()), ..Permissions::all() },
        expires_in_secs: 3600,
    }
}

async fn caller(engine: &Engine<Memory>, new: NewToken) -> Engine<Memory> {
    let text = engine.tokens().create(new).await.expect("made").token;
    engine.acting_for(engine.tokens().grant_of(&text).await.expect("good"))
}

async fn submit(engine: &Engine<Memory>, text: &str) {
    engine.submissions().submit(common::submission(text, true)).await.expect("submitted");
    engine.scheduling().drain().await.expect("the store answers");
}

async fn claim(engine: &Engine<Memory>, labels: &str) -> Result<Option<Claimed>, EngineError> {
    claim_as(engine, "w", labels).await
}

async fn claim_as(engine: &Engine<Memory>, worker: &str, labels: &str) -> Result<Option<Claimed>, EngineError> {
    let labels: Vec<&str> = labels.split(',').filter(|label| !label.is_empty()).collect();
    let claim: Claim =
        serde_json::from_value(serde_json::json!({ "worker_id": worker, "labels": labels })).expect("a claim");
    engine.claims().claim(claim).await
}

#[tokio::test]
async fn exclusive_token_claims_only_jobs_that_require_a_label() {
    let engine = engine();
    submit(&engine, "jobs: {plain: {run: x}, special: {run: x, labels: gpu}}").await;
    let new = token("e", "gpu");
    let permissions = Permissions { exclusive: true, ..new.permissions };
    let exclusive = caller(&engine, NewToken { permissions, ..new }).await;
    let given = claim(&exclusive, "gpu").await.expect("allowed").expect("a job");
    assert_eq!(given.job.job_id.as_str(), "special");
    assert!(claim(&exclusive, "gpu").await.expect("allowed").is_none(), "the plain one isn't for it");
    let register = serde_json::json!({ "worker_id": "w", "labels": ["gpu"], "exclusive": false });
    exclusive
        .workers()
        .register(serde_json::from_value::<Register>(register).expect("a worker"))
        .await
        .expect("allowed");
    assert!(claim(&exclusive, "gpu").await.expect("allowed").is_none());
    let plain = caller(&engine, token("p", "")).await;
    let given = claim_as(&plain, "other", "").await.expect("allowed").expect("unlabelled jobs run on any other worker");
    assert_eq!(given.job.job_id.as_str(), "plain");
}

#[tokio::test]
async fn token_is_valid_until_it_expires() {
    let (engine, clock) = common::engine();
    let text = engine.tokens().create(token("t", "")).await.expect("made").token;
    clock.advance(Duration::from_secs(3590));
    engine.tokens().grant_of(&text).await.expect("still good");
    clock.advance(Duration::from_secs(11));
    assert!(matches!(engine.tokens().grant_of(&text).await, Err(EngineError::BadToken)), "though it is known");
    engine.tokens().create(token("t", "")).await.expect("its name is free again");
    assert!(matches!(engine.tokens().grant_of(&text).await, Err(EngineError::BadToken)), "and it is no other's");
}

#[tokio::test]
async fn every_process_refuses_a_revoked_token_within_30_s() {
    let (engine, clock) = common::engine();
    let text = engine.tokens().create(token("t", "")).await.expect("made").token;
    engine.tokens().grant_of(&text).await.expect("good");
    // Removes the record directly, as another process would.
    engine::ports::TokenStore::remove_token(engine.ports(), &TokenName::new("t").expect("a name"))
        .await
        .expect("there");
    engine.tokens().grant_of(&text).await.expect("known for a while");
    clock.advance(Duration::from_secs(30));
    assert!(matches!(engine.tokens().grant_of(&text).await, Err(EngineError::BadToken)));
}

#[tokio::test]
async fn recreated_token_does_not_own_the_leases_of_the_old_one() {
    let engine = engine();
    submit(&engine, "jobs: {a: {run: x}}").await;
    let first = caller(&engine, token("t", "")).await;
    let lease = claim(&first, "").await.expect("allowed").expect("a job").lease.lease_id.0;
    engine.tokens().revoke(&TokenName::new("t").expect("a name")).await.expect("there");
    let second = caller(&engine, token("t", "")).await;
    assert!(matches!(second.reports().heartbeat(&lease).await, Err(EngineError::LeaseLost(_))));
    assert!(
        matches!(engine.reports().heartbeat(&lease).await, Err(EngineError::LeaseLost(_))),
        "nor does who has no token"
    );
    first.reports().heartbeat(&lease).await.expect("who claimed it");
}

/// A store whose answer to the first write of a token is lost. The client library repeats the write, which is refused.
struct LostAnswer(Memory);

impl TokenStore for LostAnswer {
    async fn put_token(&self, token: TokenRecord, now: Millis) -> Stored<bool> {
        self.0.put_token(token.clone(), now).await?;
        self.0.put_token(token, now).await
    }

    async fn token(&self, name: &TokenName) -> Stored<Option<TokenRecord>> {
        self.0.token(name).await
    }

    async fn tokens(&self, now: Millis) -> Stored<Vec<TokenRecord>> {
        self.0.tokens(now).await
    }

    async fn remove_token(&self, name: &TokenName) -> Stored<bool> {
        self.0.remove_token(name).await
    }
}

#[tokio::test]
async fn token_is_created_even_if_the_answer_to_its_write_is_lost() {
    let store = LostAnswer(Memory::new());
    let create = async |random| engine::access::create(&store, token("ci", ""), Millis(1), [random; 2]).await;
    let created = create([1; 16]).await.expect("its own write is no conflict");
    assert_eq!(created.info.name.as_str(), "ci");
    assert!(matches!(create([2; 16]).await, Err(EngineError::TokenExists(_))));
}

#[tokio::test]
async fn tokens_beyond_the_limit_are_refused() {
    let engine = engine();
    for n in 0..limits::TOKENS {
        engine.tokens().create(token(&format!("t{n}"), "")).await.expect("created");
    }
    let refused = engine.tokens().create(token("one-more", "")).await.map(drop).expect_err("too many");
    assert!(
        refused.to_string().contains("the number of tokens is 1001; at most 1000 are allowed (limit TOKENS)"),
        "{refused}"
    );
}

#[tokio::test]
async fn first_token_is_created_once_with_all_permissions() {
    let engine = engine();
    let first = engine.tokens().first().await.expect("made").expect("there was none");
    let grant: Grant = engine.tokens().grant_of(&first.token).await.expect("good");
    assert!(
        grant.has(&[Scope::Read])
            && grant.has(&[Scope::Submit])
            && grant.has(&[Scope::Work])
            && grant.has(&[Scope::Admin])
            && grant.is_unlimited()
    );
    assert!(engine.tokens().first().await.expect("asked").is_none());
    engine.tokens().revoke(&first.info.name).await.expect("there");
    engine.tokens().create(token("reader", "")).await.expect("made");
    assert!(engine.tokens().first().await.expect("asked").is_none(), "another administrator is there");
}

#[tokio::test]
async fn worker_id_belongs_to_the_token_that_used_it_first() {
    let (engine, clock) = common::engine();
    let work_only = |name| {
        let new = token(name, "production");
        let permissions = Permissions { scopes: [Scope::Work].into(), ..new.permissions };
        NewToken { permissions, expires_in_secs: *limits::TOKEN_SECS.end(), ..new }
    };
    let first = caller(&engine, work_only("first")).await;
    let second = caller(&engine, work_only("second")).await;
    let worker = WorkerId::new("w").expect("an id");
    let register = || {
        let text = serde_json::json!({ "worker_id": "w", "labels": ["production"] });
        serde_json::from_value::<Register>(text).expect("a worker")
    };
    assert!(claim(&first, "production").await.expect("allowed").is_none());
    // Also long after it was last seen.
    for days in [0, 1, 88] {
        clock.advance(Duration::from_hours(24 * days));
        for refused in [
            second.workers().register(register()).await.map(drop),
            second.workers().heartbeat(&worker, None).await.map(drop),
            second.workers().unregister(&worker).await,
            claim(&second, "production").await.map(drop),
        ] {
            assert!(matches!(&refused, Err(EngineError::WorkerTaken(id)) if *id == worker), "{refused:?}");
        }
    }
    first.workers().register(register()).await.expect("its own");
    first.workers().unregister(&worker).await.expect("its own");
    second.workers().register(register()).await.expect("it is free");
    engine.workers().unregister(&worker).await.expect("without tokens nothing is refused");
    first.workers().register(register()).await.expect("it is free");
    clock.advance(limits::WORKER_KEPT);
    second.workers().register(register()).await.expect("its record is gone");
    let admin = caller(&engine, token("admin", "")).await;
    admin.workers().unregister(&worker).await.expect("an admin may delete any worker");
}

#[tokio::test]
async fn ticket_for_a_job_the_token_does_not_allow_is_refused() {
    let engine = engine();
    submit(&engine, "jobs: {deploy: {run: x, labels: production}, leak: {run: x, secrets: KEY}}").await;
    let new = token("s", "staging");
    let permissions = Permissions { secrets: Allowed::default(), ..new.permissions };
    let staging = caller(&engine, NewToken { permissions, ..new }).await;
    let production = Pool::of(LabelSet::from_comma_separated("production").expect("labels"));
    let leak = Pool::with_secrets(LabelSet::default(), [SecretName::new("KEY").expect("a name")].into());
    let with_ticket = |pool: &Pool, job: JobKey, labels: &[&str]| {
        let ticket = Ticket { pool: pool.id.clone(), job }.text();
        let claim = serde_json::json!({ "worker_id": "w", "labels": labels, "ticket": ticket });
        serde_json::from_value::<Claim>(claim).expect("a claim")
    };
    for pool in [&production, &leak] {
        let heads = engine.ports().ready_heads(&pool.id, engine.now()).await.expect("the store answers");
        let given =
            staging.claims().claim(with_ticket(pool, heads[0].job.clone(), &["staging"])).await.expect("allowed");
        assert!(given.is_none(), "{given:?}");
    }
    let heads = engine.ports().ready_heads(&production.id, engine.now()).await.expect("the store answers");
    let given =
        engine.claims().claim(with_ticket(&production, heads[0].job.clone(), &["production"])).await.expect("allowed");
    assert!(given.is_some(), "it is good for who may");
}
