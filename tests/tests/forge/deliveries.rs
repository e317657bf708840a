//! What the forge sends after a push, checked and parsed.

use engine::forge::event::{PullAction, Signal};

use crate::project::{KINDS, REPOSITORY};
use crate::setting::Setting;

#[tokio::test]
async fn push_is_delivered_signed_and_says_what_changed() {
    for kind in KINDS {
        let setting = Setting::with_token(kind).await;
        let first = setting.pushes(&[("a", "1")]).await;
        let (_, incoming) = setting.last_delivery();
        assert_eq!((incoming.repository, incoming.name.as_str()), (setting.link.key.repository, REPOSITORY));
        let Signal::Push(push) = incoming.signal else { panic!("{:?}", incoming.signal) };
        assert_eq!((push.name.as_str(), push.before, push.after), ("refs/heads/main", None, Some(first.clone())));
        let second = setting.pushes(&[("a", "2")]).await;
        let Signal::Push(push) = setting.last_delivery().1.signal else { panic!("a push") };
        assert_eq!(
            (push.before, push.after, push.first_line.as_deref()),
            (Some(first), Some(second.clone()), Some("a commit"))
        );
        setting.project.copy.git(&["tag", "-a", "-m", "annotated", "v1"]).await;
        setting.project.copy.push(&["v1"]).await;
        let Signal::Push(push) = setting.last_delivery().1.signal else { panic!("a push") };
        assert_eq!(
            (push.name.tag(), push.after),
            (Some("v1"), Some(second)),
            "{kind:?}: the commit, not the tag's object"
        );
        setting.project.copy.push(&[":refs/heads/main"]).await;
        let Signal::Push(push) = setting.last_delivery().1.signal else { panic!("a push") };
        assert_eq!(push.after, None);
    }
}

#[tokio::test]
async fn branch_with_a_hostile_name_is_taken_byte_for_byte() {
    for kind in KINDS {
        let setting = Setting::with_token(kind).await;
        setting.project.copy.commit(&[("a", "1")], "x").await;
        setting.project.copy.push(&["HEAD:refs/heads/x$(id);é"]).await;
        let Signal::Push(push) = setting.last_delivery().1.signal else { panic!("a push") };
        assert_eq!(push.name.branch(), Some("x$(id);é"));
    }
}

#[tokio::test]
async fn pull_request_is_delivered_when_it_opens_moves_and_closes() {
    for kind in KINDS {
        let setting = Setting::with_token(kind).await;
        setting.pushes(&[("a", "1")]).await;
        setting.project.copy.commit(&[("b", "1")], "b").await;
        setting.project.copy.push(&["HEAD:refs/heads/topic"]).await;
        let action = || match setting.last_delivery().1.signal {
            Signal::PullRequest { number, action, .. } => (number, action),
            other => panic!("{other:?}"),
        };
        let opened = setting.project.forge.opens_pull_request(REPOSITORY, (REPOSITORY, "topic"), "main").await;
        assert_eq!(action(), (opened, PullAction::Opened));
        setting.project.copy.commit(&[("b", "2")], "b").await;
        setting.project.copy.push(&["HEAD:refs/heads/topic"]).await;
        assert_eq!(action(), (opened, PullAction::Updated));
        setting.project.forge.closes_pull_request(REPOSITORY, opened);
        assert_eq!(action(), (opened, PullAction::Closed));
    }
}
