//! Questions and states, by each adapter.

use engine::forge::names::{CommitId, GitRef};
use engine::forge::ports::{Changed, Forge};
use engine::forge::state::{Annotation, TargetState};
use harness::forge::Kind;

use crate::project::{KINDS, Project, REPOSITORY};
use crate::setting::{Setting, main_branch, state};

const CI: &str = "on: push\njobs: {test: {run: make}}\n";

fn files(names: &[&str]) -> Changed {
    Changed::Files(names.iter().map(|name| (*name).to_owned()).collect())
}

/// The files, of which Gitea may name some twice.
fn sorted(changed: Changed) -> Changed {
    match changed {
        Changed::Files(mut files) => {
            files.sort();
            files.dedup();
            Changed::Files(files)
        }
        unknown @ Changed::Unknown => unknown,
    }
}

#[tokio::test]
async fn repository_refs_and_files_are_those_of_git() {
    for kind in KINDS {
        let setting = Setting::with_token(kind).await;
        let Setting { forges, link, project: Project { copy, .. } } = &setting;
        let commit = setting
            .pushes(&[
                (".wfg/ci.yml", CI),
                (".wfg/b.yml", "b"),
                (".wfg/c.yaml", "no"),
                (".wfg/README", "no"),
                ("src/a.rs", ""),
            ])
            .await;
        let about = forges.repository(link).await.expect("known");
        assert_eq!((about.number, about.name.as_str(), about.private), (link.key.repository, REPOSITORY, true));
        assert_eq!(about.default_branch, "main");
        assert_eq!(forges.ref_head(link, &main_branch()).await, Ok(Some(commit.clone())));
        let nothing = GitRef::new("refs/heads/no/such").expect("a branch");
        assert_eq!(forges.ref_head(link, &nothing).await, Ok(None));
        copy.git(&["tag", "-a", "-m", "annotated", "v1"]).await;
        copy.push(&["v1", "HEAD:refs/heads/a/b$(id)"]).await;
        for name in ["refs/tags/v1", "refs/heads/a/b$(id)"] {
            let name = GitRef::new(name).expect("a ref");
            assert_eq!(forges.ref_head(link, &name).await, Ok(Some(commit.clone())), "{kind:?} {name}");
        }
        let found = forges.files(link, &commit).await.expect("a folder");
        let paths: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".wfg/b.yml", ".wfg/ci.yml"]);
        assert_eq!(found[1].blob, copy.git(&["rev-parse", "HEAD:.wfg/ci.yml"]).await);
        assert_eq!(forges.file(link, &commit, &found[1]).await.as_deref(), Ok(CI));
        copy.git(&["rm", "--quiet", "-r", ".wfg"]).await;
        let without = setting.pushes(&[]).await;
        assert_eq!(forges.files(link, &without).await, Ok(Vec::new()));
        setting.project.forge.keeps_the_contract();
    }
}

#[tokio::test]
async fn all_workflow_files_are_listed_however_many_pages_they_take() {
    for kind in KINDS {
        let setting = Setting::with_token(kind).await;
        let names: Vec<String> = (0..120).map(|n| format!(".wfg/{n:03}.yml")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), CI)).collect();
        let commit = setting.pushes(&many).await;
        let listed = setting.forges.files(&setting.link, &commit).await.expect("told");
        assert!(listed.iter().map(|file| &file.path).eq(&names), "{kind:?}: {} files", listed.len());
    }
}

#[tokio::test]
async fn changed_files_are_told_and_what_cannot_be_known_is_unknown() {
    for kind in KINDS {
        let setting = Setting::with_token(kind).await;
        let Setting { forges, link, project: Project { copy, .. } } = &setting;
        let first = setting.pushes(&[("a", "a long enough text to be found again\n"), ("b", "1")]).await;
        copy.git(&["mv", "a", "c"]).await;
        let second = setting.pushes(&[("b", "2")]).await;
        let changed = sorted(forges.changed(link, &first, &second).await.expect("told"));
        assert_eq!(changed, files(&["a", "b", "c"]), "{kind:?}: both names of a renamed file");
        assert_eq!(forges.changed(link, &second, &second).await, Ok(files(&[])));
        assert_eq!(
            forges.changed(link, &second, &first).await,
            Ok(Changed::Unknown),
            "{kind:?}: back to an older commit"
        );
        let gone = CommitId::new("1".repeat(40)).expect("a commit");
        assert_eq!(forges.changed(link, &gone, &second).await, Ok(Changed::Unknown));
        let names: Vec<String> = (0..301).map(|n| format!("many/{n:03}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let third = setting.pushes(&many).await;
        assert_eq!(forges.changed(link, &second, &third).await, Ok(Changed::Unknown), "301 files");
        copy.push(&["--force", &format!("{second}:refs/heads/main"), &format!("{third}:refs/heads/topic")]).await;
        let number = setting.project.forge.opens_pull_request(REPOSITORY, (REPOSITORY, "topic"), "main").await;
        let Ok(Changed::Files(found)) = forges.changed_by(link, number).await else { panic!("{kind:?}: known") };
        assert!(names.iter().all(|name| found.contains(name)), "all pages are read");
        setting.project.forge.keeps_the_contract();
    }
}

#[tokio::test]
async fn pull_request_of_a_fork_and_of_a_repository_that_is_gone_is_a_fork() {
    for kind in KINDS {
        let setting = Setting::with_token(kind).await;
        let Setting { forges, link, project: Project { copy, forge, .. } } = &setting;
        let base = setting.pushes(&[("a", "1")]).await;
        forge.repository("eve/app", true).await;
        copy.git(&["remote", "add", "fork", &forge.git_url("eve/app")]).await;
        let head = copy.commit(&[("a", "2")], "a").await;
        copy.git(&["push", "--quiet", "fork", "HEAD:refs/heads/main"]).await;
        copy.push(&["HEAD:refs/heads/topic"]).await;
        let own = forge.opens_pull_request(REPOSITORY, (REPOSITORY, "topic"), "main").await;
        let fork = forge.opens_pull_request(REPOSITORY, ("eve/app", "main"), "main").await;
        let ask = async |number| forges.pull_request(link, number).await.expect("answered");
        let found = ask(own).await.expect("there");
        assert_eq!((found.fork, found.open, found.head.as_str(), &found.base), (false, true, head.as_str(), &base));
        assert_eq!(found.head_ref.expect("a branch").short(), "topic");
        assert!(ask(fork).await.expect("there").fork);
        forge.loses_head_repository(REPOSITORY, own);
        assert!(ask(own).await.expect("there").fork, "{kind:?}: its repository is gone");
        forge.closes_pull_request(REPOSITORY, fork);
        assert!(!ask(fork).await.expect("there").open);
        assert_eq!(ask(99).await, None);
        forge.keeps_the_contract();
    }
}

#[tokio::test]
async fn states_are_told_and_read_back() {
    for kind in KINDS {
        let setting = Setting::with_token(kind).await;
        let Setting { forges, link, project: Project { forge, .. } } = &setting;
        let commit = setting.pushes(&[("a", "1")]).await;
        let told = forges.send_state(link, &state(&commit, TargetState::Running)).await.expect("told");
        let id = told.id.clone();
        let running = if kind == Kind::Gitlab { "running" } else { "pending" };
        assert_eq!(forge.shows(REPOSITORY, commit.as_str())["ci (push)"], running);
        // Sent twice: GitLab refuses the second, which is as good.
        let again = engine::forge::ports::StateUpdate { id: id.clone(), ..state(&commit, TargetState::Running) };
        assert_eq!(forges.send_state(link, &again).await.expect("told").id, id);
        let end = engine::forge::ports::StateUpdate {
            id,
            description: "x".repeat(500),
            ..state(&commit, TargetState::NeedFailed)
        };
        forges.send_state(link, &end).await.expect("told");
        let failed = if kind == Kind::Gitlab { "failed" } else { "failure" };
        let shown = forges.shown(link, &commit).await.expect("read back");
        assert_eq!(
            shown.iter().map(|one| (one.name.as_str(), one.state.as_str())).collect::<Vec<_>>(),
            [("ci (push)", failed)]
        );
        let posted = forge.posted(REPOSITORY).pop().expect("posted");
        assert_eq!(posted.description.chars().count(), 140);
        assert_eq!(posted.url, "https://wfg.example.org/#/w/1");
        forge.keeps_the_contract();
    }
}

#[tokio::test]
async fn app_tells_check_runs_with_annotations_and_a_button() {
    let setting = Setting::with_app().await;
    let Setting { forges, link, project: Project { forge, .. } } = &setting;
    let commit = setting.pushes(&[("a", "1")]).await;
    let annotation = |line| Annotation { path: ".wfg/ci.yml".to_owned(), line, message: "unknown key".to_owned() };
    let invalid = engine::forge::ports::StateUpdate {
        annotations: (1..=60).map(annotation).collect(),
        summary: "x".repeat(70_000),
        ..state(&commit, TargetState::Invalid)
    };
    let told = forges.send_state(link, &invalid).await.expect("told");
    let posted = || forge.posted(REPOSITORY).pop().expect("posted");
    assert_eq!((posted().state.as_str(), posted().body["external_id"].as_str()), ("failure", Some("ours")));
    assert_eq!(posted().body["output"]["annotations"].as_array().map(Vec::len), Some(50));
    for (to, shown) in [
        (TargetState::WaitsForApproval, "action_required"),
        (TargetState::Queued, "queued"),
        (TargetState::Running, "in_progress"),
        (TargetState::TimedOut, "timed_out"),
    ] {
        let update = engine::forge::ports::StateUpdate { id: told.id.clone(), ..state(&commit, to) };
        assert_eq!(forges.send_state(link, &update).await.expect("told").id, told.id);
        assert_eq!(posted().state, shown);
        let has_button = posted().body["actions"].as_array().is_some_and(|actions| !actions.is_empty());
        assert_eq!(has_button, to == TargetState::WaitsForApproval);
    }
    let shown = forges.shown(link, &commit).await.expect("read back");
    assert_eq!((shown[0].state.as_str(), &shown[0].id), ("timed_out", &told.id));
    assert_eq!(forge.minted(), 1, "one token for all of these requests");
    forge.keeps_the_contract();
}

#[tokio::test]
async fn only_those_who_may_write_may_press_the_button() {
    let setting = Setting::with_app().await;
    setting.project.forge.writer(REPOSITORY, "ada");
    assert_eq!(setting.forges.may_write(&setting.link, "ada").await, Ok(true));
    assert_eq!(setting.forges.may_write(&setting.link, "eve").await, Ok(false));
    assert!(setting.forges.may_write(&setting.link, "..").await.is_err());
    setting.project.forge.keeps_the_contract();
}
