//! The settings of the AWS libraries in a Lambda function, which finds all of them in its environment. A program that loads them from
//! profiles, roles and machines too is larger.

use std::env;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_types::origin::Origin;
use aws_types::sdk_config::{Builder, SharedCredentialsProvider};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

/// The variable with the endpoint of all services. With `_` and a service's name behind it, that of one.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// Finds a service's own endpoint, such as `AWS_ENDPOINT_URL_DYNAMODB`.
#[derive(Debug)]
struct OfService;

impl LoadServiceConfig for OfService {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_uppercase().replace(' ', "_");
        given(&format!("{}_{service}", key.env()))
    }
}

/// The credentials, the region and the endpoints that the environment has. Retries and times are the caller's.
pub(crate) fn settings(behavior: BehaviorVersion) -> Builder {
    let mut settings = SdkConfig::builder()
        .behavior_version(behavior)
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .region(given("AWS_REGION").or_else(|| given("AWS_DEFAULT_REGION")).map(Region::new))
        .service_config(OfService);
    settings.set_endpoint_url(given(ENDPOINT));
    settings.set_use_fips(is_set("AWS_USE_FIPS_ENDPOINT"));
    settings.set_use_dual_stack(is_set("AWS_USE_DUALSTACK_ENDPOINT"));
    // Else a library would replace the retries by its own.
    settings.insert_origin("retry_config", Origin::shared_config());
    settings
}

/// A variable. One that is set but empty counts as absent.
fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_set(name: &str) -> Option<bool> {
    given(name)?.to_ascii_lowercase().parse().ok()
}
