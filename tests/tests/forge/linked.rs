//! A repository that is linked to a server, and a worker.
//!
//! The server is the target of the end-to-end suite, which all tests of a run share. So each test has a link, secrets, a label and workflows
//! of its own name. Tests that move the clock or stop the server have one of their own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use engine::clock::ManualClock;
use forge::Forges;
use harness::forge::{Kind, TestForge, WorkingCopy};
use harness::{Cloud, RealWorker, eventually};
use memory::Memory;
use protocol::forge::{ApproveCommit, DeliveryInfo, Received, StartRef};
use protocol::wire::Workflow;
use protocol::{LinkName, Millis};
use server::Server;
use tokio::time::sleep;
use worker::WorkerConfig;

use crate::project::{Project, REPOSITORY, token_secrets, values};

/// The time limit for states: of one process, and of an emulator, where each step is an invocation.
const IN_PROCESS: Duration = Duration::from_mins(1);
const ON_AWS: Duration = Duration::from_mins(3);
/// The time limit for states that need a reporter's lease to end first.
const IN_THE_END: Duration = Duration::from_mins(4);
/// The label of a second link.
const OTHER: &str = "other";
/// How often a test that can't wait for the next minute's sweep lets AWS sweep.
const SWEEPS: Duration = Duration::from_secs(2);

/// Workflows of a page. Those of other tests of the same stack may have a thousand jobs each.
const PAGE: usize = 5;

/// Everything that a push needs to run.
pub struct Linked {
    pub project: Project,
    pub cloud: Cloud,
    pub name: LinkName,
    began: Millis,
    worker: Option<RealWorker>,
    own: Option<Own>,
}

/// A server of a test's own in this process, whose clock the test moves.
struct Own {
    engine: Engine<Memory>,
    clock: Arc<ManualClock>,
    server: Option<Server>,
}

impl Own {
    async fn starts(project: &Project) -> Self {
        let clock = Arc::new(ManualClock::default());
        let other = token_secrets(OTHER).into_iter();
        let secrets = Arc::new(values(project.secrets().into_iter().chain(other)));
        let port = Arc::new(Forges::new(secrets.clone(), clock.clone()));
        let engine = Engine::new(Memory::new()).with_clock(clock.clone()).with_secrets(secrets).with_forges(port);
        let engine = engine.with_checkouts_of_links().with_public_url("https://wfg.example.com".into());
        let server = Server::start(([127, 0, 0, 1], 0).into(), engine.clone()).await.expect("a free port");
        Self { engine, clock, server: Some(server) }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }
}

impl Linked {
    /// Linked to the target with the forge's token.
    pub async fn with_token(kind: Kind) -> Self {
        let cloud = Cloud::connect();
        let project = Project::with_token(kind, &cloud.label).await;
        Self::to_target(cloud, project).await
    }

    /// Linked to the target as a GitHub App.
    pub async fn with_app() -> Self {
        let cloud = Cloud::connect();
        let project = Project::with_app(&cloud.label).await;
        Self::to_target(cloud, project).await
    }

    async fn to_target(cloud: Cloud, project: Project) -> Self {
        for (name, value) in project.secrets() {
            cloud.secret_named(&name, value).await;
        }
        Self::new(cloud, project, None).await
    }

    /// Linked to a server of its own, whose clock [`Self::advance`] moves.
    pub async fn alone(kind: Kind) -> Self {
        Self::to_own(Project::with_token(kind, "linux").await).await
    }

    /// As [`Self::alone`], as a GitHub App.
    pub async fn alone_with_app() -> Self {
        Self::to_own(Project::with_app("linux").await).await
    }

    async fn to_own(project: Project) -> Self {
        let own = Own::starts(&project).await;
        let mut cloud = Cloud::at(&own.server().url());
        cloud.label.clone_from(&project.label);
        Self::new(cloud, project, Some(own)).await
    }

    /// Another link of the same server, to a forge of its own.
    pub async fn another(&self, kind: Kind) -> Self {
        let mut cloud = self.cloud.clone();
        OTHER.clone_into(&mut cloud.label);
        Self::new(cloud, Project::with_token(kind, OTHER).await, None).await
    }

    async fn new(cloud: Cloud, project: Project, own: Option<Own>) -> Self {
        let name = LinkName::new(&*cloud.label).expect("a name");
        let mut linked = Self { project, cloud, name, began: Millis::now(), worker: None, own };
        linked.links(&linked.project.link_file()).await;
        linked.hooks();
        linked.starts_worker();
        linked
    }

    /// Adds the link, or replaces it.
    pub async fn links(&self, file: &str) {
        self.cloud.client.put_link(&self.name, file).await.expect("linked");
    }

    /// Sets the webhook up, once more if there is one.
    pub fn hooks(&self) {
        self.project.hooks(&format!("{}/api/forges/{}/hook", self.cloud.client.server_url(), self.name));
    }

    pub fn forge(&self) -> &TestForge {
        &self.project.forge
    }

    pub fn copy(&self) -> &WorkingCopy {
        &self.project.copy
    }

    pub fn name(&self) -> &LinkName {
        &self.name
    }

    /// Starts the project's worker with this test's label.
    pub fn starts_worker(&mut self) {
        let like = |config| WorkerConfig { concurrency: 4, ..config };
        self.worker = Some(RealWorker::starts_like(&self.cloud, "{label}", like));
    }

    /// Ends it. Its directory goes too.
    pub fn stops_worker(&mut self) {
        self.worker = None;
    }

    /// The folder of the jobs.
    pub fn dir(&self) -> &Path {
        self.worker.as_ref().expect("it runs").dir()
    }

    /// Moves the clocks of its own server and of the forge.
    pub async fn advance(&self, time: Duration) {
        let own = self.own.as_ref().expect("a server of its own");
        // The forge first: what the server finds due must be past at the forge too.
        self.forge().advance(time);
        own.clock.advance(time);
        own.server().on_clock_moved().await;
    }

    /// Kills its own server and starts it again, with the same records and address.
    pub async fn restarts(&mut self) {
        let own = self.own.as_mut().expect("a server of its own");
        let url = own.server().url();
        let address: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
        own.server = None;
        let start = async || Server::start(address, own.engine.clone()).await.ok();
        let server = eventually("the server's address is free", start).await;
        own.server = Some(server);
    }

    /// The text of a workflow file with this test's label and name.
    fn filled(&self, path: &str, text: &str) -> String {
        if path.starts_with(".wfg/") { self.cloud.definition(text) } else { text.to_owned() }
    }

    /// Commits files. Returns the commit.
    pub async fn commits(&self, files: &[(&str, &str)], message: &str) -> String {
        let filled: Vec<_> = files.iter().map(|&(path, text)| (path, self.filled(path, text))).collect();
        let files: Vec<_> = filled.iter().map(|(path, text)| (*path, text.as_str())).collect();
        self.copy().commit(&files, message).await
    }

    /// Commits files and pushes them to `main`. Returns the commit.
    pub async fn pushes(&self, files: &[(&str, &str)], message: &str) -> String {
        let commit = self.commits(files, message).await;
        self.copy().push(&["HEAD:refs/heads/main"]).await;
        commit
    }

    /// Pushes `.wfg/ci.yml` to `main`.
    pub async fn pushes_ci(&self, text: &str) -> String {
        self.pushes(&[(".wfg/ci.yml", text)], "a commit").await
    }

    /// Commits files, and pushes them to a branch of the fork `eve/app`, which is made if need be. Returns the commit.
    pub async fn pushes_to_fork(&self, branch: &str, files: &[(&str, &str)]) -> String {
        const FORK: &str = "eve/app";
        if !self.copy().git(&["remote"]).await.contains("fork") {
            self.forge().repository(FORK, true).await;
            self.copy().git(&["remote", "add", "fork", &self.forge().git_url(FORK)]).await;
        }
        let commit = self.commits(files, "a commit").await;
        self.copy().git(&["push", "--quiet", "fork", &format!("HEAD:refs/heads/{branch}")]).await;
        commit
    }

    /// Opens a pull request from a branch of the fork. Returns its number.
    pub async fn opens_from_fork(&self, branch: &str) -> u64 {
        self.forge().opens_pull_request(REPOSITORY, ("eve/app", branch), "main").await
    }

    /// The deliveries that came in, newest first.
    pub async fn deliveries(&self) -> Vec<DeliveryInfo> {
        self.cloud.client.deliveries(&self.name, 100, None).await.expect("listed").items
    }

    /// What became of the deliveries, newest first.
    pub async fn states(&self) -> Vec<String> {
        self.deliveries().await.into_iter().map(|one| one.state).collect()
    }

    /// Waits until so many deliveries came in and all were handled.
    pub async fn until_handled(&self, count: usize) {
        let what = format!("{count} deliveries are handled");
        let handled = eventually(&what, async || {
            let states = self.states().await;
            (states.len() >= count && states.iter().all(|state| state != "new")).then_some(())
        });
        self.while_sweeping(handled).await;
    }

    /// Waits until a commit shows exactly these states.
    pub async fn until_shows(&self, commit: &str, states: &[(&str, &str)]) {
        let limit = if self.cloud.on_aws() { ON_AWS } else { IN_PROCESS };
        self.forge().until_shows_within(limit, REPOSITORY, commit, states).await;
    }

    /// As [`Self::until_shows`], where a request had no answer and a minute must pass.
    pub async fn until_shows_in_the_end(&self, commit: &str, states: &[(&str, &str)]) {
        self.while_sweeping(self.forge().until_shows_within(IN_THE_END, REPOSITORY, commit, states)).await;
    }

    /// On AWS what is due later is found by the sweep, which runs once a minute.
    async fn while_sweeping(&self, what: impl Future<Output = ()>) {
        let sweeps = async {
            loop {
                sleep(SWEEPS).await;
                self.cloud.sweep().await;
            }
        };
        tokio::select! {
            () = what => {}
            () = sweeps => {}
        }
    }

    /// The workflows of this test, newest first.
    pub async fn runs(&self) -> Vec<Workflow> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.cloud.client.list(PAGE, None, cursor.as_deref()).await.expect("listed");
            let is_last = page.items.last().is_none_or(|oldest| oldest.created_at_ms < self.began);
            found.extend(page.items.into_iter().filter(|one| one.name == self.cloud.label));
            cursor = page.next;
            if is_last || cursor.is_none() {
                return found;
            }
        }
    }

    /// Waits until so many workflows of this test are final, and there are no more.
    pub async fn until_ended(&self, count: usize) {
        eventually(&format!("{count} runs have ended"), async || {
            let runs = self.runs().await;
            (runs.len() == count && runs.iter().all(|run| run.status.is_final())).then_some(())
        })
        .await;
    }

    /// Starts what a push to `main` would start.
    pub async fn starts_main(&self) {
        let start = StartRef { repository: None, name: "refs/heads/main".to_owned(), commit: None };
        self.cloud.client.start_ref(&self.name, &start).await.expect("accepted");
    }

    /// Approves a commit. Returns why not.
    pub async fn approves(&self, pull_request: u64, commit: &str) -> Result<Received, String> {
        let approve = ApproveCommit { repository: None, pull_request, commit: commit.to_owned() };
        self.cloud.client.approve(&self.name, &approve).await.map_err(|error| error.to_string())
    }
}
