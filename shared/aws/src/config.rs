//! Settings from a function's environment, which the template sets.

use std::env;

/// Names of tables, queues and the bucket.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `WFG_JOBS_TABLE`
    pub jobs_table: String,
    /// `WFG_LOGS_TABLE`
    pub logs_table: String,
    /// `WFG_BUCKET`
    pub bucket: String,
    /// `WFG_BATCHES_QUEUE_URL`
    pub batches_queue: String,
    /// `WFG_QUEUE_PREFIX`: the beginning of the name of a pool's queue.
    pub queue_prefix: String,
    /// `WFG_STACK`: the stack's name, a tag of each pool's queue. Without it the queues have no tag.
    pub stack: Option<String>,
    /// `WFG_REQUIRE_TLS`: whether the pools' queues refuse plain HTTP. Only emulators need it to be `false`.
    pub require_tls: bool,
    /// `WFG_SECRETS_PATH`: the beginning of the name of a secret's parameter. Only the functions `claim` and `complete`
    /// have it.
    pub secrets_path: Option<String>,
    /// `WFG_ENDPOINTS_PARAMETER`: the name of the parameter with the function URLs for workers. Only the function `claim` of a stack
    /// that has such URLs has it.
    pub endpoints_parameter: Option<String>,
    /// `WFG_FORGE_FUNCTION`: the name of the function that asks forges. Only a stack with forges has it, and that function itself
    /// doesn't.
    pub forge_function: Option<String>,
    /// `WFG_PUBLIC_URL`: the address of the API, for forges and for links to the page.
    pub public_url: Option<String>,
    /// `WFG_READY_SHARDS`: index partitions of each pool's ready list. An index partition takes about 1,000 writes a
    /// second, and each claim reads all of them. 1 without the variable. A pool's record keeps the largest number in use, so that
    /// jobs are found after it was lowered.
    pub ready_shards: u32,
}

/// Why the environment can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadConfig {
    /// A variable isn't set.
    #[error("the environment variable {0} is not set; the template sets it")]
    Missing(&'static str),
    /// A value other than `true` and `false`.
    #[error("WFG_REQUIRE_TLS is {0:?}; it must be true or false")]
    Tls(String),
    /// A value other than a number from 1 to 64.
    #[error("WFG_READY_SHARDS is {0:?}; it must be a number from 1 to 64")]
    Shards(String),
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`BadConfig`]: a variable is missing, or its value can't be used.
    pub fn from_env() -> Result<Self, BadConfig> {
        let read = |name: &'static str| env::var(name).map_err(|_| BadConfig::Missing(name));
        let shards = env::var("WFG_READY_SHARDS").unwrap_or_else(|_| "1".to_owned());
        let ready_shards = shards.parse().ok().filter(|n| (1..=64).contains(n)).ok_or(BadConfig::Shards(shards))?;
        let tls = env::var("WFG_REQUIRE_TLS").unwrap_or_else(|_| "true".to_owned());
        let require_tls = tls.parse().map_err(|_| BadConfig::Tls(tls))?;
        Ok(Self {
            jobs_table: read("WFG_JOBS_TABLE")?,
            logs_table: read("WFG_LOGS_TABLE")?,
            bucket: read("WFG_BUCKET")?,
            batches_queue: read("WFG_BATCHES_QUEUE_URL")?,
            queue_prefix: read("WFG_QUEUE_PREFIX")?,
            stack: env::var("WFG_STACK").ok().filter(|name| !name.is_empty()),
            require_tls,
            secrets_path: env::var("WFG_SECRETS_PATH").ok().filter(|path| !path.is_empty()),
            endpoints_parameter: env::var("WFG_ENDPOINTS_PARAMETER").ok().filter(|name| !name.is_empty()),
            forge_function: env::var("WFG_FORGE_FUNCTION").ok().filter(|name| !name.is_empty()),
            public_url: env::var("WFG_PUBLIC_URL").ok().filter(|url| !url.is_empty()),
            ready_shards,
        })
    }
}
