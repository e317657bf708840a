//! A linked repository and its forge: where the refs are, the deliveries under way, and the states that the forge shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::forge::event::{Incoming, Push, Signal};
use engine::forge::link::Link;
use engine::forge::names::{CommitId, GitRef, ReportKey};
use engine::forge::ports::{FailedDelivery, StateUpdate};
use engine::forge::state::TargetState;
use protocol::{LinkName, Millis, WorkflowId};
use workflow::link_from_yaml;

use crate::graph::Graph;

/// The number of the linked repository.
pub(crate) const REPOSITORY: u64 = 7;
/// The name of the linked repository.
pub(crate) const NAME: &str = "acme/app";

const FILE: &str = "forge: github
repository: acme/app
app: {id: 1, installation: 2}
webhook_secret: FORGE_WEBHOOK_ACME
rights: [{labels: [a, b, c]}]
";

/// A linked repository and its forge.
#[derive(Default)]
pub(crate) struct Linked {
    /// Where each ref was, since when, latest last.
    pub(crate) refs: BTreeMap<GitRef, Vec<(Millis, CommitId)>>,
    /// The workflow files of each commit, by their names without `.yml`.
    pub(crate) files: BTreeMap<CommitId, Vec<(String, Arc<Graph>)>>,
    /// Deliveries under way.
    pub(crate) inbox: Vec<Sent>,
    /// Deliveries that failed, which an App may ask for again.
    pub(crate) failed: Vec<(FailedDelivery, Arc<Incoming>)>,
    /// The last push of each ref, and whether a delivery of it was stored.
    pub(crate) last: BTreeMap<GitRef, (Arc<Incoming>, bool)>,
    /// Changes of states under way.
    pub(crate) marks: Vec<(Millis, Arc<Mark>)>,
    /// States that were sent and land later.
    pub(crate) flights: Vec<(Millis, StateUpdate)>,
    /// The states that a commit has shown, by their names, latest last.
    pub(crate) shown: BTreeMap<(CommitId, String), Vec<TargetState>>,
    /// The workflows that each file's runs belong to.
    pub(crate) started: BTreeMap<ReportKey, Vec<WorkflowId>>,
    /// The number of pushes that will still be made.
    pub(crate) pushes: usize,
    /// The number of ids and commits so far.
    pub(crate) last_number: u64,
}

/// A delivery under way.
pub(crate) struct Sent {
    /// It arrives then.
    pub(crate) at: Millis,
    pub(crate) incoming: Arc<Incoming>,
}

/// A change of a state that the forge is told.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) report: ReportKey,
    /// The state's name, and the state since that change.
    pub(crate) name: String,
    pub(crate) state: TargetState,
}

/// The link.
pub(crate) fn link(now: Millis) -> Link {
    let file = link_from_yaml(FILE).unwrap_or_else(|problems| panic!("{problems:#?}"));
    Link::new(link_name(), REPOSITORY, file, FILE.to_owned(), now, None)
}

pub(crate) fn link_name() -> LinkName {
    LinkName::new("acme").expect("a name")
}

impl Linked {
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// A push to a ref, of a commit with these files. Returns its delivery.
    pub(crate) fn push(&mut self, name: &GitRef, files: Vec<(String, Arc<Graph>)>, now: Millis) -> Arc<Incoming> {
        let commit = CommitId::new(format!("{:040x}", self.number())).expect("40 digits");
        let places = self.refs.entry(name.clone()).or_default();
        let before = places.last().map(|(_, before)| before.clone());
        places.push((now, commit.clone()));
        self.files.insert(commit.clone(), files);
        let push = Push { name: name.clone(), before, after: Some(commit), actor: "ada".to_owned(), first_line: None };
        let incoming = Arc::new(self.delivery(Signal::Push(push)));
        self.last.insert(name.clone(), (Arc::clone(&incoming), false));
        incoming
    }

    /// A delivery with a fresh id.
    pub(crate) fn delivery(&mut self, signal: Signal) -> Incoming {
        let id = format!("delivery {}", self.number());
        Incoming { id, repository: REPOSITORY, name: NAME.to_owned(), signal }
    }

    /// The commit that a ref is at.
    pub(crate) fn head(&self, name: &GitRef) -> Option<&CommitId> {
        self.refs.get(name)?.last().map(|(_, head)| head)
    }

    /// The workflow that a report's file describes.
    pub(crate) fn graph(&self, report: &ReportKey) -> Option<&Arc<Graph>> {
        self.files.get(&report.commit)?.iter().find(|(file, _)| *file == report.file).map(|(_, graph)| graph)
    }

    /// A delivery was stored.
    pub(crate) fn stored(&mut self, incoming: &Incoming) {
        if let Signal::Push(push) = &incoming.signal
            && let Some((last, is_stored)) = self.last.get_mut(&push.name)
            && last.signal == incoming.signal
        {
            *is_stored = true;
        }
    }

    /// A state lands.
    pub(crate) fn lands(&mut self, update: &StateUpdate) {
        self.shown.entry((update.commit.clone(), update.name.clone())).or_default().push(update.state);
    }

    /// The states land that were sent before.
    pub(crate) fn land_until(&mut self, now: Millis) {
        self.flights.sort_by_key(|(at, _)| *at);
        let landing = self.flights.iter().take_while(|(at, _)| *at <= now).count();
        for (_, update) in self.flights.drain(..landing).collect::<Vec<_>>() {
            self.lands(&update);
        }
    }

    /// True if nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && self.marks.is_empty() && self.flights.is_empty()
    }

    /// The times at which something that is under way arrives.
    pub(crate) fn arrivals(&self) -> impl Iterator<Item = Millis> + '_ {
        let (inbox, marks) = (self.inbox.iter().map(|sent| sent.at), self.marks.iter().map(|(at, _)| *at));
        inbox.chain(marks).chain(self.flights.iter().map(|(at, _)| *at))
    }
}
