//! Re-runs that somebody asks GitHub for.

use std::path::Path;

use harness::eventually;
use harness::forge::{Fault, Kind};

use crate::linked::Linked;
use crate::project::REPOSITORY;
use crate::runs::{CI, PASSED};

/// One job passes, and one does as soon as there is a file `fixed` in the folder.
fn flaky(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "on: push\njobs:\n  once: {{labels: '{{label}}', run: 'echo x >> {folder}/once'}}\n  \
         flaky: {{labels: '{{label}}', run: 'test -e {folder}/fixed'}}\n"
    )
}

/// One job, which waits until there is a file `go` in the folder.
fn waits(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "on: push\njobs:\n  test: {{labels: '{{label}}', run: 'while ! test -e {folder}/go; do sleep 0.1; done'}}\n"
    )
}

fn touch(folder: &Path, name: &str) {
    std::fs::write(folder.join(name), "").expect("written");
}

#[tokio::test]
async fn rerun_of_one_check_or_of_all_runs_again_what_failed_and_shows_it_as_waiting() {
    for all in [false, true] {
        let mut linked = Linked::with_app().await;
        let folder = tempfile::tempdir().expect("a folder");
        let commit = linked.pushes_ci(&flaky(folder.path())).await;
        let once = ("ci / once (push)", "success");
        linked.until_shows(&commit, &[("ci (push)", "failure"), once, ("ci / flaky (push)", "failure")]).await;
        linked.stops_worker();
        touch(folder.path(), "fixed");
        if all {
            linked.forge().reruns_all(REPOSITORY, &commit, "ada");
        } else {
            linked.forge().reruns_check(REPOSITORY, &commit, "ci / flaky (push)", "ada");
        }
        linked.until_handled(2).await;
        let shows = |name: &str| linked.forge().shows(REPOSITORY, &commit)[name].clone();
        eventually("the failed job waits again", async || (shows("ci / flaky (push)") == "queued").then_some(())).await;
        assert!(["queued", "in_progress"].contains(&&*shows("ci (push)")), "{}", shows("ci (push)"));
        assert_eq!(shows(once.0), once.1, "what passed is not run again");
        linked.starts_worker();
        linked.until_shows(&commit, &[("ci (push)", "success"), once, ("ci / flaky (push)", "success")]).await;
        let lines = std::fs::read_to_string(folder.path().join("once")).expect("written").lines().count();
        assert_eq!((linked.runs().await.len(), lines), (1, 1));
        linked.forge().keeps_the_contract();
    }
}

#[tokio::test]
async fn rerun_of_a_run_that_runs_changes_nothing() {
    let linked = Linked::with_app().await;
    let folder = tempfile::tempdir().expect("a folder");
    let commit = linked.pushes_ci(&waits(folder.path())).await;
    linked.until_shows(&commit, &[("ci (push)", "in_progress"), ("ci / test (push)", "in_progress")]).await;
    linked.forge().reruns_check(REPOSITORY, &commit, "ci / test (push)", "ada");
    linked.forge().reruns_all(REPOSITORY, &commit, "ada");
    linked.until_handled(3).await;
    assert_eq!(linked.states().await, ["ignored", "ignored", "accepted"]);
    touch(folder.path(), "go");
    linked.until_shows(&commit, &PASSED).await;
    let runs = linked.runs().await;
    assert_eq!((runs.len(), runs[0].run), (1, 1));
}

#[tokio::test]
async fn rerun_of_a_forks_approved_commit_runs_without_another_approval() {
    let linked = Linked::with_app().await;
    let folder = tempfile::tempdir().expect("a folder");
    linked.pushes(&[("a", "1")], "base").await;
    let file = flaky(folder.path()).replace("on: push", "on: pull_request");
    let commit = linked.pushes_to_fork("topic", &[(".wfg/ci.yml", &file)]).await;
    let number = linked.opens_from_fork("topic").await;
    linked.until_shows(&commit, &[("ci (pull_request)", "action_required")]).await;
    linked.approves(number, &commit).await.expect("approved");
    let states = |ci, flaky| {
        [("ci (pull_request)", ci), ("ci / once (pull_request)", "success"), ("ci / flaky (pull_request)", flaky)]
    };
    linked.until_shows(&commit, &states("failure", "failure")).await;
    touch(folder.path(), "fixed");
    linked.forge().reruns_all(REPOSITORY, &commit, "eve");
    linked.until_shows(&commit, &states("success", "success")).await;
}

#[tokio::test]
async fn rerun_that_the_links_rights_no_longer_allow_is_told_as_failed_with_the_reason() {
    let linked = Linked::with_app().await;
    let commit = linked.pushes_ci(CI).await;
    linked.until_shows(&commit, &PASSED).await;
    let (file, label) = (linked.project.link_file(), &linked.cloud.label);
    linked.links(&file.replace(&format!("['{label}']"), "[other]")).await;
    linked.forge().reruns_check(REPOSITORY, &commit, "ci (push)", "ada");
    linked.until_shows(&commit, &[("ci (push)", "failure"), ("ci / test (push)", "success")]).await;
    // The state is told before the delivery is marked.
    linked.until_handled(2).await;
    let delivery = linked.deliveries().await.remove(0);
    let reason = delivery.reason.as_deref().unwrap_or_default();
    assert!(delivery.state == "failed" && reason.contains(label), "{delivery:?}");
    let posted = linked.forge().posted(REPOSITORY);
    let told = posted.iter().find(|posted| posted.name == "ci (push)").expect("posted");
    assert!(told.description.contains("rights"), "{told:?}");
    // Once they allow it again.
    linked.links(&file).await;
    linked.forge().reruns_all(REPOSITORY, &commit, "ada");
    linked.until_shows(&commit, &PASSED).await;
    let runs = linked.runs().await;
    assert_eq!((runs.len(), runs[0].run), (1, 2));
    linked.forge().keeps_the_contract();
}

#[tokio::test]
async fn state_that_gitlab_says_it_has_already_counts_as_told() {
    let linked = Linked::with_token(Kind::Gitlab).await;
    let folder = tempfile::tempdir().expect("a folder");
    let says = Fault::Says(400, "Cannot transition status via :run from :running".to_owned());
    linked.forge().plans_for("POST", "/statuses/", "\"running\"", says, 2);
    let commit = linked.pushes_ci(&waits(folder.path())).await;
    eventually("both running states are told", async || linked.forge().met_all_faults().then_some(())).await;
    touch(folder.path(), "go");
    linked.until_shows(&commit, &PASSED).await;
    let refused = linked.forge().requests().iter().filter(|request| request.status == 400).count();
    assert_eq!(refused, 2, "neither was sent again");
}
