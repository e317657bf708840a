//! The conformance suite of the stores: one check for each promise of [`engine::ports`], named after the promise. Every store
//! runs all of them.
//!
//! [`port_tests!`](crate::port_tests) makes a test of each check, with a store of its own. [`failures`] runs all of
//! them against one store, which may hold other data: what a check writes, it writes under random names, and what a
//! list gives besides is left alone. Where a promise says "eventually", a check asks again for some seconds.

#![expect(clippy::missing_panics_doc, reason = "a check panics where the promise is broken")]

pub mod access;
pub mod change;
pub mod commit;
pub mod delete;
mod fixture;
pub mod list;
pub mod local;
pub mod logs;
pub mod needs;
pub mod outputs;
pub mod race;
pub mod ready;
pub mod registry;

use std::sync::Arc;
use std::time::Instant;

use engine::ports::Ports;

/// Passes the list of checks of [`engine::ports::Ports`] to a macro.
#[doc(hidden)]
#[macro_export]
macro_rules! each_check {
    ([$($then:tt)+] $($with:tt)*) => {
        $($then)+! {
            [$($with)*]
            change::an_update_applies_exactly_when_its_precondition_holds_and_a_refusal_changes_nothing,
            change::every_change_leaves_the_record_that_the_engine_says,
            change::a_control_changes_exactly_as_the_engine_says,
            change::an_update_of_a_missing_record_is_refused_and_creates_none,
            race::of_twenty_starts_at_once_one_wins_and_the_others_see_it,
            race::twenty_needs_dropped_at_once_are_all_gone,
            race::of_twenty_commits_under_one_key_one_wins,
            race::of_twenty_runs_that_replace_one_a_single_one_does,
            race::a_cancel_and_an_end_at_once_have_one_winner,
            commit::a_commit_writes_workflow_control_and_key_at_once,
            commit::a_commit_under_a_taken_key_changes_nothing,
            commit::a_key_that_expired_counts_as_absent,
            commit::a_run_is_replaced_only_once_it_has_ended_and_is_current,
            commit::a_workflow_ends_once_and_only_in_its_current_run,
            commit::a_definition_is_read_back_as_submitted,
            list::workflows_are_listed_newest_first_each_once_from_the_cursor_on,
            list::open_runs_are_those_that_are_open_or_cancelling,
            list::timers_are_due_of_runs_that_are_open_or_cancelling,
            list::jobs_are_given_in_order_and_where_they_were_asked_for,
            needs::a_large_spec_is_read_back_in_the_order_asked_for,
            needs::a_shard_loses_its_members_one_by_one_and_twice_is_once,
            ready::a_ready_list_gives_the_oldest_that_may_start,
            ready::a_job_leaves_its_ready_list_when_it_starts_or_ends_and_comes_back_when_it_is_tried_again,
            ready::the_heads_of_a_long_list_are_few,
            outputs::outputs_of_any_size_come_back_byte_for_byte,
            outputs::copied_outputs_outlive_the_run_they_came_from,
            logs::a_log_is_read_in_order_each_piece_once_however_it_came,
            logs::a_log_goes_on_after_a_sequence_number,
            logs::a_read_of_a_log_ends_after_about_so_many_bytes,
            registry::a_pool_is_added_once_and_keeps_its_labels_and_secrets,
            registry::a_wanted_queue_is_known_with_its_pool,
            registry::a_worker_is_kept_replaced_and_removed,
            registry::a_worker_not_heard_of_for_a_day_is_forgotten,
            access::a_token_is_kept_under_its_name_until_it_is_removed_or_expires,
            access::audit_entries_are_listed_newest_first_each_once_from_the_cursor_on,
            delete::a_workflow_is_deleted_only_as_read_and_only_new_or_ended,
            delete::nothing_is_left_of_a_deleted_run_and_other_runs_stay,
        }
    };
}

/// Passes the list of checks of [`engine::ports::Local`] to a macro.
#[doc(hidden)]
#[macro_export]
macro_rules! each_local_check {
    ([$($then:tt)+] $($with:tt)*) => {
        $($then)+! {
            [$($with)*]
            local::change_events_are_listed_in_order_until_they_are_done,
            local::updates_without_consequences_are_not_listed,
            local::a_batch_task_is_listed_until_it_is_done,
            local::a_reconcile_is_listed_until_it_is_done,
            local::timers_are_due_in_the_order_of_their_times,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! tests_of_each {
    ([$store:expr] $($module:ident::$check:ident,)+) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $check() {
            let (store, _outlives_it) = $store;
            $crate::$module::$check(std::sync::Arc::new(store)).await;
        }
    )+ };
}

/// A test of each check of [`engine::ports::Ports`]. The expression gives a store, made anew for each test, and
/// something to be kept until the store is dropped, its folder for instance.
#[macro_export]
macro_rules! port_tests {
    ($store:expr) => {
        $crate::each_check! { [$crate::tests_of_each] $store }
    };
}

/// A test of each check of [`engine::ports::Local`], as [`port_tests!`](crate::port_tests).
#[macro_export]
macro_rules! local_tests {
    ($store:expr) => {
        $crate::each_local_check! { [$crate::tests_of_each] $store }
    };
}

/// Runs all checks of [`engine::ports::Ports`] against one store, one after the other. The names of those that failed;
/// what was wrong stands on standard error.
pub async fn failures<P: Ports + 'static>(ports: Arc<P>) -> Vec<&'static str> {
    let mut failed = Vec::new();
    macro_rules! run {
        ([] $($module:ident::$check:ident,)+) => { $(
            let began = Instant::now();
            let result = tokio::spawn($module::$check(Arc::clone(&ports))).await;
            let word = if result.is_ok() { "ok" } else { "FAILED" };
            eprintln!("{word:6} {:6} ms  {}", began.elapsed().as_millis(), stringify!($check));
            if result.is_err() {
                failed.push(stringify!($check));
            }
        )+ };
    }
    each_check! { [run] }
    failed
}
