//! The rule that turns deliveries into accepted changes of a ref.
//!
//! A delivery is a hint: its id isn't signed, it may be repeated, delayed and reordered, and the forge's own answer may be some
//! seconds old. The rule accepts each push at most once, and the last accepted is where the ref is.

use std::time::Duration;

use protocol::{Millis, limits};

use super::names::{CommitId, GitRef, RepositoryKey, Subject};
use super::records::{KnownId, Pair, RefRecord};

/// Pushes and deliveries that a record keeps.
pub const KEPT: usize = 16;
/// A forge's answer is trusted this long after the last acceptance. A forge may lag behind its own hook.
pub const LAG: Duration = Duration::from_secs(5);
/// The delays of further looks: over a minute in all.
const LOOKS: [u64; 5] = [6, 6, 12, 18, 24];
/// A known delivery continues this long after it was accepted. Later the key of its submission may have been forgotten.
const CONTINUES: Duration = Duration::from_hours(23);

/// The delay before the next look at a delivery, or `None` after the last.
#[must_use]
pub fn next_look(looks: u32) -> Option<Duration> {
    LOOKS.get(looks as usize).map(|secs| Duration::from_secs(*secs))
}

/// What a delivery says about a ref, and what the forge answered.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The forge's id of the delivery.
    pub id: &'a str,
    /// The id that the delivery has here. Several processes may decide about it at once.
    pub receipt: &'a str,
    /// Where the ref was. `None`: it was new.
    pub before: Option<&'a CommitId>,
    /// Where it is since.
    pub after: &'a CommitId,
    /// Where the ref is, as the forge answers. `None`: there is no such ref.
    pub answer: Option<&'a CommitId>,
    /// The number of earlier looks.
    pub looks: u32,
}

/// How a change was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// Its number among the changes of its ref.
    pub seq: u64,
    /// When. Of two changes of a ref the one with the greater number has the later time.
    pub at: Millis,
}

/// What to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefDecision {
    /// The change is new. The record, once written, has accepted it.
    Accepted(Acceptance),
    /// The change was accepted before. What isn't submitted yet is submitted.
    Continues(Acceptance),
    /// The change was accepted before.
    Repeat,
    /// The ref had moved on.
    Late,
    /// The answer can't be trusted yet. Nothing is written.
    LookAgain,
}

impl RefRecord {
    /// The record of a ref of which nothing is known.
    #[must_use]
    pub fn new(repository: RepositoryKey, subject: Subject) -> Self {
        Self {
            repository,
            subject,
            head: None,
            base: None,
            seq: 0,
            at: Millis(0),
            pairs: Vec::new(),
            ids: Vec::new(),
            late: Vec::new(),
            held: None,
            approved: Vec::new(),
            version: 0,
        }
    }

    /// The answer for a delivery that is known by its id and commit. It needs no question to the forge.
    #[must_use]
    pub fn known(&self, id: &str, commit: &CommitId, now: Millis) -> Option<RefDecision> {
        let known = self.ids.iter().rev().find(|known| known.id == id && known.commit == *commit)?;
        if known.repeats || now.since(known.at) >= CONTINUES {
            return Some(RefDecision::Repeat);
        }
        Some(RefDecision::Continues(Acceptance { seq: known.seq, at: known.at }))
    }

    /// Decides about a push, and changes the record accordingly. The caller writes the record under its condition.
    pub fn decide_push(&mut self, observed: Observed<'_>, now: Millis) -> RefDecision {
        if let Some(decided) = self.decided(observed, observed.after, now) {
            return decided;
        }
        let Observed { before, after, answer, .. } = observed;
        let joins = self.head.as_ref() == before;
        let trusted = self.seq == 0 || now.since(self.at) > LAG;
        let is_new = !self.pairs.iter().any(|(from, to)| from.as_ref() == before && to == after);
        if answer == Some(after) {
            if self.head.as_ref() == Some(after) {
                self.note(observed.id, after, true);
                return RefDecision::Repeat;
            }
            return if (joins && is_new) || trusted { self.accept(observed, now) } else { RefDecision::LookAgain };
        }
        if !trusted || (answer == before && next_look(observed.looks).is_some()) {
            return RefDecision::LookAgain;
        }
        // A deleted ref hasn't moved on.
        if joins && is_new && answer.is_some() && answer != self.head.as_ref() {
            return self.accept(observed, now);
        }
        self.remember(before, after);
        self.late(observed)
    }

    /// What was decided about this delivery before, by this process or another.
    fn decided(&self, observed: Observed<'_>, commit: &CommitId, now: Millis) -> Option<RefDecision> {
        if self.late.iter().any(|late| late == observed.receipt) {
            return Some(RefDecision::Late);
        }
        self.known(observed.id, commit, now)
    }

    fn late(&mut self, observed: Observed<'_>) -> RefDecision {
        self.late.push(observed.receipt.to_owned());
        keep_latest(&mut self.late);
        RefDecision::Late
    }

    /// Accepts a change in any case.
    pub fn accept(&mut self, observed: Observed<'_>, now: Millis) -> RefDecision {
        self.seq += 1;
        // The clocks of two functions differ.
        self.at = now.max(self.at + Duration::from_millis(1));
        self.head = Some(observed.after.clone());
        self.note(observed.id, observed.after, false);
        self.remember(observed.before, observed.after);
        RefDecision::Accepted(Acceptance { seq: self.seq, at: self.at })
    }

    /// Notes that a delivery is about the change that was accepted last.
    fn note(&mut self, id: &str, commit: &CommitId, repeats: bool) {
        self.ids.push(KnownId { id: id.to_owned(), commit: commit.clone(), seq: self.seq, at: self.at, repeats });
        keep_latest(&mut self.ids);
    }

    fn remember(&mut self, before: Option<&CommitId>, after: &CommitId) {
        let pair: Pair = (before.cloned(), after.clone());
        self.pairs.push(pair);
        keep_latest(&mut self.pairs);
    }

    /// Decides about a pull request, whose head the forge has said. `observed.after` is the head as the payload says.
    pub fn decide_pull(&mut self, observed: Observed<'_>, base: &GitRef, now: Millis) -> RefDecision {
        let Some(head) = observed.answer else { return RefDecision::Late };
        if let Some(decided) = self.decided(observed, head, now) {
            return decided;
        }
        let trusted = self.seq == 0 || now.since(self.at) > LAG;
        let is_last = self.head.as_ref() == Some(head) && self.base.as_ref() == Some(base);
        if head != observed.after {
            // The forge may lag behind, or the pull request has moved on.
            if (!trusted || is_last) && next_look(observed.looks).is_some() {
                return RefDecision::LookAgain;
            }
            if is_last {
                return self.late(observed);
            }
        } else if is_last {
            self.note(observed.id, head, true);
            return RefDecision::Repeat;
        }
        self.base = Some(base.clone());
        self.accept(Observed { before: None, after: head, ..observed }, now)
    }
}

fn keep_latest<T>(list: &mut Vec<T>) {
    let over = list.len().saturating_sub(KEPT);
    list.drain(..over);
}

const _: () = assert!(CONTINUES.as_secs() < limits::IDEMPOTENCY_TIME.as_secs());
