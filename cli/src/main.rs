//! `wfg`: runs workflows here, or serves, submits, watches and explains them. Each module uses only those above it.

#[cfg(test)]
mod tests;

mod failure;
mod text;
mod time;

mod screen;
mod signals;
mod table;

mod context;

mod attempts;
mod inputs;
mod source;

mod validate;
mod why;

mod show;

mod cost;

mod audit;
mod changes;
mod check;
mod forge;
mod generate;
mod health;
mod logs;
mod output;
mod redrive;
mod secret;
mod token;

mod stack;

mod progress;
mod serve;

mod watch;

mod submit;

mod graph;
mod run;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use worker::WorkerConfig;

use crate::context::{Context, PageArgs, ServerArgs, WorkflowArg};
use crate::failure::Failure;

/// Faster than the allocator of glibc: see `docs/performance.md`. Packages would have that of musl, which has one lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXIT_CODES: &str = "\
Exit code: 0 on success; 1 if the workflow that was run or watched didn't succeed, if a definition or a stack has problems, \
or if the server isn't healthy; \
2 if the command failed; 130 if ctrl-C ended `wfg run`; 141 if nobody reads its output.

There are no colours if output is not a terminal, TERM is `dumb` or not set, or NO_COLOR is set; CLICOLOR_FORCE=1 forces them.";

/// Runs workflows here, or serves, submits and watches them, and says why they wait.
#[derive(Parser)]
#[command(name = "wfg", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: Command,
}

/// The commands. The arguments of each are in its module.
#[derive(Subcommand)]
enum Command {
    /// Run a workflow here and now, in this directory, without a server
    Run(run::RunArgs),
    /// Serve the whole engine from this process
    Serve(serve::ServeArgs),
    /// Claim jobs from a server and run them
    Worker(Box<WorkerConfig>),
    #[command(flatten)]
    Change(submit::Change),
    /// Show the progress of a workflow until it ends
    Watch(WorkflowArg),
    #[command(flatten)]
    Show(show::Show),
    /// Explain why jobs wait
    Why(why::WhyArgs),
    /// Estimate what a workflow's current run costs on AWS
    ///
    /// The estimate is made from the run's records and from costs that were measured with an emulator, at AWS's list prices.
    Cost(cost::CostArgs),
    /// Print a workflow's graph, for Mermaid or Graphviz, or as a picture
    ///
    /// Jobs with the same name but for its numbers, the same labels, and needs and dependents that look alike are one box, if
    /// there are four or more.
    Graph(graph::GraphArgs),
    /// Print a job's log
    Logs(logs::LogsArgs),
    /// Inside a job: print an output of a job that it needs, byte for byte
    ///
    /// On a terminal a line end follows. (`$(…)` in a shell drops line ends at the end of the value.) The command reads the
    /// file that `UPSTREAM_OUTPUTS` names and sends no request.
    Output(output::OutputArgs),
    /// Create, list and revoke tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Show the audit log: what was done, with which token, and what was refused
    ///
    /// It has every submit, start, cancel and delete of a workflow; every token created or revoked; every link to a forge's
    /// repository added, replaced or removed; every approval of a fork's commit; every branch or tag started by hand; every
    /// commit whose states are no longer sent to its forge; and every refused attempt.
    Audit(PageArgs),
    /// Set, list and remove secrets: values that jobs get by name
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Link repositories of forges: a push starts their workflows, and the commit shows how these went
    #[command(subcommand)]
    Forge(forge::ForgeCommand),
    /// Send the dead letters of a stack on AWS again, after their cause is fixed; needs AWS credentials
    ///
    /// Messages that failed five times go from the queue STACK-batches-dead back to STACK-batches. For each batch of the
    /// stream in STACK-stream-dead, the records that it names are processed again. The command calls AWS, not the server.
    Redrive(redrive::RedriveArgs),
    /// Compare a stack on AWS with the template of this version, only reading; needs AWS credentials
    ///
    /// Prints a line for each property that isn't as the template and the stack's parameters say, and exits with 1 if there is
    /// one. It compares tables, the bucket, queues, functions, event sources, rules, log groups, alarms and the API. With
    /// --as-role it makes calls with each function's role instead: those that the function makes must be allowed, and some
    /// others refused. These calls write and remove a few items, objects and a queue whose names begin with `try-`.
    Check(check::CheckArgs),
    /// Deploy, describe and delete a stack on AWS; needs AWS credentials
    #[command(subcommand)]
    Stack(stack::StackCommand),
    /// Check a definition, without a server; shows all its problems at once
    Validate(validate::ValidateArgs),
    /// Print the JSON Schema of a workflow file, for editors
    Schema,
    /// Check that the server is healthy; exits with 1 if not
    Health,
    /// Print the completions of this command line for a shell
    Completions(generate::CompletionsArgs),
    /// Write the manual pages of this command line to a folder
    Man(generate::ManArgs),
}

impl Command {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Worker(_) => unreachable!("`main` runs it"),
            Self::Run(args) => args.run(context).await,
            Self::Serve(args) => args.run(context).await,
            Self::Change(command) => command.run(context).await,
            Self::Watch(args) => watch::run(context, args).await,
            Self::Show(command) => command.run(context).await,
            Self::Why(args) => args.run(context).await,
            Self::Cost(args) => args.run(context).await,
            Self::Graph(args) => args.run(context).await,
            Self::Logs(args) => args.run(context).await,
            Self::Output(args) => args.run(context),
            Self::Token(command) => command.run(context).await,
            Self::Audit(args) => audit::run(context, args).await,
            Self::Secret(command) => command.run(context).await,
            Self::Forge(command) => command.run(context).await,
            Self::Redrive(args) => args.run(context).await,
            Self::Check(args) => args.run(context).await,
            Self::Stack(command) => command.run(context).await,
            Self::Validate(args) => args.run(context),
            Self::Schema => validate::print_schema(context),
            Self::Health => health::run(context).await,
            Self::Completions(args) => args.run(context, Cli::command()),
            Self::Man(args) => args.run(Cli::command()),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli: Cli = worker::options::parse();
    let result = match cli.command {
        Command::Worker(config) => return worker::program::run(*config).await,
        command => command.run(&Context::new(cli.server)).await,
    };
    let Err(failure) = result else { return ExitCode::SUCCESS };
    if failure.needs_message() {
        screen::eprint(&text::clean_lines(&format!("error: {failure}")));
    }
    ExitCode::from(failure.exit_code())
}
