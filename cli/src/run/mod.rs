//! `wfg run`: a workflow here and now. The engine, its workers and the view in one process; nothing is left of them.

mod events;
mod frame;
mod live;
mod local_workers;

use std::time::Duration;

use engine::Engine;
use memory::Memory;
use protocol::wire::Workflow;
use protocol::{Status, WorkflowId};
use server::{Admission, Server};

use crate::args::RunArgs;
use crate::calls::Remote;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::screen::Screen;
use crate::signals::Signals;
use crate::text::{clean, count};
use crate::watch::{WatchOptions, follow};
use crate::{secret, serve, submit};
use events::Events;
use live::{Live, Notes};
use local_workers::{LocalWorkers, WorkerHandles};

/// The interval of status queries. It is short because the engine is in this process.
const PACE: Duration = Duration::from_millis(100);

/// Runs a workflow to its end. The first ctrl-C cancels it, the second kills what still runs.
pub async fn run(screen: &Screen, args: RunArgs) -> Result<(), Failure> {
    let (source, definition) = submit::checked(screen, &args.file, "nothing was started")?;
    let local_workers = if args.workers.is_empty() {
        LocalWorkers::asked_for(&definition)
    } else {
        LocalWorkers::named(args.workers.clone())
    };
    if let Some(explanation) = local_workers.lacks(&definition) {
        screen.eprint(&explanation);
        return Err(Failure::AlreadyReported);
    }
    // Workers and view say what a person needs to know.
    serve::tell_what_goes_wrong("off");
    let secrets = secret::open(args.secrets.as_deref())?;
    let signals = Signals::catch()?;
    let password = password()?;
    // Others on this machine can reach the port too.
    let auth = Admission::Secret(password.as_str().into());
    let server =
        Server::admitting(([127, 0, 0, 1], 0).into(), secret::with_file(Engine::new(Memory::new()), secrets), auth)
            .await;
    let server = server.map_err(|error| Failure::Usage(format!("can't open a port for the workers: {error}.")))?;
    let remote = Remote::new(&server.url(), Some(password.clone()))?;
    let workflow = submit::send(&remote, &source, &definition, true).await?;
    let id = workflow.id.clone();
    let working = local_workers.start(&server.url(), &password, concurrency(&args));
    let live = Live::on(screen).filter(|_| !args.json);
    let notes = live.as_ref().map(Live::notes).unwrap_or_default();
    let mut run = Run { remote: &remote, id, working, signals, signalled: None, notes };
    let shown = show(&remote, screen, &args, &local_workers, workflow, live);
    let status = run.until_shown(shown).await;
    run.until_nobody_works().await;
    server.stop().await;
    match (run.signalled, status?) {
        (Some(code), _) => Err(Failure::Signalled(code)),
        (None, Status::Success) => Ok(()),
        (None, _) => Err(Failure::AlreadyReported),
    }
}

/// What only this process and its workers know: others on this machine can reach the port too.
fn password() -> Result<String, Failure> {
    let random = || getrandom::u64().map_err(|error| Failure::Usage(format!("no randomness: {error}.")));
    Ok(format!("{:016x}{:016x}", random()?, random()?))
}

fn concurrency(args: &RunArgs) -> usize {
    let cpus = || std::thread::available_parallelism().map_or(2, usize::from);
    args.concurrency.map_or_else(cpus, usize::from)
}

async fn show(
    remote: &Remote,
    screen: &Screen,
    args: &RunArgs,
    local_workers: &LocalWorkers,
    workflow: Workflow,
    live: Option<Live>,
) -> Result<Status, Failure> {
    let manner = WatchOptions { pace: PACE, slowest: PACE, all_outputs: true };
    if args.json {
        let events = Events::default();
        screen.print(&Events::beginning(&workflow, &local_workers.describe(concurrency(args))))?;
        return follow(remote, screen, workflow, events, &manner).await;
    }
    if let Some(live) = live {
        return follow(remote, screen, workflow, live, &manner).await;
    }
    let heading = format!("{}: {}, {local_workers}\n", clean(&workflow.name), count(workflow.jobs.len(), "job"));
    screen.print(&heading)?;
    let progress = Progress::new(&workflow, screen.out);
    follow(remote, screen, workflow, progress, &manner).await
}

/// A workflow that runs, and who may end it early.
struct Run<'a> {
    remote: &'a Remote,
    id: WorkflowId,
    working: WorkerHandles,
    signals: Signals,
    /// The first signal's exit code.
    signalled: Option<u8>,
    notes: Notes,
}

impl Run<'_> {
    /// Shows it to its end, unless it is killed before.
    async fn until_shown(&mut self, shown: impl Future<Output = Result<Status, Failure>>) -> Result<Status, Failure> {
        tokio::pin!(shown);
        loop {
            tokio::select! {
                status = &mut shown => {
                    if status.is_err() {
                        // Nobody sees any more what happens, so it shouldn't.
                        self.cancel().await;
                    }
                    return status;
                }
                code = self.signals.next() => self.signal(code).await,
                error = self.working.failed() => {
                    self.cancel().await;
                    return Err(Failure::Usage(format!("a worker can't work: {error}.")));
                }
            }
            if self.working.is_killed() {
                return Ok(Status::Cancelled);
            }
        }
    }

    /// Waits until no job's process is left.
    async fn until_nobody_works(&mut self) {
        self.working.drain();
        // The view is gone: what is to be said now is said on standard error.
        self.notes = Notes::default();
        loop {
            tokio::select! {
                () = self.working.ended() => return,
                code = self.signals.next() => self.signal(code).await,
            }
        }
    }

    async fn signal(&mut self, code: u8) {
        if self.signalled.replace(self.signalled.unwrap_or(code)).is_some() {
            self.notes.say("killing what still runs");
            self.working.kill().await;
            return;
        }
        self.notes.say("cancelling: what runs is told to stop; once more kills it");
        self.cancel().await;
    }

    async fn cancel(&mut self) {
        // The engine is in this process: a request that fails now would also fail later.
        if let Err(error) = self.remote.client.cancel(&self.id).await {
            self.notes.say(&format!("can't cancel the workflow: {error}"));
        }
        self.working.stop();
    }
}
