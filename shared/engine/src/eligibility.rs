//! The eligibility rule: which workers may run the jobs of a pool. Claims, tickets and the explanation of waits use
//! it.

use std::collections::BTreeSet;

use protocol::{LabelSet, SecretName};

use crate::access::Grant;
use crate::ports::Pool;

/// The properties of a worker that eligibility depends on.
#[derive(Clone, Copy, Debug)]
pub struct Eligible<'a> {
    /// The worker's labels.
    pub labels: &'a LabelSet,
    /// Whether the worker takes only jobs that require one of its labels.
    pub exclusive: bool,
    /// The permissions of the worker's token. `None` if they aren't known; then they don't count.
    pub grant: Option<&'a Grant>,
}

/// Why a worker may not run a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// The job requires labels that the worker doesn't have.
    MissingLabels(LabelSet),
    /// The worker is exclusive, and the job requires no label.
    Exclusive,
    /// The worker's token doesn't allow all secrets of the job.
    SecretsNotAllowed,
}

/// Checks that a worker may run jobs that require these labels and secrets.
///
/// # Errors
/// The first reason why not.
pub fn admits(labels: &LabelSet, secrets: &BTreeSet<SecretName>, worker: Eligible<'_>) -> Result<(), WhyNot> {
    let missing = labels.missing_from(worker.labels);
    if !missing.is_empty() {
        return Err(WhyNot::MissingLabels(missing));
    }
    if worker.exclusive && labels.is_empty() {
        return Err(WhyNot::Exclusive);
    }
    if worker.grant.is_some_and(|grant| !grant.may_have(secrets)) {
        return Err(WhyNot::SecretsNotAllowed);
    }
    Ok(())
}

impl Pool {
    /// Checks that a worker may run this pool's jobs.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn admits(&self, worker: Eligible<'_>) -> Result<(), WhyNot> {
        admits(&self.labels, &self.secrets, worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> LabelSet {
        LabelSet::from_comma_separated(text).expect("labels")
    }

    fn why(required: &str, worker: &str, exclusive: bool) -> Result<(), WhyNot> {
        Pool::of(labels(required)).admits(Eligible { labels: &labels(worker), exclusive, grant: None })
    }

    #[test]
    fn worker_without_a_required_label_is_not_admitted() {
        assert_eq!(why("gpu,big", "gpu", false), Err(WhyNot::MissingLabels(labels("big"))));
        assert_eq!(why("gpu", "gpu,big", false), Ok(()));
    }

    #[test]
    fn exclusive_worker_is_not_admitted_to_jobs_without_labels() {
        assert_eq!(why("", "gpu", true), Err(WhyNot::Exclusive));
        assert_eq!([why("", "gpu", false), why("gpu", "gpu", true)], [Ok(()), Ok(())]);
    }
}
