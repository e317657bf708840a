//! `wfg`: runs workflows here, or serves, submits, watches and explains them. Each module uses only those above it.

mod args;
mod failure;
#[cfg(test)]
mod test_data;
mod text;
mod time;

mod screen;
mod signals;
mod table;

mod attempts;
mod calls;
mod source;
mod validate;
mod why;

mod show;

mod audit;
mod logs;
mod output;
mod progress;
mod redrive;
mod secret;
mod token;

mod serve;
mod watch;

mod submit;

mod run;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::calls::Remote;
use crate::failure::Failure;
use crate::screen::Screen;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Worker(config) = cli.command {
        return worker::program::run(*config).await;
    }
    let Err(failure) = run_command(cli).await else { return ExitCode::SUCCESS };
    if failure.needs_message() {
        screen::eprint(&format!("error: {failure}"));
    }
    ExitCode::from(failure.exit_code())
}

async fn run_command(cli: Cli) -> Result<(), Failure> {
    let screen = Screen::detect();
    let (server, token) = (cli.server, cli.token.map(|token| token.0));
    let remote = || Remote::new(&server, token.clone());
    match cli.command {
        Command::Run(args) => run::run(&screen, args).await,
        Command::Serve(args) => serve::run(&screen, &args).await,
        Command::Worker(_) => unreachable!("handled before"),
        Command::Secret { command } => secret::run(&screen, command).await,
        Command::Redrive(args) => redrive::run(&screen, &args).await,
        Command::Validate { file } => validate::run(&screen, &file),
        Command::Submit(args) => submit::run(&remote()?, &screen, &args).await,
        Command::Watch { id } => watch::run(&remote()?, &screen, &id).await,
        Command::Status { id, json } => show::status(&remote()?, &screen, &id, json).await,
        Command::Definition { id } => show::definition(&remote()?, &screen, &id).await,
        Command::Why { id, job } => why::run(&remote()?, &screen, &id, job.as_ref()).await,
        Command::Logs(args) => logs::run(&remote()?, &screen, &args).await,
        Command::Output { job, name } => output::run(&screen, &job, &name),
        Command::Outputs { id, job, json } => show::outputs(&remote()?, &screen, &id, &job, json).await,
        Command::Cancel { id } => submit::cancel(&remote()?, &screen, &id).await,
        Command::Rerun { id, failed, watch } => submit::rerun(&remote()?, &screen, &id, failed, watch).await,
        Command::Delete { id } => submit::delete(&remote()?, &screen, &id).await,
        Command::List { status, limit, json } => show::list(&remote()?, &screen, status, limit, json).await,
        Command::Workers { json } => show::workers(&remote()?, &screen, json).await,
        Command::Pools { json } => show::pools(&remote()?, &screen, json).await,
        Command::Token { command } => token::run(remote, &screen, command).await,
        Command::Audit { limit, json } => audit::run(&remote()?, &screen, limit, json).await,
    }
}
