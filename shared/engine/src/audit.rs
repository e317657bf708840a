//! The audit log: every change that a caller requests, every token created or revoked, and every refused request.

use std::time::Duration;

use protocol::access::{AuditAction, AuditEntry};
use protocol::{Millis, TokenName};

use crate::Audit;
use crate::cache::Cache;
use crate::error::Result;
use crate::ports::{AuditCursor, AuditStore};

/// Refusals per second that one process records for one token, or for all callers without a valid token. Further
/// refusals are counted but not recorded, so that a flood of them stays cheap.
const REFUSALS_PER_SECOND: u32 = 10;
/// The maximum number of tokens whose refusals are counted separately.
const TOKENS_COUNTED: usize = 1000;

/// Recent refusals by token; `None` counts callers without a valid token.
pub(crate) type RefusalsCache = Cache<Option<TokenName>, Refusals>;

pub(crate) fn refusals_cache() -> RefusalsCache {
    Cache::new(Duration::MAX, TOKENS_COUNTED)
}

/// The second of the latest refusal, the number of entries recorded in that second, and the number of refusals
/// suppressed since the last recorded one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    second: u64,
    written: u32,
    unwritten: u64,
}

impl Refusals {
    /// Decides whether one more refusal is recorded. Returns the number of refusals suppressed before it.
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

/// A page of the audit log.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// The cursor of the next page.
    pub next: Option<AuditCursor>,
}

impl<P: AuditStore> Audit<'_, P> {
    /// Records an action of the caller. If this fails, the action still stands, and the entry goes to the process's
    /// own log.
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
            tracing::error!(%error, ?entry, "could not record an audit entry");
        }
    }

    /// Lists entries, newest first.
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
    fn refusals_beyond_the_limit_are_counted_but_not_recorded() {
        let mut refusals = Refusals::default();
        let written = (0..100).filter(|_| refusals.admit(Millis(5_000)).is_some()).count();
        assert_eq!(written, 10);
        assert_eq!(refusals.admit(Millis(6_000)), Some(90), "the next says how many weren't");
        assert_eq!(refusals.admit(Millis(6_001)), Some(0));
    }
}
