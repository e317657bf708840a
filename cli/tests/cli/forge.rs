//! A push to a linked repository: `wfg serve` and `wfg forge`, with a forge that answers what git says.

use std::path::Path;

use harness::forge::{Kind, TOKEN, TestForge, WorkingCopy};
use tempfile::TempDir;

use crate::common::process::WorkerProcess;
use crate::common::{Done, Running, finish, wfg};

const REPOSITORY: &str = "acme/app";
const WEBHOOK_SECRET: &str = "a webhook secret";
const PUBLIC: &str = "https://wfg.example.com";

const CI: &str = "\
on:
  push: {branches: [main]}
jobs:
  test: {labels: linux, run: 'true'}
  fail: {labels: linux, run: 'exit 3'}
  after: {needs: fail, labels: linux, run: 'true'}
";

/// A server, a worker, and a linked repository.
struct Linked {
    dir: TempDir,
    server: Running,
    url: String,
    worker: WorkerProcess,
    forge: TestForge,
    copy: WorkingCopy,
}

async fn wfg_in(dir: &Path, url: &str, args: &[&str], input: &str) -> Done {
    let mut command = wfg(args);
    command.env("SERVER_URL", url).current_dir(dir);
    finish(command, input).await
}

impl Linked {
    async fn to(kind: Kind) -> Self {
        let forge = TestForge::starts().await;
        forge.repository(REPOSITORY, true).await;
        let dir = TempDir::new().expect("a directory");
        for (name, value) in [("FORGE_WEBHOOK_ACME", WEBHOOK_SECRET), ("FORGE_TOKEN_ACME", TOKEN)] {
            let done = wfg_in(dir.path(), "", &["secret", "set", name, "--file", "keys.json"], value).await;
            assert_eq!(done.code, Some(0), "{}", done.err);
        }
        let args = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--secrets",
            "keys.json",
            "--data",
            "wfg.db",
            "--public-url",
            PUBLIC,
            "--insecure-no-auth",
        ];
        let mut command = wfg(&args);
        command.current_dir(dir.path());
        let mut server = Running::start(command);
        let url = server.url().await;
        let worker = WorkerProcess::start_at(&url, dir.path(), "w1", &["--labels", "linux"]);
        let copy = forge.working_copy(REPOSITORY).await;
        let linked = Self { dir, server, url, worker, forge, copy };
        linked.adds(kind).await;
        linked
    }

    async fn wfg(&self, args: &[&str]) -> Done {
        wfg_in(self.dir.path(), &self.url, args, "").await
    }

    async fn adds(&self, kind: Kind) {
        let word = match kind {
            Kind::Github => "github",
            Kind::Gitlab => "gitlab",
            Kind::Gitea => "gitea",
        };
        let file = format!(
            "forge: {word}\nurl: {}\nrepository: {REPOSITORY}\ntoken: FORGE_TOKEN_ACME\nwebhook_secret: FORGE_WEBHOOK_ACME\nrights: [{{labels: [linux]}}]\n",
            self.forge.url()
        );
        std::fs::write(self.dir.path().join("acme.yml"), file).expect("written");
        let added = self.wfg(&["forge", "add", "acme.yml"]).await;
        assert_eq!(added.code, Some(0), "{}", added.err);
        let hook = added.out.split_whitespace().find(|word| word.starts_with(PUBLIC)).expect("the hook's address");
        let hook = hook.trim_end_matches(',').replacen(PUBLIC, &self.url, 1);
        self.forge.hook(REPOSITORY, kind, &hook, WEBHOOK_SECRET);
    }

    async fn ends(self) {
        self.worker.signal("TERM").await;
        self.worker.end().await;
        self.server.signal("TERM").await;
        assert!(self.server.end().await.0.success());
    }
}

#[tokio::test]
async fn push_runs_the_file_at_the_commit_and_the_commit_shows_how_it_went() {
    for kind in [Kind::Github, Kind::Gitlab, Kind::Gitea] {
        let linked = Linked::to(kind).await;
        let commit = linked.copy.commit(&[(".wfg/ci.yml", CI)], "a commit").await;
        linked.copy.push(&["HEAD:refs/heads/main"]).await;
        let failed = if kind == Kind::Gitlab { "failed" } else { "failure" };
        let states = [
            ("ci (push)", failed),
            ("ci / test (push)", "success"),
            ("ci / fail (push)", failed),
            ("ci / after (push)", failed),
        ];
        linked.forge.until_shows(REPOSITORY, &commit, &states).await;
        let listed = linked.wfg(&["forge", "deliveries", "acme"]).await;
        assert!(listed.out.contains("accepted") && listed.out.contains("refs/heads/main"), "{}", listed.out);
        linked.forge.keeps_the_contract();
        linked.ends().await;
    }
}

#[tokio::test]
async fn links_are_listed_checked_and_removed() {
    let linked = Linked::to(Kind::Github).await;
    let listed = linked.wfg(&["forge", "list"]).await;
    assert!(listed.out.contains("acme") && listed.out.contains(REPOSITORY), "{}", listed.out);
    assert!(!listed.out.contains(TOKEN) && !listed.out.contains(WEBHOOK_SECRET));
    let checked = linked.wfg(&["forge", "check", REPOSITORY]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    let removed = linked.wfg(&["forge", "remove", "acme"]).await;
    assert_eq!(removed.code, Some(0), "{}", removed.err);
    let listed = linked.wfg(&["forge", "list"]).await;
    assert!(listed.out.is_empty() && listed.err.contains("no repository is linked"), "{}", listed.err);
    let gone = linked.wfg(&["forge", "check", "acme"]).await;
    assert_eq!(gone.code, Some(2));
    linked.copy.commit(&[("a", "1")], "a commit").await;
    linked.copy.push(&["HEAD:refs/heads/main"]).await;
    let answered = async {
        loop {
            let sent = linked.forge.deliveries();
            if let Some(one) = sent.iter().find(|one| one.status != 0) {
                return one.status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert_eq!(answered.await, 401, "its deliveries are refused");
    linked.ends().await;
}
