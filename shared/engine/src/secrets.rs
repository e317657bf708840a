//! Job secrets: reads their values at a claim, and masks them in everything that workers send.
//!
//! A job's secrets are part of its pool. A claim reads only pools whose secrets the caller's token allows. A replaced value
//! is used from the next claim on, or at most [`Tuning::secrets_ttl`](crate::Tuning::secrets_ttl) later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::mask::{MASK, MaskStream, Masker};
use protocol::requests::LogPiece;
use protocol::wire::Stream;
use protocol::{SecretName, SecretValue, Secrets};

use crate::JobSecrets;
use crate::cache::Cache;
use crate::error::Result;
use crate::job::{JobRecord, JobSpec};
use crate::ports::Stored;

/// Values used for masking are read again after this long. No value is used longer.
const TTL: Duration = Duration::from_secs(30);
/// Secrets that were read count as readable for this long, and those that could not be read as unreadable, so that a claim
/// doesn't read them for each candidate job.
const READABLE_TTL: Duration = Duration::from_secs(5);
/// The maximum number of cached secrets.
const SECRETS_CACHED: usize = 1000;

/// Secrets as they were last read.
pub(crate) type SecretsCache = Cache<SecretName, CachedSecret>;

pub(crate) fn secrets_cache() -> SecretsCache {
    Cache::new(TTL, SECRETS_CACHED)
}

/// The secrets of pools that could not be read within [`READABLE_TTL`].
pub(crate) type UnreadSecretsCache = Cache<BTreeSet<SecretName>, ()>;

pub(crate) fn unread_secrets_cache() -> UnreadSecretsCache {
    Cache::new(READABLE_TTL, SECRETS_CACHED)
}

/// A cached secret.
#[derive(Clone)]
pub(crate) struct CachedSecret {
    value: Option<SecretValue>,
    /// The previous value. A job that received it may still run.
    before: Option<SecretValue>,
}

impl<P> JobSecrets<'_, P> {
    /// Returns the values of those secrets that exist, for a job. Values that this process has read within
    /// [`Tuning::secrets_ttl`](crate::Tuning::secrets_ttl) are used again. A secret that was missing then is read again, since
    /// a person may have set it meanwhile.
    pub(crate) async fn values(self, names: &BTreeSet<SecretName>) -> Stored<Secrets> {
        let (now, ttl) = (self.engine.now(), self.engine.tuning.secrets_ttl);
        let recent = |name: &SecretName| {
            let cached = self.engine.caches.secrets.get_younger(name, ttl, now)?;
            Some((name.clone(), cached.value?))
        };
        match names.iter().map(recent).collect() {
            Some(values) => Ok(values),
            None => self.read(names).await,
        }
    }

    /// Reads the values of those secrets that exist.
    async fn read(self, names: &BTreeSet<SecretName>) -> Stored<Secrets> {
        if names.is_empty() {
            return Ok(Secrets::new());
        }
        let values = self.engine.secrets.secrets(names).await?;
        let now = self.engine.now();
        for name in names {
            let value = values.get(name).cloned();
            self.engine.caches.secrets.update(name.clone(), now, |cached| {
                let before = cached.and_then(|cached| if cached.value == value { cached.before } else { cached.value });
                CachedSecret { value, before }
            });
        }
        Ok(values)
    }

    /// Returns a masker for a job's secrets, for the credential of its checkout, and for the credentials that this process gave to
    /// checkouts. It covers the values read at most [`TTL`] ago, and their previous values if this process has read them.
    pub(crate) async fn masker(self, job: &JobRecord, spec: &JobSpec) -> Result<Masker> {
        let names = &spec.secrets;
        self.engine.checkouts_of(false).read_to_mask(job, spec).await;
        let cached = || -> Vec<Option<CachedSecret>> {
            let now = self.engine.now();
            names.iter().map(|name| self.engine.caches.secrets.get(name, now)).collect()
        };
        let mut secrets = cached();
        let mut read = Secrets::new();
        if secrets.iter().any(Option::is_none) {
            read = self.read(names).await?;
            secrets = cached();
        }
        let values = secrets.iter().flatten().flat_map(|secret| secret.value.iter().chain(&secret.before));
        let of_checkouts = self.engine.checkout_tokens();
        Ok(Masker::new(values.chain(read.values()).chain(&of_checkouts)))
    }

    /// Masks the job's secrets in a text from a worker.
    pub(crate) async fn without_secrets(self, job: &JobRecord, spec: &JobSpec, text: String) -> Result<String> {
        if spec.secrets.is_empty() && spec.checkout.is_none() {
            return Ok(text);
        }
        Ok(self.masker(job, spec).await?.mask(&text).into_owned())
    }

    /// Returns true if these secrets can be read now. A job claimed while they can't be read would be lost.
    pub(crate) async fn can_read(self, secrets: &BTreeSet<SecretName>) -> bool {
        let (now, ttl) = (self.engine.now(), READABLE_TTL.max(self.engine.tuning.secrets_ttl));
        let was_read = |name| self.engine.caches.secrets.get_younger(name, ttl, now).is_some();
        if secrets.iter().all(was_read) {
            return true;
        }
        let unread = &self.engine.caches.unread_secrets;
        if unread.get(secrets, now).is_some() {
            return false;
        }
        match self.read(secrets).await {
            Ok(_) => true,
            Err(error) => {
                unread.insert(secrets.clone(), (), self.engine.now());
                if let Some(suppressed) = self.engine.caches.unreadable.pass(now) {
                    tracing::error!(%error, suppressed, "jobs that name secrets wait until these can be read");
                }
                false
            }
        }
    }
}

/// Masks secrets in log pieces, which must be in order. Also masks a secret that spans several pieces of one stream.
pub(crate) fn hide(masker: Masker, pieces: &mut [LogPiece]) {
    let masker = Arc::new(masker);
    for of in [Stream::Stdout, Stream::Stderr] {
        let mut stream = MaskStream::new(Arc::clone(&masker));
        let mut pieces: Vec<&mut LogPiece> = pieces.iter_mut().filter(|piece| piece.stream == of).collect();
        for piece in &mut pieces {
            piece.data = stream.push(std::mem::take(&mut piece.data));
        }
        if let Some(last) = pieces.last_mut() {
            last.data.push_str(&stream.finish());
        }
        hide_edges(&masker, &mut pieces);
    }
}

/// Masks the parts of secrets at the beginning and at the end of one stream's pieces: the rest may be in the request
/// before or after this one.
fn hide_edges(masker: &Masker, pieces: &mut [&mut LogPiece]) {
    let text: String = pieces.iter().map(|piece| piece.data.as_str()).collect();
    let (head, tail) = masker.edges(&text);
    let (from, to) = (head, text.len() - tail);
    let mut at = 0;
    for piece in pieces.iter_mut() {
        let data = &text[at..at + piece.data.len()];
        let (start, end) = (from.clamp(at, at + data.len()) - at, to.clamp(at, at + data.len()) - at);
        let mask = |shown| if shown { MASK } else { "" };
        let (before, after) = (mask(start > 0), mask(end < data.len()));
        at += data.len();
        piece.data = format!("{before}{}{after}", &data[start..end]);
    }
}

/// Returns the error text of a job with missing secrets, or `None` if all exist.
pub(crate) fn missing(wanted: &BTreeSet<SecretName>, found: &Secrets) -> Option<String> {
    let missing: Vec<String> =
        wanted.iter().filter(|name| !found.contains_key(*name)).map(|name| format!("`{name}`")).collect();
    let first = wanted.iter().find(|name| !found.contains_key(*name))?;
    let (what, them) = if missing.len() == 1 { ("the secret", "it") } else { ("the secrets", "each") };
    Some(format!(
        "the server doesn't have {what} {} that the job names; set {them} with `wfg secret set {first}`, and run the job again",
        missing.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use protocol::Millis;

    use super::*;

    #[test]
    fn secret_split_over_two_pieces_of_one_stream_is_masked() {
        let piece = |sequence, stream, data: &str| LogPiece {
            sequence,
            data: data.to_owned(),
            timestamp_ms: Millis(1),
            stream,
        };
        let mut pieces = [
            piece(0, Stream::Stdout, "a hunt"),
            piece(1, Stream::Stderr, "er22 hunter22 hun"),
            piece(2, Stream::Stdout, "er"),
            piece(3, Stream::Stdout, "22.\nhunter2"),
        ];
        hide(Masker::new([&SecretValue::new("hunter22").expect("a value")]), &mut pieces);
        assert_eq!(pieces.map(|piece| piece.data), ["a ", "*** *** hun", "", "***.\n***"]);
    }

    #[test]
    fn secret_split_over_two_requests_is_masked_in_both() {
        let masked = |data: &str| {
            let piece =
                LogPiece { sequence: 0, data: data.to_owned(), timestamp_ms: Millis(1), stream: Stream::Stdout };
            let mut pieces = [piece];
            hide(Masker::new([&SecretValue::new("hunter22").expect("a value")]), &mut pieces);
            let [piece] = pieces;
            piece.data
        };
        assert_eq!(
            [masked("the key is hunte"), masked("r22. hunter22"), masked("ter22\n")],
            ["the key is ***", "r22. ***", "***\n"]
        );
        assert_eq!(masked("nothing to see\n"), "nothing to see\n");
    }

    #[test]
    fn all_missing_secrets_are_named() {
        let name = |text: &str| SecretName::new(text).expect("a name");
        let wanted = ["A", "B", "C"].map(name).into();
        let mut found = Secrets::from([(name("B"), SecretValue::new("b").expect("a value"))]);
        let text = missing(&wanted, &found).expect("two are missing");
        assert!(text.contains("secrets `A`, `C`") && text.contains("wfg secret set A"), "{text}");
        found.insert(name("A"), SecretValue::new("a").expect("a value"));
        assert!(missing(&wanted, &found).expect("one is missing").contains("the secret `C` that"));
        found.insert(name("C"), SecretValue::new("c").expect("a value"));
        assert_eq!(missing(&wanted, &found), None);
    }
}
