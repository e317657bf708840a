//! The API of Gitea and Forgejo, under `/api/v1`. Where it is the same as GitHub's, that code answers.

use serde_json::{Value, json};

use super::answer::{Answer, Api, not_found, ok, raw, says};
use super::{TestForge, gitea_contract};

/// A request or an answer that Gitea's models don't allow is noted.
pub(super) async fn answer(forge: &TestForge, api: &Api<'_>) -> Answer {
    let answer = answer_unchecked(forge, api).await;
    if let ["repos", _, _, rest @ ..] = api.parts().as_slice()
        && (200..300).contains(&answer.status)
        && let Some(problem) = gitea_contract::problem(api.method, rest, &api.body, &answer.body)
    {
        forge.state().problems.push(problem);
    }
    answer
}

async fn answer_unchecked(forge: &TestForge, api: &Api<'_>) -> Answer {
    if !forge.knows(api.token) {
        return says(401, "user does not exist [uid: 0, name: ]");
    }
    let parts = api.parts();
    let ["repos", owner, repo, rest @ ..] = parts.as_slice() else { return not_found() };
    let name = &format!("{owner}/{repo}");
    if !forge.state().repositories.contains_key(name) {
        return not_found();
    }
    match (api.method, rest) {
        ("GET", []) => ok(&forge.described(name)),
        ("GET", ["branches", branch @ ..]) => {
            match forge.head_of(name, &format!("refs/heads/{}", branch.join("/"))).await {
                Some(head) => ok(&json!({ "name": branch.join("/"), "commit": { "id": head } })),
                None => not_found(),
            }
        }
        ("GET", ["tags", tag @ ..]) => tagged(forge, name, &tag.join("/")).await,
        ("GET", ["pulls", number]) => match forge.pull(name, number) {
            Some(pull) => ok(&forge.pull_json(name, &pull).await),
            None => not_found(),
        },
        ("GET", ["pulls", number, "files"]) => forge.pull_files(name, number, &api.query, "limit", 30).await,
        ("GET", ["contents", path @ ..]) => contents(forge, name, &path.join("/"), api).await,
        ("GET", ["raw", path @ ..]) => {
            let bare = forge.bare(name);
            let commit = bare.commit(api.query.get("ref").unwrap_or("main")).await.unwrap_or_default();
            bare.file(&commit, &path.join("/")).await.map_or_else(not_found, raw)
        }
        ("GET", ["compare", range]) => match range.split_once("...") {
            Some((base, head)) => compared(forge, name, base, head).await,
            None => not_found(),
        },
        ("GET", ["collaborators", user, "permission"]) => forge.permission(name, user),
        ("POST", ["statuses", sha]) => forge.post_status(name, sha, &api.body, "status").await,
        ("GET", ["commits", sha, "statuses"]) => forge.listed_statuses(name, sha, "status", &api.query, "limit"),
        _ => not_found(),
    }
}

async fn tagged(forge: &TestForge, name: &str, tag: &str) -> Answer {
    let Some(object) = forge.head_of(name, &format!("refs/tags/{tag}")).await else { return not_found() };
    let commit = forge.bare(name).commit(&object).await;
    ok(&json!({ "name": tag, "id": object, "commit": { "sha": commit } }))
}

async fn contents(forge: &TestForge, name: &str, path: &str, api: &Api<'_>) -> Answer {
    let bare = forge.bare(name);
    let commit = bare.commit(api.query.get("ref").unwrap_or("main")).await.unwrap_or_default();
    let Some(entries) = bare.folder(&commit, path).await else { return not_found() };
    let entry = |entry: super::git::Entry| {
        let kind = if entry.is_file { "file" } else { "dir" };
        json!({ "type": kind, "name": entry.name, "path": entry.path, "sha": entry.id, "size": entry.size })
    };
    ok(&entries.into_iter().map(entry).collect())
}

/// Gitea lists the commits, each with its files. A renamed file is two: one that was removed, one that was added.
async fn compared(forge: &TestForge, name: &str, base: &str, head: &str) -> Answer {
    let git = forge.bare(name);
    let listed = git.ask(&["rev-list", &format!("{base}..{head}")]).await;
    let Some(listed) = listed else { return not_found() };
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let mut commits = Vec::new();
    for sha in listed.lines() {
        let parent = git.commit(&format!("{sha}^")).await;
        let changed = match parent {
            Some(parent) => git.changed(&parent, sha).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let files = changed.iter().flat_map(|one| one.before.iter().chain([&one.path]));
        let files: Vec<Value> = files.map(|path| json!({ "filename": path, "status": "modified" })).collect();
        commits.push(json!({ "sha": sha, "files": files }));
    }
    ok(&json!({ "total_commits": commits.len(), "commits": commits }))
}
