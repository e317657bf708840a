//! The server: how it is asked, how often, and how to name it in a hint.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use worker::config::DEFAULT_SERVER_URL;
use worker::retry::Backoff;
use worker::{Client, ClientError};

use crate::failure::Failure;
use crate::screen::say;

/// How long a server that doesn't answer is waited for, by who only watches.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long one that is busy is waited for, by who does something.
const PRESSING: Duration = Duration::from_secs(10);

/// The server that was named.
pub struct Remote {
    /// Its API.
    pub client: Client,
    /// What `wfg` must be told to find it again: nothing, or a flag.
    flag: String,
}

impl Remote {
    /// Nothing is sent yet.
    pub fn new(server: &str, token: Option<String>) -> Result<Self, Failure> {
        let client = Client::new(server, token.filter(|token| !token.trim().is_empty()))?;
        let found_anyway = std::env::var("SERVER_URL").map_or(server == DEFAULT_SERVER_URL, |url| url == server);
        let flag = if found_anyway { String::new() } else { format!(" --server {}", client.server_url()) };
        Ok(Self { client, flag })
    }

    /// A command to type, in backticks: with the server, unless it is found without.
    pub fn hint(&self, command: &str) -> String {
        format!("`wfg{} {command}`", self.flag)
    }
}

/// Calls until there is an answer that stands. For calls that change nothing: a server that is away is waited for, and
/// the person is told.
pub async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let began = Instant::now();
    let mut delays = Backoff::default();
    let mut told = false;
    loop {
        match call().await {
            Err(error) if error.is_transient() && began.elapsed() < PATIENCE => {
                if !told {
                    told = true;
                    say(&format!("{error}; trying again for up to 2 min"));
                }
                sleep(delays.grow()).await;
            }
            answer => {
                if told && answer.is_ok() {
                    say("the server answers again");
                }
                return answer;
            }
        }
    }
}

/// Calls again for a while if the server was reached and was busy, or its answer was lost. For calls that may be
/// repeated.
pub async fn again<T, F>(mut call: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let began = Instant::now();
    let mut delays = Backoff::default();
    loop {
        match call().await {
            Err(error) if error.is_transient() && !never_arrived(&error) && began.elapsed() < PRESSING => {
                sleep(delays.grow()).await;
            }
            answer => return answer,
        }
    }
}

/// Whether there is no such server, which a person wants to know at once.
fn never_arrived(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { source, .. } if source.is_connect())
}
