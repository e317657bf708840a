//! `wfg forge`: links repositories of forges, whose pushes start workflows.

use std::path::Path;

use clap::{Args, Subcommand};
use protocol::LinkName;
use protocol::forge::{ApproveCommit, DeliveryInfo, LinkInfo, Received, StartRef};

use crate::context::{Context, JsonArg, PageArgs};
use crate::failure::Failure;
use crate::screen::{Paint, eprint};
use crate::source::Source;
use crate::table::Table;
use crate::text::clean;
use crate::time;

/// Subcommands of `wfg forge`.
#[derive(Subcommand)]
pub enum ForgeCommand {
    /// Link a repository, or replace its link
    ///
    /// FILE says which repository, how requests to the forge are authorized, and what its runs may ask for. The secrets that it names
    /// must exist. Afterwards add a webhook at the forge, with the address that is printed and the webhook's secret.
    Add(AddArgs),
    /// List the links
    List(JsonArg),
    /// Add a link again as it is stored: the forge is asked for the repository, so a token or App that no longer works is found
    Check {
        #[command(flatten)]
        link: LinkArg,
    },
    /// List what the forge delivered in the last 30 days, and what became of it
    Deliveries {
        #[command(flatten)]
        link: LinkArg,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Remove a link: its deliveries are refused from then on
    Remove {
        #[command(flatten)]
        link: LinkArg,
    },
    /// Let one commit of a pull request from a fork run
    ///
    /// Read the commit first: it runs commands on your workers. A commit that is pushed later needs another approval.
    Approve {
        /// The repository and the pull request, such as acme/app#12
        pull_request: String,
        /// The full id of the commit
        commit: String,
    },
    /// Start what a push to a branch or tag would start
    Start {
        /// The repository, such as acme/app
        repository: String,
        /// The branch or tag: main, or its full name such as refs/tags/v1
        #[arg(value_name = "REF")]
        name: String,
        /// Start only if it is at this commit
        #[arg(long)]
        commit: Option<String>,
    },
}

/// Arguments of `wfg forge add`.
#[derive(Args)]
pub struct AddArgs {
    /// The link's file; `-` is standard input
    file: String,
    /// Name of the link, which is part of the webhook's address [default: the file's name]
    #[arg(long)]
    link: Option<LinkName>,
}

/// The link that a command is about.
#[derive(Args)]
pub struct LinkArg {
    /// The link's name, or the repository's, such as acme/app
    link: String,
}

impl ForgeCommand {
    /// Runs the subcommand.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.remote()?.client;
        match self {
            Self::Add(args) => args.run(context).await,
            Self::List(format) => {
                let links = client.links().await?;
                if links.is_empty() && !format.json {
                    eprint("no repository is linked; `wfg forge add FILE` links one");
                    return Ok(());
                }
                context.show(&format, &links, |links| list_text(links, context.screen.out))
            }
            Self::Check { link } => {
                let link = found(context, &link.link).await?;
                let again = client.put_link(&link.name, &link.file).await?;
                context.screen.print(&format!("{} answers for {}\n", again.forge, clean(&again.repository)))
            }
            Self::Deliveries { link, page } => {
                let name = found(context, &link.link).await?.name;
                let listed = client.deliveries(&name, page.limit, None).await?;
                page.show(context, &listed, "nothing was delivered yet", |listed| {
                    deliveries_text(listed, context.screen.out)
                })
            }
            Self::Remove { link } => {
                let link = found(context, &link.link).await?;
                client.remove_link(&link.name, Some(&link.repository)).await?;
                context.screen.print(&format!("{} is not linked any more\n", clean(&link.repository)))
            }
            Self::Approve { pull_request, commit } => {
                let (repository, number) = pull_request_of(&pull_request)?;
                let link = found(context, repository).await?;
                let repository = Some(link.repository);
                let answer =
                    client.approve(&link.name, &ApproveCommit { repository, pull_request: number, commit }).await?;
                context.screen.print(&said(&answer, "the commit is approved"))
            }
            Self::Start { repository, name, commit } => {
                let link = found(context, &repository).await?;
                let name = full_name(&name);
                let start = StartRef { repository: Some(link.repository), name, commit };
                let answer = client.start_ref(&link.name, &start).await?;
                context.screen.print(&said(&answer, "it is started"))
            }
        }
    }
}

impl AddArgs {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let text = Source::read(&self.file)?.text;
        let name = match self.link {
            Some(name) => name,
            None => name_of(&self.file)?,
        };
        let link = context.remote()?.client.put_link(&name, &text).await?;
        let mut said = format!("{} is linked as {}\n", clean(&link.repository), link.name);
        if let Some(hook) = &link.hook {
            said.push_str(&format!(
                "add a webhook at the forge: {hook}, content type application/json, with the webhook's secret\n"
            ));
        }
        context.screen.print(&said)
    }
}

/// The name of a link, from its file's name.
fn name_of(file: &str) -> Result<LinkName, Failure> {
    let stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    LinkName::new(stem)
        .map_err(|error| Failure::Usage(format!("the file's name is no name of a link: {error}; use --link.")))
}

/// The link of this name, or of the repository of this name.
async fn found(context: &Context, asked: &str) -> Result<LinkInfo, Failure> {
    let mut links = context.remote()?.client.links().await?;
    links.retain(|link| link.name.as_str() == asked || link.repository == asked);
    match links.len() {
        1 => Ok(links.remove(0)),
        0 => Err(Failure::Usage(format!(
            "neither a link nor a linked repository is named {asked:?}; `wfg forge list` shows them."
        ))),
        _ => {
            let names: Vec<String> = links.iter().map(|link| clean(&link.repository)).collect();
            Err(Failure::Usage(format!("{asked:?} is {}; name one of them.", names.join(", "))))
        }
    }
}

/// `acme/app#12`.
fn pull_request_of(text: &str) -> Result<(&str, u64), Failure> {
    let parts = text.rsplit_once('#').and_then(|(repository, number)| Some((repository, number.parse().ok()?)));
    parts.ok_or_else(|| Failure::Usage(format!("{text:?} is no pull request such as acme/app#12.")))
}

/// The full name of a ref: a name without `refs/` is a branch.
fn full_name(name: &str) -> String {
    if name.starts_with("refs/") { name.to_owned() } else { format!("refs/heads/{name}") }
}

fn said(answer: &Received, done: &str) -> String {
    match answer {
        Received::Delivery(id) => format!("{done}; `wfg forge deliveries` shows what becomes of it ({id})\n"),
        Received::Ignored(reason) => format!("nothing to do: {}\n", clean(reason)),
    }
}

fn list_text(links: &[LinkInfo], paint: Paint) -> String {
    let mut table = Table::new(["LINK", "FORGE", "REPOSITORY", "SECRETS", "SINCE"]);
    for link in links {
        let secrets: Vec<&str> = link.secrets.iter().map(protocol::SecretName::as_str).collect();
        table.row([
            link.name.as_str().into(),
            link.forge.as_str().into(),
            link.repository.as_str().into(),
            secrets.join(",").into(),
            time::utc(link.linked_at_ms).into(),
        ]);
    }
    table.render(paint)
}

fn deliveries_text(deliveries: &[DeliveryInfo], paint: Paint) -> String {
    let mut table = Table::new(["AT", "EVENT", "REF", "COMMIT", "STATE", "WORKFLOWS"]);
    for one in deliveries {
        let commit = one.commit.as_deref().unwrap_or_default();
        let workflows: Vec<&str> = one.workflows.iter().map(protocol::WorkflowId::as_str).collect();
        table.row([
            time::utc(one.at_ms).into(),
            one.event.as_str().into(),
            one.name.as_deref().unwrap_or("-").into(),
            commit[..commit.len().min(12)].into(),
            one.state.as_str().into(),
            workflows.join(",").into(),
        ]);
        if let Some(reason) = &one.reason {
            table.note(reason.as_str());
        }
    }
    table.render(paint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_request_names_its_repository_and_number() {
        assert_eq!(pull_request_of("acme/app#12").expect("one"), ("acme/app", 12));
        for bad in ["acme/app", "acme/app#", "acme/app#x", "#"] {
            assert!(pull_request_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn name_without_prefix_is_a_branch() {
        assert_eq!(full_name("main"), "refs/heads/main");
        assert_eq!(full_name("refs/tags/v1"), "refs/tags/v1");
    }

    #[test]
    fn link_is_named_after_its_file() {
        assert_eq!(name_of("some/acme.yml").expect("a name").as_str(), "acme");
        assert!(name_of("a b.yml").is_err());
    }
}
