//! A server and workers in this process, and the built `wfg` beside it.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod process;

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use engine::clock::ManualClock;
use memory::Memory;
use server::Server;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use worker::protocol::{LabelSet, WorkerId};
use worker::{Worker, WorkerConfig};

/// Nothing here takes so long unless it is broken.
const PATIENCE: Duration = Duration::from_mins(1);

/// An empty engine, and a directory for what a test needs.
pub struct World {
    pub server: Server,
    clock: Arc<ManualClock>,
    pub dir: TempDir,
    /// Of the workers that are started next; what they run learns of a cancel within a third of it.
    pub lease_ttl_secs: u32,
    workers: Vec<JoinHandle<()>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.workers.iter().for_each(JoinHandle::abort);
    }
}

impl World {
    pub async fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let engine = Engine::new(Memory::new()).with_clock(clock.clone());
        let server = Server::start("127.0.0.1:0".parse().expect("an address"), engine).await.expect("a free port");
        Self { server, clock, dir: TempDir::new().expect("a directory"), lease_ttl_secs: 6, workers: Vec::new() }
    }

    /// Moves the engine's clock forward.
    pub async fn advance(&self, time: Duration) {
        self.clock.advance(time);
        self.server.on_clock_moved().await;
    }

    /// With a definition in the directory.
    pub async fn with(file: &str, text: &str) -> Self {
        let world = Self::new().await;
        world.write(file, text);
        world
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).expect("written");
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// A worker that runs its jobs in the directory.
    pub fn worker(&mut self, id: &str, labels: &str) {
        let worker = Worker::new(WorkerConfig {
            server_url: self.server.url(),
            worker_id: WorkerId::new(id).expect("a good id"),
            labels: LabelSet::from_comma_separated(labels).expect("good labels"),
            lease_ttl_secs: Some(self.lease_ttl_secs),
            poll: Duration::from_millis(20),
            log_flush: Duration::from_millis(20),
            workdir: self.dir.path().to_owned(),
            grace: Duration::from_millis(200),
            ..WorkerConfig::default()
        });
        self.workers.push(tokio::spawn(async move { worker.run().await.expect("a worker that works") }));
    }

    /// `wfg` in the directory, told where the server is.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = wfg(args);
        command.env("SERVER_URL", self.server.url()).current_dir(self.dir.path());
        command
    }

    /// Runs `wfg` to its end.
    pub async fn run(&self, args: &[&str]) -> Done {
        finish(self.command(args), "").await
    }

    /// Runs `wfg`, which must go well, for what it prints.
    pub async fn good(&self, args: &[&str]) -> String {
        let done = self.run(args).await;
        assert_eq!(done.code, Some(0), "wfg {args:?}\n{}\n{}", done.out, done.err);
        done.out
    }

    /// Submits a file of the directory; its id.
    pub async fn submit(&self, file: &str) -> String {
        self.good(&["submit", file]).await.trim().to_owned()
    }

    /// Waits until the server has heard of these workers.
    pub async fn until_known(&self, workers: &[&str]) {
        let known = async {
            loop {
                let listed = self.run(&["workers"]).await.out;
                if workers.iter().all(|worker| listed.contains(worker)) {
                    return;
                }
            }
        };
        timeout(PATIENCE, known).await.expect("workers register");
    }

    /// Watches until the workflow has ended.
    pub async fn ended(&self, id: &str) {
        let done = finish_within(Duration::from_mins(5), self.command(&["watch", id]), "").await;
        assert!(matches!(done.code, Some(0 | 1)), "{}\n{}", done.out, done.err);
    }
}

/// `wfg` with an environment that says nothing to it.
pub fn wfg(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wfg"));
    command
        .args(args)
        .env_remove("SERVER_URL")
        .env_remove("WFG_TOKEN")
        .env_remove("WFG_SECRETS_FILE")
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .env_remove("RUST_LOG")
        .kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a finished `wfg` said.
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub async fn finish(command: Command, input: &str) -> Done {
    finish_within(PATIENCE, command, input).await
}

pub async fn finish_within(patience: Duration, mut command: Command, input: &str) -> Done {
    command.stdin(Stdio::piped());
    let mut child = command.spawn().expect("wfg is built");
    let mut stdin = child.stdin.take().expect("piped");
    // Who reads no input may have ended by now.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = timeout(patience, child.wait_with_output()).await.expect("wfg ends").expect("wfg ran");
    let text = |bytes| String::from_utf8(bytes).expect("wfg writes UTF-8");
    Done { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A `wfg` that runs.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub seen: Vec<String>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("wfg is built");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line with this text.
    pub async fn until(&mut self, text: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?}, but {:#?}", self.seen));
            let Some(line) = line.expect("readable") else { panic!("ended without {text:?}: {:#?}", self.seen) };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits until `wfg serve` listens; its URL.
    pub async fn url(&mut self) -> String {
        self.until("wfg serves http://").await.trim_start_matches("wfg serves ").to_owned()
    }

    /// As ctrl-C does.
    pub async fn interrupt(&self) {
        self.signal("INT").await;
    }

    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().await.expect("kill");
        assert!(status.success());
    }

    /// Its exit, and all that it printed.
    pub async fn ends(mut self) -> (ExitStatus, String) {
        let all = async {
            while let Some(line) = self.lines.next_line().await.expect("readable") {
                self.seen.push(line);
            }
            self.child.wait().await.expect("it ran")
        };
        let status = timeout(PATIENCE, all).await.expect("wfg ends");
        (status, self.seen.join("\n"))
    }

    /// Its exit and what it said on standard error.
    pub async fn end(mut self) -> (ExitStatus, String) {
        let stderr = self.child.stderr.take();
        let mut said = String::new();
        let all = async {
            while self.lines.next_line().await.expect("readable").is_some() {}
            if let Some(mut stderr) = stderr {
                stderr.read_to_string(&mut said).await.expect("UTF-8");
            }
            self.child.wait().await.expect("it ran")
        };
        let status = timeout(PATIENCE, all).await.expect("wfg ends");
        (status, said)
    }
}

/// Fails unless the texts come in this order, each in a line after the one before.
pub fn in_order(output: &str, texts: &[&str]) {
    let mut lines = output.lines();
    for text in texts {
        assert!(lines.any(|line| line.contains(text)), "{text:?} isn't there in its place:\n{output}");
    }
}
