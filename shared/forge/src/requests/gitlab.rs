//! Requests to GitLab.

use engine::forge::names::{CommitId, GitRef};
use engine::forge::ports::{
    Changed, ForgeError, PullRequest, Repository, RepositoryFile, Shown, StateAnswer, StateUpdate,
};
use engine::forge::state::TargetState;
use serde::Deserialize;
use serde_json::json;

use super::api::{is_workflow_name, left, segment};
use super::forges::{Asking, read};
use super::github::commit;
use super::http::{Answer, Call};
use super::states::{DESCRIPTION, cut, gitlab};

const COMPARED: usize = 300;
/// GitLab itself keeps at most 1,000 files of a merge request, and doesn't say that there are more.
const PULLED: usize = 1000;
/// The pages of `.wfg` that are read. More files than these pages have are refused anyway.
const TREE_PAGES: usize = 10;
const PAGE: usize = 100;

#[derive(Deserialize)]
struct Project {
    id: u64,
    path_with_namespace: String,
    #[serde(default)]
    default_branch: Option<String>,
    #[serde(default)]
    visibility: Option<String>,
}

#[derive(Deserialize)]
struct RawRef {
    commit: OfRef,
}

#[derive(Deserialize)]
struct OfRef {
    id: String,
}

#[derive(Deserialize)]
struct Request {
    iid: u64,
    state: String,
    sha: String,
    source_branch: String,
    target_branch: String,
    source_project_id: Option<u64>,
    target_project_id: u64,
    author: Option<User>,
    diff_refs: Option<DiffRefs>,
}

#[derive(Deserialize)]
struct DiffRefs {
    base_sha: String,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Comparison {
    /// None: the head is an older commit of the base.
    commits: Vec<serde::de::IgnoredAny>,
    diffs: Vec<Diff>,
    #[serde(default)]
    compare_timeout: bool,
}

#[derive(Deserialize)]
struct Diff {
    old_path: String,
    new_path: String,
}

#[derive(Deserialize)]
struct Posted {
    #[serde(default)]
    pipeline_id: Option<u64>,
}

#[derive(Deserialize)]
struct RawStatus {
    id: u64,
    name: String,
    status: String,
}

fn changed(diffs: Vec<Diff>, most: usize) -> Changed {
    if diffs.len() >= most {
        return Changed::Unknown;
    }
    let mut files: Vec<String> = diffs.into_iter().flat_map(|diff| [diff.old_path, diff.new_path]).collect();
    files.dedup();
    Changed::Files(files)
}

impl Asking<'_> {
    /// The path of the project: by its number, once it is known.
    fn project(&self) -> Result<String, ForgeError> {
        match self.link.key.repository {
            0 => Ok(format!("/projects/{}", segment(&self.link.repository)?)),
            number => Ok(format!("/projects/{number}")),
        }
    }

    pub(crate) async fn gitlab_repository(&self) -> Result<Repository, ForgeError> {
        let project: Project = self.json(Call::get(self.project()?)).await?;
        Ok(Repository {
            number: project.id,
            name: project.path_with_namespace,
            default_branch: project.default_branch.unwrap_or_default(),
            // A visibility that isn't told counts as private.
            private: project.visibility.as_deref() != Some("public"),
        })
    }

    pub(crate) async fn gitlab_ref(&self, name: &GitRef) -> Result<Option<CommitId>, ForgeError> {
        let kind = if name.tag().is_some() { "tags" } else { "branches" };
        let call = Call::get(format!("{}/repository/{kind}/{}", self.project()?, segment(name.short())?));
        self.found::<RawRef>(call).await?.map(|found| commit(found.commit.id)).transpose()
    }

    pub(crate) async fn gitlab_request(&self, number: u64) -> Result<Option<PullRequest>, ForgeError> {
        let call = Call::get(format!("{}/merge_requests/{number}", self.project()?));
        let Some(found) = self.found::<Request>(call).await? else { return Ok(None) };
        let base_ref = GitRef::of_branch(&found.target_branch);
        let base_ref = base_ref.map_err(|error| ForgeError::BadAnswer(format!("merge request {number}: {error}")))?;
        let base = match found.diff_refs {
            Some(refs) => commit(refs.base_sha)?,
            // A merge request that was just opened has none yet.
            None => match self.gitlab_ref(&base_ref).await? {
                Some(base) => base,
                None => return Err(ForgeError::Gone(format!("the branch {base_ref} of merge request {number}"))),
            },
        };
        Ok(Some(PullRequest {
            number: found.iid,
            open: found.state == "opened",
            head: commit(found.sha)?,
            head_ref: GitRef::of_branch(&found.source_branch).ok(),
            base_ref,
            base,
            fork: found.source_project_id != Some(found.target_project_id),
            author: found.author.map_or_else(String::new, |author| author.username),
        }))
    }

    pub(crate) async fn gitlab_files(&self, commit: &CommitId) -> Result<Vec<RepositoryFile>, ForgeError> {
        let mut entries: Vec<Entry> = Vec::new();
        for page in 1..=TREE_PAGES {
            let path =
                format!("{}/repository/tree?path=.wfg&ref={commit}&per_page={PAGE}&page={page}", self.project()?);
            let more = self.found::<Vec<Entry>>(Call::get(path)).await?.unwrap_or_default();
            let is_last = more.len() < PAGE;
            entries.extend(more);
            if is_last {
                break;
            }
        }
        let is_workflow = |entry: &Entry| entry.kind == "blob" && is_workflow_name(&entry.path);
        let file = |entry: Entry| RepositoryFile { path: entry.path, blob: entry.id, size: None };
        let mut files: Vec<RepositoryFile> = entries.into_iter().filter(is_workflow).map(file).collect();
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    pub(crate) async fn gitlab_file(&self, commit: &CommitId, path: &str) -> Result<String, ForgeError> {
        let path = segment(path)?;
        self.text(Call::get(format!("{}/repository/files/{path}/raw?ref={commit}", self.project()?))).await
    }

    pub(crate) async fn gitlab_changed(&self, base: &CommitId, head: &CommitId) -> Result<Changed, ForgeError> {
        let call = Call::get(format!("{}/repository/compare?from={base}&to={head}", self.project()?));
        let found =
            self.found::<Comparison>(call).await?.filter(|found| !found.compare_timeout && !found.commits.is_empty());
        Ok(found.map_or(Changed::Unknown, |found| changed(found.diffs, COMPARED)))
    }

    pub(crate) async fn gitlab_request_files(&self, number: u64) -> Result<Changed, ForgeError> {
        let mut diffs: Vec<Diff> = Vec::new();
        for page in 1..=PULLED / PAGE {
            let path = format!("{}/merge_requests/{number}/diffs?per_page={PAGE}&page={page}", self.project()?);
            let more = self.json::<Vec<Diff>>(Call::get(path)).await?;
            let is_last = more.len() < PAGE;
            diffs.extend(more);
            if is_last {
                break;
            }
        }
        Ok(changed(diffs, PULLED))
    }

    /// All states of a commit go to the pipeline that the first one made.
    pub(crate) async fn gitlab_send_state(&self, update: &StateUpdate) -> Result<StateAnswer, ForgeError> {
        let state = gitlab(update.state);
        let answer = match self.post_status(update, state).await {
            // Versions before 17 know no `skipped`.
            Err(ForgeError::Refused(_)) if update.state == TargetState::Skipped => {
                self.post_status(update, "success").await
            }
            answer => answer,
        };
        match answer {
            Ok(answer) => {
                let Posted { pipeline_id } = read(&answer)?;
                let id = pipeline_id.map(|id| id.to_string()).or_else(|| update.id.clone());
                Ok(StateAnswer { id, left: left(&answer) })
            }
            // It has this state already, or a final one of the same run.
            Err(ForgeError::Refused(text)) if text.contains("Cannot transition status") => {
                Ok(StateAnswer { id: update.id.clone(), left: None })
            }
            Err(error) => Err(error),
        }
    }

    async fn post_status(&self, update: &StateUpdate, state: &str) -> Result<Answer, ForgeError> {
        let mut body = json!({
            "state": state,
            "name": update.name,
            "description": cut(&update.description, DESCRIPTION),
        });
        if let Some(url) = &update.url {
            body["target_url"] = json!(url);
        }
        if let Some(name) = &update.name_of_ref {
            body["ref"] = json!(name.short());
        }
        if let Some(pipeline) = update.id.as_deref().and_then(|id| id.parse::<u64>().ok()) {
            body["pipeline_id"] = json!(pipeline);
        }
        self.send(Call::post(format!("{}/statuses/{}", self.project()?, update.commit), body)).await
    }

    pub(crate) async fn gitlab_shown(&self, commit: &CommitId) -> Result<Vec<Shown>, ForgeError> {
        let call = Call::get(format!("{}/repository/commits/{commit}/statuses?per_page={PAGE}", self.project()?));
        let found: Vec<RawStatus> = self.json(call).await?;
        let shown = |found: RawStatus| Shown {
            external_id: None,
            name: found.name,
            state: found.status,
            id: Some(found.id.to_string()),
        };
        Ok(found.into_iter().map(shown).collect())
    }
}
