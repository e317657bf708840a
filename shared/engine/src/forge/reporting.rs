//! Pure decisions about telling states to a forge.
//!
//! Whoever takes a report's lease reads the run and sends what differs from what was sent. So states coalesce, and no older
//! state follows a newer one. A request without an answer may land later: its holder keeps the lease, and after an ended lease
//! everything that was sent is unsure.

use std::time::Duration;

use protocol::Millis;

use super::event::ExternalId;
use super::ports::Shown;
use super::records::{Pause, ReportRecord, ReporterLease, Sent};
use super::state::TargetState;
use super::wanted::WantedState;
use crate::ids::ReportHash;

/// How long a reporter has a report.
pub const LEASE: Duration = Duration::from_mins(1);
/// Changes within this time are told together.
pub const COALESCED: Duration = Duration::from_secs(2);
/// How long sending is tried.
pub const GIVE_UP: Duration = Duration::from_hours(24);
/// How long a commit may be unknown to the forge.
pub const NO_COMMIT: Duration = Duration::from_mins(10);
/// States sent to a forge in a minute, for each installation.
pub const WRITES: u32 = 60;
/// How long after it was sent a request may still land. No request is sent later than this before the end of a lease, so that it lands
/// before another reporter sends something newer.
const LANDS: Duration = Duration::from_secs(30);
/// Digits of the hash of a state's texts. A report has up to 51 of them.
const TEXTS: usize = 16;
const SLOWEST: Duration = Duration::from_mins(10);

/// The result of an attempt to take a report's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The record with the lease, to be written.
    Mine(ReportRecord),
    /// Somebody else has it. The record asks for another look, and is to be written.
    Busy(ReportRecord),
}

impl ReportRecord {
    /// Marks a change. Returns the record to write, or `None` if somebody will look in time anyway.
    #[must_use]
    pub fn marked(&self, at: Millis, now: Millis) -> Option<Self> {
        if self.given_up.is_some() {
            return None;
        }
        // Whoever has the lease looks again because of `asked`; if nobody does any more, somebody looks after its end.
        let held = self.lease.as_ref().map(|lease| lease.until).filter(|until| *until > now);
        match (held, self.due) {
            (Some(until), _) => Some(Self { due: Some(until), asked: self.asked + 1, ..self.clone() }),
            (None, Some(due)) if due <= at => None,
            (None, _) => Some(Self { due: Some(at), asked: self.asked + 1, ..self.clone() }),
        }
    }

    /// Takes the lease, unless somebody else has it.
    #[must_use]
    pub fn take(&self, holder: &str, now: Millis) -> Taken {
        let mut record = self.clone();
        match &self.lease {
            Some(lease) if lease.until > now => {
                record.asked += 1;
                record.due = Some(lease.until);
                return Taken::Busy(record);
            }
            // The last holder didn't return it: a request of it may land late.
            Some(_) => {
                for sent in record.sent.values_mut() {
                    sent.state = None;
                }
            }
            None => {}
        }
        let until = now + LEASE;
        record.lease = Some(ReporterLease { holder: holder.to_owned(), until });
        record.due = Some(until);
        Taken::Mine(record)
    }

    /// True if this holder has the lease.
    #[must_use]
    pub fn is_held_by(&self, holder: &str) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.holder == holder)
    }

    /// True if there is time for one more request before the lease ends.
    #[must_use]
    pub fn has_time(&self, now: Millis) -> bool {
        self.lease.as_ref().is_none_or(|lease| now + LANDS <= lease.until)
    }

    /// The states that differ from what was sent, ends first.
    #[must_use]
    pub fn differing<'a>(&self, wanted: &'a [WantedState]) -> Vec<&'a WantedState> {
        let differs = |wanted: &&WantedState| {
            let sent = self.sent.get(&wanted.name);
            sent.is_none_or(|sent| sent.state != Some(wanted.state) || sent.texts != texts(wanted))
        };
        let mut all: Vec<&WantedState> = wanted.iter().filter(differs).collect();
        all.sort_by_key(|wanted| !wanted.state.is_end());
        all
    }

    /// Notes the ids of states that the forge has and that nobody has noted: whoever created them stopped before that. Returns true if
    /// there are some.
    pub fn adopt(&mut self, shown: &[Shown]) -> bool {
        let ours = ExternalId::of(&self.key);
        let mut any = false;
        for one in shown.iter().filter(|one| one.external_id.as_ref() == Some(&ours.0)) {
            let sent =
                self.sent.entry(one.name.clone()).or_insert(Sent { state: None, texts: String::new(), id: None });
            any |= sent.id.is_none() && one.id.is_some();
            sent.id = sent.id.take().or_else(|| one.id.clone());
        }
        any
    }

    /// Notes that the forge has answered for a state.
    pub fn answered(&mut self, wanted: &WantedState, id: Option<String>) {
        let before = self.sent.get(&wanted.name).and_then(|sent| sent.id.clone());
        let sent = Sent { state: Some(wanted.state), texts: texts(wanted), id: id.or(before) };
        self.sent.insert(wanted.name.clone(), sent);
        self.tries = 0;
        self.failing_since = None;
    }

    /// Returns the lease. `due`: when to look again, if there is more to do.
    pub fn returned(&mut self, due: Option<Millis>) {
        self.lease = None;
        self.due = due;
    }

    /// Notes a failure that was answered, and returns when to try again. `None`: it is given up.
    pub fn failed(&mut self, now: Millis, retry_after: Option<Duration>, longest: Duration) -> Option<Millis> {
        let since = *self.failing_since.get_or_insert(now);
        self.tries += 1;
        if now.since(since) >= longest {
            return None;
        }
        let doubled = Duration::from_secs(1 << self.tries.min(10).saturating_sub(1));
        Some(now + retry_after.unwrap_or(doubled).min(SLOWEST.max(retry_after.unwrap_or_default())))
    }
}

/// A short hash of everything that is sent beside the state, so that another text is sent too.
fn texts(wanted: &WantedState) -> String {
    let lines = wanted.annotations.iter().map(|one| format!("{}:{}:{}", one.path, one.line, one.message));
    let all: Vec<String> = [wanted.description.clone(), wanted.summary.clone()].into_iter().chain(lines).collect();
    ReportHash::of(all.iter().map(String::as_str)).as_str()[..TEXTS].to_owned()
}

impl Pause {
    /// Takes one write of the minute. Returns from when on it may be sent, if not now.
    ///
    /// # Errors
    /// The time from which on it may be sent.
    pub fn take(&mut self, state: TargetState, now: Millis) -> Result<(), Millis> {
        const MINUTE: u64 = 60_000;
        if let Some(until) = self.until.filter(|until| *until > now) {
            return Err(until);
        }
        if let Some(left) = self.left.filter(|left| left.resets_at > now)
            && left.requests < left.of / 5
            && !state.is_end()
        {
            return Err(left.resets_at);
        }
        let minute = now.0 / MINUTE;
        if self.minute != minute {
            (self.minute, self.writes) = (minute, 0);
        }
        if self.writes >= WRITES {
            return Err(Millis((minute + 1) * MINUTE));
        }
        self.writes += 1;
        Ok(())
    }
}
