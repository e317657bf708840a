//! What is in front of jobs and runs that wait for their turn, as the API shows it.

use std::collections::{BTreeSet, HashMap};

use protocol::Millis;
use protocol::wire::GroupHolder;

use crate::Queries;
use crate::error::Result;
use crate::ids::{GroupKey, Unit};
use crate::job::{JobRecord, Phase};
use crate::ports::{Consistency, JobStore, RunStore};
use crate::run::{Control, RunState};
use crate::why::Ahead;

/// The maximum number of places that are counted.
const COUNTED: usize = 1000;

/// A group as read: who has it, and who waits.
#[derive(Default)]
pub(crate) struct GroupQueue {
    holder: Option<(Unit, GroupHolder)>,
    /// In order.
    waiting: Vec<(Millis, String)>,
}

impl GroupQueue {
    /// What is in front of this unit, which waits since `since`.
    pub(crate) fn ahead_of(&self, unit: &Unit, since: Millis) -> Ahead {
        let own = (since, unit.text());
        let holder = self.holder.as_ref().filter(|(holder, _)| holder != unit).map(|(_, shown)| shown.clone());
        Ahead { holder, ahead: self.waiting.iter().take_while(|place| **place < own).count() }
    }
}

impl<P: RunStore + JobStore> Queries<'_, P> {
    /// Reads the groups for which a run, or jobs of it, wait. Eventually consistent, except for the places.
    pub(crate) async fn group_queues(
        self,
        control: &Control,
        jobs: &[JobRecord],
    ) -> Result<HashMap<GroupKey, GroupQueue>> {
        let of_run = control.group.as_ref().filter(|_| control.state == RunState::Blocked);
        let of_jobs = jobs.iter().filter(|job| matches!(job.phase, Phase::Blocked { .. }));
        let of_jobs = of_jobs.filter(|_| control.state == RunState::Open).filter_map(JobRecord::group_key);
        let keys: BTreeSet<GroupKey> = of_run.map(|group| group.key.clone()).into_iter().chain(of_jobs).collect();
        let mut queues = HashMap::new();
        for key in keys {
            let queue = self.group_queue(&key).await?;
            queues.insert(key, queue);
        }
        Ok(queues)
    }

    async fn group_queue(self, key: &GroupKey) -> Result<GroupQueue> {
        let holder = match self.engine.ports.holder(key, Consistency::Eventual).await? {
            Some(unit) => self.shown_holder(&unit).await?.map(|shown| (unit, shown)),
            None => None,
        };
        let mut waiting = Vec::new();
        let mut last = None;
        while waiting.len() < COUNTED {
            let page = self.engine.ports.places(key, last.as_ref(), COUNTED - waiting.len()).await?;
            if page.is_empty() {
                break;
            }
            let is_holder = |unit: &Unit| holder.as_ref().is_some_and(|(holder, _)| holder == unit);
            waiting.extend(page.iter().filter(|place| !is_holder(&place.unit)).map(crate::ports::Place::order));
            last = page.into_iter().next_back();
        }
        Ok(GroupQueue { holder, waiting })
    }

    /// The holder, unless it is final or gone.
    async fn shown_holder(self, unit: &Unit) -> Result<Option<GroupHolder>> {
        let Some(control) = self.engine.ports.control(unit.run(), Consistency::Eventual).await? else {
            return Ok(None);
        };
        let job = match unit {
            Unit::Run(_) => None,
            Unit::Job(key) => match self.engine.ports.job(key, Consistency::Eventual).await? {
                Some(job) if !job.is_ended() => Some(job.id),
                _ => return Ok(None),
            },
        };
        Ok(control.state.is_active().then_some(GroupHolder { workflow: control.workflow, job }))
    }
}
