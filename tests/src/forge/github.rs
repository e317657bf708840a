//! The API of GitHub, under `/api/v3`.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::Millis;
use serde_json::{Value, json};

use super::answer::{Answer, Api, Query, json, not_found, ok, page, raw, says};
use super::{Posted, Pull, TestForge};

/// How long an installation token lasts.
const TOKEN_LASTS: Duration = Duration::from_hours(1);
/// Files of a comparison that are told.
const COMPARED: usize = 300;

/// A time as GitHub writes it.
pub(super) fn iso(at: Millis) -> String {
    let seconds = at.0 / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// The date of a day since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, of_year - (153 * shifted_month + 2) / 5 + 1)
}

pub(super) async fn answer(forge: &TestForge, api: &Api<'_>) -> Answer {
    let parts = api.parts();
    if parts.first() == Some(&"app") {
        return app(forge, api, &parts);
    }
    if !forge.knows(api.token) {
        return says(401, "Bad credentials");
    }
    let ["repos", owner, repo, rest @ ..] = parts.as_slice() else { return not_found() };
    let name = &format!("{owner}/{repo}");
    if !forge.state().repositories.contains_key(name) {
        return not_found();
    }
    match (api.method, rest) {
        ("GET", []) => ok(&forge.described(name)),
        ("GET", ["git", "ref", short @ ..]) => forge.git_ref(name, &short.join("/")).await,
        ("GET", ["commits", sha, "check-runs"]) => forge.listed_checks(name, sha, &api.query),
        ("GET", ["commits", sha, "statuses"]) => forge.listed_statuses(name, sha, "state", &api.query, "per_page"),
        ("GET", ["commits", revision @ ..]) => match forge.bare(name).commit(&revision.join("/")).await {
            Some(sha) => ok(&json!({ "sha": sha })),
            None => says(422, "No commit found for SHA"),
        },
        ("GET", ["pulls", number]) => forge.github_pull(name, number).await,
        ("GET", ["pulls", number, "files"]) => forge.pull_files(name, number, &api.query, "per_page", 30).await,
        ("GET", ["contents", path @ ..]) => contents(forge, name, &path.join("/"), api).await,
        ("GET", ["compare", range]) => match range.split_once("...") {
            Some((base, head)) => forge.comparison(name, base, head).await,
            None => not_found(),
        },
        ("GET", ["collaborators", user, "permission"]) => forge.permission(name, user),
        ("POST", ["statuses", sha]) => forge.post_status(name, sha, &api.body, "state").await,
        ("POST", ["check-runs"]) => forge.create_check(name, &api.body).await,
        ("PATCH", ["check-runs", id]) => forge.change_check(name, id, &api.body),
        _ => not_found(),
    }
}

/// Requests with the App's own token.
fn app(forge: &TestForge, api: &Api<'_>, parts: &[&str]) -> Answer {
    if let Err(problem) = is_jwt(forge, api.token) {
        return says(401, &problem);
    }
    match (api.method, parts) {
        ("POST", ["app", "installations", number, "access_tokens"])
            if *number == forge.app().installation.to_string() =>
        {
            let token = format!("ghs_minted{}", forge.number());
            let end = forge.now() + TOKEN_LASTS;
            forge.state().minted.push((token.clone(), end));
            json(201, &json!({ "token": token, "expires_at": iso(end), "permissions": api.body["permissions"] }))
        }
        ("GET", ["app", "hook", "deliveries"]) => ok(&forge.listed_deliveries()),
        ("POST", ["app", "hook", "deliveries", id, "attempts"]) => match id.parse() {
            Ok(id) if forge.deliveries().iter().any(|one| one.id == id) => {
                forge.redelivers(id, false);
                json(202, &json!({}))
            }
            _ => not_found(),
        },
        _ => not_found(),
    }
}

/// The claims of an App's token must be of now and for ten minutes at most. That the signature is right is a test of the crate `forge`.
fn is_jwt(forge: &TestForge, token: &str) -> Result<(), String> {
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
    let claims: Value =
        serde_json::from_slice(&claims).map_err(|_| "A JSON web token could not be decoded".to_owned())?;
    let now = forge.now().0 / 1000;
    let number = |name: &str| claims[name].as_u64().unwrap_or_default();
    let issuer = claims["iss"].as_str().map_or_else(|| claims["iss"].to_string(), str::to_owned);
    let lasts = number("exp").saturating_sub(number("iat"));
    if issuer != forge.app().id.to_string() || number("iat") > now || number("exp") < now || lasts > 600 {
        return Err(format!("'Expiration time' claim ('exp') must be a numeric value ..., or another App: {claims}"));
    }
    Ok(())
}

async fn contents(forge: &TestForge, name: &str, path: &str, api: &Api<'_>) -> Answer {
    let bare = forge.bare(name);
    let Some(commit) = bare.commit(api.query.get("ref").unwrap_or("main")).await else {
        return says(404, "No commit found for the ref");
    };
    if let Some(text) = bare.file(&commit, path).await {
        if api.accept.contains("raw") {
            return raw(text);
        }
        return ok(&json!({ "type": "file", "path": path }));
    }
    match bare.folder(&commit, path).await {
        Some(entries) => {
            let entry = |entry: super::git::Entry| {
                let kind = if entry.is_file { "file" } else { "dir" };
                json!({ "type": kind, "name": entry.name, "path": entry.path, "sha": entry.id, "size": entry.size })
            };
            ok(&entries.into_iter().map(entry).collect())
        }
        None => not_found(),
    }
}

impl TestForge {
    /// A repository as GitHub and Gitea describe it.
    pub(super) fn described(&self, name: &str) -> Value {
        self.with(name, |repository| {
            json!({
                "id": repository.number, "full_name": name, "private": repository.private, "default_branch": "main",
            })
        })
    }

    /// What the API says of a ref: git's word, or the one that a test has planned.
    pub(super) async fn head_of(&self, name: &str, full_ref: &str) -> Option<String> {
        let planned = self.with(name, |repository| {
            let (commit, answers) = repository.lags.get_mut(full_ref)?;
            *answers = answers.checked_sub(1)?;
            Some(commit.clone())
        });
        match planned {
            Some(planned) => planned,
            None => self.bare(name).object(full_ref).await,
        }
    }

    async fn git_ref(&self, name: &str, short: &str) -> Answer {
        let full_ref = format!("refs/{short}");
        let Some(object) = self.head_of(name, &full_ref).await else { return not_found() };
        let is_commit = self.bare(name).commit(&object).await.as_deref() == Some(&object);
        let kind = if is_commit { "commit" } else { "tag" };
        ok(&json!({ "ref": full_ref, "object": { "type": kind, "sha": object } }))
    }

    pub(super) fn pull(&self, name: &str, number: &str) -> Option<Pull> {
        let number: u64 = number.parse().ok()?;
        self.with(name, |repository| repository.pulls.get(&number).cloned())
    }

    async fn github_pull(&self, name: &str, number: &str) -> Answer {
        match self.pull(name, number) {
            Some(pull) => ok(&self.pull_json(name, &pull).await),
            None => not_found(),
        }
    }

    /// A pull request as GitHub and Gitea describe it.
    pub(super) async fn pull_json(&self, name: &str, pull: &Pull) -> Value {
        let base = self.bare(name).commit(&format!("refs/heads/{}", pull.base)).await;
        let from = pull.from.as_ref().map(|from| self.described(from));
        json!({
            "number": pull.number, "state": if pull.open { "open" } else { "closed" }, "user": { "login": "ada" },
            "head": { "ref": pull.branch, "sha": pull.head, "repo": from },
            "base": { "ref": pull.base, "sha": base, "repo": self.described(name) },
        })
    }

    /// The files of a pull request of GitHub and Gitea.
    pub(super) async fn pull_files(&self, name: &str, number: &str, query: &Query, size: &str, usual: usize) -> Answer {
        let Some(pull) = self.pull(name, number) else { return not_found() };
        let changed =
            self.bare(name).changed(&format!("refs/heads/{}", pull.base), &pull.head).await.unwrap_or_default();
        let changed = changed.into_iter().take(3000).collect();
        ok(&page(changed, query, size, usual).iter().map(file).collect())
    }

    async fn comparison(&self, name: &str, base: &str, head: &str) -> Answer {
        let git = self.bare(name);
        let status = if git.has(head, base).await { "behind" } else { "ahead" };
        match git.changed(base, head).await {
            Some(changed) => {
                ok(&json!({ "status": status, "files": changed.iter().take(COMPARED).map(file).collect::<Vec<_>>() }))
            }
            None => not_found(),
        }
    }

    pub(super) fn permission(&self, name: &str, user: &str) -> Answer {
        let writes = self.with(name, |repository| repository.writers.contains(user));
        ok(&json!({ "permission": if writes { "write" } else { "read" } }))
    }

    /// Posts a status. GitHub answers with its `state`, and Gitea with its `status`.
    pub(super) async fn post_status(&self, name: &str, sha: &str, body: &Value, word: &str) -> Answer {
        if self.bare(name).commit(sha).await.as_deref() != Some(sha) {
            return says(422, &format!("No commit found for SHA: {sha}"));
        }
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let id = self.number();
        let posted = Posted {
            at: Instant::now(),
            id,
            commit: sha.to_owned(),
            name: text("context"),
            state: text("state"),
            description: text("description"),
            url: text("target_url"),
            body: body.clone(),
            history: Vec::new(),
        };
        let answer = status_json(&posted, word);
        self.with(name, |repository| repository.posted.push(posted));
        json(201, &answer)
    }

    pub(super) fn listed_statuses(&self, name: &str, sha: &str, word: &str, query: &Query, size: &str) -> Answer {
        let mut listed = self.posted(name);
        listed.retain(|posted| posted.commit == sha);
        listed.reverse();
        ok(&page(listed, query, size, 30).iter().map(|posted| status_json(posted, word)).collect())
    }

    async fn create_check(&self, name: &str, body: &Value) -> Answer {
        let sha = body["head_sha"].as_str().unwrap_or_default();
        if self.bare(name).commit(sha).await.as_deref() != Some(sha) {
            return says(422, &format!("No commit found for SHA: {sha}"));
        }
        let id = self.number();
        let mut posted = Posted {
            at: Instant::now(),
            id,
            commit: sha.to_owned(),
            name: body["name"].as_str().unwrap_or_default().to_owned(),
            state: String::new(),
            description: String::new(),
            url: String::new(),
            body: json!({}),
            history: Vec::new(),
        };
        change(&mut posted, body);
        let check = check_json(&posted);
        self.with(name, |repository| repository.posted.push(posted));
        json(201, &check)
    }

    fn change_check(&self, name: &str, id: &str, body: &Value) -> Answer {
        self.with(name, |repository| {
            let Some(posted) = repository.posted.iter_mut().find(|posted| posted.id.to_string() == id) else {
                return not_found();
            };
            change(posted, body);
            ok(&check_json(posted))
        })
    }

    fn listed_checks(&self, name: &str, sha: &str, query: &Query) -> Answer {
        let mut listed = self.posted(name);
        listed.retain(|posted| posted.commit == sha && posted.body.get("output").is_some());
        let checks: Vec<Value> = page(listed, query, "per_page", 30).iter().map(check_json).collect();
        ok(&json!({ "total_count": checks.len(), "check_runs": checks }))
    }
}

/// A status without a conclusion takes the former conclusion away.
fn change(posted: &mut Posted, body: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if !posted.state.is_empty() {
        posted.history.push(posted.state.clone());
    }
    let state = if body["conclusion"].is_string() { &body["conclusion"] } else { &body["status"] };
    if state.is_string() {
        posted.state = text(state);
    }
    posted.description = text(&body["output"]["title"]);
    if body["details_url"].is_string() {
        posted.url = text(&body["details_url"]);
    }
    posted.at = Instant::now();
    if let (Some(known), Some(given)) = (posted.body.as_object_mut(), body.as_object()) {
        known.extend(given.clone());
    }
}

/// A status, whose state is named by `word`.
fn status_json(posted: &Posted, word: &str) -> Value {
    json!({
        "id": posted.id, word: posted.state, "context": posted.name, "description": posted.description,
        "target_url": posted.url,
    })
}

fn check_json(posted: &Posted) -> Value {
    let is_open = ["queued", "in_progress"].contains(&posted.state.as_str());
    json!({
        "id": posted.id, "name": posted.name, "head_sha": posted.commit, "external_id": posted.body["external_id"],
        "status": if is_open { posted.state.as_str() } else { "completed" },
        "conclusion": if is_open { None } else { Some(&posted.state) },
    })
}

pub(super) fn file(changed: &super::git::Changed) -> Value {
    let mut file = json!({ "filename": changed.path, "status": "modified" });
    if let Some(before) = &changed.before {
        (file["previous_filename"], file["status"]) = (json!(before), json!("renamed"));
    }
    file
}
