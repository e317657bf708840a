//! Pushes and pull requests that start runs, and the states that the commit shows. Each test has a server and a forge of its own.

use std::time::Duration;

use harness::forge::{Fault, Kind, TestForge};

use crate::linked::{Linked, REPOSITORY};

const CI: &str = "on:\n  push: {branches: [main]}\njobs:\n  test: {labels: linux, run: 'true'}\n";

/// A workflow with this `on` and one job that passes.
fn passes(on: &str) -> String {
    format!("on: {on}\njobs:\n  test: {{labels: linux, run: 'true'}}\n")
}

const PASSED: [(&str, &str); 2] = [("ci (push)", "success"), ("ci / test (push)", "success")];

#[tokio::test]
async fn one_push_is_one_run_however_often_and_in_whatever_order_it_is_delivered() {
    for kind in [Kind::Github, Kind::Gitea] {
        let linked = Linked::with_token(kind).await;
        let forge = &linked.forge;
        // The hook is set up twice.
        linked.hooks(kind);
        let first = linked.pushes_ci(CI).await;
        forge.until_shows(REPOSITORY, &first, &PASSED).await;
        linked.until_handled(2).await;
        let sent = forge.deliveries();
        forge.redelivers(sent[0].id, false);
        forge.redelivers(sent[0].id, true);
        linked.until_handled(4).await;
        let second = linked.pushes_ci(&CI.replace("'true'", "'true; true'")).await;
        forge.until_shows(REPOSITORY, &second, &PASSED).await;
        // A body of long ago under an id that nobody knows.
        forge.redelivers(sent[1].id, true);
        linked.until_handled(7).await;
        assert_eq!(linked.runs().await, 2, "{kind:?}: {:#?}", linked.deliveries().await);
        let states = linked.states().await;
        assert!(states.contains(&"repeat".to_owned()) && states.contains(&"late".to_owned()), "{states:?}");
    }
}

#[tokio::test]
async fn forced_and_deleted_branches_tags_and_skip_ci_start_what_they_should() {
    let linked = Linked::with_token(Kind::Github).await;
    let forge = &linked.forge;
    let file = passes("{push: {branches: ['**'], tags: ['v*'], paths: ['src/**']}}");
    let first = linked.pushes(&[(".wfg/ci.yml", &file), ("src/a", "1")], "one").await;
    forge.until_shows(REPOSITORY, &first, &PASSED).await;
    let second = linked.pushes(&[("src/a", "2")], "two\n\n[skip ci]").await;
    forge.until_shows(REPOSITORY, &second, &PASSED).await;
    // Back to the commit before, by force.
    linked.copy.git(&["reset", "--quiet", "--hard", &first]).await;
    linked.copy.push(&["--force", "HEAD:refs/heads/main"]).await;
    linked.until_handled(3).await;
    let skipped = linked.pushes(&[("src/a", "3")], "[skip ci] three").await;
    linked.until_handled(4).await;
    assert!(forge.shows(REPOSITORY, &skipped).is_empty(), "its first line has it");
    linked.copy.push(&["HEAD:refs/tags/v1"]).await;
    forge.until_shows(REPOSITORY, &skipped, &[("ci (tag)", "success"), ("ci / test (tag)", "success")]).await;
    linked.copy.push(&[":refs/heads/main"]).await;
    linked.until_handled(6).await;
    assert_eq!(linked.runs().await, 4, "{:#?}", linked.deliveries().await);
}

#[tokio::test]
async fn paths_leave_out_what_is_known_and_a_pull_request_is_told_so() {
    let linked = Linked::with_token(Kind::Github).await;
    let forge = &linked.forge;
    let file = passes("{push: {branches: [main], paths: ['src/**']}, pull_request: {paths: ['src/**']}}");
    let first = linked.pushes(&[(".wfg/ci.yml", &file), ("src/a", "1")], "one").await;
    forge.until_shows(REPOSITORY, &first, &PASSED).await;
    let other = linked.pushes(&[("docs/a", "1")], "docs").await;
    linked.until_handled(2).await;
    assert!(forge.shows(REPOSITORY, &other).is_empty());
    let names: Vec<String> = (0..301).map(|n| format!("docs/{n:03}")).chain(["src/z".to_owned()]).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let third = linked.pushes(&many, "many").await;
    forge.until_shows(REPOSITORY, &third, &PASSED).await;
    let topic = linked.copy.commit(&[("docs/b", "1")], "docs alone").await;
    linked.copy.push(&["HEAD:refs/heads/topic"]).await;
    forge.opens_pull_request(REPOSITORY, (REPOSITORY, "topic"), "main").await;
    forge.until_shows(REPOSITORY, &topic, &[("ci (pull_request)", "success")]).await;
    let posted = forge.posted(REPOSITORY).pop().expect("posted");
    assert!(posted.description.starts_with("skipped"), "{posted:?}");
}

#[tokio::test]
async fn states_are_those_of_the_table_and_a_bad_file_shows_its_lines() {
    let linked = Linked::with_app().await;
    let forge = &linked.forge;
    let file = "on: push\njobs:\n  build: {labels: linux, run: 'exit 1'}\n  deploy: {needs: build, labels: linux, run: 'true'}\n  \
                lint: {labels: linux, run: 'exit 1', allow_failure: true}\n  \
                maybe: {needs: build, if: 'false', labels: linux, run: 'true'}\n";
    let file = file.replace("  maybe: {needs: build, if: 'false', labels: linux, run: 'true'}\n", "");
    let bad = "on: push\njobs:\n  a: {labels: production, run: 'true'}\n  b: {labels: linux, runs: 'true'}\n";
    let commit = linked.pushes(&[(".wfg/ci.yml", &file), (".wfg/bad.yml", bad)], "one").await;
    let states = [
        ("ci (push)", "failure"),
        ("ci / build (push)", "failure"),
        ("ci / deploy (push)", "cancelled"),
        ("ci / lint (push)", "neutral"),
        ("bad (push)", "failure"),
    ];
    forge.until_shows(REPOSITORY, &commit, &states).await;
    let posted = forge.posted(REPOSITORY);
    let bad = posted.iter().find(|posted| posted.name == "bad (push)").expect("posted");
    let lines: Vec<u64> = bad.body["output"]["annotations"]
        .as_array()
        .expect("annotations")
        .iter()
        .filter_map(|annotation| annotation["start_line"].as_u64())
        .collect();
    assert!(lines.contains(&4), "{bad:?}");
    forge.keeps_the_contract();
}

#[tokio::test]
async fn commit_of_a_fork_runs_only_once_it_is_approved_by_its_full_id() {
    let linked = Linked::with_token(Kind::Github).await;
    let forge: &TestForge = &linked.forge;
    linked.pushes(&[("a", "1")], "base").await;
    forge.repository("eve/app", true).await;
    linked.copy.git(&["remote", "add", "fork", &forge.git_url("eve/app")]).await;
    let branch = "refs/heads/x$(id)";
    let file = "on: pull_request\njobs:\n  test: {labels: linux, run: 'printf %s \"$INPUT_REF\" > seen'}\n";
    let first = linked.copy.commit(&[(".wfg/ci.yml", file)], "one").await;
    linked.copy.git(&["push", "--quiet", "fork", &format!("HEAD:{branch}")]).await;
    let number = forge.opens_pull_request(REPOSITORY, ("eve/app", "x$(id)"), "main").await;
    forge.until_shows(REPOSITORY, &first, &[("ci (pull_request)", "pending")]).await;
    assert_eq!(linked.runs().await, 0, "nothing was submitted");
    let second = linked.copy.commit(&[("b", "1")], "two").await;
    linked.copy.git(&["push", "--quiet", "fork", &format!("HEAD:{branch}")]).await;
    forge.until_shows(REPOSITORY, &second, &[("ci (pull_request)", "pending")]).await;
    let moved = linked.approves(number, &first).await.expect_err("it has another head");
    assert!(moved.contains(&second) && moved.contains("409"), "{moved}");
    linked.approves(number, &second).await.expect("approved");
    let passed = [("ci (pull_request)", "success"), ("ci / test (pull_request)", "success")];
    forge.until_shows(REPOSITORY, &second, &passed).await;
    assert_eq!(linked.runs().await, 1);
    assert_eq!(std::fs::read_to_string(linked.dir().join("seen")).expect("written"), "x$(id)", "byte for byte");
}

#[tokio::test]
async fn states_are_right_in_the_end_through_errors_lost_and_late_answers() {
    let linked = Linked::with_token(Kind::Github).await;
    let forge = &linked.forge;
    forge.plans("POST", "/statuses/", Fault::Answers(502, Vec::new()), 1);
    forge.plans("POST", "/statuses/", Fault::Lost, 1);
    forge.plans("POST", "/statuses/", Fault::Answers(429, vec![("retry-after", "1".to_owned())]), 1);
    forge.plans("GET", "/git/ref/", Fault::Answers(502, Vec::new()), 1);
    let commit = linked.pushes_ci(CI).await;
    // After a lost answer its reporter keeps the lease for a minute.
    forge.until_shows_within(Duration::from_mins(4), REPOSITORY, &commit, &PASSED).await;
    assert_eq!(linked.runs().await, 1);
}
