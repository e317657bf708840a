//! Tests of checkouts: who gets a credential, when it is minted, and what happens if it can't be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{StoppedClock, World, engine, submission};
use engine::Engine;
use engine::forge::checkout::{CheckoutSource, Origin, Wanted};
use engine::forge::link::{Access, ForgeKind, Link, Rule};
use engine::forge::ports::{
    Asked, Changed, Credential, FailedDelivery, Forge, ForgeError, PullRequest, Repository, RepositoryFile, Shown,
    StateAnswer, StateUpdate,
};
use engine::forge::store::ForgeStore;
use engine::ids::forge::{CommitId, GitRef, ReportKey};
use engine::submit::Submission;
use futures::future::BoxFuture;
use memory::Memory;
use protocol::requests::{FEATURE_SECRETS, GivenInputs, LogPiece, Register};
use protocol::wire::{CHECKOUT_TOKEN, Claimed, Stream};
use protocol::{Millis, SecretName, SecretValue, Status, limits};

mod common;

const FILE: &str = "on: push\njobs: {a: {run: make, checkout: true}}";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A forge that mints credentials for an hour, numbered, while it isn't told to fail.
struct Mint {
    clock: Arc<StoppedClock>,
    minted: AtomicU32,
    failing: AtomicU32,
    error: ForgeError,
}

impl Mint {
    fn new(clock: &Arc<StoppedClock>) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(clock),
            minted: AtomicU32::new(0),
            failing: AtomicU32::new(0),
            error: ForgeError::NoAnswer("502".to_owned()),
        })
    }

    fn minted(&self) -> u32 {
        self.minted.load(Ordering::SeqCst)
    }
}

impl CheckoutSource for Mint {
    fn origin<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Option<Origin>, ForgeError>> {
        Box::pin(async move {
            if self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                return Err(self.error.clone());
            }
            if wanted.repository.repository != 7 {
                return Ok(None);
            }
            let number = self.minted.fetch_add(1, Ordering::SeqCst);
            let token = SecretValue::new(format!("ghs_minted_{number}")).expect("a value");
            let expires_at = Some(engine::clock::Clock::now(&*self.clock) + Duration::from_hours(1));
            let credential = Credential { user: "x-access-token".to_owned(), token, expires_at };
            let credential = (!wanted.fork).then_some(credential);
            Ok(Some(Origin { url: "https://forge.example/acme/app.git".to_owned(), credential }))
        })
    }
}

fn report(repository: u64) -> ReportKey {
    ReportKey::parse(&format!("acme#{repository}#{COMMIT}#push#ci")).expect("a key")
}

fn pull_request() -> ReportKey {
    ReportKey::parse(&format!("acme#7#{COMMIT}#pull_request#ci")).expect("a key")
}

fn of_forge(yaml: &str, inputs: &[(&str, &str)]) -> Submission {
    let inputs: GivenInputs = inputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    Submission { report: Some(report(7)), inputs, ..submission(yaml, true) }
}

async fn world_of(engine: Engine<Memory>, clock: Arc<StoppedClock>, submission: Submission) -> World {
    let id = engine.submissions().submit(submission).await.expect("memory answers").workflow;
    let world = World { engine, clock, id };
    world.tell(&world.events()).await;
    world
}

async fn with_mint(submission: Submission) -> (World, Arc<Mint>) {
    let (engine, clock) = engine();
    let mint = Mint::new(&clock);
    (world_of(engine.with_checkouts(mint.clone()), clock, submission).await, mint)
}

async fn register(world: &World, worker: &str) {
    let request = serde_json::json!({ "worker_id": worker, "labels": [], "features": [FEATURE_SECRETS] });
    let request: Register = serde_json::from_value(request).expect("a registration");
    world.engine.workers().register(request).await.expect("memory answers");
}

fn token(claimed: &Claimed) -> Option<&str> {
    let name = SecretName::new(CHECKOUT_TOKEN).expect("a name");
    claimed.job.secrets.get(&name).map(SecretValue::reveal)
}

#[tokio::test]
async fn claim_mints_a_credential_for_the_repository_of_the_run_and_the_command_checks_its_commit_out() {
    let (world, mint) = with_mint(of_forge(FILE, &[("ref", "x$(id)")])).await;
    assert_eq!(mint.minted(), 0, "not before a worker is there");
    register(&world, "w").await;
    let claimed = world.claim("w").await.expect("ready");
    assert_eq!((token(&claimed), claimed.job.checkout), (Some("ghs_minted_0"), true));
    let command = &claimed.job.command;
    assert!(command.contains(COMMIT) && command.contains("'refs/heads/x$(id)'"), "{command}");
    assert!(command.contains("https://forge.example/acme/app.git") && !command.contains("ghs_"), "{command}");
    assert!(claimed.job.env.values().all(|value| !value.contains("ghs_")));
}

#[tokio::test]
async fn worker_without_support_for_secrets_gets_the_credential_in_the_command() {
    let (world, _) = with_mint(of_forge(FILE, &[])).await;
    let claimed = world.claim("w").await.expect("ready");
    assert!(claimed.job.command.contains("export CHECKOUT_TOKEN='ghs_minted_0'"));
    assert!(claimed.job.command.contains("exec env -u CHECKOUT_TOKEN"));
    assert!(claimed.job.env.values().all(|value| !value.contains("ghs_")));
}

#[tokio::test]
async fn failed_minting_gives_the_job_back_without_a_try_and_others_are_claimed_meanwhile() {
    let file = "on: push\njobs: {a: {run: make, checkout: true}, b: {run: other}}";
    let (world, mint) = with_mint(of_forge(file, &[])).await;
    mint.failing.store(2, Ordering::SeqCst);
    let other = world.claim("w").await.expect("the job without a checkout");
    assert_eq!(other.job.job_id.as_str(), "b");
    assert!(world.claim("w").await.is_none());
    world.clock.advance(Duration::from_secs(5));
    assert!(world.claim("w").await.is_none(), "the second minting fails");
    world.clock.advance(Duration::from_mins(90));
    let claimed = world.claim("w").await.expect("minted");
    assert_eq!((claimed.job.job_id.as_str(), claimed.job.attempt, mint.minted()), ("a", 0, 1));
    world.fail(&claimed, true).await.expect("accepted");
    let job = world.now().await.jobs.into_iter().find(|job| job.id.as_str() == "a").expect("the job");
    assert_eq!(job.status, Status::Failure, "its only try was this one");
}

/// A forge that never has a credential, and takes some time to say so.
struct Slow {
    clock: Arc<StoppedClock>,
    takes: Duration,
    asked: AtomicU32,
}

impl CheckoutSource for Slow {
    fn origin<'a>(&'a self, _: &'a Wanted) -> BoxFuture<'a, Result<Option<Origin>, ForgeError>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.clock.advance(self.takes);
            Err(ForgeError::NoAnswer("it took too long".to_owned()))
        })
    }
}

/// How often a forge is asked by one claim, if ready jobs check out these repositories.
async fn asked_by_one_claim(takes: Duration, repositories: &[u64]) -> u32 {
    let (engine, clock) = engine();
    let slow = Arc::new(Slow { clock: Arc::clone(&clock), takes, asked: AtomicU32::new(0) });
    let engine = engine.with_checkouts(slow.clone());
    for repository in repositories {
        let submission = Submission { report: Some(report(*repository)), ..of_forge(FILE, &[]) };
        world_of(engine.clone(), Arc::clone(&clock), submission).await;
    }
    let claim = serde_json::from_str(r#"{"worker_id":"w","labels":[],"lease_ttl_secs":30}"#).expect("a claim");
    assert!(engine.claims().claim(claim).await.expect("memory answers").is_none());
    slow.asked.load(Ordering::SeqCst)
}

/// On AWS the functions end after 29 s, and a job that is leased then is lost until its lease expires.
#[tokio::test]
async fn claim_that_waited_long_for_a_forge_tries_no_other_job() {
    assert_eq!(asked_by_one_claim(Duration::from_secs(20), &[7, 8, 9]).await, 1);
    assert_eq!(asked_by_one_claim(Duration::from_secs(1), &[7, 8, 9]).await, 3);
}

#[tokio::test]
async fn forge_without_a_credential_is_asked_once_for_all_jobs_of_a_repository() {
    assert_eq!(asked_by_one_claim(Duration::from_millis(1), &[7, 7, 7]).await, 1);
}

#[tokio::test]
async fn refusal_that_does_not_pass_ends_the_job_with_the_forges_reason() {
    let (engine, clock) = engine();
    let refused = ForgeError::Refused("the installation is suspended".to_owned());
    let mint = Arc::new(Mint {
        error: refused,
        failing: AtomicU32::new(u32::MAX),
        ..Arc::into_inner(Mint::new(&clock)).expect("one")
    });
    let world = world_of(engine.with_checkouts(mint), clock, of_forge(FILE, &[])).await;
    for _ in 0..limits::RETURNS {
        assert!(world.claim("w").await.is_none());
        world.clock.advance(Duration::from_mins(6));
    }
    let job = world.now().await.jobs.remove(0);
    assert_eq!(job.status, Status::Failure);
    assert!(job.error.as_deref().is_some_and(|error| error.contains("installation is suspended")), "{:?}", job.error);
}

#[tokio::test]
async fn credential_is_used_again_until_it_has_ten_minutes_left() {
    let jobs: Vec<String> = (0..4).map(|n| format!("j{n}: {{run: x, checkout: true}}")).collect();
    let (world, mint) = with_mint(of_forge(&format!("on: push\njobs: {{{}}}", jobs.join(", ")), &[])).await;
    world.claim("w").await.expect("ready");
    world.claim("w").await.expect("ready");
    assert_eq!(mint.minted(), 1);
    world.clock.advance(Duration::from_mins(50));
    world.claim("w").await.expect("ready");
    assert_eq!(mint.minted(), 2);
}

#[tokio::test]
async fn fork_of_a_public_repository_and_a_job_that_wants_none_get_no_credential() {
    let fork = of_forge(FILE, &[("fork", "true"), ("pull_request", "12")]);
    let (world, _) = with_mint(Submission { report: Some(pull_request()), ..fork }).await;
    let claimed = world.claim("w").await.expect("ready");
    assert_eq!(token(&claimed), None);
    assert!(!claimed.job.command.contains("ghs_") && claimed.job.command.contains("'refs/pull/12/head'"));
    let none = "on: push\njobs: {a: {run: make, checkout: {credentials: none}}}";
    let (world, _) = with_mint(of_forge(none, &[])).await;
    let claimed = world.claim("w").await.expect("ready");
    assert_eq!((token(&claimed), claimed.job.command.contains("ghs_")), (None, false));
}

/// Whatever a person says that the run is of.
#[tokio::test]
async fn inputs_that_a_person_gives_never_get_a_credential() {
    let (engine, clock) = engine();
    let mint = Mint::new(&clock);
    let url = "https://forge.example/acme/app.git";
    let inputs = [("forge", "acme"), ("repository", url), ("commit", COMMIT), ("ref", "main")];
    let submission = Submission { report: None, ..of_forge(FILE, &inputs) };
    let world = world_of(engine.with_checkouts(mint.clone()), clock, submission).await;
    let claimed = world.claim("w").await.expect("ready");
    assert!(claimed.job.command.contains(url) && claimed.job.command.contains(COMMIT));
    assert_eq!((token(&claimed), mint.minted()), (None, 0));
}

#[tokio::test]
async fn run_of_a_fork_that_is_started_again_with_other_inputs_is_still_one_of_a_fork() {
    let fork = of_forge(FILE, &[("fork", "true"), ("pull_request", "12")]);
    let (world, _) = with_mint(Submission { report: Some(pull_request()), ..fork }).await;
    let none = BTreeSet::new;
    let event = BTreeSet::from([engine::forge::link::Origin::Fork]);
    let rights =
        Rule { event, refs: None, labels: none(), secrets: BTreeSet::new(), add_labels: none(), approve: true };
    world.engine.ports().put_link(Link { rights: vec![rights], ..link(None) }).await.expect("memory answers");
    let claimed = world.claim("w").await.expect("ready");
    world.fail(&claimed, false).await.expect("accepted");
    world.tell(&world.events()).await;
    let inputs: GivenInputs = [("fork".to_owned(), "false".into())].into();
    world.engine.runs().start(&world.id, None, Some(inputs)).await.expect("it has ended");
    world.tell(&world.events()).await;
    let claimed = world.claim("w").await.expect("ready");
    assert_eq!(token(&claimed), None);
}

#[tokio::test]
async fn run_that_names_no_repository_fails_and_says_what_is_missing() {
    let world = World::ready(FILE).await;
    assert!(world.claim("w").await.is_none());
    let job = world.now().await.jobs.remove(0);
    let error = job.error.unwrap_or_default();
    assert!(
        job.status == Status::Failure && error.contains("`repository`") && error.contains("wfg forge start"),
        "{error}"
    );
}

#[tokio::test]
async fn removed_link_fails_the_job_and_is_named() {
    let (world, _) = with_mint(Submission { report: Some(report(8)), ..of_forge(FILE, &[]) }).await;
    assert!(world.claim("w").await.is_none());
    let error = world.now().await.jobs.remove(0).error.unwrap_or_default();
    assert!(error.contains("the link `acme`"), "{error}");
}

#[tokio::test]
async fn engine_without_checkouts_gives_the_script_alone() {
    let (engine, clock) = engine();
    let world = world_of(engine.without_checkouts(), clock, submission(FILE, true)).await;
    let claimed = world.claim("w").await.expect("ready");
    assert!(!claimed.job.checkout && !claimed.job.command.contains("git"), "{}", claimed.job.command);
}

#[tokio::test]
async fn credential_is_masked_in_logs_and_errors() {
    let (world, _) = with_mint(of_forge(FILE, &[])).await;
    let claimed = world.claim("w").await.expect("ready");
    let piece =
        LogPiece { sequence: 0, data: "it is ghs_minted_0.\n".into(), timestamp_ms: Millis(1), stream: Stream::Stderr };
    world.engine.reports().append_logs(&claimed.lease.lease_id.0, vec![piece]).await.expect("held");
    let page = world.engine.queries().logs(&world.id, &claimed.job.job_id, None, None).await.expect("there");
    assert_eq!(page.chunks[0].data, "it is ***.\n");
    let fail = protocol::requests::Fail {
        error: "exit: ghs_minted_0".into(),
        retryable: false,
        exit_code: Some(1),
        cause: None,
    };
    world.engine.reports().fail(&claimed.lease.lease_id.0, fail).await.expect("held");
    assert_eq!(world.now().await.jobs.remove(0).error.as_deref(), Some("exit: ***"));
}

/// As with a link's token, and with an App whose tokens come from one process.
#[tokio::test]
async fn credential_that_another_process_gave_is_masked_too() {
    let (world, _) = with_mint(of_forge(FILE, &[])).await;
    let claimed = world.claim("w").await.expect("ready");
    let same = Mint::new(&world.clock);
    let other = world.engine.clone().with_tuning(engine::Tuning::default()).with_checkouts(same.clone());
    let piece =
        LogPiece { sequence: 0, data: "it is ghs_minted_0.\n".into(), timestamp_ms: Millis(1), stream: Stream::Stdout };
    other.reports().append_logs(&claimed.lease.lease_id.0, vec![piece]).await.expect("held");
    let page = world.engine.queries().logs(&world.id, &claimed.job.job_id, None, None).await.expect("there");
    assert_eq!((page.chunks[0].data.as_str(), same.minted()), ("it is ***.\n", 1));
}

#[tokio::test]
async fn forge_that_does_not_answer_is_not_asked_for_each_piece_of_a_log() {
    let (world, _) = with_mint(of_forge(FILE, &[])).await;
    let claimed = world.claim("w").await.expect("ready");
    let down = Mint::new(&world.clock);
    down.failing.store(9, Ordering::SeqCst);
    let other = world.engine.clone().with_tuning(engine::Tuning::default()).with_checkouts(down.clone());
    for sequence in 0..3 {
        let piece = LogPiece { sequence, data: "x\n".into(), timestamp_ms: Millis(1), stream: Stream::Stdout };
        other.reports().append_logs(&claimed.lease.lease_id.0, vec![piece]).await.expect("held");
    }
    assert_eq!(down.failing.load(Ordering::SeqCst), 8, "it was asked once");
}

/// A forge that says whether the repository is private, and has a credential. A checkout asks for nothing else.
struct OneRepository {
    private: bool,
}

impl Forge for OneRepository {
    fn repository<'a>(&'a self, _: &'a Link) -> Asked<'a, Repository> {
        let (name, default_branch) = ("acme/app".to_owned(), "main".to_owned());
        Box::pin(async { Ok(Repository { number: 7, name, default_branch, private: self.private }) })
    }
    fn credential<'a>(&'a self, _: &'a Link) -> Asked<'a, Credential> {
        let token = SecretValue::new("ghs_of_link").expect("a value");
        Box::pin(async { Ok(Credential { user: "x-access-token".to_owned(), token, expires_at: None }) })
    }
    fn ref_head<'a>(&'a self, _: &'a Link, _: &'a GitRef) -> Asked<'a, Option<CommitId>> {
        unreachable!()
    }
    fn pull_request<'a>(&'a self, _: &'a Link, _: u64) -> Asked<'a, Option<PullRequest>> {
        unreachable!()
    }
    fn files<'a>(&'a self, _: &'a Link, _: &'a CommitId) -> Asked<'a, Vec<RepositoryFile>> {
        unreachable!()
    }
    fn file<'a>(&'a self, _: &'a Link, _: &'a CommitId, _: &'a RepositoryFile) -> Asked<'a, String> {
        unreachable!()
    }
    fn changed<'a>(&'a self, _: &'a Link, _: &'a CommitId, _: &'a CommitId) -> Asked<'a, Changed> {
        unreachable!()
    }
    fn changed_by<'a>(&'a self, _: &'a Link, _: u64) -> Asked<'a, Changed> {
        unreachable!()
    }
    fn send_state<'a>(&'a self, _: &'a Link, _: &'a StateUpdate) -> Asked<'a, StateAnswer> {
        unreachable!()
    }
    fn shown<'a>(&'a self, _: &'a Link, _: &'a CommitId) -> Asked<'a, Vec<Shown>> {
        unreachable!()
    }
    fn may_write<'a>(&'a self, _: &'a Link, _: &'a str) -> Asked<'a, bool> {
        unreachable!()
    }
    fn failed_deliveries<'a>(&'a self, _: &'a Link, _: Millis) -> Asked<'a, Vec<FailedDelivery>> {
        unreachable!()
    }
    fn redeliver<'a>(&'a self, _: &'a Link, _: &'a str) -> Asked<'a, ()> {
        unreachable!()
    }
}

/// The credential of a claimed job of this link and run.
fn link(url: Option<&str>) -> Link {
    Link {
        key: report(7).repository,
        repository: "acme/app".to_owned(),
        forge: ForgeKind::Github,
        url: url.map(str::to_owned),
        access: Access::Token(SecretName::new("FORGE_TOKEN_ACME").expect("a name")),
        webhook_secrets: BTreeSet::new(),
        rights: Vec::new(),
        file: String::new(),
        linked_at: Millis(1),
        linked_by: None,
    }
}

async fn with_link(private: bool, url: Option<&str>, submission: Submission) -> (Option<String>, String) {
    let (engine, clock) = engine();
    let engine = engine.with_forges(Arc::new(OneRepository { private })).with_checkouts_of_links();
    engine.ports().put_link(link(url)).await.expect("memory answers");
    let world = world_of(engine, clock, submission).await;
    let claimed = world.claim("w").await.expect("ready");
    (token(&claimed).map(str::to_owned), claimed.job.command)
}

#[tokio::test]
async fn link_gives_address_and_credential_and_a_fork_has_it_only_if_the_repository_is_private() {
    let (token, command) = with_link(false, None, of_forge(FILE, &[])).await;
    assert_eq!(token.as_deref(), Some("ghs_of_link"));
    assert!(command.contains("'https://github.com/acme/app.git'"), "{command}");
    let (_, command) = with_link(false, Some("http://127.0.0.1:3000"), of_forge(FILE, &[])).await;
    assert!(command.contains("'http://127.0.0.1:3000/acme/app.git'"), "{command}");
    for (private, expected) in [(false, None), (true, Some("ghs_of_link"))] {
        let fork = of_forge(FILE, &[("fork", "true"), ("pull_request", "12")]);
        let (token, _) = with_link(private, None, Submission { report: Some(pull_request()), ..fork }).await;
        assert_eq!(token.as_deref(), expected, "private: {private}");
    }
}
