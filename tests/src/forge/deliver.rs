//! Deliveries: what a forge sends to its webhooks after a push or for a pull request.

use std::collections::BTreeMap;

use protocol::Millis;
use serde_json::{Value, json};

use super::git::NONE;
use super::{Hook, Kind, Posted, Pull, TestForge};

/// A delivery, and what the receiver answered.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Its number at the forge.
    pub id: u64,
    /// The id in its header.
    pub guid: String,
    /// The event's name, as in its header.
    pub event: String,
    /// Where it was sent.
    pub url: String,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
    /// The status of the answer. 0: it wasn't sent, or not answered.
    pub status: u16,
    /// The answer.
    pub answer: String,
    repository: u64,
    hook: Hook,
}

/// What was pushed to a ref.
struct Pushed<'a> {
    full_ref: &'a str,
    before: &'a str,
    after: &'a str,
}

/// A repository as payloads describe it.
struct About {
    name: String,
    number: u64,
    private: bool,
}

impl TestForge {
    /// Sends deliveries for what a push has changed.
    pub(super) async fn pushed(&self, name: &str, before: &BTreeMap<String, String>) {
        let after = self.bare(name).refs().await;
        let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for full_ref in names {
            let side = |refs: &BTreeMap<String, String>| refs.get(full_ref).map_or(NONE.to_owned(), String::clone);
            let (before, after) = (side(before), side(&after));
            if before == after || full_ref.starts_with("refs/pull/") {
                continue;
            }
            self.deliver_push(name, &Pushed { full_ref, before: &before, after: &after }).await;
            if let Some(branch) = full_ref.strip_prefix("refs/heads/") {
                self.moves_pulls(name, branch, &after).await;
            }
        }
    }

    /// Pull requests follow the branches that they propose.
    async fn moves_pulls(&self, from: &str, branch: &str, head: &str) {
        let mut moved = Vec::new();
        for (name, repository) in &mut self.state().repositories {
            for pull in repository.pulls.values_mut() {
                if pull.open && pull.from.as_deref() == Some(from) && pull.branch == branch && head != NONE {
                    let before = std::mem::replace(&mut pull.head, head.to_owned());
                    moved.push((name.clone(), pull.clone(), before));
                }
            }
        }
        for (name, pull, before) in moved {
            self.fetch_head(&name, &pull).await;
            self.deliver_pull(&name, &pull, "synchronize", Some(&before));
        }
    }

    async fn deliver_push(&self, name: &str, pushed: &Pushed<'_>) {
        let bare = self.bare(name);
        let commit = bare.commit(pushed.after).await;
        let head = match &commit {
            Some(commit) => json!({ "id": commit, "message": bare.message(commit).await.unwrap_or_default() }),
            None => Value::Null,
        };
        let about = self.about(name);
        for hook in self.hooks(name) {
            let (event, body) = match hook.kind {
                Kind::Gitlab => {
                    let event = if pushed.full_ref.starts_with("refs/tags/") { "Tag Push Hook" } else { "Push Hook" };
                    (event, gitlab_push(&about, pushed, &head))
                }
                Kind::Github | Kind::Gitea => ("push", push(&about, pushed, &head)),
            };
            self.send(&about, &hook, event, body, false);
        }
    }

    pub(super) fn deliver_pull(&self, name: &str, pull: &Pull, action: &str, before: Option<&str>) {
        let about = self.about(name);
        for hook in self.hooks(name) {
            let (event, body) = match hook.kind {
                Kind::Github => ("pull_request", pull_payload(&about, pull, action)),
                Kind::Gitea => {
                    let action = if action == "synchronize" { "synchronized" } else { action };
                    ("pull_request", pull_payload(&about, pull, action))
                }
                Kind::Gitlab => {
                    let source = pull.from.as_ref().map(|from| self.about(from).number);
                    ("Merge Request Hook", gitlab_request(&about, source, pull, action, before))
                }
            };
            self.send(&about, &hook, event, body, false);
        }
    }

    /// Sends an event of GitHub that no push makes, such as `check_run`.
    pub fn delivers(&self, name: &str, event: &'static str, body: &Value) {
        let about = self.about(name);
        let mut body = body.clone();
        body["repository"] = repository(&about);
        for hook in self.hooks(name) {
            self.send(&about, &hook, event, body.clone(), false);
        }
    }

    /// Somebody presses Re-run on a check run of GitHub.
    ///
    /// # Panics
    /// If the commit has no such check run.
    pub fn reruns_check(&self, name: &str, commit: &str, check: &str, user: &str) {
        let check = self.check(name, commit, check);
        self.delivers(
            name,
            "check_run",
            &json!({ "action": "rerequested", "check_run": check, "sender": { "login": user } }),
        );
    }

    /// Somebody presses Re-run all checks on a commit at GitHub.
    pub fn reruns_all(&self, name: &str, commit: &str, user: &str) {
        let suite = json!({ "id": self.number(), "head_sha": commit });
        self.delivers(
            name,
            "check_suite",
            &json!({ "action": "rerequested", "check_suite": suite, "sender": { "login": user } }),
        );
    }

    /// Somebody presses the button of a check run of GitHub.
    ///
    /// # Panics
    /// If the commit has no such check run, or it has no button.
    pub fn presses_button(&self, name: &str, commit: &str, check: &str, user: &str) {
        let posted = self.posted_one(name, commit, check);
        let button = posted.body["actions"][0]["identifier"].clone();
        assert!(button.is_string(), "no button: {posted:?}");
        let (check, button) = (self.check(name, commit, check), json!({ "identifier": button }));
        let body = json!({
            "action": "requested_action", "check_run": check, "requested_action": button, "sender": { "login": user },
        });
        self.delivers(name, "check_run", &body);
    }

    fn posted_one(&self, name: &str, commit: &str, state: &str) -> Posted {
        let posted = self.posted(name).into_iter().rfind(|one| one.commit == commit && one.name == state);
        posted.unwrap_or_else(|| panic!("{commit} has no {state:?}: {:?}", self.shows(name, commit)))
    }

    /// A check run as payloads have it.
    fn check(&self, name: &str, commit: &str, check: &str) -> Value {
        let posted = self.posted_one(name, commit, check);
        json!({ "id": posted.id, "name": posted.name, "head_sha": commit, "external_id": posted.body["external_id"] })
    }

    /// Sends a delivery again: under the same id, as GitHub does, or a new one, as Gitea does.
    ///
    /// # Panics
    /// If there is none with this number.
    pub fn redelivers(&self, id: u64, with_new_id: bool) {
        let old = self.deliveries().into_iter().find(|one| one.id == id).expect("a delivery");
        let mut new = Delivered { id: self.number(), status: 0, answer: String::new(), ..old };
        if with_new_id {
            new.guid = format!("again-{}", new.id);
            new.headers = signed(&new.hook, &new.event, &new.guid, &new.body, self.now());
        }
        self.post(new);
    }

    fn hooks(&self, name: &str) -> Vec<Hook> {
        self.with(name, |repository| repository.hooks.clone())
    }

    fn about(&self, name: &str) -> About {
        self.with(name, |repository| About {
            name: name.to_owned(),
            number: repository.number,
            private: repository.private,
        })
    }

    fn send(&self, about: &About, hook: &Hook, event: &str, mut body: Value, is_silent: bool) {
        if hook.kind == Kind::Github {
            body["installation"] = json!({ "id": self.app().installation });
        }
        let id = self.number();
        let guid = format!("delivery-{id}");
        let body = body.to_string();
        let headers = signed(hook, event, &guid, &body, self.now());
        let delivery = Delivered {
            id,
            guid,
            event: event.to_owned(),
            url: hook.url.clone(),
            headers,
            body,
            status: 0,
            answer: String::new(),
            repository: about.number,
            hook: hook.clone(),
        };
        if is_silent || self.with(&about.name, |repository| repository.silent) {
            self.state().deliveries.push(delivery);
        } else {
            self.post(delivery);
        }
    }

    /// Sends a delivery in the background, and notes the answer.
    fn post(&self, delivery: Delivered) {
        let id = delivery.id;
        let mut request = self.inner.http.post(&delivery.url).body(delivery.body.clone());
        for (name, value) in &delivery.headers {
            request = request.header(*name, value);
        }
        self.state().deliveries.push(delivery);
        let forge = self.clone();
        tokio::spawn(async move {
            let (status, answer) = match request.timeout(std::time::Duration::from_secs(10)).send().await {
                Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
                Err(error) => (0, error.to_string()),
            };
            if let Some(one) = forge.state().deliveries.iter_mut().find(|one| one.id == id) {
                (one.status, one.answer) = (status, answer);
            }
        });
    }

    /// Deliveries of an App as its API lists them, newest first.
    pub(super) fn listed_deliveries(&self) -> Value {
        let (now, installation) = (super::github::iso(self.now()), self.app().installation);
        let state = self.state();
        let listed = state.deliveries.iter().rev().map(|one| {
            json!({
                "id": one.id, "guid": one.guid, "delivered_at": now, "redelivery": false,
                "duration": 0.1, "status": if one.status == 202 { "OK" } else { "failed" }, "status_code": one.status,
                "event": one.event, "action": null, "installation_id": installation, "repository_id": one.repository,
            })
        });
        listed.collect()
    }
}

/// The headers of a delivery, with its signature.
fn signed(hook: &Hook, event: &str, guid: &str, body: &str, at: Millis) -> Vec<(&'static str, String)> {
    let mac = |bytes: &[u8]| forge::signature::sign(hook.secret.as_bytes(), bytes);
    let json = ("content-type", "application/json".to_owned());
    match hook.kind {
        Kind::Github => vec![
            json,
            ("x-github-event", event.to_owned()),
            ("x-github-delivery", guid.to_owned()),
            ("x-hub-signature-256", format!("sha256={}", hex::encode(mac(body.as_bytes())))),
        ],
        Kind::Gitea => vec![
            json,
            ("x-gitea-event", event.to_owned()),
            ("x-gitea-delivery", guid.to_owned()),
            ("x-gitea-signature", hex::encode(mac(body.as_bytes()))),
        ],
        Kind::Gitlab => {
            let time = (at.0 / 1000).to_string();
            let signature = mac(format!("{guid}.{time}.{body}").as_bytes());
            let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, signature);
            vec![
                json,
                ("x-gitlab-event", event.to_owned()),
                ("webhook-id", guid.to_owned()),
                ("webhook-timestamp", time),
                ("webhook-signature", format!("v1,{signature}")),
            ]
        }
    }
}

fn repository(about: &About) -> Value {
    json!({ "id": about.number, "full_name": about.name, "private": about.private, "default_branch": "main" })
}

fn push(about: &About, pushed: &Pushed<'_>, head: &Value) -> Value {
    json!({
        "ref": pushed.full_ref, "before": pushed.before, "after": pushed.after,
        "created": pushed.before == NONE, "deleted": pushed.after == NONE, "forced": false,
        "head_commit": head, "repository": repository(about), "sender": { "login": "ada" }, "pusher": { "name": "ada" },
    })
}

fn gitlab_push(about: &About, pushed: &Pushed<'_>, head: &Value) -> Value {
    let commits = if head.is_null() { json!([]) } else { json!([head]) };
    json!({
        "object_kind": "push", "ref": pushed.full_ref, "before": pushed.before, "after": pushed.after,
        "checkout_sha": head["id"], "user_username": "ada", "commits": commits,
        "project": { "id": about.number, "path_with_namespace": about.name, "default_branch": "main" },
    })
}

/// The head's repository in a payload isn't believed by anybody, so it isn't there.
fn pull_payload(about: &About, pull: &Pull, action: &str) -> Value {
    json!({
        "action": action, "number": pull.number,
        "pull_request": { "number": pull.number, "head": { "ref": pull.branch, "sha": pull.head } },
        "repository": repository(about), "sender": { "login": "ada" },
    })
}

fn gitlab_request(about: &About, source: Option<u64>, pull: &Pull, action: &str, before: Option<&str>) -> Value {
    let action = match action {
        "opened" => "open",
        "synchronize" => "update",
        "closed" => "close",
        other => other,
    };
    json!({
        "object_kind": "merge_request", "user": { "username": "ada" },
        "project": { "id": about.number, "path_with_namespace": about.name },
        "object_attributes": {
            "iid": pull.number, "action": action, "oldrev": before, "last_commit": { "id": pull.head }, "source_project_id": source,
            "target_project_id": about.number,
        },
    })
}
