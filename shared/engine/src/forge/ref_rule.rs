//! The rule that turns deliveries into accepted changes of a ref.
//!
//! A delivery is a hint: its id isn't signed, it may be repeated, delayed and reordered, and the forge's own answer may be some
//! seconds old. The rule accepts each push at most once, and the last accepted is where the ref is.

use std::time::Duration;

use protocol::{Millis, limits};

use super::names::{CommitId, RepositoryKey, Subject};
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

/// What a delivery claims, and what the forge answered.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
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
pub enum Verdict {
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

/// A fault to plant, for a test that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Only ids tell repeats apart.
    IdsAlone,
    /// What joins on to the head is accepted without a question.
    WhatJoinsOn,
    /// The first answer is trusted.
    FirstAnswer,
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
    pub fn known(&self, id: &str, now: Millis) -> Option<Verdict> {
        let known = self.ids.iter().rev().find(|known| known.id == id)?;
        let continues = known.seq == self.seq && now.since(known.at) < CONTINUES;
        Some(if continues { Verdict::Continues } else { Verdict::Repeat })
    }

    /// Decides about a push, and changes the record accordingly. The caller writes the record under its condition.
    pub fn judge(&mut self, claim: Claim<'_>, now: Millis) -> Verdict {
        self.judge_with(claim, now, None)
    }

    /// As [`Self::judge`], with a planted fault.
    pub fn judge_with(&mut self, claim: Claim<'_>, now: Millis, fault: Option<Fault>) -> Verdict {
        if let Some(known) = self.known(claim.id, now) {
            return known;
        }
        let Claim { before, after, answer, .. } = claim;
        let joins = self.head.as_ref() == before;
        match fault {
            Some(Fault::IdsAlone) => return self.accept(claim, now),
            Some(Fault::WhatJoinsOn) if joins || self.head.is_none() => return self.accept(claim, now),
            _ => {}
        }
        let trusted = self.seq == 0 || now.since(self.at) > LAG || fault == Some(Fault::FirstAnswer);
        let is_new = !self.pairs.iter().any(|(from, to)| from.as_ref() == before && to == after);
        if answer == Some(after) {
            if self.head.as_ref() == Some(after) {
                self.note(claim.id);
                return Verdict::Repeat;
            }
            return if (joins && is_new) || trusted { self.accept(claim, now) } else { Verdict::LookAgain };
        }
        if !trusted || (answer == before && next_look(claim.looks).is_some()) {
            return Verdict::LookAgain;
        }
        // A deleted ref hasn't moved on.
        if joins && is_new && answer.is_some() && answer != self.head.as_ref() {
            return self.accept(claim, now);
        }
        self.remember(before, after);
        Verdict::Late
    }

    /// Accepts a change in any case.
    pub fn accept(&mut self, claim: Claim<'_>, now: Millis) -> Verdict {
        self.seq += 1;
        self.at = now;
        self.head = Some(claim.after.clone());
        self.note(claim.id);
        self.remember(claim.before, claim.after);
        Verdict::Accepted
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

    /// Decides about a pull request, whose head the forge has said. `hint` is the head as the payload says.
    pub fn judge_pull(&mut self, claim: Claim<'_>, base: &super::names::GitRef, now: Millis) -> Verdict {
        if let Some(known) = self.known(claim.id, now) {
            return known;
        }
        let Some(head) = claim.answer else { return Verdict::Late };
        let trusted = self.seq == 0 || now.since(self.at) > LAG;
        let is_last = self.head.as_ref() == Some(head) && self.base.as_ref() == Some(base);
        if head != claim.after {
            // The forge may lag behind, or the pull request has moved on.
            if (!trusted || is_last) && next_look(claim.looks).is_some() {
                return Verdict::LookAgain;
            }
            if is_last {
                return Verdict::Late;
            }
        } else if is_last {
            self.note(claim.id);
            return Verdict::Repeat;
        }
        self.base = Some(base.clone());
        self.accept(Claim { before: None, after: head, ..claim }, now)
    }
}

fn keep_latest<T>(list: &mut Vec<T>) {
    let over = list.len().saturating_sub(KEPT);
    list.drain(..over);
}

const _: () = assert!(CONTINUES.as_secs() < limits::IDEMPOTENCY_TIME.as_secs());
