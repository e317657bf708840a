//! The engine's own names: where a record lives, and what proves a hold on it.

use std::collections::BTreeSet;
use std::fmt;

use protocol::{LabelSet, LeaseId, SecretName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// 128 bits nobody can guess.
pub type Random = [u8; 16];

/// Fresh ones, from the operating system.
///
/// # Panics
/// If the operating system has no randomness to give: nothing safe could follow.
#[must_use]
pub fn random() -> Random {
    let mut bytes = Random::default();
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A text that a store keeps as it is.
macro_rules! stored_text {
    ($($name:ident)*) => {$(
        impl $name {
            /// Reads back what a store kept.
            #[must_use]
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }

            /// Hexadecimal digits.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )*};
}

stored_text! { RunKey PoolId Fence ReportHash }

/// One run's part of the store. Every submission and re-run writes under a fresh one, so that no record, lease or
/// output of an older run can touch a newer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunKey(String);

impl RunKey {
    /// A fresh key.
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self(hex::encode(random))
    }
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A job's place in a topological order of its run: whatever it needs has a smaller one.
pub type JobIndex = u32;

/// Where a job's record is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// Its run.
    pub run: RunKey,
    /// Its place there.
    pub index: JobIndex,
}

impl JobKey {
    /// Names a job.
    #[must_use]
    pub fn new(run: &RunKey, index: JobIndex) -> Self {
        Self { run: run.clone(), index }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.run, self.index)
    }
}

/// A pool: all jobs that require exactly one set of labels and name exactly one set of secrets. 128 bits of SHA-256 over
/// both, the labels folded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolId(String);

impl PoolId {
    /// The pool of a label set, of jobs that name no secrets.
    #[must_use]
    pub fn of(labels: &LabelSet) -> Self {
        Self::with_secrets(labels, &BTreeSet::new())
    }

    /// The pool of a label set, of jobs that name these secrets.
    #[must_use]
    pub fn with_secrets(labels: &LabelSet, secrets: &BTreeSet<SecretName>) -> Self {
        let mut hash = Sha256::new();
        for label in labels {
            // A comma can't be in a label, so no two sets give the same bytes.
            hash.update(label.as_str());
            hash.update(",");
        }
        if !secrets.is_empty() {
            // A label isn't empty, so no label set goes on with a comma.
            hash.update(",");
        }
        for secret in secrets {
            hash.update(secret.as_str());
            hash.update(",");
        }
        Self(half(&hash.finalize()))
    }
}

/// The hash of a lease's random part: what the store keeps, so that reading it gives no one a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(String);

/// A hash of what a worker reported, so that a repeat is recognised and another report isn't taken for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReportHash(String);

impl ReportHash {
    /// Hashes a report's parts; where one ends and the next begins counts.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(half(&hash.finalize()))
    }
}

/// The first 128 bits, as hexadecimal digits.
fn half(hash: &[u8]) -> String {
    hex::encode(&hash[..16])
}

/// Whom a lease is bound to: a token, by a hash of what is kept of it. Without tokens: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal(Option<[u8; 32]>);

impl Principal {
    /// The principal that is known by these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Some(Sha256::new().chain_update("principal:").chain_update(bytes).finalize().into()))
    }
}

/// What a lease id says: where its job is, and the random part that proves the hold; and who shows it.
///
/// Written `<run key>-<index>-<attempt>-<random>`; workers treat it as opaque. Who shows it isn't in the text.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseToken {
    /// The job.
    pub job: JobKey,
    /// From 0.
    pub attempt: u32,
    /// The secret.
    random: Random,
    principal: Principal,
}

impl LeaseToken {
    /// A fresh hold.
    #[must_use]
    pub fn new(job: JobKey, attempt: u32, random: Random, principal: Principal) -> Self {
        Self { job, attempt, random, principal }
    }

    /// Reads a lease id that this principal shows; `None` if it can't be one of ours.
    #[must_use]
    pub fn parse(text: &str, principal: &Principal) -> Option<Self> {
        let mut parts = text.splitn(4, '-');
        let (run, index, attempt, random) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let run_bytes: Random = hex::decode(run).ok()?.try_into().ok()?;
        let job = JobKey { run: RunKey::new(run_bytes), index: index.parse().ok()? };
        let random = hex::decode(random).ok()?.try_into().ok()?;
        let token = Self { job, attempt: attempt.parse().ok()?, random, principal: principal.clone() };
        (token.id().0 == text).then_some(token)
    }

    /// The text that a worker carries.
    #[must_use]
    pub fn id(&self) -> LeaseId {
        LeaseId(format!("{}-{}-{}-{}", self.job.run, self.job.index, self.attempt, hex::encode(self.random)))
    }

    /// Hides the random part of another lease so that only this one's principal can read it. Masking twice is the same as
    /// not at all.
    #[must_use]
    pub fn mask(&self, other: Random) -> Random {
        let key = Sha256::new().chain_update("next:").chain_update(self.random).finalize();
        std::array::from_fn(|at| other[at] ^ key[at])
    }

    /// What the store keeps of it. Shown by another principal, the same text has another fence, and holds nothing.
    #[must_use]
    pub fn fence(&self) -> Fence {
        let mut hash = Sha256::new().chain_update(self.random);
        if let Some(principal) = self.principal.0 {
            hash.update(principal);
        }
        Fence(half(&hash.finalize()))
    }
}

/// A job waiting in a pool, as a queue's message names it. A hint: the table is the truth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The job's pool.
    pub pool: PoolId,
    /// The job.
    pub job: JobKey,
}

impl Ticket {
    /// `<pool>-<run key>-<index>`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}-{}-{}", self.pool.0, self.job.run, self.job.index)
    }

    /// Reads a ticket's text; `None` if it isn't one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let (pool, run, index) = (parts.next()?, parts.next()?, parts.next()?);
        let plain = |part: &str| part.len() == 32 && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !plain(pool) || !plain(run) {
            return None;
        }
        let job = JobKey { run: RunKey(run.to_owned()), index: index.parse().ok()? };
        let ticket = Self { pool: PoolId(pool.to_owned()), job };
        (ticket.text() == text).then_some(ticket)
    }
}

/// Needs that a job still waits for: job indexes, or shard numbers for a job with many needs.
pub type Waits = BTreeSet<u32>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_id_reads_back_and_nothing_else_is_one() {
        let open = Principal::default();
        let token = LeaseToken::new(JobKey::new(&RunKey::new([0xab; 16]), 12), 3, [0xcd; 16], open.clone());
        let text = token.id().0;
        let read = LeaseToken::parse(&text, &open).expect("its own text");
        assert!(read == token && read.fence() == token.fence());
        assert!(!text.contains(token.fence().as_str()), "the store's half must not be in the worker's");
        for bad in
            ["", "x", "a-b-c-d", &text[1..], &text.to_uppercase(), &format!("{text}0"), &text.replace("-12-", "-+12-")]
        {
            assert!(LeaseToken::parse(bad, &open).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_lease_shown_by_another_holder_is_another_lease() {
        let of = |name: &str| Principal::of(name.as_bytes());
        let token = LeaseToken::new(JobKey::new(&RunKey::new([1; 16]), 0), 0, [2; 16], of("one"));
        let text = token.id().0;
        let fence = |principal| LeaseToken::parse(&text, &principal).expect("a lease").fence();
        assert_eq!(fence(of("one")), token.fence());
        for other in [of("two"), Principal::default()] {
            assert_ne!(fence(other), token.fence());
        }
    }

    #[test]
    fn a_pool_is_its_label_set_whatever_the_order_case_or_repetition() {
        let of = |text: &str| PoolId::of(&LabelSet::from_comma_separated(text).expect("good"));
        assert_eq!(of("a,B,a"), of("b,A"));
        assert_ne!(of("ab"), of("a,b"));
        assert_ne!(of(""), of("a"));
        assert_eq!(of("").as_str().len(), 32);
    }

    #[test]
    fn jobs_that_name_other_secrets_are_in_another_pool() {
        let labels = |text: &str| LabelSet::from_comma_separated(text).expect("good");
        let of = |text: &str, secrets: &[&str]| {
            let secrets = secrets.iter().map(|name| SecretName::new(*name).expect("good")).collect();
            PoolId::with_secrets(&labels(text), &secrets)
        };
        assert_eq!(of("a,b", &[]), PoolId::of(&labels("a,b")));
        assert_eq!(of("a", &["X", "Y"]), of("a", &["Y", "X"]));
        let different =
            [of("a", &[]), of("a", &["b"]), of("a,b", &[]), of("", &["a", "b"]), of("b", &["a"]), of("", &["ab"])];
        assert_eq!(different.iter().collect::<BTreeSet<_>>().len(), different.len());
    }

    #[test]
    fn a_ticket_reads_back() {
        let ticket = Ticket { pool: PoolId::of(&LabelSet::default()), job: JobKey::new(&RunKey::new([1; 16]), 4) };
        assert_eq!(Ticket::parse(&ticket.text()), Some(ticket.clone()));
        let long = format!("{}-{}-4", "a".repeat(32), "b".repeat(3000));
        let text = ticket.text();
        let others = [text.to_uppercase(), text.replace("-4", "-+4"), text.replace("-4", "-04")];
        for bad in ["", "no-ticket-x", "ab-cd-4", &long].into_iter().chain(others.iter().map(String::as_str)) {
            assert_eq!(Ticket::parse(bad), None, "{bad}");
        }
    }
}
