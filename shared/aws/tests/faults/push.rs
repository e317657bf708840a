//! A push, from its delivery to the states on the commit, with one fault or none. Only the calls of functions `hook` and `forge` meet the fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws::Aws;
use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use engine::clock::Clock;
use engine::forge::event::{Incoming, Push, Signal};
use engine::forge::names::{CommitId, GitRef, RepositoryKey};
use engine::forge::records::DeliveryState;
use engine::forge::state::TargetState;
use engine::forge::store::ForgeStore;
use engine::forges::{ForgeChange, Received};
use engine::ports::{RunStore, StoreError};
use engine::{Engine, EngineError};
use protocol::requests::Claim;
use protocol::{LabelSet, LinkName, Millis, WorkerId};

use crate::course::{Report, expect};
use crate::fake::Fake;
use crate::feed::Feed;
use crate::layer::{Fault, Layer};
use crate::own::Own;
use crate::worker::repeated;
use crate::{Found, Tally};

const LINK: &str = "forge: github
repository: acme/app
token: FORGE_TOKEN_ACME
webhook_secret: FORGE_WEBHOOK_ACME
rights: [{labels: [linux]}]
";
const FILE: &str = "on: push\njobs: {test: {labels: linux, run: make test}}\n";
const PASSED: [&str; 2] = ["ci (push): success", "ci / test (push): success"];
/// More rounds than any push takes.
const ROUNDS: usize = 60;
/// Longer than the lease of a reporter, and than a delivery is put off.
const LATER: Duration = Duration::from_secs(61);

/// A clock that the course moves on.
struct Moved(AtomicU64);

impl Clock for Moved {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }
}

struct Course {
    disturbed: Engine<Aws>,
    /// Its engine is undisturbed.
    feed: Feed,
    forge: Arc<Fake>,
    clock: Arc<Moved>,
    tally: Tally,
    /// What the table's stream has to tell function `forge`.
    changes: Vec<ForgeChange>,
}

/// Runs a course on tables of its own.
pub async fn run(settings: &SdkConfig, http: &SharedHttpClient, fault: Option<Fault>) -> Report {
    let own = Own::new(settings, "push").await;
    let layer = Layer::new(http.clone(), fault);
    let mut course = Course::new(settings, &settings.to_builder().http_client(layer.clone()).build(), &own);
    let finding = Box::pin(course.all()).await.err();
    own.remove().await;
    Report { seen: layer.seen(), tally: course.tally, finding }
}

fn link() -> LinkName {
    LinkName::new("acme").expect("a name")
}

fn commit() -> CommitId {
    CommitId::new("b".repeat(40)).expect("40 digits")
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Course {
    fn new(settings: &SdkConfig, disturbed: &SdkConfig, own: &Own) -> Self {
        let (clock, forge) = (Arc::new(Moved(Millis::now().0.into())), Arc::new(Fake::default()));
        let engine = |settings| {
            let engine = Aws::engine_with(own.config(1), settings).with_clock(clock.clone());
            engine.with_forges(forge.clone()).with_public_url("https://ci.example.com".into())
        };
        let queue = own.config(1).batches_queue;
        let feed = Feed::new(engine(settings), engine(settings), aws_sdk_sqs::Client::new(settings), queue);
        let disturbed = engine(disturbed);
        Self { disturbed, feed, forge, clock, tally: Tally::default(), changes: Vec::new() }
    }

    async fn all(&mut self) -> Found<()> {
        let main = GitRef::of_branch("main").expect("a branch");
        self.feed.plain.forges().add(&link(), LINK).await.map_err(said)?;
        self.forge.state().refs.insert(main.clone(), commit());
        self.forge.state().files.insert(commit(), vec![(".wfg/ci.yml".to_owned(), FILE.to_owned())]);
        self.receive(main).await?;
        for _ in 0..ROUNDS {
            if self.is_over().await? {
                return self.check().await;
            }
            let moved = Box::pin(self.tell_forge()).await? | Box::pin(self.run_workflow()).await?;
            if !moved {
                self.clock.0.fetch_add(u64::try_from(LATER.as_millis()).expect("a minute"), Ordering::Relaxed);
                self.tally.swept();
                let swept = self.disturbed.forges().run_due().await;
                self.unless_down(swept)?;
            }
        }
        Err(format!("not told after {ROUNDS} rounds: {:?}", self.forge.shown()))
    }

    /// The forge delivers the push. What isn't answered, it delivers again when somebody asks it to.
    async fn receive(&mut self, name: GitRef) -> Found<()> {
        let push = Push { name, before: None, after: Some(commit()), actor: "ada".to_owned(), first_line: None };
        let signal = Signal::Push(push);
        let incoming = Incoming { id: "one".to_owned(), repository: 7, name: "acme/app".to_owned(), signal };
        let link = link();
        let receive = || self.disturbed.forges().receive(&link, incoming.clone());
        let received = repeated(&self.tally, receive).await.map_err(said)?;
        let Received::Stored(_) = received else { return Err(format!("{received:?}")) };
        // The stream tells of each that was stored, also of one whose answer was lost.
        let stored = self.feed.plain.forges().deliveries(&link, None, 10).await.map_err(said)?;
        self.changes.extend(stored.into_iter().map(|delivery| ForgeChange::Delivered(delivery.key)));
        Ok(())
    }

    /// Tells function `forge` what has changed; whether there was anything. What it can't note is told again.
    async fn tell_forge(&mut self) -> Found<bool> {
        let changes = std::mem::take(&mut self.changes);
        let followed = self.disturbed.forges().on_changes(&changes).await;
        for (position, error) in followed.failed {
            self.unless_down::<()>(Err(error))?;
            self.changes.push(changes[position].clone());
        }
        Ok(!changes.is_empty())
    }

    /// Schedules the run, and works its job off; whether there was anything to do. Each step changes what the report shows.
    async fn run_workflow(&mut self) -> Found<bool> {
        let plain = &self.feed.plain;
        let workflows = plain.ports().workflows(None, 10).await.map_err(said)?;
        let keys: Vec<_> = workflows.into_iter().map(|workflow| workflow.run).collect();
        let runs = self.feed.runs(&keys).await?;
        let told = self.feed.tell(&runs, &self.tally).await? | self.feed.pump(&self.tally).await?;
        let claim = Claim {
            worker_id: WorkerId::new("w").expect("an id"),
            labels: LabelSet::from_comma_separated("linux").expect("a label"),
            lease_ttl_secs: 60,
            wait_secs: 0,
            exclusive: false,
            ticket: None,
        };
        let claimed = plain.claims().claim(claim).await.map_err(said)?;
        if let Some(claimed) = &claimed {
            let lease = &claimed.lease.lease_id.0;
            Box::pin(plain.reports().complete(lease, BTreeMap::new(), None)).await.map_err(said)?;
        }
        let moved = told || claimed.is_some();
        if moved {
            let key = RepositoryKey { link: link(), repository: 7 };
            let reports = plain.ports().reports_of(&key, &commit()).await.map_err(said)?;
            self.changes.extend(reports.into_iter().map(|report| ForgeChange::Report(report.key)));
        }
        Ok(moved)
    }

    async fn is_over(&self) -> Found<bool> {
        let deliveries = self.feed.plain.forges().deliveries(&link(), None, 10).await.map_err(said)?;
        let handled = deliveries.iter().all(|delivery| delivery.state != DeliveryState::New);
        Ok(handled && self.changes.is_empty() && self.forge.shown() == PASSED)
    }

    async fn check(&self) -> Found<()> {
        let workflows = self.feed.plain.ports().workflows(None, 10).await.map_err(said)?;
        expect(workflows.len() == 1, || format!("{} workflows of one push", workflows.len()))?;
        for name in ["ci (push)", "ci / test (push)"] {
            let told = self.forge.state().told.clone();
            let states: Vec<TargetState> =
                told.iter().filter(|update| update.name == name).map(|update| update.state).collect();
            expect(states.is_sorted_by_key(|state| age(*state)), || format!("{name} was told as {states:?}"))?;
        }
        Ok(())
    }

    /// What failed because of the fault is repeated later. Any other error is a finding.
    fn unless_down<T>(&self, result: engine::Result<T>) -> Found<()> {
        match result {
            Ok(_) => Ok(()),
            Err(EngineError::Store(StoreError::Unavailable(_))) => {
                self.tally.repeated();
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The order in which states may follow one another.
fn age(state: TargetState) -> u8 {
    match state {
        TargetState::Queued => 0,
        TargetState::Running => 1,
        _ => 2,
    }
}
