//! The port [`Forge`] for all kinds of forges.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use engine::clock::Clock;
use engine::forge::link::{Access, ForgeKind, Link};
use engine::forge::names::{CommitId, GitRef};
use engine::forge::ports::{
    Asked, Changed, Credential, FailedDelivery, Forge, ForgeError, PullRequest, Repository, RepositoryFile, Shown,
    StateAnswer, StateUpdate,
};
use engine::ports::SecretStore;
use protocol::Millis;
use serde::de::DeserializeOwned;

use super::access::{Token, Tokens};
use super::api::{failure, no_answer};
use super::http::{Answer, Call, Origin};

/// All forges. Tokens are read from the secrets that the links name, and the keys of Apps from the secrets
/// [`app_key_name`](super::access::app_key_name).
pub struct Forges {
    tokens: Tokens,
    origins: Mutex<BTreeMap<String, Arc<Origin>>>,
}

impl Forges {
    /// Asks forges with the secrets of this store.
    #[must_use]
    pub fn new(secrets: Arc<dyn SecretStore>, clock: Arc<dyn Clock>) -> Self {
        Self { tokens: Tokens::new(secrets, clock), origins: Mutex::default() }
    }

    fn asking<'a>(&'a self, link: &'a Link) -> Result<Asking<'a>, ForgeError> {
        let base = base(link)?;
        // An entry is replaced as a whole, so that a poisoned lock is no problem.
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = if let Some(origin) = origins.get(&base) {
            Arc::clone(origin)
        } else {
            let origin = Arc::new(Origin::new(&base).map_err(no_answer)?);
            origins.insert(base, Arc::clone(&origin));
            origin
        };
        Ok(Asking { tokens: &self.tokens, link, origin })
    }
}

/// The base of the forge's API.
fn base(link: &Link) -> Result<String, ForgeError> {
    let url = link.url.as_deref().map(|url| url.trim_end_matches('/'));
    Ok(match (link.forge, url) {
        (ForgeKind::Github, None) => "https://api.github.com".to_owned(),
        (ForgeKind::Github, Some(url)) => format!("{url}/api/v3"),
        (ForgeKind::Gitlab, None) => "https://gitlab.com/api/v4".to_owned(),
        (ForgeKind::Gitlab, Some(url)) => format!("{url}/api/v4"),
        (ForgeKind::Gitea, Some(url)) => format!("{url}/api/v1"),
        (ForgeKind::Gitea, None) => {
            return Err(ForgeError::Refused("a link to Gitea or Forgejo needs its `url`".to_owned()));
        }
    })
}

/// Requests for one link.
pub(crate) struct Asking<'a> {
    tokens: &'a Tokens,
    pub(crate) link: &'a Link,
    origin: Arc<Origin>,
}

impl Asking<'_> {
    /// Sends a request with the link's token. A token that the forge refuses is minted anew, once.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, ForgeError> {
        let token = self.tokens.of(&self.origin, self.link).await?;
        let answer = self.send_with(&token, &call).await?;
        let can_mint = matches!(self.link.access, Access::App { .. });
        if answer.status != 401 || !can_mint {
            return self.checked(answer);
        }
        self.tokens.forget(&token).await;
        let token = self.tokens.of(&self.origin, self.link).await?;
        let answer = self.send_with(&token, &call).await?;
        self.checked(answer)
    }

    /// Sends a request as the App itself.
    pub(crate) async fn send_as_app(&self, app: &str, call: Call) -> Result<Answer, ForgeError> {
        let token = self.tokens.app(app).await?;
        let call =
            call.header("authorization", format!("Bearer {token}")).or_header("accept", "application/vnd.github+json");
        self.checked(self.origin.send(&call).await.map_err(no_answer)?)
    }

    async fn send_with(&self, token: &Token, call: &Call) -> Result<Answer, ForgeError> {
        let value = token.value.reveal();
        let call = match self.link.forge {
            ForgeKind::Github => call
                .clone()
                .header("authorization", format!("Bearer {value}"))
                .header("x-github-api-version", "2022-11-28")
                .or_header("accept", "application/vnd.github+json"),
            ForgeKind::Gitlab => call.clone().header("private-token", value),
            ForgeKind::Gitea => call.clone().header("authorization", format!("token {value}")),
        };
        self.origin.send(&call).await.map_err(no_answer)
    }

    fn checked(&self, answer: Answer) -> Result<Answer, ForgeError> {
        if answer.is_success() { Ok(answer) } else { Err(failure(&answer, self.tokens.now())) }
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, ForgeError> {
        let answer = self.send(call).await?;
        read(&answer)
    }

    /// As [`Self::json`], or `None` if there is no such thing.
    pub(crate) async fn found<T: DeserializeOwned>(&self, call: Call) -> Result<Option<T>, ForgeError> {
        match self.json(call).await {
            Err(ForgeError::Gone(_)) => Ok(None),
            found => found.map(Some),
        }
    }

    pub(crate) async fn text(&self, call: Call) -> Result<String, ForgeError> {
        let answer = self.send(call).await?;
        String::from_utf8(answer.body).map_err(|_| ForgeError::BadAnswer("the file isn't UTF-8".to_owned()))
    }

    async fn credential(&self) -> Result<Credential, ForgeError> {
        let token = self.tokens.reading(&self.origin, self.link).await?;
        let user = match self.link.forge {
            ForgeKind::Github => "x-access-token",
            ForgeKind::Gitlab | ForgeKind::Gitea => "oauth2",
        };
        Ok(Credential { user: user.to_owned(), token: token.value, expires_at: token.expires_at })
    }
}

/// The answer's body as JSON.
pub(crate) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ForgeError> {
    answer.json().map_err(no_answer)
}

/// Calls the method of the link's kind of forge.
macro_rules! by_kind {
    ($self:ident, $link:ident, $asking:ident, $github:expr, $gitlab:expr, $gitea:expr) => {
        Box::pin(async move {
            let $asking = $self.asking($link)?;
            match $link.forge {
                ForgeKind::Github => $github.await,
                ForgeKind::Gitlab => $gitlab.await,
                ForgeKind::Gitea => $gitea.await,
            }
        })
    };
}

impl Forge for Forges {
    fn repository<'a>(&'a self, link: &'a Link) -> Asked<'a, Repository> {
        by_kind!(self, link, ask, ask.github_repository(), ask.gitlab_repository(), ask.gitea_repository())
    }

    fn ref_head<'a>(&'a self, link: &'a Link, name: &'a GitRef) -> Asked<'a, Option<CommitId>> {
        by_kind!(self, link, ask, ask.github_ref(name), ask.gitlab_ref(name), ask.gitea_ref(name))
    }

    fn pull_request<'a>(&'a self, link: &'a Link, number: u64) -> Asked<'a, Option<PullRequest>> {
        by_kind!(self, link, ask, ask.github_pull(number), ask.gitlab_request(number), ask.gitea_pull(number))
    }

    fn files<'a>(&'a self, link: &'a Link, commit: &'a CommitId) -> Asked<'a, Vec<RepositoryFile>> {
        by_kind!(self, link, ask, ask.github_files(commit), ask.gitlab_files(commit), ask.gitea_files(commit))
    }

    fn file<'a>(&'a self, link: &'a Link, commit: &'a CommitId, file: &'a RepositoryFile) -> Asked<'a, String> {
        let path = &file.path;
        by_kind!(
            self,
            link,
            ask,
            ask.github_file(commit, path),
            ask.gitlab_file(commit, path),
            ask.gitea_file(commit, path)
        )
    }

    fn changed<'a>(&'a self, link: &'a Link, base: &'a CommitId, head: &'a CommitId) -> Asked<'a, Changed> {
        if base == head {
            return Box::pin(ready(Ok(Changed::Files(Vec::new()))));
        }
        by_kind!(
            self,
            link,
            ask,
            ask.github_changed(base, head),
            ask.gitlab_changed(base, head),
            ask.gitea_changed(base, head)
        )
    }

    fn changed_by<'a>(&'a self, link: &'a Link, pull_request: u64) -> Asked<'a, Changed> {
        by_kind!(
            self,
            link,
            ask,
            ask.github_pull_files(pull_request),
            ask.gitlab_request_files(pull_request),
            ask.gitea_pull_files(pull_request)
        )
    }

    fn send_state<'a>(&'a self, link: &'a Link, update: &'a StateUpdate) -> Asked<'a, StateAnswer> {
        by_kind!(self, link, ask, ask.github_send_state(update), ask.gitlab_send_state(update), ask.send_status(update))
    }

    fn shown<'a>(&'a self, link: &'a Link, commit: &'a CommitId) -> Asked<'a, Vec<Shown>> {
        by_kind!(self, link, ask, ask.github_shown(commit), ask.gitlab_shown(commit), ask.gitea_shown(commit))
    }

    fn may_write<'a>(&'a self, link: &'a Link, user: &'a str) -> Asked<'a, bool> {
        // GitLab has no button that asks for it.
        let nobody = ready(Ok(false));
        by_kind!(self, link, ask, ask.collaborator_may_write(user), nobody, ask.collaborator_may_write(user))
    }

    fn credential<'a>(&'a self, link: &'a Link) -> Asked<'a, Credential> {
        Box::pin(async move { self.asking(link)?.credential().await })
    }

    fn failed_deliveries<'a>(&'a self, link: &'a Link, since: Millis) -> Asked<'a, Vec<FailedDelivery>> {
        let none = ready(Ok(Vec::new()));
        by_kind!(self, link, ask, ask.github_failed(since), none, none)
    }

    fn redeliver<'a>(&'a self, link: &'a Link, id: &'a str) -> Asked<'a, ()> {
        let refused = ready(Err(ForgeError::Refused("only GitHub can be asked for a delivery again".to_owned())));
        by_kind!(self, link, ask, ask.github_redeliver(id), refused, refused)
    }
}
