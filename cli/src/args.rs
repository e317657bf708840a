//! The command line: commands and options.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use client::{DEFAULT_SERVER_URL, Token};
use protocol::access::Scope;
use protocol::{JobId, LabelSet, OutputName, SecretName, Status, TokenName, WorkflowId};
use worker::WorkerConfig;
use worker::config::parse_duration;

const EXIT_CODES: &str = "\
Exit code: 0 on success; 1 if the workflow that was run or watched didn't succeed, or a definition has problems; \
2 if the command failed; 130 if ctrl-C ended `wfg run`.

There are no colours if output is not a terminal or NO_COLOR is set.";

/// Runs workflows here, or serves, submits and watches them, and says why they wait.
#[derive(Parser)]
#[command(name = "wfg", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub struct Cli {
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
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Run a workflow here and now, in this directory, without a server
    Run(RunArgs),
    /// Serve the whole engine from this process
    Serve(ServeArgs),
    /// Claim jobs from a server and run them
    Worker(Box<WorkerConfig>),
    /// Submit a workflow and run it
    Submit(SubmitArgs),
    /// Show the progress of a workflow until it ends
    Watch {
        /// The workflow
        id: WorkflowId,
    },
    /// Show a workflow and its jobs
    Status {
        /// The workflow
        id: WorkflowId,
        /// Print the server's JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a workflow's definition, as submitted
    Definition {
        /// The workflow
        id: WorkflowId,
    },
    /// Explain why jobs wait
    Why {
        /// The workflow
        id: WorkflowId,
        /// One of its jobs [default: all that wait]
        job: Option<JobId>,
    },
    /// Print a job's log
    Logs(LogsArgs),
    /// Print the outputs of a job
    Outputs {
        /// The workflow
        id: WorkflowId,
        /// The job
        job: JobId,
        /// Print the server's JSON
        #[arg(long)]
        json: bool,
    },
    /// Inside a job: print an output of a job that it needs, byte for byte
    ///
    /// On a terminal a line end follows. (`$(…)` in a shell drops line ends at the end of the value.) The command reads the
    /// file that `UPSTREAM_OUTPUTS` names and sends no request.
    Output {
        /// A job that this one needs
        job: JobId,
        /// The output's name
        name: OutputName,
    },
    /// Cancel a workflow: no more of its jobs start, and running jobs are stopped
    Cancel {
        /// The workflow
        id: WorkflowId,
    },
    /// Run a workflow again, or one that was submitted with --no-run
    Rerun {
        /// The workflow
        id: WorkflowId,
        /// Run only the jobs that didn't succeed; the others keep their outputs
        #[arg(long)]
        failed: bool,
        /// Show progress until it ends
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
        /// Number of workflows
        #[arg(long, short = 'n', default_value_t = 20, value_parser = parse_limit)]
        limit: usize,
        /// Print the server's JSON
        #[arg(long)]
        json: bool,
    },
    /// List workers, with their labels and current jobs
    Workers {
        /// Print the server's JSON
        #[arg(long)]
        json: bool,
    },
    /// List the label sets that jobs require, and how many jobs wait in each
    Pools {
        /// Print the server's JSON
        #[arg(long)]
        json: bool,
    },
    /// Create, list and revoke tokens
    Token {
        /// The subcommand
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Show the audit log: submissions, cancellations, changes of tokens, and refused requests
    Audit {
        /// Number of entries, newest first
        #[arg(long, short = 'n', default_value_t = 20, value_parser = parse_limit)]
        limit: usize,
        /// Print the server's JSON
        #[arg(long)]
        json: bool,
    },
    /// Set, list and remove secrets: values that jobs get by name
    Secret {
        /// The subcommand
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// Put back what a stack on AWS gave up, once the cause is mended; needs credentials of AWS
    ///
    /// What failed five times goes from the queue STACK-batches-dead to STACK-batches. For each batch of the stream that
    /// STACK-stream-dead names, the records that it names are processed again. It asks AWS and not the server.
    Redrive(RedriveArgs),
    /// Check a definition, without a server; shows all its problems at once
    Validate {
        /// The definition, YAML or JSON; `-` is standard input
        file: String,
    },
}

/// Subcommands of `wfg token`.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Create a token and print it, once
    Create(Box<NewTokenArgs>),
    /// List the tokens, without their texts
    List {
        /// Print the server's JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token: within a minute it is refused everywhere
    Revoke {
        /// Its name
        name: TokenName,
    },
}

/// Arguments of `wfg token create`.
#[derive(Args)]
pub struct NewTokenArgs {
    /// Name of the token
    pub name: TokenName,
    /// What the token may be used for: read, submit, work, admin; separated by commas
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', required = true)]
    pub scopes: Vec<Scope>,
    /// Labels that its workers may have and its jobs may require; separated by commas [default: none]
    #[arg(long, value_name = "LABELS", value_parser = LabelSet::from_comma_separated)]
    pub labels: Option<LabelSet>,
    /// All labels
    #[arg(long, conflicts_with = "labels")]
    pub all_labels: bool,
    /// Secrets that its workers get and its jobs may name; separated by commas [default: none]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub secrets: Vec<SecretName>,
    /// All secrets
    #[arg(long, conflicts_with = "secrets")]
    pub all_secrets: bool,
    /// Its workers claim only jobs that require a label
    #[arg(long)]
    pub exclusive: bool,
    /// How long the token is valid, such as 12h or 90d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_expiry)]
    pub expires: u64,
    /// Where to create it.
    #[command(flatten)]
    pub place: TokenLocation,
}

/// Where a token is created, if not by the server's API.
#[derive(Args)]
pub struct TokenLocation {
    /// In the table of this stack on AWS; needs AWS credentials
    #[arg(long, value_name = "NAME", group = "place")]
    pub stack: Option<String>,
    /// In this table on AWS, if the stack's name doesn't identify it
    #[arg(long, value_name = "NAME", group = "place")]
    pub table: Option<String>,
    /// In this file of a `wfg serve` that isn't running
    #[arg(long, value_name = "FILE", group = "place")]
    pub data: Option<PathBuf>,
}

/// Subcommands of `wfg secret`.
#[derive(Subcommand)]
pub enum SecretCommand {
    /// Set a secret to the value on standard input; jobs that start later get it
    ///
    /// One line end at the end of the input is dropped.
    Set {
        /// Name of the secret and of the jobs' environment variable
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

/// Where secrets are stored.
#[derive(Args)]
pub struct SecretLocationArgs {
    /// In this file, as `wfg serve --secrets` and `wfg run --secrets` read it; created if missing
    #[arg(long, value_name = "FILE", env = "WFG_SECRETS_FILE")]
    pub file: Option<PathBuf>,
    /// In AWS's Parameter Store, for this stack; needs AWS credentials
    #[arg(long, value_name = "NAME")]
    pub stack: Option<String>,
}

/// Arguments of `wfg run`.
#[derive(Args)]
pub struct RunArgs {
    /// The definition, YAML or JSON; `-` is standard input
    pub file: String,
    /// Start a worker with these labels, separated by commas; may be repeated [default: one for each label set that the
    /// file requires]
    #[arg(long = "worker", value_name = "LABELS", value_parser = LabelSet::from_comma_separated)]
    pub workers: Vec<LabelSet>,
    /// Number of jobs that each worker runs at a time [default: the number of CPUs]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<NonZeroUsize>,
    /// File of secrets that jobs may name: a JSON object, readable only by its owner; `wfg secret set` creates it
    #[arg(long, value_name = "FILE", env = "WFG_SECRETS_FILE")]
    pub secrets: Option<PathBuf>,
    /// Print each event as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `wfg serve`.
#[derive(Args)]
pub struct ServeArgs {
    /// Store everything in this file; without it nothing is kept when the server ends
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// File of secrets that jobs may name: a JSON object, readable only by its owner; `wfg secret set` creates it
    #[arg(long, value_name = "FILE", env = "WFG_SECRETS_FILE")]
    pub secrets: Option<PathBuf>,
    /// Address to listen on; port 0 chooses a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// Require tokens on a loopback address too; other addresses always require them
    #[arg(long)]
    pub auth: bool,
    /// Require no tokens on an address that other machines can reach: anyone who connects can run commands on the workers
    #[arg(long, conflicts_with = "auth")]
    pub insecure_no_auth: bool,
}

/// Arguments of `wfg submit`.
#[derive(Args)]
pub struct SubmitArgs {
    /// The definition, YAML or JSON; `-` is standard input
    pub file: String,
    /// Show progress until it ends; the exit code says whether the workflow succeeded
    #[arg(long, short)]
    pub watch: bool,
    /// Only submit; `wfg rerun` starts it
    #[arg(long, conflicts_with = "watch")]
    pub no_run: bool,
}

/// Arguments of `wfg logs`.
#[derive(Args)]
pub struct LogsArgs {
    /// The workflow
    pub id: WorkflowId,
    /// The job
    pub job: JobId,
    /// Follow the log until the job ends
    #[arg(long, short)]
    pub follow: bool,
    /// The attempt, counted from 0 as in `JOB_ATTEMPT` [default: the latest]
    #[arg(long, value_name = "N")]
    pub attempt: Option<u32>,
}

/// Arguments of `wfg redrive`.
#[derive(Args)]
pub struct RedriveArgs {
    /// The stack's name
    #[arg(long, value_name = "NAME")]
    pub stack: String,
    /// Only show what would be put back
    #[arg(long)]
    pub dry_run: bool,
}

/// Parses a time; returns seconds.
fn parse_expiry(text: &str) -> Result<u64, String> {
    let time = parse_duration(text).map_err(|_| format!("{text:?} is not a time such as 12h or 90d"))?;
    Ok(time.as_secs())
}

fn parse_limit(text: &str) -> Result<usize, String> {
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
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_invalid_id_is_refused_before_a_request_is_sent() {
        let error = Cli::try_parse_from(["wfg", "status", "a/b"]).err().expect("refused").to_string();
        assert!(error.contains("workflow id \"a/b\" has the character '/'"), "{error}");
    }

    #[test]
    fn the_server_of_a_worker_may_be_given_before_or_after_the_command() {
        for args in [["wfg", "--server", "http://x:1", "worker"], ["wfg", "worker", "--server", "http://x:1"]] {
            let Command::Worker(worker) = Cli::try_parse_from(args).expect("good").command else { panic!("a worker") };
            assert_eq!(worker.server_url, "http://x:1");
        }
    }

    #[test]
    fn watch_and_no_run_exclude_each_other() {
        assert!(Cli::try_parse_from(["wfg", "submit", "f", "--watch", "--no-run"]).is_err());
    }
}
