//! Outputs, as a job gives them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use protocol::{Outputs, limits, outputs};

use crate::executor::Failure;

const DIRECTIVE: &[u8] = b"::set-output ";
/// The longest directive line kept: all that a job may give, and its longest name twice over.
const LONGEST_LINE: usize = limits::OUTPUTS_PER_JOB + 1024;
/// Values that replace each other may together be more than the limit, but not without end.
const KEPT: usize = 4 * limits::OUTPUTS_PER_JOB;
const LONGEST_FILE: u64 = 16 * 1024 * 1024;

/// Finds the directives in a standard output that arrives in parts. Keeps of it only those.
#[derive(Debug)]
pub(super) struct Scanner {
    line: usize,
    state: State,
    outputs: Outputs,
    kept: usize,
    failure: Option<Failure>,
}

#[derive(Debug)]
enum State {
    /// What there is of the line may become a directive, or is one.
    Perhaps(Vec<u8>),
    /// The line is none.
    Ordinary,
    /// The line is a directive over [`LONGEST_LINE`]: its beginning, and its length.
    TooLong(Vec<u8>, usize),
}

impl Scanner {
    pub fn new() -> Self {
        let state = State::Perhaps(Vec::new());
        Self { line: 1, state, outputs: Outputs::new(), kept: 0, failure: None }
    }

    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.add(&bytes[..end]);
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        self.add(bytes);
    }

    /// What was given, or the first line that is wrong.
    pub fn finish(mut self) -> Result<Outputs, Failure> {
        self.end_line();
        self.failure.map_or(Ok(self.outputs), Err)
    }

    fn add(&mut self, part: &[u8]) {
        match &mut self.state {
            State::Ordinary => {}
            State::TooLong(_, size) => *size += part.len(),
            State::Perhaps(kept) => {
                let undecided = kept.len() < DIRECTIVE.len();
                if undecided && !begins_alike(kept, part) {
                    self.state = State::Ordinary;
                } else if kept.len() + part.len() > LONGEST_LINE {
                    let size = kept.len() + part.len();
                    kept.extend_from_slice(part);
                    kept.truncate(DIRECTIVE.len() + limits::OUTPUT_NAME);
                    self.state = State::TooLong(std::mem::take(kept), size);
                } else {
                    kept.extend_from_slice(part);
                }
            }
        }
    }

    fn end_line(&mut self) {
        let line = self.line;
        match std::mem::replace(&mut self.state, State::Perhaps(Vec::new())) {
            State::Perhaps(bytes) if bytes.starts_with(DIRECTIVE) => self.read(&bytes, line),
            State::TooLong(bytes, size) => {
                let begin = String::from_utf8_lossy(&bytes).into_owned();
                let limit = limits::OUTPUTS_PER_JOB;
                let error = format!(
                    "line {line} of the standard output gives an output of about {size} bytes; \
                     all outputs of a job together may have {limit} bytes: {begin:.100}…"
                );
                self.fail(Failure::permanent(error));
            }
            State::Perhaps(_) | State::Ordinary => {}
        }
        self.line += 1;
    }

    fn read(&mut self, bytes: &[u8], line: usize) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]);
            let error = format!("line {line} of the standard output gives an output that is not UTF-8: {begin}");
            return self.fail(Failure::permanent(error));
        };
        match outputs::from_stdout_line(text, line) {
            Ok(Some((name, value))) if self.kept < KEPT && self.outputs.len() <= limits::OUTPUTS => {
                self.kept += value.len();
                if let Some(replaced) = self.outputs.insert(name, value) {
                    self.kept -= replaced.len();
                }
            }
            // More than KEPT, or one output more than there may be, is over the limit whatever follows, and will be refused for that.
            Ok(_) => {}
            Err(error) => self.fail(Failure::permanent(error.to_string())),
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }
}

/// Whether `kept` and `part` together are, as far as they go, the beginning of a directive.
fn begins_alike(kept: &[u8], part: &[u8]) -> bool {
    let wanted = &DIRECTIVE[kept.len()..];
    let common = wanted.len().min(part.len());
    part[..common] == wanted[..common]
}

/// Reads the output file. One that the job removed gives nothing.
pub(super) async fn read_file(path: PathBuf) -> Result<Outputs, Failure> {
    let text = tokio::task::spawn_blocking(move || read_text(&path)).await?;
    let text = text.map_err(|error| Failure::permanent(format!("the output file can't be read: {error}")))?;
    outputs::from_file(&text).map_err(|error| Failure::permanent(error.to_string()))
}

fn read_text(path: &Path) -> Result<String, String> {
    let text = |error: io::Error| error.to_string();
    match std::fs::metadata(path) {
        // Opening a pipe that the job put here would wait for a writer.
        Ok(found) if !found.is_file() => return Err("it is not a file any more".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(text(error)),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(text)?.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(text)?;
    if bytes.len() as u64 > LONGEST_FILE {
        let limit = limits::OUTPUTS_PER_JOB;
        return Err(format!("it has over {LONGEST_FILE} bytes; all outputs of a job together may have {limit} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        format!("line {} is not UTF-8", memchr::memchr_iter(b'\n', before).count() + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &[u8], step: usize) -> Result<Outputs, Failure> {
        let mut scanner = Scanner::new();
        text.chunks(step).for_each(|part| scanner.push(part));
        scanner.finish()
    }

    #[test]
    fn directives_are_found_however_the_bytes_arrive() {
        let text = "::set-output a=1\n ::set-output no=1\n::set-out\n\n::set-output name=b::2=2\nx ::set-output no=2\n\
                    ::set-output a=3";
        for step in 1..40 {
            let outputs = scan(text.as_bytes(), step).expect("good");
            let pairs: Vec<_> = outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(pairs, [("a", "3"), ("b", "2=2")]);
        }
    }

    #[test]
    fn a_value_at_the_limit_is_read_whole_and_one_over_it_is_refused_by_name() {
        let value = "x".repeat(limits::OUTPUTS_PER_JOB);
        let outputs = scan(format!("::set-output big={value}\n").as_bytes(), 8192).expect("at the limit");
        assert_eq!(outputs["big"].len(), limits::OUTPUTS_PER_JOB);
        let failure = scan(format!("ok\n::set-output big={value}{value}\n").as_bytes(), 8192).expect_err("over");
        assert!(failure.error.contains("line 2") && failure.error.contains("big="), "{}", failure.error);
        assert!(!failure.retryable && failure.error.len() < 1000);
    }

    #[test]
    fn names_without_values_take_no_more_memory_than_there_may_be_outputs() {
        let text: String = (0..30_000).map(|n| format!("::set-output o{n}=\n")).collect();
        let outputs = scan(text.as_bytes(), 8192).expect("each line is good");
        assert_eq!(outputs.len(), limits::OUTPUTS + 1);
        assert!(outputs::check_size(&outputs).is_err());
    }

    #[test]
    fn the_first_wrong_line_is_named_and_ordinary_lines_are_counted() {
        let failure = scan(b"one\ntwo\n::set-output what\n::set-output also\n", 5).expect_err("malformed");
        assert!(failure.error.contains("line 3") && failure.error.contains("what"), "{}", failure.error);
        let failure = scan(b"::set-output a=\xff\n", 100).expect_err("not UTF-8");
        assert!(failure.error.contains("line 1") && failure.error.contains("UTF-8"), "{}", failure.error);
    }
}
