//! Who pushes, and the forge that delivers it: deliveries are lost, repeated, delayed and reordered. Several processes handle them.

use std::sync::Arc;
use std::time::Duration;

use engine::forge::event::Signal;
use engine::forge::names::GitRef;
use engine::forge::ports::FailedDelivery;
use engine::forge::records::Redelivery;
use engine::forge::store::Item;
use engine::forges::Received;

use crate::graph::Graph;
use crate::linked::{self, Sent};
use crate::task::{Answer, Origin, Task};
use crate::world::{Mode, World};

/// What is due about forges is handled by at most so many at once.
const HANDLERS: usize = 3;

impl World {
    /// Links the repository, if this world has one.
    pub(crate) fn link_repository(&mut self) {
        if !self.faults.linked {
            return;
        }
        let link = linked::link(self.clock);
        let (list, sort) = ("FORGE".to_owned(), format!("{}#{}", link.key.link, link.key.repository));
        let record = serde_json::to_string(&link).expect("JSON");
        let item = Item { list: list.clone(), sort: sort.clone(), due: None, version: 0, expires: None, record };
        self.store.items.entry((list, sort)).or_default().set(Some(item), self.clock);
        let (list, sort) = (format!("FORGE#{}", link.key.link), "APP#1".to_owned());
        let record = Redelivery { version: 1, ..Redelivery::new(self.clock) };
        let (due, record) = (record.due, serde_json::to_string(&record).expect("JSON"));
        let item = Item { list: list.clone(), sort: sort.clone(), due, version: 1, expires: None, record };
        self.store.items.entry((list, sort)).or_default().set(Some(item), self.clock);
        self.linked.pushes = 1 + self.rng.below(4);
    }

    /// Somebody pushes, or something arrives, or somebody handles what is due. `None`: nothing can happen.
    pub(crate) fn step_forge(&mut self) -> Option<(Task, Origin)> {
        let what = self.rng.share();
        match what {
            ..0.1 if self.mode == Mode::Play => {
                self.pushes();
                None
            }
            ..0.35 if self.mode != Mode::Quiesce => self.arrives(),
            ..0.65 => self.state_changed(),
            _ if self.mode != Mode::Quiesce => self.due(),
            _ => None,
        }
    }

    fn pushes(&mut self) {
        if self.linked.pushes == 0 {
            return self.asks_again();
        }
        self.linked.pushes -= 1;
        let name = GitRef::of_branch(self.rng.pick(&["main", "main", "x"])).expect("a branch");
        let files = (0..=self.rng.below(2)).map(|n| (format!("f{n}"), Arc::new(Graph::of_a_push(&mut self.rng))));
        let files: Vec<_> = files.collect();
        for (file, graph) in &files {
            self.log(|| format!("somebody pushes to {name} with {file}:\n{}", graph.yaml));
        }
        let first = self.linked.push(&name, files, self.clock);
        self.counts.add("pushes", 1);
        if self.happens(|faults| faults.delivery_lost) {
            self.counts.add("deliveries lost", 1);
            return;
        }
        for copy in 0..self.rng.pick(&[1, 1, 1, 2, 3]) {
            let at = self.clock + self.rng.delay(Duration::from_secs(2));
            let incoming = if copy > 0 && self.rng.chance(0.5) {
                Arc::new(self.linked.delivery(first.signal.clone()))
            } else {
                Arc::clone(&first)
            };
            self.counts.add("deliveries repeated", u64::from(copy > 0));
            self.linked.inbox.push(Sent { at, incoming });
        }
    }

    /// Somebody asks at the forge to run a commit again.
    fn asks_again(&mut self) {
        let commits: Vec<_> = self.linked.started.keys().map(|report| report.commit.clone()).collect();
        if commits.is_empty() || !self.rng.chance(0.02) {
            return;
        }
        let commit = commits[self.rng.below(commits.len())].clone();
        let incoming = self.linked.delivery(Signal::Rerequested { commit, check: None, actor: "ada".to_owned() });
        self.counts.add("re-runs asked for at the forge", 1);
        self.linked.inbox.push(Sent { at: self.clock, incoming: Arc::new(incoming) });
    }

    fn arrives(&mut self) -> Option<(Task, Origin)> {
        let ready: Vec<usize> =
            (0..self.linked.inbox.len()).filter(|&n| self.linked.inbox[n].at <= self.clock).collect();
        if ready.is_empty() {
            return None;
        }
        let at = ready[self.rng.below(ready.len())];
        let Sent { incoming, .. } = self.linked.inbox.swap_remove(at);
        Some((Task::Receive(incoming), Origin::Delivery))
    }

    fn state_changed(&mut self) -> Option<(Task, Origin)> {
        let mode = self.mode;
        let ready: Vec<usize> = (0..self.linked.marks.len())
            .filter(|&n| mode == Mode::Quiesce || self.linked.marks[n].0 <= self.clock)
            .collect();
        if ready.is_empty() {
            return None;
        }
        let at = ready[self.rng.below(ready.len())];
        let (_, mark) = self.linked.marks.swap_remove(at);
        Some((Task::Mark(Arc::clone(&mark)), Origin::State(mark)))
    }

    fn due(&mut self) -> Option<(Task, Origin)> {
        let running = self.running.values().filter(|who| matches!(who.task, Task::Forges)).count();
        let is_due = self.forges_due().chain(self.app_due()).any(|due| due <= self.clock);
        (is_due && running < HANDLERS).then_some((Task::Forges, Origin::Nobody))
    }

    /// A delivery was answered. Returns what follows at once.
    pub(crate) fn received(&mut self, task: &Task, answer: &Answer) -> Option<(Task, Origin)> {
        let Task::Receive(incoming) = task else { return None };
        if let Answer::Received(Ok(Received::Stored(key))) = answer {
            self.linked.stored(incoming);
            return self.rng.chance(0.5).then(|| (Task::Handle(key.clone()), Origin::Nobody));
        }
        self.delivery_failed(task);
        None
    }

    /// A delivery was not answered, or with an error.
    pub(crate) fn delivery_failed(&mut self, task: &Task) {
        let Task::Receive(incoming) = task else { return };
        self.linked.last_number += 1;
        let id = self.linked.last_number.to_string();
        let one =
            FailedDelivery { id, at: self.clock, guid: incoming.id.clone(), repository: Some(linked::REPOSITORY) };
        self.counts.add("deliveries failed", 1);
        self.linked.failed.push((one, Arc::clone(incoming)));
    }

    /// The last delivery of each ref isn't lost.
    pub(crate) fn deliver_the_last(&mut self) {
        let last: Vec<_> =
            self.linked.last.values().filter(|(_, is_stored)| !is_stored).map(|(one, _)| Arc::clone(one)).collect();
        for incoming in last {
            self.linked.inbox.push(Sent { at: self.clock, incoming });
        }
    }
}
