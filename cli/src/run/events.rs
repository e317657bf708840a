//! The events of a run for programs: one JSON object for each line.

use protocol::wire::{Job, Stream, Workflow};
use protocol::{JobId, Millis};
use serde_json::{Map, Value, json};

use crate::attempts;
use crate::changes::{Change, Reporter};

/// Formats each change as an event.
pub struct Events;

impl Events {
    /// The first line.
    pub fn beginning(workflow: &Workflow, workers: &Value) -> String {
        let jobs: Vec<&JobId> = workflow.jobs.iter().map(|job| &job.id).collect();
        let Workflow { id, name, .. } = workflow;
        line(&json!({ "event": "begin", "workflow_id": id, "name": name, "jobs": jobs, "workers": workers }))
    }
}

impl Reporter for Events {
    fn job(&mut self, _workflow: &Workflow, job: &Job, change: Change) -> String {
        let Job { id, attempt, worker_id, started_at, .. } = job;
        match change {
            Change::AttemptFailed(attempt) => {
                let failed = attempts::find(job, attempt);
                let (cause, error) = (failed.map(|failed| failed.cause), failed.map(|failed| &failed.error));
                line(&json!({ "event": "retry", "job": id, "attempt": attempt, "cause": cause, "error": error }))
            }
            Change::Started => line(
                &json!({ "event": "start", "job": id, "attempt": attempt, "worker": worker_id, "at_ms": started_at }),
            ),
            Change::Ended => line(&json!({
                "event": "finish",
                "job": id,
                "attempt": attempt,
                "status": job.status,
                "outputs": job.outputs,
                "exit_code": job.exit_code,
                "error": job.error,
                "duration_ms": millis(job.started_at, job.finished_at_ms),
                "at_ms": job.finished_at_ms,
            })),
            Change::RunBegan | Change::NotStarted | Change::Log { .. } | Change::Waits => String::new(),
        }
    }

    fn log_line(&mut self, job: &JobId, attempt: u32, stream: Stream, text: &str) -> String {
        line(&json!({ "event": "log", "job": job, "attempt": attempt, "stream": stream, "line": text }))
    }

    fn closing(&mut self, workflow: &Workflow, _now: Millis) -> String {
        let with_outputs = workflow.jobs.iter().filter(|job| !job.outputs.is_empty());
        let outputs: Map<String, Value> = with_outputs.map(|job| (job.id.to_string(), json!(job.outputs))).collect();
        let took = millis(workflow.started_at_ms, workflow.finished_at_ms);
        line(&json!({ "event": "end", "status": workflow.status, "duration_ms": took, "outputs": outputs }))
    }
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
    use crate::tests::{NOW, job, job_id, outputs, started, tried, workflow};

    fn event(job: &Job, change: Change) -> Value {
        let text = Events.job(&workflow(Status::Running, vec![]), job, change);
        serde_json::from_str(&text).expect("one JSON value a line")
    }

    #[test]
    fn each_change_of_a_job_is_an_event() {
        let a = Job { attempt: 1, ..tried(started("a", Status::Success, "w", 5), 0..1) };
        assert_eq!(
            event(&a, Change::AttemptFailed(0)),
            json!({"event": "retry", "job": "a", "attempt": 0, "cause": "failure", "error": "exit code 0"})
        );
        assert_eq!(
            event(&a, Change::Started),
            json!({"event": "start", "job": "a", "attempt": 1, "worker": "w", "at_ms": a.started_at})
        );
        let end = event(&a, Change::Ended);
        assert_eq!(
            (&end["event"], &end["status"], &end["duration_ms"]),
            (&json!("finish"), &json!("success"), &json!(3000))
        );
        assert_eq!(Events.job(&workflow(Status::Running, vec![]), &a, Change::Waits), "");
    }

    #[test]
    fn the_last_line_has_all_outputs() {
        let done = Job { outputs: outputs(&[("v", "1\n2")]), ..started("a", Status::Success, "w", 9) };
        let closing = Events.closing(&workflow(Status::Success, vec![done, job("b", Status::Success)]), NOW);
        let end: Value = serde_json::from_str(&closing).expect("JSON");
        assert_eq!(end["outputs"], json!({ "a": { "v": "1\n2" } }));
        assert_eq!((end["status"].as_str(), end["duration_ms"].as_u64()), (Some("success"), Some(63_000)));
        let log = Events.log_line(&job_id("a"), 0, Stream::Stderr, "x");
        assert_eq!(log, "{\"attempt\":0,\"event\":\"log\",\"job\":\"a\",\"line\":\"x\",\"stream\":\"stderr\"}\n");
    }
}
