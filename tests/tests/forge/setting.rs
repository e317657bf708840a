//! A repository, and the adapters to ask its forge without a server.

use std::sync::Arc;

use engine::clock::SystemClock;
use engine::forge::event::{ExternalId, Incoming, Parsed};
use engine::forge::link::Link;
use engine::forge::names::{CommitId, GitRef};
use engine::forge::ports::StateUpdate;
use engine::forge::state::TargetState;
use forge::Forges;
use harness::forge::{Delivered, Kind};
use protocol::{LinkName, Millis, SecretValue};

use crate::project::{Project, WEBHOOK_SECRET, forge_kind, values};

/// A repository, a link to it, and the adapters.
pub struct Setting {
    pub project: Project,
    pub forges: Forges,
    pub link: Link,
}

impl Setting {
    /// With the forge's token.
    pub async fn with_token(kind: Kind) -> Self {
        Self::with(Project::with_token(kind, "linux").await)
    }

    /// With a GitHub App.
    pub async fn with_app() -> Self {
        Self::with(Project::with_app("linux").await)
    }

    fn with(project: Project) -> Self {
        // Nobody answers there; what was sent is looked at.
        project.hooks("http://127.0.0.1:1/api/forges/acme/hook");
        let text = project.link_file();
        let file = workflow::link_from_yaml(&text).expect("a link");
        let link = Link::new(LinkName::new("acme").expect("a name"), project.number, file, text, Millis(0), None);
        let forges = Forges::new(Arc::new(values(project.secrets())), Arc::new(SystemClock));
        Self { project, forges, link }
    }

    /// Commits files and pushes them to `main`.
    pub async fn pushes(&self, files: &[(&str, &str)]) -> CommitId {
        CommitId::new(self.project.pushes(files, "a commit").await).expect("a commit")
    }

    /// What the last delivery says, once its signature was checked.
    pub fn last_delivery(&self) -> (Delivered, Incoming) {
        let last = self.project.forge.deliveries().pop().expect("a delivery");
        let header =
            |name: &str| last.headers.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str());
        let secrets = [SecretValue::new(WEBHOOK_SECRET).expect("a value")];
        let kind = forge_kind(self.project.kind);
        forge::signature::check(kind, header, last.body.as_bytes(), &secrets, Millis::now()).expect("signed");
        match forge::payload::parse(kind, header, last.body.as_bytes()) {
            Ok(Parsed::Signal(incoming)) => (last, incoming),
            other => panic!("{other:?}"),
        }
    }
}

pub fn main_branch() -> GitRef {
    GitRef::new("refs/heads/main").expect("a branch")
}

/// A state of the run of `ci`.
pub fn state(commit: &CommitId, state: TargetState) -> StateUpdate {
    StateUpdate {
        commit: commit.clone(),
        name: "ci (push)".to_owned(),
        state,
        description: format!("it is {state}"),
        summary: String::new(),
        annotations: Vec::new(),
        url: Some("https://wfg.example.org/#/w/1".to_owned()),
        external_id: ExternalId("ours".to_owned()),
        name_of_ref: Some(main_branch()),
        id: None,
        started_at: Some(Millis(1_700_000_000_000)),
        ended_at: state.is_end().then_some(Millis(1_700_000_060_000)),
    }
}
