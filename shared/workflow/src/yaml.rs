//! Builds the tree from the YAML parser's events, which keep how a scalar was written.

use serde_saphyr::granit_parser::{ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, Tag};

use super::builder::{Builder, DEPTH, Stop, too_deep};
use super::node::{Kind, Node};
use super::problem::Position;
use super::report::{Report, quote};

/// The tree, unless the report says why there is none.
pub(super) fn read(text: &str) -> (Option<Node>, Report) {
    let mut builder = Builder::new();
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options()) {
        let step = match event {
            Ok((Event::DocumentStart(..), span)) => {
                documents += 1;
                if documents > 1 { Err(many_documents(&mut builder, position(&span))) } else { Ok(()) }
            }
            Ok((event, span)) => take(&mut builder, event, &span),
            Err(error) => return (None, syntax(text, &error)),
        };
        if step.is_err() {
            return (None, builder.finish().1);
        }
    }
    builder.finish()
}

fn options() -> Options {
    let mut options = Options::default();
    options.flow_nesting_limit = DEPTH;
    options.block_nesting_limit = DEPTH;
    options.set_emit_comments(false);
    options
}

fn take(builder: &mut Builder, event: Event<'_>, span: &Span) -> Result<(), Stop> {
    let at = position(span);
    if let Some(tag) = event.tag()
        && !known(tag)
    {
        let message = format!("the tag {} means nothing here; leave it out", quote(&tag.original()));
        builder.report.add("unknown_tag", at, "", message);
    }
    match event {
        Event::Scalar(text, style, anchor, tag) => {
            let plain = style == ScalarStyle::Plain && !tag.is_some_and(|tag| is_text(&tag));
            // The parser's text of a missing value is `~`.
            let written = if style == ScalarStyle::Plain && at.len == 0 { String::new() } else { text.into_owned() };
            builder.scalar(written, plain, anchor, at)
        }
        Event::SequenceStart(_, anchor, _) => builder.open(Kind::List(Vec::new()), anchor, at),
        Event::MappingStart(_, anchor, _) => builder.open(Kind::Map(Vec::new()), anchor, at),
        Event::SequenceEnd | Event::MappingEnd => builder.close(),
        Event::Alias(anchor) => builder.alias(anchor, at),
        _ => Ok(()),
    }
}

fn known(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() || is_text(tag)
}

fn is_text(tag: &Tag) -> bool {
    tag.core_suffix() == Some("str") || tag.original() == "!"
}

fn many_documents(builder: &mut Builder, at: Position) -> Stop {
    let message = "a definition is one YAML document; here a second one begins. Put it in a file of its own";
    builder.report.add("many_documents", at, "", message);
    Stop
}

fn position(span: &Span) -> Position {
    let at = marker(&span.start);
    Position { len: span.byte_range().map_or(0, |range| range.len()), ..at }
}

fn marker(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1, offset: marker.byte_offset().unwrap_or(0), len: 0 }
}

/// A syntax error is reported alone, since the text after it can't be read.
fn syntax(text: &str, error: &ScanError) -> Report {
    let mut report = Report::default();
    let mut at = marker(error.marker());
    if is_tab(error.kind()) {
        skip_to_tab(text, &mut at);
    }
    at.len = text.get(at.offset..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        report.add("too_deep", at, "", too_deep());
    } else {
        report.add("syntax", at, "", format!("this is not YAML: {}", explain(error.kind())));
    }
    report
}

fn is_tab(kind: &ErrorKind) -> bool {
    use ErrorKind::{TabAtBlockScalarStart, TabInBlockIndentation, TabInIndentation, TabInPlainScalar, TabNotAllowed};
    matches!(kind, TabAtBlockScalarStart | TabInBlockIndentation | TabInIndentation | TabInPlainScalar | TabNotAllowed)
}

/// Moves the position to the tab: the parser stops before it. Of successive lines that begin with tabs the first is named,
/// since the parser may have read it as a part of the value before.
fn skip_to_tab(text: &str, at: &mut Position) {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let tab_of = |n: usize| {
        let line = lines.get(n)?;
        line[..line.len() - line.trim_start_matches([' ', '\t']).len()].find('\t')
    };
    let Some(found) = [at.line - 1, at.line].into_iter().find(|&n| tab_of(n).is_some()) else { return };
    let after = lines[..found].iter().rposition(|line| !line.starts_with('\t')).map_or(0, |n| n + 1);
    let tab = tab_of(after).unwrap_or_default();
    let offset = lines[..after].iter().map(|line| line.len()).sum::<usize>() + tab;
    *at = Position { line: after + 1, column: tab + 1, offset, len: 0 };
}

fn explain(kind: &ErrorKind) -> String {
    match kind {
        kind if is_tab(kind) => "a tab can't indent; use spaces".into(),
        ErrorKind::UnknownAnchor => "there is no `&anchor` of this alias's name before it".into(),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            "a `:` can't stand here; put a text that contains `: ` in quotes, and check the indentation".into()
        }
        ErrorKind::UnclosedQuotedScalar => "the quote that begins here isn't closed".into(),
        ErrorKind::UnexpectedCharacter { character } if character.is_control() => {
            format!("the character {} is not allowed here; remove it", quote(&character.to_string()))
        }
        ErrorKind::UnexpectedCharacter { character } => {
            format!("a text can't begin with {}; put it in quotes", quote(&character.to_string()))
        }
        other => other.to_string(),
    }
}
