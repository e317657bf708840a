//! Fuzz target `outputs`: arbitrary bytes as a job's standard output and output file.

use std::fmt::Write;

use protocol::outputs::{from_file, from_stdout_line};
use protocol::{Outputs, limits};
use worker::shell::outputs_of;

/// The worker finds the same outputs however the bytes are split, the same as a reader line by line. Outputs read from a file can
/// be written and read again.
///
/// # Panics
/// If a property is broken.
pub fn outputs(data: &[u8]) {
    // Above this size a worker drops outputs that are too large.
    if data.len() > limits::OUTPUTS_PER_JOB {
        return;
    }
    let expected = line_by_line(data);
    for step in [1, 7, data.len().max(1)] {
        let found = outputs_of(data.chunks(step));
        match &expected {
            Some(expected) => assert_eq!(found.as_ref().ok(), Some(expected), "in parts of {step}"),
            None => assert!(found.is_err(), "in parts of {step}: {found:?}"),
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(outputs) = from_file(text)
    {
        assert_eq!(from_file(&written(&outputs)).as_ref(), Ok(&outputs));
    }
}

/// `None`: a line is invalid.
fn line_by_line(data: &[u8]) -> Option<Outputs> {
    let mut outputs = Outputs::new();
    for (number, line) in (1..).zip(data.split(|byte| *byte == b'\n')) {
        if line.starts_with(b"::set-output ") {
            outputs.extend(from_stdout_line(std::str::from_utf8(line).ok()?, number).ok()?);
        }
    }
    Some(outputs)
}

/// Writes blocks whose last line is in no value.
fn written(outputs: &Outputs) -> String {
    let mut end = "END".to_owned();
    while outputs.values().any(|value| value.split('\n').any(|line| line == end)) {
        end.push('D');
    }
    let mut text = String::new();
    for (name, value) in outputs {
        let _ = writeln!(text, "{name}<<{end}\n{value}\n{end}");
    }
    text
}
