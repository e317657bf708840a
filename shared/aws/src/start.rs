//! What a process does when it starts: the check of the schema, and the engine over these ports.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use engine::{Engine, Tuning};
use protocol::limits;
use tokio::time::Instant;

use crate::aws::Aws;
use crate::config::{BadConfig, Config};
use crate::schema::{self, Access, CHECKED_EVERY, SchemaError};
use crate::secrets::Parameters;

/// A claim reads the list of pools at most once in this time.
const POOLS_TTL: Duration = Duration::from_secs(1);
/// A process reads a secret at most once in this time. All claims of an account and region may read about 40 a second.
const SECRETS_TTL: Duration = Duration::from_secs(30);

/// Why a process can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The environment can't be used.
    #[error(transparent)]
    Config(#[from] BadConfig),
}

/// Checks the schema of the records for one process: at its start, and again every five minutes.
#[derive(Debug)]
pub struct SchemaGuard {
    access: Access,
    initializes: bool,
    passed_at: Mutex<Option<Instant>>,
}

impl SchemaGuard {
    /// For a process that does this with the records.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self { access, initializes: false, passed_at: Mutex::default() }
    }

    /// For the only process that writes the schema's item: where there is none, and over that of an older schema.
    #[must_use]
    pub fn that_initializes() -> Self {
        Self { initializes: true, ..Self::new(Access::Change) }
    }

    /// Refuses records that this program may not use. A process calls this before each request or event.
    ///
    /// # Errors
    /// [`SchemaError`]. If the table doesn't answer, only until the check has passed once.
    pub async fn check(&self, aws: &Aws) -> Result<(), SchemaError> {
        let passed_at = *self.passed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if passed_at.is_some_and(|at| at.elapsed() < CHECKED_EVERY) {
            return Ok(());
        }
        let checked = if self.initializes {
            schema::initialize(&aws.jobs).await
        } else {
            schema::check(&aws.jobs, self.access).await
        };
        let passed = match checked {
            Ok(()) => Some(Instant::now()),
            Err(SchemaError::Store(error)) if passed_at.is_some() => {
                tracing::warn!(%error, "the schema can't be checked again; it is checked at the next request");
                return Ok(());
            }
            Err(error) => {
                tracing::error!(%error, "refused");
                *self.passed_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
                return Err(error);
            }
        };
        *self.passed_at.lock().unwrap_or_else(PoisonError::into_inner) = passed;
        Ok(())
    }
}

impl Aws {
    /// A Lambda function's engine, over the ports that the environment names. A [`SchemaGuard`] says whether their records may be used.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn engine() -> Result<Engine<Self>, StartError> {
        Ok(Self::engine_with(Config::from_env()?, &Self::settings_of_function()))
    }

    /// An engine over these tables, queues, bucket and secrets, with these settings of the AWS libraries.
    #[must_use]
    pub fn engine_with(config: Config, settings: &SdkConfig) -> Engine<Self> {
        let secrets = Parameters::from_config(&config, settings);
        let engine = Engine::new(Self::with_settings(config, settings));
        let engine = engine.with_tuning(Tuning {
            pools_ttl: POOLS_TTL,
            secrets_ttl: SECRETS_TTL,
            lease_secs: limits::LEASE_ON_AWS_SECS,
            ..Tuning::default()
        });
        let engine = match secrets {
            Some(secrets) => engine.with_secrets(Arc::new(secrets)),
            None => engine,
        };
        let engine = match engine.ports().config.public_url.as_deref().map(Arc::from) {
            Some(url) => engine.with_public_url(url),
            None => engine,
        };
        match engine.ports().forge.clone() {
            Some(forge) => engine.with_forges(Arc::new(forge)).with_checkouts_of_links(),
            None => engine,
        }
    }
}
