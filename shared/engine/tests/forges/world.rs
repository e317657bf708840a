//! A linked repository.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use engine::forge::event::{Incoming, PullAction, Push, Signal};
use engine::forge::names::{CommitId, GitRef, RepositoryKey, Subject};
use engine::forge::ports::PullRequest;
use engine::forge::records::{Delivery, DeliveryKey, RefRecord};
use engine::forge::store::ForgeStore;
use engine::forges::Received;
use memory::Memory;
use protocol::requests::{Claim, Fail};
use protocol::wire::Workflow;
use protocol::{LabelSet, LinkName, WorkerId};

use crate::common::{StoppedClock, engine};
use crate::fake::Fake;

pub const CI: &str = "on:
  push: {branches: [main, 'x*'], tags: ['v*']}
  pull_request: {branches: [main]}
concurrency: {group: ci, per: change, when_newer: cancel}
jobs:
  test: {labels: linux, run: make test}
";

pub const LINK: &str = "forge: github
repository: acme/app
token: FORGE_TOKEN_ACME
webhook_secret: FORGE_WEBHOOK_ACME
rights:
  - {event: [push, tag], ref: [main, 'v*'], labels: [linux, production], secrets: [NPM_TOKEN]}
  - {event: fork, labels: [linux], add_labels: [untrusted]}
  - {labels: [linux]}
";

pub struct World {
    pub engine: Engine<Memory>,
    pub clock: Arc<StoppedClock>,
    pub forge: Arc<Fake>,
    sent: std::cell::Cell<u32>,
}

/// The commit of this letter.
pub fn commit(letter: char) -> CommitId {
    let digit = u32::from(letter) % 16;
    CommitId::new(format!("{:02x}{digit:x}{}", u32::from(letter), "0".repeat(37))).expect("40 digits")
}

pub fn link() -> LinkName {
    LinkName::new("acme").expect("a name")
}

/// What a delivery says of a push.
pub fn pushed(name: &GitRef, before: Option<char>, after: char) -> Signal {
    Signal::Push(Push {
        name: name.clone(),
        before: before.map(commit),
        after: Some(commit(after)),
        actor: "alice".to_owned(),
        first_line: Some("change something".to_owned()),
    })
}

pub fn main() -> GitRef {
    GitRef::of_branch("main").expect("a branch")
}

impl World {
    /// A link to a repository in which `main` is at commit A, which has the file `ci.yml`.
    pub async fn linked() -> Self {
        Self::with(LINK).await
    }

    pub async fn with(file: &str) -> Self {
        let (engine, clock) = engine();
        let forge = Arc::new(Fake::default());
        let engine = engine.with_forges(forge.clone()).with_public_url("https://ci.example.com".into());
        engine.forges().add(&link(), file).await.expect("linked");
        let world = Self { engine, clock, forge, sent: 0.into() };
        for letter in 'A'..='H' {
            world.file(letter, "ci", CI);
        }
        world.forge.state().refs.insert(main(), commit('A'));
        world
    }

    /// Adds a file to a commit, or replaces it.
    pub fn file(&self, letter: char, name: &str, text: &str) {
        let path = format!(".wfg/{name}.yml");
        let mut state = self.forge.state();
        let files = state.files.entry(commit(letter)).or_default();
        files.retain(|(other, _)| *other != path);
        files.push((path, text.to_owned()));
    }

    /// Moves a ref at the forge.
    pub fn at(&self, name: &GitRef, letter: char) {
        self.forge.state().refs.insert(name.clone(), commit(letter));
    }

    /// Delivers a push under this id, or a fresh one.
    pub async fn push(&self, name: &GitRef, before: Option<char>, after: char, id: Option<&str>) -> Delivery {
        self.deliver(pushed(name, before, after), id).await
    }

    pub async fn pull(&self, number: u64, letter: char) -> Delivery {
        let signal = Signal::PullRequest {
            number,
            action: PullAction::Updated,
            head: Some(commit(letter)),
            actor: "bob".to_owned(),
        };
        self.deliver(signal, None).await
    }

    /// Sets a pull request at the forge.
    pub fn pull_at(&self, number: u64, letter: char, fork: bool) {
        let pull = PullRequest {
            number,
            open: true,
            head: commit(letter),
            head_ref: GitRef::of_branch("x$(id)").ok(),
            base_ref: main(),
            base: commit('A'),
            fork,
            author: "bob".to_owned(),
        };
        self.forge.state().pulls.insert(number, pull);
    }

    /// Delivers something, and handles it until it has a result.
    pub async fn deliver(&self, signal: Signal, id: Option<&str>) -> Delivery {
        let key = self.receive(signal, id).await;
        self.until_handled(&key).await
    }

    /// Stores a delivery.
    pub async fn receive(&self, signal: Signal, id: Option<&str>) -> DeliveryKey {
        self.clock.advance(Duration::from_millis(1));
        self.sent.set(self.sent.get() + 1);
        let id = id.map_or_else(|| format!("delivery {}", self.sent.get()), str::to_owned);
        let incoming = Incoming { id, repository: 7, name: "acme/app".to_owned(), signal };
        let Received::Stored(key) = self.engine.forges().receive(&link(), incoming).await.expect("stored") else {
            panic!("ignored")
        };
        key
    }

    pub async fn until_handled(&self, key: &DeliveryKey) -> Delivery {
        for _ in 0..10 {
            self.drain().await;
            let delivery = self.engine.ports().delivery(key).await.expect("read").expect("stored");
            let Some(due) = delivery.due else { return delivery };
            self.clock.advance(Duration::from_millis(due.0.saturating_sub(self.engine.now().0)));
        }
        panic!("no result")
    }

    /// Handles everything that is due now, in the engine and about forges.
    pub async fn drain(&self) {
        self.engine.scheduling().drain().await.expect("memory answers");
        self.engine.forges().run_due().await.expect("memory answers");
        self.engine.scheduling().drain().await.expect("memory answers");
    }

    /// As [`Self::drain`], after the time for which states are gathered.
    pub async fn told(&self) {
        self.drain().await;
        self.clock.advance(Duration::from_secs(3));
        self.drain().await;
    }

    /// All workflows, oldest first.
    pub async fn workflows(&self) -> Vec<Workflow> {
        let ids: Vec<_> = self.engine.ports().deliveries(&link(), None, 100).await.expect("read");
        let mut workflows = Vec::new();
        for id in ids.iter().rev().flat_map(|delivery| &delivery.workflows) {
            workflows.push(self.engine.queries().workflow(id).await.expect("there"));
        }
        workflows
    }

    /// The commits that runs were started for, oldest first, as letters.
    pub async fn runs(&self) -> String {
        let commits: Vec<String> =
            self.workflows().await.iter().map(|workflow| workflow.inputs["commit"].clone()).collect();
        let letter = |id: &String| ('A'..='H').find(|letter| commit(*letter).as_str() == id).expect("a known commit");
        commits.iter().map(letter).collect()
    }

    pub async fn ref_record(&self, subject: Subject) -> RefRecord {
        let key = RepositoryKey { link: link(), repository: 7 };
        self.engine.ports().ref_record(&key, &subject).await.expect("read").expect("there")
    }

    /// Takes the next job that a worker with these labels may have.
    pub async fn claim(&self, labels: &str) -> Option<protocol::wire::Claimed> {
        let labels = LabelSet::from_comma_separated(labels).expect("labels");
        let claim = Claim {
            worker_id: WorkerId::new("w").expect("an id"),
            labels,
            lease_ttl_secs: 60,
            wait_secs: 0,
            exclusive: false,
            ticket: None,
        };
        self.engine.claims().claim(claim).await.expect("memory answers")
    }

    /// Lets a worker take a job and end it.
    pub async fn run_job(&self, labels: &str, passes: bool) {
        let job = self.claim(labels).await.expect("a job");
        self.end(&job, passes).await;
    }

    /// Lets a worker take a job and end it: as failed if it is this one.
    pub async fn run_job_unless(&self, labels: &str, fails: &str) {
        let job = self.claim(labels).await.expect("a job");
        self.end(&job, job.job.job_id.as_str() != fails).await;
    }

    async fn end(&self, job: &protocol::wire::Claimed, passes: bool) {
        let lease = &job.lease.lease_id.0;
        if passes {
            self.engine.reports().complete(lease, BTreeMap::new(), None).await.expect("completed");
        } else {
            let fail = Fail { error: "no".to_owned(), retryable: false, exit_code: Some(1), cause: None };
            self.engine.reports().fail(lease, fail).await.expect("failed");
        }
    }
}
