//! The checkout of a claimed job: the repository's address, and the credential, which is in memory only.

use std::sync::Arc;
use std::time::Duration;

use protocol::wire::{CHECKOUT_TOKEN, InputValues};
use protocol::{Millis, SecretName, SecretValue};

use crate::Engine;
use crate::cache::Cache;
use crate::error::{EngineError, Result};
use crate::forge::checkout::{LinkedRepositories, Origin, Wanted, by_hand, of_run, wanted};
use crate::forge::store::ForgeStore;
use crate::job::{JobRecord, JobSpec};
use crate::run::Control;
use workflow::{CheckoutFrom, Credentials};

/// A credential that ends sooner than this is replaced by a new one.
const LEAST_LEFT: Duration = Duration::from_mins(10);
/// A credential that doesn't end by itself is read again after this long.
const WITHOUT_END: Duration = Duration::from_secs(30);
/// Credentials are masked in logs for this long after they were given.
const MASKED: Duration = Duration::from_hours(2);
const ORIGINS_CACHED: usize = 1000;

/// The repositories that jobs of this process checked out, with the credential before the present one.
pub(crate) type OriginsCache = Cache<Wanted, CachedOrigin>;

pub(crate) fn origins_cache() -> OriginsCache {
    Cache::new(MASKED, ORIGINS_CACHED)
}

/// A claim asks a forge again this long after it had no credential.
const ASKED_AGAIN: Duration = Duration::from_secs(5);

/// The repositories whose credential could not be had within [`WITHOUT_END`], and why.
pub(crate) type UnreadOriginsCache = Cache<Wanted, NoCredential>;

pub(crate) fn unread_origins_cache() -> UnreadOriginsCache {
    Cache::new(WITHOUT_END, ORIGINS_CACHED)
}

#[derive(Clone)]
pub(crate) struct NoCredential {
    error: String,
    transient: bool,
}

impl From<NoCredential> for EngineError {
    fn from(NoCredential { error, transient }: NoCredential) -> Self {
        Self::Checkout { error, transient }
    }
}

#[derive(Clone)]
pub(crate) struct CachedOrigin {
    origin: Origin,
    read_at: Millis,
    /// A job that received it may still run.
    before: Option<SecretValue>,
}

impl CachedOrigin {
    fn token(&self) -> Option<&SecretValue> {
        self.origin.credential.as_ref().map(|credential| &credential.token)
    }

    fn is_good(&self, now: Millis) -> bool {
        match self.origin.credential.as_ref().and_then(|credential| credential.expires_at) {
            Some(end) => now + LEAST_LEFT < end,
            None => now.since(self.read_at) < WITHOUT_END,
        }
    }
}

/// What a claimed job checks out.
pub(crate) struct CheckoutOfJob {
    pub from: CheckoutFrom,
    token: Option<SecretValue>,
}

impl CheckoutOfJob {
    /// The credential, as a worker receives secrets.
    pub(crate) fn secret(self) -> Option<(SecretName, SecretValue)> {
        Some((SecretName::new(CHECKOUT_TOKEN).ok()?, self.token?))
    }
}

/// Finds out what jobs check out.
pub(crate) struct Checkouts<'a, P> {
    engine: &'a Engine<P>,
    /// True if the worker sets a job's secrets itself.
    sets_secrets: bool,
}

impl<P> Engine<P> {
    pub(crate) fn checkouts_of(&self, sets_secrets: bool) -> Checkouts<'_, P> {
        Checkouts { engine: self, sets_secrets }
    }

    /// The credentials that this process gave to checkouts lately.
    pub(crate) fn checkout_tokens(&self) -> Vec<SecretValue> {
        let entries = self.caches.origins.entries_at(self.now());
        entries.into_iter().flat_map(|(_, cached)| cached.token().cloned().into_iter().chain(cached.before)).collect()
    }
}

impl<P: ForgeStore + 'static> Engine<P> {
    /// The same engine, whose checkouts have the addresses and credentials of its links. Call it after [`Engine::with_forges`].
    #[must_use]
    pub fn with_checkouts_of_links(self) -> Self {
        let Some(forge) = &self.forges else { return self };
        let links = LinkedRepositories::new(Arc::clone(&self.ports), Arc::clone(forge));
        self.with_checkouts(Arc::new(links))
    }
}

impl<P> Checkouts<'_, P> {
    /// Returns what a job checks out, or `None` if it has no checkout. The inner error says, for people, why the job can't run.
    ///
    /// # Errors
    /// [`EngineError::Checkout`] if there is no credential now.
    pub(crate) async fn of_job(
        self,
        spec: &JobSpec,
        control: &Control,
        inputs: &InputValues,
    ) -> Result<Result<Option<CheckoutOfJob>, String>> {
        let (Some(checkout), Some(_)) = (&spec.checkout, &self.engine.checkouts) else { return Ok(Ok(None)) };
        let Some(report) = &control.report else {
            return Ok(by_hand(inputs).map(|from| Some(CheckoutOfJob { from, token: None })));
        };
        let Some(mut origin) = self.origin(wanted(report, inputs)).await? else {
            let link = &report.repository.link;
            return Ok(Err(format!(
                "its checkout needs the link `{link}`, which was removed or has another repository"
            )));
        };
        if checkout.credentials == Credentials::None {
            origin.credential = None;
        }
        let token = origin.credential.as_ref().map(|credential| credential.token.clone());
        let from = of_run(report, inputs, origin, self.sets_secrets);
        Ok(Ok(Some(CheckoutOfJob { from, token })))
    }

    /// Reads the credential of a job's checkout, so that it can be masked: another process may have given it to the worker. A GitHub App's
    /// is the same one if the same process minted it. A forge that doesn't answer holds up a log at most every 30 s.
    pub(crate) async fn read_to_mask(self, job: &JobRecord, spec: &JobSpec) {
        let (Some(_), Some(report)) = (&spec.checkout, &job.report) else { return };
        let wanted = Wanted { repository: report.repository.clone(), fork: false };
        if self.engine.caches.unread_origins.get(&wanted, self.engine.now()).is_some() {
            return;
        }
        if let Err(error) = self.origin(wanted).await {
            tracing::warn!(job = %job.key, %error, "the credential of a checkout can't be read, and is masked only if this process gave it");
        }
    }

    /// Returns the repository's address with a credential that doesn't end soon. A forge that had none isn't asked again for
    /// [`ASKED_AGAIN`]: it may take long to answer, and other jobs of the repository wait meanwhile.
    async fn origin(&self, wanted: Wanted) -> Result<Option<Origin>> {
        let (origins, now) = (&self.engine.caches.origins, self.engine.now());
        if let Some(cached) = origins.get(&wanted, now).filter(|cached| cached.is_good(now)) {
            return Ok(Some(cached.origin));
        }
        let Some(source) = &self.engine.checkouts else { return Ok(None) };
        let unread = &self.engine.caches.unread_origins;
        if let Some(failed) = unread.get_younger(&wanted, ASKED_AGAIN, now) {
            return Err(failed.into());
        }
        let origin = match source.origin(&wanted).await {
            Ok(Some(origin)) => origin,
            Ok(None) => return Ok(None),
            Err(error) => {
                let failed = NoCredential { error: error.to_string(), transient: error.may_pass() };
                unread.insert(wanted, failed.clone(), self.engine.now());
                return Err(failed.into());
            }
        };
        origins.update(wanted, now, |cached| {
            let before = cached.and_then(|cached| cached.token().cloned());
            CachedOrigin { origin: origin.clone(), read_at: now, before }
        });
        Ok(Some(origin))
    }
}
