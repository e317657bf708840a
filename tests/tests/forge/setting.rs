//! A forge with a repository, and a link to it.

use std::sync::Arc;

use engine::clock::SystemClock;
use engine::forge::event::{ExternalId, Incoming, Parsed};
use engine::forge::link::{ForgeKind, Link};
use engine::forge::names::{CommitId, GitRef};
use engine::forge::ports::StateUpdate;
use engine::forge::state::TargetState;
use forge::Forges;
use harness::forge::{APP, Delivered, Kind, TOKEN, TestForge, WorkingCopy};
use protocol::{LinkName, Millis, SecretName, SecretValue, Secrets};

/// The repository of every test.
pub const APP_REPOSITORY: &str = "acme/app";
/// The secret that signs deliveries.
pub const WEBHOOK_SECRET: &str = "webhook secret 1";
pub const KINDS: [Kind; 3] = [Kind::Github, Kind::Gitlab, Kind::Gitea];

/// A forge with one repository, a working copy of it, and the adapters.
pub struct Setting {
    pub forge: TestForge,
    pub copy: WorkingCopy,
    pub forges: Forges,
    pub link: Link,
    pub kind: Kind,
}

/// The forge's token, the webhook's secret and the App's key.
pub fn secrets() -> Secrets {
    let key = include_str!("../../forge/app-key.pem");
    let named =
        |name: &str, value: &str| (SecretName::new(name).expect("a name"), SecretValue::new(value).expect("a value"));
    [named("FORGE_TOKEN_ACME", TOKEN), named("FORGE_WEBHOOK_ACME", WEBHOOK_SECRET), named(&forge::app_key_name(&APP.0.to_string()), key)].into()
}

impl Setting {
    /// With the forge's token.
    pub async fn with_token(kind: Kind) -> Self {
        Self::with(kind, "token: FORGE_TOKEN_ACME").await
    }

    /// With a GitHub App.
    pub async fn with_app() -> Self {
        Self::with(Kind::Github, &format!("app: {{id: {}, installation: {}}}", APP.0, APP.1)).await
    }

    async fn with(kind: Kind, access: &str) -> Self {
        let forge = TestForge::starts().await;
        let number = forge.repository(APP_REPOSITORY, true).await;
        // Nobody answers there; what was sent is looked at.
        forge.hook(APP_REPOSITORY, kind, "http://127.0.0.1:1/api/forges/acme/hook", WEBHOOK_SECRET);
        let copy = forge.working_copy(APP_REPOSITORY).await;
        let text = link_file(&forge, kind, access);
        let file = workflow::link_from_yaml(&text).expect("a link");
        let link = Link::new(LinkName::new("acme").expect("a name"), number, file, text, Millis(0), None);
        let forges = Forges::new(Arc::new(secrets()), Arc::new(SystemClock));
        Self { forge, copy, forges, link, kind }
    }

    /// Commits files and pushes them to `main`.
    pub async fn pushes(&self, files: &[(&str, &str)]) -> CommitId {
        let commit = self.copy.commit(files, "a commit").await;
        self.copy.push(&["HEAD:refs/heads/main"]).await;
        CommitId::new(commit).expect("a commit")
    }

    /// What the last delivery says, once its signature was checked.
    pub fn last_delivery(&self) -> (Delivered, Incoming) {
        let last = self.forge.deliveries().pop().expect("a delivery");
        let header =
            |name: &str| last.headers.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str());
        let secrets = [SecretValue::new(WEBHOOK_SECRET).expect("a value")];
        let kind = forge_kind(self.kind);
        forge::signature::check(kind, header, last.body.as_bytes(), &secrets, Millis::now()).expect("signed");
        match forge::payload::parse(kind, header, last.body.as_bytes()) {
            Ok(Parsed::Signal(incoming)) => (last, incoming),
            other => panic!("{other:?}"),
        }
    }
}

/// The file of a link to the repository.
pub fn link_file(forge: &TestForge, kind: Kind, access: &str) -> String {
    let (word, url) = (forge_kind(kind), forge.url());
    format!(
        "forge: {word}\nurl: {url}\nrepository: {APP_REPOSITORY}\n{access}\nwebhook_secret: FORGE_WEBHOOK_ACME\nrights: [{{labels: [linux]}}]\n"
    )
}

pub fn forge_kind(kind: Kind) -> ForgeKind {
    match kind {
        Kind::Github => ForgeKind::Github,
        Kind::Gitlab => ForgeKind::Gitlab,
        Kind::Gitea => ForgeKind::Gitea,
    }
}

pub fn main_branch() -> GitRef {
    GitRef::new("refs/heads/main").expect("a branch")
}

/// A state of the run of `ci`.
pub fn state(commit: &CommitId, state: TargetState) -> StateUpdate {
    StateUpdate {
        commit: commit.clone(),
        name: "ci (push)".to_owned(),
        state,
        description: format!("it is {state}"),
        summary: String::new(),
        annotations: Vec::new(),
        url: Some("https://wfg.example.org/#/w/1".to_owned()),
        external_id: ExternalId("ours".to_owned()),
        name_of_ref: Some(main_branch()),
        id: None,
        started_at: Some(Millis(1_700_000_000_000)),
        ended_at: state.is_end().then_some(Millis(1_700_000_060_000)),
    }
}
