//! `wfg validate`, and how problems of a definition are shown.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, Severity,
    SourceCode, SourceSpan, SpanContents,
};
use protocol::wire;
use serde_json::Value;
use workflow::{Definition, Problem};

use crate::failure::Failure;
use crate::screen::{Paint, Screen};
use crate::source::Source;
use crate::text;

/// Checks a file, and says all that is wrong or worth noting.
pub fn run(screen: &Screen, file: &str) -> Result<(), Failure> {
    let source = Source::read(file)?;
    match source.check() {
        Ok(definition) => {
            screen.print(&notes(&definition, &source, screen.out))?;
            screen.print(&format!("{}: {}, no problems\n", source.name, text::count(definition.jobs.len(), "job")))
        }
        Err(problems) => {
            screen.eprint(&refusal(&problems, &source, screen.err));
            Err(Failure::AlreadyReported)
        }
    }
}

/// What is worth noting, though nothing is wrong.
pub fn notes(definition: &Definition, source: &Source, paint: Paint) -> String {
    let text = Text(source);
    definition.notes.iter().map(|note| Finding::new(note, &text, Severity::Advice).render(paint)).collect()
}

/// All problems, and how many there are.
pub fn refusal(problems: &[Problem], source: &Source, paint: Paint) -> String {
    let text = Text(source);
    let findings = problems.iter().map(|problem| Finding::new(problem, &text, Severity::Error));
    with_count(findings, source, paint)
}

/// As [`refusal`], of what the server found; `None` if it didn't list problems.
pub fn server_refusal(details: Option<&Value>, source: &Source, paint: Paint) -> Option<String> {
    let problems: Vec<wire::Problem> = serde_json::from_value(details?.get("problems")?.clone()).ok()?;
    let text = Text(source);
    let findings = problems.iter().map(|problem| Finding {
        code: &problem.code,
        message: &problem.message,
        path: &problem.path,
        span: problem.line.zip(problem.column).and_then(|(line, column)| span_at(&source.text, line, column)),
        severity: Severity::Error,
        source: &text,
    });
    (!problems.is_empty()).then(|| with_count(findings, source, paint))
}

fn with_count<'a>(findings: impl Iterator<Item = Finding<'a>>, source: &Source, paint: Paint) -> String {
    let (mut shown, mut number) = (String::new(), 0);
    for finding in findings {
        shown.push_str(&finding.render(paint));
        number += 1;
    }
    shown + &format!("{}: {}", source.name, text::count(number, "problem"))
}

/// Something about a place in the source, as miette wants it.
#[derive(Debug)]
struct Finding<'a> {
    code: &'a str,
    message: &'a str,
    path: &'a str,
    /// Offset and length in bytes.
    span: Option<(usize, usize)>,
    severity: Severity,
    source: &'a Text<'a>,
}

impl<'a> Finding<'a> {
    fn new(problem: &'a Problem, source: &'a Text<'a>, severity: Severity) -> Self {
        Self {
            code: problem.code,
            message: &problem.message,
            path: &problem.path,
            span: problem.at.map(|at| in_one_line(&source.0.text, at.offset, at.len)),
            severity,
            source,
        }
    }

    /// With an empty line after it.
    fn render(&self, paint: Paint) -> String {
        let theme = match (paint.terminal, paint.colour) {
            (false, _) => GraphicalTheme::none(),
            (true, false) => GraphicalTheme::unicode_nocolor(),
            (true, true) => GraphicalTheme::unicode(),
        };
        // Lines of a message aren't broken: the terminal does that, and `grep` wants them whole.
        let handler = GraphicalReportHandler::new_themed(theme).with_wrap_lines(false).with_links(false);
        let mut text = String::new();
        if handler.render_report(&mut text, self).is_err() {
            text = format!("{}: {} [{}]\n", self.path, self.message, self.code);
        }
        let lines: Vec<&str> = text.trim_matches('\n').lines().map(str::trim_end).collect();
        lines.join("\n") + "\n\n"
    }
}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::clean(self.message))?;
        if self.span.is_none() && !self.path.is_empty() {
            write!(f, " (at {})", text::clean(self.path))?;
        }
        Ok(())
    }
}

impl std::error::Error for Finding<'_> {}

impl Diagnostic for Finding<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.span.is_some().then_some(self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = (!self.path.is_empty()).then(|| text::clean(self.path));
        let span = self.span.map(|span| LabeledSpan::new_primary_with_span(label, span))?;
        Some(Box::new(std::iter::once(span)))
    }
}

/// A source as miette wants it.
#[derive(Debug)]
struct Text<'a>(&'a Source);

impl SourceCode for Text<'_> {
    /// As miette reads a text, but with columns counted in characters.
    fn read_span<'b>(
        &'b self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'b> + 'b>, MietteError> {
        let text = self.0.text.as_str();
        let read = text.read_span(span, before, after)?;
        let begin = read.span().offset();
        let in_line = begin.checked_sub(read.column()).and_then(|line| text.get(line..begin));
        let column = in_line.map_or_else(|| read.column(), |in_line| in_line.chars().count());
        let name = self.0.name.clone();
        let read =
            MietteSpanContents::new_named(name, read.data(), *read.span(), read.line(), column, read.line_count());
        Ok(Box::new(read))
    }
}

/// The part of a span that is in its first line: of a block of text its beginning says where it is.
fn in_one_line(text: &str, offset: usize, len: usize) -> (usize, usize) {
    let offset = text.floor_char_boundary(offset.min(text.len()));
    let line = text[offset..].lines().next().unwrap_or_default();
    (offset, len.min(line.len()))
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
    use crate::test_data::lines;

    fn source(text: &str) -> Source {
        Source { name: "deploy.yml".to_owned(), stem: None, text: text.to_owned(), json: false }
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
                "unknown_need",
                "",
                "  x there is no job `biuld`; did you mean `build`?",
                "   ,-[deploy.yml:5:13]",
                " 4 |   test:",
                " 5 |     needs: [biuld]",
                "   :             ^^|^^",
                "   :               `-- jobs.test.needs[0]",
                " 6 |     runs-on: linux",
                "   `----",
                "",
                "unknown_key",
                "",
                "  x `runs-on` is not a key of a job: write `labels`, a list; a worker must have all of them",
                "   ,-[deploy.yml:6:5]",
                " 5 |     needs: [biuld]",
                " 6 |     runs-on: linux",
                "   :     ^^^|^^^",
                "   :        `-- jobs.test.runs-on",
                " 7 |     run: make test",
                "   `----",
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
                "bad_label",
                "",
                "  x label \"ü b\" has the character ' '; commas, white space and control characters are not allowed",
                "   ,-[deploy.yml:2:20]",
                " 1 | jobs:",
                " 2 |   größe: {labels: ['ü b'], run: x}",
                "   :                    ^^|^^",
                "   :                      `-- jobs.größe.labels[0]",
                " 3 |   nothing: {}",
                "   `----",
                "",
                "missing_run",
                "",
                "  x the job `nothing` has nothing to run; write `run` or `steps`",
                "   ,-[deploy.yml:3:3]",
                " 2 |   größe: {labels: ['ü b'], run: x}",
                " 3 |   nothing: {}",
                "   :   ^^^|^^^",
                "   :      `-- jobs.nothing",
                "   `----",
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
                "missing_run",
                "",
                "  × the job `a` has nothing to run; write `run` or `steps`",
                "   ╭─[deploy.yml:2:3]",
                " 1 │ jobs:",
                " 2 │   a: {rum: x}",
                "   ·   ┬",
                "   ·   ╰── jobs.a",
                "   ╰────",
                "",
                "unknown_key",
                "",
                "  × `rum` is not a key of a job; did you mean `run`?",
                "   ╭─[deploy.yml:2:7]",
                " 1 │ jobs:",
                " 2 │   a: {rum: x}",
                "   ·       ─┬─",
                "   ·        ╰── jobs.a.rum",
                "   ╰────",
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
                "on_starts_nothing",
                "",
                "  > `on` is shown as the workflow's trigger and starts nothing; start it with `run`, or submit it with `?run=true`",
                "   ,-[deploy.yml:1:1]",
                " 1 | on: push",
                "   : ^|",
                "   :  `-- on",
                " 2 | jobs:",
                "   `----",
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
                "unknown_need",
                "",
                "  x there is no job `böse`",
                "   ,-[deploy.yml:2:23]",
                " 1 | jobs:",
                " 2 |   a: {run: é, needs: [böse]}",
                "   :                       ^^|^",
                "   :                         `-- jobs.a.needs[0]",
                "   `----",
                "",
                "more",
                "",
                "  x and more (at jobs)",
                "",
                "deploy.yml: 2 problems"
            ])
        );
        assert_eq!(server_refusal(Some(&json!({})), &source, Paint::PLAIN), None);
        assert_eq!(server_refusal(None, &source, Paint::PLAIN), None);
    }

    #[test]
    fn places_outside_of_the_text_do_no_harm() {
        assert_eq!(span_at("a\nb", 3, 1), None);
        assert_eq!(span_at("a\nb", 2, 9), Some((3, 0)));
        assert_eq!(span_at("", 1, 1), Some((0, 0)));
        assert_eq!(in_one_line("ab\ncd", 1, 9), (1, 1));
        assert_eq!(in_one_line("ab", 9, 9), (2, 0));
    }
}
