//! `wfg secret`: keeps, lists and removes secrets, in a file or in AWS's Parameter Store.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use engine::Engine;
use protocol::mask::SHORTEST;
use protocol::{SecretName, SecretValue, limits};
use server::secrets::{self, SecretsError, SecretsFile};

use crate::args::{SecretCommand, SecretLocationArgs};
use crate::failure::Failure;
use crate::screen::Screen;

/// Carries it out.
pub async fn run(screen: &Screen, command: SecretCommand) -> Result<(), Failure> {
    match command {
        SecretCommand::Set { name, place } => {
            let kept = SecretLocation::of(place)?;
            let value = given()?;
            if value.reveal().len() < SHORTEST {
                screen.eprint(&format!(
                    "a value of less than {SHORTEST} bytes is not hidden in logs: it would be found in everything"
                ));
            }
            kept.set(&name, value).await?;
            screen.print(&format!("secret {name} is set; a job that names it is given it from its next start on\n"))
        }
        SecretCommand::List { place } => {
            let kept = SecretLocation::of(place)?;
            let names = kept.names().await?;
            if names.is_empty() {
                screen.eprint(&format!("there are no secrets in {}", kept.place()));
            }
            screen.print(&names.iter().map(|name| format!("{name}\n")).collect::<String>())
        }
        SecretCommand::Remove { name, place } => {
            let kept = SecretLocation::of(place)?;
            if !kept.remove(&name).await? {
                return Err(Failure::Usage(format!("there is no secret `{name}` in {}.", kept.place())));
            }
            screen.print(&format!("secret {name} is removed; a job that names it fails from now on\n"))
        }
    }
}

/// Opens the file of secrets, if there is one.
pub fn open(path: Option<&Path>) -> Result<Option<SecretsFile>, Failure> {
    path.map(SecretsFile::open).transpose().map_err(usage)
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

/// The value on standard input, without the line end that `echo` adds. It is no argument, which other users could see.
fn given() -> Result<SecretValue, Failure> {
    let refused = |error: String| Failure::Usage(format!("the value can't be used: {error}."));
    let mut text = String::new();
    let most = limits::SECRET as u64 + 3;
    std::io::stdin().take(most).read_to_string(&mut text).map_err(|error| refused(error.to_string()))?;
    let value = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    SecretValue::new(value).map_err(|error| match error {
        // No more than this was read.
        protocol::BadSecret::TooLong(_) => refused(format!("it is over {} bytes", limits::SECRET)),
        error => refused(error.to_string()),
    })
}

/// Where secrets are kept.
enum SecretLocation {
    File(std::path::PathBuf),
    #[cfg(feature = "aws")]
    Stack(String),
}

impl SecretLocation {
    fn of(place: SecretLocationArgs) -> Result<Self, Failure> {
        match place {
            #[cfg(feature = "aws")]
            SecretLocationArgs { stack: Some(stack), .. } => Ok(Self::Stack(stack)),
            #[cfg(not(feature = "aws"))]
            SecretLocationArgs { stack: Some(stack), .. } => Err(Failure::without_aws(&format!("the secrets of {stack}"))),
            SecretLocationArgs { file: Some(file), .. } => Ok(Self::File(file)),
            SecretLocationArgs { .. } => Err(Failure::Usage(
                "where are the secrets kept? Name a file with --file or WFG_SECRETS_FILE, or a stack on AWS with --stack."
                    .to_owned(),
            )),
        }
    }

    fn place(&self) -> String {
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
