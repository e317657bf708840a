//! Tests of the size of a payload.

use super::*;

/// A character that takes seven bytes as JSON text within JSON.
const CONTROL: &str = "\u{1}";

fn queued(command: String, env: &str) -> QueuedJob {
    let job = serde_json::json!({
        "job_id": "a", "workflow_id": "wf", "command": "", "required_labels": [],
        "retry_policy": RetryPolicy { max_retries: 0, backoff: Backoff::None },
        "attempt": 0, "upstream_outputs": {}, "enqueued_at_ms": 0, "delayed_until_ms": 0,
    });
    let env = if env.is_empty() { BTreeMap::new() } else { BTreeMap::from([("V".to_owned(), env.to_owned())]) };
    QueuedJob { command, env, ..serde_json::from_value(job).expect("a job") }
}

#[test]
fn payload_is_large_if_it_is_over_the_limit_as_text_in_json() {
    // Seven times this is just below the limit, and with one byte more just over it.
    let part = limits::ANSWER_ESCAPED / 7;
    let controls = |count: usize| CONTROL.repeat(count);
    assert!(is_large(&queued(controls(part + 1), ""), 0), "a command");
    assert!(is_large(&queued(String::new(), &controls(part)), 0), "a variable and its name");
    assert!(is_large(&queued(controls(part / 2), &controls(part / 2 + 1)), 0), "both");
    assert!(!is_large(&queued("x".repeat(1_000_000), ""), 0));
    let mut upstream = queued(String::new(), "");
    let name = OutputName::new("v").expect("a name");
    upstream.upstream_outputs.insert(JobId::new("b").expect("an id"), Outputs::from([(name, controls(part + 1))]));
    assert!(is_large(&upstream, part + 1), "outputs");
}

#[test]
fn payload_of_exactly_the_limit_as_text_in_json_is_not_large() {
    let escaped = |job: &QueuedJob| {
        let json = serde_json::to_string(job).expect("JSON");
        json.len() + json.matches(['"', '\\']).count()
    };
    let mut job = queued(CONTROL.repeat(800_000), "");
    job.command.push_str(&"x".repeat(limits::ANSWER_ESCAPED - escaped(&job)));
    assert_eq!(escaped(&job), limits::ANSWER_ESCAPED);
    assert!(!is_large(&job, 0));
    job.command.push('x');
    assert!(is_large(&job, 0));
}
