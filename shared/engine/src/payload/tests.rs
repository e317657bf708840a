//! Tests of the size of a payload.

use protocol::{SecretName, SecretValue};

use super::*;

fn is_large(queued: &QueuedJob, upstream: usize) -> bool {
    escaped_size(queued, upstream) > limits::ANSWER_ESCAPED
}

/// A character that takes seven bytes as JSON text within JSON.
const CONTROL: &str = "\u{1}";

fn with_env(command: String, env: &str) -> QueuedJob {
    let env = if env.is_empty() { BTreeMap::new() } else { BTreeMap::from([("V".to_owned(), env.to_owned())]) };
    QueuedJob { command, env, ..queued("") }
}

#[test]
fn payload_is_large_if_it_is_over_the_limit_as_text_in_json() {
    // Seven times this is just below the limit, and with one byte more just over it.
    let part = limits::ANSWER_ESCAPED / 7;
    let controls = |count: usize| CONTROL.repeat(count);
    assert!(is_large(&with_env(controls(part + 1), ""), 0), "a command");
    assert!(is_large(&with_env(String::new(), &controls(part)), 0), "a variable and its name");
    assert!(is_large(&with_env(controls(part / 2), &controls(part / 2 + 1)), 0), "both");
    assert!(!is_large(&with_env("x".repeat(1_000_000), ""), 0));
    let mut upstream = with_env(String::new(), "");
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
    let mut job = with_env(CONTROL.repeat(800_000), "");
    job.command.push_str(&"x".repeat(limits::ANSWER_ESCAPED - escaped(&job)));
    assert_eq!(escaped(&job), limits::ANSWER_ESCAPED);
    assert!(!is_large(&job, 0));
    job.command.push('x');
    assert!(is_large(&job, 0));
}

fn queued(command: &str) -> QueuedJob {
    let json = serde_json::json!({
        "job_id": "a", "workflow_id": "w", "command": command, "required_labels": [],
        "retry_policy": { "max_retries": 0, "backoff": "None" }, "attempt": 0, "upstream_outputs": {},
        "enqueued_at_ms": 0, "delayed_until_ms": 0,
    });
    serde_json::from_value(json).expect("a job")
}

/// The size of a function's answer, as its gateway receives it.
fn returned(queued: &QueuedJob) -> usize {
    let body = serde_json::to_string(queued).expect("JSON");
    serde_json::to_string(&body).expect("JSON").len()
}

#[test]
fn payload_that_no_function_can_return_is_refused_and_one_that_fits_is_not() {
    let plain = queued(&"x".repeat(limits::COMMAND));
    assert_eq!(too_large_without_outputs(&plain), None);
    let quotes = queued(&"\"".repeat(limits::COMMAND));
    assert_eq!(too_large_without_outputs(&quotes), None, "{} bytes", returned(&quotes));
    for (what, worst) in [
        ("a command of control characters", queued(&"\u{1}".repeat(limits::COMMAND))),
        ("env, which is in the command too", {
            let value = "\"".repeat(limits::ENV_VALUE);
            let env = (0..8).map(|n| (format!("V{n}"), value.clone())).collect();
            QueuedJob { env, ..queued(&"\"".repeat(limits::COMMAND)) }
        }),
    ] {
        assert!(returned(&worst) > limits::ANSWER_ESCAPED, "{what}: {}", returned(&worst));
        let text = too_large_without_outputs(&worst).unwrap_or_else(|| panic!("{what} was not refused"));
        assert!(text.contains("command, env and secrets") && text.contains("limit ANSWER_ESCAPED"), "{text}");
    }
    // Lambda's limit, with the lease and headers.
    const { assert!(limits::ANSWER_ESCAPED + 2_000 < 6 * 1024 * 1024) };
}

#[test]
fn secrets_count_towards_the_size_of_a_payload() {
    let secret = SecretValue::new("\u{1}".repeat(limits::SECRET)).expect("a value");
    let secrets = (0..limits::SECRETS_PER_JOB)
        .map(|n| (SecretName::new(format!("S{n}")).expect("a name"), secret.clone()))
        .collect();
    let command = "\u{1}".repeat(limits::ANSWER_ESCAPED / 7 - 2 * limits::SECRET);
    assert_eq!(too_large_without_outputs(&queued(&command)), None);
    assert!(too_large_without_outputs(&QueuedJob { secrets, ..queued(&command) }).is_some());
}

#[test]
fn inputs_count_towards_the_size_of_a_payload_beside_the_variables_with_their_values() {
    let inputs: InputValues = [("v".to_owned(), "\u{1}".repeat(limits::INPUTS_SIZE - 1))].into();
    let command = "\u{1}".repeat(limits::ANSWER_ESCAPED / 7 - limits::INPUTS_SIZE / 2);
    assert_eq!(too_large_without_outputs(&queued(&command)), None);
    assert!(too_large_without_outputs(&QueuedJob { inputs, ..queued(&command) }).is_some());
}
