//! What becomes of deliveries and reports whose records can't be written or read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use engine::forge::change::Change;
use engine::forge::event::{Incoming, PullAction, Signal};
use engine::forge::link::Link;
use engine::forge::names::{CommitId, EventName, ReportKey, RepositoryKey, Subject};
use engine::forge::records::{
    Delivery, DeliveryKey, DeliveryState, Redelivery, RefRecord, ReportChoice, ReportRecord, ReportSource,
};
use engine::forge::store::{DueKind, ForgeItems, ForgeStore, Item};
use engine::forges::{DueRound, Received};
use engine::ids::random;
use engine::ports::StoreError;
use memory::Memory;
use protocol::{LinkName, Millis};

use crate::common::StoppedClock;
use crate::store::{Fault, Watched, after, unavailable};
use crate::{at_once, engine};

const LINK: &str = "forge: github
repository: acme/app
token: FORGE_TOKEN_ACME
webhook_secret: FORGE_WEBHOOK_ACME
rights: [{labels: [linux]}]
";

/// An engine with a link, but without a forge: what has to ask the forge fails for good.
struct Linked {
    engine: Engine<Watched>,
    clock: Arc<StoppedClock>,
}

fn link() -> LinkName {
    LinkName::new("acme").expect("a name")
}

fn repository() -> RepositoryKey {
    RepositoryKey { link: link(), repository: 7 }
}

fn pull_request(action: PullAction) -> Signal {
    Signal::PullRequest { number: 1, action, head: None, actor: "bob".to_owned() }
}

fn ref_in(memory: &Memory) -> RefRecord {
    let stored = at_once(memory.ref_record(&repository(), &Subject::Pull(1)));
    stored.unwrap_or_else(|| RefRecord::new(repository(), Subject::Pull(1)))
}

/// Writes the pull request's record, as another handler may.
fn write_ref(memory: &Memory) {
    let record = ref_in(memory);
    assert!(at_once(memory.put_ref(RefRecord { version: record.version + 1, ..record })));
}

fn accept(memory: &Memory, key: &DeliveryKey) {
    let delivery = at_once(memory.delivery(key)).expect("it is there");
    at_once(memory.put_delivery(Delivery { state: DeliveryState::Accepted, due: None, ..delivery }));
}

/// A report of a repository that isn't linked any more.
fn report(due: Millis) -> ReportRecord {
    let commit = CommitId::new("a".repeat(40)).expect("40 digits");
    let repository = RepositoryKey { repository: 9, ..repository() };
    let change = Change {
        event: EventName::PullRequest,
        subject: Subject::Pull(1),
        seq: 1,
        name: None,
        commit: commit.clone(),
        before: None,
        base: None,
        base_commit: None,
        pull_request: Some(1),
        fork: false,
        actor: "bob".to_owned(),
    };
    ReportRecord {
        key: ReportKey { repository, commit, file: "ci".to_owned(), event: EventName::PullRequest },
        change,
        source: ReportSource::Workflow { id: None },
        accepted_at: due,
        choice: ReportChoice::Run,
        due: Some(due),
        asked: 0,
        lease: None,
        sent: BTreeMap::new(),
        refused: None,
        tries: 0,
        failing_since: None,
        given_up: None,
        version: 1,
    }
}

impl Linked {
    async fn new() -> Self {
        let (engine, clock) = engine();
        let file = workflow::link_from_yaml(LINK).expect("a good file");
        let link = Link::new(link(), 7, file, LINK.to_owned(), engine.now(), None);
        engine.ports().put_link(link).await.expect("memory answers");
        Self { engine, clock }
    }

    fn store(&self) -> &Watched {
        self.engine.ports()
    }

    async fn receive(&self, signal: Signal) -> DeliveryKey {
        let incoming = Incoming { id: "one".to_owned(), repository: 7, name: "acme/app".to_owned(), signal };
        match self.engine.forges().receive(&link(), incoming).await.expect("memory answers") {
            Received::Stored(key) => key,
            Received::Ignored(why) => panic!("{why}"),
        }
    }

    /// Stores an item that is due now and whose record can't be read.
    async fn put_unreadable(&self, list: &str, sort: &str) {
        let (list, sort, record) = (list.to_owned(), sort.to_owned(), "{".to_owned());
        let item = Item { list, sort, due: Some(self.engine.now()), version: 0, expires: None, record };
        self.store().put_item(item).await.expect("memory answers");
    }

    async fn run_due(&self) -> DueRound {
        self.engine.forges().run_due().await.expect("memory answers")
    }

    async fn state(&self, key: &DeliveryKey) -> DeliveryState {
        self.store().delivery(key).await.expect("memory answers").expect("it is there").state
    }
}

#[tokio::test]
async fn delivery_whose_ref_others_keep_writing_is_handled_later() {
    let linked = Linked::new().await;
    let key = linked.receive(pull_request(PullAction::Closed)).await;
    linked.store().next_calls("item", [Fault::None, Fault::None, after(write_ref)]);
    linked.store().next_calls("put_item", std::iter::repeat_with(|| after(write_ref)).take(8));
    linked.run_due().await;
    assert_eq!(linked.state(&key).await, DeliveryState::New);
    linked.clock.advance(Duration::from_secs(30));
    linked.run_due().await;
    assert_eq!(linked.state(&key).await, DeliveryState::Ignored, "a closed pull request starts nothing");
}

#[tokio::test]
async fn delivery_that_another_accepted_meanwhile_stays_accepted() {
    let linked = Linked::new().await;
    let key = linked.receive(pull_request(PullAction::Opened)).await;
    let other = key.clone();
    let accepted = after(move |memory| accept(memory, &other));
    linked.store().next_calls("item", [Fault::None, accepted]);
    linked.run_due().await;
    assert_eq!(linked.state(&key).await, DeliveryState::Accepted);
}

#[tokio::test]
async fn round_in_which_a_delivery_cannot_be_put_off_has_failed() {
    let linked = Linked::new().await;
    let key = linked.receive(pull_request(PullAction::Opened)).await;
    let full = || Fault::Fails(StoreError::DiskFull("/data/wfg.db".to_owned()));
    linked.store().next_calls("put_item", [full()]);
    assert_eq!(linked.run_due().await, DueRound { did: false, failed: true });
    assert_eq!(linked.state(&key).await, DeliveryState::New);
    assert_eq!(linked.run_due().await, DueRound { did: true, failed: false });
    assert_eq!(linked.state(&key).await, DeliveryState::Failed, "there is no forge to ask");
}

#[tokio::test]
async fn round_in_which_a_report_cannot_be_taken_has_failed() {
    let linked = Linked::new().await;
    linked.store().put_report(report(linked.engine.now())).await.expect("memory answers");
    linked.store().next_calls("put_item", [unavailable()]);
    assert_eq!(linked.run_due().await, DueRound { did: false, failed: true });
    assert_eq!(linked.run_due().await, DueRound { did: true, failed: false });
    assert_eq!(linked.run_due().await, DueRound::default(), "nothing is due any more");
}

#[tokio::test]
async fn round_in_which_an_app_cannot_take_its_turn_has_failed() {
    let linked = Linked::new().await;
    let record = Redelivery { version: 1, ..Redelivery::new(linked.engine.now()) };
    linked.store().put_redelivery(&link(), "12", record).await.expect("memory answers");
    linked.store().next_calls("put_item", [unavailable()]);
    assert_eq!(linked.run_due().await, DueRound { did: false, failed: true });
    assert_eq!(linked.run_due().await, DueRound { did: true, failed: false });
    assert_eq!(linked.run_due().await, DueRound::default(), "no link has the App any more");
}

#[tokio::test]
async fn unreadable_delivery_does_not_stop_the_others() {
    let linked = Linked::new().await;
    let unreadable = DeliveryKey::new(link(), linked.engine.now(), random());
    linked.put_unreadable("FORGE#acme", &format!("D#{}", unreadable.place())).await;
    let key = linked.receive(pull_request(PullAction::Closed)).await;
    assert_eq!(linked.run_due().await, DueRound { did: true, failed: true });
    assert_eq!(linked.state(&key).await, DeliveryState::Ignored, "a closed pull request starts nothing");
}

#[tokio::test]
async fn unreadable_report_does_not_stop_the_others() {
    let linked = Linked::new().await;
    let good = report(linked.engine.now());
    linked.store().put_report(good.clone()).await.expect("memory answers");
    let list =
        linked.store().items_due(DueKind::Report, good.accepted_at, 1).await.expect("memory answers").remove(0).list;
    let unreadable = ReportKey { file: "deploy".to_owned(), ..good.key.clone() };
    linked.put_unreadable(&list, &unreadable.text()).await;
    assert_eq!(linked.run_due().await, DueRound { did: true, failed: true });
    let after = linked.store().report(&good.key).await.expect("memory answers").expect("it is there");
    assert_eq!(after.given_up.as_deref(), Some("the link was removed"));
}

#[tokio::test]
async fn item_of_an_unknown_kind_does_not_stop_the_others() {
    let linked = Linked::new().await;
    for list in ["FORGE#acme", "REPORT#0"] {
        linked.put_unreadable(list, "NEW#1").await;
    }
    let key = linked.receive(pull_request(PullAction::Closed)).await;
    assert_eq!(linked.run_due().await, DueRound { did: true, failed: true });
    assert_eq!(linked.state(&key).await, DeliveryState::Ignored, "a closed pull request starts nothing");
    assert_eq!(linked.run_due().await, DueRound { did: false, failed: true });
}
