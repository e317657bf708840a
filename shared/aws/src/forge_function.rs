//! The function `forge` as other functions reach it. It alone may read the tokens of forges and the keys of Apps.

use std::future::ready;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use engine::forge::link::Link;
use engine::forge::names::{CommitId, GitRef, RepositoryKey};
use engine::forge::ports::{
    Asked, Changed, Credential, FailedDelivery, Forge, ForgeError, PullRequest, Repository, RepositoryFile, Shown,
    StateAnswer, StateUpdate,
};
use engine::ports::Stored;
use protocol::{Millis, SecretValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::{unavailable, with_causes};

/// The time for one answer: a request of 10 s to the forge, and a cold start. The checkout of a fork asks two questions, a claim may
/// have looked for jobs for 5 s before, and the functions that ask end after 29 s.
const ANSWER_TIME: Duration = Duration::from_secs(11);

/// What another function asks of the function `forge`. But for a new link, it names the repository alone: the link is read from the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgeQuestion {
    /// The repository of a link that is about to be stored.
    NewRepository(Box<Link>),
    /// A repository.
    Repository(RepositoryKey),
    /// A pull request.
    PullRequest(RepositoryKey, u64),
    /// A credential that reads the repository.
    Credential(RepositoryKey),
}

/// A credential on its way from one function to another. Lambda keeps neither events nor answers of such calls.
#[derive(Serialize, Deserialize)]
pub(crate) struct SentCredential {
    user: String,
    token: String,
    expires_at: Option<Millis>,
}

impl From<Credential> for SentCredential {
    fn from(Credential { user, token, expires_at }: Credential) -> Self {
        Self { user, token: token.reveal().to_owned(), expires_at }
    }
}

impl SentCredential {
    fn received(self) -> Result<Credential, ForgeError> {
        let token =
            SecretValue::new(self.token).map_err(|error| ForgeError::BadAnswer(format!("its token: {error}")))?;
        Ok(Credential { user: self.user, token, expires_at: self.expires_at })
    }
}

/// Invokes the function `forge`.
#[derive(Clone)]
pub(crate) struct ForgeFunction {
    client: aws_sdk_lambda::Client,
    name: String,
}

impl ForgeFunction {
    /// The function that the configuration names. `None` if the stack has no forges.
    pub fn from_config(config: &Config, settings: &SdkConfig) -> Option<Self> {
        let name = config.forge_function.clone()?;
        let time =
            TimeoutConfig::builder().operation_attempt_timeout(ANSWER_TIME).operation_timeout(ANSWER_TIME).build();
        let settings = aws_sdk_lambda::config::Builder::from(settings).timeout_config(time).build();
        Some(Self { client: aws_sdk_lambda::Client::from_conf(settings), name })
    }

    /// Lets it handle what is due, without waiting for it.
    pub async fn wake(&self) -> Stored<()> {
        let call = self.client.invoke().function_name(&self.name).invocation_type(InvocationType::Event);
        call.payload(Blob::new("{}")).send().await.map_err(|error| unavailable(&error))?;
        Ok(())
    }

    /// Asks it, and waits for the answer.
    async fn ask<T: DeserializeOwned>(&self, question: ForgeQuestion) -> Result<T, ForgeError> {
        let no_answer = |text: String| ForgeError::NoAnswer(format!("function {}: {text}", self.name));
        let question = serde_json::to_vec(&question).map_err(|error| no_answer(error.to_string()))?;
        let call = self.client.invoke().function_name(&self.name).payload(Blob::new(question));
        let answer = call.send().await.map_err(|error| no_answer(with_causes(&error)))?;
        if let Some(error) = answer.function_error {
            return Err(no_answer(error));
        }
        let answer = answer.payload.unwrap_or_else(|| Blob::new([])).into_inner();
        // The text of a wrong answer isn't shown, since it may have a token.
        let answer: Result<T, ForgeError> =
            serde_json::from_slice(&answer).map_err(|_| no_answer("its answer has another form".to_owned()))?;
        answer
    }
}

fn not_here<'a, T: Send + 'a>() -> Asked<'a, T> {
    Box::pin(ready(Err(ForgeError::Refused("only the function `forge` asks a forge this".to_owned()))))
}

impl Forge for ForgeFunction {
    fn repository<'a>(&'a self, link: &'a Link) -> Asked<'a, Repository> {
        let is_new = link.key.repository == 0;
        let stored = || ForgeQuestion::Repository(link.key.clone());
        Box::pin(self.ask(if is_new { ForgeQuestion::NewRepository(Box::new(link.clone())) } else { stored() }))
    }

    fn pull_request<'a>(&'a self, link: &'a Link, number: u64) -> Asked<'a, Option<PullRequest>> {
        Box::pin(self.ask(ForgeQuestion::PullRequest(link.key.clone(), number)))
    }

    fn credential<'a>(&'a self, link: &'a Link) -> Asked<'a, Credential> {
        Box::pin(async {
            let sent: SentCredential = self.ask(ForgeQuestion::Credential(link.key.clone())).await?;
            sent.received()
        })
    }

    fn ref_head<'a>(&'a self, _: &'a Link, _: &'a GitRef) -> Asked<'a, Option<CommitId>> {
        not_here()
    }

    fn files<'a>(&'a self, _: &'a Link, _: &'a CommitId) -> Asked<'a, Vec<RepositoryFile>> {
        not_here()
    }

    fn file<'a>(&'a self, _: &'a Link, _: &'a CommitId, _: &'a RepositoryFile) -> Asked<'a, String> {
        not_here()
    }

    fn changed<'a>(&'a self, _: &'a Link, _: &'a CommitId, _: &'a CommitId) -> Asked<'a, Changed> {
        not_here()
    }

    fn changed_by<'a>(&'a self, _: &'a Link, _: u64) -> Asked<'a, Changed> {
        not_here()
    }

    fn send_state<'a>(&'a self, _: &'a Link, _: &'a StateUpdate) -> Asked<'a, StateAnswer> {
        not_here()
    }

    fn shown<'a>(&'a self, _: &'a Link, _: &'a CommitId) -> Asked<'a, Vec<Shown>> {
        not_here()
    }

    fn may_write<'a>(&'a self, _: &'a Link, _: &'a str) -> Asked<'a, bool> {
        not_here()
    }

    fn failed_deliveries<'a>(&'a self, _: &'a Link, _: Millis) -> Asked<'a, Vec<FailedDelivery>> {
        not_here()
    }

    fn redeliver<'a>(&'a self, _: &'a Link, _: &'a str) -> Asked<'a, ()> {
        not_here()
    }
}
