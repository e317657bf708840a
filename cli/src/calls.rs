//! The server that commands call: its client, retries, and its name in hints.

use std::time::Duration;

use client::retry::retry_for;
use client::{Client, ClientError, DEFAULT_SERVER_URL};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::screen::eprint;

/// How long calls that only read are retried.
const READ_RETRIES: Duration = Duration::from_mins(2);
/// How long calls that change something are retried.
const WRITE_RETRIES: Duration = Duration::from_secs(10);

/// The server that a command calls.
pub struct Remote {
    /// The client of its API.
    pub client: Client,
    /// The flag with which `wfg` finds this server again; empty if it isn't needed.
    flag: String,
}

impl Remote {
    /// Creates the client; sends nothing.
    pub fn new(server: &str, token: Option<String>) -> Result<Self, Failure> {
        let client = Client::new(server, token.filter(|token| !token.trim().is_empty()))?;
        let is_default = std::env::var("SERVER_URL").map_or(server == DEFAULT_SERVER_URL, |url| url == server);
        let flag = if is_default { String::new() } else { format!(" --server {}", client.server_url()) };
        Ok(Self { client, flag })
    }

    /// A command for the user to type, in backticks, with the flag for the server if it is needed.
    pub fn hint(&self, command: &str) -> String {
        format!("`wfg{} {command}`", self.flag)
    }
}

/// Retries a call that only reads for two minutes, and tells the user when it starts to and when the server answers again.
pub async fn retry_read<T, F>(call: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let began = Instant::now();
    let mut told = false;
    let left = |error: &ClientError| {
        let left = READ_RETRIES.saturating_sub(began.elapsed());
        if !left.is_zero() && !told {
            told = true;
            eprint(&format!("{error}; trying again for up to 2 min"));
        }
        left
    };
    let answer = retry_for(left, call).await;
    if told && answer.is_ok() {
        eprint("the server answers again");
    }
    answer
}

/// Retries a call that may be repeated for ten seconds, if the server was busy or its answer was lost. A server that can't be
/// connected to is an error at once.
pub async fn retry_write<T, F>(call: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let began = Instant::now();
    let left = |error: &ClientError| match error {
        ClientError::Unreachable { source, .. } if source.is_connect() => Duration::ZERO,
        _ => WRITE_RETRIES.saturating_sub(began.elapsed()),
    };
    retry_for(left, call).await
}
