//! The events of a run for programs: one JSON object for each line.

use std::collections::HashMap;

use protocol::wire::{Job, Stream, Workflow};
use protocol::{JobId, Millis};
use serde_json::{Map, Value, json};

use crate::attempts;
use crate::progress::Step;
use crate::watch::Reporter;

/// The events that were already reported.
#[derive(Default)]
pub struct Events(HashMap<JobId, Reported>);

/// The reported state of a job.
#[derive(Default)]
struct Reported {
    attempt: u32,
    started: bool,
    ended: bool,
}

impl Events {
    /// The first line.
    pub fn beginning(workflow: &Workflow, workers: &Value) -> String {
        let jobs: Vec<&JobId> = workflow.jobs.iter().map(|job| &job.id).collect();
        let Workflow { id, name, .. } = workflow;
        line(&json!({ "event": "begin", "workflow_id": id, "name": name, "jobs": jobs, "workers": workers }))
    }
}

impl Reporter for Events {
    fn observe(&mut self, workflow: &Workflow, _now: Millis) -> Vec<Step> {
        let mut jobs: Vec<&Job> = workflow.jobs.iter().collect();
        jobs.sort_by_key(|job| job.started_at.or(job.finished_at_ms).unwrap_or(Millis(u64::MAX)));
        let mut steps = Vec::new();
        for job in jobs {
            self.0.entry(job.id.clone()).or_default().observe(job, &mut steps);
        }
        steps
    }

    fn log_line(&mut self, job: &JobId, attempt: u32, stream: Stream, text: &str) -> String {
        line(&json!({ "event": "log", "job": job, "attempt": attempt, "stream": stream, "line": text }))
    }

    fn all_ended(&self, workflow: &Workflow) -> bool {
        workflow.jobs.iter().all(|job| self.0.get(&job.id).is_some_and(|reported| reported.ended))
    }

    fn closing(&mut self, workflow: &Workflow, _now: Millis) -> String {
        let outputs: Map<String, Value> = workflow
            .jobs
            .iter()
            .filter(|job| !job.outputs.is_empty())
            .map(|job| (job.id.to_string(), json!(job.outputs)))
            .collect();
        let took = millis(workflow.started_at_ms, workflow.finished_at_ms);
        line(&json!({ "event": "end", "status": workflow.status, "duration_ms": took, "outputs": outputs }))
    }
}

impl Reported {
    fn observe(&mut self, job: &Job, steps: &mut Vec<Step>) {
        let log = |attempt, last| Step::Log { job: job.id.clone(), attempt, last };
        while self.attempt < job.attempt {
            let failed = attempts::find(job, self.attempt);
            let (cause, error) = (failed.map(|failed| failed.cause), failed.map(|failed| &failed.error));
            let again =
                json!({ "event": "retry", "job": job.id, "attempt": self.attempt, "cause": cause, "error": error });
            steps.extend([log(self.attempt, true), Step::Say(line(&again))]);
            *self = Self { attempt: self.attempt + 1, ..Self::default() };
        }
        if self.ended {
            return;
        }
        if job.worker_id.is_some() && !self.started {
            self.started = true;
            let Job { id, attempt, worker_id, started_at, .. } = job;
            let start =
                json!({ "event": "start", "job": id, "attempt": attempt, "worker": worker_id, "at_ms": started_at });
            steps.push(Step::Say(line(&start)));
        }
        self.ended = job.status.is_final();
        if self.started {
            steps.push(log(job.attempt, self.ended));
        }
        if self.ended {
            steps.push(Step::Say(line(&ended(job))));
        }
    }
}

fn ended(job: &Job) -> Value {
    json!({
        "event": "finish",
        "job": job.id,
        "attempt": job.attempt,
        "status": job.status,
        "outputs": job.outputs,
        "exit_code": job.exit_code,
        "error": job.error,
        "duration_ms": millis(job.started_at, job.finished_at_ms),
        "at_ms": job.finished_at_ms,
    })
}

fn millis(from: Option<Millis>, to: Option<Millis>) -> Option<u64> {
    from.zip(to).map(|(from, to)| to.0.saturating_sub(from.0))
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use protocol::Status;

    use super::*;
    use crate::test_data::{NOW, job, job_id, outputs, started, tried, workflow};

    fn said(steps: &[Step]) -> Vec<String> {
        let text = |step: &Step| match step {
            Step::Say(text) => {
                let value: Value = serde_json::from_str(text).expect("one JSON value a line");
                format!("{} {}", value["event"].as_str().expect("an event"), value["job"].as_str().expect("a job"))
            }
            Step::Log { job, attempt, last } => format!("log {job} {attempt} {last}"),
        };
        steps.iter().map(text).collect()
    }

    #[test]
    fn everything_is_told_once_and_in_order() {
        let mut events = Events::default();
        let first = workflow(Status::Running, vec![started("a", Status::Running, "w", 9), job("b", Status::Queued)]);
        assert_eq!(said(&events.observe(&first, NOW)), ["start a", "log a 0 false"]);
        assert!(!events.all_ended(&first));
        let again = Job { attempt: 1, ..tried(started("a", Status::Success, "w", 5), 0..1) };
        let then = workflow(Status::Success, vec![job("b", Status::Skipped), again]);
        let expected = ["log a 0 true", "retry a", "start a", "log a 1 true", "finish a", "finish b"];
        let steps = events.observe(&then, NOW);
        assert_eq!(said(&steps), expected);
        let retry = r#"{"attempt":0,"cause":"failure","error":"exit code 0","event":"retry","job":"a"}"#;
        assert_eq!(steps[1], Step::Say(format!("{retry}\n")));
        assert_eq!(events.observe(&then, NOW), []);
        assert!(events.all_ended(&then));
    }

    #[test]
    fn the_last_line_has_all_outputs() {
        let done = Job { outputs: outputs(&[("v", "1\n2")]), ..started("a", Status::Success, "w", 9) };
        let closing = Events::default().closing(&workflow(Status::Success, vec![done, job("b", Status::Success)]), NOW);
        let end: Value = serde_json::from_str(&closing).expect("JSON");
        assert_eq!(end["outputs"], json!({ "a": { "v": "1\n2" } }));
        assert_eq!((end["status"].as_str(), end["duration_ms"].as_u64()), (Some("success"), Some(63_000)));
        let log = Events::default().log_line(&job_id("a"), 0, Stream::Stderr, "x");
        assert_eq!(log, "{\"attempt\":0,\"event\":\"log\",\"job\":\"a\",\"line\":\"x\",\"stream\":\"stderr\"}\n");
    }
}
