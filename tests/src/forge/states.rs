//! The states that were posted to commits.

use std::collections::BTreeMap;
use std::time::Instant;

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
    /// If that takes too long.
    pub async fn until_shows(&self, name: &str, commit: &str, states: &[(&str, &str)]) {
        let wanted: BTreeMap<String, String> =
            states.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect();
        let mut last = BTreeMap::new();
        let began = Instant::now();
        while last != wanted {
            assert!(
                began.elapsed() < crate::PATIENCE,
                "{commit} shows {last:#?} and not {wanted:#?}; deliveries: {:#?}",
                self.deliveries()
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            last = self.shows(name, commit);
        }
    }
}
