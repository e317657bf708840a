//! The forge's words for the states. No table has a default arm, so that a new state can't be told as passed by mistake.

use engine::forge::state::TargetState;

/// The longest description of a status.
pub(crate) const DESCRIPTION: usize = 140;

/// What a check run shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckState {
    /// Not completed: the `status`.
    Open(&'static str),
    /// Completed: the `conclusion`.
    Completed(&'static str),
}

/// The state of a check run of GitHub.
pub(crate) fn check_run(state: TargetState) -> CheckState {
    use CheckState::{Completed, Open};
    match state {
        TargetState::Queued => Open("queued"),
        TargetState::Running => Open("in_progress"),
        TargetState::WaitsForApproval => Completed("action_required"),
        TargetState::Success => Completed("success"),
        TargetState::Failure | TargetState::Invalid => Completed("failure"),
        TargetState::FailureAllowed => Completed("neutral"),
        TargetState::TimedOut => Completed("timed_out"),
        TargetState::Skipped => Completed("skipped"),
        TargetState::NeedFailed | TargetState::Cancelled => Completed("cancelled"),
    }
}

/// The state of a commit status of GitHub, Gitea and Forgejo.
pub(crate) fn status(state: TargetState) -> &'static str {
    match state {
        TargetState::Queued | TargetState::Running | TargetState::WaitsForApproval => "pending",
        TargetState::Success | TargetState::FailureAllowed | TargetState::Skipped => "success",
        TargetState::Failure | TargetState::TimedOut | TargetState::NeedFailed => "failure",
        TargetState::Cancelled | TargetState::Invalid => "error",
    }
}

/// The state of a commit status of GitLab. `skipped` came with version 17; an older one refuses it, and gets `success`.
pub(crate) fn gitlab(state: TargetState) -> &'static str {
    match state {
        TargetState::Queued | TargetState::WaitsForApproval => "pending",
        TargetState::Running => "running",
        TargetState::Success | TargetState::FailureAllowed => "success",
        TargetState::Skipped => "skipped",
        TargetState::Failure | TargetState::TimedOut | TargetState::NeedFailed | TargetState::Invalid => "failed",
        TargetState::Cancelled => "canceled",
    }
}

/// The text cut to this many characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_skipped_because_of_a_failure_is_never_told_as_passed() {
        for state in [TargetState::NeedFailed, TargetState::Cancelled, TargetState::Invalid] {
            assert_ne!(status(state), "success", "{state}");
            assert_ne!(gitlab(state), "success", "{state}");
            assert!(!matches!(check_run(state), CheckState::Completed("success" | "neutral" | "skipped")), "{state}");
        }
    }

    #[test]
    fn description_is_cut_at_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("ééééé", 3), "éé…");
        assert_eq!(cut(&"x".repeat(1000), DESCRIPTION).chars().count(), DESCRIPTION);
    }
}
