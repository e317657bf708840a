//! The conformance suite of the stores: one check for each promise of [`engine::ports`], named after the promise. Every store
//! runs all of them.
//!
//! [`port_tests!`](crate::port_tests) declares a test for each check, with a store of its own. [`failures`] runs all
//! checks against one store, which may contain other data: a check writes under random names and ignores other entries
//! of a list. Where a promise says "eventually", a check repeats the read for some seconds.

#![expect(clippy::missing_panics_doc, reason = "a check panics where the promise is broken")]

pub mod access;
pub mod change;
pub mod commit;
pub mod delete;
mod fixture;
pub mod forges;
pub mod group;
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
            change::update_applies_exactly_if_its_precondition_holds,
            change::change_leaves_the_record_that_the_engine_computes,
            change::control_changes_as_the_engine_computes,
            change::update_of_a_missing_record_creates_none,
            race::one_of_twenty_concurrent_starts_wins,
            race::twenty_concurrent_removals_of_needs_all_take_effect,
            race::one_of_twenty_concurrent_commits_with_one_key_wins,
            race::one_of_twenty_concurrent_reruns_wins,
            race::concurrent_cancel_and_end_have_one_winner,
            group::places_are_listed_in_their_order_until_they_are_removed,
            group::group_passes_only_from_the_holder_that_was_read,
            group::one_of_twenty_concurrent_holders_wins,
            commit::commit_writes_workflow_control_and_key,
            commit::commit_with_a_used_key_changes_nothing,
            commit::expired_key_counts_as_absent,
            commit::only_the_current_run_is_replaced_after_it_has_ended,
            commit::workflow_ends_once_and_only_in_its_current_run,
            commit::definition_is_read_as_submitted,
            commit::inputs_are_read_as_given,
            list::workflows_are_listed_once_newest_first,
            list::due_timers_are_of_open_or_cancelling_runs,
            list::timers_of_many_runs_are_listed_earliest_first,
            list::jobs_are_listed_in_order,
            list::jobs_of_several_runs_are_read_in_the_requested_order,
            needs::large_specs_are_read_in_the_requested_order,
            needs::shard_member_is_removed_once,
            ready::ready_list_returns_the_oldest_due_jobs,
            ready::only_ready_jobs_are_in_the_ready_list,
            ready::number_of_heads_is_bounded,
            outputs::outputs_of_any_size_are_read_byte_for_byte,
            outputs::copied_outputs_outlive_their_first_run,
            logs::log_is_read_in_order_each_piece_once,
            logs::log_is_read_after_a_sequence_number,
            logs::read_of_a_log_is_bounded_in_bytes,
            logs::size_of_a_log_grows_with_its_pieces,
            logs::reader_of_a_log_is_noted_for_its_attempt,
            registry::added_pool_keeps_its_labels_and_secrets,
            registry::unused_pool_is_not_listed_until_it_is_added_again,
            registry::pools_with_ready_jobs_are_found_by_labels,
            registry::wanted_queue_is_stored_with_its_pool,
            registry::worker_is_stored_replaced_and_removed,
            registry::worker_belongs_to_one_token,
            registry::worker_unseen_for_a_day_is_not_listed,
            registry::workers_are_listed_from_the_one_seen_last,
            access::token_is_stored_until_it_is_removed_or_expires,
            access::audit_entries_are_listed_once_newest_first,
            delete::workflow_is_deleted_only_as_read_and_not_while_active,
            delete::renewed_run_stays_as_it_is,
            delete::step_of_a_deletion_is_bounded,
            delete::deleted_run_leaves_nothing_and_other_runs_stay,
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
            local::change_events_are_listed_in_order_until_done,
            local::updates_without_an_event_are_not_listed,
            local::a_batch_task_is_listed_until_it_is_done,
            local::a_reconcile_is_listed_until_it_is_done,
            local::next_timer_is_the_earliest,
            local::active_runs_are_open_or_cancelling,
            local::active_runs_come_in_pages_in_the_order_of_their_keys,
            local::replaced_run_is_deleted,
            local::workflows_expire_after_their_start_and_not_while_active,
            forges::item_is_stored_only_over_the_version_before,
            forges::one_of_twenty_concurrent_writes_of_an_item_wins,
            forges::items_are_listed_in_both_orders_after_a_place,
            forges::due_items_of_a_kind_are_listed_earliest_first,
            forges::changes_of_what_a_forge_is_told_are_listed,
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

/// Declares a test for each check of [`engine::ports::Ports`]. The expression returns a new store for each test, and a
/// value that is dropped after the store, such as its directory.
#[macro_export]
macro_rules! port_tests {
    ($store:expr) => {
        $crate::each_check! { [$crate::tests_of_each] $store }
    };
}

/// Declares a test for each check of [`engine::ports::Local`], as [`port_tests!`](crate::port_tests).
#[macro_export]
macro_rules! local_tests {
    ($store:expr) => {
        $crate::each_local_check! { [$crate::tests_of_each] $store }
    };
}

/// Runs the checks of [`engine::ports::Ports`] whose names, such as `ready::number_of_heads_is_bounded`, `wanted` accepts, one after the
/// other against one store. Returns the names of the checks that failed. The reasons are on standard error.
pub async fn failures<P: Ports + 'static>(ports: Arc<P>, mut wanted: impl FnMut(&str) -> bool) -> Vec<&'static str> {
    let mut failed = Vec::new();
    macro_rules! run {
        ([] $($module:ident::$check:ident,)+) => { $(
            let name = concat!(stringify!($module), "::", stringify!($check));
            if wanted(name) {
                let began = Instant::now();
                let result = tokio::spawn($module::$check(Arc::clone(&ports))).await;
                let word = if result.is_ok() { "ok" } else { "FAILED" };
                eprintln!("{word:6} {:6} ms  {name}", began.elapsed().as_millis());
                if result.is_err() {
                    failed.push(name);
                }
            }
        )+ };
    }
    each_check! { [run] }
    failed
}
