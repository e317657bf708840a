//! Pushes and pull requests that start runs, and the states that the commit shows.

use harness::RealWorker;
use harness::forge::Kind;
use serde_json::json;

use crate::linked::Linked;
use crate::project::{KINDS, REPOSITORY};

pub const CI: &str = "on:\n  push: {branches: [main]}\njobs:\n  test: {labels: '{label}', run: 'true'}\n";
pub const PASSED: [(&str, &str); 2] = [("ci (push)", "success"), ("ci / test (push)", "success")];

/// A workflow with this `on` and one job that passes.
pub fn passes(on: &str) -> String {
    format!("on: {on}\njobs:\n  test: {{labels: '{{label}}', run: 'true'}}\n")
}

#[tokio::test]
async fn push_runs_the_file_at_the_commit_and_the_commit_shows_how_it_went() {
    for kind in KINDS {
        let linked = Linked::with_token(kind).await;
        let file = "on: push\njobs:\n  test: {labels: '{label}', run: 'true'}\n  fail: {labels: '{label}', run: 'exit 3'}\n  \
                    after: {needs: fail, labels: '{label}', run: 'true'}\n";
        let commit = linked.pushes_ci(file).await;
        let failed = if kind == Kind::Gitlab { "failed" } else { "failure" };
        let states = [
            ("ci (push)", failed),
            ("ci / test (push)", "success"),
            ("ci / fail (push)", failed),
            ("ci / after (push)", failed),
        ];
        linked.until_shows(&commit, &states).await;
        let run = linked.cloud.run(linked.runs().await.remove(0).id).now().await;
        assert_eq!((run.inputs["commit"].as_str(), run.inputs["event"].as_str()), (&*commit, "push"), "{kind:?}");
        let page = linked.forge().posted(REPOSITORY).pop().expect("posted").url;
        assert!(page.ends_with(&format!("/#/runs/{}", run.id)), "{page}");
        linked.forge().keeps_the_contract();
    }
}

#[tokio::test]
async fn examples_of_the_documentation_run_pushes_tags_and_approved_forks() {
    let linked = Linked::with_token(Kind::Github).await;
    let (copy, label) = (linked.copy(), &linked.cloud.label);
    let (link, file) =
        (include_str!("../../../examples/forge/acme.yml"), include_str!("../../../examples/forge/ci.yml"));
    let labelled = |text: &str| text.replace("linux", label).replace("untrusted", &format!("{label}-untrusted"));
    let (webhook, token) = (linked.project.webhook_name(), linked.project.token_name());
    let lines = link.lines().map(|line| match line.split_once(": ") {
        Some(("token", _)) => format!("token: {token}\nurl: {}\n", linked.forge().url()),
        Some(("webhook_secret", _)) => format!("webhook_secret: {webhook}\n"),
        _ => format!("{}\n", labelled(line)),
    });
    linked.links(&lines.collect::<String>()).await;
    let passed = |event: &str| {
        let names = ["ci", "ci / test", "ci / build"].map(|name| format!("{name} ({event})"));
        names.map(|name| (name, "success"))
    };
    let shows = async |commit: &str, events: &[&str]| {
        let states: Vec<_> = events.iter().flat_map(|event| passed(event)).collect();
        let states: Vec<_> = states.iter().map(|(name, state)| (name.as_str(), *state)).collect();
        linked.until_shows(commit, &states).await;
    };
    let files = [(".wfg/ci.yml", &*labelled(file)), ("Makefile", "test build:\n\t@echo $@\n"), ("src/a", "1")];
    let first = linked.pushes(&files, "one").await;
    shows(&first, &["push"]).await;
    copy.push(&["HEAD:refs/tags/v1", "HEAD:refs/tags/other"]).await;
    shows(&first, &["push", "tag"]).await;
    linked.pushes(&[("docs/a", "1")], "docs alone").await;
    linked.until_handled(4).await;
    let _untrusted = RealWorker::starts(&linked.cloud, "{label}, {label}-untrusted");
    let fork = linked.pushes_to_fork("topic", &[("src/a", "2")]).await;
    let number = linked.opens_from_fork("topic").await;
    linked.until_shows(&fork, &[("ci (pull_request)", "pending")]).await;
    linked.approves(number, &fork).await.expect("approved");
    shows(&fork, &["pull_request"]).await;
    assert_eq!(linked.runs().await.len(), 3, "{:#?}", linked.deliveries().await);
}

#[tokio::test]
async fn one_push_is_one_run_however_often_and_in_whatever_order_it_is_delivered() {
    for kind in KINDS {
        let linked = Linked::with_token(kind).await;
        let forge = linked.forge();
        // The hook is set up twice.
        linked.hooks();
        let first = linked.pushes_ci(CI).await;
        linked.until_shows(&first, &PASSED).await;
        linked.until_handled(2).await;
        let sent = forge.deliveries();
        forge.redelivers(sent[0].id, false);
        forge.redelivers(sent[0].id, true);
        linked.until_handled(4).await;
        let second = linked.pushes_ci(&CI.replace("'true'", "'true; true'")).await;
        linked.until_shows(&second, &PASSED).await;
        // A body of long ago under an id that nobody knows.
        forge.redelivers(sent[1].id, true);
        linked.until_handled(7).await;
        assert_eq!(linked.runs().await.len(), 2, "{kind:?}: {:#?}", linked.deliveries().await);
        let states = linked.states().await;
        let has = |state: &str| states.iter().any(|one| one == state);
        assert!(has("repeat") && has("late"), "{kind:?}: {states:?}");
    }
}

#[tokio::test]
async fn push_that_is_delivered_in_another_order_is_still_one_run() {
    let linked = Linked::with_token(Kind::Github).await;
    let forge = linked.forge();
    linked.hooks();
    let mut handled = 0;
    // The deliveries of two hooks, the first one again, and the second under another id.
    let orders: [&[(usize, bool)]; 3] = [
        &[(1, false), (0, false), (0, false), (1, true)],
        &[(1, true), (1, false), (0, false), (0, false)],
        &[(0, true), (1, true), (1, false), (0, false)],
    ];
    for (n, order) in orders.into_iter().enumerate() {
        forge.silence(REPOSITORY, true);
        let commit = linked.pushes_ci(&CI.replace("'true'", &format!("'exit 0; {n}'"))).await;
        let sent = forge.deliveries();
        let sent = &sent[sent.len() - 2..];
        for &(which, with_new_id) in order {
            forge.redelivers(sent[which].id, with_new_id);
            handled += 1;
            linked.until_handled(handled).await;
        }
        linked.until_shows(&commit, &PASSED).await;
        assert_eq!(linked.runs().await.len(), n + 1, "{order:?}: {:#?}", linked.deliveries().await);
    }
}

#[tokio::test]
async fn push_whose_delivery_never_came_is_started_by_hand_and_is_a_repeat_when_it_comes() {
    for kind in KINDS {
        let linked = Linked::with_token(kind).await;
        linked.forge().silence(REPOSITORY, true);
        let commit = linked.pushes_ci(CI).await;
        linked.starts_main().await;
        linked.until_shows(&commit, &PASSED).await;
        linked.forge().redelivers(linked.forge().deliveries()[0].id, false);
        linked.until_handled(2).await;
        assert_eq!(linked.states().await, ["repeat", "accepted"], "{kind:?}");
        assert_eq!(linked.runs().await.len(), 1);
    }
}

#[tokio::test]
async fn forced_and_deleted_branches_tags_and_skip_ci_start_what_they_should() {
    let linked = Linked::with_token(Kind::Github).await;
    let (forge, copy) = (linked.forge(), linked.copy());
    let file = passes("{push: {branches: ['**'], tags: ['v*'], paths: ['src/**']}}");
    let first = linked.pushes(&[(".wfg/ci.yml", &file), ("src/a", "1")], "one").await;
    linked.until_shows(&first, &PASSED).await;
    let second = linked.pushes(&[("src/a", "2")], "two\n\n[skip ci]").await;
    linked.until_shows(&second, &PASSED).await;
    // Back to the commit before, by force.
    copy.git(&["reset", "--quiet", "--hard", &first]).await;
    copy.push(&["--force", "HEAD:refs/heads/main"]).await;
    linked.until_handled(3).await;
    let skipped = linked.pushes(&[("src/a", "3")], "[skip ci] three").await;
    linked.until_handled(4).await;
    assert!(forge.shows(REPOSITORY, &skipped).is_empty(), "its first line has it");
    copy.push(&["HEAD:refs/tags/v1"]).await;
    linked.until_shows(&skipped, &[("ci (tag)", "success"), ("ci / test (tag)", "success")]).await;
    copy.push(&[":refs/heads/main"]).await;
    linked.until_handled(6).await;
    assert_eq!(linked.runs().await.len(), 4, "{:#?}", linked.deliveries().await);
}

#[tokio::test]
async fn forced_push_over_a_commit_that_is_gone_runs_whatever_paths_say() {
    let linked = Linked::with_token(Kind::Github).await;
    let (forge, copy) = (linked.forge(), linked.copy());
    let file = passes("{push: {branches: [main], paths: ['src/**']}}");
    linked.pushes(&[(".wfg/ci.yml", &file)], "one").await;
    linked.until_handled(1).await;
    let gone = linked.pushes(&[("src/a", "1")], "two").await;
    linked.until_shows(&gone, &PASSED).await;
    copy.git(&["reset", "--quiet", "--hard", "HEAD^"]).await;
    let docs = linked.commits(&[("docs/a", "1")], "docs alone").await;
    forge.silence(REPOSITORY, true);
    copy.push(&["--force", "HEAD:refs/heads/main"]).await;
    forge.prunes(REPOSITORY).await;
    forge.redelivers(forge.deliveries().pop().expect("made").id, false);
    linked.until_shows(&docs, &PASSED).await;
}

#[tokio::test]
async fn paths_leave_out_what_is_known_and_a_pull_request_is_told_so() {
    let linked = Linked::with_token(Kind::Github).await;
    let (forge, copy) = (linked.forge(), linked.copy());
    let file = passes("{push: {branches: ['**'], paths: ['src/**']}, pull_request: {paths: ['src/**']}}");
    let first = linked.pushes(&[(".wfg/ci.yml", &file), ("src/a", "1")], "one").await;
    linked.until_shows(&first, &PASSED).await;
    let other = linked.pushes(&[("docs/a", "1")], "docs").await;
    linked.until_handled(2).await;
    assert!(forge.shows(REPOSITORY, &other).is_empty());
    let names: Vec<String> = (0..301).map(|n| format!("docs/{n:03}")).chain(["src/z".to_owned()]).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let third = linked.pushes(&many, "many").await;
    linked.until_shows(&third, &PASSED).await;
    // A new branch is compared with the default one.
    let topic = linked.commits(&[("docs/b", "1")], "docs alone").await;
    copy.push(&["HEAD:refs/heads/topic"]).await;
    linked.until_handled(4).await;
    assert!(forge.shows(REPOSITORY, &topic).is_empty());
    forge.opens_pull_request(REPOSITORY, (REPOSITORY, "topic"), "main").await;
    linked.until_shows(&topic, &[("ci (pull_request)", "success")]).await;
    let posted = forge.posted(REPOSITORY).pop().expect("posted");
    assert!(posted.description.starts_with("skipped"), "{posted:?}");
    let source = linked.commits(&[("src/b", "1")], "a source").await;
    copy.push(&["HEAD:refs/heads/other"]).await;
    linked.until_shows(&source, &PASSED).await;
}

#[tokio::test]
async fn pull_request_of_over_3000_files_runs_whatever_paths_say() {
    let linked = Linked::with_token(Kind::Github).await;
    let (forge, copy) = (linked.forge(), linked.copy());
    linked.pushes(&[(".wfg/ci.yml", &passes("{pull_request: {paths: ['src/**']}}"))], "one").await;
    let names: Vec<String> = (0..3001).map(|n| format!("docs/{n:04}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let commit = linked.commits(&many, "many").await;
    copy.push(&["HEAD:refs/heads/topic"]).await;
    forge.opens_pull_request(REPOSITORY, (REPOSITORY, "topic"), "main").await;
    let passed = [("ci (pull_request)", "success"), ("ci / test (pull_request)", "success")];
    linked.until_shows(&commit, &passed).await;
}

#[tokio::test]
async fn states_are_those_of_the_table_and_a_bad_file_shows_its_lines() {
    let linked = Linked::with_app().await;
    let forge = linked.forge();
    let file = "on: push\njobs:\n  build: {labels: '{label}', run: 'exit 1'}\n  deploy: {needs: build, labels: '{label}', run: 'true'}\n  \
                lint: {labels: '{label}', run: 'exit 1', allow_failure: true}\n";
    let bad =
        "name: bad\non: push\njobs:\n  a: {labels: production, run: 'true'}\n  b: {labels: '{label}', runs: 'true'}\n";
    let worse =
        "name: worse\non: push\njobs:\n  a: {labels: production, run: 'true'}\n  b: {labels: staging, run: 'true'}\n";
    let files = [(".wfg/ci.yml", file), (".wfg/bad.yml", bad), (".wfg/worse.yml", worse)];
    let commit = linked.pushes(&files, "one").await;
    let states = [
        ("ci (push)", "failure"),
        ("ci / build (push)", "failure"),
        ("ci / deploy (push)", "cancelled"),
        ("ci / lint (push)", "neutral"),
        ("bad (push)", "failure"),
        ("worse (push)", "failure"),
    ];
    linked.until_shows(&commit, &states).await;
    let posted = forge.posted(REPOSITORY);
    let lines = |name: &str| -> Vec<u64> {
        let file = posted.iter().find(|posted| posted.name == name).expect("posted");
        let annotations = file.body["output"]["annotations"].as_array().expect("annotations");
        annotations.iter().filter_map(|annotation| annotation["start_line"].as_u64()).collect()
    };
    assert!(lines("bad (push)").contains(&5), "{posted:?}");
    assert_eq!(lines("worse (push)"), [4, 5], "both problems, each at its line");
    assert_eq!(forge.deliveries()[0].status, 202);
    forge.keeps_the_contract();
}

#[tokio::test]
async fn entry_of_a_merge_queue_runs_by_its_own_event_and_not_by_the_push_of_its_branch() {
    let linked = Linked::with_app().await;
    let base = linked.pushes(&[("a", "1")], "base").await;
    let queued =
        linked.commits(&[(".wfg/ci.yml", &passes("{push: {branches: ['**']}, merge_group: {}}"))], "one").await;
    let branch = "refs/heads/gh-readonly-queue/main/pr-1-0";
    linked.copy().push(&[&format!("HEAD:{branch}")]).await;
    let group = json!({ "head_sha": queued, "head_ref": branch, "base_sha": base, "base_ref": "refs/heads/main" });
    let body = json!({ "action": "checks_requested", "merge_group": group, "sender": { "login": "ada" } });
    linked.forge().delivers(REPOSITORY, "merge_group", &body);
    linked.until_shows(&queued, &[("ci (merge_group)", "success"), ("ci / test (merge_group)", "success")]).await;
    linked.until_handled(3).await;
    assert_eq!(linked.runs().await.len(), 1, "{:#?}", linked.deliveries().await);
}

#[tokio::test]
async fn run_that_a_newer_one_cancels_is_told_as_cancelled() {
    let linked = Linked::with_app().await;
    let file = "on: push\nconcurrency: {group: '{label}', per: change, when_newer: cancel}\njobs:\n  \
                test: {labels: '{label}', run: 'sleep 300'}\n";
    let first = linked.pushes_ci(&file.replace("per: change, ", "")).await;
    linked.until_shows(&first, &[("ci (push)", "in_progress"), ("ci / test (push)", "in_progress")]).await;
    let quick = file.replace("per: change, ", "").replace("sleep 300", "true");
    let second = linked.pushes_ci(&quick).await;
    linked.until_shows(&first, &[("ci (push)", "cancelled"), ("ci / test (push)", "cancelled")]).await;
    linked.until_shows(&second, &PASSED).await;
    linked.forge().keeps_the_contract();
}
