//! The share of the end-to-end suite that `cargo xtask test` runs on `LocalStack`: one case of each kind of path.
//!
//! `MiniStack` runs the whole suite in `cargo xtask test`, and `LocalStack` in `cargo xtask soak`. The tests of links to forges likewise.

/// Names of tests, each with its module.
pub const LOCALSTACK: [&str; 43] = [
    // Submit: a definition that is refused, a request that is repeated.
    "bad_input::every_problem_of_a_definition_is_listed_at_once_with_line_and_column",
    "bad_input::a_definition_over_1_mb_and_a_body_over_the_limit_are_refused_with_size_and_limit",
    "repeats::a_submission_repeated_with_its_key_is_the_same_workflow",
    // Claim: a race for jobs, a ticket, a lease that has ended, a job without labels.
    "claims::twenty_claimers_race_for_ten_jobs_and_each_job_has_one_lease",
    "claims::a_ticket_gives_its_job_to_a_worker_with_the_labels_and_a_stale_ticket_gives_nothing",
    "claims::an_expired_lease_is_refused_everywhere",
    "labels::a_job_without_labels_goes_to_any_worker_as_root_dependent_and_retry",
    // Complete and fail: two reports at once, dependents that are skipped, a retry.
    "repeats::two_concurrent_completions_count_once",
    "failures::all_dependents_of_a_failed_job_are_skipped_and_an_independent_branch_goes_on",
    "failures::a_lost_worker_uses_a_retry_and_the_error_names_the_loss",
    "next::a_chain_needs_one_request_per_job_and_carries_outputs",
    "next::a_dependent_with_other_needs_or_labels_is_not_the_next_job",
    // Conditions: told by the change feed, a job of the finish, a flag in a shard, and a kept failure.
    "conditions::job_that_always_runs_follows_a_skipped_job_and_the_run_still_fails",
    "conditions::failure_above_the_needs_starts_no_rollback_and_the_handler_of_the_run_reads_what_failed",
    "conditions::rerun_of_what_failed_keeps_no_rollback_and_no_handler",
    // Cancel, rerun and delete.
    "cancel::nothing_starts_after_a_cancel_is_answered",
    "cancel::only_failed_keeps_succeeded_jobs_with_their_outputs",
    "cancel::a_deleted_workflow_is_gone_with_its_jobs_outputs_and_logs",
    // Timers: a lease, a delay of a retry, a timeout of the queue.
    "timers::a_lease_that_expires_without_a_report_ends_the_attempt",
    "timers::a_retry_waits_for_its_delay_and_shows_when_it_ends",
    "timers::a_job_that_no_worker_takes_in_time_fails_and_its_dependents_are_skipped",
    // The change feed: a wide fan-in, a batch that is delivered twice.
    "graphs::a_fan_in_of_250_starts_after_the_last_need",
    "repeats::a_stream_batch_delivered_again_in_whole_or_in_part_changes_nothing",
    // Groups: of jobs, of runs, and a newer run.
    "groups::jobs_of_a_group_run_one_at_a_time_in_the_order_in_which_they_came",
    "groups::runs_of_a_group_are_open_one_at_a_time",
    "groups::a_newer_run_cancels_an_older_one_that_said_so_and_no_other",
    // Outputs that don't fit into an answer.
    "outputs::seven_needs_of_900_kb_each_come_back_byte_for_byte",
    // Queries: lists, logs, workers, reasons to wait.
    "lists::workflows_are_listed_newest_first_and_pages_neither_overlap_nor_skip",
    "lists::logs_are_ordered_each_sequence_number_once_and_readable_from_any_position",
    "lists::a_worker_is_shown_idle_busy_with_its_job_and_offline",
    "why::missing_label_is_named_with_the_nearest_worker",
    // The page: its files, a run's graph and events.
    "page::the_page_is_served_to_anybody_with_the_headers_that_protect_it",
    "page::a_graph_has_the_stacks_and_is_not_sent_again",
    "page::events_tell_all_changes_of_a_run_to_a_client_that_asks_again_and_again",
    // Tokens, the audit and secrets.
    "tokens::each_scope_opens_its_own_routes_and_no_others",
    "tokens::a_revoked_token_is_refused_everywhere_within_a_minute",
    "tokens::the_audit_log_names_callers_and_contains_no_token_or_lease",
    "secrets::a_worker_whose_token_lacks_the_secret_never_gets_the_job",
    // Workers: the one of this repository, and on queues.
    "real_worker::the_example_runs_each_job_on_a_worker_with_its_labels_and_the_outputs_of_its_needs",
    "sqs_transport::jobs_are_claimed_by_their_tickets_and_a_stale_ticket_is_deleted",
    // The language: inputs, a matrix, conditions and groups.
    "language::example_of_a_release_deploys_or_rolls_back_and_tells_what_failed",
    // The check of a stack.
    "check::good_stack_passes_and_each_change_is_named",
    // Dead letters. The chaos test runs on LocalStack only in the soak: beside the other lanes it is too slow.
    "redrive::a_redriven_message_is_processed_and_an_unreadable_one_stays",
];

/// As [`LOCALSTACK`], of the tests of links to forges: `tests/tests/forge`.
pub const FORGES_ON_LOCALSTACK: [&str; 6] = [
    // A delivery: refused, and repeated.
    "hook::signed_delivery_is_stored_and_anything_else_writes_nothing",
    "runs::push_that_is_delivered_in_another_order_is_still_one_run",
    // A push to GitHub, GitLab and Gitea, from the delivery to the last state.
    "runs::push_runs_the_file_at_the_commit_and_the_commit_shows_how_it_went",
    // A fork's commit, and a re-run.
    "forks::button_of_the_app_approves_the_commit_if_the_person_may_write",
    "reruns::rerun_of_one_check_or_of_all_runs_again_what_failed_and_shows_it_as_waiting",
    // A credential that is minted at the claim.
    "checkout::private_commit_is_checked_out_by_the_worker_and_the_script_finds_no_credential",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::root;

    #[test]
    fn every_selected_test_is_in_the_suite() {
        let of = |folder, names: &[&'static str]| names.iter().map(move |name| (folder, *name)).collect::<Vec<_>>();
        for (folder, name) in [of("e2e", &LOCALSTACK), of("forge", &FORGES_ON_LOCALSTACK)].concat() {
            let (module, function) = name.split_once("::").unwrap();
            let file = root().join("tests/tests").join(folder).join(module).with_extension("rs");
            let source = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(source.contains(&format!("]\nasync fn {function}() {{")), "{name} isn't a test");
        }
    }
}
