//! Secrets: who may receive them, and where they are masked.

use harness::{Cloud, RealWorker, Status, eventually, has_its_secret_hidden};
use protocol::access::{Allowed, NewToken, Permissions, Scope};
use serde_json::{Value, json};

#[tokio::test]
async fn a_job_receives_its_secret_and_its_log_is_masked() {
    let cloud = Cloud::connect();
    let worker = RealWorker::starts(&cloud, "{label}");
    has_its_secret_hidden(&cloud, worker.dir()).await;
}

#[tokio::test]
async fn a_worker_whose_token_lacks_the_secret_never_gets_the_job() {
    let cloud = Cloud::connect();
    let secret = cloud.secret("KEY", "hunter22").await;
    let named = |token: NewToken| {
        let secrets = Allowed::Only([secret.clone()].into());
        NewToken { permissions: Permissions { secrets, ..token.permissions }, ..token }
    };
    let without = cloud.seen_by(Some(&cloud.token("without", &[Scope::Work], "{label}").await));
    let with = cloud.seen_by(Some(&cloud.token_like("with", &[Scope::Work], "{label}", named).await));
    let run = cloud.submit("jobs: {deploy: {run: x, labels: '{label}', secrets: '{label}_KEY'}}").await;
    run.until_ready("deploy").await;
    let claim = |worker: &str| json!({ "worker_id": format!("{}-{worker}", cloud.label), "labels": [cloud.label] });
    assert_eq!(without.post("/api/jobs/claim", claim("without")).await.json(), Value::Null);
    let given = eventually("the job is given", async || {
        assert_eq!(without.post("/api/jobs/claim", claim("without")).await.json(), Value::Null);
        let given = with.post("/api/jobs/claim", claim("with")).await.json();
        (!given.is_null()).then_some(given)
    })
    .await;
    assert_eq!(given["job"]["secrets"], json!({ secret.as_str(): "hunter22" }));
}

#[tokio::test]
async fn a_submit_token_that_lacks_the_secret_cannot_submit_a_job_with_it() {
    let cloud = Cloud::connect();
    cloud.secret("KEY", "hunter22").await;
    let pipeline = cloud.seen_by(Some(&cloud.token("pipeline", &[Scope::Submit], "{label}").await));
    let text = cloud.definition("jobs: {leak: {run: x, labels: '{label}', secrets: '{label}_KEY'}}");
    let refused = pipeline.send("POST", "/api/workflows?run=true", "application/yaml", text.clone()).await.error();
    assert!(refused.is(403, "secret_not_allowed"), "{refused:?}");
    assert!(refused.message.contains(&cloud.fill("`{label}_KEY`")), "{refused:?}");
    let other = cloud.submit_with(text, false, None).await;
    let refused = pipeline.send("POST", &format!("/api/workflows/{}/run", other.id), "", "").await.error();
    assert!(refused.is(403, "secret_not_allowed"), "{refused:?}");
}

#[tokio::test]
async fn a_job_whose_secret_does_not_exist_fails_at_once_and_names_it() {
    let cloud = Cloud::connect();
    let _worker = RealWorker::starts(&cloud, "{label}");
    let run =
        cloud.submit("jobs: {deploy: {run: 'true', labels: '{label}', retries: 3, secrets: '{label}_NONE'}}").await;
    run.until(Status::Failure).await;
    let job = run.job("deploy").await;
    assert_eq!(job.attempt, 0);
    assert!(job.error.as_ref().is_some_and(|error| error.contains(&cloud.fill("{label}_NONE"))), "{job:?}");
}

#[tokio::test]
async fn secrets_in_a_failures_error_are_masked() {
    let cloud = Cloud::connect();
    cloud.secret("KEY", "hunter22").await;
    let run = cloud.submit("jobs: {deploy: {run: x, labels: '{label}', secrets: '{label}_KEY'}}").await;
    let held = cloud.worker("careless").labelled("{label}").claims("deploy").await;
    let path = format!("/api/jobs/{}", held.lease.lease_id.0);
    let chunks = json!({ "chunks": [
        { "sequence": 0, "data": "a hunt" },
        { "sequence": 1, "data": "er22 b\n" },
        { "sequence": 2, "data": "hunter22", "stream": "stderr" },
    ] });
    assert_eq!(cloud.post(&format!("{path}/logs"), chunks).await.status, 200);
    assert_eq!(cloud.post(&format!("{path}/fail"), json!({ "error": "no hunter22 here" })).await.status, 200);
    run.until(Status::Failure).await;
    assert_eq!(run.job("deploy").await.error.as_deref(), Some("no *** here"));
    assert_eq!(run.log("deploy", "stdout").await, "a *** b\n");
    assert_eq!(run.log("deploy", "stderr").await, "***");
}
