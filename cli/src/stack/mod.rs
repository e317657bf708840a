//! `wfg stack`: deploys, describes and deletes a stack on AWS.

#[cfg(feature = "aws")]
mod on_aws;
#[cfg(feature = "aws")]
mod shown;

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[cfg(not(feature = "aws"))]
use crate::context::Context;
use crate::context::JsonArg;
#[cfg(not(feature = "aws"))]
use crate::failure::Failure;

/// A pool's queue has the stack's name, `-pool-` and 32 characters. SQS allows 80.
const NAME_LENGTH: usize = 42;

/// Subcommands of `wfg stack`.
#[derive(Subcommand)]
pub enum StackCommand {
    /// Create a stack, or update it; shows CloudFormation's events as they come
    ///
    /// It uploads the functions' packages to the bucket workflow-graph-packages-ACCOUNT-REGION, which it makes if it isn't there.
    /// Packages that are there aren't uploaded again. A change that fails is rolled back. If no token can create tokens, it creates one.
    /// What to export is on standard output, all else on standard error: `eval "$(wfg stack deploy NAME)"`.
    Deploy(DeployArgs),
    /// Show a stack's state, its versions, outputs and last events
    Status(StatusArgs),
    /// Delete a stack and its pools' queues; its tables and buckets are kept
    Delete(DeleteArgs),
}

/// Arguments of `wfg stack deploy`.
#[derive(Args)]
pub struct DeployArgs {
    /// The stack's name
    #[arg(value_parser = stack_name)]
    name: String,
    /// The folder with the packages and their template [default: wfg-stack beside this program]
    #[arg(long, value_name = "FOLDER")]
    package: Option<PathBuf>,
    /// A parameter of the template, such as Stage=prod; may be repeated. Others keep their earlier values
    #[arg(long, value_name = "KEY=VALUE", value_parser = parameter)]
    parameter: Vec<(String, String)>,
}

/// Arguments of `wfg stack status`.
#[derive(Args)]
pub struct StatusArgs {
    /// The stack's name
    name: String,
    /// Number of events
    #[arg(long, short = 'n', default_value_t = 10)]
    events: usize,
    #[command(flatten)]
    format: JsonArg,
}

/// Arguments of `wfg stack delete`.
#[derive(Args)]
pub struct DeleteArgs {
    /// The stack's name
    name: String,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

fn stack_name(text: &str) -> Result<String, String> {
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic());
    if begins && text.len() <= NAME_LENGTH && text.chars().all(|one| one.is_ascii_alphanumeric() || one == '-') {
        return Ok(text.to_owned());
    }
    Err(format!("expected up to {NAME_LENGTH} letters, digits and `-`, a letter first"))
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as Stage=prod")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(not(feature = "aws"))]
impl StackCommand {
    /// Refuses: this program can't reach AWS.
    pub fn run(self, _context: &Context) -> std::future::Ready<Result<(), Failure>> {
        let name = match self {
            Self::Deploy(DeployArgs { name, package: _, parameter: _ })
            | Self::Status(StatusArgs { name, events: _, format: _ })
            | Self::Delete(DeleteArgs { name, yes: _ }) => name,
        };
        std::future::ready(Err(Failure::without_aws(&format!("the stack {name}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_would_not_fit_into_a_queue_name_is_refused() {
        assert_eq!(stack_name("workflow-graph").as_deref(), Ok("workflow-graph"));
        for bad in ["", "1a", "a_b", &"a".repeat(43)] {
            assert!(stack_name(bad).expect_err(bad).contains("42"), "{bad}");
        }
    }

    #[test]
    fn value_of_a_parameter_may_contain_anything() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(parameter("Key=a=b"), pair("Key", "a=b"));
        assert_eq!(parameter("Key="), pair("Key", ""));
        assert!(parameter("Key").is_err());
    }
}
