//! Deliveries that failed. GitHub doesn't send them again by itself; its App is asked for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::Engine;
use engine::clock::{Clock, SystemClock};
use engine::forge::records::DeliveryState;
use engine::forge::store::ForgeStore;
use harness::eventually;
use harness::forge::{APP, Fault, Kind, TestForge};
use memory::Memory;
use protocol::{LinkName, Millis};
use server::Server;

use crate::setting::{APP_REPOSITORY, WEBHOOK_SECRET, link_file, secrets};

const CI: &str = "on: push\njobs: {test: {labels: linux, run: make}}\n";

/// The machine's clock, some minutes ahead.
#[derive(Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn now(&self) -> Millis {
        Millis(Millis::now().0 + self.0.load(Ordering::Relaxed) * 60_000)
    }
}

/// A forge with a repository that an App is linked to.
struct App {
    forge: TestForge,
    engine: Engine<Memory>,
    clock: Arc<Ahead>,
}

impl App {
    async fn linked() -> Self {
        let forge = TestForge::starts().await;
        forge.repository(APP_REPOSITORY, false).await;
        let (secrets, clock) = (Arc::new(secrets()), Arc::new(Ahead::default()));
        let port = Arc::new(forge::Forges::new(secrets.clone(), Arc::new(SystemClock)));
        let engine = Engine::new(Memory::new()).with_secrets(secrets).with_forges(port).with_clock(clock.clone());
        let engine = engine.with_public_url("https://wfg.example.com".into());
        let access = format!("app: {{id: {}, installation: {}}}", APP.0, APP.1);
        engine.forges().add(&name(), &link_file(&forge, Kind::Github, &access)).await.expect("linked");
        Self { forge, engine, clock }
    }

    async fn pushes(&self) {
        let copy = self.forge.working_copy(APP_REPOSITORY).await;
        copy.commit(&[(".wfg/ci.yml", CI)], "a commit").await;
        copy.push(&["HEAD:refs/heads/main"]).await;
    }

    /// Ten minutes pass.
    async fn later(&self) {
        self.clock.0.fetch_add(11, Ordering::Relaxed);
        self.engine.forges().run_due().await.expect("memory answers");
    }
}

fn name() -> LinkName {
    LinkName::new("acme").expect("a name")
}

#[tokio::test]
async fn delivery_that_met_no_server_is_delivered_later_by_itself() {
    let app = App::linked().await;
    let server = Server::start(([127, 0, 0, 1], 0).into(), app.engine.clone()).await.expect("a free port");
    app.forge.hook(APP_REPOSITORY, Kind::Github, &format!("{}/api/forges/acme/hook", server.url()), WEBHOOK_SECRET);
    app.forge.silence(APP_REPOSITORY, true);
    app.pushes().await;
    app.later().await;
    let state = eventually("the delivery is handled", async || {
        let stored = app.engine.ports().deliveries(&name(), None, 10).await.expect("listed");
        stored.first().map(|one| one.state).filter(|state| *state != DeliveryState::New)
    })
    .await;
    assert_eq!((state, app.forge.deliveries().len()), (DeliveryState::Accepted, 2));
    app.later().await;
    assert_eq!(app.forge.deliveries().len(), 2, "what came in is not asked for again");
    app.forge.keeps_the_contract();
}

#[tokio::test]
async fn delivery_that_always_fails_is_asked_for_three_times() {
    let app = App::linked().await;
    // Nobody answers there.
    app.forge.hook(APP_REPOSITORY, Kind::Github, "http://127.0.0.1:1/api/forges/acme/hook", WEBHOOK_SECRET);
    app.pushes().await;
    for sent in [2, 3, 4, 4, 4] {
        app.later().await;
        assert_eq!(app.forge.deliveries().len(), sent);
    }
    app.forge.keeps_the_contract();
}

#[tokio::test]
async fn check_run_is_not_created_twice_by_a_reporter_that_was_not_answered() {
    let app = App::linked().await;
    let server = Server::start(([127, 0, 0, 1], 0).into(), app.engine.clone()).await.expect("a free port");
    app.forge.hook(APP_REPOSITORY, Kind::Github, &format!("{}/api/forges/acme/hook", server.url()), WEBHOOK_SECRET);
    app.forge.plans("POST", "/check-runs", Fault::Lost, 2);
    app.pushes().await;
    let names = async || {
        let posted = app.forge.posted(APP_REPOSITORY);
        let mut names: Vec<String> = posted.into_iter().map(|posted| posted.name).collect();
        names.sort();
        (names.len() == 2).then_some(names)
    };
    eventually("two check runs were created", names).await;
    // The lease of the reporter ends.
    app.later().await;
    let commit = app.forge.posted(APP_REPOSITORY)[0].commit.clone();
    let changed = || app.forge.requests().iter().filter(|one| one.method == "PATCH" && one.status == 200).count();
    eventually("both are changed", async || {
        app.later().await;
        (changed() >= 2).then_some(())
    })
    .await;
    assert_eq!(names().await, Some(vec!["ci (push)".to_owned(), "ci / test (push)".to_owned()]), "{commit}");
    app.forge.keeps_the_contract();
}
