//! Secrets: read when a job is handed out, and to hide them in what arrives of it.
//!
//! A job's secrets are part of its pool, and a claim looks only at pools whose secrets the caller's token allows. Their
//! values are read at the claim, each time, so that a value that was replaced is used from the next claim on.

use std::collections::BTreeSet;

use protocol::{SecretName, Secrets};

use crate::Engine;
use crate::definition::Definition;
use crate::error::Outcome;
use crate::ports::{Pool, Ports, Stored};

impl<P: Ports> Engine<P> {
    /// Refuses a definition that names secrets which the caller's token doesn't.
    pub(crate) fn may_name_secrets(&self, definition: &Definition) -> Outcome<()> {
        self.caller.check_secrets(definition.jobs.iter().flat_map(|job| &job.secrets))
    }

    /// The values of these secrets, of those that there are.
    pub(crate) async fn secrets_now(&self, names: &BTreeSet<SecretName>) -> Stored<Secrets> {
        if names.is_empty() {
            return Ok(Secrets::new());
        }
        self.ports.secrets(names).await
    }

    /// Whether jobs of this pool can be handed out: not while its secrets can't be read. A job that is taken then would
    /// only be lost.
    pub(crate) async fn has_its_secrets(&self, pool: &Pool) -> bool {
        match self.secrets_now(&pool.secrets).await {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, "jobs that name secrets wait until these can be read");
                false
            }
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
    use protocol::SecretValue;

    use super::*;

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
