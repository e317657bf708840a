//! A server and a worker in this process, linked to a repository of the test forge.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::Client;
use engine::Engine;
use engine::clock::SystemClock;
use harness::eventually;
use harness::forge::{APP, Kind, TestForge, WorkingCopy};
use memory::Memory;
use protocol::forge::{ApproveCommit, DeliveryInfo, Received};
use protocol::{LabelSet, LinkName, WorkerId};
use server::Server;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use worker::{Worker, WorkerConfig};

pub use crate::setting::APP_REPOSITORY as REPOSITORY;
use crate::setting::{WEBHOOK_SECRET, link_file, secrets};

/// The rules of the links. A fork's jobs need an approval.
const RIGHTS: &str = "rights: [{event: fork, labels: [linux]}, {labels: [linux]}]";

/// Everything that a push needs to run.
pub struct Linked {
    pub forge: TestForge,
    pub copy: WorkingCopy,
    server: Server,
    client: Client,
    dir: TempDir,
    worker: JoinHandle<()>,
}

impl Drop for Linked {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

fn name() -> LinkName {
    LinkName::new("acme").expect("a name")
}

impl Linked {
    pub async fn with_token(kind: Kind) -> Self {
        Self::with(kind, "token: FORGE_TOKEN_ACME").await
    }

    pub async fn with_app() -> Self {
        Self::with(Kind::Github, &format!("app: {{id: {}, installation: {}}}", APP.0, APP.1)).await
    }

    async fn with(kind: Kind, access: &str) -> Self {
        let forge = TestForge::starts().await;
        forge.repository(REPOSITORY, true).await;
        let copy = forge.working_copy(REPOSITORY).await;
        let secrets = Arc::new(secrets());
        let port = Arc::new(forge::Forges::new(secrets.clone(), Arc::new(SystemClock)));
        let engine = Engine::new(Memory::new())
            .with_secrets(secrets)
            .with_forges(port)
            .with_public_url("https://wfg.example.com".into());
        let server = Server::start(([127, 0, 0, 1], 0).into(), engine).await.expect("a free port");
        let client = Client::new(&server.url(), None).expect("a URL");
        let file = link_file(&forge, kind, access).replace("rights: [{labels: [linux]}]", RIGHTS);
        client.put_link(&name(), &file).await.expect("linked");
        let dir = tempfile::tempdir().expect("a folder");
        let worker = Worker::new(WorkerConfig {
            server_url: server.url(),
            worker_id: WorkerId::new("w1").expect("an id"),
            labels: LabelSet::from_comma_separated("linux").expect("labels"),
            concurrency: 4,
            poll: Duration::from_millis(50),
            log_flush: Duration::from_millis(50),
            workdir: dir.path().to_owned(),
            ..WorkerConfig::default()
        });
        let worker = tokio::spawn(async move { worker.run().await.expect("it works") });
        let linked = Self { forge, copy, server, client, dir, worker };
        linked.hooks(kind);
        linked
    }

    /// Sets the webhook up, once more if there is one.
    pub fn hooks(&self, kind: Kind) {
        self.forge.hook(REPOSITORY, kind, &format!("{}/api/forges/acme/hook", self.server.url()), WEBHOOK_SECRET);
    }

    /// The folder of the jobs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Commits files and pushes them to `main`. Returns the commit.
    pub async fn pushes(&self, files: &[(&str, &str)], message: &str) -> String {
        let commit = self.copy.commit(files, message).await;
        self.copy.push(&["HEAD:refs/heads/main"]).await;
        commit
    }

    /// Pushes `.wfg/ci.yml` to `main`.
    pub async fn pushes_ci(&self, text: &str) -> String {
        self.pushes(&[(".wfg/ci.yml", text)], "a commit").await
    }

    pub async fn deliveries(&self) -> Vec<DeliveryInfo> {
        self.client.deliveries(&name(), 100, None).await.expect("listed").items
    }

    /// What became of the deliveries, newest first.
    pub async fn states(&self) -> Vec<String> {
        self.deliveries().await.into_iter().map(|one| one.state).collect()
    }

    /// Waits until so many deliveries came in and were handled.
    pub async fn until_handled(&self, count: usize) {
        eventually(&format!("{count} deliveries are handled"), async || {
            let states = self.states().await;
            (states.len() >= count && states.iter().all(|state| state != "new")).then_some(())
        })
        .await;
    }

    /// How many workflows there are.
    pub async fn runs(&self) -> usize {
        self.client.list(100, None, None).await.expect("listed").items.len()
    }

    /// Approves a commit. Returns why not.
    pub async fn approves(&self, pull_request: u64, commit: &str) -> Result<Received, String> {
        let approve = ApproveCommit { repository: None, pull_request, commit: commit.to_owned() };
        self.client.approve(&name(), &approve).await.map_err(|error| error.to_string())
    }
}
