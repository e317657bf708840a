//! Groups: jobs, or runs, that take turns.
//!
//! A unit, a job or a run, becomes blocked when it may start. *Then* its place is written, under the time of that write, and
//! then the next unit of the group is admitted. The place of a run that a forge started has the time at which its change was accepted, so that
//! an older change that is submitted later gives way to a newer one. Nothing releases a group: its holder is read, and a holder that is final or
//! gone has no group any more. Whoever finds a blocked unit repeats the last two steps, so they may be missed anywhere.

use std::collections::{BTreeMap, HashSet};

use futures::future::try_join_all;
use protocol::wire::InputValues;
use workflow::RunGroup;

use crate::Scheduling;
use crate::error::Result;
use crate::ids::{GroupKey, RunKey, Unit};
use crate::job::{JobRecord, JobUpdate, Phase, Precondition};
use crate::messages::{BatchKind, BatchTask};
use crate::planted::Bug;
use crate::ports::{Consistency, Dispatcher, JobStore, Place, RunStore, WorkerRegistry};
use crate::run::{Control, GroupOfRun, RunState, RunUpdate};

/// How often an admission is tried again because another handler changed the holder.
const ROUNDS: usize = 40;
/// Places that one read asks for.
const PAGE: usize = 100;
/// Places that one admission removes. A batch task removes the rest.
const REMOVED: usize = 500;
/// Units read or places written concurrently.
const AT_ONCE: usize = 32;
/// The maximum length in bytes of a group's name for people.
const SHOWN: usize = 200;

/// What a unit's record says about its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It waits for its turn.
    Waits,
    /// It has its turn, or is about to end without one.
    Has,
    /// It is final or gone.
    Over,
}

/// The record of a unit as read. `None` if it is gone.
enum UnitRecord {
    Job(Option<Box<JobRecord>>),
    Run(Option<Box<Control>>),
}

impl UnitRecord {
    fn turn(&self) -> Turn {
        match self {
            Self::Job(Some(job)) => match job.phase {
                Phase::Blocked { .. } => Turn::Waits,
                Phase::Ended(_) => Turn::Over,
                Phase::Waiting { .. } | Phase::Ready { .. } | Phase::Running(_) => Turn::Has,
            },
            Self::Run(Some(control)) => match control.state {
                RunState::Blocked => Turn::Waits,
                RunState::Open | RunState::Cancelling => Turn::Has,
                RunState::New | RunState::Final => Turn::Over,
            },
            Self::Job(None) | Self::Run(None) => Turn::Over,
        }
    }
}

impl Control {
    /// The run's place, if it has a group and was started.
    fn place(&self) -> Option<(&GroupKey, Place)> {
        let group = self.group.as_ref()?;
        let place = Place { at: self.blocked_at?, unit: Unit::Run(self.run.clone()), yields: group.yields };
        Some((&group.key, place))
    }
}

impl JobRecord {
    /// The job's group and place, if it waits for its turn.
    fn place(&self) -> Option<(GroupKey, Place)> {
        let Phase::Blocked { at } = self.phase else { return None };
        Some((self.group_key()?, Place { at, unit: Unit::Job(self.key.clone()), yields: false }))
    }
}

impl GroupOfRun {
    /// The group of a run with these inputs.
    #[must_use]
    pub fn new(group: &RunGroup, inputs: &InputValues) -> Self {
        let values = group.values(inputs);
        let key = GroupKey::of_runs(&group.group, values.iter().map(|(_, value)| *value));
        let mut shown = group.group.to_string();
        if !values.is_empty() {
            let values: Vec<String> =
                values.iter().map(|(name, value)| format!("{name}={}", value.escape_debug())).collect();
            shown = crate::job::cut(format!("{shown} ({})", values.join(", ")), SHOWN);
        }
        Self { key, name: group.group.clone(), shown, yields: group.yields }
    }
}

/// The runs that a newer one cancels: those that said so and whose places are before that of `newest`.
fn superseded<'a>(places: &'a [Place], newest: &Place) -> impl Iterator<Item = &'a Place> {
    let newest = newest.order();
    places.iter().filter(move |place| place.yields && place.order() < newest)
}

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// Gives a job that waits for its turn its place, and admits the next job of its group.
    pub(crate) async fn place_and_admit(self, job: &JobRecord) -> Result<()> {
        let Some((group, place)) = job.place() else { return Ok(()) };
        self.engine.ports.put_place(&group, &place).await?;
        self.admit(&group, &job.key.run).await
    }

    /// As [`Self::place_and_admit`] for many jobs of one run. Writes only the places that are missing.
    pub(crate) async fn place_and_admit_all(self, jobs: &[JobRecord]) -> Result<()> {
        let mut groups: BTreeMap<GroupKey, Vec<Place>> = BTreeMap::new();
        for (group, place) in jobs.iter().filter_map(JobRecord::place) {
            groups.entry(group).or_default().push(place);
        }
        for (group, places) in &groups {
            let listed: HashSet<Unit> = self.all_places(group).await?.into_iter().map(|place| place.unit).collect();
            let missing: Vec<&Place> = places.iter().filter(|place| !listed.contains(&place.unit)).collect();
            for some in missing.chunks(AT_ONCE) {
                try_join_all(some.iter().map(|place| self.engine.ports.put_place(group, place))).await?;
            }
            self.admit(group, &jobs[0].key.run).await?;
        }
        Ok(())
    }

    /// Gives a run that waits for its turn its place, and opens the next run of its group.
    pub(crate) async fn place_and_admit_run(self, control: &Control) -> Result<()> {
        let (RunState::Blocked, Some((group, place))) = (control.state, control.place()) else { return Ok(()) };
        self.engine.ports.put_place(group, &place).await?;
        self.admit(group, &control.run).await
    }

    /// As [`Self::place_and_admit_run`], for a request that has started the run. If this fails, the handler of the run's change
    /// event does it.
    pub(crate) async fn place_started_run(self, control: &Control) {
        if let Err(error) = self.place_and_admit_run(control).await {
            tracing::warn!(run = %control.run, %error, "a run waits for its turn; the change feed will give it its place");
        }
    }

    /// Admits the next unit of a group, if nobody has the group. `by`: the run in which something happened.
    pub(crate) async fn admit(self, group: &GroupKey, by: &RunKey) -> Result<()> {
        if self.admit_some(group).await? {
            let kind = BatchKind::Admit { group: group.clone() };
            self.engine.timers().ask_for(BatchTask::new(by.clone(), kind, 0)).await?;
        }
        Ok(())
    }

    /// As [`Self::admit`]. Returns true if it must be repeated: too many places had to be removed, or others admitted at the
    /// same time.
    ///
    /// The holder may be read eventually: the write that replaces it names the holder that was read. The units are read
    /// strongly. A holder that still waits was given the group by a handler that stopped before it admitted it.
    pub(crate) async fn admit_some(self, group: &GroupKey) -> Result<bool> {
        for round in 0..ROUNDS {
            let how = if round == 0 { Consistency::Eventual } else { Consistency::Strong };
            let holder = self.engine.ports.holder(group, how).await?;
            if let Some(holder) = &holder {
                let mut found = self.read_unit(holder).await?;
                if found.turn() == Turn::Waits {
                    if self.engine.has(Bug::HolderNotAdmitted) {
                        return Ok(false);
                    }
                    found = self.start_unit(found).await?;
                }
                if self.turn(&found) != Turn::Over {
                    self.cancel_older(group, &found).await?;
                    return Ok(false);
                }
            }
            let (next, found) = match self.next_place(group).await? {
                Next::Place(next, found) => (next, found),
                Next::Nobody => return Ok(false),
                Next::Later => return Ok(true),
            };
            if !self.engine.ports.hold(group, holder.as_ref(), &next.unit).await? {
                continue;
            }
            if self.start_unit(found).await?.turn() != Turn::Over {
                self.engine.ports.remove_place(group, &next).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn turn(self, found: &UnitRecord) -> Turn {
        let ready = |job: &JobRecord| matches!(job.phase, Phase::Ready { .. });
        match found {
            UnitRecord::Job(Some(job)) if self.engine.has(Bug::ReadyFreesGroup) && ready(job) => Turn::Over,
            UnitRecord::Job(Some(job)) if self.engine.has(Bug::RetryFreesGroup) && ready(job) && job.attempt > 0 => {
                Turn::Over
            }
            found => found.turn(),
        }
    }

    /// The first place whose unit still waits. Removes the places before it. A run that a newer one cancels is passed over.
    async fn next_place(self, group: &GroupKey) -> Result<Next> {
        let mut removed = 0;
        while removed < REMOVED {
            let places = self.engine.ports.places(group, None, PAGE).await?;
            let Some((first, rest)) = places.split_first() else { return Ok(Next::Nobody) };
            // Most often the first one waits.
            for some in std::iter::once(std::slice::from_ref(first)).chain(rest.chunks(AT_ONCE)) {
                let units = try_join_all(some.iter().map(|place| self.read_unit(&place.unit))).await?;
                for (place, found) in some.iter().zip(units) {
                    if found.turn() != Turn::Waits {
                        self.engine.ports.remove_place(group, place).await?;
                        removed += 1;
                    } else if place.yields && self.newer_waits(group, place).await? {
                        self.cancel_superseded(&place.unit).await?;
                    } else {
                        return Ok(Next::Place(place.clone(), found));
                    }
                }
            }
        }
        Ok(Next::Later)
    }

    async fn newer_waits(self, group: &GroupKey, place: &Place) -> Result<bool> {
        let mut after = place.clone();
        loop {
            let newer = self.engine.ports.places(group, Some(&after), PAGE).await?;
            let Some(last) = newer.last() else { return Ok(false) };
            after = last.clone();
            for place in &newer {
                if self.read_unit(&place.unit).await?.turn() == Turn::Waits {
                    return Ok(true);
                }
            }
        }
    }

    /// Begins the cancel of the runs that give way to the newest run, which waits or is the holder: of the holder, and of those that wait.
    async fn cancel_older(self, group: &GroupKey, holder: &UnitRecord) -> Result<()> {
        let UnitRecord::Run(Some(control)) = holder else { return Ok(()) };
        let mut places = self.all_places(group).await?;
        places.retain(|place| *place.unit.run() != control.run);
        let holders = control.place().map(|(_, place)| place);
        if !holders.iter().chain(&places).any(|place| place.yields) {
            return Ok(());
        }
        let mut newest = holders.clone();
        for place in places.iter().rev() {
            if newest.as_ref().is_some_and(|newest| place.order() < newest.order()) {
                break;
            }
            if self.read_unit(&place.unit).await?.turn() == Turn::Waits {
                newest = Some(place.clone());
                break;
            }
        }
        let Some(newest) = newest else { return Ok(()) };
        places.extend(holders);
        for place in superseded(&places, &newest) {
            self.cancel_superseded(&place.unit).await?;
        }
        Ok(())
    }

    async fn cancel_superseded(self, unit: &Unit) -> Result<()> {
        let update = RunUpdate::Supersede { at: self.engine.now() };
        self.engine.ports.update_control(unit.run(), update).await?;
        Ok(())
    }

    async fn all_places(self, group: &GroupKey) -> Result<Vec<Place>> {
        let mut all: Vec<Place> = Vec::new();
        loop {
            let page = self.engine.ports.places(group, all.last(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    async fn read_unit(self, unit: &Unit) -> Result<UnitRecord> {
        let how = if self.engine.has(Bug::HolderReadEventually) { Consistency::Eventual } else { Consistency::Strong };
        Ok(match unit {
            Unit::Job(key) => UnitRecord::Job(self.engine.ports.job(key, how).await?.map(Box::new)),
            Unit::Run(run) => UnitRecord::Run(self.engine.ports.control(run, how).await?.map(Box::new)),
        })
    }

    /// Starts a unit that holds the group: a job becomes ready, a run opens. Returns the unit's current record.
    async fn start_unit(self, found: UnitRecord) -> Result<UnitRecord> {
        let at = self.engine.now();
        match found {
            UnitRecord::Job(Some(job)) => {
                let update = JobUpdate { expect: Precondition::Blocked, change: job.become_ready(at) };
                let now = self.engine.ports.update(&job.key, update).await?.record();
                if let Some(job) = &now {
                    self.dispatch(job).await?;
                }
                Ok(UnitRecord::Job(now.map(Box::new)))
            }
            UnitRecord::Run(Some(control)) => {
                let now = self.engine.ports.update_control(&control.run, RunUpdate::Admit { at }).await?.record();
                Ok(UnitRecord::Run(now.map(Box::new)))
            }
            gone => Ok(gone),
        }
    }
}

/// The result of a search for the next unit of a group.
enum Next {
    /// The first place whose unit waits, and the unit as read.
    Place(Place, UnitRecord),
    /// Nobody waits.
    Nobody,
    /// Too many places were removed; the search is not over.
    Later,
}
