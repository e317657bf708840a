//! The share of the end-to-end suite that `cargo xtask test` runs on `LocalStack`: one case of each kind of path.
//!
//! `MiniStack` runs the whole suite in `cargo xtask test`, and `LocalStack` in `cargo xtask soak`.

/// Names of tests, each with its module.
pub const LOCALSTACK: [&str; 32] = [
    // Submit: a definition that is refused, a request that is repeated.
    "bad_input::every_problem_of_a_definition_is_listed_at_once_with_line_and_column",
    "bad_input::a_definition_over_1_mb_and_a_body_over_the_limit_are_refused_with_size_and_limit",
    "repeats::a_submission_repeated_with_its_key_is_the_same_workflow",
    // Claim: a race for jobs, a ticket, a lease that has ended, a job without labels.
    "claims::twenty_claimers_race_for_ten_jobs_and_each_job_has_one_lease",
    "claims::a_ticket_gives_its_own_job_to_who_has_the_labels_and_a_stale_one_gives_nothing",
    "claims::a_lease_past_its_end_is_refused_everywhere",
    "labels::a_job_without_labels_is_for_any_worker_at_first_downstream_and_on_a_retry",
    // Complete and fail: two reports at once, dependents that are skipped, a retry.
    "repeats::two_completions_at_once_are_one",
    "failures::dependents_of_a_failed_job_are_skipped_through_several_levels_and_an_independent_branch_goes_on",
    "failures::a_lost_worker_uses_a_retry_and_the_error_says_that_it_was_lost",
    "next::a_chain_is_worked_off_with_one_request_a_job_and_outputs_come_along",
    "next::what_needs_more_or_other_labels_is_not_given_and_waits_for_a_claim",
    // Cancel, rerun and delete.
    "cancel::nothing_starts_after_a_cancel_is_answered",
    "cancel::only_failed_keeps_what_succeeded_with_its_outputs",
    "cancel::a_deleted_workflow_is_gone_with_all_that_was_its",
    // Timers: a lease, a delay of a retry, a timeout of the queue.
    "timers::a_lease_that_ends_without_a_report_ends_the_attempt_by_itself",
    "timers::a_retry_waits_for_its_delay_says_until_when_and_is_given_after_it",
    "timers::a_job_that_no_worker_takes_in_time_fails_and_its_dependents_are_skipped",
    // The change feed: a wide fan-in, a batch that is delivered twice.
    "graphs::a_fan_in_of_250_starts_after_the_last_of_them",
    "repeats::a_stream_batch_or_half_of_one_told_again_changes_nothing",
    // Outputs that don't fit into an answer.
    "outputs::seven_needs_of_900_kb_each_come_back_byte_for_byte",
    // Queries: lists, logs, workers, reasons to wait.
    "lists::workflows_are_listed_newest_first_and_the_pages_follow_one_another",
    "lists::logs_are_in_order_each_number_once_and_can_be_read_from_any_place",
    "lists::a_worker_is_shown_idle_busy_with_its_job_and_gone",
    "why::missing_label_is_named_with_the_nearest_worker",
    // Tokens, the audit and secrets.
    "tokens::each_scope_opens_its_own_routes_and_no_others",
    "tokens::a_revoked_token_is_refused_everywhere_within_a_minute",
    "tokens::who_did_what_is_written_down_by_name_and_never_with_a_token_or_a_lease",
    "secrets::a_worker_whose_token_does_not_name_the_secret_is_never_given_the_job",
    // Workers: the one of this repository, and on queues.
    "real_worker::the_example_runs_each_job_where_its_labels_are_with_the_outputs_of_what_it_needs",
    "sqs_transport::jobs_are_claimed_by_their_tickets_and_a_stale_ticket_is_deleted",
    // Dead letters. Chaos is left to the soak: beside the other lanes it takes longer than its patience.
    "redrive::what_was_given_up_is_done_once_it_is_put_back_and_what_nobody_can_use_stays",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::root;

    #[test]
    fn every_selected_test_is_in_the_suite() {
        for name in LOCALSTACK {
            let (module, function) = name.split_once("::").unwrap();
            let file = root().join("tests/tests/e2e").join(module).with_extension("rs");
            let source = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(source.contains(&format!("]\nasync fn {function}() {{")), "{name} isn't a test");
        }
    }
}
