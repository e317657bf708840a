//! Checkouts: what a run's jobs check out, and the credential for it.
//!
//! A run that a forge started says in its control record which repository and commit it is of. Its link gives the address and a
//! credential, which is minted or read when a worker takes a job. Inputs that a person gave never get one: they name an address, and
//! the worker's own git decides what it may read there.

use std::future::ready;
use std::sync::Arc;

use futures::future::BoxFuture;
use protocol::wire::InputValues;
use workflow::{CheckoutCredential, CheckoutFrom};

use super::link::Link;
use super::names::{CommitId, EventName, ReportKey, RepositoryKey};
use super::ports::{Credential, Forge, ForgeError};
use super::store::ForgeStore;

/// The repository that a job checks out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Wanted {
    /// The repository.
    pub repository: RepositoryKey,
    /// True if the commit comes from a fork. Then there is a credential only if the repository is private.
    pub fork: bool,
}

/// Where a repository is, and what opens it.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The address for git, without a user or a password.
    pub url: String,
    /// The credential, for a repository that needs one.
    pub credential: Option<Credential>,
}

/// Where repositories of links are. The caller gives one to the engine.
pub trait CheckoutSource: Send + Sync {
    /// Returns the repository's address with a credential that is good for the next minutes at least, or `None` if no link has this
    /// repository.
    fn origin<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Option<Origin>, ForgeError>>;
}

/// A source without links.
impl CheckoutSource for () {
    fn origin<'a>(&'a self, _: &'a Wanted) -> BoxFuture<'a, Result<Option<Origin>, ForgeError>> {
        Box::pin(ready(Ok(None)))
    }
}

/// The links of a store, with credentials of their forges.
pub struct LinkedRepositories<S> {
    store: Arc<S>,
    forge: Arc<dyn Forge>,
}

impl<S> LinkedRepositories<S> {
    /// The links of this store.
    #[must_use]
    pub fn new(store: Arc<S>, forge: Arc<dyn Forge>) -> Self {
        Self { store, forge }
    }
}

impl<S: ForgeStore> CheckoutSource for LinkedRepositories<S> {
    fn origin<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Option<Origin>, ForgeError>> {
        Box::pin(async move {
            let link = self.store.link(&wanted.repository).await;
            let Some(link) = link.map_err(|error| ForgeError::NoAnswer(error.to_string()))? else { return Ok(None) };
            let is_open = wanted.fork && !self.forge.repository(&link).await?.private;
            let credential = if is_open { None } else { Some(self.forge.credential(&link).await?) };
            Ok(Some(Origin { url: clone_url(&link), credential }))
        })
    }
}

/// The address of a link's repository for git.
#[must_use]
pub fn clone_url(link: &Link) -> String {
    format!("{}.git", link.page())
}

/// What a run of a forge checks out. `sets_token` says whether the worker sets the variable of the credential itself.
pub(crate) fn of_run(report: &ReportKey, inputs: &InputValues, origin: Origin, sets_token: bool) -> CheckoutFrom {
    let credential = origin
        .credential
        .map(|Credential { user, token, .. }| CheckoutCredential { user, set: (!sets_token).then_some(token) });
    CheckoutFrom {
        url: origin.url,
        commit: report.commit.as_str().to_owned(),
        refs: refs(report.event, inputs),
        credential,
    }
}

/// The repository that a run of a forge is of.
pub(crate) fn wanted(report: &ReportKey, inputs: &InputValues) -> Wanted {
    let fork = inputs.get("fork").is_some_and(|fork| fork == "true");
    Wanted { repository: report.repository.clone(), fork }
}

/// The refs that lead to the commit. A pull request's commit is under a ref of its own, and its branch may be in another
/// repository.
fn refs(event: EventName, inputs: &InputValues) -> Vec<String> {
    let name = |prefix: &str| value(inputs, "ref").map(|name| format!("{prefix}{name}"));
    match event {
        EventName::Push | EventName::MergeGroup => name("refs/heads/").into_iter().collect(),
        EventName::Tag => name("refs/tags/").into_iter().collect(),
        EventName::PullRequest => {
            let number = value(inputs, "pull_request").unwrap_or_default();
            vec![format!("refs/pull/{number}/head"), format!("refs/merge-requests/{number}/head")]
        }
    }
}

fn value<'v>(inputs: &'v InputValues, name: &str) -> Option<&'v str> {
    inputs.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// What a run checks out that no forge started: the inputs say it.
///
/// # Errors
/// What is missing or wrong, for people.
pub(crate) fn by_hand(inputs: &InputValues) -> Result<CheckoutFrom, String> {
    let Some(url) = value(inputs, "repository") else {
        return Err(
            "it has a checkout, and no forge started this run: the input `repository` is empty. Start it with `wfg forge start`, or give \
             an address and a branch or tag, as in `-f repository=https://git.example.com/acme/app.git -f ref=main`. A workflow has these \
             inputs beside `on`, or declares `repository`, `ref` and `commit`"
                .to_owned(),
        );
    };
    check_url(url)?;
    let commit = value(inputs, "commit").map(CommitId::new).transpose();
    let commit = commit.map_err(|error| format!("the checkout needs the input `commit`: {error}"))?;
    let name = value(inputs, "ref").unwrap_or("HEAD");
    if name.starts_with('-') || name.contains(|c: char| c.is_control() || c == ' ' || c == ':') {
        return Err(format!("the input `ref` is {name:?}, which is neither a branch nor a tag"));
    }
    let commit = commit.map_or_else(String::new, String::from);
    Ok(CheckoutFrom { url: url.to_owned(), commit, refs: vec![name.to_owned()], credential: None })
}

fn check_url(url: &str) -> Result<(), String> {
    let rest = ["https://", "http://", "ssh://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let Some(rest) = rest.filter(|rest| !rest.is_empty() && !rest.contains(|c: char| c.is_control() || c == ' '))
    else {
        return Err(format!(
            "the input `repository` is {url:?}. In a run that no forge started it is an address for git, such as \
             https://git.example.com/acme/app.git"
        ));
    };
    let host = rest.split('/').next().unwrap_or_default();
    let user = host.rsplit_once('@').map_or("", |(user, _)| user);
    if user.contains(':') || (!user.is_empty() && !url.starts_with("ssh://")) {
        return Err(
            "the input `repository` has a user or a password, which everybody who sees the run would see; leave it out, and let the \
             worker's git have a credential helper"
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(values: &[(&str, &str)]) -> InputValues {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn run_without_a_forge_names_what_its_checkout_lacks() {
        let error = |values: &[(&str, &str)]| by_hand(&inputs(values)).expect_err("refused");
        assert!(error(&[]).contains("`repository` is empty") && error(&[]).contains("wfg forge start"));
        for url in ["acme/app", "/srv/app.git", "file:///srv/app.git", "ext::sh -c id", "https://", "https://a b"] {
            assert!(error(&[("repository", url)]).contains("an address for git"), "{url}");
        }
        for url in ["https://ada:secret@h/a", "https://ada@h/a", "ssh://ada:x@h/a"] {
            assert!(error(&[("repository", url)]).contains("a user or a password"), "{url}");
        }
        let url = ("repository", "https://h/a.git");
        assert!(error(&[url, ("commit", "abc")]).contains("full id of a commit"));
        assert!(error(&[url, ("ref", "--upload-pack=id")]).contains("neither a branch nor a tag"));
    }

    #[test]
    fn run_without_a_forge_checks_out_what_its_inputs_name_without_a_credential() {
        let commit = "a".repeat(40);
        let from = by_hand(&inputs(&[("repository", "https://h:8443/a.git"), ("commit", &commit), ("ref", "x$(id)")]));
        let from = from.expect("good");
        assert_eq!((from.commit.as_str(), from.refs.as_slice()), (commit.as_str(), ["x$(id)".to_owned()].as_slice()));
        assert_eq!(from.credential, None);
        let from = by_hand(&inputs(&[("repository", "ssh://git@h/a.git")])).expect("good");
        assert_eq!((from.commit.as_str(), from.refs), ("", vec!["HEAD".to_owned()]));
    }

    #[test]
    fn commit_of_a_pull_request_is_looked_for_under_the_refs_of_its_number() {
        let of = |event, values: &[(&str, &str)]| refs(event, &inputs(values));
        assert_eq!(of(EventName::Push, &[("ref", "x$(id)")]), ["refs/heads/x$(id)"]);
        assert_eq!(of(EventName::Tag, &[("ref", "v1")]), ["refs/tags/v1"]);
        let pull = of(EventName::PullRequest, &[("ref", "x"), ("pull_request", "7")]);
        assert_eq!(pull, ["refs/pull/7/head", "refs/merge-requests/7/head"]);
    }
}
