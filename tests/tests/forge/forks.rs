//! Pull requests from forks: nothing runs before a commit is approved.

use harness::forge::Kind;

use crate::linked::Linked;
use crate::project::{KINDS, REPOSITORY};

const PRINTS_ITS_REF: &str =
    "on: pull_request\njobs:\n  test: {labels: '{label}', run: 'printf %s \"$INPUT_REF\" > seen'}\n";
const WAITS: [(&str, &str); 1] = [("ci (pull_request)", "pending")];
const PASSED: [(&str, &str); 2] = [("ci (pull_request)", "success"), ("ci / test (pull_request)", "success")];

#[tokio::test]
async fn commit_of_a_fork_runs_only_once_it_is_approved_by_its_full_id() {
    let linked = Linked::with_token(Kind::Github).await;
    linked.pushes(&[("a", "1")], "base").await;
    let first = linked.pushes_to_fork("x$(id)", &[(".wfg/ci.yml", PRINTS_ITS_REF)]).await;
    let number = linked.opens_from_fork("x$(id)").await;
    linked.until_shows(&first, &WAITS).await;
    assert_eq!(linked.runs().await.len(), 0, "nothing was submitted");
    let page = linked.forge().posted(REPOSITORY).pop().expect("posted").url;
    assert!(page.ends_with(&format!("/#/forges/{}", linked.name)), "where it can be approved: {page}");
    let second = linked.pushes_to_fork("x$(id)", &[("b", "1")]).await;
    linked.until_shows(&second, &WAITS).await;
    let moved = linked.approves(number, &first).await.expect_err("it has another head");
    assert!(moved.contains(&second) && moved.contains("409"), "{moved}");
    linked.approves(number, &second).await.expect("approved");
    linked.until_shows(&second, &PASSED).await;
    assert_eq!(linked.runs().await.len(), 1);
    let seen = std::fs::read_to_string(linked.dir().join("seen")).expect("written");
    assert_eq!(seen, "x$(id)", "byte for byte");
}

#[tokio::test]
async fn fork_whose_repository_is_gone_is_still_a_fork() {
    let linked = Linked::with_token(Kind::Github).await;
    linked.pushes(&[("a", "1")], "base").await;
    linked.until_handled(1).await;
    linked.forge().silence(REPOSITORY, true);
    let commit = linked.pushes_to_fork("topic", &[(".wfg/ci.yml", PRINTS_ITS_REF)]).await;
    let number = linked.opens_from_fork("topic").await;
    linked.forge().loses_head_repository(REPOSITORY, number);
    linked.forge().redelivers(linked.forge().deliveries().pop().expect("made").id, false);
    linked.until_shows(&commit, &WAITS).await;
    assert_eq!(linked.runs().await.len(), 0);
}

#[tokio::test]
async fn file_of_a_fork_that_asks_for_a_secret_or_another_label_is_told_as_failed_and_not_run() {
    let linked = Linked::with_app().await;
    linked.pushes(&[("a", "1")], "base").await;
    let file = "on: pull_request\njobs:\n  a: {labels: '{label}', secrets: NPM_TOKEN, run: 'true'}\n  \
                b: {labels: production, run: 'true'}\n";
    let commit = linked.pushes_to_fork("topic", &[(".wfg/ci.yml", file)]).await;
    linked.opens_from_fork("topic").await;
    linked.until_shows(&commit, &[("ci (pull_request)", "failure")]).await;
    let posted = linked.forge().posted(REPOSITORY).pop().expect("posted");
    let lines: Vec<&serde_json::Value> =
        posted.body["output"]["annotations"].as_array().expect("a list").iter().map(|one| &one["start_line"]).collect();
    assert_eq!(lines, [4, 5], "{posted:?}");
    assert_eq!(linked.runs().await.len(), 0);
}

#[tokio::test]
async fn button_of_the_app_approves_the_commit_if_the_person_may_write() {
    let linked = Linked::with_app().await;
    let forge = linked.forge();
    linked.pushes(&[("a", "1")], "base").await;
    let commit = linked.pushes_to_fork("topic", &[(".wfg/ci.yml", PRINTS_ITS_REF)]).await;
    linked.opens_from_fork("topic").await;
    linked.until_shows(&commit, &[("ci (pull_request)", "action_required")]).await;
    linked.until_handled(2).await;
    forge.presses_button(REPOSITORY, &commit, "ci (pull_request)", "eve");
    linked.until_handled(3).await;
    let refused = linked.deliveries().await.remove(0);
    assert!(refused.state == "failed" && refused.reason.as_ref().is_some_and(|why| why.contains("eve")), "{refused:?}");
    assert_eq!(linked.runs().await.len(), 0);
    forge.writer(REPOSITORY, "ada");
    forge.presses_button(REPOSITORY, &commit, "ci (pull_request)", "ada");
    linked.until_shows(&commit, &PASSED).await;
    // An approval is for one commit.
    let second = linked.pushes_to_fork("topic", &[("b", "1")]).await;
    linked.until_shows(&second, &[("ci (pull_request)", "action_required")]).await;
    assert_eq!(linked.runs().await.len(), 1);
    forge.keeps_the_contract();
}

#[tokio::test]
async fn pull_request_of_the_repository_itself_runs_on_each_forge() {
    for kind in KINDS {
        let linked = Linked::with_token(kind).await;
        linked.pushes(&[("a", "1")], "base").await;
        let commit = linked.commits(&[(".wfg/ci.yml", PRINTS_ITS_REF)], "a commit").await;
        linked.copy().push(&["HEAD:refs/heads/topic"]).await;
        linked.forge().opens_pull_request(REPOSITORY, (REPOSITORY, "topic"), "main").await;
        linked.until_shows(&commit, &PASSED).await;
    }
}
