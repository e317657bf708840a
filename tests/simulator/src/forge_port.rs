//! The ports of forges on the simulated world: the stored items, the forge, and its credentials.

use std::time::Duration;

use engine::forge::link::Link;
use engine::forge::names::{CommitId, GitRef};
use engine::forge::ports::{
    Asked, Changed, Credential, FailedDelivery, Forge, ForgeError, PullRequest, Repository, RepositoryFile, Shown,
    StateAnswer, StateUpdate,
};
use engine::forge::store::{DueKind, ForgeItems, Item};
use engine::ports::{Consistency, Source, Stored};
use protocol::{Millis, SecretValue};

use crate::cell::Cell;
use crate::gate::Kind;
use crate::linked::{NAME, REPOSITORY, Sent};
use crate::ports::Process;
use crate::trace::{Describe, Trace};
use crate::world::World;

/// The forge's answer is one push old for at most this long.
const LAG: Duration = Duration::from_secs(3);
/// A state without an answer lands within this time. The engine allows 30 s; clocks differ by up to 2 s.
const LANDS_SECS: u64 = 27;

impl ForgeItems for Process {
    async fn put_item(&self, item: Item) -> Stored<bool> {
        let what = |_: &Trace| format!("writes {} {} as version {}", item.list, item.sort, item.version);
        self.write(what, |world: &mut World| {
            let clock = world.clock;
            let cell = world.store.items.entry((item.list.clone(), item.sort.clone())).or_default();
            let stored = cell.now().map_or(0, |stored: &Item| stored.version);
            let fits = item.version == 0 || item.version == stored + 1;
            if fits {
                cell.set(Some(item.clone()), clock);
            }
            Ok(fits)
        })
        .await
    }

    async fn item(&self, list: &str, sort: &str) -> Stored<Option<Item>> {
        let key = (list.to_owned(), sort.to_owned());
        let what = |_: &Trace| format!("reads {list} {sort}");
        self.read(what, |world: &mut World| Ok(world.read(Consistency::Strong, |store| store.items.get(&key)))).await
    }

    async fn items(
        &self,
        list: &str,
        prefix: &str,
        after: Option<&str>,
        newest_first: bool,
        limit: usize,
    ) -> Stored<Vec<Item>> {
        let what = |_: &Trace| format!("lists {list} {prefix}");
        self.read(what, |world: &mut World| {
            let all = world.store.items.values().filter_map(Cell::now);
            let mut listed: Vec<Item> =
                all.filter(|item| item.list == list && item.sort.starts_with(prefix)).cloned().collect();
            if newest_first {
                listed.reverse();
            }
            listed.retain(|item| {
                after.is_none_or(
                    |after| if newest_first { item.sort.as_str() < after } else { item.sort.as_str() > after },
                )
            });
            listed.truncate(limit);
            Ok(listed)
        })
        .await
    }

    async fn remove_item(&self, list: &str, sort: &str) -> Stored<bool> {
        let key = (list.to_owned(), sort.to_owned());
        self.write(
            |_| format!("removes {list} {sort}"),
            |world: &mut World| Ok(world.store.items.remove(&key).is_some()),
        )
        .await
    }

    async fn items_due(&self, kind: DueKind, by: Millis, limit: usize) -> Stored<Vec<Item>> {
        let what = |trace: &Trace| format!("lists what is due of {kind:?} by {}, maybe old", trace.at(by));
        self.read(what, |world: &mut World| {
            let keys: Vec<_> =
                world.store.items.keys().filter(|(list, _)| DueKind::of_list(list) == kind).cloned().collect();
            let read = keys.iter().filter_map(|key| world.read(Consistency::Eventual, |store| store.items.get(key)));
            let mut due: Vec<Item> = read.filter(|item| item.due.is_some_and(|due| due <= by)).collect();
            due.sort_by_key(|item| item.due);
            due.truncate(limit);
            Ok(due)
        })
        .await
    }

    async fn next_due(&self, _kind: DueKind) -> Stored<Option<Millis>> {
        Ok(None)
    }
}

impl Describe for Item {
    fn describe(&self, trace: &Trace) -> String {
        let due = self.due.map_or_else(String::new, |due| format!(", due at {}", trace.at(due)));
        format!("{} as version {}{due}", self.sort, self.version)
    }
}

impl Describe for Source {
    fn describe(&self, _: &Trace) -> String {
        format!("{} bytes", self.text.len())
    }
}

/// An answer of the forge.
struct Said<T>(Result<T, ForgeError>);

impl<T> Describe for Said<T> {
    fn describe(&self, _: &Trace) -> String {
        self.0.as_ref().err().map_or_else(|| "answered".to_owned(), ToString::to_string)
    }
}

fn busy() -> ForgeError {
    ForgeError::Busy { text: "429".to_owned(), retry_after: Some(Duration::from_secs(5)) }
}

impl Process {
    /// Asks the forge something that changes nothing.
    fn asks<'a, T, F>(&'a self, what: &'static str, mut answer: F) -> Asked<'a, T>
    where
        T: Send + 'a,
        F: FnMut(&mut World) -> T + Send + Unpin + 'a,
    {
        Box::pin(async move {
            let said = self.read(
                |_| format!("asks the forge for {what}"),
                move |world: &mut World| {
                    let is_busy = world.has_faults() && world.happens(|faults| faults.forge_busy);
                    Ok(Said(if is_busy { Err(busy()) } else { Ok(answer(world)) }))
                },
            );
            said.await.unwrap_or_else(|error| Said(Err(ForgeError::NoAnswer(error.to_string())))).0
        })
    }
}

impl Forge for Process {
    fn repository<'a>(&'a self, _link: &'a Link) -> Asked<'a, Repository> {
        self.asks("a repository", |_| Repository {
            number: REPOSITORY,
            name: NAME.to_owned(),
            default_branch: "main".to_owned(),
            private: true,
        })
    }

    fn ref_head<'a>(&'a self, _link: &'a Link, name: &'a GitRef) -> Asked<'a, Option<CommitId>> {
        self.asks("where a ref is", move |world| world.head_said(name))
    }

    fn pull_request<'a>(&'a self, _link: &'a Link, _number: u64) -> Asked<'a, Option<PullRequest>> {
        self.asks("a pull request", |_| None)
    }

    fn files<'a>(&'a self, _link: &'a Link, commit: &'a CommitId) -> Asked<'a, Vec<RepositoryFile>> {
        self.asks("the files of a commit", move |world| {
            let files = world.linked.files.get(commit).into_iter().flatten();
            let file = |(name, graph): &(String, std::sync::Arc<crate::graph::Graph>)| RepositoryFile {
                path: format!(".wfg/{name}.yml"),
                blob: format!("{commit} {name}"),
                size: Some(graph.yaml.len() as u64),
            };
            files.map(file).collect()
        })
    }

    fn file<'a>(&'a self, _link: &'a Link, commit: &'a CommitId, file: &'a RepositoryFile) -> Asked<'a, String> {
        self.asks("a file", move |world| {
            let mut files = world.linked.files[commit].iter();
            let found = files.find(|(name, _)| format!(".wfg/{name}.yml") == file.path);
            found.map(|(_, graph)| graph.yaml.clone()).unwrap_or_default()
        })
    }

    fn changed<'a>(&'a self, _link: &'a Link, _base: &'a CommitId, _head: &'a CommitId) -> Asked<'a, Changed> {
        self.asks("what changed", |_| Changed::Unknown)
    }

    fn changed_by<'a>(&'a self, _link: &'a Link, _pull_request: u64) -> Asked<'a, Changed> {
        self.asks("what changed", |_| Changed::Unknown)
    }

    /// The state is sent at once. Only its answer waits at a gate.
    fn send_state<'a>(&'a self, _link: &'a Link, update: &'a StateUpdate) -> Asked<'a, StateAnswer> {
        Box::pin(async move {
            let sent = self.shared.world().sends(update);
            let what = |_: &Trace| format!("sent {}: {}", update.name, update.state);
            let said = self.call(Kind::Answer, what, move |_: &mut World| Ok(Said(sent.clone())));
            said.await.unwrap_or_else(|error| Said(Err(ForgeError::NoAnswer(error.to_string())))).0
        })
    }

    fn shown<'a>(&'a self, _link: &'a Link, commit: &'a CommitId) -> Asked<'a, Vec<Shown>> {
        self.asks("the states of a commit", move |world| world.shown_of(commit))
    }

    fn may_write<'a>(&'a self, _link: &'a Link, _user: &'a str) -> Asked<'a, bool> {
        self.asks("who may write", |_| true)
    }

    fn credential<'a>(&'a self, _link: &'a Link) -> Asked<'a, Credential> {
        Box::pin(async move {
            let minted = self.read(
                |_| "mints a credential".to_owned(),
                |world: &mut World| {
                    let fails = world.has_faults() && world.happens(|faults| faults.no_credential);
                    world.counts.add("credentials refused", u64::from(fails));
                    Ok(Said(if fails { Err(busy()) } else { Ok(world.clock + Duration::from_mins(15)) }))
                },
            );
            let ends = minted.await.unwrap_or_else(|error| Said(Err(ForgeError::NoAnswer(error.to_string())))).0?;
            let token = SecretValue::new("a token of the forge").expect("a value");
            Ok(Credential { user: "x".to_owned(), token, expires_at: Some(ends) })
        })
    }

    fn failed_deliveries<'a>(&'a self, _link: &'a Link, since: Millis) -> Asked<'a, Vec<FailedDelivery>> {
        self.asks("failed deliveries", move |world| {
            let failed = world.linked.failed.iter().map(|(one, _)| one);
            failed.filter(|one| one.at >= since).cloned().collect()
        })
    }

    fn redeliver<'a>(&'a self, _link: &'a Link, id: &'a str) -> Asked<'a, ()> {
        self.asks("a failed delivery again", move |world| {
            let Some(at) = world.linked.failed.iter().position(|(one, _)| one.id == id) else { return };
            let (_, incoming) = world.linked.failed.swap_remove(at);
            world.counts.add("deliveries asked for again", 1);
            world.linked.inbox.push(Sent { at: world.clock, incoming });
        })
    }
}

impl World {
    /// Where the forge says that a ref is: where it is, or for some seconds where it was before.
    fn head_said(&mut self, name: &GitRef) -> Option<CommitId> {
        let lags = self.has_faults() && self.happens(|faults| faults.lag);
        let places = self.linked.refs.get(name)?;
        let (moved, head) = places.last()?;
        let is_new = self.clock.since(*moved) < LAG;
        if lags && is_new {
            self.counts.add("forge's answers lagging", 1);
            return places.iter().rev().nth(1).map(|(_, before)| before.clone());
        }
        Some(head.clone())
    }

    /// A state is sent to the forge.
    fn sends(&mut self, update: &StateUpdate) -> Result<StateAnswer, ForgeError> {
        self.counts.add("states sent", 1);
        if self.has_faults() && self.happens(|faults| faults.forge_busy) {
            return Err(busy());
        }
        if self.has_faults() && self.happens(|faults| faults.no_answer) {
            match self.rng.below(4) {
                0 => {}
                1 => self.linked.lands(update),
                _ => {
                    self.counts.add("states landing late", 1);
                    let at = self.clock + self.rng.millis(1_000, LANDS_SECS * 1_000);
                    self.linked.flights.push((at, update.clone()));
                }
            }
            return Err(ForgeError::NoAnswer("a time-out".to_owned()));
        }
        self.linked.lands(update);
        Ok(StateAnswer { id: Some(update.name.clone()), left: None })
    }

    /// The states that a commit shows.
    fn shown_of(&self, commit: &CommitId) -> Vec<Shown> {
        let states = self.linked.shown.iter().filter(|((of, _), _)| of == commit);
        let shown = |((_, name), states): (&(CommitId, String), &Vec<_>)| Shown {
            name: name.clone(),
            state: states.last().map(ToString::to_string).unwrap_or_default(),
            external_id: None,
            id: Some(name.clone()),
        };
        states.map(shown).collect()
    }
}
