//! Pushes, filters, and files that can't run.

use engine::forge::event::{Push, Signal};
use engine::forge::names::{GitRef, RepositoryKey, Subject};
use engine::forge::ports::Changed;
use engine::forge::records::DeliveryState::{Accepted, Failed, Ignored, Late, Repeat};
use engine::forge::records::ReportSource;
use engine::forge::store::ForgeStore;
use engine::forges::Received;
use protocol::Status;
use protocol::wire::RunSource;

use crate::world::{CI, LINK, World, commit, link, main, pushed};

#[tokio::test]
async fn a_push_starts_a_run_of_each_file_that_wants_it() {
    let world = World::linked().await;
    world.file('B', "lint", "on: push\njobs: {lint: {run: make lint}}\n");
    world.file('B', "nightly", "jobs: {all: {run: make all}}\n");
    world.at(&main(), 'B');
    let delivery = world.push(&main(), Some('A'), 'B', None).await;
    assert_eq!((delivery.state, delivery.commit), (Accepted, Some(commit('B'))), "{:?}", delivery.reason);
    let workflows = world.workflows().await;
    let names: Vec<_> = workflows.iter().map(|workflow| (workflow.name.as_str(), workflow.trigger.as_str())).collect();
    assert_eq!(names, [("ci", "ci (push)"), ("lint", "lint (push)")]);
    let inputs = &workflows[0].inputs;
    let of = |name: &str| inputs[name].clone();
    assert_eq!([of("forge"), of("repository"), of("event"), of("ref")], ["github", "acme/app", "push", "main"]);
    assert_eq!([of("commit"), of("before")], [commit('B').to_string(), commit('A').to_string()]);
    assert_eq!([of("actor"), of("fork"), of("pull_request")], ["alice", "false", ""]);
    assert_eq!(of("change"), format!("main {}", commit('B')));
    let source = RunSource {
        forge: "github".to_owned(),
        repository: "acme/app".to_owned(),
        event: "push".to_owned(),
        name: Some("main".to_owned()),
        commit: commit('B').to_string(),
        pull_request: None,
        url: format!("https://github.com/acme/app/commit/{}", commit('B')),
    };
    assert_eq!(workflows[0].source.as_deref(), Some(&source));
}

#[tokio::test]
async fn files_over_a_megabyte_in_all_start_nothing_whatever_the_forge_says_of_sizes() {
    let world = World::linked().await;
    world.forge.state().no_sizes = true;
    for name in ["k", "l", "m", "n"] {
        world.file('B', name, &format!("on: push\njobs: {{a: {{run: x}}}}\n#{}\n", "x".repeat(400_000)));
    }
    world.at(&main(), 'B');
    let delivery = world.push(&main(), Some('A'), 'B', None).await;
    assert_eq!((delivery.state, delivery.workflows.len()), (Failed, 0));
    assert!(delivery.reason.expect("why").contains("in all"));
    assert_eq!(world.forge.state().read, 4, "the rest isn't read");
}

#[tokio::test]
async fn one_push_makes_one_run_however_often_and_in_which_order_it_is_delivered() {
    let world = World::linked().await;
    world.at(&main(), 'B');
    let states = [
        world.push(&main(), Some('A'), 'B', Some("one")).await.state,
        world.push(&main(), Some('A'), 'B', Some("one")).await.state,
        world.push(&main(), Some('A'), 'B', Some("two")).await.state,
        world.push(&main(), Some('A'), 'B', Some("two")).await.state,
    ];
    // The id that was accepted continues, and finds the run there.
    assert_eq!(states, [Accepted, Accepted, Repeat, Repeat]);
    world.at(&main(), 'C');
    assert_eq!(world.push(&main(), Some('B'), 'C', Some("three")).await.state, Accepted);
    world.clock.advance(std::time::Duration::from_hours(24 * 31));
    assert_eq!(world.push(&main(), Some('A'), 'B', Some("made up")).await.state, Late);
    assert_eq!(world.push(&main(), Some('A'), 'B', Some("one")).await.state, Repeat);
    assert_eq!(world.push(&main(), Some('B'), 'C', Some("made up too")).await.state, Repeat);
    assert_eq!(world.runs().await.replace("BB", "B"), "BC");
    assert_eq!(world.engine.queries().workflows(None, 10, 0, None).await.expect("listed").workflows.len(), 2);
}

#[tokio::test]
async fn a_force_push_back_to_an_earlier_commit_runs_and_a_deleted_branch_does_not() {
    let world = World::linked().await;
    for (before, after) in [('A', 'B'), ('B', 'C'), ('C', 'B')] {
        world.at(&main(), after);
        assert_eq!(world.push(&main(), Some(before), after, None).await.state, Accepted);
        world.clock.advance(std::time::Duration::from_mins(1));
    }
    assert_eq!(world.runs().await, "BCB");
    world.forge.state().refs.clear();
    let gone = Push { name: main(), before: Some(commit('B')), after: None, actor: String::new(), first_line: None };
    assert_eq!(world.deliver(Signal::Push(gone), None).await.state, Ignored);
}

#[tokio::test]
async fn skip_ci_counts_in_the_first_line_for_branches_alone() {
    let world = World::linked().await;
    let tag = GitRef::new("refs/tags/v1").expect("a tag");
    let push = |name: &GitRef, letter| Push {
        name: name.clone(),
        before: None,
        after: Some(commit(letter)),
        actor: String::new(),
        first_line: Some("docs [skip ci]".to_owned()),
    };
    world.at(&main(), 'B');
    world.at(&tag, 'B');
    assert_eq!(world.deliver(Signal::Push(push(&main(), 'B')), None).await.state, Ignored);
    assert_eq!(world.deliver(Signal::Push(push(&tag, 'B')), None).await.state, Accepted);
    let workflows = world.workflows().await;
    assert_eq!((workflows.len(), workflows[0].inputs["event"].as_str()), (1, "tag"));
}

#[tokio::test]
async fn what_can_not_be_known_runs() {
    let world = World::linked().await;
    let text = CI.replace("branches: [main, 'x*'], tags: ['v*']", "branches: [main], paths: ['src/**']");
    for letter in ['B', 'C', 'D'] {
        world.file(letter, "ci", &text);
    }
    let mut before = 'A';
    for (after, changed, state) in [
        ('B', Changed::Files(vec!["docs/a".to_owned()]), Ignored),
        ('C', Changed::Files(vec!["docs/a".to_owned(), "src/b/c".to_owned()]), Accepted),
        ('D', Changed::Unknown, Accepted),
    ] {
        world.at(&main(), after);
        world.forge.state().changed = Some(changed);
        assert_eq!(world.push(&main(), Some(before), after, None).await.state, state, "{after}");
        world.clock.advance(std::time::Duration::from_mins(1));
        before = after;
    }
    assert_eq!(world.runs().await, "CD");
}

#[tokio::test]
async fn a_pull_request_that_paths_leave_out_is_told_as_skipped() {
    let world = World::linked().await;
    world.file('B', "ci", &CI.replace("branches: [main]}\nconc", "branches: [main], paths: ['src/**']}\nconc"));
    world.forge.state().changed = Some(Changed::Files(vec!["docs/a".to_owned()]));
    world.pull_at(12, 'B', false);
    assert_eq!(world.pull(12, 'B').await.state, Ignored);
    world.told().await;
    assert_eq!(world.forge.shown(), ["ci (pull_request): skipped"]);
}

#[tokio::test]
async fn a_file_that_is_not_valid_or_asks_for_too_much_is_told_as_failed_and_the_others_run() {
    let world = World::linked().await;
    let branch = GitRef::of_branch("x1").expect("a branch");
    world.file('B', "broken", "on: push\njobs:\n  a: {rum: x}\n  b: {run: x, needs: c}\n");
    world.file('B', "deploy", "on: push\njobs:\n  a: {run: x, labels: production, secrets: NPM_TOKEN}\n");
    world.at(&branch, 'B');
    let delivery = world.push(&branch, None, 'B', None).await;
    assert_eq!((delivery.state, delivery.workflows.len()), (Accepted, 1));
    world.told().await;
    assert_eq!(
        world.forge.shown(),
        ["broken (push): invalid", "ci (push): running", "ci / test (push): queued", "deploy (push): invalid"]
    );
    let state = world.forge.state();
    let lines = |name: &str| {
        let update = state.told.iter().find(|update| update.name == name).expect("told");
        update.annotations.iter().map(|one| (one.path.clone(), one.line)).collect::<Vec<_>>()
    };
    assert_eq!(lines("broken (push)").iter().map(|(_, line)| *line).collect::<Vec<_>>(), [3, 3, 4]);
    assert_eq!(lines("deploy (push)"), [(".wfg/deploy.yml".to_owned(), 3), (".wfg/deploy.yml".to_owned(), 3)]);
}

#[tokio::test]
async fn rights_are_those_of_the_first_rule_that_fits() {
    let world = World::linked().await;
    world.file('B', "deploy", "on: push\njobs:\n  a: {run: x, labels: production, secrets: NPM_TOKEN}\n");
    world.at(&main(), 'B');
    assert_eq!(world.push(&main(), Some('A'), 'B', None).await.workflows.len(), 2);
    let none = World::with(&LINK.replace("  - {labels: [linux]}\n", "")).await;
    let branch = GitRef::of_branch("x1").expect("a branch");
    none.at(&branch, 'B');
    let delivery = none.push(&branch, None, 'B', None).await;
    assert_eq!((delivery.state, delivery.workflows.len()), (Ignored, 0), "{:?}", delivery.reason);
}

#[tokio::test]
async fn a_forge_that_lags_is_asked_again() {
    let world = World::linked().await;
    // The forge goes on to show A, where the ref was before.
    assert_eq!(world.push(&main(), Some('A'), 'B', None).await.state, Late);
    assert!(world.forge.state().asked >= 3, "asked again for a minute");
    assert_eq!(world.ref_record(Subject::Ref(main())).await.seq, 0);
}

#[tokio::test]
async fn a_repository_is_known_by_its_number_and_a_stranger_starts_nothing() {
    let world = World::linked().await;
    let incoming = |repository, name: &str| engine::forge::event::Incoming {
        id: "i".to_owned(),
        repository,
        name: name.to_owned(),
        signal: Signal::Push(Push {
            name: main(),
            before: None,
            after: Some(commit('A')),
            actor: String::new(),
            first_line: None,
        }),
    };
    let stranger = world.engine.forges().receive(&link(), incoming(8, "acme/app")).await.expect("answered");
    assert!(matches!(stranger, Received::Ignored(_)), "{stranger:?}");
    for (claimed, expected) in [("acme/renamed", "acme/renamed"), ("acme/other", "acme/renamed")] {
        world.engine.forges().receive(&link(), incoming(7, claimed)).await.expect("answered");
        world.drain().await;
        assert_eq!(world.engine.forges().of_name(&link()).await.expect("there")[0].repository, expected, "{claimed}");
    }
}

/// Pushes B to main, whose files can't be read until C was pushed, was handled, and has its run.
async fn overtaken(files: &str) -> World {
    let world = World::linked().await;
    for letter in ['B', 'C'] {
        world.file(letter, "ci", files);
    }
    world.forge.state().unread.push(commit('B'));
    world.at(&main(), 'B');
    let older = world.receive(pushed(&main(), Some('A'), 'B'), None).await;
    world.drain().await;
    world.at(&main(), 'C');
    assert_eq!(world.push(&main(), Some('B'), 'C', None).await.state, Accepted);
    assert_eq!(world.runs().await, "C");
    world.forge.state().unread.clear();
    let older = world.until_handled(&older).await;
    assert_eq!((older.state, older.commit, older.workflows.len()), (Accepted, Some(commit('B')), 1));
    world
}

#[tokio::test]
async fn push_that_was_overtaken_before_its_files_were_read_still_runs() {
    let world = overtaken(CI).await;
    let statuses: Vec<_> = world.workflows().await.iter().map(|workflow| workflow.status).collect();
    assert_eq!(statuses, [Status::Running, Status::Running]);
}

#[tokio::test]
async fn run_of_an_older_push_never_cancels_that_of_a_newer_one() {
    let world = overtaken(&CI.replace("per: change, ", "")).await;
    world.told().await;
    let workflows = world.workflows().await;
    let of = |letter| {
        workflows.iter().find(|workflow| workflow.inputs["commit"] == commit(letter).as_str()).expect("its run")
    };
    assert_eq!((of('B').status, of('B').superseded), (Status::Cancelled, true));
    assert_eq!((of('C').status, of('C').superseded), (Status::Running, false));
}

#[tokio::test]
async fn redelivery_of_an_older_push_leaves_the_commits_states_to_the_newer_one() {
    let world = World::linked().await;
    let other = GitRef::of_branch("x1").expect("a branch");
    world.at(&main(), 'B');
    world.at(&other, 'B');
    world.push(&main(), Some('A'), 'B', Some("one")).await;
    let newer = world.push(&other, Some('A'), 'B', Some("two")).await;
    assert_eq!(world.push(&main(), Some('A'), 'B', Some("one")).await.state, Accepted);
    let key = RepositoryKey { link: link(), repository: 7 };
    let reports = world.engine.ports().reports_of(&key, &commit('B')).await.expect("read");
    assert_eq!(reports[0].source, ReportSource::Workflow { id: newer.workflows.first().cloned() });
}

#[tokio::test]
async fn delivery_with_a_known_id_and_another_commit_is_a_push_of_its_own() {
    let world = World::linked().await;
    for (before, after) in [('A', 'B'), ('B', 'C')] {
        world.at(&main(), after);
        assert_eq!(world.push(&main(), Some(before), after, Some("one")).await.state, Accepted);
        world.clock.advance(std::time::Duration::from_mins(1));
    }
    assert_eq!(world.runs().await, "BC");
}

/// Whoever has the webhook secret and may push a branch would get the rights of the base that they name.
#[tokio::test]
async fn entry_of_a_merge_queue_counts_only_on_a_branch_of_the_queue_of_its_base() {
    let world = World::linked().await;
    world.file('B', "ci", "on: merge_group\njobs: {test: {labels: linux, run: make}}\n");
    let group = async |branch: &str| {
        let name = GitRef::of_branch(branch).expect("a branch");
        world.at(&name, 'B');
        let (head, base, actor) = (commit('B'), commit('A'), "mallory".to_owned());
        world.deliver(Signal::MergeGroup { name, head, base, base_ref: main(), actor }, None).await.state
    };
    for branch in ["mine", "gh-readonly-queue/x/pr-1-0", "gh-readonly-queue/main", "gh-readonly-queue/mainline/pr-1-0"]
    {
        assert_eq!(group(branch).await, Ignored, "{branch}");
    }
    assert_eq!(world.workflows().await.len(), 0);
    assert_eq!(group("gh-readonly-queue/main/pr-1-0").await, Accepted);
    assert_eq!(world.workflows().await.len(), 1);
}
