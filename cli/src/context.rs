//! What commands work with: the output, the server, and the arguments that several of them have.

use std::time::Duration;

use clap::Args;
use client::retry::retry_for;
use client::{Client, ClientError, DEFAULT_SERVER_URL, Page, Token};
use protocol::{LabelSet, WorkflowId};
use serde::Serialize;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::screen::{Screen, eprint};

/// How long calls that only read are retried.
const READ_RETRIES: Duration = Duration::from_mins(2);
/// How long calls that change something are retried.
const WRITE_RETRIES: Duration = Duration::from_secs(10);

/// Which server to call, for every command.
#[derive(Args)]
pub struct ServerArgs {
    /// URL of the server; may contain user:password
    #[arg(
        long,
        global = true,
        env = "SERVER_URL",
        default_value = DEFAULT_SERVER_URL,
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Server"
    )]
    pub server: String,
    /// Token, sent as `Authorization: Bearer`; prefer the environment variable, which other users can't read
    #[arg(long, global = true, env = "WFG_TOKEN", hide_env_values = true, help_heading = "Server")]
    pub token: Option<Token>,
}

/// The workflow that a command is about.
#[derive(Args)]
pub struct WorkflowArg {
    /// The workflow
    pub id: WorkflowId,
}

/// How an answer is printed.
#[derive(Args)]
pub struct JsonArg {
    /// Print the server's JSON
    #[arg(long)]
    pub json: bool,
}

/// How much of a list is printed, and how.
#[derive(Args)]
pub struct PageArgs {
    /// Number of entries, newest first
    #[arg(long, short = 'n', default_value_t = 20, value_parser = parse_limit)]
    pub limit: usize,
    #[command(flatten)]
    pub format: JsonArg,
}

impl PageArgs {
    /// Prints a page of a list, and says if it is empty or if there is more.
    pub fn show<T: Serialize>(
        &self,
        context: &Context,
        page: &Page<T>,
        nothing: &str,
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Failure> {
        if page.items.is_empty() && !self.format.json {
            eprint(nothing);
        } else {
            context.show(&self.format, &page.items, |items| text(items))?;
        }
        if page.next.is_some() {
            eprint(&format!("these are the newest {}; --limit shows more", self.limit));
        }
        Ok(())
    }
}

fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err("expected a whole number from 1".to_owned()),
    }
}

/// Where a command prints and which server it calls.
pub struct Context {
    /// The output.
    pub screen: Screen,
    server: ServerArgs,
}

impl Context {
    /// For a command with these options.
    pub fn new(server: ServerArgs) -> Self {
        Self { screen: Screen::detect(), server }
    }

    /// The client of the server; sends nothing.
    pub fn remote(&self) -> Result<Remote, Failure> {
        Remote::new(&self.server.server, self.server.token.as_ref().map(|token| token.0.clone()))
    }

    /// Prints an answer of the server: its JSON, or what `text` makes of it.
    pub fn show<T: Serialize>(
        &self,
        format: &JsonArg,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if !format.json {
            return self.screen.print(&text(answer));
        }
        let json = serde_json::to_string_pretty(answer).map_err(|error| Failure::Output(error.into()))?;
        self.screen.print(&(json + "\n"))
    }
}

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

    /// The command that starts a worker with these labels for this server.
    pub fn worker_command(&self, labels: &LabelSet) -> String {
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!(" --labels {}", labels.to_string().replace(", ", ","))
        };
        format!("wfg{} worker{labels}", self.flag)
    }
}

/// Retries a call that only reads for two minutes, and tells the user when it starts to and when the server answers again.
pub async fn retry_read<T, F>(call: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let began = Instant::now();
    let mut reported = false;
    let left = |error: &ClientError| {
        let left = READ_RETRIES.saturating_sub(began.elapsed());
        if !left.is_zero() && !reported {
            reported = true;
            eprint(&format!("{error}; trying again for up to 2 min"));
        }
        left
    };
    let answer = retry_for(left, call).await;
    if reported && answer.is_ok() {
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
