//! Deliveries that failed. GitHub doesn't send them again by itself; its App is asked for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::Engine;
use engine::clock::{Clock, SystemClock};
use engine::forge::records::DeliveryState;
use engine::forge::store::ForgeStore;
use harness::eventually;
use harness::forge::Fault;
use memory::Memory;
use protocol::{LinkName, Millis};
use server::Server;

use crate::project::{Project, REPOSITORY, values};

const CI: &str = "on: push\njobs: {test: {labels: linux, run: make}}\n";

/// The machine's clock, some minutes ahead.
#[derive(Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn now(&self) -> Millis {
        Millis(Millis::now().0 + self.0.load(Ordering::Relaxed) * 60_000)
    }
}

/// A repository that an App is linked to.
struct App {
    project: Project,
    engine: Engine<Memory>,
    clock: Arc<Ahead>,
}

impl App {
    async fn linked() -> Self {
        let project = Project::with_app("linux").await;
        let (secrets, clock) = (Arc::new(values(project.secrets())), Arc::new(Ahead::default()));
        let port = Arc::new(forge::Forges::new(secrets.clone(), Arc::new(SystemClock)));
        let engine = Engine::new(Memory::new()).with_secrets(secrets).with_forges(port).with_clock(clock.clone());
        let engine = engine.with_public_url("https://wfg.example.com".into());
        engine.forges().add(&name(), &project.link_file()).await.expect("linked");
        Self { project, engine, clock }
    }

    /// Starts a server to which the forge delivers.
    async fn serves(&self) -> Server {
        let server = Server::start(([127, 0, 0, 1], 0).into(), self.engine.clone()).await.expect("a free port");
        self.project.hooks(&format!("{}/api/forges/acme/hook", server.url()));
        server
    }

    async fn pushes(&self) {
        self.project.pushes(&[(".wfg/ci.yml", CI)], "a commit").await;
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
    let _server = app.serves().await;
    app.project.forge.silence(REPOSITORY, true);
    app.pushes().await;
    app.later().await;
    let state = eventually("the delivery is handled", async || {
        let stored = app.engine.ports().deliveries(&name(), None, 10).await.expect("listed");
        stored.first().map(|one| one.state).filter(|state| *state != DeliveryState::New)
    })
    .await;
    assert_eq!((state, app.project.forge.deliveries().len()), (DeliveryState::Accepted, 2));
    app.later().await;
    assert_eq!(app.project.forge.deliveries().len(), 2, "what came in is not asked for again");
    app.project.forge.keeps_the_contract();
}

#[tokio::test]
async fn delivery_that_always_fails_is_asked_for_three_times() {
    let app = App::linked().await;
    // Nobody answers there.
    app.project.hooks("http://127.0.0.1:1/api/forges/acme/hook");
    app.pushes().await;
    for sent in [2, 3, 4, 4, 4] {
        app.later().await;
        assert_eq!(app.project.forge.deliveries().len(), sent);
    }
    app.project.forge.keeps_the_contract();
}

#[tokio::test]
async fn check_run_is_not_created_twice_by_a_reporter_that_was_not_answered() {
    let app = App::linked().await;
    let _server = app.serves().await;
    app.project.forge.plans("POST", "/check-runs", Fault::Lost, 2);
    app.pushes().await;
    let names = async || {
        let posted = app.project.forge.posted(REPOSITORY);
        let mut names: Vec<String> = posted.into_iter().map(|posted| posted.name).collect();
        names.sort();
        (names.len() == 2).then_some(names)
    };
    eventually("two check runs were created", names).await;
    // The lease of the reporter ends.
    app.later().await;
    let commit = app.project.forge.posted(REPOSITORY)[0].commit.clone();
    let changed =
        || app.project.forge.requests().iter().filter(|one| one.method == "PATCH" && one.status == 200).count();
    eventually("both are changed", async || {
        app.later().await;
        (changed() >= 2).then_some(())
    })
    .await;
    assert_eq!(names().await, Some(vec!["ci (push)".to_owned(), "ci / test (push)".to_owned()]), "{commit}");
    app.project.forge.keeps_the_contract();
}
