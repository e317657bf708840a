//! What a process does when it starts: the check of the schema, and the engine over these ports.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use engine::{Engine, Tuning};

use crate::aws::Aws;
use crate::config::{BadConfig, Config};
use crate::schema::{self, SchemaError};
use crate::secrets::Parameters;

/// A claim reads the list of pools at most once in this time.
const POOLS_TTL: Duration = Duration::from_secs(1);

/// Why a process can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The environment can't be used.
    #[error(transparent)]
    Config(#[from] BadConfig),
    /// The tables can't be used.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl Aws {
    /// Refuses tables whose schema isn't this program's. A process calls this once, before it reads any record.
    ///
    /// # Errors
    /// [`SchemaError`], also if the tables don't answer.
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        schema::check(&self.jobs).await
    }

    /// As [`Self::check_schema`], and writes the schema's number to tables that have none.
    ///
    /// # Errors
    /// [`SchemaError`], also if the tables don't answer.
    pub async fn initialize_schema(&self) -> Result<(), SchemaError> {
        schema::initialize(&self.jobs).await
    }

    /// An engine over the ports that the environment names, after [`Self::check_schema`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn engine() -> Result<Engine<Self>, StartError> {
        let settings = Self::load_settings().await;
        let engine = Self::engine_with(Config::from_env()?, &settings);
        engine.ports().check_schema().await?;
        Ok(engine)
    }

    /// An engine over these tables, queues, bucket and secrets, with these settings of the AWS libraries.
    #[must_use]
    pub fn engine_with(config: Config, settings: &SdkConfig) -> Engine<Self> {
        let secrets = Parameters::from_config(&config, settings);
        let engine = Engine::new(Self::with_settings(config, settings));
        let engine = engine.with_tuning(Tuning { pools_ttl: POOLS_TTL, ..Tuning::default() });
        match secrets {
            Some(secrets) => engine.with_secrets(Arc::new(secrets)),
            None => engine,
        }
    }
}
