//! The function URLs that workers use, from a parameter of the stack.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use engine::ports::Stored;
use protocol::wire::Endpoints;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::{corrupt, unavailable};

/// The parameter is read again after this time. It changes only with the stack.
const KNOWN: Duration = Duration::from_mins(5);

/// Reads the parameter, at most once in five minutes.
pub(crate) struct EndpointsParameter {
    client: aws_sdk_ssm::Client,
    name: String,
    known: Mutex<Option<(Instant, Option<Endpoints>)>>,
}

impl EndpointsParameter {
    /// The parameter that the configuration names. `None` if the stack has no function URLs.
    pub fn from_config(config: &Config, settings: &SdkConfig) -> Option<Self> {
        let name = config.endpoints_parameter.clone()?;
        Some(Self { client: aws_sdk_ssm::Client::new(settings), name, known: Mutex::default() })
    }

    /// The URLs. `None` if the parameter isn't there.
    pub async fn read(&self) -> Stored<Option<Endpoints>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, endpoints)) = known.filter(|(at, _)| at.elapsed() < KNOWN) {
            return Ok(endpoints);
        }
        let answer =
            self.client.get_parameters().names(&self.name).send().await.map_err(|error| unavailable(&error))?;
        let value = answer.parameters.unwrap_or_default().pop().and_then(|parameter| parameter.value);
        let endpoints = value.map(|value| serde_json::from_str(&value)).transpose();
        let endpoints = endpoints.map_err(|error| corrupt(format!("the parameter {}: {error}", self.name)))?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), endpoints.clone()));
        Ok(endpoints)
    }
}
