//! `wfg run`: runs a workflow in this process, with an engine in memory and its own workers. Nothing remains afterwards.

mod events;
mod frame;
mod live;
mod local_workers;

use std::future::pending;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;
use engine::Engine;
use memory::Memory;
use protocol::wire::Workflow;
use protocol::{LabelSet, Status, WorkflowId};
use server::{Admission, Server};
use tokio::time::sleep;

use crate::context::{Context, Remote};
use crate::failure::Failure;
use crate::inputs::InputsArg;
use crate::progress::Progress;
use crate::screen::{Screen, eprint};
use crate::secret::SecretsArg;
use crate::show::Hide;
use crate::signals::Signals;
use crate::text::{clean, count};
use crate::watch::{WatchOptions, follow};
use crate::{secret, serve, submit};
use events::Events;
use live::{Live, Notes};
use local_workers::{LocalWorkers, WorkerHandles};

/// The interval of status queries until the run ends. It is short because the engine is in this process.
const PACE: Duration = Duration::from_millis(100);
/// How long jobs may take to stop before a message of the live view is shown again.
const SOON: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct RunArgs {
    /// The definition, YAML or JSON; `-` is standard input
    file: String,
    #[command(flatten)]
    inputs: InputsArg,
    /// Start a worker with these labels, separated by commas; may be repeated [default: one for each label set that the
    /// file requires]
    #[arg(long = "worker", value_name = "LABELS", value_parser = LabelSet::from_comma_separated)]
    workers: Vec<LabelSet>,
    /// Number of jobs that each worker runs at a time [default: the number of CPUs]
    #[arg(long, value_name = "N", value_parser = parse_concurrency)]
    concurrency: Option<NonZeroUsize>,
    #[command(flatten)]
    secrets: SecretsArg,
    /// Print each event as a line of JSON
    #[arg(long)]
    json: bool,
}

fn parse_concurrency(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a whole number from 1".to_owned())
}

impl RunArgs {
    /// Runs a workflow to its end. The first ctrl-C cancels it, the second kills the jobs that still run.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let screen = &context.screen;
        let (source, definition) = submit::checked(screen, &self.file, "nothing was started")?;
        let inputs = self.inputs.checked(&definition, "nothing was started")?;
        let local_workers = if self.workers.is_empty() {
            LocalWorkers::required_by(&definition)
        } else {
            LocalWorkers::named(self.workers.clone())
        };
        if let Some(explanation) = local_workers.lacks(&definition) {
            eprint(&explanation);
            return Err(Failure::AlreadyReported);
        }
        // The view reports what a person needs to know.
        serve::log_to_stderr("off")?;
        let secrets = self.secrets.open()?;
        if let Some(note) = self.secrets.lacks(&definition)? {
            eprint(&note);
        }
        // Its jobs are more than what it prints.
        screen.make_output_optional();
        let signals = Signals::catch()?;
        // As the first process of a container, this one inherits the orphans of its jobs.
        tokio::spawn(worker::reaper::run());
        let password = password()?;
        // Other users of this machine can reach the port too.
        let auth = Admission::Secret(password.as_str().into());
        if definition.jobs.iter().any(|job| job.settings.checkout.is_some()) {
            eprint("note: `wfg run` checks nothing out; a job with `checkout` begins in this folder");
        }
        let engine = secret::with_file(Engine::new(Memory::new()).without_checkouts(), secrets);
        let server = Server::admitting(([127, 0, 0, 1], 0).into(), engine, auth).await;
        let server = server.map_err(|error| Failure::Usage(format!("can't open a port for the workers: {error}.")))?;
        let remote = Remote::new(&server.url(), Some(password.clone()))?;
        let workflow = submit::send(&remote, &source, &definition, inputs, true).await?;
        let id = workflow.id.clone();
        let workers = local_workers.start(&server.url(), &password, self.concurrency());
        let live = Live::on(screen).filter(|_| !self.json);
        let notes = live.as_ref().map(Live::notes).unwrap_or_default();
        let mut run = Run { remote: &remote, id, workers, signals, signalled: None, notes };
        let status = run.until_ended(self.show(&server, &remote, screen, &local_workers, workflow, live)).await;
        run.until_workers_ended().await;
        server.stop().await;
        match (run.signalled, status?) {
            (Some(code), _) => Err(Failure::Signalled(code)),
            // The events are the result for the program that asked for them.
            (None, Status::Success) => screen.lost().filter(|_| self.json).map_or(Ok(()), Err),
            (None, _) => Err(Failure::AlreadyReported),
        }
    }

    fn concurrency(&self) -> usize {
        let cpus = || std::thread::available_parallelism().map_or(2, usize::from);
        self.concurrency.map_or_else(cpus, usize::from)
    }

    async fn show(
        &self,
        server: &Server,
        remote: &Remote,
        screen: &Screen,
        local_workers: &LocalWorkers,
        workflow: Workflow,
        live: Option<Live>,
    ) -> Result<Status, Failure> {
        let hide = if self.json { Hide::Nothing } else { Hide::Values(self.secrets.masker()?) };
        let options = WatchOptions { pace: PACE, slowest: PACE, all_outputs: true, hide };
        let id = workflow.id.clone();
        let ended = async {
            if server.run_ended(&id).await.is_err() {
                // The next query fails too.
                pending::<()>().await;
            }
        };
        if self.json {
            screen.print(&Events::beginning(&workflow, &local_workers.describe(self.concurrency())))?;
            return follow(remote, screen, workflow, Events, &options, ended).await;
        }
        if let Some(live) = live {
            return follow(remote, screen, workflow, live, &options, ended).await;
        }
        let heading = format!("{}: {}, {local_workers}\n", clean(&workflow.name), count(workflow.jobs.len(), "job"));
        screen.print(&heading)?;
        let progress = Progress::new(&workflow, screen.out);
        follow(remote, screen, workflow, progress, &options, ended).await
    }
}

/// A password that only this process and its workers know.
fn password() -> Result<String, Failure> {
    let random = || getrandom::u64().map_err(|error| Failure::Usage(format!("no randomness: {error}.")));
    Ok(format!("{:016x}{:016x}", random()?, random()?))
}

/// A workflow that runs, and what may end it early.
struct Run<'a> {
    remote: &'a Remote,
    id: WorkflowId,
    workers: WorkerHandles,
    signals: Signals,
    /// The first signal's exit code.
    signalled: Option<u8>,
    notes: Notes,
}

impl Run<'_> {
    /// Shows the workflow until it ends or its workers are killed. Returns its status.
    async fn until_ended(&mut self, shown: impl Future<Output = Result<Status, Failure>>) -> Result<Status, Failure> {
        tokio::pin!(shown);
        loop {
            tokio::select! {
                status = &mut shown => {
                    if status.is_err() {
                        // The rest of the run could not be shown.
                        self.cancel().await;
                    }
                    return status;
                }
                code = self.signals.next() => self.signal(code).await,
                error = self.workers.failed() => {
                    self.cancel().await;
                    return Err(Failure::Usage(format!("a worker can't work: {error}.")));
                }
            }
            if self.workers.is_killed() {
                return Ok(Status::Cancelled);
            }
        }
    }

    /// Waits until no process of a job is left.
    async fn until_workers_ended(&mut self) {
        self.workers.drain();
        let mut erased = self.notes.leave_view();
        loop {
            tokio::select! {
                () = self.workers.ended() => return,
                code = self.signals.next() => self.signal(code).await,
                // The view showed it too briefly or not at all, and it says how to end this wait.
                () = sleep(SOON), if erased.is_some() => eprint(&erased.take().unwrap_or_default()),
            }
        }
    }

    async fn signal(&mut self, code: u8) {
        if self.signalled.replace(self.signalled.unwrap_or(code)).is_some() {
            self.notes.show("killing the jobs that still run");
            self.workers.kill().await;
            return;
        }
        self.notes.show("cancelling: running jobs are stopped; once more kills them");
        self.cancel().await;
    }

    async fn cancel(&mut self) {
        // The engine is in this process: a request that fails now would also fail later.
        if let Err(error) = self.remote.client.cancel(&self.id).await {
            self.notes.show(&format!("can't cancel the workflow: {error}"));
        }
        self.workers.stop();
    }
}

#[cfg(test)]
mod tests {
    use protocol::JobId;
    use protocol::Millis;
    use protocol::wire::{Job, Stream};

    use super::*;
    use crate::changes::{Change, Reporter};

    /// Reports nothing.
    struct Silent;

    impl Reporter for Silent {
        fn job(&mut self, _: &Workflow, _: &Job, _: Change) -> String {
            String::new()
        }
        fn log_line(&mut self, _: &JobId, _: u32, _: Stream, _: &str) -> String {
            String::new()
        }
        fn closing(&mut self, _: &Workflow, _: Millis) -> String {
            String::new()
        }
    }

    #[tokio::test]
    async fn end_that_is_told_is_seen_before_the_next_query_is_due() {
        let server = Server::in_memory(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let remote = Remote::new(&server.url(), None).expect("its address");
        let text = "jobs: {a: {run: 'true'}, b: {needs: a, run: 'true'}}";
        let workflow = remote.client.submit_yaml(text, true, None).await.expect("good");
        let mut workers = LocalWorkers::named(vec![LabelSet::default()]).start(&server.url(), "any", 1);
        let hour = Duration::from_hours(1);
        let options = WatchOptions { pace: hour, slowest: hour, ..WatchOptions::default() };
        let id = workflow.id.clone();
        let ended = async { server.run_ended(&id).await.expect("memory answers") };
        let screen = Screen::detect();
        let followed = follow(&remote, &screen, workflow, Silent, &options, ended);
        let status = tokio::time::timeout(Duration::from_mins(1), followed).await.expect("not in an hour");
        assert_eq!(status.expect("followed"), Status::Success);
        workers.drain();
        workers.ended().await;
    }
}
