//! Tokens, their scopes and labels, and the audit log.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Cloud, Status, eventually, graph};
use protocol::access::{AuditAction, AuditEntry, NewToken, Permissions, Scope};
use serde_json::{Value, json};

/// The scopes of each route, any of which permits it. An empty list: no token is needed. A signature needs none either.
const OPENED_BY: [(&str, &str); 46] = [
    ("POST /api/forges/{link}/hook", "signature"),
    ("GET /api/forges", "read"),
    ("GET /api/forges/{link}", "admin"),
    ("PUT /api/forges/{link}", "admin"),
    ("DELETE /api/forges/{link}", "admin"),
    ("GET /api/forges/{link}/deliveries", "read"),
    ("POST /api/forges/{link}/approve", "approve"),
    ("POST /api/forges/{link}/start", "submit"),
    ("POST /api/workflows", "submit"),
    ("GET /api/workflows", "read"),
    ("GET /api/workflows/{id}", "read"),
    ("GET /api/workflows/{id}/status", "read"),
    ("GET /api/workflows/{id}/definition", "read"),
    ("POST /api/workflows/{id}/run", "submit"),
    ("POST /api/workflows/{id}/cancel", "submit"),
    ("DELETE /api/workflows/{id}", "submit"),
    ("GET /api/workflows/{id}/jobs/{job_id}/logs", "read"),
    ("GET /api/workflows/{id}/jobs/{job_id}/logs/stream", "read"),
    ("GET /api/workflows/{id}/jobs/{job_id}/outputs", "read"),
    ("GET /api/workers", "read"),
    ("GET /api/pools", "read"),
    ("POST /api/workers/register", "work"),
    ("POST /api/workers/{id}/heartbeat", "work"),
    ("DELETE /api/workers/{id}", "work"),
    ("POST /api/jobs/claim", "work"),
    ("POST /api/jobs/{lease_id}/heartbeat", "work"),
    ("POST /api/jobs/{lease_id}/complete", "work"),
    ("POST /api/jobs/{lease_id}/fail", "work"),
    ("POST /api/jobs/{lease_id}/logs", "work"),
    ("GET /api/jobs/{workflow_id}/{job_id}/cancelled", "read work"),
    ("GET /api/tokens", "admin"),
    ("POST /api/tokens", "admin"),
    ("DELETE /api/tokens/{name}", "admin"),
    ("GET /api/audit", "admin"),
    ("GET /api/me", "read submit work admin approve"),
    ("GET /api/workflows/{id}/graph", "read"),
    ("GET /api/workflows/{id}/events", "read"),
    ("GET /api/workflows/{id}/jobs/{job_id}", "read"),
    ("GET /", ""),
    ("GET /app.js", ""),
    ("GET /layout.js", ""),
    ("GET /app.css", ""),
    ("GET /icon.svg", ""),
    ("GET /api/health", ""),
    ("GET /api/openapi.json", ""),
    ("GET /api/schema.json", ""),
];

/// Method and path, with a value for each variable.
fn request(route: &str) -> (&str, String) {
    let (method, path) = route.split_once(' ').expect("method and path");
    let segments = path.split('/').map(|part| if part.starts_with('{') { "nothing-there" } else { part });
    (method, segments.collect::<Vec<_>>().join("/"))
}

/// The result of a claim, once the job is in the ready list of its pool.
async fn claims(caller: &Cloud, claim: Value) -> Value {
    eventually("a job is given", async || {
        let given = caller.post("/api/jobs/claim", claim.clone()).await.json();
        (!given.is_null()).then_some(given)
    })
    .await
}

#[tokio::test]
async fn every_route_of_the_api_is_tested_here() {
    let described = Cloud::connect().get("/api/openapi.json").await.json();
    let paths = described["paths"].as_object().expect("paths").iter();
    let mut found: Vec<String> = paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys();
            let methods = methods.filter(|method| ["get", "post", "put", "patch", "delete"].contains(&method.as_str()));
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let mut known: Vec<&str> = OPENED_BY.iter().map(|(route, _)| *route).collect();
    found.sort();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[tokio::test]
async fn without_a_valid_token_nothing_can_be_read_submitted_or_claimed() {
    let cloud = Cloud::connect();
    let good = cloud.token("reader", &[Scope::Read], "").await;
    let changed = format!("{}{}", &good[..good.len() - 1], if good.ends_with('0') { '1' } else { '0' });
    for token in [None, Some("nonsense"), Some(changed.as_str()), Some(&good[..good.len() - 1])] {
        let stranger = cloud.seen_by(token);
        for (route, scopes) in OPENED_BY {
            let (method, path) = request(route);
            let answer = stranger.send(method, &path, "application/json", "{}").await;
            if scopes.is_empty() {
                assert_eq!(answer.status, 200, "{route}");
                continue;
            }
            if scopes == "signature" {
                // Without forges there is nothing to sign for.
                assert!([401, 501].contains(&answer.status.as_u16()), "{route}: {answer:?}");
                continue;
            }
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{route}: {answer:?}");
            let refused = answer.error();
            assert!(refused.is(401, "unauthorized"), "{route}: {refused:?}");
            assert!(!refused.message.contains(&good), "{refused:?}");
        }
    }
}

#[tokio::test]
async fn each_scope_opens_its_own_routes_and_no_others() {
    let cloud = Cloud::connect();
    for scope in [Scope::Read, Scope::Submit, Scope::Work, Scope::Admin, Scope::Approve] {
        let caller = cloud.seen_by(Some(&cloud.token(scope.as_ref(), &[scope], "").await));
        for (route, scopes) in OPENED_BY {
            let (method, path) = request(route);
            let answer = caller.send(method, &path, "application/json", "[]").await;
            if scopes == "signature" {
                continue;
            }
            let opened = scopes.is_empty() || scopes.split(' ').any(|other| other == scope.as_ref());
            if opened {
                assert!(![401, 403].contains(&answer.status.as_u16()), "{scope} on {route}: {answer:?}");
            } else {
                let refused = answer.error();
                assert!(refused.is(403, "forbidden"), "{scope} on {route}: {refused:?}");
                assert!(refused.message.contains(scopes.split(' ').next().expect("one")), "{refused:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_is_accepted_as_bearer_and_as_the_password_of_basic() {
    let cloud = Cloud::connect();
    let token = cloud.token("reader", &[Scope::Read], "").await;
    let bearer = format!("Bearer {token}");
    let answer = cloud.send_with("GET", "/api/pools", &[("authorization", &bearer)], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(cloud.seen_by(Some(&token)).get("/api/pools").await.status, 200, "Basic");
}

#[tokio::test]
async fn a_worker_never_gets_a_job_whose_labels_its_token_lacks() {
    let cloud = Cloud::connect();
    let run = cloud
        .submit(
            "jobs:\n  stage: {run: x, labels: '{label}-staging'}\n  deploy: {run: x, labels: '{label}-production'}\n",
        )
        .await;
    let staging = cloud.seen_by(Some(&cloud.token("stage", &[Scope::Work], "{label}-staging").await));
    let ask = |labels: Value| json!({ "worker_id": format!("{}-w", cloud.label), "labels": labels });
    let (own, other) = (cloud.fill("{label}-staging"), cloud.fill("{label}-Production"));
    let both = ask(json!([own, other]));
    for path in ["/api/jobs/claim", "/api/workers/register"] {
        for asked in [ask(json!([other])), both.clone()] {
            let refused = staging.post(path, asked).await.error();
            assert!(refused.is(403, "label_not_allowed"), "{path}: {refused:?}");
            assert!(refused.message.contains(&other.to_lowercase()), "{refused:?}");
        }
    }
    run.until_ready("stage").await;
    let given = claims(&staging, ask(json!([own]))).await;
    assert_eq!(given["job"]["job_id"], "stage");
    let lease = given["lease"]["lease_id"].as_str().expect("a lease").to_owned();
    let next =
        json!({ "next": { "worker_id": format!("{}-w", cloud.label), "labels": [other], "lease_ttl_secs": 60 } });
    let refused = staging.post(&format!("/api/jobs/{lease}/complete"), next).await.error();
    assert!(refused.is(403, "label_not_allowed"), "{refused:?}");
    assert_eq!(run.job("stage").await.status, Status::Running, "what was refused changed nothing");
    assert_eq!(staging.post(&format!("/api/jobs/{lease}/complete"), json!({})).await.status, 200);
    assert_eq!(staging.post("/api/jobs/claim", ask(json!([own]))).await.json(), Value::Null);
    assert_eq!(run.job("deploy").await.status, Status::Queued);
}

#[tokio::test]
async fn a_submit_token_can_neither_submit_nor_change_jobs_whose_labels_it_lacks() {
    let cloud = Cloud::connect();
    let staging = cloud.seen_by(Some(&cloud.token("pipeline", &[Scope::Submit], "{label}-staging").await));
    let definition = |labels| {
        let name = cloud.fill("{label}-tried");
        json!({ "name": name, "jobs": { "a": { "run": "x" }, "b": { "run": "x", "labels": labels } } })
    };
    let production = json!([cloud.fill("{label}-staging"), cloud.fill("{label}-production")]);
    let refused = staging.post("/api/workflows?run=true", definition(production)).await.error();
    assert!(refused.is(403, "label_not_allowed"), "{refused:?}");
    assert!(refused.message.contains(&cloud.fill("`{label}-production`")), "{refused:?}");
    let found = cloud.get(&cloud.fill("/api/workflows?view=summary&q={label}-tried")).await;
    assert_eq!((found.status.as_u16(), found.json()), (200, json!([])), "nothing was submitted");

    let text = "jobs: {deploy: {run: x, labels: '{label}-production'}}";
    let other = cloud.submit_with(text, false, None).await;
    for (method, end) in [("POST", "/run"), ("POST", "/cancel"), ("DELETE", "")] {
        let refused = staging.send(method, &format!("/api/workflows/{}{end}", other.id), "", "").await.error();
        assert!(refused.is(403, "label_not_allowed"), "{method} {end}: {refused:?}");
    }
    assert_eq!(other.now().await.status, Status::Queued);
    let own = staging.post("/api/workflows?run=true", definition(json!([cloud.fill("{label}-staging")]))).await;
    assert_eq!(own.status, 201, "{own:?}");
    let id = own.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(staging.send("POST", &format!("/api/workflows/{id}/cancel"), "", "").await.status, 202);
}

#[tokio::test]
async fn a_lease_is_refused_under_another_token() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {a: {run: x, labels: '{label}'}}").await;
    let mine = cloud.seen_by(Some(&cloud.token("mine", &[Scope::Work], "{label}").await));
    let theirs = cloud.seen_by(Some(&cloud.token("theirs", &[Scope::Work], "{label}").await));
    run.until_ready("a").await;
    let claim = json!({ "worker_id": format!("{}-w", cloud.label), "labels": [cloud.label], "lease_ttl_secs": 600 });
    let given = claims(&mine, claim).await;
    let lease = given["lease"]["lease_id"].as_str().expect("a lease");
    let chunks = json!({ "chunks": [{ "sequence": 0, "data": "forged\n" }] });
    for (end, body) in [("heartbeat", json!({})), ("complete", json!({})), ("fail", json!({})), ("logs", chunks)] {
        // An admin's token too.
        for thief in [&theirs, &cloud] {
            let refused = thief.post(&format!("/api/jobs/{lease}/{end}"), body.clone()).await.error();
            assert!(refused.is(409, "lease_lost"), "{end}: {refused:?}");
        }
    }
    assert_eq!(mine.post(&format!("/api/jobs/{lease}/heartbeat"), json!({})).await.status, 200);
    let status = cloud.get(&format!("/api/workflows/{}", run.id)).await.body;
    let secret = lease.rsplit('-').next().expect("a part");
    assert!(!status.contains(secret), "a status shows no lease: {status}");
    assert_eq!(mine.post(&format!("/api/jobs/{lease}/complete"), json!({})).await.status, 200);
    run.until(Status::Success).await;
    assert_eq!(run.log("a", "stdout").await, "");
}

#[tokio::test]
async fn a_revoked_token_is_refused_everywhere_within_a_minute() {
    let cloud = Cloud::connect();
    let scopes = [Scope::Read, Scope::Work, Scope::Submit];
    let caller = cloud.seen_by(Some(&cloud.token("short", &scopes, "{label}").await));
    // One route of each function.
    let tries = [
        ("GET", "/api/pools"),
        ("POST", "/api/jobs/claim"),
        ("POST", "/api/workflows/nothing-there/cancel"),
        ("POST", "/api/jobs/nothing-there/heartbeat"),
    ];
    for (method, path) in tries {
        assert_ne!(caller.send(method, path, "application/json", "{}").await.status, 401, "{path}");
    }
    let name = cloud.token_name("short");
    assert!(cloud.client.tokens().await.expect("listed").iter().any(|token| token.name == name));
    cloud.client.revoke_token(&name).await.expect("revoked");
    let began = std::time::Instant::now();
    for (method, path) in tries {
        eventually("it is refused", async || {
            (caller.send(method, path, "application/json", "{}").await.status == 401).then_some(())
        })
        .await;
    }
    assert!(began.elapsed() < Duration::from_mins(1));
    assert!(cloud.client.tokens().await.expect("listed").iter().all(|token| token.name != name));
    let again = cloud.send("DELETE", &format!("/api/tokens/{name}"), "", "").await.error();
    assert!(again.is(404, "no_such_token"), "{again:?}");
}

#[tokio::test]
async fn an_invalid_token_request_is_refused_and_a_name_is_used_once() {
    let cloud = Cloud::connect();
    let token = |field: &str, value: Value| {
        let mut new = json!({ "name": cloud.token_name("x"), "scopes": ["read"] });
        new[field] = value;
        new
    };
    let long: Vec<String> = (0..257).map(|n| format!("l{n}")).collect();
    for (field, value, code, says) in [
        ("name", json!("a b"), "invalid_field", "' '"),
        ("scopes", json!([]), "invalid_token", "at least one scope"),
        ("scopes", json!(["root"]), "invalid_field", "root"),
        ("labels", json!("gpu"), "invalid_field", "\"*\""),
        ("labels", json!(long), "out_of_range", "257"),
        ("expires_in_secs", json!(59), "out_of_range", "59"),
        ("expires_in_secs", json!(400_000_000), "out_of_range", "400000000"),
    ] {
        let refused = cloud.post("/api/tokens", token(field, value)).await.error();
        assert!(refused.is(422, code) && refused.message.contains(says), "{field}: {refused:?}");
    }
    assert_eq!(cloud.post("/api/tokens", token("labels", json!("*"))).await.status, 201);
    let again = cloud.post("/api/tokens", token("labels", json!([]))).await.error();
    assert!(again.is(409, "token_exists"), "{again:?}");
}

#[tokio::test]
async fn a_list_of_tokens_shows_permissions_and_no_secret_parts() {
    let cloud = Cloud::connect();
    let like =
        |token: NewToken| NewToken { permissions: Permissions { exclusive: true, ..token.permissions }, ..token };
    let text = cloud.token_like("w", &[Scope::Work], "{label}", like).await;
    let listed = cloud.get("/api/tokens").await;
    let secret = text.rsplit('_').next().expect("a part");
    assert!(!listed.body.contains(secret) && !listed.body.contains("hash"), "{listed:?}");
    let listed = cloud.client.tokens().await.expect("listed");
    let token = listed.iter().find(|token| token.name == cloud.token_name("w")).expect("there");
    assert_eq!(json!(token.permissions.scopes), json!(["work"]));
    assert_eq!(json!(token.permissions.labels), json!([cloud.label]));
    assert!(token.permissions.exclusive && token.expires_at_ms > token.created_at_ms);
}

#[tokio::test]
async fn two_tokens_may_use_the_same_idempotency_key() {
    let cloud = Cloud::connect();
    let one = cloud.token("one", &[Scope::Submit], "{label}").await;
    let two = cloud.token("two", &[Scope::Submit], "{label}").await;
    let submit = async |token: &str| {
        let client = client::Client::new(&cloud.url_for(Some(token)), None).expect("a URL");
        let text = cloud.definition("jobs: {a: {run: x, labels: '{label}'}}");
        client.submit_yaml(&text, false, Some(&cloud.label)).await.expect("submitted").id
    };
    let first = submit(&one).await;
    assert_eq!(submit(&one).await, first, "a repeat");
    assert_ne!(submit(&two).await, first);
}

#[tokio::test]
async fn the_audit_log_names_callers_and_contains_no_token_or_lease() {
    let cloud = Cloud::connect();
    let text = cloud.token("pipeline", &[Scope::Submit], "{label}").await;
    let pipeline = cloud.seen_by(Some(&text));
    let definition = cloud.definition("jobs: {a: {run: x, labels: '{label}'}}");
    let submitted = pipeline.send("POST", "/api/workflows?run=true", "application/yaml", definition).await.json();
    let path = format!("/api/workflows/{}", submitted["id"].as_str().expect("an id"));
    assert_eq!(pipeline.send("POST", &format!("{path}/cancel"), "", "").await.status, 202);
    let production = json!({ "jobs": { "b": { "run": "x", "labels": "production" } } });
    assert_eq!(pipeline.post("/api/workflows", production).await.status, 403);
    assert_eq!(pipeline.post("/api/jobs/some-lease/complete", json!({})).await.status, 403);
    // The audit log records a limited number of refusals without a token per second, and other tests cause some too.
    eventually("a stranger is written down", async || {
        assert_eq!(cloud.seen_by(Some("guessed")).get(&path).await.status, 401);
        let page = cloud.client.audit(100, None).await.expect("listed");
        let stranger = |entry: &AuditEntry| entry.token.is_none() && json!(entry.workflow) == submitted["id"];
        page.items.iter().any(|entry| stranger(entry) && entry.action == AuditAction::Refused).then_some(())
    })
    .await;
    cloud.client.revoke_token(&cloud.token_name("pipeline")).await.expect("revoked");

    let page = cloud.client.audit(1000, None).await.expect("listed");
    let body = cloud.get("/api/audit?limit=1000").await.body;
    for secret in [text.as_str(), text.rsplit('_').next().expect("a part"), "guessed", "some-lease"] {
        assert!(!body.contains(secret), "{secret}");
    }
    let name = cloud.token_name("pipeline");
    let by: Vec<&AuditEntry> = page.items.iter().rev().filter(|entry| entry.token.as_ref() == Some(&name)).collect();
    let mut did: Vec<(&str, &str)> = by.iter().map(|entry| (entry.action.as_ref(), entry.route.as_str())).collect();
    // Entries of the same millisecond have no defined order.
    did.sort_unstable();
    assert_eq!(
        did,
        [
            ("cancel", "POST /api/workflows/{id}/cancel"),
            ("refused", "POST /api/jobs/{lease_id}/complete"),
            ("refused", "POST /api/workflows"),
            ("submit", "POST /api/workflows"),
        ]
    );
    let of = |action: AuditAction| by.iter().filter(move |entry| entry.action == action);
    assert!(of(AuditAction::Submit).all(|entry| json!(entry.workflow) == submitted["id"]), "{by:?}");
    assert!(
        of(AuditAction::Refused).any(|entry| entry.reason.as_ref().is_some_and(|text| text.contains("production"))),
        "{by:?}"
    );
    let about = page.items.iter().filter(|entry| entry.subject.as_ref() == Some(&name));
    let mut about: Vec<&str> = about.map(|entry| entry.action.as_ref()).collect();
    about.sort_unstable();
    assert_eq!(about, ["create_token", "revoke_token"]);
}

#[tokio::test]
async fn a_refused_report_is_in_the_audit_log_with_its_job_and_without_its_lease() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a"])).await;
    let held = cloud.worker("w").claims("a").await;
    held.completes(&[]).await;
    // Only some refusals of each second are recorded, and other tests have some too.
    let entry = eventually("a refused report is recorded", async || {
        held.complete(&[("other", "result")]).await.expect_err("it has completed");
        let page = cloud.client.audit(1000, None).await.expect("listed");
        let refused = |entry: &AuditEntry| entry.action == AuditAction::Refused;
        page.items.into_iter().find(|entry| refused(entry) && entry.workflow.as_ref() == Some(&held.job.workflow_id))
    })
    .await;
    assert_eq!(entry.route, "POST /api/jobs/{lease_id}/complete");
    assert_eq!(entry.job.as_ref(), Some(&held.job.job_id));
    assert!(entry.reason.is_some_and(|reason| reason.contains("already reported")));
    assert!(!cloud.get("/api/audit?limit=1000").await.body.contains(&held.lease.lease_id.0));
    run.until(Status::Success).await;
}

#[tokio::test]
async fn the_audit_log_is_paged_newest_first_each_entry_once() {
    let cloud = Cloud::connect();
    for name in ["a", "b", "c"] {
        cloud.token(name, &[Scope::Read], "").await;
    }
    let mut counts = BTreeMap::new();
    let mut cursor = None;
    let mut times = Vec::new();
    for _ in 0..2000 {
        let page = cloud.client.audit(2, cursor.as_deref()).await.expect("listed");
        for entry in &page.items {
            times.push(entry.at_ms);
            if let Some(about) = entry.subject.as_ref().filter(|about| about.as_str().starts_with(&cloud.label)) {
                *counts.entry(about.to_string()).or_insert(0) += 1;
            }
        }
        cursor = page.next;
        if cursor.is_none() || counts.len() == 3 {
            break;
        }
    }
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [1, 1, 1]);
    assert!(times.is_sorted_by(|later, earlier| later >= earlier), "{times:?}");
    let refused = cloud.get("/api/audit?cursor=1.x").await.error();
    assert!(refused.is(400, "invalid_query"), "{refused:?}");
}
