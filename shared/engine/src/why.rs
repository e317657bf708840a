//! Why a queued job doesn't run yet: pure.

use std::collections::BTreeSet;

use protocol::wire::{WaitReason, WaitingFor};
use protocol::{JobId, LabelSet, Millis};

use crate::eligibility::admits;
use crate::workers::OnlineWorker;

/// Where a queued job stands.
#[derive(Clone, Debug)]
pub enum Queued {
    /// For needs, since the run was opened.
    Waiting {
        /// Those that aren't done.
        needs: Vec<JobId>,
        /// Since when.
        since: Millis,
    },
    /// For a worker, from `at` on.
    Ready {
        /// Since when, or from when.
        at: Millis,
    },
}

/// The reason that comes first, and what a person needs to end the wait.
#[must_use]
pub fn waiting_for(queued: Queued, labels: &LabelSet, online: &[OnlineWorker], now: Millis) -> WaitingFor {
    let bare = |reason, since_ms| WaitingFor {
        reason,
        since_ms,
        needs: None,
        missing: None,
        nearest: None,
        busy: None,
        until_ms: None,
    };
    let at = match queued {
        Queued::Waiting { needs, since } => return WaitingFor { needs: Some(needs), ..bare(WaitReason::Needs, since) },
        Queued::Ready { at } if at > now => return WaitingFor { until_ms: Some(at), ..bare(WaitReason::Delayed, at) },
        Queued::Ready { at } => at,
    };
    if online.is_empty() {
        return bare(WaitReason::NoWorker, at);
    }
    let able = || online.iter().filter(|worker| admits(labels, &BTreeSet::new(), worker.eligible()).is_ok());
    if able().next().is_none() {
        let lacks = |worker: &&OnlineWorker| labels.missing_from(&worker.labels).len();
        // A worker that lacks nothing but is exclusive isn't near: no label given to it would help.
        let nearest = online.iter().filter(|worker| lacks(worker) > 0).min_by_key(|worker| (lacks(worker), &worker.id));
        let Some(nearest) = nearest else { return bare(WaitReason::NoWorker, at) };
        return WaitingFor {
            missing: Some(labels.missing_from(&nearest.labels)),
            nearest: Some(nearest.id.clone()),
            ..bare(WaitReason::MissingLabels, at)
        };
    }
    WaitingFor { busy: Some(able().filter(|worker| worker.busy).count()), ..bare(WaitReason::Busy, at) }
}

#[cfg(test)]
mod tests {
    use protocol::WorkerId;

    use super::*;

    fn set(text: &str) -> LabelSet {
        LabelSet::from_comma_separated(text).expect("good")
    }

    fn worker(id: &str, labels: &str, busy: bool) -> OnlineWorker {
        OnlineWorker { id: WorkerId::new(id).expect("good"), labels: set(labels), exclusive: false, busy }
    }

    fn ready(labels: &str, online: &[OnlineWorker]) -> WaitingFor {
        waiting_for(Queued::Ready { at: Millis(5) }, &set(labels), online, Millis(9))
    }

    #[test]
    fn a_job_whose_needs_are_not_done_names_them() {
        let needs = vec![JobId::new("build").expect("good")];
        let why = waiting_for(Queued::Waiting { needs: needs.clone(), since: Millis(3) }, &set(""), &[], Millis(9));
        assert_eq!((why.reason, why.needs, why.since_ms), (WaitReason::Needs, Some(needs), Millis(3)));
    }

    #[test]
    fn a_label_that_no_worker_has_is_named_with_the_worker_that_comes_nearest() {
        assert_eq!(ready("gpu", &[]).reason, WaitReason::NoWorker);
        let why = ready("gpu,linux,big", &[worker("far", "mac", false), worker("near", "gpu,linux", true)]);
        assert_eq!(why.reason, WaitReason::MissingLabels);
        assert_eq!(why.missing, Some(set("big")));
        assert_eq!(why.nearest, WorkerId::new("near").ok());
    }

    #[test]
    fn a_job_that_waits_for_busy_workers_says_how_many() {
        let why = ready("gpu", &[worker("a", "gpu", true), worker("b", "gpu,x", true), worker("c", "", false)]);
        assert_eq!((why.reason, why.busy), (WaitReason::Busy, Some(2)));
    }

    #[test]
    fn an_exclusive_worker_does_not_count_for_a_job_without_labels() {
        let exclusive = OnlineWorker { exclusive: true, ..worker("a", "gpu", false) };
        assert_eq!(ready("", &[exclusive]).reason, WaitReason::NoWorker);
    }
}
