//! `wfg validate`, and how problems of a definition are shown.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use clap::Args;
use protocol::wire;
use serde_json::{Value, json};
use workflow::{Definition, Problem};

use crate::context::Context;
use crate::failure::Failure;
use crate::screen::{Paint, eprint};
use crate::source::Source;
use crate::text::{clean, count};

/// The most characters of a line that are shown on each side of a position.
const SIDE: usize = 60;
/// The most characters of a message that are shown.
const MESSAGE: usize = 5000;

#[derive(Args)]
pub struct ValidateArgs {
    /// The definition, YAML or JSON; `-` is standard input
    file: String,
    /// Print the jobs as JSON, with defaults applied and each matrix written out
    #[arg(long)]
    expand: bool,
}

/// Prints the JSON Schema of a workflow file.
pub fn print_schema(context: &Context) -> Result<(), Failure> {
    context.screen.print(&format!("{:#}\n", workflow::json_schema()))
}

impl ValidateArgs {
    /// Checks a file, and shows all its problems and notes.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let screen = &context.screen;
        let source = Source::read(&self.file)?;
        let definition = source.check().map_err(|problems| {
            eprint(&refusal(&problems, &source, screen.err));
            Failure::AlreadyReported
        })?;
        if self.expand {
            return screen.print(&format!("{:#}\n", expanded(&definition)));
        }
        screen.print(&notes(&definition, &source, screen.out))?;
        screen.print(&format!("{}: {}, no problems\n", clean(&source.name), count(definition.jobs.len(), "job")))
    }
}

/// The jobs of a definition, each with its id, its needs and its settings.
fn expanded(definition: &Definition) -> Value {
    let jobs = definition.jobs.iter().map(|job| {
        let needs: Vec<&str> = job.needs.iter().map(|&need| definition.jobs[need].id.as_str()).collect();
        let mut fields = json!({ "id": job.id, "needs": needs });
        if let (Value::Object(fields), Ok(Value::Object(settings))) = (&mut fields, serde_json::to_value(&job.settings))
        {
            fields.extend(settings);
        }
        fields
    });
    json!({ "name": definition.name, "inputs": definition.inputs, "jobs": jobs.collect::<Vec<_>>() })
}

/// Formats the notes about a definition that has no problems.
pub fn notes(definition: &Definition, source: &Source, paint: Paint) -> String {
    definition.notes.iter().map(|note| Finding::from(note).render(&Level::NOTE, source, paint)).collect()
}

/// Formats all problems, and how many there are.
pub fn refusal(problems: &[Problem], source: &Source, paint: Paint) -> String {
    with_count(problems.iter().map(Finding::from), source, paint)
}

/// Formats the problems that the server found, like [`refusal`]. Returns `None` if it listed none.
pub fn server_refusal(details: Option<&Value>, source: &Source, paint: Paint) -> Option<String> {
    let problems: Vec<wire::Problem> = serde_json::from_value(details?.get("problems")?.clone()).ok()?;
    let findings = problems.iter().map(|problem| Finding {
        code: &problem.code,
        message: &problem.message,
        path: &problem.path,
        span: problem.line.zip(problem.column).and_then(|(line, column)| span_at(&source.text, line, column)),
    });
    (!problems.is_empty()).then(|| with_count(findings, source, paint))
}

fn with_count<'a>(findings: impl Iterator<Item = Finding<'a>>, source: &Source, paint: Paint) -> String {
    let shown: Vec<String> = findings.map(|finding| finding.render(&Level::ERROR, source, paint)).collect();
    format!("{}{}: {}", shown.concat(), clean(&source.name), count(shown.len(), "problem"))
}

/// A problem or a note about a position in the source.
struct Finding<'a> {
    code: &'a str,
    message: &'a str,
    path: &'a str,
    /// Offset and length in bytes.
    span: Option<(usize, usize)>,
}

impl<'a> From<&'a Problem> for Finding<'a> {
    fn from(problem: &'a Problem) -> Self {
        let Problem { code, message, path, at } = problem;
        Self { code, message, path, span: at.map(|at| (at.offset, at.len)) }
    }
}

impl Finding<'_> {
    /// The message, and the lines around the position. An empty line follows.
    fn render(&self, level: &Level<'static>, source: &Source, paint: Paint) -> String {
        let mut message: String = clean(self.message).chars().take(MESSAGE).collect();
        let (path, file) = (clean(self.path), clean(&source.name));
        if self.span.is_none() && !path.is_empty() {
            message = format!("{message} (at {path})");
        }
        let title = level.clone().primary_title(message).id(clean(self.code));
        let group = match self.span {
            None => title.elements(std::iter::empty::<Origin<'_>>()),
            Some((offset, len)) => {
                let excerpt = Excerpt::new(&source.text, offset, len);
                let annotation = AnnotationKind::Primary.span(excerpt.span).label((!path.is_empty()).then_some(path));
                let snippet = Snippet::source(excerpt.text).line_start(excerpt.first_line).fold(false);
                let snippet = snippet.annotation(annotation);
                match excerpt.cut_before {
                    // The column can't be found from the excerpt.
                    Some((line, column)) => {
                        title.element(Origin::path(file).line(line).char_column(column)).element(snippet)
                    }
                    None => title.element(snippet.path(file)),
                }
            }
        };
        let renderer = if paint.colour { Renderer::styled() } else { Renderer::plain() };
        let style = if paint.terminal { DecorStyle::Unicode } else { DecorStyle::Ascii };
        // Wider than an excerpt: long lines are cut already.
        renderer.decor_style(style).term_width(8 * SIDE).render(&[group]) + "\n\n"
    }
}

/// The lines around a position, each cut.
struct Excerpt {
    text: String,
    first_line: usize,
    /// The annotated part of `text`.
    span: Range<usize>,
    /// Line and column of the position, both from 1, if the beginning of its line is cut.
    cut_before: Option<(usize, usize)>,
}

impl Excerpt {
    /// Of a span over several lines only the first line is annotated.
    fn new(source: &str, offset: usize, len: usize) -> Self {
        let offset = source.floor_char_boundary(offset.min(source.len()));
        let begin = source[..offset].rfind('\n').map_or(0, |at| at + 1);
        let end = source[offset..].find('\n').map_or(source.len(), |at| offset + at);
        let line = 1 + source.bytes().take(begin).filter(|byte| *byte == b'\n').count();
        let from = source[begin..offset].char_indices().rev().nth(SIDE - 1).map_or(begin, |(at, _)| begin + at);
        let shown_after = source[offset..end].trim_end_matches('\r');
        let to = offset + shown_after.char_indices().nth(SIDE).map_or(shown_after.len(), |(at, _)| at);
        let before = begin.checked_sub(1).and_then(|end| short_line(source[..end].rsplit('\n').next()));
        let after = source.get(end + 1..).and_then(|rest| short_line(rest.split('\n').next()));
        let mut text = before.map(|line| format!("{line}\n")).unwrap_or_default();
        text.push_str(if from > begin { "…" } else { "" });
        let start = text.len() + offset - from;
        text.push_str(&source[from..to]);
        let span = start..start + source[offset..to].floor_char_boundary(len.min(to - offset));
        text.push_str(if to < offset + shown_after.len() { "…" } else { "" });
        text.extend(after.into_iter().flat_map(|line| ["\n", line]));
        let cut_before = (from > begin).then(|| (line, 1 + source[begin..offset].chars().count()));
        Self { text, first_line: line - usize::from(before.is_some()), span, cut_before }
    }
}

/// The line without its line end, if it is short enough to be shown whole and has something in it.
fn short_line(line: Option<&str>) -> Option<&str> {
    line.map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty() && line.len() <= 2 * SIDE)
}

/// The word at a line and a column, both from 1; the column in characters.
fn span_at(text: &str, line: usize, column: usize) -> Option<(usize, usize)> {
    let begin = match line.checked_sub(1)? {
        0 => 0,
        breaks => text.match_indices('\n').nth(breaks - 1)?.0 + 1,
    };
    let line = text[begin..].lines().next().unwrap_or_default();
    let before: usize = line.chars().take(column.checked_sub(1)?).map(char::len_utf8).sum();
    let word = line[before..].find(|c: char| c.is_whitespace() || ",:[]{}".contains(c));
    Some((begin + before, word.unwrap_or(line.len() - before)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::lines;

    fn source(text: &str) -> Source {
        Source {
            name: "deploy.yml".to_owned(),
            stem: None,
            text: text.to_owned(),
            size: text.len() as u64,
            json: false,
        }
    }

    fn shown(text: &str) -> String {
        let source = source(text);
        refusal(&source.check().expect_err(text), &source, Paint::PLAIN) + "\n"
    }

    #[test]
    fn every_problem_is_shown_with_its_line_and_a_caret() {
        let text =
            "jobs:\n  build:\n    run: make\n  test:\n    needs: [biuld]\n    runs-on: linux\n    run: make test\n";
        assert_eq!(
            shown(text),
            lines(&[
                "error[unknown_need]: there is no job `biuld`; did you mean `build`?",
                " --> deploy.yml:5:13",
                "  |",
                "4 |   test:",
                "5 |     needs: [biuld]",
                "  |             ^^^^^ jobs.test.needs[0]",
                "6 |     runs-on: linux",
                "  |",
                "",
                "error[unknown_key]: `runs-on` is not a key of a job: write `labels`, a list; a worker must have all of them",
                " --> deploy.yml:6:5",
                "  |",
                "5 |     needs: [biuld]",
                "6 |     runs-on: linux",
                "  |     ^^^^^^^ jobs.test.runs-on",
                "7 |     run: make test",
                "  |",
                "",
                "deploy.yml: 2 problems"
            ])
        );
    }

    #[test]
    fn a_beginning_alone_and_characters_of_many_bytes_are_pointed_at() {
        assert_eq!(
            shown("jobs:\n  größe: {labels: ['ü b'], run: x}\n  nothing: {}"),
            lines(&[
                "error[bad_label]: label \"ü b\" has the character ' '; commas, white space and control characters are not allowed",
                " --> deploy.yml:2:20",
                "  |",
                "1 | jobs:",
                "2 |   größe: {labels: ['ü b'], run: x}",
                "  |                    ^^^^^ jobs.größe.labels[0]",
                "3 |   nothing: {}",
                "  |",
                "",
                "error[missing_run]: the job `nothing` has nothing to run; write `run` or `steps`",
                " --> deploy.yml:3:3",
                "  |",
                "2 |   größe: {labels: ['ü b'], run: x}",
                "3 |   nothing: {}",
                "  |   ^^^^^^^ jobs.nothing",
                "",
                "deploy.yml: 2 problems"
            ])
        );
    }

    #[test]
    fn a_terminal_gets_lines_and_colours() {
        let source = source("jobs:\n  a: {rum: x}\n");
        let problems = source.check().expect_err("bad");
        let shown = refusal(&problems, &source, Paint { terminal: true, colour: false });
        assert_eq!(
            shown + "\n",
            lines(&[
                "error[missing_run]: the job `a` has nothing to run; write `run` or `steps`",
                "  ╭▸ deploy.yml:2:3",
                "  │",
                "1 │ jobs:",
                "2 │   a: {rum: x}",
                "  ╰╴  ━ jobs.a",
                "",
                "error[unknown_key]: `rum` is not a key of a job; did you mean `run`?",
                "  ╭▸ deploy.yml:2:7",
                "  │",
                "1 │ jobs:",
                "2 │   a: {rum: x}",
                "  ╰╴      ━━━ jobs.a.rum",
                "",
                "deploy.yml: 2 problems"
            ])
        );
        let coloured = refusal(&problems, &source, Paint { terminal: true, colour: true });
        assert!(coloured.contains("\x1b["), "{coloured}");
    }

    #[test]
    fn notes_are_shown_too() {
        let source = source("on: push\njobs:\n  a: {run: x}\n");
        assert_eq!(
            notes(&source.check().expect("good"), &source, Paint::PLAIN),
            lines(&[
                "note[on_needs_a_link]: `on` starts runs once the file's repository is linked with `wfg forge add`; until then start it with `run`, or submit it with `?run=true`",
                " --> deploy.yml:1:1",
                "  |",
                "1 | on: push",
                "  | ^^ on",
                "2 | jobs:",
                "  |",
                ""
            ])
        );
    }

    #[test]
    fn what_the_server_finds_is_shown_against_the_local_text() {
        let source = source("jobs:\n  a: {run: é, needs: [böse]}\n");
        let details = json!({"problems": [
            {"code": "unknown_need", "message": "there is no job `böse`", "path": "jobs.a.needs[0]", "line": 2, "column": 23},
            {"code": "more", "message": "and more", "path": "jobs"},
        ]});
        let shown = server_refusal(Some(&details), &source, Paint::PLAIN).expect("problems");
        assert_eq!(
            shown + "\n",
            lines(&[
                "error[unknown_need]: there is no job `böse`",
                " --> deploy.yml:2:23",
                "  |",
                "1 | jobs:",
                "2 |   a: {run: é, needs: [böse]}",
                "  |                       ^^^^ jobs.a.needs[0]",
                "",
                "error[more]: and more (at jobs)",
                "",
                "deploy.yml: 2 problems"
            ])
        );
        assert_eq!(server_refusal(Some(&json!({})), &source, Paint::PLAIN), None);
        assert_eq!(server_refusal(None, &source, Paint::PLAIN), None);
    }

    #[test]
    fn positions_outside_of_the_text_are_moved_into_it() {
        assert_eq!(span_at("a\nb", 3, 1), None);
        assert_eq!(span_at("a\nb", 2, 9), Some((3, 0)));
        assert_eq!(span_at("", 1, 1), Some((0, 0)));
        let excerpt = |text, offset, len| {
            let excerpt = Excerpt::new(text, offset, len);
            (excerpt.text, excerpt.span, excerpt.first_line)
        };
        assert_eq!(excerpt("ab\ncd", 1, 9), ("ab\ncd".to_owned(), 1..2, 1));
        assert_eq!(excerpt("ab", 9, 9), ("ab".to_owned(), 2..2, 1));
        assert_eq!(excerpt("", 0, 1), (String::new(), 0..0, 1));
    }
}
