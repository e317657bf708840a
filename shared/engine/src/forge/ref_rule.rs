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
    /// Where the ref was. `None`: it was new.
    pub before: Option<&'a CommitId>,
    /// Where it is since.
    pub after: &'a CommitId,
    /// Where the ref is, as the forge answers. `None`: there is no such ref.
    pub answer: Option<&'a CommitId>,
    /// The number of earlier looks.
    pub looks: u32,
}

/// What to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefDecision {
    /// The change is new. The record, once written, has accepted it.
    Accepted,
    /// The change was accepted before under the record's present number. What isn't submitted yet is submitted.
    Continues,
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
            held: None,
            approved: Vec::new(),
            version: 0,
        }
    }

    /// The answer for a delivery with a known id. It needs no question to the forge.
    #[must_use]
    pub fn known(&self, id: &str, now: Millis) -> Option<RefDecision> {
        let known = self.ids.iter().rev().find(|known| known.id == id)?;
        let continues = known.seq == self.seq && now.since(known.at) < CONTINUES;
        Some(if continues { RefDecision::Continues } else { RefDecision::Repeat })
    }

    /// Decides about a push, and changes the record accordingly. The caller writes the record under its condition.
    pub fn decide_push(&mut self, observed: Observed<'_>, now: Millis) -> RefDecision {
        if let Some(known) = self.known(observed.id, now) {
            return known;
        }
        let Observed { before, after, answer, .. } = observed;
        let joins = self.head.as_ref() == before;
        let trusted = self.seq == 0 || now.since(self.at) > LAG;
        let is_new = !self.pairs.iter().any(|(from, to)| from.as_ref() == before && to == after);
        if answer == Some(after) {
            if self.head.as_ref() == Some(after) {
                self.note(observed.id);
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
        RefDecision::Late
    }

    /// Accepts a change in any case.
    pub fn accept(&mut self, observed: Observed<'_>, now: Millis) -> RefDecision {
        self.seq += 1;
        self.at = now;
        self.head = Some(observed.after.clone());
        self.note(observed.id);
        self.remember(observed.before, observed.after);
        RefDecision::Accepted
    }

    /// Notes that a delivery is about the change that was accepted last.
    fn note(&mut self, id: &str) {
        self.ids.push(KnownId { id: id.to_owned(), seq: self.seq, at: self.at });
        keep_latest(&mut self.ids);
    }

    fn remember(&mut self, before: Option<&CommitId>, after: &CommitId) {
        let pair: Pair = (before.cloned(), after.clone());
        self.pairs.push(pair);
        keep_latest(&mut self.pairs);
    }

    /// Decides about a pull request, whose head the forge has said. `observed.after` is the head as the payload says.
    pub fn decide_pull(&mut self, observed: Observed<'_>, base: &GitRef, now: Millis) -> RefDecision {
        if let Some(known) = self.known(observed.id, now) {
            return known;
        }
        let Some(head) = observed.answer else { return RefDecision::Late };
        let trusted = self.seq == 0 || now.since(self.at) > LAG;
        let is_last = self.head.as_ref() == Some(head) && self.base.as_ref() == Some(base);
        if head != observed.after {
            // The forge may lag behind, or the pull request has moved on.
            if (!trusted || is_last) && next_look(observed.looks).is_some() {
                return RefDecision::LookAgain;
            }
            if is_last {
                return RefDecision::Late;
            }
        } else if is_last {
            self.note(observed.id);
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
