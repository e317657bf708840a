//! Reads a job's outputs from its standard output and from its output file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use protocol::text::{BYTE_ORDER_MARK, bytes_without_mark};
use protocol::{OutputName, Outputs, limits, outputs};

use crate::executor::Failure;

const DIRECTIVE: &[u8] = b"::set-output ";
/// Some programs begin their output with it.
const BOM: &[u8] = BYTE_ORDER_MARK.as_bytes();
/// The longest directive line: all outputs that a job may give, with a name.
const LONGEST_LINE: usize = limits::OUTPUTS_PER_JOB + 1024;
/// Once the values have this size together, other outputs and longer values are dropped: they are over the limit.
const MAX_TOTAL: usize = 4 * limits::OUTPUTS_PER_JOB;
const LONGEST_FILE: u64 = 16 * 1024 * 1024;

/// Finds the directives in a standard output that arrives in parts. No other line is kept in memory.
#[derive(Debug)]
pub(super) struct Scanner {
    line: usize,
    /// The beginning of the line, as long as it may be a directive.
    begin: Option<Vec<u8>>,
    /// The size of the line so far.
    size: usize,
    outputs: Outputs,
    /// The size of all values.
    total: usize,
    failure: Option<Failure>,
}

impl Scanner {
    pub fn new() -> Self {
        Self { line: 1, begin: Some(Vec::new()), size: 0, outputs: Outputs::new(), total: 0, failure: None }
    }

    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.add(&bytes[..end]);
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        self.add(bytes);
    }

    /// The outputs, or the first line that is wrong.
    pub fn finish(mut self) -> Result<Outputs, Failure> {
        self.end_line();
        self.failure.map_or(Ok(self.outputs), Err)
    }

    fn add(&mut self, part: &[u8]) {
        let Some(begin) = &mut self.begin else { return };
        self.size += part.len();
        begin.extend_from_slice(&part[..part.len().min(LONGEST_LINE - begin.len())]);
        if self.line == 1 && BOM.starts_with(begin) {
            return;
        }
        let text = without_bom(begin, self.line);
        let common = text.len().min(DIRECTIVE.len());
        if text[..common] != DIRECTIVE[..common] {
            self.begin = None;
        }
    }

    fn end_line(&mut self) {
        let begin = self.begin.replace(Vec::new()).unwrap_or_default();
        let text = without_bom(&begin, self.line);
        let read = if text.len() < DIRECTIVE.len() { Ok(()) } else { self.read(text) };
        if let Err(error) = read {
            self.failure.get_or_insert(Failure::permanent(error));
        }
        self.line += 1;
        self.size = 0;
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        let line = self.line;
        if self.size > LONGEST_LINE {
            let (size, limit) = (self.size, limits::OUTPUTS_PER_JOB);
            let text = String::from_utf8_lossy(bytes);
            return Err(format!(
                "line {line} of the standard output gives an output of about {size} bytes; \
                 all outputs of a job together may have {limit} bytes (limit OUTPUTS_PER_JOB): {text}"
            ));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| {
            let text = String::from_utf8_lossy(bytes);
            format!("line {line} of the standard output gives an output that is not UTF-8: {text}")
        })?;
        let output = outputs::from_stdout_line(text, line).map_err(|error| error.to_string())?;
        // Over MAX_TOTAL, or with one output more than allowed, only shorter values of known outputs can still bring it within the limit.
        let is_full = self.total >= MAX_TOTAL || self.outputs.len() > limits::OUTPUTS;
        let is_kept = |name: &OutputName, value: &str| {
            !is_full || self.outputs.get(name).is_some_and(|known| value.len() <= known.len())
        };
        if let Some((name, value)) = output.filter(|(name, value)| is_kept(name, value)) {
            self.total += value.len();
            self.total -= self.outputs.insert(name, value).map_or(0, |replaced| replaced.len());
        }
        Ok(())
    }
}

/// The bytes of a line without the byte order mark that the first line may begin with.
fn without_bom(bytes: &[u8], line: usize) -> &[u8] {
    if line == 1 { bytes_without_mark(bytes) } else { bytes }
}

/// Reads the output file. If the job removed it, there are no outputs.
pub(super) async fn read_file(path: PathBuf) -> Result<Outputs, Failure> {
    // Most jobs write nothing to it, and a change to another thread takes longer than this call.
    if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() == 0) {
        return Ok(Outputs::new());
    }
    let text = tokio::task::spawn_blocking(move || read_text(&path)).await?;
    let text = text
        .map_err(|failure| Failure { error: format!("the output file can't be read: {}", failure.error), ..failure })?;
    outputs::from_file(&text).map_err(|error| Failure::permanent(error.to_string()))
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let refused = |reason: &str| Err(Failure::permanent(reason));
    match std::fs::metadata(path) {
        // Opening a named pipe in its place would wait for a writer.
        Ok(found) if !found.is_file() => return refused("it is not a file any more"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        found => found?,
    };
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_FILE {
        let limit = limits::OUTPUTS_PER_JOB;
        return refused(&format!(
            "it has over {LONGEST_FILE} bytes; all outputs of a job together may have {limit} bytes (limit OUTPUTS_PER_JOB)"
        ));
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return refused("it is UTF-16; write UTF-8 to it");
    }
    if bytes.starts_with(BOM) {
        bytes.drain(..BOM.len());
    }
    String::from_utf8(bytes).or_else(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        refused(&format!("line {} is not UTF-8", memchr::memchr_iter(b'\n', before).count() + 1))
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
    fn one_byte_order_mark_is_skipped_however_the_bytes_arrive() {
        for step in 1..20 {
            assert_eq!(scan("\u{feff}::set-output a=1\n".as_bytes(), step).expect("good").len(), 1);
            assert!(scan("\u{feff}\u{feff}::set-output a=1\n".as_bytes(), step).expect("good").is_empty());
            assert!(scan("\n\u{feff}::set-output a=1\n".as_bytes(), step).expect("good").is_empty());
        }
    }

    #[test]
    fn a_value_at_the_limit_is_read_whole_and_one_over_it_is_refused_by_name() {
        let value = "x".repeat(limits::OUTPUTS_PER_JOB);
        let outputs = scan(format!("::set-output big={value}\n").as_bytes(), 8192).expect("at the limit");
        assert_eq!(outputs["big"].len(), limits::OUTPUTS_PER_JOB);
        let failure = scan(format!("ok\n::set-output big={value}{value}\n").as_bytes(), 8192).expect_err("over");
        assert!(failure.error.contains("line 2") && failure.error.contains("big="), "{}", failure.error);
        assert!(!failure.retryable);
    }

    #[test]
    fn names_without_values_take_no_more_memory_than_there_may_be_outputs() {
        let text: String = (0..30_000).map(|n| format!("::set-output o{n}=\n")).collect();
        let outputs = scan(text.as_bytes(), 8192).expect("each line is good");
        assert_eq!(outputs.len(), limits::OUTPUTS + 1);
        assert!(outputs::check_size(&outputs).is_err());
    }

    #[test]
    fn later_values_bring_outputs_back_within_the_limit() {
        let value = "x".repeat(limits::OUTPUTS_PER_JOB);
        let long: String = (0..6).map(|n| format!("::set-output o{n}={value}\n")).collect();
        let short: String = (0..6).map(|n| format!("::set-output o{n}=short\n")).collect();
        let outputs = scan(format!("{long}{short}").as_bytes(), 8192).expect("each line is good");
        assert!(
            outputs.values().all(|value| value == "short") && outputs::check_size(&outputs).is_ok(),
            "{}",
            outputs.len()
        );
    }

    #[test]
    fn the_first_wrong_line_is_named_and_ordinary_lines_are_counted() {
        let failure = scan(b"one\ntwo\n::set-output what\n::set-output also\n", 5).expect_err("malformed");
        assert!(failure.error.contains("line 3") && failure.error.contains("what"), "{}", failure.error);
        let failure = scan(b"::set-output a=\xff\n", 100).expect_err("not UTF-8");
        assert!(failure.error.contains("line 1") && failure.error.contains("UTF-8"), "{}", failure.error);
    }
}
