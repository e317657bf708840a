//! Settings from a function's environment, which the template sets.

use std::env;

use aws_config::SdkConfig;

/// Names of tables, queues and the bucket.
#[derive(Clone, Debug)]
pub struct Config {
    /// `WFG_JOBS_TABLE`
    pub jobs_table: String,
    /// `WFG_LOGS_TABLE`
    pub logs_table: String,
    /// `WFG_BUCKET`
    pub bucket: String,
    /// `WFG_BATCHES_QUEUE_URL`
    pub batches_queue: String,
    /// `WFG_QUEUE_PREFIX`: what a pool queue's name begins with.
    pub queue_prefix: String,
    /// `WFG_REQUIRE_TLS`: whether the pools' queues refuse plain HTTP. Only emulators need it to be `false`.
    pub require_tls: bool,
    /// `WFG_SECRETS_PATH`: what the name of a secret's parameter begins with. Only the functions that hand jobs out, and
    /// those that take what is reported of them, have one.
    pub secrets_path: Option<String>,
    /// `WFG_READY_SHARDS`: index partitions of each pool's ready list. An index partition takes about 1,000 writes a
    /// second. May be raised at any time, but lowered only while nothing waits.
    pub ready_shards: u32,
}

/// Why the environment can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadConfig {
    /// A variable isn't set.
    #[error("the environment variable {0} is not set; the template sets it")]
    Missing(&'static str),
    /// Neither `true` nor `false`.
    #[error("WFG_REQUIRE_TLS is {0:?}; it must be true or false")]
    Tls(String),
    /// Not a number from 1 to 64.
    #[error("WFG_READY_SHARDS is {0:?}; it must be a number from 1 to 64")]
    Shards(String),
}

/// Neither the environment nor the profile names a region.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no AWS region is set; set AWS_REGION to the one that the stack is in")]
pub struct NoRegion;

/// The region that these settings name.
pub(crate) fn region(settings: &SdkConfig) -> Result<String, NoRegion> {
    settings.region().map(ToString::to_string).ok_or(NoRegion)
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// If a variable is missing.
    pub fn from_env() -> Result<Self, BadConfig> {
        let read = |name: &'static str| env::var(name).map_err(|_| BadConfig::Missing(name));
        let shards = env::var("WFG_READY_SHARDS").unwrap_or_else(|_| "4".to_owned());
        let ready_shards = shards.parse().ok().filter(|n| (1..=64).contains(n)).ok_or(BadConfig::Shards(shards))?;
        let tls = env::var("WFG_REQUIRE_TLS").unwrap_or_else(|_| "true".to_owned());
        let require_tls = tls.parse().map_err(|_| BadConfig::Tls(tls))?;
        Ok(Self {
            jobs_table: read("WFG_JOBS_TABLE")?,
            logs_table: read("WFG_LOGS_TABLE")?,
            bucket: read("WFG_BUCKET")?,
            batches_queue: read("WFG_BATCHES_QUEUE_URL")?,
            queue_prefix: read("WFG_QUEUE_PREFIX")?,
            require_tls,
            secrets_path: env::var("WFG_SECRETS_PATH").ok().filter(|path| !path.is_empty()),
            ready_shards,
        })
    }
}
