//! What can be typed.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use protocol::access::Scope;
use protocol::{JobId, LabelSet, OutputName, SecretName, Status, TokenName, WorkflowId};
use worker::Token;
use worker::args::{WorkerArgs, read_token};
use worker::config::DEFAULT_SERVER_URL;

const EXIT_CODES: &str = "\
Exit code: 0 if it went well; 1 if the workflow that was run or watched didn't succeed, or a definition has problems; \
2 if the command couldn't be carried out; 130 if `wfg run` was ended by ctrl-C.

Where output is not a terminal, or NO_COLOR is set, there are no colours.";

/// Runs workflows here, or serves, submits and watches them, and says why they wait.
#[derive(Parser)]
#[command(name = "wfg", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Cli {
    /// The server; may hold user:password
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
    /// Sent as `Authorization: Bearer`; better given by the environment, which other users can't see
    #[arg(long, global = true, env = "WFG_TOKEN", hide_env_values = true, value_parser = read_token, help_heading = "Server")]
    pub token: Option<Token>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Run a workflow here and now, in this directory, without a server
    Run(RunArgs),
    /// Serve the whole engine from this process
    Serve(ServeArgs),
    /// Take jobs from a server and run them
    Worker(Box<WorkerArgs>),
    /// Submit a workflow and run it
    Submit(SubmitArgs),
    /// Show each job of a workflow as it goes, until it ends
    Watch {
        /// The workflow
        id: WorkflowId,
    },
    /// Show a workflow and its jobs
    Status {
        /// The workflow
        id: WorkflowId,
        /// As the server gives it
        #[arg(long)]
        json: bool,
    },
    /// Print a workflow's definition, as submitted
    Definition {
        /// The workflow
        id: WorkflowId,
    },
    /// Say why jobs wait
    Why {
        /// The workflow
        id: WorkflowId,
        /// One of its jobs [default: all that wait]
        job: Option<JobId>,
    },
    /// Print a job's log
    Logs(LogsArgs),
    /// Print what a job gave
    Outputs {
        /// The workflow
        id: WorkflowId,
        /// The job
        job: JobId,
        /// As the server gives it, byte for byte
        #[arg(long)]
        json: bool,
    },
    /// Inside a job: print an output of a job that it needs, byte for byte
    ///
    /// On a terminal a line end follows, elsewhere nothing does. (`$(…)` in a shell drops line ends that the value ends
    /// with.) It asks no server: it reads the file that `UPSTREAM_OUTPUTS` names.
    Output {
        /// A job that this one needs
        job: JobId,
        /// The output's name
        name: OutputName,
    },
    /// Cancel a workflow: nothing of it starts any more, and what runs is told to stop
    Cancel {
        /// The workflow
        id: WorkflowId,
    },
    /// Run a workflow again, or one that was submitted with --no-run
    Rerun {
        /// The workflow
        id: WorkflowId,
        /// Only the jobs that didn't succeed; the others are kept, with their outputs
        #[arg(long)]
        failed: bool,
        /// Show each job as it goes
        #[arg(long, short)]
        watch: bool,
    },
    /// Delete a workflow that isn't running, with its logs and outputs
    Delete {
        /// The workflow
        id: WorkflowId,
    },
    /// List workflows, newest first
    List {
        /// Only those that are queued, running, success, failure or cancelled
        #[arg(long)]
        status: Option<Status>,
        /// How many
        #[arg(long, short = 'n', default_value_t = 20, value_parser = read_limit)]
        limit: usize,
        /// As the server gives it
        #[arg(long)]
        json: bool,
    },
    /// List workers, with their labels and what they do
    Workers {
        /// As the server gives it
        #[arg(long)]
        json: bool,
    },
    /// List the label sets that jobs require, and how many jobs wait in each
    Pools {
        /// As the server gives it
        #[arg(long)]
        json: bool,
    },
    /// Make, list and revoke tokens: who may do what
    Token {
        /// What to do
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Show who did what: submits, cancels, changes of tokens, and what was refused
    Audit {
        /// How many, the newest first
        #[arg(long, short = 'n', default_value_t = 20, value_parser = read_limit)]
        limit: usize,
        /// As the server gives it
        #[arg(long)]
        json: bool,
    },
    /// Keep, list and remove secrets: values that jobs are given by name
    Secret {
        /// What to do
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// Put back what a stack on AWS gave up, once the cause is mended; needs credentials of AWS
    ///
    /// What failed five times goes from the queue STACK-batches-dead to STACK-batches. For each batch of the stream that
    /// STACK-stream-dead names, what it told of is looked at again. It asks AWS and not the server.
    Redrive(RedriveArgs),
    /// Check a definition, without a server; shows all its problems at once
    Validate {
        /// The definition, YAML or JSON; `-` is standard input
        file: String,
    },
}

/// Of `token`.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, once
    Create(Box<NewTokenArgs>),
    /// List the tokens, without their texts
    List {
        /// As the server gives it
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token: within a minute it is refused everywhere
    Revoke {
        /// Its name
        name: TokenName,
    },
}

/// Of `token create`.
#[derive(Args)]
pub struct NewTokenArgs {
    /// What it will be known by
    pub name: TokenName,
    /// What it may be used for: read, submit, work, admin; separated by commas
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', required = true)]
    pub scopes: Vec<Scope>,
    /// The labels that its workers may declare, and its jobs may ask for; separated by commas [default: none]
    #[arg(long, value_name = "LABELS", value_parser = LabelSet::from_comma_separated)]
    pub labels: Option<LabelSet>,
    /// All labels
    #[arg(long, conflicts_with = "labels")]
    pub all_labels: bool,
    /// The secrets that its workers are given, and its jobs may name; separated by commas [default: none]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub secrets: Vec<SecretName>,
    /// All secrets
    #[arg(long, conflicts_with = "secrets")]
    pub all_secrets: bool,
    /// Its workers take only jobs that ask for a label
    #[arg(long)]
    pub exclusive: bool,
    /// How long it is good for, as 12h or 90d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = read_days)]
    pub expires: u64,
    /// Where to make it.
    #[command(flatten)]
    pub place: TokenLocation,
}

/// Where a token is made, if not by asking the server.
#[derive(Args)]
pub struct TokenLocation {
    /// In the table of this stack on AWS, for who has deployed it; needs credentials of AWS
    #[arg(long, value_name = "NAME", group = "place")]
    pub stack: Option<String>,
    /// In this table on AWS, where the stack's name alone doesn't tell which it is
    #[arg(long, value_name = "NAME", group = "place")]
    pub table: Option<String>,
    /// In this file of a `wfg serve` that isn't running
    #[arg(long, value_name = "FILE", group = "place")]
    pub data: Option<PathBuf>,
}

/// Of `secret`.
#[derive(Subcommand)]
pub enum SecretCommand {
    /// Keep a value, read from standard input; the next job that is started is given it
    ///
    /// One line end at the end of the input is left out.
    Set {
        /// The secret's name, which is also the variable that jobs have it in
        name: SecretName,
        /// Where.
        #[command(flatten)]
        place: SecretLocationArgs,
    },
    /// List the names, without the values
    List {
        /// Where.
        #[command(flatten)]
        place: SecretLocationArgs,
    },
    /// Remove a secret: jobs that name it fail from then on
    Remove {
        /// Its name
        name: SecretName,
        /// Where.
        #[command(flatten)]
        place: SecretLocationArgs,
    },
}

/// Where secrets are kept.
#[derive(Args)]
pub struct SecretLocationArgs {
    /// In this file, as `wfg serve --secrets` and `wfg run --secrets` read it; made if it isn't there
    #[arg(long, value_name = "FILE", env = "WFG_SECRETS_FILE")]
    pub file: Option<PathBuf>,
    /// In AWS's Parameter Store, for this stack; needs credentials of AWS
    #[arg(long, value_name = "NAME")]
    pub stack: Option<String>,
}

/// Of `run`.
#[derive(Args)]
pub struct RunArgs {
    /// The definition, YAML or JSON; `-` is standard input
    pub file: String,
    /// A worker that has these labels, separated by commas; may be repeated [default: one for each set of labels that the
    /// file asks for]
    #[arg(long = "worker", value_name = "LABELS", value_parser = LabelSet::from_comma_separated)]
    pub workers: Vec<LabelSet>,
    /// Jobs that each worker runs at a time [default: the number of CPUs]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<NonZeroUsize>,
    /// The secrets that jobs may name: a JSON object in a file that only you can read; `wfg secret set` makes one
    #[arg(long, value_name = "FILE", env = "WFG_SECRETS_FILE")]
    pub secrets: Option<PathBuf>,
    /// Print one JSON object a line for each thing that happens
    #[arg(long)]
    pub json: bool,
}

/// Of `serve`.
#[derive(Args)]
pub struct ServeArgs {
    /// Keep everything in this file; without it everything is gone when this ends
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// The secrets that jobs may name: a JSON object in a file that only you can read; `wfg secret set` makes one
    #[arg(long, value_name = "FILE", env = "WFG_SECRETS_FILE")]
    pub secrets: Option<PathBuf>,
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// Ask for tokens on this machine too; elsewhere they are asked for anyway
    #[arg(long)]
    pub auth: bool,
    /// Ask nobody for a token where other machines can connect, though whoever does may run commands on the workers
    #[arg(long, conflicts_with = "auth")]
    pub insecure_no_auth: bool,
}

/// Of `submit`.
#[derive(Args)]
pub struct SubmitArgs {
    /// The definition, YAML or JSON; `-` is standard input
    pub file: String,
    /// Show each job as it goes; the exit code says whether the workflow succeeded
    #[arg(long, short)]
    pub watch: bool,
    /// Only submit; `wfg rerun` starts it
    #[arg(long, conflicts_with = "watch")]
    pub no_run: bool,
}

/// Of `logs`.
#[derive(Args)]
pub struct LogsArgs {
    /// The workflow
    pub id: WorkflowId,
    /// The job
    pub job: JobId,
    /// Go on as the log grows, until the job ends
    #[arg(long, short)]
    pub follow: bool,
    /// Of this attempt, counted from 0 as in `JOB_ATTEMPT` [default: the latest]
    #[arg(long, value_name = "N")]
    pub attempt: Option<u32>,
}

/// Of `redrive`.
#[derive(Args)]
pub struct RedriveArgs {
    /// The stack's name
    #[arg(long, value_name = "NAME")]
    pub stack: String,
    /// Only say what would be put back
    #[arg(long)]
    pub dry_run: bool,
}

/// Seconds.
fn read_days(text: &str) -> Result<u64, String> {
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()) {
        return days.checked_mul(24 * 60 * 60).ok_or_else(|| format!("{text:?} is too long"));
    }
    let time =
        worker::config::parse_duration(text).map_err(|_| format!("{text:?} is not a time such as 12h or 90d"))?;
    Ok(time.as_secs())
}

fn read_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err("expected a whole number from 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_id_that_can_not_be_one_is_refused_before_anything_is_sent() {
        let error = Cli::try_parse_from(["wfg", "status", "a/b"]).err().expect("refused").to_string();
        assert!(error.contains("workflow id \"a/b\" has the character '/'"), "{error}");
    }

    #[test]
    fn a_worker_can_be_told_its_server_before_or_after_the_command() {
        for args in [["wfg", "--server", "http://x:1", "worker"], ["wfg", "worker", "--server", "http://x:1"]] {
            let Command::Worker(worker) = Cli::try_parse_from(args).expect("good").command else { panic!("a worker") };
            assert_eq!(worker::WorkerConfig::from(*worker).server_url, "http://x:1");
        }
    }

    #[test]
    fn watching_what_is_not_started_is_refused() {
        assert!(Cli::try_parse_from(["wfg", "submit", "f", "--watch", "--no-run"]).is_err());
    }
}
