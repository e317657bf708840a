//! Who did what: every change that people ask for, every token made or revoked, and every attempt that was refused.

use std::time::Duration;

use protocol::access::{AuditAction, AuditEntry};
use protocol::{Millis, TokenName};

use crate::Audit;
use crate::cache::Cache;
use crate::error::Result;
use crate::ports::{AuditCursor, AuditStore};

/// Refused attempts by one token, or by all who have none that is good, that one process writes down in a second. More are
/// counted, so that a flood of them costs no more than this.
const REFUSALS_PER_SECOND: u32 = 10;
/// Tokens whose refusals are counted apart at a time.
const TOKENS_COUNTED: usize = 1000;

/// Recent refusals by token; `None` counts callers without a valid token.
pub(crate) type RefusalsCache = Cache<Option<TokenName>, Refusals>;

pub(crate) fn refusals_cache() -> RefusalsCache {
    Cache::new(Duration::MAX, TOKENS_COUNTED)
}

/// The second that somebody was last refused in, how often this was written down in it, and how often since it wasn't.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    second: u64,
    written: u32,
    unwritten: u64,
}

impl Refusals {
    /// Whether one more is written down; with how many that weren't.
    fn admit(&mut self, now: Millis) -> Option<u64> {
        if self.second != now.secs() {
            (self.second, self.written) = (now.secs(), 0);
        }
        if self.written == REFUSALS_PER_SECOND {
            self.unwritten += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.unwritten))
    }
}

/// A page of entries.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins.
    pub next: Option<AuditCursor>,
}

impl<P: AuditStore> Audit<'_, P> {
    /// Writes down what the caller did. What was done stays done if this fails: the entry is then in the process's own
    /// log.
    pub async fn record(self, mut entry: AuditEntry) {
        if entry.action == AuditAction::Refused {
            let mut suppressed = None;
            self.engine.caches.refusals.update(entry.token.clone(), entry.at_ms, |refusals| {
                let mut refusals = refusals.unwrap_or_default();
                suppressed = refusals.admit(entry.at_ms);
                refusals
            });
            match suppressed {
                Some(count) => entry.suppressed = count,
                None => return,
            }
        }
        if let Err(error) = self.engine.ports.record(entry.clone(), self.engine.random()).await {
            tracing::error!(%error, ?entry, "who did what could not be kept");
        }
    }

    /// Who did what, newest first.
    pub async fn list(self, after: Option<AuditCursor>, limit: usize) -> Result<AuditPage> {
        let found = self.engine.ports.entries(after.as_ref(), limit).await?;
        let next = if found.len() < limit { None } else { found.last().map(|(cursor, _)| cursor.clone()) };
        Ok(AuditPage { entries: found.into_iter().map(|(_, entry)| entry).collect(), next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_counted_and_not_written() {
        let mut refusals = Refusals::default();
        let written = (0..100).filter(|_| refusals.admit(Millis(5_000)).is_some()).count();
        assert_eq!(written, 10);
        assert_eq!(refusals.admit(Millis(6_000)), Some(90), "the next says how many weren't");
        assert_eq!(refusals.admit(Millis(6_001)), Some(0));
    }
}
