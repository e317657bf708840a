//! `if`, `allow_failure`, `skip_exit` and `on_failure`: what is read, and what is refused.

use protocol::wire::Condition;

use super::super::*;

fn job(text: &str, id: &str) -> JobDefinition {
    let definition = from_yaml(text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    definition.jobs.into_iter().find(|job| job.id.as_str() == id).expect("the job")
}

/// The codes, paths and messages of the problems.
fn refused(text: &str) -> Vec<(&'static str, String, String)> {
    let problems = from_yaml(text).expect_err("a problem");
    assert!(problems.iter().all(|problem| problem.at.is_some()), "{problems:?}");
    problems.into_iter().map(|problem| (problem.code, problem.path, problem.message)).collect()
}

#[test]
fn keys_of_conditions_are_read() {
    let text = "
defaults: {skip_exit: 9}
jobs:
  a: {run: x, allow_failure: true}
  b: {run: x, needs: a, if: always, skip_exit: 78}
  c: {run: x, needs: a, if: success}
on_failure: {run: x, env: {A: b}}
";
    let of = |id| {
        let settings = job(text, id).settings;
        (settings.condition, settings.allow_failure, settings.skip_exit)
    };
    assert_eq!(of("a"), (Condition::Success, true, Some(9)));
    assert_eq!(of("b"), (Condition::Always, false, Some(78)));
    assert_eq!(of("c"), (Condition::Success, false, Some(9)));
    assert_eq!(of("on_failure"), (Condition::OnFailure, false, Some(9)));
    let definition = from_yaml(text).expect("good");
    assert_eq!(definition.topological_order().last(), Some(&3), "the handler is the last");
}

#[test]
fn condition_that_is_no_word_is_refused_with_what_to_write() {
    for (condition, advice) in [
        ("failure()", "`on_failure` looks at the whole run"),
        ("on_failure", "`on_failure` looks at the whole run"),
        ("always()", "`if: always`; after a cancel nothing starts"),
        ("'!cancelled()'", "`if: always`; after a cancel nothing starts"),
        ("github.ref == 'x'", "`\"$INPUT_NAME\"`"),
        ("true", "`exit 0`"),
    ] {
        let text = format!("jobs:\n  a: {{run: x}}\n  b: {{run: x, needs: a, if: {condition}}}\n");
        let problems = refused(&text);
        let [(code, path, message)] = problems.as_slice() else { panic!("{problems:?}") };
        assert_eq!((*code, path.as_str()), ("unknown_value", "jobs.b.if"));
        assert!(message.contains(advice), "{message}");
    }
}

#[test]
fn condition_on_a_failure_needs_a_job() {
    let problems = refused("jobs: {a: {run: x, if: failure}}");
    assert_eq!(problems[0].0, "condition_without_needs");
    assert!(problems[0].2.contains("`on_failure`"), "{problems:?}");
    from_yaml("jobs: {a: {run: x, if: always}}").expect("it just runs");
}

#[test]
fn handler_has_no_keys_about_other_jobs_and_its_id_is_its_own() {
    for key in ["needs: a", "if: always", "allow_failure: true", "matrix: {a: [1]}"] {
        let problems = refused(&format!("jobs: {{a: {{run: x}}}}\non_failure: {{run: x, {key}}}\n"));
        let name = key.split(':').next().expect("a key");
        assert_eq!((problems.len(), problems[0].0), (1, "unknown_key"), "{problems:?}");
        assert_eq!(problems[0].1, format!("on_failure.{name}"));
        assert!(problems[0].2.contains("a job with `if`"), "{problems:?}");
    }
    let problems = refused("jobs: {on_failure: {run: x}}\non_failure: {run: x}\n");
    assert_eq!((problems[0].0, problems[0].1.as_str()), ("duplicate_job", "on_failure"));
    from_yaml("jobs: {on_failure: {run: x}}").expect("an ordinary id without the key");
    let problems = refused("jobs: {a: {run: x, needs: on_failure}}\non_failure: {run: x}\n");
    assert_eq!(problems[0].0, "unknown_need", "nothing needs it");
}

#[test]
fn exit_code_is_one_that_a_program_can_have() {
    for code in ["0", "256", "-1", "x", "1.5", "[78]", "'78'"] {
        let problems = refused(&format!("jobs: {{a: {{run: x, skip_exit: {code}}}}}"));
        assert_eq!((problems[0].0, problems[0].1.as_str()), ("wrong_type", "jobs.a.skip_exit"), "{code}");
    }
    for code in ["1", "255"] {
        from_yaml(&format!("jobs: {{a: {{run: x, skip_exit: {code}}}}}")).expect("good");
    }
}

#[test]
fn needs_with_one_variable_are_refused_only_where_the_variables_are_set() {
    let text = |condition| {
        format!("jobs:\n  a-b: {{run: x}}\n  a_b: {{run: x}}\n  c: {{run: x, needs: [a-b, a_b], if: {condition}}}\n")
    };
    let problems = refused(&text("always"));
    assert_eq!((problems[0].0, problems[0].1.as_str()), ("same_variable", "jobs.c"));
    assert!(problems[0].2.contains("`NEEDS_A_B`"), "{problems:?}");
    from_yaml(&text("success")).expect("no variables");
    let problems = refused("jobs: {a: {run: x, env: {NEEDS_A: x}}}");
    assert_eq!(problems[0].0, "reserved_env_name");
}

#[test]
fn variable_of_a_matrix_has_the_worst_status_of_its_legs() {
    use protocol::{JobId, Status};
    let of = |statuses: &[(&str, Status)]| {
        let statuses = statuses.iter().map(|(id, status)| (JobId::new(*id).expect("an id"), *status)).collect();
        needs_variables(&statuses).into_iter().collect::<Vec<_>>()
    };
    let (good, bad, none) = (Status::Success, Status::Failure, Status::Skipped);
    let variable = |name: &str, status| vec![(format!("NEEDS_{name}"), status)];
    assert_eq!(of(&[("b-1.x@a", good), ("b-1.x@b", none), ("b-1.x@c", good)]), variable("B_1_X", none));
    assert_eq!(of(&[("b@a", bad), ("b@b", none), ("b@c", good)]), variable("B", bad));
}

/// What people bring from other systems.
#[test]
fn keys_of_other_systems_are_answered_with_ours() {
    for (place, key, advice) in [
        ("job", "when: always", "`if: success`, `failure` or `always`"),
        ("job", "trigger_rule: one_failed", "`if: success`, `failure` or `always`"),
        ("job", "rules: []", "`exit 0`"),
        ("job", "only: [main]", "`exit 0`"),
        ("job", "except: [main]", "`exit 0`"),
        ("job", "continue-on-error: true", "`allow_failure: true`"),
        ("job", "soft_fail: true", "`allow_failure: true`"),
        ("workflow", "allow_failure: true", "`allow_failure: true`"),
        ("workflow", "onExit: x", "`on_failure`"),
        ("workflow", "notify: x", "`on_failure`"),
        ("job", "on_failure_callback: x", "`on_failure`"),
        ("step", "if: always", "a step has no condition"),
    ] {
        let text = match place {
            "job" => format!("jobs: {{a: {{run: x, {key}}}}}"),
            "step" => format!("jobs: {{a: {{steps: [{{run: x, {key}}}]}}}}"),
            _ => format!("jobs: {{a: {{run: x}}}}\n{key}"),
        };
        let problems = refused(&text);
        assert_eq!((problems.len(), problems[0].0), (1, "unknown_key"), "{key}: {problems:?}");
        assert!(problems[0].2.contains(advice), "{key}: {}", problems[0].2);
    }
}

#[test]
fn job_that_always_runs_is_noted_beside_runs_that_a_newer_one_cancels() {
    let notes = |when_newer: &str, condition: &str| {
        let text = format!(
            "concurrency: {{group: g, when_newer: {when_newer}}}\njobs: {{a: {{run: x}}, b: {{needs: a, if: {condition}, run: x}}}}"
        );
        from_yaml(&text).expect("a definition").notes
    };
    let [note] = &notes("cancel", "always")[..] else { panic!("one note") };
    assert_eq!(
        (note.code, note.path.as_str(), note.at.map(|at| at.line)),
        ("always_after_cancel", "concurrency", Some(1))
    );
    assert!(note.message.contains("`b`") && note.message.contains("trap"), "{}", note.message);
    assert!(notes("cancel", "failure").is_empty() && notes("wait", "always").is_empty());
}
