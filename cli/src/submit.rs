//! Commands that change a workflow: `submit`, `rerun`, `cancel`, `delete`.

use clap::{Args, Subcommand};
use client::ClientError;
use protocol::requests::{GivenInputs, Only};
use protocol::wire::Workflow;
use serde_json::json;
use workflow::Definition;

use crate::context::{Context, Remote, WorkflowArg, retry_write};
use crate::failure::Failure;
use crate::inputs::InputsArg;
use crate::screen::{Screen, eprint};
use crate::source::{Body, Source};
use crate::text::{clean, count};
use crate::{validate, watch};

/// Commands that change a workflow.
#[derive(Subcommand)]
pub enum Change {
    /// Submit a workflow and run it
    Submit(SubmitArgs),
    /// Run a workflow again, or one that was submitted with --no-run
    Rerun {
        #[command(flatten)]
        workflow: WorkflowArg,
        /// Run only the jobs that didn't succeed; the others keep their outputs
        #[arg(long)]
        failed: bool,
        #[command(flatten)]
        inputs: InputsArg,
        /// Show progress until it ends
        #[arg(long, short)]
        watch: bool,
    },
    /// Cancel a workflow: no more of its jobs start, and running jobs are stopped
    Cancel(WorkflowArg),
    /// Delete a workflow that isn't running, with its logs and outputs
    Delete(WorkflowArg),
}

impl Change {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Submit(args) => args.run(context).await,
            Self::Rerun { workflow, failed, inputs, watch } => rerun(context, &workflow, failed, &inputs, watch).await,
            Self::Cancel(workflow) => cancel(context, &workflow).await,
            Self::Delete(workflow) => delete(context, &workflow).await,
        }
    }
}

#[derive(Args)]
pub struct SubmitArgs {
    /// The definition, YAML or JSON; `-` is standard input
    file: String,
    #[command(flatten)]
    inputs: InputsArg,
    /// Show progress until it ends; the exit code says whether the workflow succeeded
    #[arg(long, short)]
    watch: bool,
    /// Only submit; `wfg rerun` starts it
    #[arg(long, conflicts_with = "watch")]
    no_run: bool,
}

impl SubmitArgs {
    /// Checks a definition here, then sends it.
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let (remote, screen) = (context.remote()?, &context.screen);
        let (source, definition) = checked(screen, &self.file, "nothing was sent")?;
        let inputs = self.inputs.checked(&definition, "nothing was sent")?;
        let workflow = send(&remote, &source, &definition, inputs, !self.no_run).await.map_err(|error| {
            let ClientError::Refused { details, .. } = &error else { return error.into() };
            let Some(problems) = validate::server_refusal(details.as_ref(), &source, screen.err) else {
                return error.into();
            };
            eprint(&format!("{problems}, found by {}", remote.client.server_url()));
            Failure::AlreadyReported
        })?;
        if self.watch {
            let id = workflow.id.clone();
            return watch::begun(&remote, screen, &id, Some(workflow)).await;
        }
        let printed = screen.print(&format!("{}\n", workflow.id));
        // This names the id too, in case standard output can't be written: the workflow runs all the same.
        eprint(&next_command(&remote, &workflow, self.no_run));
        printed
    }
}

/// Reads and checks a definition, and shows its problems, with their `consequence`, or its notes.
pub fn checked(screen: &Screen, file: &str, consequence: &str) -> Result<(Source, Definition), Failure> {
    let source = Source::read(file)?;
    let definition = source.check().map_err(|problems| {
        eprint(&format!("{}; {consequence}", validate::refusal(&problems, &source, screen.err)));
        Failure::AlreadyReported
    })?;
    for note in &definition.notes {
        eprint(&clean(&format!("note: {}:{note}", source.name)));
    }
    Ok((source, definition))
}

/// Submits a checked definition.
pub async fn send(
    remote: &Remote,
    source: &Source,
    definition: &Definition,
    inputs: GivenInputs,
    run: bool,
) -> Result<Workflow, ClientError> {
    let mut body = source.body(definition);
    if !inputs.is_empty() {
        let definition = match body {
            Body::Yaml(text) => text.into(),
            Body::Json(value) => value,
        };
        body = Body::Json(json!({ "definition": definition, "inputs": inputs }));
    }
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

fn next_command(remote: &Remote, workflow: &Workflow, no_run: bool) -> String {
    let (name, jobs) = (clean(&workflow.name), count(workflow.jobs.len(), "job"));
    let id = &workflow.id;
    let next = if no_run {
        format!("{} starts it", remote.hint(&format!("rerun {id}")))
    } else {
        format!("{} shows it as it goes", remote.hint(&format!("watch {id}")))
    };
    format!("submitted {name} ({jobs}); {next}\nits page: {}", remote.page(id))
}

async fn rerun(
    context: &Context,
    workflow: &WorkflowArg,
    failed: bool,
    inputs: &InputsArg,
    watch: bool,
) -> Result<(), Failure> {
    let given = Some(inputs.given()?).filter(|given| !given.is_empty());
    let (remote, id) = context.workflow(workflow).await?;
    remote.client.run(&id, failed.then_some(Only::Failed), given).await?;
    if watch {
        eprint(&format!("started {id}"));
        return watch::begun(&remote, &context.screen, &id, None).await;
    }
    eprint(&format!("started {id}; {} shows it as it goes", remote.hint(&format!("watch {id}"))));
    Ok(())
}

async fn cancel(context: &Context, workflow: &WorkflowArg) -> Result<(), Failure> {
    let (remote, id) = context.workflow(workflow).await?;
    retry_write(|| remote.client.cancel(&id)).await?;
    // The cancel was accepted. A token with the scope `submit` may cancel, and need not be able to read.
    let status = remote.client.workflow(&id).await.map(|workflow| workflow.status);
    eprint(&match status {
        Ok(status) if status.is_final() => format!("{id} has ended: {status}"),
        Ok(_) => format!("cancelling {id}: no more jobs start, and running jobs are stopped"),
        Err(_) => format!("the cancel of {id} was accepted: no more jobs start, and running jobs are stopped"),
    });
    Ok(())
}

async fn delete(context: &Context, workflow: &WorkflowArg) -> Result<(), Failure> {
    let (remote, id) = context.workflow(workflow).await?;
    remote.client.delete(&id).await?;
    eprint(&format!("deleted {id}"));
    Ok(())
}
