//! Parses the outputs of a job: lines on its standard output, and the file that `$WORKFLOW_OUTPUT` names.

use std::collections::BTreeMap;

use crate::{BadId, OutputName, limits};

/// The outputs of a job by name. A later value of the same name replaces an earlier one.
pub type Outputs = BTreeMap<OutputName, String>;

/// The text that begins an output line on standard output.
const DIRECTIVE: &str = "::set-output ";

/// Why outputs are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// All values together are larger than [`limits::OUTPUTS_PER_JOB`].
    #[error(
        "output `{name}` is {size} bytes, which brings the job's outputs to {total}; all outputs of a job together may have {} bytes (limit OUTPUTS_PER_JOB)",
        limits::OUTPUTS_PER_JOB
    )]
    TooLarge {
        /// The largest output.
        name: OutputName,
        /// Its size in bytes.
        size: usize,
        /// The size of all in bytes.
        total: usize,
    },
    /// There are more than [`limits::OUTPUTS`].
    #[error("{count} outputs or more; a job may give {} (limit OUTPUTS)", limits::OUTPUTS)]
    TooMany {
        /// The number of outputs.
        count: usize,
    },
    /// A `::set-output` line on standard output has no name or no `=`.
    #[error(
        "line {line} of the standard output is neither `::set-output name=value` nor `::set-output name=<name>::<value>`: {text:?}"
    )]
    MalformedLine {
        /// Counted from 1.
        line: usize,
        /// The whole line: secrets in it are masked before it is cut.
        text: String,
    },
    /// A line of the output file has neither form.
    #[error("line {line} of the output file is neither `name=value` nor `name<<DELIMITER`: {text:?}")]
    MalformedFile {
        /// Counted from 1.
        line: usize,
        /// The whole line: secrets in it are masked before it is cut.
        text: String,
    },
    /// The end of a block in the output file is missing.
    #[error("line {line} of the output file begins a block that ends with a line {delimiter:?}, but there is none")]
    Unended {
        /// The block's first line, counted from 1.
        line: usize,
        /// The line that should end it.
        delimiter: String,
    },
    /// A name is malformed.
    #[error("line {line} of the {place}: {reason}")]
    BadName {
        /// Counted from 1.
        line: usize,
        /// `standard output` or `output file`.
        place: &'static str,
        /// The reason.
        reason: BadId,
    },
}

/// Parses one line of standard output, without its line end. Returns `None` for an ordinary line.
///
/// Accepts `::set-output name=value` and the older `::set-output name=<name>::<value>`. The value is kept byte for byte.
pub fn from_stdout_line(text: &str, line: usize) -> Result<Option<(OutputName, String)>, OutputError> {
    let Some(rest) = text.strip_prefix(DIRECTIVE) else { return Ok(None) };
    let older = rest.strip_prefix("name=").and_then(|rest| rest.split_once("::"));
    if let Some((name, value)) = older
        && let Ok(name) = OutputName::new(name)
    {
        return Ok(Some((name, value.to_owned())));
    }
    let (name, value) =
        rest.split_once('=').ok_or_else(|| OutputError::MalformedLine { line, text: text.to_owned() })?;
    Ok(Some((named(name, line, "standard output")?, value.to_owned())))
}

/// Parses an output file: `name=value` lines and `name<<DELIMITER` blocks. Skips empty lines between them.
pub fn from_file(text: &str) -> Result<Outputs, OutputError> {
    let mut outputs = Outputs::new();
    let mut lines = text.split('\n').enumerate().map(|(n, text)| (n + 1, text));
    while let Some((line, text)) = lines.next() {
        if text.is_empty() {
            continue;
        }
        let block = text.split_once("<<").filter(|(name, end)| !name.contains('=') && !end.is_empty());
        let (name, value) = if let Some((name, delimiter)) = block {
            let mut value = Vec::new();
            loop {
                match lines.next() {
                    Some((_, text)) if text == delimiter => break,
                    Some((_, text)) => value.push(text),
                    None => return Err(OutputError::Unended { line, delimiter: delimiter.to_owned() }),
                }
            }
            (name, value.join("\n"))
        } else {
            let (name, value) =
                text.split_once('=').ok_or_else(|| OutputError::MalformedFile { line, text: text.to_owned() })?;
            (name, value.to_owned())
        };
        outputs.insert(named(name, line, "output file")?, value);
        check_count(&outputs)?;
    }
    Ok(outputs)
}

/// The size in bytes of all values together.
#[must_use]
pub fn size(outputs: &Outputs) -> usize {
    outputs.values().map(String::len).sum()
}

/// Refuses too many outputs, and outputs that are too large together. The error names the largest.
pub fn check_size(outputs: &Outputs) -> Result<(), OutputError> {
    check_count(outputs)?;
    let total = size(outputs);
    match outputs.iter().max_by_key(|(_, value)| value.len()) {
        Some((name, value)) if total > limits::OUTPUTS_PER_JOB => {
            Err(OutputError::TooLarge { name: name.clone(), size: value.len(), total })
        }
        _ => Ok(()),
    }
}

fn check_count(outputs: &Outputs) -> Result<(), OutputError> {
    let count = outputs.len();
    if count > limits::OUTPUTS { Err(OutputError::TooMany { count }) } else { Ok(()) }
}

fn named(name: &str, line: usize, place: &'static str) -> Result<OutputName, OutputError> {
    OutputName::new(name).map_err(|reason| OutputError::BadName { line, place, reason })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> Option<(String, String)> {
        from_stdout_line(text, 1).expect("well formed").map(|(name, value)| (name.into(), value))
    }

    #[test]
    fn both_forms_on_standard_output_keep_the_value_byte_for_byte() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(line("::set-output version=1.2.3"), pair("version", "1.2.3"));
        assert_eq!(line("::set-output name=version::1.2=3::x "), pair("version", "1.2=3::x "));
        assert_eq!(line("::set-output name=value"), pair("name", "value"));
        assert_eq!(line("::set-output name=a b::c"), pair("name", "a b::c"));
        assert_eq!(line("::set-output empty="), pair("empty", ""));
        assert_eq!(line("::set-output pct=100%25 \"quoted\" 🦀=x"), pair("pct", "100%25 \"quoted\" 🦀=x"));
        assert_eq!(line(" ::set-output a=b"), None);
    }

    #[test]
    fn error_of_a_malformed_line_has_its_number_and_the_expected_form() {
        let error = from_stdout_line("::set-output version", 7).expect_err("no =").to_string();
        assert!(error.contains("line 7") && error.contains("name=value"), "{error}");
        let error = from_stdout_line("::set-output my version=1", 3).expect_err("space").to_string();
        assert!(error.contains("line 3") && error.contains("my version"), "{error}");
        let error = from_file("a=1\n\nwhat\n").expect_err("no =").to_string();
        assert!(error.contains("line 3") && error.contains("name<<DELIMITER"), "{error}");
        let error = from_file("a<<END\n1\n").expect_err("no end").to_string();
        assert!(error.contains("line 1") && error.contains("END"), "{error}");
    }

    #[test]
    fn block_in_the_file_may_have_many_lines() {
        let outputs = from_file("notes<<END\nfirst\n\nx=y<<z\nEND\nv=a<<b\n").expect("good");
        assert_eq!(outputs[&OutputName::new("notes").expect("good")], "first\n\nx=y<<z");
        assert_eq!(outputs[&OutputName::new("v").expect("good")], "a<<b");
    }

    #[test]
    fn error_of_too_large_outputs_has_name_size_and_limit() {
        let mut outputs = from_file("small=1\n").expect("good");
        outputs.insert(OutputName::new("big").expect("good"), "x".repeat(limits::OUTPUTS_PER_JOB));
        let error = check_size(&outputs).expect_err("too large").to_string();
        assert!(error.contains("`big` is 1048576 bytes") && error.contains("1048577"), "{error}");
        outputs.remove("small");
        assert_eq!(check_size(&outputs), Ok(()));
    }

    #[test]
    fn empty_outputs_count_towards_the_limit() {
        let file = |count: usize| (0..count).map(|n| format!("o{n}=\n")).collect::<String>();
        let outputs = from_file(&file(limits::OUTPUTS)).expect("at the limit");
        assert_eq!((outputs.len(), check_size(&outputs)), (limits::OUTPUTS, Ok(())));
        let error = from_file(&file(limits::OUTPUTS + 1)).expect_err("one too many").to_string();
        assert!(error.contains("10001") && error.contains("10000"), "{error}");
    }

    proptest! {
        #[test]
        fn block_keeps_any_text(value in "\\PC*(\n\\PC*){0,4}") {
            prop_assume!(!value.split('\n').any(|line| line == "EOF"));
            let outputs = from_file(&format!("v<<EOF\n{value}\nEOF\n")).expect("good");
            prop_assert_eq!(&outputs[&OutputName::new("v").expect("good")], &value);
        }
    }
}
