//! The request for a next job, in a completion.

use std::collections::BTreeMap;

use protocol::{LabelSet, WorkerId};
use serde::Serialize;

use crate::WorkerConfig;

/// `POST /api/jobs/{lease_id}/complete`, with a request for the next job.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Complete {
    pub outputs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
}

/// Who asks, as in a claim.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Next {
    pub worker_id: WorkerId,
    pub labels: LabelSet,
    pub lease_ttl_secs: u32,
    pub exclusive: bool,
}

impl Next {
    pub fn of(config: &WorkerConfig) -> Self {
        Self {
            worker_id: config.worker_id.clone(),
            labels: config.labels.clone(),
            lease_ttl_secs: config.lease_ttl_secs,
            exclusive: config.exclusive,
        }
    }
}
