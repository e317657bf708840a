//! Names of things at a forge. Records of runs and jobs have some of them, so they are declared with the other ids.

pub use crate::ids::forge::{BadCommit, BadRef, CommitId, EventName, GitRef, ReportKey, RepositoryKey, Subject};
