//! A forge that a test moves: refs, pull requests, files, and the states that it was told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use engine::forge::link::Link;
use engine::forge::names::{CommitId, GitRef};
use engine::forge::ports::{
    Asked, Changed, Credential, FailedDelivery, Forge, ForgeError, PullRequest, Repository, RepositoryFile, Shown,
    StateAnswer, StateUpdate,
};
use protocol::{Millis, SecretValue};

#[derive(Default)]
pub struct State {
    pub refs: HashMap<GitRef, CommitId>,
    pub pulls: HashMap<u64, PullRequest>,
    pub files: HashMap<CommitId, Vec<(String, String)>>,
    pub changed: Option<Changed>,
    pub writers: Vec<String>,
    /// How the next requests to tell something end. Those after them succeed.
    pub answers: VecDeque<ForgeError>,
    /// What it was told, in order.
    pub told: Vec<StateUpdate>,
    /// How often it was asked where a ref is.
    pub asked: usize,
    /// The commits whose files it doesn't give.
    pub unread: Vec<CommitId>,
    /// It doesn't say how large a file is.
    pub no_sizes: bool,
    /// How many files were read.
    pub read: usize,
    /// The deliveries that it says have failed.
    pub failed: Vec<FailedDelivery>,
    /// Since when it was asked for failed deliveries, each time.
    pub asked_since: Vec<Millis>,
    /// The deliveries that it was asked for again.
    pub again: Vec<String>,
}

#[derive(Default)]
pub struct Fake(Mutex<State>);

impl Fake {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }

    /// The last state of each name, as `name: state`.
    pub fn shown(&self) -> Vec<String> {
        let state = self.state();
        let last: BTreeMap<&str, String> =
            state.told.iter().map(|update| (update.name.as_str(), update.state.to_string())).collect();
        last.into_iter().map(|(name, state)| format!("{name}: {state}")).collect()
    }
}

fn now<'a, T: Send + 'a>(answer: T) -> Asked<'a, T> {
    Box::pin(async move { Ok(answer) })
}

impl Forge for Fake {
    fn repository<'a>(&'a self, link: &'a Link) -> Asked<'a, Repository> {
        let number = if link.repository == "acme/other" { 9 } else { 7 };
        now(Repository { number, name: link.repository.clone(), default_branch: "main".to_owned(), private: false })
    }

    fn ref_head<'a>(&'a self, _link: &'a Link, name: &'a GitRef) -> Asked<'a, Option<CommitId>> {
        let mut state = self.state();
        state.asked += 1;
        now(state.refs.get(name).cloned())
    }

    fn pull_request<'a>(&'a self, _link: &'a Link, number: u64) -> Asked<'a, Option<PullRequest>> {
        now(self.state().pulls.get(&number).cloned())
    }

    fn files<'a>(&'a self, _link: &'a Link, commit: &'a CommitId) -> Asked<'a, Vec<RepositoryFile>> {
        let state = self.state();
        if state.unread.contains(commit) {
            return Box::pin(async { Err(ForgeError::NoAnswer("the files can't be read".to_owned())) });
        }
        let files = state.files.get(commit).into_iter().flatten();
        now(files
            .map(|(path, text)| RepositoryFile {
                path: path.clone(),
                blob: format!("{commit} {path}"),
                size: (!state.no_sizes).then_some(text.len() as u64),
            })
            .collect())
    }

    fn file<'a>(&'a self, _link: &'a Link, commit: &'a CommitId, file: &'a RepositoryFile) -> Asked<'a, String> {
        let mut state = self.state();
        state.read += 1;
        let found = state.files[commit].iter().find(|(path, _)| *path == file.path).map(|(_, text)| text.clone());
        now(found.expect("a file"))
    }

    fn changed<'a>(&'a self, _link: &'a Link, _base: &'a CommitId, _head: &'a CommitId) -> Asked<'a, Changed> {
        now(self.state().changed.clone().unwrap_or(Changed::Unknown))
    }

    fn changed_by<'a>(&'a self, _link: &'a Link, _pull_request: u64) -> Asked<'a, Changed> {
        now(self.state().changed.clone().unwrap_or(Changed::Unknown))
    }

    fn send_state<'a>(&'a self, _link: &'a Link, update: &'a StateUpdate) -> Asked<'a, StateAnswer> {
        let mut state = self.state();
        let answer = state.answers.pop_front();
        if !matches!(answer, Some(ForgeError::Busy { .. })) {
            state.told.push(update.clone());
        }
        let id = format!("id of {}", update.name);
        Box::pin(async move { answer.map_or(Ok(StateAnswer { id: Some(id), left: None }), Err) })
    }

    fn shown<'a>(&'a self, _link: &'a Link, commit: &'a CommitId) -> Asked<'a, Vec<Shown>> {
        let state = self.state();
        let of_commit = state.told.iter().filter(|update| update.commit == *commit);
        now(of_commit
            .map(|update| Shown {
                name: update.name.clone(),
                state: update.state.to_string(),
                external_id: Some(update.external_id.0.clone()),
                id: Some(format!("id of {}", update.name)),
            })
            .collect())
    }

    fn may_write<'a>(&'a self, _link: &'a Link, user: &'a str) -> Asked<'a, bool> {
        now(self.state().writers.iter().any(|writer| writer == user))
    }

    fn credential<'a>(&'a self, _link: &'a Link) -> Asked<'a, Credential> {
        now(Credential { user: "x".to_owned(), token: SecretValue::new("token").expect("good"), expires_at: None })
    }

    fn failed_deliveries<'a>(&'a self, _link: &'a Link, since: Millis) -> Asked<'a, Vec<FailedDelivery>> {
        let mut state = self.state();
        state.asked_since.push(since);
        now(state.failed.iter().filter(|one| one.at >= since).cloned().collect())
    }

    fn redeliver<'a>(&'a self, _link: &'a Link, id: &'a str) -> Asked<'a, ()> {
        self.state().again.push(id.to_owned());
        now(())
    }
}
