//! Explains why a queued job doesn't run yet. Pure.

use std::collections::{BTreeMap, BTreeSet};

use protocol::wire::{GroupHolder, PausedWorker, WaitReason, WaitingFor};
use protocol::{JobId, LabelSet, Millis, WorkerId, limits};

use crate::eligibility::admits;
use crate::fleet::OnlineWorker;

/// The maximum number of paused workers in a reason.
const PAUSED_NAMED: usize = 10;

/// The state of a queued job, or of a run that waits for its turn.
#[derive(Clone, Debug)]
pub enum Queued<'a> {
    /// Waits for needs since the run was opened.
    Waiting {
        /// The needs that have not succeeded.
        needs: Vec<JobId>,
        /// When the wait began.
        since: Millis,
    },
    /// Waits for its turn in a group.
    Blocked {
        /// Since when.
        since: Millis,
        /// The group, for people.
        group: String,
        /// Who has the group, and how many wait in front.
        queue: Ahead,
    },
    /// Waits for a worker.
    Ready {
        /// When the job became ready, or the earliest start.
        at: Millis,
        /// The workers that gave the job back, and when.
        returned_by: &'a BTreeMap<WorkerId, Millis>,
        /// The workers, as the job's labels see them.
        workers: &'a PoolWorkers<'a>,
    },
}

/// What is in front of a unit that waits for its turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Who has the group.
    pub holder: Option<GroupHolder>,
    /// How many wait in front of the unit.
    pub ahead: usize,
}

/// The online workers, as the jobs with one set of labels see them.
#[derive(Clone, Debug, Default)]
pub struct PoolWorkers<'a> {
    /// The workers that may run the jobs.
    able: Vec<&'a OnlineWorker>,
    /// If no worker is able: the working one that lacks the fewest labels.
    nearest: Option<&'a OnlineWorker>,
    /// The labels that `nearest` lacks. Empty if only its being exclusive keeps it from the jobs.
    missing: LabelSet,
    /// Some of the workers that could run the jobs if they were not paused.
    paused: Vec<PausedWorker>,
}

impl<'a> PoolWorkers<'a> {
    /// Finds the workers for jobs that require `labels`.
    #[must_use]
    pub fn of(labels: &LabelSet, online: &'a [OnlineWorker]) -> Self {
        let lacks = |worker: &OnlineWorker| labels.missing_from(&worker.labels);
        let admitted = |worker: &&OnlineWorker| admits(labels, &BTreeSet::new(), worker.eligible()).is_ok();
        let working = || online.iter().filter(|worker| worker.paused.is_none());
        let able: Vec<&OnlineWorker> = working().filter(admitted).collect();
        let nearest = working().filter(|_| able.is_empty()).min_by_key(|worker| (lacks(worker).len(), &worker.id));
        let paused = online
            .iter()
            .filter(admitted)
            .filter_map(|worker| Some(PausedWorker { worker_id: worker.id.clone(), reason: worker.paused.clone()? }));
        Self {
            missing: nearest.map(lacks).unwrap_or_default(),
            nearest,
            paused: paused.take(PAUSED_NAMED).collect(),
            able,
        }
    }
}

/// Returns the first applicable reason, and the details that a person needs to end the wait.
#[must_use]
pub fn waiting_for(queued: Queued<'_>, now: Millis) -> WaitingFor {
    let (at, returned_by, workers) = match queued {
        Queued::Waiting { needs, since } => {
            return WaitingFor { needs: Some(needs), ..WaitingFor::new(WaitReason::Needs, since) };
        }
        Queued::Blocked { since, group, queue: Ahead { holder, ahead } } => {
            let waiting = WaitingFor::new(WaitReason::Concurrency, since);
            return WaitingFor { group: Some(group), holder, ahead: Some(ahead), ..waiting };
        }
        Queued::Ready { at, .. } if at > now => {
            return WaitingFor { until_ms: Some(at), ..WaitingFor::new(WaitReason::Delayed, at) };
        }
        Queued::Ready { at, returned_by, workers } => (at, returned_by, workers),
    };
    let bare = |reason| WaitingFor { paused: workers.paused.clone(), ..WaitingFor::new(reason, at) };
    if workers.able.is_empty() {
        let Some(nearest) = workers.nearest else { return bare(WaitReason::NoWorker) };
        let missing = Some(workers.missing.clone()).filter(|missing| !missing.is_empty());
        let reason = if missing.is_some() { WaitReason::MissingLabels } else { WaitReason::Exclusive };
        return WaitingFor { missing, nearest: Some(nearest.id.clone()), ..bare(reason) };
    }
    let again_at = |worker: &&&OnlineWorker| {
        returned_by.get(&worker.id).map(|at| *at + limits::RETURN_PAUSE).filter(|until| now < *until)
    };
    let free_to_ask = || workers.able.iter().filter(|worker| again_at(worker).is_none());
    match workers.able.iter().filter_map(|worker| again_at(&worker)).min() {
        // Only workers that gave the job back could run it.
        Some(until) if free_to_ask().next().is_none() => {
            WaitingFor { until_ms: Some(until), ..bare(WaitReason::Delayed) }
        }
        _ => WaitingFor { busy: Some(free_to_ask().filter(|worker| worker.busy).count()), ..bare(WaitReason::Busy) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> LabelSet {
        LabelSet::from_comma_separated(text).expect("good")
    }

    fn worker(id: &str, labels: &str, busy: bool) -> OnlineWorker {
        OnlineWorker { id: WorkerId::new(id).expect("good"), labels: set(labels), exclusive: false, busy, paused: None }
    }

    fn ready(labels: &str, online: &[OnlineWorker]) -> WaitingFor {
        let workers = PoolWorkers::of(&set(labels), online);
        waiting_for(Queued::Ready { at: Millis(5), returned_by: &BTreeMap::new(), workers: &workers }, Millis(9))
    }

    #[test]
    fn waiting_job_names_its_unmet_needs() {
        let needs = vec![JobId::new("build").expect("good")];
        let why = waiting_for(Queued::Waiting { needs: needs.clone(), since: Millis(3) }, Millis(9));
        assert_eq!((why.reason, why.needs, why.since_ms), (WaitReason::Needs, Some(needs), Millis(3)));
    }

    #[test]
    fn missing_label_is_named_with_the_nearest_worker() {
        assert_eq!(ready("gpu", &[]).reason, WaitReason::NoWorker);
        let why = ready("gpu,linux,big", &[worker("far", "mac", false), worker("near", "gpu,linux", true)]);
        assert_eq!(why.reason, WaitReason::MissingLabels);
        assert_eq!(why.missing, Some(set("big")));
        assert_eq!(why.nearest, WorkerId::new("near").ok());
    }

    #[test]
    fn job_that_waits_for_busy_workers_says_how_many() {
        let why = ready("gpu", &[worker("a", "gpu", true), worker("b", "gpu,x", true), worker("c", "", false)]);
        assert_eq!((why.reason, why.busy), (WaitReason::Busy, Some(2)));
    }

    #[test]
    fn job_waits_for_its_earliest_start_before_it_waits_for_a_worker() {
        let workers = PoolWorkers::default();
        let why = |at, now| waiting_for(Queued::Ready { at, returned_by: &BTreeMap::new(), workers: &workers }, now);
        let delayed = why(Millis(9), Millis(8));
        assert_eq!((delayed.reason, delayed.until_ms), (WaitReason::Delayed, Some(Millis(9))));
        assert_eq!(why(Millis(9), Millis(9)).reason, WaitReason::NoWorker);
    }

    #[test]
    fn job_without_labels_waits_for_a_worker_that_is_not_exclusive() {
        let exclusive = OnlineWorker { exclusive: true, ..worker("a", "gpu", false) };
        let why = ready("", std::slice::from_ref(&exclusive));
        assert_eq!((why.reason, why.nearest), (WaitReason::Exclusive, WorkerId::new("a").ok()));
        let why = ready("", &[exclusive.clone(), worker("b", "", true)]);
        assert_eq!((why.reason, why.busy), (WaitReason::Busy, Some(1)));
        assert_eq!(ready("cpu", &[exclusive]).reason, WaitReason::MissingLabels);
    }

    #[test]
    fn paused_worker_is_named_with_its_reason_and_is_not_online() {
        let paused =
            |id: &str| OnlineWorker { paused: Some("its disk is full".to_owned()), ..worker(id, "gpu", false) };
        let why = ready("gpu", &[paused("a")]);
        assert_eq!(why.reason, WaitReason::NoWorker);
        assert_eq!(
            why.paused,
            [PausedWorker { worker_id: WorkerId::new("a").expect("good"), reason: "its disk is full".to_owned() }]
        );
        let why = ready("gpu", &[paused("a"), worker("b", "", false)]);
        assert_eq!(
            (why.reason, why.nearest, why.paused.len()),
            (WaitReason::MissingLabels, WorkerId::new("b").ok(), 1)
        );
        let why = ready("gpu", &[paused("a"), worker("b", "gpu", true)]);
        assert_eq!((why.reason, why.busy, why.paused.len()), (WaitReason::Busy, Some(1), 1));
        assert!(ready("cpu", &[paused("a")]).paused.is_empty(), "it could not run the job anyway");
        let many: Vec<OnlineWorker> = (0..100).map(|n| paused(&format!("w{n}"))).collect();
        assert_eq!(ready("gpu", &many).paused.len(), PAUSED_NAMED);
    }

    #[test]
    fn job_waits_until_one_of_the_workers_that_gave_it_back_may_take_it_again() {
        let id = |id: &str| WorkerId::new(id).expect("good");
        let returned_by = BTreeMap::from([(id("a"), Millis(7)), (id("b"), Millis(3))]);
        let again_at = |at: u64| Millis(at) + limits::RETURN_PAUSE;
        let why = |online: &[OnlineWorker], now: Millis| {
            let workers = PoolWorkers::of(&set(""), online);
            let why = waiting_for(Queued::Ready { at: Millis(5), returned_by: &returned_by, workers: &workers }, now);
            (why.reason, why.until_ms, why.busy)
        };
        let (a, b, c) = (worker("a", "", false), worker("b", "", true), worker("c", "", false));
        let just_before = Millis(again_at(3).0 - 1);
        assert_eq!(why(std::slice::from_ref(&a), just_before), (WaitReason::Delayed, Some(again_at(7)), None));
        assert_eq!(why(&[a.clone(), b.clone()], just_before), (WaitReason::Delayed, Some(again_at(3)), None));
        assert_eq!(why(&[a.clone(), b.clone()], again_at(3)), (WaitReason::Busy, None, Some(1)));
        assert_eq!(why(std::slice::from_ref(&a), again_at(7)), (WaitReason::Busy, None, Some(0)));
        assert_eq!(why(&[a, b, c], just_before), (WaitReason::Busy, None, Some(0)));
    }
}
