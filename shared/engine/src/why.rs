//! Explains why a queued job doesn't run yet. Pure.

use std::collections::BTreeSet;

use protocol::wire::{PausedWorker, WaitReason, WaitingFor};
use protocol::{JobId, LabelSet, Millis};

use crate::eligibility::admits;
use crate::workers::OnlineWorker;

/// Paused workers that are named.
const PAUSED_NAMED: usize = 10;

/// The state of a queued job.
#[derive(Clone, Debug)]
pub enum Queued {
    /// Waits for needs since the run was opened.
    Waiting {
        /// The needs that have not succeeded.
        needs: Vec<JobId>,
        /// When the wait began.
        since: Millis,
    },
    /// Waits for a worker, from `at` on.
    Ready {
        /// When the job became ready, or the earliest start.
        at: Millis,
    },
}

/// Returns the first applicable reason, and the details that a person needs to end the wait.
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
        paused: Vec::new(),
    };
    let at = match queued {
        Queued::Waiting { needs, since } => return WaitingFor { needs: Some(needs), ..bare(WaitReason::Needs, since) },
        Queued::Ready { at } if at > now => return WaitingFor { until_ms: Some(at), ..bare(WaitReason::Delayed, at) },
        Queued::Ready { at } => at,
    };
    let can_run = |worker: &&OnlineWorker| admits(labels, &BTreeSet::new(), worker.eligible()).is_ok();
    let (paused, online): (Vec<_>, Vec<_>) = online.iter().partition(|worker| worker.paused.is_some());
    let paused = paused
        .into_iter()
        .filter(can_run)
        .take(PAUSED_NAMED)
        .map(|worker| PausedWorker { worker_id: worker.id.clone(), reason: worker.paused.clone().unwrap_or_default() });
    let paused: Vec<PausedWorker> = paused.collect();
    let bare = |reason, since_ms| WaitingFor { paused: paused.clone(), ..bare(reason, since_ms) };
    if online.is_empty() {
        return bare(WaitReason::NoWorker, at);
    }
    let able = || online.iter().copied().filter(can_run);
    if able().next().is_none() {
        let lacks = |worker: &OnlineWorker| labels.missing_from(&worker.labels);
        let nearest = online.iter().copied().min_by_key(|worker| (lacks(worker).len(), &worker.id));
        let missing = nearest.map(lacks).filter(|missing| !missing.is_empty());
        let reason = if missing.is_some() { WaitReason::MissingLabels } else { WaitReason::Exclusive };
        return WaitingFor { missing, nearest: nearest.map(|worker| worker.id.clone()), ..bare(reason, at) };
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
        OnlineWorker { id: WorkerId::new(id).expect("good"), labels: set(labels), exclusive: false, busy, paused: None }
    }

    fn ready(labels: &str, online: &[OnlineWorker]) -> WaitingFor {
        waiting_for(Queued::Ready { at: Millis(5) }, &set(labels), online, Millis(9))
    }

    #[test]
    fn paused_workers_do_not_count_and_are_named_with_their_reason() {
        let paused =
            |id, labels| OnlineWorker { paused: Some("its disk is full".to_owned()), ..worker(id, labels, false) };
        let why = ready("gpu", &[paused("a", "gpu"), paused("b", "mac")]);
        assert_eq!((why.reason, why.busy), (WaitReason::NoWorker, None));
        let named: Vec<(&str, &str)> =
            why.paused.iter().map(|worker| (worker.worker_id.as_str(), worker.reason.as_str())).collect();
        assert_eq!(named, [("a", "its disk is full")]);
        let why = ready("gpu", &[paused("a", "gpu"), worker("c", "gpu", true)]);
        assert_eq!((why.reason, why.busy, why.paused.len()), (WaitReason::Busy, Some(1), 1));
    }

    #[test]
    fn waiting_job_names_its_unmet_needs() {
        let needs = vec![JobId::new("build").expect("good")];
        let why = waiting_for(Queued::Waiting { needs: needs.clone(), since: Millis(3) }, &set(""), &[], Millis(9));
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
    fn job_without_labels_waits_for_a_worker_that_is_not_exclusive() {
        let exclusive = OnlineWorker { exclusive: true, ..worker("a", "gpu", false) };
        let why = ready("", std::slice::from_ref(&exclusive));
        assert_eq!((why.reason, why.nearest), (WaitReason::Exclusive, WorkerId::new("a").ok()));
        let why = ready("", &[exclusive.clone(), worker("b", "", true)]);
        assert_eq!((why.reason, why.busy), (WaitReason::Busy, Some(1)));
        assert_eq!(ready("cpu", &[exclusive]).reason, WaitReason::MissingLabels);
    }
}
