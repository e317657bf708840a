//! Parses JSON to the tree, with positions. The YAML parser does not serve: tabs, long keys and surrogate escapes differ.

use serde::de::IgnoredAny;

use super::builder::{Builder, Stop};
use super::node::{Kind, Node};
use super::problem::Position;
use super::report::Report;

/// The tree, unless the report says why there is none.
pub(super) fn read(text: &str) -> (Option<Node>, Report) {
    if text.trim_ascii().is_empty() {
        return (None, Report::default());
    }
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let mut report = Report::default();
        report.add("syntax", place(text, &error), "", format!("this is not JSON: {}", without_place(&error)));
        return (None, report);
    }
    let mut builder = Builder::new();
    let mut cursor = Cursor { text, at: Position { line: 1, column: 1, offset: 0, len: 0 } };
    while let Some(token) = cursor.token() {
        if take(&mut builder, token, cursor.at).is_err() {
            return (None, builder.finish().1);
        }
        cursor.advance(token.len());
    }
    builder.finish()
}

fn take(builder: &mut Builder, token: &str, at: Position) -> Result<(), Stop> {
    let at = Position { len: token.len(), ..at };
    match token.as_bytes()[0] {
        b'{' => builder.open(Kind::Map(Vec::new()), 0, at),
        b'[' => builder.open(Kind::List(Vec::new()), 0, at),
        b'}' | b']' => builder.close(),
        b',' | b':' => Ok(()),
        b'"' => match serde_json::from_str(token) {
            Ok(text) => builder.scalar(text, false, 0, at),
            Err(error) => {
                let message = format!("this text can't be read: {}", without_place(&error));
                builder.report.add("syntax", at, "", message);
                Err(Stop)
            }
        },
        _ => builder.scalar(token.to_owned(), true, 0, at),
    }
}

/// Walks over a text that is known to be JSON.
struct Cursor<'a> {
    text: &'a str,
    at: Position,
}

impl<'a> Cursor<'a> {
    /// The token here, past white space.
    fn token(&mut self) -> Option<&'a str> {
        let rest = &self.text[self.at.offset..];
        let trimmed = rest.trim_ascii_start();
        self.advance(rest.len() - trimmed.len());
        let len = match trimmed.as_bytes().first()? {
            b'"' => string_len(trimmed),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            _ => trimmed.find(|c: char| ",]}".contains(c) || c.is_ascii_whitespace()).unwrap_or(trimmed.len()),
        };
        Some(&trimmed[..len])
    }

    fn advance(&mut self, bytes: usize) {
        for c in self.text[self.at.offset..][..bytes].chars() {
            step(&mut self.at, c);
        }
    }
}

fn step(at: &mut Position, c: char) {
    at.offset += c.len_utf8();
    if c == '\n' {
        at.line += 1;
        at.column = 1;
    } else {
        at.column += 1;
    }
}

/// Both quotes included.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (n, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return n + 1,
            _ => {}
        }
    }
    text.len()
}

/// Where an error is; the column it gives counts bytes.
fn place(text: &str, error: &serde_json::Error) -> Position {
    let lines_before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let end = (lines_before + error.column().saturating_sub(1)).min(text.len());
    let mut at = Position { line: 1, column: 1, offset: 0, len: 0 };
    for c in text.chars() {
        if at.offset + c.len_utf8() > end {
            at.len = c.len_utf8();
            break;
        }
        step(&mut at, c);
    }
    at
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(message, _)| message.to_owned())
}
