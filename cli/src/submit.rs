//! `wfg submit`, `rerun`, `cancel`, `delete`: what changes something.

use client::ClientError;
use protocol::WorkflowId;
use protocol::requests::Only;
use protocol::wire::Workflow;
use workflow::Definition;

use crate::args::SubmitArgs;
use crate::calls::{Remote, retry_write};
use crate::failure::Failure;
use crate::screen::Screen;
use crate::source::{Body, Source};
use crate::text::{clean, count};
use crate::{validate, watch};

/// Checks a definition here, then sends it.
pub async fn run(remote: &Remote, screen: &Screen, args: &SubmitArgs) -> Result<(), Failure> {
    let (source, definition) = checked(screen, &args.file, "nothing was sent")?;
    let workflow = send(remote, &source, &definition, !args.no_run).await.map_err(|error| {
        let ClientError::Refused { details, .. } = &error else { return error.into() };
        match validate::server_refusal(details.as_ref(), &source, screen.err) {
            Some(problems) => {
                screen.eprint(&format!("{problems}, found by {}", remote.client.server_url()));
                Failure::AlreadyReported
            }
            None => error.into(),
        }
    })?;
    if args.watch {
        return watch::run(remote, screen, &workflow.id).await;
    }
    screen.print(&format!("{}\n", workflow.id))?;
    screen.eprint(&next(remote, &workflow, args.no_run));
    Ok(())
}

/// Reads and checks a definition, and says what is wrong with it or worth noting.
pub fn checked(screen: &Screen, file: &str, in_vain: &str) -> Result<(Source, Definition), Failure> {
    let source = Source::read(file)?;
    let definition = source.check().map_err(|problems| {
        screen.eprint(&format!("{}; {in_vain}", validate::refusal(&problems, &source, screen.err)));
        Failure::AlreadyReported
    })?;
    for note in &definition.notes {
        screen.eprint(&format!("note: {}:{note}", source.name));
    }
    Ok((source, definition))
}

/// Submits a checked definition.
pub async fn send(
    remote: &Remote,
    source: &Source,
    definition: &Definition,
    run: bool,
) -> Result<Workflow, ClientError> {
    let body = source.body(definition);
    // With a key of its own a submission whose answer was lost can be sent again and still be one workflow.
    let key = getrandom::u64().ok().map(|random| format!("wfg-{random:016x}"));
    let (client, key) = (&remote.client, key.as_deref());
    let send = || async {
        match &body {
            Body::Yaml(text) => client.submit_yaml(text, run, key).await,
            Body::Json(value) => client.submit_json(value, run, key).await,
        }
    };
    if key.is_some() { retry_write(send).await } else { send().await }
}

fn next(remote: &Remote, workflow: &Workflow, no_run: bool) -> String {
    let (name, jobs) = (clean(&workflow.name), count(workflow.jobs.len(), "job"));
    let id = &workflow.id;
    if no_run {
        format!("submitted {name} ({jobs}); {} starts it", remote.hint(&format!("rerun {id}")))
    } else {
        format!("submitted {name} ({jobs}); {} shows it as it goes", remote.hint(&format!("watch {id}")))
    }
}

/// Starts a new run, or the first.
pub async fn rerun(
    remote: &Remote,
    screen: &Screen,
    id: &WorkflowId,
    failed: bool,
    watch: bool,
) -> Result<(), Failure> {
    remote.client.run(id, failed.then_some(Only::Failed)).await?;
    if watch {
        return watch::run(remote, screen, id).await;
    }
    screen.eprint(&format!("started {id}; {} shows it as it goes", remote.hint(&format!("watch {id}"))));
    Ok(())
}

/// Cancels a workflow.
pub async fn cancel(remote: &Remote, screen: &Screen, id: &WorkflowId) -> Result<(), Failure> {
    retry_write(|| remote.client.cancel(id)).await?;
    let workflow = remote.client.workflow(id).await?;
    let status = workflow.status;
    screen.eprint(&match status {
        status if status.is_final() => format!("{id} has ended: {status}"),
        _ => format!("cancelling {id}: nothing more starts, and what runs is told to stop"),
    });
    Ok(())
}

/// Deletes a workflow.
pub async fn delete(remote: &Remote, screen: &Screen, id: &WorkflowId) -> Result<(), Failure> {
    remote.client.delete(id).await?;
    screen.eprint(&format!("deleted {id}"));
    Ok(())
}
