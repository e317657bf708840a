//! The states that were posted to commits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::TestForge;

/// A state as it was posted, a status or a check run.
#[derive(Clone, Debug)]
pub struct Posted {
    /// When it was last written.
    pub at: Instant,
    /// Its number at the forge.
    pub id: u64,
    /// The commit.
    pub commit: String,
    /// Its name, such as `ci / test (push)`.
    pub name: String,
    /// A status' state, or a check run's conclusion, else its status.
    pub state: String,
    /// The description, or the title of a check run's output.
    pub description: String,
    /// Where it leads.
    pub url: String,
    /// The whole body, with later changes merged into it.
    pub body: serde_json::Value,
    /// The states that it had, oldest first.
    pub history: Vec<String>,
}

impl TestForge {
    /// Everything that was posted to a repository.
    #[must_use]
    pub fn posted(&self, name: &str) -> Vec<Posted> {
        self.with(name, |repository| repository.posted.clone())
    }

    /// What a commit shows: the latest state of each name.
    #[must_use]
    pub fn shows(&self, name: &str, commit: &str) -> BTreeMap<String, String> {
        let posted = self.posted(name);
        let mut of_commit: Vec<&Posted> = posted.iter().filter(|posted| posted.commit == commit).collect();
        of_commit.sort_by_key(|posted| posted.at);
        of_commit.into_iter().map(|posted| (posted.name.clone(), posted.state.clone())).collect()
    }

    /// Waits until a commit shows exactly these states.
    ///
    /// # Panics
    /// If that takes over a minute.
    pub async fn until_shows(&self, name: &str, commit: &str, states: &[(&str, &str)]) {
        self.until_shows_within(crate::PATIENCE, name, commit, states).await;
    }

    /// As [`Self::until_shows`], with another time limit.
    ///
    /// # Panics
    /// If that takes longer.
    pub async fn until_shows_within(&self, limit: Duration, name: &str, commit: &str, states: &[(&str, &str)]) {
        let wanted: BTreeMap<String, String> =
            states.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect();
        let mut last = BTreeMap::new();
        let began = Instant::now();
        while last != wanted {
            let sent =
                || self.deliveries().into_iter().map(|one| (one.event, one.status, one.answer)).collect::<Vec<_>>();
            assert!(began.elapsed() < limit, "{commit} shows {last:#?} and not {wanted:#?}; delivered: {:#?}", sent());
            tokio::time::sleep(Duration::from_millis(50)).await;
            last = self.shows(name, commit);
        }
    }
}
