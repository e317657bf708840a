//! What the server recommends to a worker, in the answers to its registration and its heartbeats.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use protocol::limits;

/// The lease of the worker's claims: the worker's own setting, else what the server recommends. Clones share the recommendation.
#[derive(Clone, Debug)]
pub(crate) struct LeaseTerms {
    own: Option<u32>,
    recommended: Arc<AtomicU32>,
}

impl LeaseTerms {
    /// `own` is the worker's setting, in seconds. Nothing is recommended yet.
    pub fn new(own: Option<u32>) -> Self {
        Self { own, recommended: Arc::new(AtomicU32::new(limits::LEASE_SECS)) }
    }

    /// Takes a recommendation, in seconds. A lease that no claim may have is ignored.
    pub fn recommend(&self, secs: Option<u32>) {
        if let Some(secs) = secs.filter(|secs| limits::LEASE_TTL_SECS.contains(secs)) {
            self.recommended.store(secs, Ordering::Relaxed);
        }
    }

    /// The lease to claim with, in seconds.
    pub fn secs(&self) -> u32 {
        self.own.unwrap_or_else(|| self.recommended.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recommended_lease_is_used_unless_the_worker_has_its_own_or_it_is_out_of_range() {
        let terms = LeaseTerms::new(None);
        assert_eq!(terms.secs(), limits::LEASE_SECS);
        for (recommended, used) in [(Some(90), 90), (None, 90), (Some(0), 90), (Some(50_000), 90), (Some(60), 60)] {
            terms.clone().recommend(recommended);
            assert_eq!(terms.secs(), used, "{recommended:?}");
        }
        let own = LeaseTerms::new(Some(20));
        own.recommend(Some(90));
        assert_eq!(own.secs(), 20);
    }
}
