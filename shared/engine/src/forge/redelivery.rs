//! Pure decisions about deliveries that failed. A forge doesn't send them again by itself: its App is asked for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::Millis;

use super::ports::FailedDelivery;
use super::records::{Again, Redelivery};

/// How often an App's failed deliveries are asked for.
pub const ASKED_EVERY: Duration = Duration::from_mins(10);
/// How often a delivery is asked for again.
pub const TIMES: u32 = 3;
/// GitHub sends again what is at most this old.
const OLDEST: Duration = Duration::from_hours(72);
/// Deliveries that are asked for again at once. The rest follows ten minutes later.
const AT_ONCE: usize = 100;
/// A forge may list a failure this late.
const LISTED_LATE: Duration = Duration::from_mins(1);

impl Redelivery {
    /// The record of an App that was linked at this time. A forge says times in whole seconds.
    #[must_use]
    pub fn new(linked_at: Millis) -> Self {
        let (since, due) = (linked_at - LISTED_LATE, Some(linked_at));
        Self { since, asked_at: Millis(0), due, again: BTreeMap::new(), version: 0 }
    }

    /// Takes the turn to ask the forge. Returns the record to write, or `None` if somebody has asked within ten minutes.
    #[must_use]
    pub fn take(&self, now: Millis) -> Option<Self> {
        let due = self.asked_at.0 == 0 || now.since(self.asked_at) >= ASKED_EVERY;
        let next = Some(now + ASKED_EVERY);
        due.then(|| Self { asked_at: now, due: next, since: self.since.max(now - OLDEST), ..self.clone() })
    }

    /// Returns the record to write when the App is linked, again or first.
    #[must_use]
    pub fn linked(&self, now: Millis) -> Option<Self> {
        let due = now.max(self.asked_at + ASKED_EVERY);
        self.due.is_none().then(|| Self { due: Some(due), ..self.clone() })
    }

    /// Chooses the deliveries to ask for again, oldest first, and counts them. The caller writes the record before it asks, so that a
    /// process that stops in between doesn't lead to a fourth time.
    pub fn choose(&mut self, mut failed: Vec<FailedDelivery>) -> Vec<FailedDelivery> {
        failed.sort_by(|one, other| (one.at, &one.guid).cmp(&(other.at, &other.guid)));
        let listed: BTreeSet<String> = failed.iter().map(|one| one.guid.clone()).collect();
        let has_tries = |one: &FailedDelivery| self.again.get(&one.guid).is_none_or(|again| again.times < TIMES);
        failed.retain(has_tries);
        // What isn't asked for now, or fails again, is listed the next time.
        let first = failed.first().map(|one| one.at);
        self.since = first.unwrap_or(Millis(u64::MAX)).min(self.asked_at - LISTED_LATE).max(self.since);
        failed.truncate(AT_ONCE);
        let since = self.since;
        self.again.retain(|guid, again| listed.contains(guid) || again.at >= since);
        for one in &failed {
            let again = self.again.entry(one.guid.clone()).or_insert(Again { times: 0, at: self.asked_at });
            *again = Again { times: again.times + 1, at: self.asked_at };
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(guid: &str, at: u64) -> FailedDelivery {
        FailedDelivery { id: format!("{guid} {at}"), at: Millis(at), guid: guid.to_owned(), repository: None }
    }

    fn guids(chosen: &[FailedDelivery]) -> Vec<&str> {
        chosen.iter().map(|one| one.guid.as_str()).collect()
    }

    const MINUTE: u64 = 60_000;

    #[test]
    fn delivery_that_fails_again_and_again_is_asked_for_three_times() {
        let mut record = Redelivery::new(Millis(1));
        for times in 1..=5 {
            let now = Millis(times * 11 * MINUTE);
            record = record.take(now).expect("due");
            assert_eq!(record.take(now + Duration::from_mins(9)), None, "asked every ten minutes");
            let chosen = record.choose(vec![failed("a", 5), failed("b", now.0 - MINUTE)]);
            assert_eq!(guids(&chosen).contains(&"a"), times <= 3, "{times}");
            // Until then the forge is asked for failures since the first one.
            assert_eq!(record.since.0 <= 5, times <= 3, "{times}: {}", record.since);
        }
    }

    #[test]
    fn what_was_delivered_meanwhile_is_forgotten() {
        let mut record = Redelivery::new(Millis(1)).take(Millis(20 * MINUTE)).expect("due");
        assert_eq!(guids(&record.choose(vec![failed("b", 7), failed("a", 5)])), ["a", "b"], "oldest first");
        assert_eq!(record.since, Millis(5));
        record = record.take(Millis(31 * MINUTE)).expect("due");
        assert_eq!(record.choose(Vec::new()), []);
        assert_eq!(record.since, Millis(30 * MINUTE));
        record = record.take(Millis(42 * MINUTE)).expect("due");
        record.choose(Vec::new());
        assert!(record.again.is_empty(), "{record:?}");
    }

    #[test]
    fn flood_of_failures_is_asked_for_in_parts() {
        let many = || (0..250).map(|n| failed(&format!("{n:03}"), n + 1)).collect::<Vec<_>>();
        let mut record = Redelivery::new(Millis(1)).take(Millis(20 * MINUTE)).expect("due");
        assert_eq!(record.choose(many()).len(), 100);
        let rest = many().split_off(100);
        record = record.take(Millis(31 * MINUTE)).expect("due");
        assert_eq!(guids(&record.choose(rest))[..2], ["100", "101"]);
    }
}
