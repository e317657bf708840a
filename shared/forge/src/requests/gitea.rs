//! Requests to Gitea and Forgejo.

use engine::forge::names::{CommitId, GitRef};
use engine::forge::ports::{Changed, ForgeError, PullRequest, Repository, RepositoryFile, Shown};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::segments;
use super::forges::Asking;
use super::github::{Entry, RawFile, RawPull, RawRepository, changed, commit, workflow_files};
use super::http::Call;

/// Files of a comparison; of more, what matters can't be known.
const COMPARED: usize = 300;
/// The largest page that a server with the usual settings gives.
const PAGE: &str = "limit=50";

#[derive(Deserialize)]
struct Branch {
    commit: OfBranch,
}

#[derive(Deserialize)]
struct OfBranch {
    id: String,
}

#[derive(Deserialize)]
struct Tag {
    commit: OfTag,
}

#[derive(Deserialize)]
struct OfTag {
    sha: String,
}

#[derive(Deserialize)]
struct Comparison {
    total_commits: usize,
    #[serde(default)]
    commits: Option<Vec<Compared>>,
}

#[derive(Deserialize)]
struct Compared {
    files: Option<Vec<RawFile>>,
}

impl Asking<'_> {
    pub(crate) async fn gitea_repository(&self) -> Result<Repository, ForgeError> {
        self.json::<RawRepository>(Call::get(self.repo()?)).await.map(RawRepository::named)
    }

    pub(crate) async fn gitea_ref(&self, name: &GitRef) -> Result<Option<CommitId>, ForgeError> {
        let (repo, short) = (self.repo()?, segments(name.short())?);
        let sha = if name.tag().is_some() {
            self.found::<Tag>(Call::get(format!("{repo}/tags/{short}"))).await?.map(|tag| tag.commit.sha)
        } else {
            self.found::<Branch>(Call::get(format!("{repo}/branches/{short}"))).await?.map(|branch| branch.commit.id)
        };
        sha.map(commit).transpose()
    }

    pub(crate) async fn gitea_pull(&self, number: u64) -> Result<Option<PullRequest>, ForgeError> {
        let found = self.found::<RawPull>(Call::get(format!("{}/pulls/{number}", self.repo()?))).await?;
        found.map(|pull| pull.named(self.link)).transpose()
    }

    pub(crate) async fn gitea_files(&self, commit: &CommitId) -> Result<Vec<RepositoryFile>, ForgeError> {
        let call = Call::get(format!("{}/contents/.wfg?ref={commit}", self.repo()?));
        let found = self.found::<Value>(call).await?.filter(Value::is_array).unwrap_or_else(|| json!([]));
        let entries: Vec<Entry> =
            serde_json::from_value(found).map_err(|error| ForgeError::BadAnswer(error.to_string()))?;
        Ok(workflow_files(entries))
    }

    pub(crate) async fn gitea_file(&self, commit: &CommitId, path: &str) -> Result<String, ForgeError> {
        self.text(Call::get(format!("{}/raw/{}?ref={commit}", self.repo()?, segments(path)?))).await
    }

    /// The comparison lists commits with their files. Together they are at least what differs.
    pub(crate) async fn gitea_changed(&self, base: &CommitId, head: &CommitId) -> Result<Changed, ForgeError> {
        let call = Call::get(format!("{}/compare/{base}...{head}", self.repo()?));
        let Some(found) = self.found::<Comparison>(call).await? else { return Ok(Changed::Unknown) };
        let commits = found.commits.unwrap_or_default();
        // Without commits the head is an older one of the base.
        if commits.is_empty() || commits.len() < found.total_commits {
            return Ok(Changed::Unknown);
        }
        let files: Option<Vec<Vec<RawFile>>> = commits.into_iter().map(|commit| commit.files).collect();
        Ok(files.map_or(Changed::Unknown, |files| changed(files.into_iter().flatten().collect(), COMPARED)))
    }

    pub(crate) async fn gitea_pull_files(&self, number: u64) -> Result<Changed, ForgeError> {
        self.pull_files(number, PAGE).await
    }

    pub(crate) async fn gitea_shown(&self, commit: &CommitId) -> Result<Vec<Shown>, ForgeError> {
        self.shown_statuses(commit, PAGE).await
    }
}
