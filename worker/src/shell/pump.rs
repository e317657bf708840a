//! Reads a command's two output streams: masks them, logs them, finds outputs in them.

use std::io;
use std::pin::pin;
use std::time::Duration;

use protocol::Outputs;
use protocol::wire::Stream;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::lines::Lines;
use super::outputs::Scanner;
use crate::executor::Failure;
use crate::masks::Masks;
use crate::sink::LogSink;

const BUFFER: usize = 32 * 1024;
/// Once the command has exited, its output is over when it was silent for this long, though somebody holds it open;
const QUIET: Duration = Duration::from_secs(1);
/// or when reading has waited for this long in all,
const WAITED: Duration = Duration::from_secs(5);
/// or brought this much, which is more than the pipes can have held.
const REST: usize = 4 * 1024 * 1024;
/// What is kept of the last line on standard error, for the error's text.
const LAST_LINE: usize = 500;

/// Reads a command's output, in the order of its arrival.
pub(super) struct Pump {
    stdout: Source<ChildStdout>,
    stderr: Source<ChildStderr>,
    scanner: Option<Scanner>,
    log: LogSink,
    /// Also for the last line, which is cut.
    masks: Masks,
    last_stderr: String,
    turn: Stream,
}

/// What was read.
pub(super) struct Pumped {
    /// From standard output, or why it can't be read.
    pub outputs: Result<Outputs, Failure>,
    /// The last line on standard error that isn't blank.
    pub last_stderr: String,
    /// Whether somebody held the output open after the command had exited.
    pub cut: bool,
}

struct Source<R> {
    pipe: Option<R>,
    buffer: Vec<u8>,
    lines: Lines,
}

impl<R: AsyncRead + Unpin> Source<R> {
    fn new(pipe: Option<R>) -> Self {
        Self { pipe, buffer: vec![0; BUFFER], lines: Lines::default() }
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// The next bytes; none at its end.
    async fn read(&mut self) -> usize {
        let Some(pipe) = &mut self.pipe else { return 0 };
        let read: io::Result<usize> = pipe.read(&mut self.buffer).await;
        // A pipe that can't be read has ended.
        let count = read.unwrap_or(0);
        if count == 0 {
            self.pipe = None;
        }
        count
    }

    /// The lines that the bytes just read have ended.
    fn lines(&mut self, count: usize) -> Option<String> {
        if count == 0 { self.lines.finish() } else { self.lines.push(&self.buffer[..count]) }
    }
}

/// What an exited command may still bring.
struct Rest {
    wait: Duration,
    bytes: usize,
}

impl Pump {
    pub fn new(child: &mut Child, log: LogSink, masks: Masks, read_outputs: bool) -> Self {
        Self {
            stdout: Source::new(child.stdout.take()),
            stderr: Source::new(child.stderr.take()),
            scanner: read_outputs.then(Scanner::new),
            log,
            masks,
            last_stderr: String::new(),
            turn: Stream::Stdout,
        }
    }

    /// Reads to the end, or until, after `exited`, nothing more is to be expected.
    pub async fn run(mut self, exited: oneshot::Receiver<()>) -> Pumped {
        let mut exited = pin!(exited);
        let mut rest: Option<Rest> = None;
        while self.stdout.is_open() || self.stderr.is_open() {
            let wait = rest.as_ref().map_or(Duration::MAX, |rest| rest.wait.min(QUIET));
            let began = Instant::now();
            let (stream, count) = tokio::select! {
                read = timeout(wait, self.read()) => match read {
                    Ok(read) => read,
                    Err(_) => break,
                },
                _ = &mut exited, if rest.is_none() => {
                    rest = Some(Rest { wait: WAITED, bytes: REST });
                    continue;
                }
            };
            if let Some(rest) = &mut rest {
                rest.wait = rest.wait.saturating_sub(began.elapsed());
                rest.bytes = rest.bytes.saturating_sub(count);
                if rest.bytes == 0 {
                    break;
                }
            }
            self.take(stream, count).await;
        }
        self.finish().await
    }

    /// The next bytes of either. Nobody can tell which came first if both have some: standard output then begins, and
    /// they take turns, so that neither keeps the other waiting.
    async fn read(&mut self) -> (Stream, usize) {
        let (stdout, stderr) = (&mut self.stdout, &mut self.stderr);
        let (out_open, err_open) = (stdout.is_open(), stderr.is_open());
        match self.turn {
            Stream::Stdout => tokio::select! {
                biased;
                count = stdout.read(), if out_open => (Stream::Stdout, count),
                count = stderr.read(), if err_open => (Stream::Stderr, count),
            },
            Stream::Stderr => tokio::select! {
                biased;
                count = stderr.read(), if err_open => (Stream::Stderr, count),
                count = stdout.read(), if out_open => (Stream::Stdout, count),
            },
        }
    }

    async fn take(&mut self, stream: Stream, count: usize) {
        let lines = match stream {
            Stream::Stdout => {
                self.turn = Stream::Stderr;
                if let Some(scanner) = &mut self.scanner {
                    scanner.push(&self.stdout.buffer[..count]);
                }
                self.stdout.lines(count)
            }
            Stream::Stderr => {
                self.turn = Stream::Stdout;
                self.stderr.lines(count)
            }
        };
        if let Some(lines) = lines {
            let lines = self.masks.push(stream, lines);
            self.write(stream, lines).await;
        }
    }

    async fn write(&mut self, stream: Stream, lines: String) {
        if stream == Stream::Stderr
            && let Some(last) = lines.lines().rev().map(str::trim).find(|line| !line.is_empty())
        {
            self.last_stderr.clear();
            self.last_stderr.push_str(&last[..last.floor_char_boundary(LAST_LINE)]);
        }
        if !lines.is_empty() {
            self.log.write(stream, lines).await;
        }
    }

    async fn finish(mut self) -> Pumped {
        let cut = self.stdout.is_open() || self.stderr.is_open();
        for (stream, lines) in
            [(Stream::Stdout, self.stdout.lines.finish()), (Stream::Stderr, self.stderr.lines.finish())]
        {
            let mut rest = lines.map(|lines| self.masks.push(stream, lines)).unwrap_or_default();
            rest.push_str(&self.masks.finish(stream));
            self.write(stream, rest).await;
        }
        let outputs = self.scanner.map_or_else(|| Ok(Outputs::new()), Scanner::finish);
        Pumped { outputs, last_stderr: self.last_stderr, cut }
    }
}
