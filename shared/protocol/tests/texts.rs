//! Tests of what the types show, hide and leave out.

use protocol::access::{Allowed, AuditAction, AuditEntry, NewToken};
use protocol::requests::{Claim, Next};
use protocol::wire::{Backoff, Job, QueuedJob, RetryPolicy};
use protocol::{Label, LabelSet, LeaseId, Millis, SecretName, SecretValue, Status, TokenName};
use serde_json::{Value, json};

#[test]
fn label_and_time_are_shown_as_they_are_written() {
    assert_eq!(Label::new("gpu").expect("a label").to_string(), "gpu");
    assert_eq!(Millis(1500).to_string(), "1500");
}

#[test]
fn status_is_final_from_the_end_of_the_job_on() {
    let finals: Vec<Status> = Status::all().filter(|status| status.is_final()).collect();
    assert_eq!(finals, [Status::Success, Status::Failure, Status::Skipped, Status::Cancelled]);
    assert_eq!(Status::all().count(), 6);
}

#[test]
fn error_about_a_status_names_the_word_and_all_statuses() {
    let error = "done".parse::<Status>().expect_err("not a status");
    assert_eq!(error, "\"done\" is not a status; it is one of queued, running, success, failure, skipped, cancelled");
}

#[test]
fn claim_that_says_no_time_has_a_lease_of_30_seconds() {
    let claim: Claim = serde_json::from_value(json!({ "worker_id": "w" })).expect("a claim");
    let next: Next = serde_json::from_value(json!({ "worker_id": "w" })).expect("a next job");
    assert_eq!((claim.lease_ttl_secs, next.lease_ttl_secs), (30, 30));
}

fn job(returned: u32) -> Value {
    let job = json!({
        "id": "a", "name": "A", "status": "queued", "command": "x", "depends_on": [], "required_labels": [],
        "max_retries": 0, "attempt": 1, "returned": returned, "duration_secs": null, "started_at": null, "output": null,
        "waiting_for": null, "outputs": {}, "worker_id": null, "exit_code": null, "error": null, "finished_at_ms": null,
    });
    serde_json::to_value(serde_json::from_value::<Job>(job).expect("a job")).expect("JSON")
}

#[test]
fn counts_of_nothing_are_left_out() {
    assert_eq!([job(0).get("returned"), job(2).get("returned")], [None, Some(&json!(2))]);
    let entry = |suppressed| {
        let entry = AuditEntry::new(Millis(1), None, AuditAction::Refused, "/".to_owned());
        serde_json::to_value(AuditEntry { suppressed, ..entry }).expect("JSON")
    };
    assert_eq!([entry(0).get("suppressed"), entry(5).get("suppressed")], [None, Some(&json!(5))]);
}

#[test]
fn new_token_is_valid_for_ninety_days_unless_it_says_otherwise() {
    let name = TokenName::new("ci").expect("a name");
    assert_eq!(NewToken::for_everything(name).expires_in_secs, 7_776_000);
}

#[test]
fn allowed_labels_are_counted_named_and_compared() {
    let labels = |text| LabelSet::from_comma_separated(text).expect("labels");
    let some: Allowed<Label> = Allowed::Only(labels("arm,gpu").iter().cloned().collect());
    let all: Allowed<Label> = Allowed::All;
    assert_eq!([some.named(), all.named(), Allowed::<Label>::default().named()], [2, 0, 0]);
    assert_eq!([some.to_string(), all.to_string()], ["arm,gpu", "*"]);
    assert_eq!([some.refused(&labels("gpu,x,y")), all.refused(&labels("x"))], [labels("x,y"), labels("")]);
}

fn queued() -> QueuedJob {
    let job = json!({
        "job_id": "a", "workflow_id": "wf", "command": "echo hunter22", "required_labels": [],
        "retry_policy": RetryPolicy { max_retries: 0, backoff: Backoff::None }, "attempt": 3, "upstream_outputs": {},
        "enqueued_at_ms": 0, "delayed_until_ms": 0, "secrets": { "KEY": "hunter22" },
    });
    serde_json::from_value(job).expect("a job")
}

#[test]
fn secrets_of_a_claimed_job_are_read_as_they_are_sent() {
    let job = queued();
    assert_eq!(job.secrets[&SecretName::new("KEY").expect("a name")].reveal(), "hunter22");
    assert_eq!(serde_json::to_value(&job).expect("JSON")["secrets"], json!({ "KEY": "hunter22" }));
    let empty = json!({ "KEY": "" });
    let refused = serde_json::from_value::<QueuedJob>({
        let mut job = serde_json::to_value(&job).expect("JSON");
        job["secrets"] = empty;
        job
    });
    assert!(refused.expect_err("an empty secret").to_string().contains("secret KEY"));
}

#[test]
fn debug_output_names_what_it_is_and_hides_what_is_secret() {
    assert_eq!(format!("{:?}", LeaseId("wfl_1234".to_owned())), "LeaseId(…)");
    assert_eq!(format!("{:?}", SecretValue::new("hunter22").expect("a value")), "SecretValue(…)");
    let shown = format!("{:?}", queued());
    assert!(shown.starts_with("QueuedJob { job_id: ") && shown.contains("attempt: 3"), "{shown}");
    assert!(!shown.contains("hunter22"), "{shown}");
}

#[cfg(feature = "schema")]
#[test]
fn schemas_of_labels_have_their_names_and_describe_lists() {
    use schemars::JsonSchema;
    let names = [Label::schema_name(), LabelSet::schema_name(), Allowed::<Label>::schema_name()];
    assert_eq!(names, ["Label", "LabelSet", "AllowedLabel"]);
    let schema = serde_json::to_value(schemars::schema_for!(LabelSet)).expect("JSON");
    assert_eq!(schema["type"], "array");
    assert_eq!(schema["items"], json!({ "$ref": "#/$defs/Label" }));
}
