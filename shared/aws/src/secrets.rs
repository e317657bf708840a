//! Secrets in the Parameter Store, encrypted there: one parameter each, below the stack's path.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_ssm::operation::delete_parameter::DeleteParameterError;
use aws_sdk_ssm::types::ParameterType;
use engine::ports::{SecretStore, Stored};
use futures::future::{BoxFuture, try_join_all};
use protocol::{SecretName, SecretValue, Secrets};

use crate::config::Config;
use crate::error::{corrupt, unavailable};
use crate::stack::{self, StackError};

/// The time for one answer, and how often it is asked for. A claim may read several sets of secrets, and the functions end after 29 s.
const ANSWER_TIME: Duration = Duration::from_secs(2);
const TRIES: u32 = 3;
/// The maximum number of names in one call.
const NAMES: usize = 10;

/// The secrets below one path, for a process that may read them.
pub struct Parameters {
    client: aws_sdk_ssm::Client,
    /// Ends with a slash. A secret's name follows.
    path: String,
}

impl Parameters {
    /// The secrets below the path of this configuration, or `None` if this process may not read secrets.
    #[must_use]
    pub fn from_config(config: &Config, settings: &SdkConfig) -> Option<Self> {
        let path = config.secrets_path.as_deref()?;
        let time = TimeoutConfig::builder().operation_attempt_timeout(ANSWER_TIME).build();
        let retries = RetryConfig::standard().with_max_attempts(TRIES);
        let settings = aws_sdk_ssm::config::Builder::from(settings).timeout_config(time).retry_config(retries).build();
        Some(Self::new(aws_sdk_ssm::Client::from_conf(settings), path))
    }

    fn new(client: aws_sdk_ssm::Client, path: &str) -> Self {
        Self { client, path: format!("{}/", path.trim_end_matches('/')) }
    }

    fn name(&self, secret: &SecretName) -> String {
        format!("{}{secret}", self.path)
    }

    async fn page(&self, names: &[&SecretName]) -> Stored<Vec<(SecretName, SecretValue)>> {
        let names = names.iter().map(|name| self.name(name)).collect();
        // Missing names are listed in the answer and are no error.
        let call = self.client.get_parameters().set_names(Some(names)).with_decryption(true);
        let answer = call.send().await.map_err(|error| unavailable(&error))?;
        let secret = |parameter: aws_sdk_ssm::types::Parameter| {
            let name = parameter.name.unwrap_or_default();
            let secret = name.strip_prefix(&self.path).and_then(|name| SecretName::new(name).ok());
            let secret = secret.ok_or_else(|| corrupt(format!("a parameter that wasn't asked for: {name}")))?;
            let value = SecretValue::new(parameter.value.unwrap_or_default());
            let value = value.map_err(|error| corrupt(format!("the value of parameter {name}: {error}")))?;
            Ok((secret, value))
        };
        answer.parameters.unwrap_or_default().into_iter().map(secret).collect()
    }
}

impl SecretStore for Parameters {
    fn secrets<'a>(&'a self, names: &'a BTreeSet<SecretName>) -> BoxFuture<'a, Stored<Secrets>> {
        Box::pin(async move {
            let names: Vec<&SecretName> = names.iter().collect();
            let pages = try_join_all(names.chunks(NAMES).map(|page| self.page(page))).await?;
            Ok(pages.into_iter().flatten().collect())
        })
    }
}

/// The secrets of a stack, for the person who sets them.
pub struct StackSecrets(Parameters);

impl StackSecrets {
    /// Finds the secrets by the stack's name.
    ///
    /// Needs `ssm:PutParameter`, `ssm:GetParametersByPath` and `ssm:DeleteParameter`.
    ///
    /// # Errors
    /// If there is no region.
    pub async fn of_stack(name: &str) -> Result<Self, StackError> {
        let (settings, _) = stack::settings().await?;
        Ok(Self(Parameters::new(aws_sdk_ssm::Client::new(&settings), &format!("/{name}/secrets/"))))
    }

    /// Stores a value, encrypted with the account's own key for parameters. Replaces an earlier value.
    ///
    /// # Errors
    /// If it can't be stored.
    pub async fn set(&self, secret: &SecretName, value: &SecretValue) -> Result<(), StackError> {
        let name = self.0.name(secret);
        let call = self.0.client.put_parameter().name(&name).value(value.reveal());
        let call = call.r#type(ParameterType::SecureString).overwrite(true);
        call.send().await.map_err(|error| failed("setting", &name, &error))?;
        Ok(())
    }

    /// Returns all names, sorted.
    ///
    /// # Errors
    /// If they can't be read.
    pub async fn names(&self) -> Result<Vec<SecretName>, StackError> {
        let path = self.0.path.trim_end_matches('/');
        let call = self.0.client.get_parameters_by_path().path(path).with_decryption(false);
        let mut pages = call.into_paginator().send();
        let mut names = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("listing", path, &error))?;
            for name in page.parameters.unwrap_or_default().into_iter().filter_map(|parameter| parameter.name) {
                names.extend(name.strip_prefix(&self.0.path).and_then(|name| SecretName::new(name).ok()));
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Removes a secret. Returns true if it existed.
    ///
    /// # Errors
    /// If it can't be removed.
    pub async fn remove(&self, secret: &SecretName) -> Result<bool, StackError> {
        let name = self.0.name(secret);
        match self.0.client.delete_parameter().name(&name).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(DeleteParameterError::is_parameter_not_found) => {
                Ok(false)
            }
            Err(error) => Err(failed("removing", &name, &error)),
        }
    }
}

fn failed(doing: &str, name: &str, error: &(dyn std::error::Error + 'static)) -> StackError {
    StackError::failed(format!("{doing} {name} in AWS's Parameter Store"), error)
}
