//! A repository at a forge of its own, and the file of a link to it.

use engine::forge::link::ForgeKind;
use harness::forge::{APP_KEY, Kind, TOKEN, TestForge, WorkingCopy};
use protocol::{SecretName, SecretValue, Secrets};

/// The name of every test's repository.
pub const REPOSITORY: &str = "acme/app";
/// The secret that signs deliveries.
pub const WEBHOOK_SECRET: &str = "webhook secret 1";
pub const KINDS: [Kind; 3] = [Kind::Github, Kind::Gitlab, Kind::Gitea];
/// The rules of a link that doesn't say otherwise. A fork's jobs need an approval.
const RIGHTS: &str = "rights: [{event: fork, labels: ['{label}']}, {labels: ['{label}']}]";

/// A private repository with a working copy. Secrets are named after the test's label.
pub struct Project {
    pub forge: TestForge,
    pub copy: WorkingCopy,
    pub number: u64,
    pub kind: Kind,
    pub label: String,
    with_app: bool,
}

impl Project {
    /// Whose link has the forge's token.
    pub async fn with_token(kind: Kind, label: &str) -> Self {
        Self::new(kind, false, label).await
    }

    /// Whose link is a GitHub App.
    pub async fn with_app(label: &str) -> Self {
        Self::new(Kind::Github, true, label).await
    }

    async fn new(kind: Kind, with_app: bool, label: &str) -> Self {
        let forge = TestForge::starts().await;
        let number = forge.repository(REPOSITORY, true).await;
        let copy = forge.working_copy(REPOSITORY).await;
        Self { forge, copy, number, kind, label: label.to_owned(), with_app }
    }

    /// The name of the webhook's secret.
    pub fn webhook_name(&self) -> String {
        webhook_name(&self.label)
    }

    /// The name of the token's secret.
    pub fn token_name(&self) -> String {
        token_name(&self.label)
    }

    /// The secrets of its link: names and values.
    pub fn secrets(&self) -> [(String, &'static str); 2] {
        let [webhook, token] = token_secrets(&self.label);
        let key = || (forge::app_key_name(&self.forge.app().id.to_string()), APP_KEY);
        [webhook, if self.with_app { key() } else { token }]
    }

    /// The link's file.
    pub fn link_file(&self) -> String {
        let app = self.forge.app();
        let access = if self.with_app {
            format!("app: {{id: {}, installation: {}}}", app.id, app.installation)
        } else {
            format!("token: {}", self.token_name())
        };
        let (word, url, webhook) = (forge_kind(self.kind), self.forge.url(), self.webhook_name());
        let rights = RIGHTS.replace("{label}", &self.label);
        format!("forge: {word}\nurl: {url}\nrepository: {REPOSITORY}\n{access}\nwebhook_secret: {webhook}\n{rights}\n")
    }

    /// Sets the webhook up, once more if there is one.
    pub fn hooks(&self, url: &str) {
        self.forge.hook(REPOSITORY, self.kind, url, WEBHOOK_SECRET);
    }

    /// Commits files and pushes them to `main`. Returns the commit.
    pub async fn pushes(&self, files: &[(&str, &str)], message: &str) -> String {
        let commit = self.copy.commit(files, message).await;
        self.copy.push(&["HEAD:refs/heads/main"]).await;
        commit
    }
}

fn webhook_name(label: &str) -> String {
    format!("FORGE_WEBHOOK_{label}")
}

fn token_name(label: &str) -> String {
    format!("FORGE_TOKEN_{label}")
}

/// The secrets of a link with a token.
pub fn token_secrets(label: &str) -> [(String, &'static str); 2] {
    [(webhook_name(label), WEBHOOK_SECRET), (token_name(label), TOKEN)]
}

/// Secrets for a server of a test's own.
pub fn values(secrets: impl IntoIterator<Item = (String, &'static str)>) -> Secrets {
    let named = |(name, value)| (SecretName::new(name).expect("a name"), SecretValue::new(value).expect("a value"));
    secrets.into_iter().map(named).collect()
}

pub fn forge_kind(kind: Kind) -> ForgeKind {
    match kind {
        Kind::Github => ForgeKind::Github,
        Kind::Gitlab => ForgeKind::Gitlab,
        Kind::Gitea => ForgeKind::Gitea,
    }
}
