//! Ids: keys of stored records, and the secrets and hashes that prove a lease.

pub mod forge;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use protocol::{Label, LabelSet, LeaseId, SecretName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// 128 random bits.
pub type Random = [u8; 16];

/// Returns 128 random bits of the operating system.
///
/// # Panics
/// The operating system returns no random bits. Nothing would be safe then.
#[must_use]
pub fn random() -> Random {
    let mut bytes = Random::default();
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Declares a type for a text that stores keep unchanged. A clone shares the text.
macro_rules! stored_text {
    ($($name:ident)*) => {$(
        impl $name {
            /// Wraps a stored text.
            #[must_use]
            pub fn from_stored(text: String) -> Self {
                Self(text.into())
            }

            /// The text, in hexadecimal digits.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )*};
}

stored_text! { RunKey PoolId GroupKey Fence ReportHash }

/// The key of one run's records. Every submission and re-run writes under a fresh key, so that no record, lease or
/// output of an older run can affect a newer one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunKey(Arc<str>);

impl RunKey {
    /// Creates a key.
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self(hex::encode(random).into())
    }
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A job's position in the topological order of its run. A job's needs have smaller indexes.
pub type JobIndex = u32;

/// The key of a job's record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobKey {
    /// The run.
    pub run: RunKey,
    /// The job's index in the run.
    pub index: JobIndex,
}

impl JobKey {
    /// Creates the key of a job.
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

/// A pool's id: 128 bits of SHA-256 over the case-folded labels that its jobs require and the secrets that they name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolId(Arc<str>);

impl PoolId {
    /// The pool of jobs with these labels and without secrets.
    #[must_use]
    pub fn of(labels: &LabelSet) -> Self {
        Self::with_secrets(labels, &BTreeSet::new())
    }

    /// The pool of jobs with these labels and secrets.
    #[must_use]
    pub fn with_secrets(labels: &LabelSet, secrets: &BTreeSet<SecretName>) -> Self {
        let mut hash = Sha256::new();
        for label in labels {
            // A label can't contain a comma, so different sets hash different bytes.
            hash.update(label.as_str());
            hash.update(",");
        }
        if !secrets.is_empty() {
            // A label isn't empty, so no label set continues with a comma.
            hash.update(",");
        }
        for secret in secrets {
            hash.update(secret.as_str());
            hash.update(",");
        }
        Self(half(&hash.finalize()).into())
    }

    /// Whether a text has the form of a pool's id: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// The name of a group: `j#<name>` of jobs, `r#<name>` of runs, with a comma and a hash of the values of inputs if the name
/// has any. Groups of jobs and of runs are apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupKey(Arc<str>);

impl GroupKey {
    /// The group of jobs with this name.
    #[must_use]
    pub fn of_jobs(name: &Label) -> Self {
        Self(format!("j#{name}").into())
    }

    /// The group of runs with this name and these values of inputs, in this order.
    #[must_use]
    pub fn of_runs<'a>(name: &'a Label, values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Self(format!("r#{name}").into());
        }
        // A label has no comma.
        Self(format!("r#{name},{}", ReportHash::of(values).0).into())
    }
}

/// A job or a run that takes turns with others of its group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A job.
    Job(JobKey),
    /// A run.
    Run(RunKey),
}

impl Unit {
    /// The run, or the job's run.
    #[must_use]
    pub fn run(&self) -> &RunKey {
        match self {
            Self::Job(job) => &job.run,
            Self::Run(run) => run,
        }
    }

    /// The text that [`Self::parse`] reads: `<run key>#<index>` or `<run key>#CTL`.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Job(job) => format!("{}#{:05}", job.run, job.index),
            Self::Run(run) => format!("{run}#CTL"),
        }
    }

    /// Parses a stored unit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (run, rest) = text.split_once('#')?;
        let run = RunKey::from_stored(run.to_owned());
        if rest == "CTL" { Some(Self::Run(run)) } else { Some(Self::Job(JobKey { run, index: rest.parse().ok()? })) }
    }
}

/// The hash of a lease's random part. The store keeps only the hash, so reading the store doesn't reveal a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(Arc<str>);

/// The hash of a worker's report. Identifies repeats and distinguishes other reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReportHash(Arc<str>);

impl ReportHash {
    /// Hashes the parts of a report. The boundaries between the parts count.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(half(&hash.finalize()).into())
    }
}

/// The hash of a text, in hexadecimal digits. It never changes, so a store may use it in keys.
#[must_use]
pub fn hash_of(text: &str) -> String {
    half(&Sha256::digest(text))
}

/// Returns the first 128 bits in hexadecimal digits.
fn half(hash: &[u8]) -> String {
    hex::encode(&hash[..16])
}

/// The principal that a lease is bound to: a token, identified by a hash of its stored record. Without tokens, all
/// callers are one principal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal(Option<[u8; 32]>);

impl Principal {
    /// Creates the principal identified by these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Some(Sha256::new().chain_update("principal:").chain_update(bytes).finalize().into()))
    }
}

/// A parsed lease id: the job's key, the attempt and the random part that proves the lease, and the principal that
/// presents it.
///
/// The text is `<run key>-<index>-<attempt>-<random>`. Workers treat it as opaque. It doesn't contain the principal.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseToken {
    /// The job.
    pub job: JobKey,
    /// The attempt number, from 0.
    pub attempt: u32,
    /// The random part. It is secret.
    random: Random,
    principal: Principal,
}

impl LeaseToken {
    /// Creates a lease.
    #[must_use]
    pub fn new(job: JobKey, attempt: u32, random: Random, principal: Principal) -> Self {
        Self { job, attempt, random, principal }
    }

    /// Parses a lease id that this principal presents. Returns `None` if the text doesn't have a lease id's form.
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

    /// The lease id that the worker receives.
    #[must_use]
    pub fn id(&self) -> LeaseId {
        LeaseId(format!("{}-{}-{}-{}", self.job.run, self.job.index, self.attempt, hex::encode(self.random)))
    }

    /// Masks the random part of another lease, so that only this lease's principal can read it. Masking twice returns
    /// the original.
    #[must_use]
    pub fn mask(&self, other: Random) -> Random {
        let key = Sha256::new().chain_update("next:").chain_update(self.random).finalize();
        std::array::from_fn(|at| other[at] ^ key[at])
    }

    /// Returns the fence that the store keeps. The same text presented by another principal has another fence and
    /// proves nothing.
    #[must_use]
    pub fn fence(&self) -> Fence {
        let mut hash = Sha256::new().chain_update(self.random);
        if let Some(principal) = self.principal.0 {
            hash.update(principal);
        }
        Fence(half(&hash.finalize()).into())
    }
}

/// A queue message: a job is ready in a pool. It is a hint; the job's record decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The job's pool.
    pub pool: PoolId,
    /// The ready job.
    pub job: JobKey,
}

impl Ticket {
    /// The ticket's text: `<pool>-<run key>-<index>`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}-{}-{}", self.pool.0, self.job.run, self.job.index)
    }

    /// Parses a ticket. Returns `None` if the text doesn't have a ticket's form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let (pool, run, index) = (parts.next()?, parts.next()?, parts.next()?);
        let plain = |part: &str| part.len() == 32 && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !plain(pool) || !plain(run) {
            return None;
        }
        let job = JobKey { run: RunKey(run.into()), index: index.parse().ok()? };
        let ticket = Self { pool: PoolId(pool.into()), job };
        (ticket.text() == text).then_some(ticket)
    }
}

/// The needs that a job still waits for: job indexes, or shard numbers for a job with many needs.
pub type Waits = BTreeSet<u32>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lease_id_parses_as_one() {
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
    fn lease_presented_by_another_principal_has_another_fence() {
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
    fn pool_id_ignores_order_case_and_repetition_of_labels() {
        let of = |text: &str| PoolId::of(&LabelSet::from_comma_separated(text).expect("good"));
        assert_eq!(of("a,B,a"), of("b,A"));
        assert_ne!(of("ab"), of("a,b"));
        assert_ne!(of(""), of("a"));
        assert_eq!(of("").as_str().len(), 32);
    }

    #[test]
    fn jobs_with_other_secrets_are_in_another_pool() {
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
    fn ticket_parses_back() {
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
