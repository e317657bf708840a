//! `wfg secret`: sets, lists and removes secrets, in a file or in AWS's Parameter Store.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use engine::Engine;
use protocol::mask::{Masker, SHORTEST};
use protocol::text::without_mark;
use protocol::{SecretName, SecretValue, limits};
use serde_json::json;
use server::secrets::{self, SecretsError, SecretsFile};
use workflow::Definition;

use crate::context::Context;
use crate::failure::Failure;
use crate::screen::eprint;
use crate::text::{all_of, shell_word};

/// Subcommands of `wfg secret`.
#[derive(Subcommand)]
pub enum SecretCommand {
    /// Set a secret to the value on standard input; jobs that start later get it
    ///
    /// One line end at the end of the input is dropped.
    Set {
        /// Name of the secret and of the jobs' environment variable
        name: SecretName,
        #[command(flatten)]
        location: LocationArgs,
    },
    /// List the names, without the values
    List {
        #[command(flatten)]
        location: LocationArgs,
    },
    /// Remove a secret: jobs that name it fail from then on
    Remove {
        /// Its name
        name: SecretName,
        #[command(flatten)]
        location: LocationArgs,
    },
}

/// Where secrets are stored.
#[derive(Args)]
pub struct LocationArgs {
    /// In this file, as `wfg serve --secrets` and `wfg run --secrets` read it; created if missing
    #[arg(long, value_name = "FILE", env = "WFG_SECRETS_FILE")]
    file: Option<PathBuf>,
    /// In AWS's Parameter Store, for this stack; needs AWS credentials
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
}

/// The file of secrets of a command that runs jobs.
#[derive(Args)]
pub struct SecretsArg {
    /// File of secrets that jobs may name: a JSON object, readable only by its owner; `wfg secret set` creates it
    #[arg(long, value_name = "FILE", env = "WFG_SECRETS_FILE")]
    secrets: Option<PathBuf>,
}

impl SecretsArg {
    /// Opens the file of secrets, if there is one.
    pub fn open(&self) -> Result<Option<SecretsFile>, Failure> {
        self.secrets.as_deref().map(SecretsFile::open).transpose().map_err(usage)
    }

    /// A note on the secrets that jobs of this definition name and the file doesn't have.
    pub fn lacks(&self, definition: &Definition) -> Result<Option<String>, Failure> {
        let file = self.secrets.as_deref();
        let known = file.map(secrets::all).transpose().map_err(usage)?.unwrap_or_default();
        let named = definition.jobs.iter().flat_map(|job| &job.settings.secrets);
        let missing: BTreeSet<&SecretName> = named.filter(|name| !known.contains_key(*name)).collect();
        let Some(first) = missing.first() else { return Ok(None) };
        let all = all_of(missing.iter().map(|name| format!("`{name}`")));
        let path = shell_word(&file.unwrap_or(Path::new("FILE")).to_string_lossy());
        let set = format!("`wfg secret set {first} --file {path}`");
        Ok(Some(match file {
            Some(_) => format!("note: {path} lacks {all}, and jobs that name a missing secret fail; {set} adds it"),
            None => format!(
                "note: there is no file of secrets, and jobs that name {all} fail; name a file with --secrets or \
                 WFG_SECRETS_FILE; {set} makes one"
            ),
        }))
    }

    /// Masks the values that are in the file now.
    pub fn masker(&self) -> Result<Masker, Failure> {
        let all = self.secrets.as_deref().map(secrets::all).transpose().map_err(usage)?.unwrap_or_default();
        Ok(Masker::new(all.values()))
    }
}

impl SecretCommand {
    /// Runs the subcommand.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let screen = &context.screen;
        match self {
            Self::Set { name, location } => {
                if let Some(problem) = refused_by_every_job(&name) {
                    return Err(Failure::Usage(format!("the secret can't be set: {problem}.")));
                }
                let location = SecretLocation::of(location)?;
                let value = value_on_stdin()?;
                if value.reveal().len() < SHORTEST {
                    eprint(&format!(
                        "a value of less than {SHORTEST} bytes is not hidden in logs: it would be found in everything"
                    ));
                }
                location.set(&name, value).await?;
                screen.print(&format!("secret {name} is set; jobs that name it get it when they next start\n"))
            }
            Self::List { location } => {
                let location = SecretLocation::of(location)?;
                let names = location.names().await?;
                if names.is_empty() {
                    eprint(&format!("there are no secrets in {}", location.name()));
                }
                screen.print(&names.iter().map(|name| format!("{name}\n")).collect::<String>())
            }
            Self::Remove { name, location } => {
                let location = SecretLocation::of(location)?;
                if !location.remove(&name).await? {
                    return Err(Failure::Usage(format!("there is no secret `{name}` in {}.", location.name())));
                }
                screen.print(&format!("secret {name} is removed; a job that names it fails from now on\n"))
            }
        }
    }
}

/// Why no job can have a secret of this name, by the rule that definitions are checked with. A secret of a forge's link is
/// for no job, and may be set.
fn refused_by_every_job(name: &SecretName) -> Option<String> {
    let definition = json!({ "jobs": { "a": { "run": "true", "secrets": [name] } } });
    let problems = workflow::from_json(&definition.to_string()).err()?;
    problems.into_iter().find(|problem| problem.code == "secret_is_set").map(|problem| problem.message)
}

/// The engine with secrets from this file, if there is one.
pub fn with_file<P>(engine: Engine<P>, secrets: Option<SecretsFile>) -> Engine<P> {
    match secrets {
        Some(secrets) => engine.with_secrets(Arc::new(secrets)),
        None => engine,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` gives")]
fn usage(error: SecretsError) -> Failure {
    Failure::usage(&error)
}

/// The value on standard input, without the line end that `echo` adds. An argument could be read by other users.
fn value_on_stdin() -> Result<SecretValue, Failure> {
    let refused = |error: String| Failure::Usage(format!("the value can't be used: {error}."));
    let mut text = String::new();
    // One byte more than a value, its line end and a byte order mark.
    let most = limits::SECRET as u64 + 6;
    std::io::stdin().take(most).read_to_string(&mut text).map_err(|error| refused(error.to_string()))?;
    let text = without_mark(&text);
    let value = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    SecretValue::new(value).map_err(|error| match error {
        // No more than this was read.
        protocol::BadSecret::TooLong(_) => refused(format!("it is over {} bytes", limits::SECRET)),
        error => refused(error.to_string()),
    })
}

/// Where secrets are stored.
enum SecretLocation {
    File(PathBuf),
    #[cfg(feature = "aws")]
    Stack(String),
}

impl SecretLocation {
    fn of(location: LocationArgs) -> Result<Self, Failure> {
        match location {
            #[cfg(feature = "aws")]
            LocationArgs { stack: Some(stack), .. } => Ok(Self::Stack(stack)),
            #[cfg(not(feature = "aws"))]
            LocationArgs { stack: Some(stack), .. } => Err(Failure::without_aws(&format!("the secrets of {stack}"))),
            LocationArgs { file: Some(file), .. } => Ok(Self::File(file)),
            LocationArgs { .. } => Err(Failure::Usage(
                "where are the secrets stored? Name a file with --file or WFG_SECRETS_FILE, or a stack on AWS with --stack."
                    .to_owned(),
            )),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            #[cfg(feature = "aws")]
            Self::Stack(stack) => format!("stack {stack}"),
        }
    }

    #[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "only AWS is waited for"))]
    async fn set(&self, name: &SecretName, value: SecretValue) -> Result<(), Failure> {
        match self {
            Self::File(path) => {
                secrets::change(path, |secrets| secrets.insert(name.clone(), value)).map(drop).map_err(usage)
            }
            #[cfg(feature = "aws")]
            Self::Stack(stack) => on_aws::of(stack).await?.set(name, &value).await.map_err(on_aws::failed),
        }
    }

    #[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "only AWS is waited for"))]
    async fn names(&self) -> Result<Vec<SecretName>, Failure> {
        match self {
            Self::File(path) => Ok(secrets::all(path).map_err(usage)?.into_keys().collect()),
            #[cfg(feature = "aws")]
            Self::Stack(stack) => on_aws::of(stack).await?.names().await.map_err(on_aws::failed),
        }
    }

    /// Whether it was there.
    #[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "only AWS is waited for"))]
    async fn remove(&self, name: &SecretName) -> Result<bool, Failure> {
        match self {
            Self::File(path) => secrets::change(path, |secrets| secrets.remove(name).is_some()).map_err(usage),
            #[cfg(feature = "aws")]
            Self::Stack(stack) => on_aws::of(stack).await?.remove(name).await.map_err(on_aws::failed),
        }
    }
}

#[cfg(feature = "aws")]
mod on_aws {
    use aws::StackError;
    use aws::secrets::StackSecrets;

    use super::Failure;

    /// The secrets of a stack.
    pub async fn of(stack: &str) -> Result<StackSecrets, Failure> {
        StackSecrets::of_stack(stack).await.map_err(failed)
    }

    #[expect(clippy::needless_pass_by_value, reason = "what `map_err` gives")]
    pub fn failed(error: StackError) -> Failure {
        Failure::usage(&error)
    }
}
