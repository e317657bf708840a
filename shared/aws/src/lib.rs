//! The engine's ports on DynamoDB, SQS, S3 and the Parameter Store.
//!
//! A job's changes are translated to DynamoDB's update expressions in [`update`]; what a record looks like as an item
//! is in [`item`]. Nothing here decides anything: what may happen and in which order is the engine's.

mod config;
mod error;
mod keys;
mod item;
mod update;
mod table;
mod schema;
mod objects;
mod compression;
pub mod secrets;
mod jobs;
mod logs;
mod artifacts;
mod runs;
mod registry;
mod dispatch;
mod access;
pub mod events;
pub mod redrive;
mod tickets;

pub use access::{StackError, access_of_stack, access_of_table};
pub use config::{BadConfig, Config, NoRegion};
pub use schema::SchemaError;
pub use tickets::{TicketError, TicketMessage, TicketQueues};

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use engine::{Engine, Tuning};

use crate::objects::Objects;
use crate::secrets::Parameters;
use crate::table::Table;

/// Calls that fail in passing are tried this often, with full jitter between.
const ATTEMPTS: u32 = 5;
/// A claim reads the list of pools at most once in this time.
const POOLS_TTL: Duration = Duration::from_secs(1);

/// The ports.
pub struct Aws {
    jobs: Table,
    logs: Table,
    objects: Objects,
    queues: aws_sdk_sqs::Client,
    config: Config,
}

impl Aws {
    /// Ports on the tables, queues and bucket that the environment names, see [`Config::from_env`].
    ///
    /// # Errors
    /// If a variable is missing.
    pub async fn from_env() -> Result<Self, BadConfig> {
        Ok(Self::new(Config::from_env()?).await)
    }

    /// Ports on these tables, queues and bucket, with [`Aws::settings`].
    pub async fn new(config: Config) -> Self {
        Self::with_settings(config, &Self::settings().load().await)
    }

    /// What the ports tell the AWS libraries unless told otherwise: credentials, region and endpoint from the
    /// environment, and how often a call is tried. A test puts an HTTP client of its own in.
    #[must_use]
    pub fn settings() -> ConfigLoader {
        aws_config::defaults(BehaviorVersion::v2026_01_12())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
    }

    /// Ports on these tables, queues and bucket, with these settings of the AWS libraries.
    #[must_use]
    pub fn with_settings(config: Config, settings: &SdkConfig) -> Self {
        let dynamo = aws_sdk_dynamodb::Client::new(settings);
        Self {
            jobs: Table::new(dynamo.clone(), config.jobs_table.clone()),
            logs: Table::new(dynamo, config.logs_table.clone()),
            objects: Objects::new(bucket_client(settings), config.bucket.clone()),
            queues: aws_sdk_sqs::Client::new(settings),
            config,
        }
    }

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
        let settings = Self::settings().load().await;
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

fn bucket_client(shared: &SdkConfig) -> aws_sdk_s3::Client {
    // An emulator answers on one host, which has no name for each bucket.
    let path_style = shared.endpoint_url().is_some();
    aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(shared).force_path_style(path_style).build())
}
