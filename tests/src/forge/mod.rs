//! A forge for tests: bare repositories behind `git http-backend`, signed deliveries after each push, and the APIs of GitHub, GitLab,
//! and Gitea over the same repositories. It answers what git says.
//!
//! It is not any of these forges: what the real ones do beyond their documentation isn't shown by it. Requests to GitHub's API are
//! checked against GitHub's published description, and the bodies of Gitea's against the models of a published client.

mod answer;
mod contract;
mod deliver;
mod faults;
mod git;
mod gitea;
mod gitea_contract;
mod github;
mod gitlab;
mod serve;
mod states;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use protocol::Millis;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use deliver::Delivered;
pub use faults::Fault;
use git::Bare;
pub use states::Posted;
pub use work::WorkingCopy;

/// Whose deliveries a webhook sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GitHub.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea and Forgejo.
    Gitea,
}

/// The token that the APIs accept.
pub const TOKEN: &str = "forge-token-1";
/// The private key of each forge's App. It was made for these tests.
pub const APP_KEY: &str = include_str!("../../forge/app-key.pem");

/// A running forge. Clones are the same forge. It ends when the last one is dropped.
#[derive(Clone)]
pub struct TestForge {
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    dir: TempDir,
    app: App,
    state: Mutex<State>,
    numbers: AtomicU64,
    /// How far its clock is ahead of the machine's, in milliseconds.
    ahead: AtomicU64,
    git: GitFaults,
    http: reqwest::Client,
    task: Mutex<Option<JoinHandle<()>>>,
    /// One push at a time, so that each delivery says what its own push changed.
    pushing: tokio::sync::Mutex<()>,
}

/// A GitHub App and its installation. Each forge has another one, so that tests can share a server.
#[derive(Clone, Copy, Debug)]
pub struct App {
    /// Its number.
    pub id: u64,
    /// Its installation's number.
    pub installation: u64,
}

/// What a test wants of the server of git.
#[derive(Default)]
struct GitFaults {
    /// It speaks the first protocol, in which it gives no commit by its id unless a ref shows it.
    only_refs: AtomicBool,
    /// The number of requests that it answers with 503.
    failing: AtomicU32,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().expect("not poisoned").take() {
            task.abort();
        }
    }
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    faults: Vec<faults::Planned>,
    requests: Vec<Request>,
    /// Requests and bodies that the published descriptions of GitHub and Gitea don't allow.
    problems: Vec<String>,
    deliveries: Vec<Delivered>,
    /// Installation tokens that were minted, and when each ends.
    minted: Vec<(String, Millis)>,
    /// The paths of the requests that git answered.
    git_answered: Vec<String>,
    /// Minted tokens that are refused from now on.
    revoked: BTreeSet<String>,
}

struct Repository {
    number: u64,
    private: bool,
    bare: Bare,
    hooks: Vec<Hook>,
    pulls: BTreeMap<u64, Pull>,
    posted: Vec<Posted>,
    writers: BTreeSet<String>,
    /// What the API says of a ref, for a number of answers, whatever git says.
    lags: BTreeMap<String, (Option<String>, usize)>,
    /// Deliveries are made and not sent.
    silent: bool,
}

#[derive(Clone, Debug)]
struct Hook {
    kind: Kind,
    url: String,
    secret: String,
}

#[derive(Clone)]
struct Pull {
    number: u64,
    /// The name of the head's repository. `None`: it is gone.
    from: Option<String>,
    branch: String,
    base: String,
    head: String,
    open: bool,
}

/// A request to an API.
#[derive(Clone, Debug)]
pub struct Request {
    /// When, by the forge's clock.
    pub at: Millis,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The status of the answer. 0: none was sent.
    pub status: u16,
}

impl TestForge {
    /// Starts a forge without repositories.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn starts() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let inner = Arc::new(Inner {
            url,
            dir: tempfile::tempdir().expect("a folder"),
            app: App { id: number_of_an_app(), installation: 815 },
            state: Mutex::default(),
            numbers: AtomicU64::new(1000),
            ahead: AtomicU64::new(0),
            git: GitFaults::default(),
            http: reqwest::Client::new(),
            task: Mutex::default(),
            pushing: tokio::sync::Mutex::default(),
        });
        let task = tokio::spawn(serve::listen(listener, Arc::downgrade(&inner)));
        *inner.task.lock().expect("not poisoned") = Some(task);
        Self { inner }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// Its App, whose key is [`APP_KEY`].
    #[must_use]
    pub fn app(&self) -> App {
        self.inner.app
    }

    /// Moves its clock forward: minted tokens end.
    pub fn advance(&self, time: Duration) {
        self.inner.ahead.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The time by its clock.
    #[must_use]
    pub fn now(&self) -> Millis {
        Millis::now() + Duration::from_millis(self.inner.ahead.load(Ordering::Relaxed))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().expect("not poisoned")
    }

    fn number(&self) -> u64 {
        self.inner.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Creates an empty repository, such as `acme/app`. Returns its number.
    pub async fn repository(&self, name: &str, private: bool) -> u64 {
        let bare = Bare::create(&self.inner.dir.path().join(format!("{name}.git"))).await;
        let number = self.number();
        let repository = Repository {
            number,
            private,
            bare,
            hooks: Vec::new(),
            pulls: BTreeMap::new(),
            posted: Vec::new(),
            writers: BTreeSet::new(),
            lags: BTreeMap::new(),
            silent: false,
        };
        self.state().repositories.insert(name.to_owned(), repository);
        number
    }

    /// Adds a webhook.
    pub fn hook(&self, name: &str, kind: Kind, url: &str, secret: &str) {
        let hook = Hook { kind, url: url.to_owned(), secret: secret.to_owned() };
        self.with(name, |repository| repository.hooks.push(hook));
    }

    /// Deliveries of this repository are made and not sent.
    pub fn silence(&self, name: &str, silent: bool) {
        self.with(name, |repository| repository.silent = silent);
    }

    /// Lets this person write.
    pub fn writer(&self, name: &str, user: &str) {
        self.with(name, |repository| repository.writers.insert(user.to_owned()));
    }

    /// The API says for the next `answers` that a ref is there, whatever git says.
    pub fn lags(&self, name: &str, full_ref: &str, commit: Option<&str>, answers: usize) {
        let answer = (commit.map(str::to_owned), answers);
        self.with(name, |repository| repository.lags.insert(full_ref.to_owned(), answer));
    }

    fn with<T>(&self, name: &str, change: impl FnOnce(&mut Repository) -> T) -> T {
        change(self.state().repositories.get_mut(name).unwrap_or_else(|| panic!("no repository {name}")))
    }

    fn bare(&self, name: &str) -> Bare {
        self.with(name, |repository| repository.bare.clone())
    }

    /// The address for git, with the user and token that may push.
    #[must_use]
    pub fn git_url(&self, name: &str) -> String {
        format!("{}/{name}.git", self.inner.url.replacen("://", &format!("://ada:{TOKEN}@"), 1))
    }

    /// An empty working copy of a repository.
    pub async fn working_copy(&self, name: &str) -> WorkingCopy {
        WorkingCopy::of(&self.git_url(name)).await
    }

    /// Opens a pull request. `from` is a repository and a branch. Returns its number. A delivery says so.
    ///
    /// # Panics
    /// If there is no such branch.
    pub async fn opens_pull_request(&self, name: &str, from: (&str, &str), base: &str) -> u64 {
        let (repository, branch) = from;
        let number = self.with(name, |repository| repository.pulls.len() as u64 + 1);
        let head = self.bare(repository).commit(&format!("refs/heads/{branch}")).await.expect("a branch");
        let pull = Pull {
            number,
            from: Some(repository.to_owned()),
            branch: branch.to_owned(),
            base: base.to_owned(),
            head: head.clone(),
            open: true,
        };
        self.fetch_head(name, &pull).await;
        self.with(name, |repository| repository.pulls.insert(number, pull.clone()));
        self.deliver_pull(name, &pull, "opened", None);
        number
    }

    /// Closes a pull request.
    ///
    /// # Panics
    /// If there is none with this number.
    pub fn closes_pull_request(&self, name: &str, number: u64) {
        let pull = self.with(name, |repository| {
            let pull = repository.pulls.get_mut(&number).expect("a pull request");
            pull.open = false;
            pull.clone()
        });
        self.deliver_pull(name, &pull, "closed", None);
    }

    /// The head's repository of a pull request is deleted.
    ///
    /// # Panics
    /// If there is none with this number.
    pub fn loses_head_repository(&self, name: &str, number: u64) {
        self.with(name, |repository| repository.pulls.get_mut(&number).expect("a pull request").from = None);
    }

    /// Deletes every commit that no ref leads to, as a forge does some time after a force push.
    pub async fn prunes(&self, name: &str) {
        let bare = self.bare(name);
        bare.must(&["reflog", "expire", "--expire=now", "--all"]).await;
        bare.must(&["gc", "--quiet", "--prune=now"]).await;
    }

    /// Speaks the first protocol of git, in which a commit is given by its id only if a ref shows it.
    pub fn gives_only_refs(&self) {
        self.inner.git.only_refs.store(true, Ordering::SeqCst);
    }

    /// Answers the next requests of git with 503.
    pub fn fails_git(&self, requests: u32) {
        self.inner.git.failing.store(requests, Ordering::SeqCst);
    }

    /// The path of each request that git answered.
    #[must_use]
    pub fn git_answered(&self) -> Vec<String> {
        self.state().git_answered.clone()
    }

    /// The base has a pull request's commits too.
    async fn fetch_head(&self, name: &str, pull: &Pull) {
        let Some(from) = &pull.from else { return };
        let from = self.bare(from).0.to_string_lossy().into_owned();
        let refs = format!("+refs/heads/{}:refs/pull/{}/head", pull.branch, pull.number);
        self.bare(name).must(&["fetch", "--quiet", "--no-tags", &from, &refs]).await;
    }

    /// The requests to the APIs so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The deliveries so far, with what they were answered.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivered> {
        self.state().deliveries.clone()
    }

    /// Refuses every installation token that was minted so far.
    pub fn revokes_minted_tokens(&self) {
        let mut state = self.state();
        let minted: Vec<String> = state.minted.iter().map(|(token, _)| token.clone()).collect();
        state.revoked.extend(minted);
    }

    /// How many installation tokens were minted.
    #[must_use]
    pub fn minted(&self) -> usize {
        self.state().minted.len()
    }

    /// Fails if a request to GitHub's API, or a body of Gitea's, isn't as its description says.
    ///
    /// # Panics
    /// If so.
    pub fn keeps_the_contract(&self) {
        let problems = self.state().problems.clone();
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

/// Random, and short enough for every forge.
fn number_of_an_app() -> u64 {
    getrandom::u64().expect("randomness") % 1_000_000_000 + 1
}
