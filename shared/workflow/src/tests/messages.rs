//! What messages say, and where they point.

use protocol::SecretName;
use protocol::wire::{Backoff, OutputsFrom};
use serde_json::json;

use super::super::*;
use super::{problems, repeat, yaml};

/// The message about the first problem.
fn message(text: &str) -> String {
    problems(text).swap_remove(0).message
}

#[test]
fn problem_is_shown_with_its_position_or_its_path() {
    let problem = |path: &str, at| Problem { code: "a", message: "it is wrong".to_owned(), path: path.to_owned(), at };
    let at = Some(Position { line: 3, column: 5, offset: 9, len: 1 });
    assert_eq!(problem("jobs", at).to_string(), "3:5: it is wrong");
    assert_eq!(problem("jobs", None).to_string(), "jobs: it is wrong");
    assert_eq!(problem("", None).to_string(), "it is wrong");
}

#[test]
fn keys_of_other_systems_are_answered_with_what_to_write() {
    let job = |key: &str| message(&format!("jobs: {{a: {{run: x, {key}: 1}}}}"));
    let workflow = |key: &str| message(&format!("{key}: 1\njobs: {{a: {{run: x}}}}\n"));
    for (found, advice) in [
        (job("id"), ": a job's id is its key under `jobs`"),
        (workflow("id"), ", but of a step"),
        (job("<<"), ": merge keys are not supported; write `defaults`, or an anchor for a whole value"),
        (workflow("true"), ": write `on`"),
        (job("cache"), ": there is no cache; a job runs in its worker's directory, which stays"),
        (workflow("run-name"), ": write `name`"),
        (job("title"), ": write `name`"),
        (workflow("triggers"), ": write `on`"),
        (workflow("stages"), ": there is no such thing; leave it out"),
        (job("max_retries"), ": write `retries`"),
        (workflow("max_retries"), ": write `retries` on the job"),
    ] {
        assert!(found.ends_with(advice), "{found}, not {advice}");
    }
    assert!(!job("true").contains("`on`"), "{}", job("true"));
    let retry = message("jobs: {a: {run: x, retry: {max: 1, retries: 2}}}");
    assert!(retry.ends_with(", but of a job"), "{retry}");
}

/// The message of the first note about a job with these lines.
fn note(lines: &str) -> String {
    yaml(&format!("inputs: {{x: {{}}}}\njobs: {{a: {{{lines}}}}}")).notes.swap_remove(0).message
}

#[test]
fn expressions_of_other_systems_are_answered_with_what_to_write() {
    for (expression, advice) in [
        ("${{ matrix.my-os }}", "write `\"$MATRIX_MY_OS\"` in a script, `{matrix: my-os}` in `env` and `labels`"),
        ("${{inputs.x}}", "write `\"$INPUT_X\"` in a script, `{input: x}` in `env`"),
        ("${{ github.event.inputs.x }}", "write `\"$INPUT_X\"` in a script, `{input: x}` in `env`"),
        ("${{ needs.build.outputs.image-tag }}", "write `IMAGE_TAG: {from: build.image-tag}` in the job's `env`"),
        ("${{ needs.build.result }}", "read the file `$UPSTREAM_STATUS`"),
        ("${{ secrets.KEY }}", "write `secrets: KEY` on the job, and `\"$KEY\"` in a script"),
        ("${{ env.A }}", "write `\"$A\"` in a script"),
        (
            "${{ github.ref == 'x' }}",
            "a script has the variables of `env`, inputs and the matrix, and tests what it needs",
        ),
    ] {
        let expected = format!("`{expression}` is not expanded, because there are no expressions; {advice}");
        assert_eq!(note(&format!("run: \"echo {expression} on\"")), expected);
        assert_eq!(note(&format!("run: x, env: {{A: \"{expression}\"}}")), expected);
        let labels = format!("labels: [\"{expression}\"]");
        let of_label = if expression.contains(' ') {
            message(&format!("jobs: {{a: {{run: x, {labels}}}}}"))
        } else {
            note(&format!("run: x, {labels}"))
        };
        assert_eq!(of_label, expected);
    }
    assert!(yaml("jobs: {a: {run: 'echo ${{ x'}}").notes.is_empty(), "it isn't one");
}

#[test]
fn shell_with_a_place_for_the_script_is_told_that_its_path_comes_last() {
    let found = message("jobs: {a: {run: x, shell: 'bash -e {0}'}}");
    assert!(found.ends_with("not `bash -e {0}`; the script's path is put after the last word"), "{found}");
}

#[test]
fn keys_for_later_are_refused_as_not_supported_yet() {
    let first = |text: String| problems(&text).swap_remove(0);
    for key in ["approve", "files", "each", "priority", "max_parallel"] {
        let problem = first(format!("jobs: {{a: {{run: x, {key}: 1}}}}"));
        assert_eq!((problem.code, problem.path), ("not_supported_yet", format!("jobs.a.{key}")));
        assert!(problem.message.starts_with(&format!("`{key}` is not supported yet; ")), "{}", problem.message);
    }
    for key in ["schedule", "priority", "max_parallel", "timeout", "include"] {
        let problem = first(format!("{key}: 1\njobs: {{a: {{run: x}}}}"));
        assert_eq!((problem.code, problem.path.as_str()), ("not_supported_yet", key));
    }
    assert_eq!(first("jobs: {a: {steps: [{run: x, approve: 1}]}}".to_owned()).code, "unknown_key");
}

#[test]
fn syntax_errors_say_what_is_wrong_and_where() {
    let of = |text: &str| {
        let problem = problems(text).swap_remove(0);
        let at = problem.at.expect("a position");
        (problem.message, at.line, at.column, at.offset)
    };
    let (text, line, column, _) = of("jobs: {a: {run: 'x}}\n");
    assert_eq!((text.as_str(), line), ("this is not YAML: the quote that begins here isn't closed", 1), "{column}");
    let tab = "this is not YAML: a tab can't indent; use spaces";
    assert_eq!(of("jobs:\n  a:\n  \trun: x\n"), (tab.to_owned(), 3, 3, 13));
    assert_eq!(of("jobs:\n\ta:\n\t\trun: x\n"), (tab.to_owned(), 2, 1, 6));
    let (text, ..) = of("jobs: {a: {run: @x}}\n");
    assert_eq!(text, "this is not YAML: a text can't begin with `@`; put it in quotes");
    let (text, ..) = of("jobs: {a: {run: x\u{1}}}\n");
    assert_eq!(text, r"this is not YAML: the character `\u{1}` is not allowed here; remove it");
}

#[test]
fn json_that_can_not_be_read_is_explained_without_a_second_position() {
    let problem = from_json("{\"jobs\": 1").expect_err("not closed").swap_remove(0);
    assert_eq!(problem.message, "this is not JSON: EOF while parsing an object");
}

#[test]
fn position_of_a_problem_in_json_has_the_length_of_its_token() {
    let problem = from_json("{\"jobs\": {\"a\": {\"run\": \"x\", \"nedes\": 1}}}").expect_err("bad").swap_remove(0);
    assert_eq!(problem.at.map(|at| at.len), Some("\"nedes\"".len()));
}

#[test]
fn tags_of_yaml_itself_are_known_and_make_a_value_text() {
    let job = yaml("jobs: {a: {run: x, metadata: {a: !!str 1, b: ! 2, c: 3, d: !!int 4}}}").jobs.remove(0);
    assert_eq!(job.settings.passthrough.metadata, json!({ "a": "1", "b": "2", "c": 3, "d": 4 }));
    assert_eq!(problems("jobs: {a: {run: x, metadata: !other 1}}")[0].code, "unknown_tag");
}

#[test]
fn plain_words_of_json_are_kept_as_such() {
    let job = yaml("jobs: {a: {run: x, metadata: [true, True, false, FALSE, null, 1.5, no]}}").jobs.remove(0);
    assert_eq!(job.settings.passthrough.metadata, json!([true, true, false, false, null, 1.5, "no"]));
}

#[test]
fn error_about_a_reference_names_up_to_eight_needs_and_counts_more() {
    let needs = |count: usize| {
        let jobs = repeat(count, |n| format!("  j{n}: {{run: x}}\n"));
        let needs: Vec<_> = (0..count).map(|n| format!("j{n}")).collect();
        let needs = needs.join(", ");
        message(&format!("jobs:\n{jobs}  a: {{run: x, needs: [{needs}], env: {{V: {{from: nothing}}}}}}\n"))
    };
    assert!(needs(8).ends_with("(this job needs `j0`, `j1`, `j2`, `j3`, `j4`, `j5`, `j6`, `j7`)"), "{}", needs(8));
    assert!(needs(9).ends_with("(this job needs 9 jobs)"), "{}", needs(9));
}

#[test]
fn bad_label_is_explained_by_its_comma_or_by_its_length() {
    let label = |text: &str| message(&format!("jobs: {{a: {{run: x, labels: [\"{text}\"]}}}}"));
    let comma = label(&format!("{},x", "g".repeat(limits::LABEL - 2)));
    assert!(comma.contains("has a comma"), "{comma}");
    let long = label(&"g".repeat(limits::LABEL + 1));
    assert!(long.contains("is 65 bytes long; at most 64 are allowed"), "{long}");
}

#[test]
fn outputs_are_read_from_where_the_job_says() {
    let from = |text: &str| yaml(&format!("jobs: {{a: {{run: x{text}}}}}")).jobs.remove(0).settings.outputs_from;
    assert_eq!(
        [from(""), from(", outputs_from: stdout"), from(", outputs_from: file")],
        [OutputsFrom::Both, OutputsFrom::Stdout, OutputsFrom::File]
    );
}

#[test]
fn job_of_a_list_has_the_secrets_that_it_names() {
    let body = json!({ "jobs": [{ "id": "a", "name": "A", "command": "x", "secrets": ["KEY"] }] });
    let job = from_json(&body.to_string()).expect("good").jobs.remove(0);
    assert_eq!(job.settings.secrets.iter().map(SecretName::as_str).collect::<Vec<_>>(), ["KEY"]);
}

#[test]
fn only_a_script_that_looks_like_an_option_is_moved_by_a_space() {
    let env = [("A".to_owned(), "1".to_owned())];
    let command = |env, script: &str| JobSettings::new("a", script).command(env);
    assert_eq!([command(&[], "x"), command(&[], "-x")], ["x", " -x"]);
    assert_eq!(command(&env, "-x"), "export A='1'\n-x");
}

#[test]
fn exponential_delay_grows_from_ten_seconds_to_five_minutes_unless_the_job_says_otherwise() {
    let backoff = |text: &str| {
        yaml(&format!("jobs: {{a: {{run: x, retry: {{max: 1, backoff: exponential{text}}}}}}}")).jobs[0]
            .settings
            .retry
            .backoff
    };
    let exponential = |base_secs, max_secs| Backoff::Exponential { base_secs, max_secs };
    assert_eq!(backoff(""), exponential(10, 300));
    assert_eq!(backoff(", delay: 600"), exponential(600, 600));
    assert_eq!(backoff(", delay: 1, max_delay: 20"), exponential(1, 20));
}
