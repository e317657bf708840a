//! Secrets: read when a job is handed out, and to hide them in what arrives of it.
//!
//! A job's secrets are part of its pool, and a claim looks only at pools whose secrets the caller's token allows. Their
//! values are read at the claim, each time, so that a value that was replaced is used from the next claim on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::mask::{MaskStream, Masker};
use protocol::requests::LogPiece;
use protocol::wire::Stream;
use protocol::{SecretName, SecretValue, Secrets};

use crate::JobSecrets;
use crate::cache::Cache;
use crate::error::Result;
use crate::job::JobSpec;
use crate::ports::Stored;

/// To mask them, values are read again after this long.
const TTL: Duration = Duration::from_secs(30);
/// Secrets that were read count as readable for this long: claims don't read them for each job that they try.
const READABLE_TTL: Duration = Duration::from_secs(5);
/// Secrets that are cached at the most.
const SECRETS_CACHED: usize = 1000;

/// Secrets as they were last read.
pub(crate) type SecretsCache = Cache<SecretName, CachedSecret>;

pub(crate) fn secrets_cache() -> SecretsCache {
    Cache::new(TTL, SECRETS_CACHED)
}

/// A secret as it was read.
#[derive(Clone)]
pub(crate) struct CachedSecret {
    value: Option<SecretValue>,
    /// What it was before: a job that was given this may still run.
    before: Option<SecretValue>,
}

impl<P> JobSecrets<'_, P> {
    /// The values of these secrets, of those that there are.
    pub(crate) async fn secrets_now(self, names: &BTreeSet<SecretName>) -> Stored<Secrets> {
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

    /// A masker of these secrets: of the values read at most [`TTL`] ago, and of the values before those, if this process
    /// has read them.
    pub(crate) async fn masker(self, names: &BTreeSet<SecretName>) -> Result<Masker> {
        let cached = || -> Vec<Option<CachedSecret>> {
            let now = self.engine.now();
            names.iter().map(|name| self.engine.caches.secrets.get(name, now)).collect()
        };
        let mut secrets = cached();
        let mut read = Secrets::new();
        if secrets.iter().any(Option::is_none) {
            read = self.secrets_now(names).await?;
            secrets = cached();
        }
        let values = secrets.iter().flatten().flat_map(|secret| secret.value.iter().chain(&secret.before));
        Ok(Masker::new(values.chain(read.values())))
    }

    /// What a worker says of a job, without the job's secrets.
    pub(crate) async fn without_secrets(self, spec: &JobSpec, text: String) -> Result<String> {
        if spec.secrets.is_empty() {
            return Ok(text);
        }
        Ok(self.masker(&spec.secrets).await?.mask(&text).into_owned())
    }

    /// Whether jobs that name these secrets can be handed out: not while they can't be read. A job that is taken then would
    /// only be lost.
    pub(crate) async fn can_read(self, secrets: &BTreeSet<SecretName>) -> bool {
        let now = self.engine.now();
        let was_read = |name| self.engine.caches.secrets.get_younger(name, READABLE_TTL, now).is_some();
        if secrets.iter().all(was_read) {
            return true;
        }
        match self.secrets_now(secrets).await {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, "jobs that name secrets wait until these can be read");
                false
            }
        }
    }
}

/// Hides secrets in pieces that are in order, also where one begins in a piece and ends in a later one of its stream.
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
    }
}

/// What a job is told whose secrets aren't all there; `None`: they are.
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
    fn a_secret_in_two_pieces_of_a_stream_is_hidden_and_the_other_stream_stays_apart() {
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
        assert_eq!(pieces.map(|piece| piece.data), ["a ", "er22 *** hun", "", "***.\nhunter2"]);
    }

    #[test]
    fn secrets_that_are_not_there_are_all_named() {
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
