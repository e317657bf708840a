//! What the parser promises, on whole definitions.

mod any_text;
mod bounds;
mod checkout;
mod conditions;
mod elsewhere;
mod events;
mod json;
mod keys;
mod matrix;
mod messages;
mod run_inputs;
mod shells;
mod sizes;

use protocol::wire::{self, Backoff, OutputsFrom};
use serde_json::json;

use super::*;

/// A file with something wrong in most of its lines.
const BROKEN: &str = include_str!("broken.yaml");

fn yaml(text: &str) -> Definition {
    from_yaml(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn problems(text: &str) -> Vec<Problem> {
    from_yaml(text).expect_err(text)
}

fn repeat(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect()
}

/// The codes of what is wrong with a job of these lines, beside a good job `other`.
fn codes(lines: &str) -> Vec<&'static str> {
    let indented = lines.replace('\n', "\n    ");
    let text = format!("jobs:\n  other: {{run: x}}\n  job:\n    {indented}\n");
    from_yaml(&text).err().unwrap_or_default().iter().map(|problem| problem.code).collect()
}

fn text(value: &str) -> EnvValue {
    EnvValue::Text(value.to_owned())
}

fn env<'a>(definition: &'a Definition, name: &str) -> Option<&'a EnvValue> {
    definition.jobs[0].settings.env.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

#[test]
fn the_example_of_the_documentation_reads_as_it_says() {
    let definition = yaml(
        "jobs:\n  build:\n    run: |\n      cargo build\n      echo done\n  deploy-staging:\n    needs: [build]\n    labels: [staging]\n    run: ./deploy.sh staging\n",
    );
    assert_eq!((definition.name, definition.trigger.as_str()), (None, "manual"));
    let [build, deploy] = &definition.jobs[..] else { panic!("two jobs") };
    assert_eq!((build.id.as_str(), build.settings.name.as_str()), ("build", "build"));
    assert_eq!(build.settings.script, "cargo build\necho done\n");
    assert_eq!((deploy.needs.as_slice(), deploy.settings.retry.max), ([0].as_slice(), 0));
    assert_eq!(deploy.settings.labels.to_string(), "staging");
    assert_eq!(deploy.settings.outputs_from, OutputsFrom::Both);
    assert_eq!(definition.notes, []);
}

#[test]
fn every_problem_is_reported_at_once_in_order_with_line_and_column() {
    let found: Vec<_> = problems(BROKEN)
        .into_iter()
        .map(|problem| {
            let at = problem.at.expect("a position");
            assert!(BROKEN.get(at.offset..at.offset + at.len).is_some(), "{problem:?}");
            (at.line, at.column, problem.code)
        })
        .collect();
    assert_eq!(
        found,
        [
            (1, 7, "wrong_type"),
            (3, 1, "unknown_key"),
            (4, 1, "unknown_key"),
            (6, 3, "bad_env_name"),
            (7, 9, "wrong_type"),
            (10, 5, "unknown_key"),
            (12, 12, "unknown_need"),
            (14, 20, "duplicate_need"),
            (14, 27, "self_need"),
            (16, 5, "run_and_steps"),
            (18, 10, "empty_run"),
            (19, 3, "missing_run"),
            (20, 9, "wrong_type"),
            (23, 12, "cycle"),
            (24, 14, "bad_label"),
            (24, 21, "bad_label"),
            (24, 25, "bad_label"),
            (25, 14, "out_of_range"),
            (29, 14, "wrong_type"),
            (31, 5, "retries_and_retry"),
            (31, 21, "max_delay_alone"),
            (32, 19, "unknown_value"),
            (33, 3, "bad_id"),
            (35, 5, "unknown_key"),
            (37, 17, "bad_reference"),
            (38, 17, "bad_reference"),
            (42, 17, "bad_reference"),
            (44, 9, "unknown_key"),
            (44, 9, "missing_run"),
            (45, 9, "missing_run"),
            (46, 9, "unknown_key"),
            (47, 9, "wrong_type"),
            (49, 14, "duplicate_step"),
            (50, 3, "duplicate_key"),
            (52, 5, "unknown_key"),
            (57, 10, "empty_matrix"),
            (58, 10, "wrong_type"),
            (60, 21, "wrong_type"),
            (61, 25, "excludes_nothing"),
        ]
    );
}

#[test]
fn a_problem_has_a_position_and_advice() {
    let said: Vec<String> = problems(BROKEN).iter().map(|p| format!("{} {}: {}", p.code, p.path, p.message)).collect();
    for expected in [
        "unknown_need jobs.build.needs: there is no job `tset`; did you mean `test`?",
        "cycle jobs.a.needs: these jobs need one another and could never start: a -> b -> a",
        "unknown_key jobs.build.runs-on: `runs-on` is not a key of a job: write `labels`, a list; a worker must have all of them",
        "unknown_key jobs[\"bad/id\"].nedes: `nedes` is not a key of a job; did you mean `needs`?",
        "duplicate_key jobs.build: the key `build` is here already, in line 9; keep one of them",
        "wrong_type jobs.b.retries: expected a whole number, but here is the text `3`",
        "out_of_range jobs.a.retries: 101 retries; 0 to 100 are allowed",
        "bad_reference jobs[\"bad/id\"].env.V.from: `a.version` is an output of `a`, which this job doesn't need; add `a` to its `needs`",
    ] {
        assert!(said.iter().any(|said| said == expected), "{expected}\n{said:#?}");
    }
    let sent = wire::Problem::from(problems(BROKEN).remove(0));
    assert_eq!(
        (sent.code.as_str(), sent.path.as_str(), sent.line, sent.column),
        ("wrong_type", "name", Some(1), Some(7))
    );
}

#[test]
fn columns_count_characters_and_offsets_count_bytes() {
    let source = "jobs:\n  \"ä🦀\": {run: x, nedes: y}\n";
    let at = problems(source)[0].at.expect("a position");
    assert_eq!((at.line, at.column, &source[at.offset..at.offset + at.len]), (2, 18, "nedes"));
}

#[test]
fn scalars_stay_as_written() {
    let definition = yaml(
        "env: {A: 1.10, B: no, C: 0x1F, D: null, E: , F: 'q', G: \"a\\nb\", H: 2024-01-01, I: 1e3, J: True, K: ~}\njobs:\n  1.10: {run: true, name: 007}\n",
    );
    for (name, value) in [
        ("A", "1.10"),
        ("B", "no"),
        ("C", "0x1F"),
        ("D", "null"),
        ("E", ""),
        ("F", "q"),
        ("G", "a\nb"),
        ("H", "2024-01-01"),
        ("I", "1e3"),
        ("J", "True"),
        ("K", "~"),
    ] {
        assert_eq!(env(&definition, name), Some(&text(value)), "{name}");
    }
    let job = &definition.jobs[0];
    assert_eq!((job.id.as_str(), job.settings.name.as_str(), job.settings.script.as_str()), ("1.10", "007", "true"));
}

#[test]
fn the_inner_env_wins_and_each_name_is_there_once() {
    let definition =
        yaml("env: {A: w, B: w}\njobs:\n  a:\n    env: {B: j, C: j}\n    steps: [{run: x, env: {C: s}}]\n");
    let pairs = [("A", "w"), ("B", "j"), ("C", "j")];
    assert_eq!(definition.jobs[0].settings.env, pairs.map(|(name, value)| (name.to_owned(), text(value))));
    assert!(definition.jobs[0].settings.script.contains("export C="), "{}", definition.jobs[0].settings.script);
}

#[test]
fn an_output_belongs_to_the_longest_needed_id() {
    let read = |needs: &str, from: &str| {
        let definition = yaml(&format!(
            "jobs:\n  z: {{run: x, needs: {needs}, env: {{V: {{from: {from}}}}}}}\n  a: {{run: x}}\n  a.b: {{run: x}}\n"
        ));
        match env(&definition, "V") {
            Some(EnvValue::Output { job, output }) => format!("{job}|{output}"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read("[a, a.b]", "a.b.c"), "a.b|c");
    assert_eq!(read("[a.b, a]", "a.b.c"), "a.b|c");
    assert_eq!(read("a", "a.b.c"), "a|b.c");
    assert_eq!(read("[a, a.b]", "a.b"), "a|b");
    assert_eq!(codes("run: x\nenv: {V: {from: other.x}}"), ["bad_reference"]);
    assert_eq!(codes("run: x\nneeds: other\nenv: {V: {from: other}}"), ["bad_reference"]);
    assert_eq!(codes("needs: other\nsteps: [{run: x, env: {V: {from: other.x}}}]"), ["bad_reference"]);
}

#[test]
fn a_job_names_a_secret_or_several() {
    let names = |secrets: &str| {
        let definition = yaml(&format!("jobs: {{a: {{run: x, secrets: {secrets}}}}}"));
        definition.jobs[0].settings.secrets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("DEPLOY_KEY"), "DEPLOY_KEY");
    assert_eq!(names("[b, a_1]"), "a_1 b");
    assert_eq!(names("[]"), "");
}

#[test]
fn a_secret_that_can_not_be_set_is_refused() {
    assert_eq!(
        codes("run: x\nsecrets: [a-b, 1a, '', A, A]"),
        ["bad_secret", "bad_secret", "bad_secret", "duplicate_secret"]
    );
    assert_eq!(codes("run: x\nsecrets: {A: b}"), ["wrong_type"]);
    assert_eq!(codes("run: x\nsecrets: [PATH, JOB_ID, WORKFLOW_OUTPUT]"), ["secret_is_set"; 3]);
    let many = repeat(21, |n| format!("A{n}, "));
    assert_eq!(codes(&format!("run: x\nsecrets: [{many}]")), ["too_many_secrets"]);
    let many = repeat(20, |n| format!("A{n}, "));
    assert!(codes(&format!("run: x\nsecrets: [{many}]")).is_empty());
}

#[test]
fn a_secret_that_an_env_sets_too_is_refused_by_name() {
    let message = |text: &str| {
        let found = problems(text);
        assert_eq!((found.len(), found[0].code), (1, "secret_is_set"), "{found:#?}");
        found[0].message.clone()
    };
    assert!(
        message("env: {A: x}\njobs: {a: {run: x, secrets: [B, A]}}").contains("`A` is a secret and is set by `env`")
    );
    assert!(message("jobs: {a: {run: x, env: {A: x}, secrets: A}}").contains("`A`"));
    let step = message("jobs: {a: {steps: [{run: x}, {run: y, env: {B: 1, A: x}}], secrets: A}}");
    assert!(step.contains("the `env` of a step"), "{step}");
}

#[test]
fn keys_of_other_systems_get_advice() {
    let advice = |key: &str| problems(&format!("jobs: {{a: {{run: x, {key}: y}}}}"))[0].message.clone();
    for (key, word) in [
        ("runs-on", "`labels`"),
        ("uses", "`run`"),
        ("if", "`success`, `failure` or `always`"),
        ("strategy", "`matrix`"),
        ("timeout-minutes", "`timeout`"),
        ("permissions", "worker"),
        ("continue-on-error", "`allow_failure: true`"),
        ("container", "containers"),
        ("services", "containers"),
        ("with", "`inputs`"),
        ("defaults", "of a workflow"),
        ("fail-fast", "stops no other"),
        ("resource_group", "`concurrency: <name>`"),
        ("environment", "`env`"),
        ("outputs", "::set-output"),
        ("working-directory", "`cd`"),
        ("depends_on", "`needs`"),
        ("script", "`run`"),
        ("Run", "`run`"),
        ("jobs", "of a workflow"),
        ("unheard_of", "its keys are name, needs"),
    ] {
        assert!(advice(key).contains(word), "{}", advice(key));
    }
}

#[test]
fn labels_are_checked_one_by_one_and_counted_once() {
    assert_eq!(codes("run: x\nlabels: Docker"), [""; 0]);
    assert_eq!(codes("run: x\nlabels: 'a,b'"), ["bad_label"]);
    assert_eq!(codes(&format!("run: x\nlabels: [{}, ' ', 'a b', \"a\\tb\\u0007\"]", "x".repeat(65))), ["bad_label"; 4]);
    assert_eq!(codes("run: x\nlabels: [[a], {b: c}, ]"), ["wrong_type", "wrong_type", "unknown_key"]);
    let many = |count: usize| (0..count).map(|n| format!("l{n}, L{n}")).collect::<Vec<_>>().join(", ");
    assert_eq!(codes(&format!("run: x\nlabels: [{}]", many(32))), [""; 0]);
    assert_eq!(codes(&format!("run: x\nlabels: [{}]", many(33))), ["too_many_labels"]);
}

#[test]
fn times_are_seconds_or_have_a_unit_and_are_within_fourteen_days() {
    let limits = |line: &str| yaml(&format!("jobs: {{a: {{run: x, {line}}}}}")).jobs[0].settings.limits;
    for (text, secs) in
        [("5", 5), ("90s", 90), ("'30m'", 1800), ("6h", 21_600), ("1h30m", 5400), ("5d", 432_000), ("336h", 1_209_600)]
    {
        let both = limits(&format!("timeout: {text}, queue_timeout: {text}"));
        assert_eq!(both, TimeLimits { timeout: Some(secs), queue_timeout: Some(secs) }, "{text}");
    }
    assert_eq!(limits("retries: 1"), TimeLimits::default());
    for text in ["0", "0s", "337h", "1209601", "99999999999999999999h"] {
        assert_eq!(codes(&format!("run: x\ntimeout: {text}")), ["out_of_range"], "{text}");
    }
    for text in ["", "soon", "1.5h", "-1", "1500ms", "1w", "[1]", "s", "ä"] {
        assert_eq!(codes(&format!("run: x\nqueue_timeout: {text}")), ["wrong_type"], "{text}");
    }
}

#[test]
fn a_retry_has_budgets_by_cause_and_a_delay() {
    let retry = |text: &str| yaml(&format!("jobs: {{a: {{run: x, retry: {{{text}}}}}}}")).jobs.remove(0).settings.retry;
    let budgets = Budgets { lost: Some(5), timeout: Some(1) };
    assert_eq!(retry("max: 2, lost: 5, timeout: 1"), Retry { max: 2, budgets, ..Retry::default() });
    for (text, backoff) in [
        ("delay: 30", Backoff::Fixed { delay_secs: 30 }),
        ("delay: 2m, backoff: fixed", Backoff::Fixed { delay_secs: 120 }),
        ("backoff: fixed", Backoff::Fixed { delay_secs: 10 }),
        ("delay: 0", Backoff::None),
        ("backoff: exponential", Backoff::Exponential { base_secs: 10, max_secs: 300 }),
        ("backoff: exponential, delay: 1h", Backoff::Exponential { base_secs: 3600, max_secs: 3600 }),
        ("backoff: exponential, delay: 1, max_delay: 1m", Backoff::Exponential { base_secs: 1, max_secs: 60 }),
    ] {
        assert_eq!(retry(&format!("max: 1, {text}")).backoff, backoff, "{text}");
    }
    for (text, code) in [
        ("backoff: random", "unknown_value"),
        ("delay: soon", "wrong_type"),
        ("delay: 5, max_delay: 9", "max_delay_alone"),
        ("lost: 101", "out_of_range"),
        ("lots: 1", "unknown_key"),
    ] {
        assert_eq!(codes(&format!("run: x\nretry: {{{text}}}")), [code], "{text}");
    }
}

#[test]
fn exit_codes_and_ranges_of_them_have_tries_of_their_own() {
    let exit = |text: &str| {
        yaml(&format!("jobs: {{a: {{run: x, retry: {{exit: {{{text}}}}}}}}}")).jobs.remove(0).settings.retry.exit
    };
    let budget = |first, last, tries| ExitBudget { first, last, tries };
    assert_eq!(exit("75: 5, 2: 0, 130-145: 2"), [budget(75, 75, 5), budget(2, 2, 0), budget(130, 145, 2)]);
    assert_eq!(exit("1-74: 1, '255': 100"), [budget(1, 74, 1), budget(255, 255, 100)]);
    assert_eq!(exit(""), []);
    let codes = |text: &str| codes(&format!("run: x\nretry: {{exit: {text}}}"));
    for code in ["0", "256", "-1", "1-", "9-8", "1-256", "075", "+5", "x", "1 - 2", "1-2-3"] {
        assert_eq!(codes(&format!("{{\"{code}\": 1}}")), ["bad_exit_code"], "{code}");
    }
    for (text, code) in [
        ("{1: 101}", "out_of_range"),
        ("{1: often}", "wrong_type"),
        ("[75]", "wrong_type"),
        ("{5: 1, 3-5: 1}", "duplicate_exit_code"),
        ("{3-5: 1, 5-9: 1}", "duplicate_exit_code"),
    ] {
        assert_eq!(codes(text), [code], "{text}");
    }
    let many = |n: usize| format!("{{{}}}", repeat(n, |n| format!("{}: 1, ", n + 1)));
    assert_eq!(codes(&many(limits::EXIT_BUDGETS)), [""; 0]);
    assert_eq!(codes(&many(limits::EXIT_BUDGETS + 1)), ["too_many"]);
}

#[test]
fn message_about_two_entries_for_an_exit_code_names_a_code_of_both() {
    let problem = problems("jobs: {a: {run: x, retry: {exit: {3-5: 1, 4-9: 1}}}}").swap_remove(0);
    assert_eq!(problem.message, "the exit code 4 is in two entries; keep one of them");
    assert_eq!(problem.path, "jobs.a.retry.exit.4-9");
}

#[test]
fn retries_are_a_whole_number_up_to_the_limit_in_either_form() {
    for (line, retries) in [("retries: 100", 100), ("retries: 0", 0), ("retry: {max: 3}", 3)] {
        assert_eq!(yaml(&format!("jobs: {{a: {{run: x, {line}}}}}")).jobs[0].settings.retry.max, retries);
    }
    for line in ["retries: 101", "retries: -1", "retry: {max: 99999999999999999999}"] {
        assert_eq!(codes(&format!("run: x\n{line}")), ["out_of_range"], "{line}");
    }
    for line in ["retries: 1.5", "retries: yes", "retries: '1'", "retries:", "retries: [1]", "retry: 1", "retries: 0x1"]
    {
        assert_eq!(codes(&format!("run: x\n{line}")), ["wrong_type"], "{line}");
    }
}

#[test]
fn every_wrong_type_is_described() {
    let said = |text: &str| problems(text)[0].message.clone();
    assert!(said("- a").contains("here is a list"));
    assert!(said("just text").contains("here is the text `just text`"));
    assert!(said("jobs: 5").contains("here is the number `5`"));
    assert!(said("jobs: {a: }").contains("here is nothing"));
    assert!(said("jobs: {a: {run: [x]}}").contains("here is a list"));
    assert!(said("jobs: {a: {run: x, env: true}}").contains("here is `true`"));
    for line in ["needs: {a: b}", "needs:", "labels:", "name: {}", "outputs_from: [file]", "env: [A]", "env: {A: [b]}"]
    {
        assert_eq!(codes(&format!("run: x\n{line}")), ["wrong_type"], "{line}");
    }
    for steps in ["x", "{run: x}", "[x]", "[[x]]"] {
        assert_eq!(codes(&format!("steps: {steps}")), ["wrong_type"], "{steps}");
    }
}

#[test]
fn a_file_that_is_no_definition_is_refused_by_the_right_name() {
    for (text, code) in [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("---\n", "empty"),
        ("jobs: {}", "no_jobs"),
        ("jobs:", "no_jobs"),
        ("name: x", "no_jobs"),
        ("jobs: {a: {run: x}}\n---\njobs: {b: {run: x}}\n", "many_documents"),
        ("jobs:\n\ta: {}\n", "syntax"),
        ("jobs: {a: {run: 'x}}\n", "syntax"),
        ("jobs: {a: {run: *x}}\n", "syntax"),
        ("jobs: {a: {run: !shell x}}\n", "unknown_tag"),
        ("jobs: {? [a] : {run: x}, b: {run: x}}\n", "wrong_type"),
        ("jobs: {a: &a {run: x, metadata: *a}}\n", "recursive_alias"),
        ("jobs: {a: {<<: {run: x}, run: x}}\n", "unknown_key"),
        ("jobs: {a: {run: \"x\\0\"}}\n", "bad_character"),
        ("jobs: {a: {run: x, env: {A: \"x\\0\"}}}\n", "bad_character"),
    ] {
        let problems = problems(text);
        assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [code], "{text}: {problems:?}");
    }
}

#[test]
fn a_syntax_error_has_a_position() {
    let problem = &problems("jobs:\n  a:\n    run: x\n\tneeds: b\n")[0];
    assert_eq!(problem.at.map(|at| (at.line, at.column)), Some((4, 1)), "{problem:?}");
    assert!(problem.message.contains("tab"), "{problem}");
}

#[test]
fn the_order_keeps_the_files_order_among_the_ready() {
    let definition = yaml("jobs: {d: {run: x, needs: [a, c]}, c: {run: x}, b: {run: x, needs: d}, a: {run: x}}");
    let order = definition.topological_order();
    assert_eq!(order.iter().map(|&n| definition.jobs[n].id.as_str()).collect::<String>(), "cadb");
}

#[test]
fn metadata_is_stored_as_data() {
    let definition = yaml("jobs: {a: {run: x, metadata: {n: 5, f: 1.5, t: '5', b: true, z: ~, l: [007, 0x1]}}}");
    let kept = json!({"n": 5, "f": 1.5, "t": "5", "b": true, "z": null, "l": ["007", "0x1"]});
    assert_eq!(definition.jobs[0].settings.passthrough.metadata, kept);
}

#[test]
fn windows_line_ends_read_as_line_ends() {
    let definition = yaml("jobs:\r\n  a:\r\n    run: |\r\n      one\r\n      two\r\n");
    assert_eq!(definition.jobs[0].settings.script, "one\ntwo\n");
}

#[test]
fn a_command_too_long_for_one_argument_is_noted() {
    let definition = yaml(&format!("jobs: {{a: {{run: {}}}}}", "x".repeat(140_000)));
    assert_eq!(definition.notes.iter().map(|note| note.code).collect::<Vec<_>>(), ["long_command"]);
}
