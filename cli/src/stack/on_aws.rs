//! The commands on AWS.

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};

use aws::deploy::{Change, Package, Stacks, Step};
use aws::{Stack, StackError};
use engine::ports::{AuditStore, TokenStore};
use serde_json::json;

use super::{DeleteArgs, DeployArgs, StackCommand, StatusArgs, shown};
use crate::context::Context;
use crate::failure::Failure;
use crate::screen::{Screen, eprint};
use crate::text::{clean, count};
use crate::{time, token};

/// The folder with the packages in a release.
const PACKAGES: &str = "wfg-stack";

impl StackCommand {
    /// Runs the subcommand.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let stacks = Stacks::open(client::Http::new()).await.map_err(usage)?;
        match self {
            Self::Deploy(args) => args.run(context, &stacks).await,
            Self::Status(args) => args.run(context, &stacks).await,
            Self::Delete(args) => args.run(context, &stacks).await,
        }
    }
}

impl DeployArgs {
    async fn run(self, context: &Context, stacks: &Stacks) -> Result<(), Failure> {
        let folder = self.package.map_or_else(packages, Ok)?;
        let package = Package::open(&folder).map_err(usage)?;
        let given = self.parameter.into_iter().collect();
        let mut told = |step: Step| tell(&context.screen, &self.name, &step);
        let deployed = stacks.deploy(&self.name, &package, &given, &mut told).await;
        let (stack, change) = deployed.map_err(usage)?;
        eprint(&format!("{}: {} ({})", stack.name, shown::change(change), stack.status));
        let store = stacks.access(&stack).await.map_err(usage)?;
        exports(context, &stack, change, &store).await
    }
}

/// Prints what to export, with the first token if there is none yet.
async fn exports<S: TokenStore + AuditStore>(
    context: &Context,
    stack: &Stack,
    change: Change,
    store: &S,
) -> Result<(), Failure> {
    let url = stack.outputs.get("ApiUrl").map_or("", String::as_str);
    let (first, recorded) = match token::first_in_store(store, "wfg stack deploy").await? {
        None => (None, Ok(())),
        Some((created, recorded)) => (Some(created), recorded),
    };
    if let Some(created) = &first {
        let until = time::utc(created.info.expires_at_ms);
        let name = &created.info.name;
        eprint(&format!("token {name}, good until {until}; this is the only time it is shown:"));
    } else if change != Change::Nothing {
        eprint("a token exists that can create others; `wfg token create` makes them");
    }
    context.screen.print(&shown::exports(url, first.as_ref().map(|created| created.token.as_str())))?;
    recorded
}

/// The folder with the packages that came with this program.
fn packages() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe().and_then(std::fs::canonicalize);
    let program = program.map_err(|error| Failure::usage(&format!("this program's place is unknown: {error}")))?;
    let folder = program.parent().unwrap_or(Path::new("."));
    let places = [folder.join(PACKAGES), folder.join("../share").join(PACKAGES)];
    places.iter().find(|place| place.is_dir()).cloned().ok_or_else(|| {
        Failure::Usage(format!(
            "there are no packages of the functions in {}. A release has them in its folder {PACKAGES}; from source, `cargo xtask \
             package` makes them. Then name the folder: --package target/package.",
            places[0].display()
        ))
    })
}

impl StatusArgs {
    async fn run(self, context: &Context, stacks: &Stacks) -> Result<(), Failure> {
        let stack = stacks.get(&self.name).await.map_err(usage)?;
        let events = stacks.last_events(&stack, self.events).await.map_err(usage)?;
        let all = json!({ "stack": stack, "events": events });
        context.show(&self.format, &all, |_| shown::status(&stack, &events, context.screen.out))
    }
}

impl DeleteArgs {
    async fn run(self, context: &Context, stacks: &Stacks) -> Result<(), Failure> {
        let stack = stacks.get(&self.name).await.map_err(usage)?;
        if !self.yes {
            ask(&stack.name, stacks.region())?;
        }
        let mut told = |step: Step| tell(&context.screen, &stack.name, &step);
        let kept = stacks.delete(&stack, &mut told).await.map_err(usage)?;
        let gone = format!("{} is deleted; {} kept:\n", stack.name, count(kept.len(), "resource"));
        let kept = kept.iter().map(|one| format!("  {} {} ({})\n", one.kind, one.physical, one.resource));
        context.screen.print(&(gone + &kept.map(|line| clean(line.trim_end()) + "\n").collect::<String>()))
    }
}

/// Asks for the name on a terminal. Elsewhere the caller must have said yes.
fn ask(name: &str, region: &str) -> Result<(), Failure> {
    if !stdin().is_terminal() {
        return Err(Failure::Usage(format!("deleting {name} must be confirmed: add --yes.")));
    }
    eprint(&format!(
        "This deletes the stack {name} in {region}: its API, functions and queues. Its tables and buckets are kept."
    ));
    eprint("Type its name to go on:");
    let mut answer = String::new();
    stdin().read_line(&mut answer).map_err(|error| Failure::usage(&error))?;
    if answer.trim() == name {
        Ok(())
    } else {
        Err(Failure::Usage("that is another name; nothing is changed.".to_owned()))
    }
}

/// Tells what happens, on standard error.
fn tell(screen: &Screen, stack: &str, step: &Step) {
    if let Some(line) = shown::step(stack, step, screen.err) {
        eprint(&line);
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` gives")]
fn usage(error: StackError) -> Failure {
    Failure::usage(&error)
}
