//! What the live view shows at one moment, cut to the terminal's size. No I/O.

use std::fmt::Write;

use protocol::wire::{Job, Workflow};
use protocol::{JobId, Millis, Status};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::screen::Paint;
use crate::show;
use crate::table;
use crate::text::{clean, count, line, value};
use crate::time::duration;
use crate::why;

/// Below this width, status and worker of a job are left out.
const NARROW: usize = 60;
/// The most that the names of workers take.
const WORKER: usize = 20;

/// A moment of a workflow.
pub struct Moment<'a> {
    pub workflow: &'a Workflow,
    pub now: Millis,
    pub paint: Paint,
    pub columns: usize,
    pub rows: usize,
    /// A message below the jobs.
    pub note: &'a str,
}

/// A text and its style.
type Piece = (String, Style);

#[derive(Clone, Copy)]
enum Style {
    Plain,
    Dim,
    Bold,
    Of(Status),
}

impl Moment<'_> {
    /// The lines, none wider than the terminal and together not taller. `last` is the last line that a job wrote.
    pub fn lines<'b>(&self, last: impl Fn(&JobId) -> Option<&'b str>) -> Vec<String> {
        // The cursor is below the last line.
        let room = self.rows.saturating_sub(2).max(1) - usize::from(!self.note.is_empty() && self.rows > 4);
        let (jobs, rest) = self.most_important(room);
        let widths = Widths::of(&jobs, self.columns);
        let mut lines = vec![self.fit(&self.heading())];
        for job in &jobs {
            lines.push(self.fit(&self.job(job, &widths, last(&job.id))));
        }
        if let Some(rest) = rest {
            lines.push(self.fit(&[(rest, Style::Dim)]));
        }
        if !self.note.is_empty() {
            lines.push(self.fit(&[(self.note.to_owned(), Style::Bold)]));
        }
        lines.truncate(self.rows.saturating_sub(1).max(1));
        lines
    }

    fn heading(&self) -> Vec<Piece> {
        let jobs = &self.workflow.jobs;
        let mut text = format!("  {} of {} done", jobs.iter().filter(|job| job.status.is_final()).count(), jobs.len());
        for (status, word) in [(Status::Running, "running"), (Status::Failure, "failed")] {
            let number = number(jobs.iter(), status);
            if number > 0 {
                let _ = write!(text, ", {number} {word}");
            }
        }
        let end = self.workflow.finished_at_ms.unwrap_or(self.now);
        let time = self.workflow.started_at_ms.map(|from| format!("  {}", clock(end, from))).unwrap_or_default();
        vec![(clean(&self.workflow.name), Style::Bold), (text, Style::Plain), (time, Style::Dim)]
    }

    /// The jobs that fit, in the file's order, and a line that counts the others.
    fn most_important(&self, room: usize) -> (Vec<&Job>, Option<String>) {
        let jobs = &self.workflow.jobs;
        if jobs.len() <= room {
            return (jobs.iter().collect(), None);
        }
        let mut indices: Vec<usize> = (0..jobs.len()).collect();
        indices.sort_by_key(|&index| importance(&jobs[index]));
        let rest = indices.split_off(room - 1);
        indices.sort_unstable();
        let others = |status| number(rest.iter().map(|&index| &jobs[index]), status);
        let counts: Vec<String> = Status::all()
            .filter(|status| others(*status) > 0)
            .map(|status| format!("{} {status}", others(status)))
            .collect();
        let more = format!("  and {} more: {}", count(rest.len(), "job"), counts.join(", "));
        (indices.into_iter().map(|index| &jobs[index]).collect(), Some(more))
    }

    fn job(&self, job: &Job, widths: &Widths, last: Option<&str>) -> Vec<Piece> {
        let status = Style::Of(job.status);
        let time = match (job.started_at, job.status) {
            (Some(from), Status::Running) => clock(self.now, from),
            _ => show::took(job).map(duration).unwrap_or_default(),
        };
        let mut pieces =
            vec![(format!("{} ", mark(job.status)), status), (padded(&clean(job.id.as_str()), widths.id), Style::Bold)];
        if !widths.narrow {
            pieces.push((format!("  {}", padded(job.status.as_ref(), 9)), status));
        }
        pieces.push((format!("  {time:>8}"), Style::Plain));
        if widths.worker > 0 {
            let worker = job.worker_id.as_ref().map(|worker| clean(worker.as_str())).unwrap_or_default();
            pieces.push((format!("  {}", padded(&worker, widths.worker)), Style::Dim));
        }
        let detail = match job.status {
            Status::Running => last.map(line).unwrap_or_default(),
            Status::Success => {
                job.outputs.iter().map(|(name, text)| format!("{name}={}", value(text))).collect::<Vec<_>>().join("  ")
            }
            Status::Failure => job.error.as_deref().map(line).unwrap_or_default(),
            Status::Skipped => why::skipped(job, self.workflow),
            Status::Queued => line(&why::brief(job, self.workflow, self.now)),
            Status::Cancelled => String::new(),
        };
        pieces.push((format!("  {detail}"), Style::Dim));
        pieces
    }

    /// One line, cut where the terminal ends.
    fn fit(&self, pieces: &[Piece]) -> String {
        let whole: usize = pieces.iter().map(|(text, _)| text.trim_end().width().max(text.width())).sum();
        let mut room = if whole <= self.columns { self.columns } else { self.columns.saturating_sub(1) };
        let mut shown = String::new();
        for (text, look) in pieces {
            let part = cut(text, room);
            room -= part.width();
            shown.push_str(&self.look(part, *look));
        }
        if whole > self.columns { shown + "…" } else { shown.trim_end().to_owned() }
    }

    fn look(&self, text: &str, look: Style) -> String {
        match look {
            Style::Plain => text.to_owned(),
            Style::Dim => self.paint.dim(text),
            Style::Bold => self.paint.bold(text),
            Style::Of(status) => self.paint.status(status, text),
        }
    }
}

/// How wide the columns are.
struct Widths {
    id: usize,
    worker: usize,
    narrow: bool,
}

impl Widths {
    fn of(jobs: &[&Job], columns: usize) -> Self {
        let narrow = columns < NARROW;
        let id = jobs.iter().map(|job| job.id.as_str().width()).max().unwrap_or(0).min((columns / 3).max(8));
        let worker = jobs.iter().filter_map(|job| job.worker_id.as_ref()).map(|worker| worker.as_str().width()).max();
        Self { id, worker: if narrow { 0 } else { worker.unwrap_or(0).min(WORKER) }, narrow }
    }
}

fn importance(job: &Job) -> (u8, u64) {
    let ended = job.finished_at_ms.map_or(0, |at| u64::MAX - at.0);
    match job.status {
        Status::Running => (0, 0),
        Status::Failure => (1, ended),
        Status::Queued if job.waiting_for.as_ref().is_some_and(|waiting| waiting.needs.is_none()) => (2, 0),
        Status::Queued => (3, 0),
        Status::Success | Status::Skipped | Status::Cancelled => (4, ended),
    }
}

fn number<'a>(jobs: impl Iterator<Item = &'a Job>, status: Status) -> usize {
    jobs.filter(|job| job.status == status).count()
}

fn mark(status: Status) -> char {
    match status {
        Status::Queued => '·',
        Status::Running => '●',
        Status::Success => '✓',
        Status::Failure => '✗',
        Status::Skipped => '-',
        Status::Cancelled => '!',
    }
}

/// A time that goes on: in steps that can be read.
fn clock(now: Millis, from: Millis) -> String {
    let time = now.since(from);
    if time.as_secs() < 1 { format!("0.{} s", time.subsec_millis() / 100) } else { duration(time) }
}

/// Cut or filled up to this width.
fn padded(text: &str, width: usize) -> String {
    if text.width() <= width {
        return table::padded(text, width);
    }
    table::padded(&format!("{}…", cut(text, width.saturating_sub(1))), width)
}

/// The beginning of a text, as far as it fits. A text may be wider or narrower than its characters together: an emoji with
/// a variation selector is wider.
fn cut(text: &str, width: usize) -> &str {
    if text.width() <= width {
        return text;
    }
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > width
    });
    let mut shown = end.map_or(text, |(at, _)| &text[..at]).chars();
    while shown.as_str().width() > width {
        shown.next_back();
    }
    shown.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{NOW, job, job_id, outputs, started, workflow};

    fn shown(workflow: &Workflow, columns: usize, rows: usize, note: &str) -> Vec<String> {
        let moment = Moment { workflow, now: NOW, paint: Paint::PLAIN, columns, rows, note };
        moment.lines(|job| (job.as_str() == "test").then_some("compiling é\tunits\x1b[2J"))
    }

    fn deploy() -> Workflow {
        let build =
            Job { outputs: outputs(&[("version", "1.2.3")]), ..started("build", Status::Success, "general", 9) };
        let waits = Job { depends_on: vec![job_id("test")], ..job("deploy-prod", Status::Queued) };
        workflow(Status::Running, vec![build, started("test", Status::Running, "linux", 3), waits])
    }

    #[test]
    fn each_job_shows_its_state_time_worker_and_last_line() {
        let expected = [
            "deploy  1 of 3 done, 1 running  1 min 5 s",
            "✓ build        success       7.0 s  general  version=1.2.3",
            "● test         running       3.0 s  linux    compiling é\\tunits\\u{1b}[2J",
            "· deploy-prod  queued                        waits: it is about to be ready",
        ];
        assert_eq!(shown(&deploy(), 120, 24, ""), expected);
    }

    #[test]
    fn nothing_is_wider_or_taller_than_the_terminal() {
        let mut large = deploy();
        for n in 0..50 {
            large.jobs.push(started(&format!("a-rather-long-name-日本語-{n}"), Status::Success, "general", 40));
        }
        // Each is wider than its characters together.
        let emoji = "⚠\u{fe0f}".repeat(16);
        let error = Some(emoji.repeat(4));
        large.jobs.push(Job { error, ..started(&emoji, Status::Failure, "general", 3) });
        for columns in [1, 2, 5, 20, 40, 59, 60, 80, 200] {
            for rows in [1, 2, 3, 4, 5, 10, 24, 60] {
                for note in ["", "cancelling: running jobs are stopped; once more kills them"] {
                    let lines = shown(&large, columns, rows, note);
                    assert!(lines.len() <= rows.saturating_sub(1).max(1), "{rows} rows: {lines:#?}");
                    let widest = lines.iter().map(|line| line.width()).max();
                    assert!(widest <= Some(columns), "{columns} columns: {lines:#?}");
                }
            }
        }
    }

    #[test]
    fn of_many_jobs_the_most_important_are_shown_and_the_others_counted() {
        let mut jobs: Vec<Job> = (0..20).map(|n| started(&format!("done-{n}"), Status::Success, "w", 30)).collect();
        jobs.push(started("broken", Status::Failure, "w", 20));
        jobs.push(started("test", Status::Running, "w", 10));
        let lines = shown(&workflow(Status::Running, jobs), 100, 6, "");
        assert_eq!(lines.len(), 5);
        assert!(lines[2].starts_with("✗ broken") && lines[3].starts_with("● test"), "{lines:#?}");
        assert_eq!(lines[4], "  and 19 jobs more: 19 success");
    }
}
