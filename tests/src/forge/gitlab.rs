//! The API of GitLab, under `/api/v4`.

use std::time::Instant;

use serde_json::{Value, json};

use super::answer::{Answer, Api, json, not_found, ok, page, raw, says};
use super::{Posted, TestForge};

pub(super) async fn answer(forge: &TestForge, api: &Api<'_>) -> Answer {
    if !forge.knows(api.token) {
        return says(401, "401 Unauthorized");
    }
    let parts = api.parts();
    let ["projects", id, rest @ ..] = parts.as_slice() else { return not_found() };
    let found = forge
        .state()
        .repositories
        .iter()
        .find(|(name, one)| name == id || one.number.to_string() == *id)
        .map(|(name, _)| name.clone());
    let Some(name) = &found else { return not_found() };
    match (api.method, rest) {
        ("GET", []) => ok(&forge.project(name)),
        ("GET", ["repository", "branches", branch]) => {
            pointed(forge.head_of(name, &format!("refs/heads/{branch}")).await)
        }
        ("GET", ["repository", "tags", tag]) => {
            let object = forge.head_of(name, &format!("refs/tags/{tag}")).await.unwrap_or_default();
            pointed(forge.bare(name).commit(&object).await)
        }
        ("GET", ["repository", "tree"]) => tree(forge, name, api).await,
        ("GET", ["repository", "files", path, "raw"]) => {
            let bare = forge.bare(name);
            let commit = bare.commit(api.query.get("ref").unwrap_or("main")).await.unwrap_or_default();
            bare.file(&commit, path).await.map_or_else(not_found, raw)
        }
        ("GET", ["repository", "compare"]) => {
            let side = |key: &str| api.query.get(key).unwrap_or_default().to_owned();
            let bare = forge.bare(name);
            let range = format!("{}..{}", side("from"), side("to"));
            let commits = bare.ask(&["rev-list", &range]).await.unwrap_or_default();
            let commits = String::from_utf8_lossy(&commits).into_owned();
            let commits: Vec<Value> = commits.lines().map(|id| json!({ "id": id })).collect();
            match bare.changed(&side("from"), &side("to")).await {
                Some(changed) => {
                    let diffs: Vec<Value> = changed.iter().map(diff).collect();
                    ok(&json!({ "commits": commits, "diffs": diffs, "compare_timeout": false }))
                }
                None => not_found(),
            }
        }
        ("GET", ["merge_requests", number]) => request(forge, name, number).await,
        ("GET", ["merge_requests", number, "diffs"]) => {
            let Some(pull) = forge.pull(name, number) else { return not_found() };
            let base = format!("refs/heads/{}", pull.base);
            let changed = forge.bare(name).changed(&base, &pull.head).await.unwrap_or_default();
            ok(&page(changed, &api.query, "per_page", 20).iter().map(diff).collect())
        }
        ("POST", ["statuses", sha]) => forge.post_gitlab_status(name, sha, &api.body).await,
        ("GET", ["repository", "commits", sha, "statuses"]) => {
            let mut listed = forge.posted(name);
            listed.retain(|posted| posted.commit == *sha);
            let status = |posted: Posted| json!({ "id": posted.id, "name": posted.name, "status": posted.state });
            ok(&page(listed, &api.query, "per_page", 20).into_iter().map(status).collect())
        }
        _ => not_found(),
    }
}

fn pointed(commit: Option<String>) -> Answer {
    commit.map_or_else(not_found, |commit| ok(&json!({ "commit": { "id": commit } })))
}

fn diff(changed: &super::git::Changed) -> Value {
    json!({ "new_path": changed.path, "old_path": changed.before.as_ref().unwrap_or(&changed.path) })
}

async fn tree(forge: &TestForge, name: &str, api: &Api<'_>) -> Answer {
    let bare = forge.bare(name);
    let commit = bare.commit(api.query.get("ref").unwrap_or("main")).await.unwrap_or_default();
    let Some(entries) = bare.folder(&commit, api.query.get("path").unwrap_or_default()).await else {
        return not_found();
    };
    let entry = |entry: super::git::Entry| {
        let kind = if entry.is_file { "blob" } else { "tree" };
        json!({ "id": entry.id, "name": entry.name, "path": entry.path, "type": kind })
    };
    ok(&page(entries, &api.query, "per_page", 20).into_iter().map(entry).collect())
}

async fn request(forge: &TestForge, name: &str, number: &str) -> Answer {
    let Some(pull) = forge.pull(name, number) else { return not_found() };
    let base = forge.bare(name).commit(&format!("refs/heads/{}", pull.base)).await;
    let source = pull.from.as_ref().map(|from| forge.project(from)["id"].clone());
    ok(&json!({
        "iid": pull.number, "state": if pull.open { "opened" } else { "closed" }, "sha": pull.head,
        "source_branch": pull.branch, "target_branch": pull.base, "source_project_id": source,
        "target_project_id": forge.project(name)["id"], "author": { "username": "ada" },
        "diff_refs": { "base_sha": base, "head_sha": pull.head, "start_sha": base },
    }))
}

impl TestForge {
    fn project(&self, name: &str) -> Value {
        self.with(name, |repository| {
            let visibility = if repository.private { "private" } else { "public" };
            json!({
                "id": repository.number, "path_with_namespace": name, "default_branch": "main", "visibility": visibility,
            })
        })
    }

    /// A status can't go to the state that it has, nor leave a final one within its pipeline.
    async fn post_gitlab_status(&self, name: &str, sha: &str, body: &Value) -> Answer {
        if self.bare(name).commit(sha).await.as_deref() != Some(sha) {
            return says(404, "404 Commit Not Found");
        }
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let pipeline = body["pipeline_id"].as_u64().unwrap_or_else(|| self.number());
        let id = self.number();
        self.with(name, |repository| {
            let known = repository.posted.iter_mut().find(|posted| {
                posted.commit == sha && posted.name == text("name") && posted.body["pipeline"] == pipeline
            });
            let state = text("state");
            match known {
                Some(known) if known.state == state || known.state != "pending" && known.state != "running" => {
                    let verb = if state == "running" { "run" } else { state.as_str() };
                    let problem = format!("Cannot transition status via :{verb} from :{}", known.state);
                    return json(400, &json!({ "message": problem }));
                }
                Some(known) => {
                    known.history.push(std::mem::replace(&mut known.state, state));
                    known.at = Instant::now();
                    known.description = text("description");
                }
                None => repository.posted.push(Posted {
                    at: Instant::now(),
                    id,
                    commit: sha.to_owned(),
                    name: text("name"),
                    state,
                    description: text("description"),
                    url: text("target_url"),
                    body: json!({ "pipeline": pipeline }),
                    history: Vec::new(),
                }),
            }
            json(201, &json!({ "id": id, "status": body["state"], "name": body["name"], "pipeline_id": pipeline }))
        })
    }
}
