//! The output and the server of a command, and the arguments that several commands have.

use std::fmt::Display;
use std::time::Duration;

use clap::Args;
use client::retry::retry_for;
use client::{Client, ClientError, DEFAULT_SERVER_URL, Page, Token};
use protocol::wire::{Job, Workflow};
use protocol::{JobId, LabelSet, WorkflowId, limits};
use serde::Serialize;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::screen::{Screen, eprint};
use crate::text::{clean, one_of, shell_word};

/// How long calls that only read are retried.
const READ_RETRIES: Duration = Duration::from_mins(2);
/// How long calls that change something are retried.
const WRITE_RETRIES: Duration = Duration::from_secs(10);

/// The length of a whole workflow id: `wf-` and 20 hexadecimal digits.
const WHOLE_ID: usize = 23;

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
    /// The workflow: its id, the beginning of it, or `last` for the newest
    id: WorkflowId,
}

impl WorkflowArg {
    /// For a command whose argument isn't always a workflow.
    pub fn of(id: WorkflowId) -> Self {
        Self { id }
    }
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
    /// Prints a page of a list, or that it is empty, and whether there is more.
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

    /// The client, and the id of the workflow that the argument means.
    pub async fn workflow(&self, arg: &WorkflowArg) -> Result<(Remote, WorkflowId), Failure> {
        let remote = self.remote()?;
        let id = remote.whole_id(&arg.id).await?;
        Ok((remote, id))
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
        let flag = if is_default { String::new() } else { format!(" --server {}", shell_word(client.server_url())) };
        Ok(Self { client, flag })
    }

    /// The workflow that an abbreviation means, among the newest. A text that means none is taken for an id, and the server
    /// says that there is none.
    async fn whole_id(&self, id: &WorkflowId) -> Result<WorkflowId, Failure> {
        let text = id.as_str();
        if text.len() >= WHOLE_ID {
            return Ok(id.clone());
        }
        let is_last = text == "last";
        let page = self.client.list(if is_last { 1 } else { limits::LIST }, None, None).await?;
        let ids = page.items.into_iter().map(|workflow| workflow.id);
        let means = |other: &WorkflowId| {
            let digits = other.as_str().strip_prefix("wf-").unwrap_or_default();
            is_last || other.as_str().starts_with(text) || digits.starts_with(text)
        };
        let found: Vec<WorkflowId> = ids.filter(means).collect();
        match found.as_slice() {
            [] if is_last => Err(Failure::Usage("there are no workflows; `wfg submit` makes one.".to_owned())),
            [] => Ok(id.clone()),
            [only] => Ok(only.clone()),
            _ if found.contains(id) => Ok(id.clone()),
            _ => Err(ambiguous("workflow", text, &found)),
        }
    }

    /// A command for the user to type, in backticks, with the flag for the server if it is needed.
    pub fn hint(&self, command: &str) -> String {
        format!("`wfg{} {command}`", self.flag)
    }

    /// The address of the page that shows a workflow.
    pub fn page(&self, id: &WorkflowId) -> String {
        format!("{}/#/runs/{id}", self.client.server_url().trim_end_matches('/'))
    }

    /// The command that starts a worker with these labels for this server.
    pub fn worker_command(&self, labels: &LabelSet) -> String {
        let labels = labels.to_string().replace(", ", ",");
        let labels = if labels.is_empty() { labels } else { format!(" --labels {}", shell_word(&labels)) };
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

/// The job of a workflow that has this id, or the only one whose id begins so.
pub fn find_job<'a>(workflow: &'a Workflow, id: &JobId) -> Result<Option<&'a Job>, Failure> {
    if let Some(job) = workflow.jobs.iter().find(|job| job.id == *id) {
        return Ok(Some(job));
    }
    let found: Vec<&Job> = workflow.jobs.iter().filter(|job| job.id.as_str().starts_with(id.as_str())).collect();
    match found.as_slice() {
        [] => Ok(None),
        [job] => Ok(Some(job)),
        _ => Err(ambiguous("job", id.as_str(), found.iter().map(|job| &job.id))),
    }
}

fn ambiguous<T: Display>(what: &str, text: &str, ids: impl IntoIterator<Item = T>) -> Failure {
    Failure::Usage(format!("`{}` may be the {what} {}; write more of its id.", clean(text), one_of(ids)))
}
