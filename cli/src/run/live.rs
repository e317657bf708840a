//! The live view: the workflow's jobs, redrawn in place.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::wire::{Job, Stream, Workflow};
use protocol::{JobId, Millis, Status};
use terminal_size::{Height, Width, terminal_size};

use super::frame::Moment;
use crate::progress::Step;
use crate::screen::{Paint, Screen, eprint};
use crate::text::{clean, line};
use crate::watch::{self, Reporter};

/// Lines of a failed job's log that are shown at the end.
const TAIL: usize = 20;
/// What a terminal of unknown size is taken for.
const SIZE: (usize, usize) = (80, 24);
/// Without a cursor, and with lines that end where the terminal does. And back.
const BEGIN: &str = "\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h";

/// Where something is said while the view is drawn: in it, or on standard error if there is none.
#[derive(Clone, Default)]
pub struct Notes(Option<Arc<Mutex<String>>>);

impl Notes {
    /// Says it.
    pub fn say(&self, text: &str) {
        match &self.0 {
            Some(note) => text.clone_into(&mut note.lock().unwrap_or_else(PoisonError::into_inner)),
            None => eprint(text),
        }
    }

    fn text(&self) -> String {
        self.0.as_ref().map(|note| note.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }
}

/// What is drawn, and what will be.
pub struct Live {
    paint: Paint,
    notes: Notes,
    /// Lines above the cursor that are drawn again.
    drawn: usize,
    begun: bool,
    jobs: HashMap<JobId, LastState>,
}

/// What was seen of a job.
#[derive(Default)]
struct LastState {
    attempt: u32,
    ended: bool,
    tail: VecDeque<String>,
}

impl Live {
    /// A view, if a person looks at a terminal that can show one.
    pub fn on(screen: &Screen) -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        (screen.out.terminal && !dumb).then(|| Self::new(screen.out))
    }

    fn new(paint: Paint) -> Self {
        Self { paint, notes: Notes(Some(Arc::default())), drawn: 0, begun: false, jobs: HashMap::new() }
    }

    /// Where to say something meanwhile.
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Goes back to where the last picture began.
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
        let lines = moment.lines(|job| self.jobs.get(job)?.tail.back().map(String::as_str));
        let mut text = self.erase();
        self.drawn = lines.len();
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The end of what each failed job wrote.
    fn failures(&self, workflow: &Workflow) -> String {
        let mut text = String::new();
        for job in workflow.jobs.iter().filter(|job| job.status == Status::Failure) {
            let error = job.error.as_deref().map(line).unwrap_or_default();
            let title = self.paint.status(Status::Failure, &format!("{} failed: {error}", job.id));
            let _ = writeln!(text, "\n{title}");
            for line in self.jobs.get(&job.id).into_iter().flat_map(|seen| &seen.tail) {
                let _ = writeln!(text, "  {}", clean(line));
            }
        }
        text
    }
}

impl Reporter for Live {
    fn observe(&mut self, workflow: &Workflow, _now: Millis) -> Vec<Step> {
        workflow.jobs.iter().filter_map(|job| self.jobs.entry(job.id.clone()).or_default().observe(job)).collect()
    }

    fn log_line(&mut self, job: &JobId, _attempt: u32, _stream: Stream, line: &str) -> String {
        let tail = &mut self.jobs.entry(job.clone()).or_default().tail;
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line.chars().take(1000).collect());
        String::new()
    }

    fn all_ended(&self, workflow: &Workflow) -> bool {
        workflow.jobs.iter().all(|job| self.jobs.get(&job.id).is_some_and(|seen| seen.ended))
    }

    fn picture(&mut self, workflow: &Workflow, now: Millis) -> String {
        let size = terminal_size().map(|(Width(columns), Height(rows))| (columns.into(), rows.into()));
        self.draw(workflow, now, size.filter(|(columns, rows)| columns * rows > 0).unwrap_or(SIZE))
    }

    fn closing(&mut self, workflow: &Workflow, now: Millis) -> String {
        let erased = self.erase();
        self.begun = false;
        format!("{erased}{END}{}{}", self.failures(workflow), watch::closing(workflow, now, self.paint))
    }
}

impl LastState {
    /// What is to be read of its log.
    fn observe(&mut self, job: &Job) -> Option<Step> {
        if self.attempt < job.attempt {
            *self = Self { attempt: job.attempt, ..Self::default() };
        }
        if std::mem::replace(&mut self.ended, job.status.is_final()) {
            return None;
        }
        let started = job.worker_id.is_some() && job.started_at.is_some();
        started.then(|| Step::Log { job: job.id.clone(), attempt: job.attempt, last: self.ended })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.begun {
            // If nobody can see it, there is nothing to restore.
            let _ = write!(std::io::stdout(), "{END}").and_then(|()| std::io::stdout().flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{NOW, job_id, started, workflow};

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
        live.notes().say("cancelling");
        assert!(live.draw(&running(), NOW, (80, 24)).contains("\ncancelling"));
        let shorter = live.draw(&running(), NOW, (80, 2));
        assert!(shorter.starts_with("\r\x1b[3A\x1b[J") && shorter.matches('\n').count() == 1, "{shorter:?}");
    }

    #[test]
    fn the_last_words_restore_the_cursor_and_show_what_a_failed_job_wrote() {
        let mut live = Live::new(Paint::PLAIN);
        let first = running();
        assert_eq!(live.observe(&first, NOW), [Step::Log { job: job_id("a"), attempt: 0, last: false }]);
        live.draw(&first, NOW, (80, 24));
        for n in 0..30 {
            live.log_line(&job_id("a"), 0, Stream::Stdout, &format!("line {n}"));
        }
        let failed = Job { error: Some("exit code 3".to_owned()), ..started("a", Status::Failure, "w", 3) };
        let last = workflow(Status::Failure, vec![failed]);
        assert!(!live.all_ended(&last));
        assert_eq!(live.observe(&last, NOW), [Step::Log { job: job_id("a"), attempt: 0, last: true }]);
        assert_eq!(live.observe(&last, NOW), []);
        assert!(live.all_ended(&last));
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
        live.observe(&running(), NOW);
        live.log_line(&job_id("a"), 0, Stream::Stdout, "first");
        let again = Job { attempt: 1, ..started("a", Status::Running, "w", 1) };
        live.observe(&workflow(Status::Running, vec![again]), NOW);
        assert!(live.jobs[&job_id("a")].tail.is_empty());
    }
}
