//! Requests to GitHub.

use std::collections::BTreeMap;

use engine::forge::link::{Access, Link};
use engine::forge::names::{CommitId, GitRef};
use engine::forge::ports::{
    Changed, FailedDelivery, ForgeError, PullRequest, Repository, RepositoryFile, Shown, StateAnswer, StateUpdate,
};
use engine::forge::state::TargetState;
use protocol::Millis;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{iso, millis};
use super::api::{is_workflow_name, left, segment, segments};
use super::forges::{Asking, read};
use super::http::Call;
use super::states::{CheckState, DESCRIPTION, check_run, cut, status};
use crate::APPROVE;

/// Files that a comparison tells; of more than these some are missing.
const COMPARED: usize = 300;
/// Files of a pull request that GitHub tells.
const PULLED: usize = 3000;
const PAGE: usize = 100;
/// The longest summary of a check run, in characters.
const SUMMARY: usize = 65_535;
const ANNOTATIONS: usize = 50;
/// A page of deliveries, and how many pages are read.
const DELIVERY_PAGES: usize = 10;
/// Pages of check runs that are read.
const CHECK_PAGES: usize = 10;

#[derive(Deserialize)]
pub(crate) struct RawRepository {
    id: u64,
    full_name: String,
    default_branch: String,
    #[serde(default)]
    private: bool,
}

#[derive(Deserialize)]
struct RawRef {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    sha: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct OfCommit {
    sha: String,
}

/// A pull request of GitHub, Gitea and Forgejo.
#[derive(Deserialize)]
pub(crate) struct RawPull {
    number: u64,
    state: String,
    head: Side,
    base: Side,
    user: Option<User>,
}

#[derive(Deserialize)]
struct Side {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
    repo: Option<OfRepository>,
}

#[derive(Deserialize)]
struct OfRepository {
    id: u64,
}

#[derive(Deserialize)]
struct User {
    login: String,
}

/// An entry of a folder, of GitHub, Gitea and Forgejo.
#[derive(Deserialize)]
pub(crate) struct Entry {
    path: String,
    sha: String,
    #[serde(rename = "type")]
    kind: String,
    size: Option<u64>,
}

/// A changed file, of GitHub, Gitea and Forgejo.
#[derive(Deserialize)]
pub(crate) struct RawFile {
    filename: String,
    previous_filename: Option<String>,
}

#[derive(Deserialize)]
struct Comparison {
    /// `behind`: the head is an older commit of the base. The files are those since their common commit, so there are none.
    #[serde(default)]
    status: String,
    files: Option<Vec<RawFile>>,
}

#[derive(Deserialize)]
struct CheckRuns {
    check_runs: Vec<RawCheck>,
}

#[derive(Deserialize)]
struct RawCheck {
    id: u64,
    name: String,
    external_id: Option<String>,
    status: String,
    conclusion: Option<String>,
}

/// A status of a commit, of GitHub, Gitea and Forgejo.
#[derive(Deserialize)]
pub(crate) struct RawStatus {
    id: u64,
    context: String,
    /// As GitHub calls it.
    state: Option<String>,
    /// As Gitea calls it.
    status: Option<String>,
}

#[derive(Deserialize)]
struct RawDelivery {
    id: u64,
    guid: String,
    delivered_at: String,
    status_code: u16,
    repository_id: Option<u64>,
}

impl RawRepository {
    pub(crate) fn named(self) -> Repository {
        let Self { id: number, full_name: name, default_branch, private } = self;
        Repository { number, name, default_branch, private }
    }
}

impl RawPull {
    pub(crate) fn named(self, link: &Link) -> Result<PullRequest, ForgeError> {
        let bad =
            |error: &dyn std::fmt::Display| ForgeError::BadAnswer(format!("pull request {}: {error}", self.number));
        Ok(PullRequest {
            number: self.number,
            open: self.state == "open",
            head: CommitId::new(self.head.sha).map_err(|error| bad(&error))?,
            head_ref: GitRef::of_branch(&self.head.name).ok(),
            base_ref: GitRef::of_branch(&self.base.name).map_err(|error| bad(&error))?,
            base: CommitId::new(self.base.sha).map_err(|error| bad(&error))?,
            // A repository that is gone is a fork too.
            fork: self.head.repo.is_none_or(|from| from.id != link.key.repository),
            author: self.user.map_or_else(String::new, |user| user.login),
        })
    }
}

/// The workflow files among the entries of `.wfg`.
pub(crate) fn workflow_files(entries: Vec<Entry>) -> Vec<RepositoryFile> {
    let is_workflow = |entry: &Entry| entry.kind == "file" && is_workflow_name(&entry.path);
    let mut files: Vec<RepositoryFile> = entries
        .into_iter()
        .filter(is_workflow)
        .map(|Entry { path, sha: blob, size, .. }| RepositoryFile { path, blob, size })
        .collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

/// The names of changed files, or unknown if there may be more than these.
pub(crate) fn changed(files: Vec<RawFile>, most: usize) -> Changed {
    if files.len() >= most {
        return Changed::Unknown;
    }
    let both = |file: RawFile| [Some(file.filename), file.previous_filename];
    Changed::Files(files.into_iter().flat_map(both).flatten().collect())
}

impl Asking<'_> {
    /// The path of the repository.
    pub(crate) fn repo(&self) -> Result<String, ForgeError> {
        Ok(format!("/repos/{}", segments(&self.link.repository)?))
    }

    pub(crate) async fn github_repository(&self) -> Result<Repository, ForgeError> {
        self.json::<RawRepository>(Call::get(self.repo()?)).await.map(RawRepository::named)
    }

    pub(crate) async fn github_ref(&self, name: &GitRef) -> Result<Option<CommitId>, ForgeError> {
        let short = segments(name.as_str().trim_start_matches("refs/"))?;
        let found = self.found::<RawRef>(Call::get(format!("{}/git/ref/{short}", self.repo()?))).await?;
        let Some(RawRef { object }) = found else { return Ok(None) };
        let sha = if object.kind == "tag" {
            let call = Call::get(format!("{}/commits/{short}", self.repo()?));
            let Some(commit) = self.found::<OfCommit>(call).await? else { return Ok(None) };
            commit.sha
        } else {
            object.sha
        };
        commit(sha).map(Some)
    }

    pub(crate) async fn github_pull(&self, number: u64) -> Result<Option<PullRequest>, ForgeError> {
        let found = self.found::<RawPull>(Call::get(format!("{}/pulls/{number}", self.repo()?))).await?;
        found.map(|pull| pull.named(self.link)).transpose()
    }

    pub(crate) async fn github_files(&self, commit: &CommitId) -> Result<Vec<RepositoryFile>, ForgeError> {
        let call = Call::get(format!("{}/contents/.wfg?ref={commit}", self.repo()?));
        // If `.wfg` is a file, the answer is an object.
        let found = self.found::<Value>(call).await?.filter(Value::is_array).unwrap_or_else(|| json!([]));
        let entries = serde_json::from_value(found).map_err(|error| ForgeError::BadAnswer(error.to_string()))?;
        Ok(workflow_files(entries))
    }

    pub(crate) async fn github_file(&self, commit: &CommitId, path: &str) -> Result<String, ForgeError> {
        let call = Call::get(format!("{}/contents/{}?ref={commit}", self.repo()?, segments(path)?));
        self.text(call.header("accept", "application/vnd.github.raw+json")).await
    }

    pub(crate) async fn github_changed(&self, base: &CommitId, head: &CommitId) -> Result<Changed, ForgeError> {
        // The files are on the first page, however many commits a page has.
        let call = Call::get(format!("{}/compare/{base}...{head}?per_page=1", self.repo()?));
        let found = self.found::<Comparison>(call).await?;
        let found = found.filter(|found| found.status != "behind");
        Ok(found.and_then(|found| found.files).map_or(Changed::Unknown, |files| changed(files, COMPARED)))
    }

    /// The files of a pull request of GitHub, Gitea and Forgejo, page by page.
    pub(crate) async fn pull_files(&self, number: u64, page_size: &str) -> Result<Changed, ForgeError> {
        let mut files: Vec<RawFile> = Vec::new();
        for page in 1..=PULLED {
            let call = Call::get(format!("{}/pulls/{number}/files?{page_size}&page={page}", self.repo()?));
            let more = self.json::<Vec<RawFile>>(call).await?;
            let is_last = more.is_empty();
            files.extend(more);
            if is_last || files.len() >= PULLED {
                break;
            }
        }
        Ok(changed(files, PULLED))
    }

    pub(crate) async fn github_pull_files(&self, number: u64) -> Result<Changed, ForgeError> {
        self.pull_files(number, &format!("per_page={PAGE}")).await
    }

    pub(crate) async fn github_send_state(&self, update: &StateUpdate) -> Result<StateAnswer, ForgeError> {
        match self.link.access {
            Access::App { .. } => self.send_check(update).await,
            Access::Token(_) => self.send_status(update).await,
        }
    }

    async fn send_check(&self, update: &StateUpdate) -> Result<StateAnswer, ForgeError> {
        let repo = self.repo()?;
        let body = check_body(update);
        let call = match &update.id {
            Some(id) => Call::patch(format!("{repo}/check-runs/{}", segment(id)?), body),
            None => Call::post(format!("{repo}/check-runs"), body),
        };
        let answer = self.send(call).await?;
        let RawCheck { id, .. } = read(&answer)?;
        Ok(StateAnswer { id: Some(id.to_string()), left: left(&answer) })
    }

    /// Tells a status of GitHub, Gitea and Forgejo.
    pub(crate) async fn send_status(&self, update: &StateUpdate) -> Result<StateAnswer, ForgeError> {
        let mut body = json!({
            "state": status(update.state),
            "context": update.name,
            "description": cut(&update.description, DESCRIPTION),
        });
        if let Some(url) = &update.url {
            body["target_url"] = json!(url);
        }
        let answer = self.send(Call::post(format!("{}/statuses/{}", self.repo()?, update.commit), body)).await?;
        Ok(StateAnswer { id: None, left: left(&answer) })
    }

    pub(crate) async fn github_shown(&self, commit: &CommitId) -> Result<Vec<Shown>, ForgeError> {
        if let Access::Token(_) = self.link.access {
            return self.shown_statuses(commit, &format!("per_page={PAGE}")).await;
        }
        let mut shown = Vec::new();
        for page in 1..=CHECK_PAGES {
            let path = format!("{}/commits/{commit}/check-runs?per_page={PAGE}&page={page}", self.repo()?);
            let found: CheckRuns = self.json(Call::get(path)).await?;
            let is_last = found.check_runs.len() < PAGE;
            shown.extend(found.check_runs.into_iter().map(|check| Shown {
                name: check.name,
                state: check.conclusion.unwrap_or(check.status),
                external_id: check.external_id,
                id: Some(check.id.to_string()),
            }));
            if is_last {
                break;
            }
        }
        Ok(shown)
    }

    /// The latest status of each name, of GitHub, Gitea and Forgejo.
    pub(crate) async fn shown_statuses(&self, commit: &CommitId, page_size: &str) -> Result<Vec<Shown>, ForgeError> {
        let call = Call::get(format!("{}/commits/{commit}/statuses?{page_size}", self.repo()?));
        let mut latest: BTreeMap<String, RawStatus> = BTreeMap::new();
        for found in self.json::<Vec<RawStatus>>(call).await? {
            let is_newer = latest.get(&found.context).is_none_or(|known| known.id < found.id);
            if is_newer {
                latest.insert(found.context.clone(), found);
            }
        }
        let shown = |found: RawStatus| Shown {
            name: found.context,
            state: found.state.or(found.status).unwrap_or_default(),
            external_id: None,
            id: Some(found.id.to_string()),
        };
        Ok(latest.into_values().map(shown).collect())
    }

    /// Whether this person may write, of GitHub, Gitea and Forgejo.
    pub(crate) async fn collaborator_may_write(&self, user: &str) -> Result<bool, ForgeError> {
        #[derive(Deserialize)]
        struct Answered {
            permission: String,
        }
        let call = Call::get(format!("{}/collaborators/{}/permission", self.repo()?, segment(user)?));
        let found = self.found::<Answered>(call).await?;
        Ok(found.is_some_and(|found| ["write", "admin", "owner"].contains(&found.permission.as_str())))
    }

    pub(crate) async fn github_failed(&self, since: Millis) -> Result<Vec<FailedDelivery>, ForgeError> {
        let Access::App { id, .. } = &self.link.access else { return Ok(Vec::new()) };
        // The forge writes whole seconds: a delivery in this second is not older.
        let since = Millis(since.0 / 1000 * 1000);
        let mut cursor: Option<String> = None;
        // By what stays the same when a delivery is sent again. The newest come first.
        let mut delivered: BTreeMap<String, bool> = BTreeMap::new();
        let mut failed = Vec::new();
        for _ in 0..DELIVERY_PAGES {
            let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let answer =
                self.send_as_app(id, Call::get(format!("/app/hook/deliveries?per_page={PAGE}{after}"))).await?;
            let page: Vec<RawDelivery> = read(&answer)?;
            let mut is_old = page.is_empty();
            for one in page {
                let Some(at) = millis(&one.delivered_at) else { continue };
                is_old |= at < since;
                if at < since {
                    continue;
                }
                let succeeded = (200..300).contains(&one.status_code);
                let known = delivered.contains_key(&one.guid);
                *delivered.entry(one.guid.clone()).or_default() |= succeeded;
                if !succeeded && !known {
                    let repository = one.repository_id;
                    failed.push(FailedDelivery { id: one.id.to_string(), at, guid: one.guid, repository });
                }
            }
            cursor = next_cursor(answer.header("link").unwrap_or_default());
            if is_old || cursor.is_none() {
                break;
            }
        }
        failed.retain(|one| !delivered[&one.guid]);
        Ok(failed)
    }

    pub(crate) async fn github_redeliver(&self, id: &str) -> Result<(), ForgeError> {
        let Access::App { id: app, .. } = &self.link.access else {
            return Err(ForgeError::Refused("only an App can ask for a delivery again".to_owned()));
        };
        let call = Call::post(format!("/app/hook/deliveries/{}/attempts", segment(id)?), Value::Null);
        self.send_as_app(app, call).await.map(drop)
    }
}

pub(crate) fn commit(sha: String) -> Result<CommitId, ForgeError> {
    CommitId::new(sha).map_err(|error| ForgeError::BadAnswer(error.to_string()))
}

/// The body of a check run that is created or changed.
fn check_body(update: &StateUpdate) -> Value {
    let title = if update.description.is_empty() { &update.name } else { &update.description };
    let summary = if update.summary.is_empty() { title } else { &update.summary };
    let annotations: Vec<Value> = update
        .annotations
        .iter()
        .take(ANNOTATIONS)
        .map(|one| {
            json!({
                "path": one.path,
                "start_line": one.line.max(1),
                "end_line": one.line.max(1),
                "annotation_level": "failure",
                "message": cut(&one.message, 4000),
            })
        })
        .collect();
    let mut body = json!({
        "name": update.name,
        "external_id": update.external_id.0,
        "output": { "title": cut(title, DESCRIPTION), "summary": cut(summary, SUMMARY), "annotations": annotations },
    });
    if update.id.is_none() {
        body["head_sha"] = json!(update.commit);
    }
    match check_run(update.state) {
        CheckState::Open(status) => body["status"] = json!(status),
        CheckState::Completed(conclusion) => {
            body["status"] = json!("completed");
            body["conclusion"] = json!(conclusion);
            if let Some(at) = update.ended_at {
                body["completed_at"] = json!(iso(at));
            }
        }
    }
    if let Some(at) = update.started_at {
        body["started_at"] = json!(iso(at));
    }
    if let Some(url) = &update.url {
        body["details_url"] = json!(url);
    }
    let button = json!({ "label": "Approve", "description": "Run this commit of a fork", "identifier": APPROVE });
    body["actions"] = if update.state == TargetState::WaitsForApproval { json!([button]) } else { json!([]) };
    body
}

/// The cursor of the next page in a `Link` header. Only this parameter is read, never the address.
fn next_cursor(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let (_, query) = next.split_once('<')?.1.split_once('>')?.0.split_once('?')?;
    let cursor = query.split('&').find_map(|pair| pair.strip_prefix("cursor="))?;
    let plain = cursor.chars().all(|one| one.is_ascii_alphanumeric() || "_-%.=".contains(one));
    (plain && !cursor.is_empty()).then(|| cursor.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_page_is_found_by_its_cursor_alone() {
        let link = "<https://elsewhere.example/x?per_page=100&cursor=v1_12077215967>; rel=\"next\"";
        assert_eq!(next_cursor(link).as_deref(), Some("v1_12077215967"));
        assert_eq!(next_cursor("<https://a/x?cursor=a/../b>; rel=\"next\""), None);
        assert_eq!(next_cursor(&link.replace("next", "prev")), None);
    }
}
