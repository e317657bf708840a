//! Answers that aren't what was asked for.

use std::time::Duration;

use engine::forge::ports::{Forge, ForgeError, StateUpdate};
use engine::forge::state::TargetState;
use harness::forge::{Fault, Kind};
use protocol::Millis;

use crate::project::{Project, REPOSITORY};
use crate::setting::{Setting, main_branch, state};

#[tokio::test]
async fn each_refusal_of_the_forge_has_its_meaning() {
    let setting = Setting::with_token(Kind::Github).await;
    let Setting { forges, link, project: Project { forge, .. } } = &setting;
    let commit = setting.pushes(&[("a", "1")]).await;
    let tells = async |fault: Fault| {
        forge.plans("POST", "/statuses/", fault, 1);
        forges.send_state(link, &state(&commit, TargetState::Running)).await.expect_err("a fault")
    };
    let wait = |error: ForgeError| match error {
        ForgeError::Busy { retry_after, .. } => retry_after,
        other => panic!("{other:?}"),
    };
    let slow = vec![("retry-after", "30".to_owned())];
    assert_eq!(wait(tells(Fault::Answers(429, slow)).await), Some(Duration::from_secs(30)));
    let never = vec![("retry-after", "99999999999".to_owned())];
    assert_eq!(wait(tells(Fault::Answers(503, never)).await), Some(Duration::from_hours(1)));
    let resets = (Millis::now().0 / 1000 + 600).to_string();
    let limit = |name, value: &str| (name, value.to_owned());
    let nothing_left = vec![
        limit("x-ratelimit-limit", "5000"),
        limit("x-ratelimit-remaining", "0"),
        limit("x-ratelimit-reset", &resets),
    ];
    let until = wait(tells(Fault::Answers(403, nothing_left)).await).expect("a time");
    assert!((500..=600).contains(&until.as_secs()), "{until:?}");
    assert_eq!(wait(tells(Fault::Answers(503, Vec::new())).await), None);
    assert!(matches!(tells(Fault::Answers(502, Vec::new())).await, ForgeError::NoAnswer(_)));
    assert!(matches!(tells(Fault::Answers(403, Vec::new())).await, ForgeError::Refused(_)));
    assert!(matches!(tells(Fault::Answers(410, Vec::new())).await, ForgeError::Gone(_)));
    let text = "No commit found for SHA: 1".to_owned();
    assert_eq!(tells(Fault::Says(422, text)).await, ForgeError::NoCommit);
    assert!(forge.posted(REPOSITORY).is_empty());
    assert!(matches!(tells(Fault::Lost).await, ForgeError::NoAnswer(_)));
    assert_eq!(forge.posted(REPOSITORY).len(), 1, "it was carried out all the same");
}

#[tokio::test]
async fn redirect_is_followed_within_the_host_and_nowhere_else() {
    let setting = Setting::with_token(Kind::Github).await;
    let Setting { forges, link, project: Project { forge, .. } } = &setting;
    let commit = setting.pushes(&[("a", "1")]).await;
    let redirect = |to: String| Fault::Answers(301, vec![("location", to)]);
    forge.plans("GET", "/git/ref/", redirect(format!("/api/v3/repos/{REPOSITORY}/git/ref/heads/main")), 1);
    assert_eq!(forges.ref_head(link, &main_branch()).await, Ok(Some(commit.clone())));
    forge.plans("GET", "/git/ref/", redirect("http://127.0.0.1:1/elsewhere".to_owned()), 1);
    let refused = forges.ref_head(link, &main_branch()).await.expect_err("another port is another origin");
    assert!(refused.to_string().contains("another host"), "{refused}");
    forge.plans("GET", "/git/ref/", redirect(format!("/api/v3/repos/{REPOSITORY}/git/ref/heads/main")), 9);
    assert!(
        forges.ref_head(link, &main_branch()).await.expect_err("a loop").to_string().contains("redirects in a row")
    );
}

#[tokio::test]
async fn refused_token_of_an_app_is_minted_anew_once() {
    let setting = Setting::with_app().await;
    let Setting { forges, link, project: Project { forge, .. } } = &setting;
    let commit = setting.pushes(&[("a", "1")]).await;
    assert_eq!(forges.ref_head(link, &main_branch()).await, Ok(Some(commit.clone())));
    forge.revokes_minted_tokens();
    assert_eq!(forges.ref_head(link, &main_branch()).await, Ok(Some(commit)));
    assert_eq!(forge.minted(), 2);
    forge.plans("GET", "/git/ref/", Fault::Answers(401, Vec::new()), 2);
    assert!(matches!(forges.ref_head(link, &main_branch()).await, Err(ForgeError::Refused(_))));
    assert_eq!(forge.minted(), 3, "once for each request");
}

#[tokio::test]
async fn credential_of_an_app_reads_one_repository_and_is_minted_each_time() {
    let setting = Setting::with_app().await;
    let one = setting.forges.credential(&setting.link).await.expect("minted");
    let other = setting.forges.credential(&setting.link).await.expect("minted");
    assert_ne!(one.token, other.token);
    assert!(one.expires_at.is_some());
    setting.pushes(&[("a", "1")]).await;
    let url = setting.project.forge.url().replacen("://", &format!("://{}:{}@", one.user, one.token.reveal()), 1);
    setting.project.copy.git(&["ls-remote", &format!("{url}/{REPOSITORY}.git")]).await;
    let with_token = Setting::with_token(Kind::Gitlab).await;
    let named = with_token.forges.credential(&with_token.link).await.expect("the token");
    assert_eq!((named.user.as_str(), named.token.reveal(), named.expires_at), ("oauth2", harness::forge::TOKEN, None));
}

#[tokio::test]
async fn failed_deliveries_of_an_app_are_found_and_asked_for_again() {
    let setting = Setting::with_app().await;
    let Setting { forges, link, project: Project { forge, .. } } = &setting;
    setting.pushes(&[("a", "1")]).await;
    let failed = forges.failed_deliveries(link, Millis(0)).await.expect("listed");
    assert_eq!(failed.iter().map(|one| one.guid.clone()).collect::<Vec<_>>(), [forge.deliveries()[0].guid.clone()]);
    assert_eq!(forges.failed_deliveries(link, Millis(u64::MAX)).await, Ok(Vec::new()), "older ones aren't of interest");
    forges.redeliver(link, &failed[0].id).await.expect("asked for again");
    let sent = forge.deliveries();
    assert_eq!((sent.len(), &sent[1].guid), (2, &sent[0].guid));
    let again = forges.failed_deliveries(link, Millis(0)).await.expect("listed");
    assert_eq!(again.len(), 1, "one for each delivery, however often it was tried");
    forge.keeps_the_contract();
}

#[tokio::test]
async fn link_whose_secret_cannot_be_read_asks_nothing() {
    let mut setting = Setting::with_token(Kind::Gitea).await;
    setting.link.access = engine::forge::link::Access::Token(protocol::SecretName::new("GONE").expect("a name"));
    let error = setting.forges.repository(&setting.link).await.expect_err("no secret");
    assert!(matches!(error, ForgeError::NoCredentials(ref text) if text.contains("GONE")), "{error:?}");
    assert!(setting.project.forge.requests().is_empty());
}

#[tokio::test]
async fn gitlab_before_17_is_told_that_a_skipped_job_passed() {
    let setting = Setting::with_token(Kind::Gitlab).await;
    let commit = setting.pushes(&[("a", "1")]).await;
    setting.project.forge.plans(
        "POST",
        "/statuses/",
        Fault::Says(400, "state does not have a valid value".to_owned()),
        1,
    );
    let skipped = StateUpdate { description: "skipped: paths".to_owned(), ..state(&commit, TargetState::Skipped) };
    setting.forges.send_state(&setting.link, &skipped).await.expect("told");
    assert_eq!(setting.project.forge.shows(REPOSITORY, commit.as_str())["ci (push)"], "success");
}
