//! The type that implements the ports, and the settings of the AWS libraries.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{ConfigLoader, SdkConfig};
use engine::ids::PoolId;
use http::Uri;
use protocol::host;

use crate::client;
use crate::config::Config;
use crate::endpoints::EndpointsParameter;
use crate::environment;
use crate::forge_function::ForgeFunction;
use crate::objects::Objects;
use crate::table::Table;

/// A call that fails for a passing reason is tried this often, with full jitter between the tries.
const ATTEMPTS: u32 = 5;
/// A try that isn't answered by AWS in this time is given up. A call whose connection was lost would otherwise take all of a function's
/// time.
const ATTEMPT_TIME: Duration = Duration::from_secs(3);
/// All tries of a call together. A function that answers requests ends after 29 s.
const CALL_TIME: Duration = Duration::from_secs(20);

/// The region of these settings. A variable that is set but empty counts as absent.
pub(crate) fn region(settings: &SdkConfig) -> Option<String> {
    settings.region().filter(|region| !region.as_ref().is_empty()).map(ToString::to_string)
}

/// Loads settings, and adapts them to their endpoint.
pub(crate) async fn load(settings: ConfigLoader) -> SdkConfig {
    adapted(settings.load().await)
}

/// An endpoint on this machine, such as an emulator's, is reached without the proxy that the environment may name, and a try may take
/// as long as a call: an emulator answers many requests one after the other.
fn adapted(settings: SdkConfig) -> SdkConfig {
    if !settings.endpoint_url().is_some_and(is_on_loopback) {
        return settings;
    }
    let timeouts =
        TimeoutConfig::builder().operation_attempt_timeout(CALL_TIME).operation_timeout(3 * CALL_TIME).build();
    settings.into_builder().http_client(client::direct()).timeout_config(timeouts).build()
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIME).operation_timeout(CALL_TIME).build()
}

fn is_on_loopback(endpoint: &str) -> bool {
    endpoint.parse::<Uri>().is_ok_and(|endpoint| endpoint.host().is_some_and(host::is_loopback))
}

/// The ports.
pub struct Aws {
    pub(crate) jobs: Table,
    pub(crate) logs: Table,
    pub(crate) objects: Objects,
    pub(crate) queues: aws_sdk_sqs::Client,
    pub(crate) endpoints: Option<EndpointsParameter>,
    pub(crate) forge: Option<ForgeFunction>,
    pub(crate) config: Config,
    /// How many parts each pool's ready list had when the pools were last read, if they were more than one.
    pub(crate) parts: Mutex<HashMap<PoolId, u32>>,
}

impl Aws {
    /// Settings of the AWS libraries: credentials, region and endpoint from the environment, the profile or the
    /// machine's role, how often a call is tried, and how long it may take.
    #[must_use]
    pub fn settings() -> ConfigLoader {
        client::defaults().retry_config(retries()).timeout_config(timeouts())
    }

    /// As [`Self::load_settings`], for a Lambda function: credentials, region and endpoint from the environment alone.
    #[must_use]
    pub fn settings_of_function() -> SdkConfig {
        let settings = environment::settings(client::behavior()).http_client(client::by_environment());
        adapted(settings.retry_config(retries()).timeout_config(timeouts()).build())
    }

    /// [`Self::settings`], loaded, without a proxy for an endpoint on this machine.
    pub async fn load_settings() -> SdkConfig {
        load(Self::settings()).await
    }

    /// Ports on these tables, queues and bucket, with these settings of the AWS libraries.
    #[must_use]
    pub fn with_settings(config: Config, settings: &SdkConfig) -> Self {
        let dynamo = aws_sdk_dynamodb::Client::new(settings);
        Self {
            jobs: Table::new(dynamo.clone(), config.jobs_table.clone()),
            logs: Table::new(dynamo, config.logs_table.clone()),
            objects: Objects::new(settings, config.bucket.clone()),
            queues: aws_sdk_sqs::Client::new(settings),
            endpoints: EndpointsParameter::from_config(&config, settings),
            forge: ForgeFunction::from_config(&config, settings),
            config,
            parts: Mutex::default(),
        }
    }
}
