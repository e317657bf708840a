//! Secrets: read when a job is handed out, and to hide them in what arrives of it.
//!
//! A job's secrets are part of its pool, and a claim looks only at pools whose secrets the caller's token allows. Their
//! values are read at the claim, each time, so that a value that was replaced is used from the next claim on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::mask::{MaskStream, Masker};
use protocol::requests::LogPiece;
use protocol::wire::Stream;
use protocol::{Millis, SecretName, SecretValue, Secrets};

use crate::Engine;
use crate::error::Result;
use crate::job::JobSpec;
use crate::ports::{Ports, Stored};

/// To hide them, values are read again after so long.
const STAY_KNOWN: Duration = Duration::from_secs(30);
/// Secrets that were read can be read again for so long: claims don't ask for each job that they try.
const CAN_BE_READ: Duration = Duration::from_secs(5);
/// Secrets that a process knows at the most.
const KNOWN: usize = 1000;

/// What this process has read of secrets lately.
pub(crate) type CachedSecrets = BTreeMap<SecretName, CachedSecret>;

/// A secret as it was read.
pub(crate) struct CachedSecret {
    read_at: Millis,
    value: Option<SecretValue>,
    /// What it was before: a job that was given this may still run.
    before: Option<SecretValue>,
}

impl<P: Ports> Engine<P> {
    /// The values of these secrets, of those that there are.
    pub(crate) async fn secrets_now(&self, names: &BTreeSet<SecretName>) -> Stored<Secrets> {
        if names.is_empty() {
            return Ok(Secrets::new());
        }
        let values = self.ports.secrets(names).await?;
        self.remember(names, &values);
        Ok(values)
    }

    fn remember(&self, names: &BTreeSet<SecretName>, values: &Secrets) {
        let read_at = self.ports.now();
        let seen = &mut self.known().secrets;
        if seen.len() + names.len() > KNOWN {
            seen.clear();
        }
        for name in names {
            let value = values.get(name).cloned();
            let known = seen.remove(name);
            let before = known.and_then(|known| if known.value == value { known.before } else { known.value });
            seen.insert(name.clone(), CachedSecret { read_at, value, before });
        }
    }

    /// What hides these secrets: as they were read some seconds ago at the most, and as they were before that, if this
    /// process knows.
    pub(crate) async fn masker(&self, names: &BTreeSet<SecretName>) -> Result<Masker> {
        let since = self.ports.now() - STAY_KNOWN;
        let is_fresh =
            |seen: &CachedSecrets| names.iter().all(|name| seen.get(name).is_some_and(|known| known.read_at > since));
        let fresh = is_fresh(&self.known().secrets);
        let now = if fresh { Secrets::new() } else { self.secrets_now(names).await? };
        let seen = &self.known().secrets;
        let known = names.iter().filter_map(|name| seen.get(name));
        Ok(Masker::new(known.flat_map(|known| known.value.iter().chain(&known.before)).chain(now.values())))
    }

    /// What a worker says of a job, without the job's secrets.
    pub(crate) async fn without_secrets(&self, spec: &JobSpec, text: String) -> Result<String> {
        if spec.secrets.is_empty() {
            return Ok(text);
        }
        Ok(self.masker(&spec.secrets).await?.mask(&text).into_owned())
    }

    /// Whether jobs that name these secrets can be handed out: not while they can't be read. A job that is taken then would
    /// only be lost.
    pub(crate) async fn can_read(&self, secrets: &BTreeSet<SecretName>) -> bool {
        let since = self.ports.now() - CAN_BE_READ;
        let read = |name| self.known().secrets.get(name).is_some_and(|known: &CachedSecret| known.read_at > since);
        if secrets.iter().all(read) {
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
