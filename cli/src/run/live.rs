//! The live view: the workflow's jobs, redrawn in place.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::wire::{Job, Stream, Workflow};
use protocol::{JobId, Millis, Status};
use terminal_size::{Height, Width, terminal_size};

use super::frame::Moment;
use crate::changes::{Change, Reporter};
use crate::progress::closing;
use crate::screen::{Paint, Screen, eprint, is_dumb};
use crate::text::{clean, line};

/// Lines of a failed job's log that are shown at the end.
const TAIL: usize = 20;
/// The assumed size of a terminal whose size is unknown.
const SIZE: (usize, usize) = (80, 24);
/// Hides the cursor and cuts long lines; and the reverse.
const BEGIN: &str = "\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h";

/// Where a message is shown: in the live view while there is one, else on standard error.
#[derive(Clone, Default)]
pub struct Notes(Option<Arc<Mutex<String>>>);

impl Notes {
    /// Shows a message.
    pub fn show(&self, text: &str) {
        match &self.0 {
            Some(note) => text.clone_into(&mut note.lock().unwrap_or_else(PoisonError::into_inner)),
            None => eprint(text),
        }
    }

    /// From now on messages go to standard error: the view has ended. Returns the view's last message, which its end erased.
    pub fn leave_view(&mut self) -> Option<String> {
        let last = self.text();
        self.0 = None;
        Some(last).filter(|last| !last.is_empty())
    }

    fn text(&self) -> String {
        self.0.as_ref().map(|note| note.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }
}

/// The state of the live view.
pub struct Live {
    paint: Paint,
    notes: Notes,
    /// Number of lines above the cursor that the next picture replaces.
    drawn: usize,
    begun: bool,
    /// The last lines of each job's log.
    tails: HashMap<JobId, VecDeque<String>>,
}

impl Live {
    /// Returns a view if standard output is a terminal that can show one.
    pub fn on(screen: &Screen) -> Option<Self> {
        (screen.out.terminal && !is_dumb()).then(|| Self::new(screen.out))
    }

    fn new(paint: Paint) -> Self {
        Self { paint, notes: Notes(Some(Arc::default())), drawn: 0, begun: false, tails: HashMap::new() }
    }

    /// Where to show messages meanwhile.
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Moves the cursor to where the last picture began and clears the screen from there.
    fn erase(&mut self) -> String {
        let mut text = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            text.push_str(BEGIN);
        }
        match std::mem::take(&mut self.drawn) {
            0 => text.push_str("\r\x1b[J"),
            lines => drop(write!(text, "\r\x1b[{lines}A\x1b[J")),
        }
        text
    }

    fn draw(&mut self, workflow: &Workflow, now: Millis, (columns, rows): (usize, usize)) -> String {
        let note = self.notes.text();
        let moment = Moment { workflow, now, paint: self.paint, columns, rows, note: &note };
        let lines = moment.lines(|job| self.tails.get(job)?.back().map(String::as_str));
        let mut text = self.erase();
        self.drawn = lines.len();
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The end of the log of each failed job.
    fn failures(&self, workflow: &Workflow) -> String {
        let mut text = String::new();
        for job in workflow.jobs.iter().filter(|job| job.status == Status::Failure) {
            let error = job.error.as_deref().map(line).unwrap_or_default();
            let title = self.paint.status(Status::Failure, &format!("{} failed: {error}", clean(job.id.as_str())));
            let _ = writeln!(text, "\n{title}");
            for line in self.tails.get(&job.id).into_iter().flatten() {
                let _ = writeln!(text, "  {}", clean(line));
            }
        }
        text
    }
}

impl Reporter for Live {
    fn job(&mut self, _workflow: &Workflow, job: &Job, change: Change) -> String {
        if let Change::AttemptFailed(_) = change {
            self.tails.remove(&job.id);
        }
        String::new()
    }

    fn log_line(&mut self, job: &JobId, _attempt: u32, _stream: Stream, line: &str) -> String {
        let tail = self.tails.entry(job.clone()).or_default();
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line.chars().take(1000).collect());
        String::new()
    }

    fn picture(&mut self, workflow: &Workflow, now: Millis) -> String {
        let size = terminal_size().map(|(Width(columns), Height(rows))| (columns.into(), rows.into()));
        self.draw(workflow, now, size.filter(|(columns, rows)| columns * rows > 0).unwrap_or(SIZE))
    }

    fn closing(&mut self, workflow: &Workflow, now: Millis) -> String {
        let erased = self.erase();
        self.begun = false;
        format!("{erased}{END}{}{}", self.failures(workflow), closing(workflow, now, self.paint))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.begun {
            // A failed write means that there is no terminal to restore.
            let _ = write!(std::io::stdout(), "{END}").and_then(|()| std::io::stdout().flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{NOW, job_id, started, workflow};

    fn running() -> Workflow {
        workflow(Status::Running, vec![started("a", Status::Running, "w", 3)])
    }

    #[test]
    fn a_picture_is_drawn_over_the_one_before() {
        let mut live = Live::new(Paint::PLAIN);
        let first = live.draw(&running(), NOW, (80, 24));
        assert!(first.starts_with(BEGIN) && first.matches('\n').count() == 2, "{first:?}");
        let second = live.draw(&running(), NOW, (80, 24));
        assert!(second.starts_with("\r\x1b[2A\x1b[J"), "{second:?}");
        live.notes().show("cancelling");
        assert!(live.draw(&running(), NOW, (80, 24)).contains("\ncancelling"));
        let shorter = live.draw(&running(), NOW, (80, 2));
        assert!(shorter.starts_with("\r\x1b[3A\x1b[J") && shorter.matches('\n').count() == 1, "{shorter:?}");
    }

    #[test]
    fn the_closing_restores_the_cursor_and_shows_the_log_of_a_failed_job() {
        let mut live = Live::new(Paint::PLAIN);
        let first = running();
        live.draw(&first, NOW, (80, 24));
        for n in 0..30 {
            live.log_line(&job_id("a"), 0, Stream::Stdout, &format!("line {n}"));
        }
        let failed = Job { error: Some("exit code 3".to_owned()), ..started("a", Status::Failure, "w", 3) };
        let last = workflow(Status::Failure, vec![failed]);
        let closing = live.closing(&last, NOW);
        assert!(
            closing.starts_with(&format!("\r\x1b[2A\x1b[J{END}\na failed: exit code 3\n  line 10\n")),
            "{closing:?}"
        );
        assert!(closing.ends_with("  line 29\n\nJOB  STATUS   TIME   WORKER\na    failure  1.0 s  w       exit code 3\n\ndeploy failed after 1 min 3 s\n"), "{closing:?}");
    }

    #[test]
    fn another_try_begins_with_an_empty_tail() {
        let mut live = Live::new(Paint::PLAIN);
        live.log_line(&job_id("a"), 0, Stream::Stdout, "first");
        let again = Job { attempt: 1, ..started("a", Status::Running, "w", 1) };
        live.job(&running(), &again, Change::AttemptFailed(0));
        assert!(live.tails.is_empty());
    }
}
