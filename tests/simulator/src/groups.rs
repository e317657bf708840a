//! Groups: the port on the simulated world, and the checks of turns.

use std::collections::BTreeSet;

use engine::ids::{GroupKey, RunKey, Unit};
use engine::job::{JobRecord, Phase};
use engine::ports::{Consistency, GroupStore, Place, Stored};
use engine::run::{Control, RunState};
use protocol::Label;

use crate::gate::Kind;
use crate::ports::{Process, how_read};
use crate::task::Task;
use crate::trace::{Describe, Trace};
use crate::world::World;

/// The largest number of places that one read returns.
const PAGE: usize = 2;

impl GroupStore for Process {
    async fn put_place(&self, group: &GroupKey, place: &Place) -> Stored<()> {
        let what = |trace: &Trace| format!("gives {} a place in {}", trace.unit(&place.unit), group.as_str());
        self.call(Kind::Write, what, |world: &mut World| {
            world.store.places.entry(group.clone()).or_default().insert(place.order(), place.clone());
            Ok(())
        })
        .await
    }

    async fn remove_place(&self, group: &GroupKey, place: &Place) -> Stored<()> {
        let what = |trace: &Trace| format!("removes the place of {} in {}", trace.unit(&place.unit), group.as_str());
        self.call(Kind::Write, what, |world: &mut World| {
            world.store.places.entry(group.clone()).or_default().remove(&place.order());
            Ok(())
        })
        .await
    }

    async fn places(&self, group: &GroupKey, after: Option<&Place>, most: usize) -> Stored<Vec<Place>> {
        let what = |_: &Trace| format!("reads the places of {}", group.as_str());
        let after = after.map(Place::order);
        self.call(Kind::Read, what, |world: &mut World| {
            let all = world.store.places.get(group).into_iter().flatten();
            let rest = all.filter(|(order, _)| after.as_ref().is_none_or(|after| *order > after));
            Ok(rest.take(most.min(PAGE)).map(|(_, place)| place.clone()).collect())
        })
        .await
    }

    async fn holder(&self, group: &GroupKey, how: Consistency) -> Stored<Option<Unit>> {
        let what = |_: &Trace| format!("{} the holder of {}", how_read(how), group.as_str());
        self.call(Kind::Read, what, |world: &mut World| Ok(world.read(how, |store| store.holders.get(group)))).await
    }

    async fn hold(&self, group: &GroupKey, before: Option<&Unit>, next: &Unit) -> Stored<bool> {
        let what = |trace: &Trace| format!("gives {} to {}", group.as_str(), trace.unit(next));
        self.call(Kind::Write, what, |world: &mut World| {
            let clock = world.clock;
            let cell = world.store.holders.entry(group.clone()).or_default();
            if cell.now() == Some(next) {
                return Ok(true);
            }
            let is_free = cell.now() == before;
            if is_free {
                cell.set(Some(next.clone()), clock);
            }
            Ok(is_free)
        })
        .await
    }
}

impl World {
    /// The jobs of all runs that are in this group.
    fn jobs_in(&self, group: &Label) -> Vec<&JobRecord> {
        let indexes = |run: &RunKey| {
            let jobs = self.expected.runs[run].jobs.iter().zip(0..);
            jobs.filter(|(job, _)| job.group.as_ref() == Some(group)).map(|(_, index)| index).collect::<Vec<u32>>()
        };
        let runs = self.expected.runs.keys();
        runs.flat_map(|run| indexes(run).into_iter().filter_map(|index| self.store.job(run, index))).collect()
    }

    /// The control records of all runs that are in this group.
    fn runs_in(&self, group: &Label) -> Vec<&Control> {
        let runs = self.expected.runs.iter().filter(|(_, run)| run.group.as_ref() == Some(group));
        runs.filter_map(|(run, _)| self.store.control(run)).collect()
    }

    /// A job of a group starts in its turn: while no other job of the group is ready or runs.
    pub(crate) fn check_turn_of_job(&mut self, old: &JobRecord, new: &JobRecord) {
        let key = &new.key;
        let Some(group) = self.expected.runs[&key.run].jobs[key.index as usize].group.clone() else {
            if matches!(new.phase, Phase::Blocked { .. }) {
                self.broken(|world| format!("{} waits for its turn, but it has no group", world.trace.job(key)));
            }
            return;
        };
        match (&old.phase, &new.phase) {
            (Phase::Waiting { .. }, Phase::Ready { .. } | Phase::Running(_)) => {
                self.broken(|world| format!("{} of group {group} started without its turn", world.trace.job(key)));
            }
            (Phase::Blocked { at }, Phase::Ready { .. }) => {
                let others = self.jobs_in(&group).into_iter().filter(|other| other.key != *key);
                let (mut both, mut overtaken) = (None, false);
                for other in others {
                    match &other.phase {
                        Phase::Ready { .. } | Phase::Running(_) => both = Some(other.key.clone()),
                        Phase::Blocked { at: earlier } => overtaken |= earlier < at,
                        _ => {}
                    }
                }
                if let Some(other) = both {
                    self.broken(|world| {
                        let names = [world.trace.job(key), world.trace.job(&other)];
                        format!("{} and {} of group {group} have their turn at once", names[0], names[1])
                    });
                }
                self.counts.add("turns of jobs", 1);
                self.counts.add("turns of jobs out of order", u64::from(overtaken));
            }
            (before, Phase::Blocked { .. }) if !matches!(before, Phase::Waiting { .. } | Phase::Blocked { .. }) => {
                self.broken(|world| format!("{} waits for its turn again", world.trace.job(key)));
            }
            (Phase::Blocked { .. }, Phase::Running(_)) => {
                self.broken(|world| format!("{} was leased while it waits for its turn", world.trace.job(key)));
            }
            _ => {}
        }
    }

    /// A run of a group opens in its turn: while no other run of the group has begun and is not final.
    pub(crate) fn check_turn_of_run(&mut self, old: Option<&Control>, new: &Control) {
        let run = &new.run;
        let before = old.map(|old| old.state);
        if new.state == RunState::Cancelling && before != Some(RunState::Cancelling) {
            self.check_cancel(new);
        }
        if before == Some(new.state) || new.state != RunState::Open {
            return;
        }
        let Some(group) = self.expected.runs.get(run).and_then(|run| run.group.clone()) else { return };
        if before != Some(RunState::Blocked) {
            return self.broken(|world| format!("{} of group {group} opened without its turn", world.trace.run(run)));
        }
        let (mut both, mut overtaken) = (None, false);
        for other in self.runs_in(&group).into_iter().filter(|other| other.run != *run) {
            let has_begun = self.expected.runs[&other.run].opened && other.state.has_begun();
            both = both.or_else(|| has_begun.then(|| other.run.clone()));
            overtaken |= other.state == RunState::Blocked && other.blocked_at < new.blocked_at;
        }
        if let Some(other) = both {
            self.broken(|world| {
                let names = [world.trace.run(run), world.trace.run(&other)];
                format!("{} and {} of group {group} are open at once", names[0], names[1])
            });
        }
        self.counts.add("turns of runs", 1);
        self.counts.add("turns of runs out of order", u64::from(overtaken));
        if let Some(run) = self.expected.runs.get_mut(run) {
            run.opened = true;
        }
    }

    /// A run is cancelled by a client, or because it gives way to a newer run of its group that was started.
    fn check_cancel(&mut self, new: &Control) {
        let task = self.running.get(&self.gates.current).map(|who| &who.task);
        if matches!(task, Some(Task::Cancel(_))) {
            return;
        }
        let expected = &self.expected.runs[&new.run];
        let newer = |other: &&Control| other.run != new.run && other.blocked_at >= new.blocked_at;
        let group = expected.group.clone().filter(|_| expected.yields);
        let gives_way = group.is_some_and(|group| {
            self.expected.started.get(&group).is_some_and(|last| Some(*last) >= new.blocked_at)
                || self.runs_in(&group).iter().any(newer)
        });
        if !gives_way {
            self.broken(|world| format!("{} was cancelled without a reason", world.trace.run(&new.run)));
        }
        self.counts.add("runs superseded", 1);
    }

    /// At a quiescent point nobody waits for a group that nobody has.
    pub(crate) fn check_quiescent_groups(&mut self) {
        let jobs = self.expected.runs.values().flat_map(|run| &run.jobs).filter_map(|job| job.group.clone());
        for group in jobs.collect::<BTreeSet<Label>>() {
            let jobs = self.jobs_in(&group);
            let waits = jobs.iter().find(|job| matches!(job.phase, Phase::Blocked { .. })).map(|job| job.key.clone());
            let is_held = jobs.iter().any(|job| matches!(job.phase, Phase::Ready { .. } | Phase::Running(_)));
            if let (Some(job), false) = (waits, is_held) {
                self.broken(|world| waits_for_nobody(&world.trace.job(&job), &group));
            }
        }
        let runs = self.expected.runs.values().filter_map(|run| run.group.clone());
        for group in runs.collect::<BTreeSet<Label>>() {
            let runs = self.runs_in(&group);
            let waits = runs.iter().find(|run| run.state == RunState::Blocked).map(|run| run.run.clone());
            let is_held = runs.iter().any(|run| run.state.has_begun());
            if let (Some(run), false) = (waits, is_held) {
                self.broken(|world| waits_for_nobody(&world.trace.run(&run), &group));
            }
        }
    }

    /// Remembers when a run of a group was started.
    pub(crate) fn note_started(&mut self, new: &Control) {
        let group = self.expected.runs.get(&new.run).and_then(|run| run.group.clone());
        if let (Some(group), Some(at)) = (group, new.blocked_at) {
            let last = self.expected.started.entry(group).or_default();
            *last = (*last).max(at);
        }
    }
}

fn waits_for_nobody(name: &str, group: &Label) -> String {
    format!("at a quiescent point {name} waits for group {group}, which nobody has")
}

impl Trace {
    fn unit(&self, unit: &Unit) -> String {
        match unit {
            Unit::Job(job) => self.job(job),
            Unit::Run(run) => self.run(run),
        }
    }
}

impl Describe for Unit {
    fn describe(&self, trace: &Trace) -> String {
        trace.unit(self)
    }
}

impl Describe for Place {
    fn describe(&self, trace: &Trace) -> String {
        format!("{} since {}", trace.unit(&self.unit), trace.at(self.at))
    }
}
