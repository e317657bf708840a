//! What becomes of deliveries and reports whose records can't be written or read.

use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use engine::forge::event::{Incoming, PullAction, Signal};
use engine::forge::link::Link;
use engine::forge::names::{RepositoryKey, Subject};
use engine::forge::records::{Delivery, DeliveryKey, DeliveryState, RefRecord};
use engine::forge::store::ForgeStore;
use engine::forges::Received;
use memory::Memory;
use protocol::LinkName;

use crate::common::StoppedClock;
use crate::store::{Fault, Watched, after};
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

    async fn run_due(&self) {
        self.engine.forges().run_due().await.expect("memory answers");
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
