//! Labels: a job runs only on a worker that has *all* its labels.

use std::collections::BTreeSet;

use harness::{Cloud, Failure, HeldLease, Success, Worker};

#[tokio::test]
async fn a_worker_gets_a_job_only_with_all_its_labels_not_with_some() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {build: {run: x, labels: ['{label}', '{label}-gpu', '{label}-big']}}").await;
    run.until_ready("build").await;

    for some in ["{label}", "{label}-gpu", "{label}, {label}-gpu", "{label}-gpu, {label}-big", "other"] {
        cloud.worker("some").labelled(some).finds_nothing().await;
    }
    let all = cloud.worker("all").labelled("{label}, {label}-gpu, {label}-big, more").claims("build").await;
    all.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn labels_apply_to_downstream_jobs_as_to_roots() {
    let cloud = Cloud::connect();
    let run = cloud
        .submit(
            "jobs:
  build: {run: x, labels: '{label}'}
  staging: {run: x, labels: '{label}-staging', needs: build}
  production: {run: x, labels: '{label}-production', needs: build}",
        )
        .await;
    let staging = cloud.worker("staging").labelled("{label}-staging");
    let production = cloud.worker("production").labelled("{label}-production");
    staging.finds_nothing().await;
    cloud.worker("builder").claims("build").await.completes(&[]).await;

    cloud.worker("builder").finds_nothing().await;
    let (staged, shipped) = (staging.claims("staging").await, production.claims("production").await);
    staging.finds_nothing().await;
    production.finds_nothing().await;
    staged.completes(&[]).await;
    shipped.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn labels_apply_to_a_retry_as_to_the_first_attempt() {
    let cloud = Cloud::connect();
    let run = cloud
        .submit(
            "jobs:
  first: {run: x, labels: '{label}-gpu', retries: 1}
  second: {run: x, labels: '{label}-gpu', retries: 1, needs: first}",
        )
        .await;
    let gpu = cloud.worker("gpu").labelled("{label}-gpu, {label}");
    let without = cloud.worker("without").labelled("{label}");
    for job in ["first", "second"] {
        gpu.claims(job).await.fails("once").await;
        run.until_ready(job).await;
        without.finds_nothing().await;
        let retry = gpu.claims(job).await;
        assert_eq!((retry.job.attempt, retry.job.required_labels.len()), (1, 1));
        retry.completes(&[]).await;
    }
    run.until(Success).await;
}

#[tokio::test]
async fn labels_apply_after_a_worker_was_lost() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {build: {run: x, labels: '{label}-gpu', retries: 1}}").await;
    let gpu = cloud.worker("gpu").labelled("{label}-gpu");
    gpu.clone().ttl(1).claims("build").await.sleeps_past_its_lease().await;
    run.until_ready("build").await;

    cloud.worker("without").labelled("{label}").finds_nothing().await;
    gpu.claims("build").await.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn labels_compare_without_case_are_trimmed_and_duplicates_count_once() {
    let cloud = Cloud::connect();
    let shouted = cloud.label.to_uppercase();
    let text = format!("jobs: {{build: {{run: x, labels: [' {shouted}', '{{label}}', '{{label}}-Docker  ']}}}}");
    let run = cloud.submit(text).await;
    assert_eq!(run.job("build").await.required_labels.len(), 2);

    // As text in a request, so that no type of this test normalizes them first.
    let labels = [format!(" {shouted}"), format!("{shouted}-DOCKER"), format!("{shouted}-docker")];
    let claim = serde_json::json!({ "worker_id": cloud.worker("w").id(), "labels": labels, "exclusive": true });
    let claimed = harness::eventually("the job", async || {
        let answer = cloud.post("/api/jobs/claim", claim.clone()).await.json();
        answer.is_object().then_some(answer)
    })
    .await;
    assert_eq!(claimed["job"]["job_id"], "build");
    run.cancel().await;
}

#[tokio::test]
async fn a_worker_that_gets_the_label_after_the_job_was_queued_takes_it() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {build: {run: x, labels: ['{label}', '{label}-new']}}").await;
    run.until_ready("build").await;
    let before = cloud.worker("w").labelled("{label}").registers(&[]).await;
    before.finds_nothing().await;

    let after = cloud.worker("w").labelled("{label}, {label}-new");
    after.claims("build").await.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn too_many_labels_are_refused_with_the_limit_when_the_worker_registers() {
    let cloud = Cloud::connect();
    let labels = |count: usize| (0..count).map(|n| format!("{}-{n}", cloud.label)).collect::<Vec<_>>();
    for path in ["/api/workers/register", "/api/jobs/claim"] {
        let with = |labels: Vec<String>| {
            cloud.post(path, serde_json::json!({ "worker_id": cloud.label, "labels": labels, "exclusive": true }))
        };
        let refused = with(labels(65)).await.error();
        assert!(refused.is(422, "invalid_labels"), "{path}: {refused:?}");
        assert!(refused.message.contains("65") && refused.message.contains("64"), "{}", refused.message);
        assert_eq!(with(labels(64)).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_job_without_labels_goes_to_any_worker_as_root_dependent_and_retry() {
    let cloud = Cloud::connect_with_unlabelled_jobs().await;
    let run = cloud.submit("jobs: {first: {run: x}, second: {run: x, needs: first, retries: 1}}").await;
    let bare = cloud.worker("bare").labelled("").takes_anything();
    let labelled = cloud.worker("labelled").labelled("{label}-gpu").takes_anything();

    bare.claims("first").await.completes(&[]).await;
    bare.claims("second").await.fails("once").await;
    labelled.claims("second").await.completes(&[]).await;
    run.until(Success).await;
    bare.leaves().await;
    labelled.leaves().await;
}

#[tokio::test]
async fn an_exclusive_worker_takes_only_jobs_that_ask_for_one_of_its_labels() {
    let cloud = Cloud::connect_with_unlabelled_jobs().await;
    let run = cloud.submit("jobs: {any: {run: x}, special: {run: x, labels: '{label}-gpu', needs: any}}").await;
    run.until_ready("any").await;
    let exclusive = cloud.worker("exclusive").labelled("{label}-gpu, {label}-big");
    exclusive.finds_nothing().await;
    // Set at the registration, so the claim doesn't need to repeat it.
    let registered = cloud.worker("registered").labelled("{label}-gpu").registers(&[]).await;
    registered.takes_anything().finds_nothing().await;

    let bare = cloud.worker("bare").labelled("").takes_anything();
    bare.claims("any").await.completes(&[]).await;
    exclusive.claims("special").await.completes(&[]).await;
    run.until(Success).await;
    bare.leaves().await;
}

#[tokio::test]
async fn a_job_without_labels_that_failed_is_never_claimed_again() {
    let cloud = Cloud::connect_with_unlabelled_jobs().await;
    let run = cloud.submit("jobs: {only: {run: x}}").await;
    let bare = cloud.worker("bare").labelled("").takes_anything();
    bare.claims("only").await.fails("for good").await;
    run.until(Failure).await;
    bare.finds_nothing().await;
    bare.leaves().await;
}

/// A generator of pseudo-random numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }

    /// A random subset of five labels, not empty.
    fn labels(&mut self) -> BTreeSet<usize> {
        let chosen = 1 + self.below(31);
        (0..5).filter(|bit| chosen & (1 << bit) != 0).collect()
    }
}

fn text(labels: &BTreeSet<usize>) -> String {
    labels.iter().map(|label| format!("{{label}}-{label}")).collect::<Vec<_>>().join(", ")
}

struct Case {
    labels: BTreeSet<usize>,
    need: Option<usize>,
    retries_left: usize,
    ended: bool,
}

/// Forty jobs with random labels and needs, some of which fail once, and workers with random labels. A claim gets a job exactly
#[tokio::test]
async fn with_random_labels_a_claim_gets_a_covered_job_exactly_when_there_is_one() {
    let cloud = Cloud::connect();
    let mut random = Numbers(42);
    let mut cases: Vec<Case> = (0..40)
        .map(|n: usize| Case {
            labels: random.labels(),
            need: n.checked_sub(12).map(|below| random.below(below + 1)),
            retries_left: usize::from(random.below(4) == 0),
            ended: false,
        })
        .collect();
    let jobs = cases.iter().enumerate().map(|(n, case)| {
        let need = case.need.map(|need| format!("j{need}")).unwrap_or_default();
        format!("  j{n}: {{run: x, retries: 1, needs: [{need}], labels: [{}]}}\n", text(&case.labels))
    });
    let run = cloud.submit(format!("jobs:\n{}", jobs.collect::<String>())).await;
    run.until_ready("j0").await;

    while cases.iter().any(|case| !case.ended) {
        let labels = random.labels();
        let worker: Worker =
            cloud.worker(&format!("w-{labels:?}").replace(['{', '}', ' '], "")).labelled(&text(&labels));
        let covered = |case: &Case| case.labels.is_subset(&labels);
        let ready = |case: &Case| !case.ended && case.need.is_none_or(|need| cases[need].ended);
        let given: Option<HeldLease> = if cases.iter().any(|case| ready(case) && covered(case)) {
            Some(worker.claims_any().await)
        } else {
            worker.claims_once().await
        };
        let Some(hold) = given else { continue };
        let n: usize = hold.job.job_id.as_str()[1..].parse().expect("a number");
        assert!(
            ready(&cases[n]) && covered(&cases[n]),
            "a worker with {labels:?} was given {hold:?}: {:?}",
            cases[n].labels
        );
        if cases[n].retries_left > 0 {
            cases[n].retries_left -= 1;
            hold.fails("once").await;
        } else {
            hold.completes(&[]).await;
            cases[n].ended = true;
        }
    }
    run.until(Success).await;
}
