//! Reads a command's two output streams: masks them, logs them, finds outputs in them.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use protocol::Outputs;
use protocol::mask::{MaskStream, Masker};
use protocol::wire::Stream;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::lines::Lines;
use super::outputs::Scanner;
use crate::executor::Failure;
use crate::sink::LogSink;

const BUFFER: usize = 32 * 1024;
/// A process of another group may keep the pipe open after the command has exited and its group is gone. Then reading ends
/// when it has waited for this time in total, or after [`REST`].
const WAIT: Duration = Duration::from_secs(1);
/// Number of bytes that are read after the command has exited: more than the buffers of the pipes.
const REST: usize = 4 * 1024 * 1024;
/// Longest part of the last line on standard error that the error's text contains.
const LAST_LINE: usize = 500;

/// Reads a command's output, in the order of its arrival.
pub(super) struct Pump {
    stdout: Source<ChildStdout>,
    stderr: Source<ChildStderr>,
    scanner: Option<Scanner>,
    log: LogSink,
    /// One for each [`Stream`]. The log is masked again; this is for the last line, which is cut.
    masks: [MaskStream; 2],
    last_stderr: String,
    turn: Stream,
}

/// The result of reading both streams.
pub(super) struct Pumped {
    /// The outputs from standard output, or why they are refused.
    pub outputs: Result<Outputs, Failure>,
    /// The last line on standard error that isn't blank.
    pub last_stderr: String,
    /// Whether a process had the output open after the command had exited.
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

    /// Reads the next bytes. Returns 0 at the end.
    async fn read(&mut self) -> usize {
        let Some(pipe) = &mut self.pipe else { return 0 };
        let read: io::Result<usize> = pipe.read(&mut self.buffer).await;
        // An error counts as the end.
        let count = read.unwrap_or(0);
        if count == 0 {
            self.pipe = None;
        }
        count
    }

    /// Returns the lines that are complete after the read.
    fn lines(&mut self, count: usize) -> Option<String> {
        if count == 0 { self.lines.finish() } else { self.lines.push(&self.buffer[..count]) }
    }
}

/// How much output is still read after the command has exited.
struct Rest {
    wait: Duration,
    bytes: usize,
}

impl Pump {
    pub fn new(child: &mut Child, log: LogSink, masker: &Arc<Masker>, read_outputs: bool) -> Self {
        Self {
            stdout: Source::new(child.stdout.take()),
            stderr: Source::new(child.stderr.take()),
            scanner: read_outputs.then(Scanner::new),
            log,
            masks: [(); 2].map(|()| MaskStream::new(Arc::clone(masker))),
            last_stderr: String::new(),
            turn: Stream::Stdout,
        }
    }

    /// Reads to the end, or until one of the limits is reached after `exited`.
    pub async fn run(mut self, exited: oneshot::Receiver<()>) -> Pumped {
        let mut exited = pin!(exited);
        let mut rest: Option<Rest> = None;
        while self.stdout.is_open() || self.stderr.is_open() {
            let wait = rest.as_ref().map_or(Duration::MAX, |rest| rest.wait);
            let began = Instant::now();
            let (stream, count) = tokio::select! {
                read = timeout(wait, self.read()) => match read {
                    Ok(read) => read,
                    Err(_) => break,
                },
                _ = &mut exited, if rest.is_none() => {
                    rest = Some(Rest { wait: WAIT, bytes: REST });
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

    /// Reads the next bytes of either stream. If both have some, their order is unknown: standard output comes first, then
    /// they take turns, so that neither blocks the other.
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
            let masks = &mut self.masks[stream as usize];
            let lines = masks.push(lines) + &masks.flush_lines();
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
            let mut rest = lines.map(|lines| self.masks[stream as usize].push(lines)).unwrap_or_default();
            rest.push_str(&self.masks[stream as usize].finish());
            self.write(stream, rest).await;
        }
        let outputs = self.scanner.map_or_else(|| Ok(Outputs::new()), Scanner::finish);
        Pumped { outputs, last_stderr: self.last_stderr, cut }
    }
}
