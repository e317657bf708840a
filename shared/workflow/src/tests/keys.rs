//! The table of keys, the parser and the schema agree, and what is generated from the table is up to date.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use jsonschema::Validator;
use protocol::limits;
use serde_json::{Value, json};

use super::super::keys::{Form, Key, Level};
use super::super::*;

/// Values of every type, and texts that some key accepts and another refuses.
fn values() -> Vec<Value> {
    let texts = [
        "",
        " ",
        "x",
        "b",
        "a.b",
        "a/b",
        "a b",
        "A_1",
        "1a",
        "fixed",
        "exponential",
        "stdout",
        "both",
        "b.out",
        "bash",
        "sh",
        "text",
        "failure",
        "push",
        "run",
        "!x",
        "!",
    ];
    let times = ["5", "90s", "30m", "6h", "1h30m", "1500ms", "1 h", "s", "1.5h", "-1", "soon"];
    let scalars = [json!(null), json!(true), json!(0), json!(1), json!(-1), json!(1.5), json!(101), json!(1_209_601)];
    let long = [limits::NAME, limits::NAME + 1, 65_537].map(|size| json!("x".repeat(size)));
    let lists = [
        json!([]),
        json!(["b"]),
        json!([1]),
        json!([true]),
        json!([null]),
        json!([[]]),
        json!(["b", "b"]),
        json!(["push"]),
        json!(["!x", "x"]),
    ];
    let objects = [
        json!({}),
        json!({ "x": 1 }),
        json!({ "A": null, "B": "x" }),
        json!({ "A": [] }),
        json!({ "1a": "x" }),
        json!({ "A": { "from": "b.out" } }),
        json!({ "A": { "from": 1 } }),
        json!({ "A": { "form": "b.out" } }),
        json!({ "max": 1, "lost": 0, "timeout": 2, "backoff": "exponential", "delay": 5, "max_delay": "1m" }),
        json!({ "max_delay": 5 }),
        json!({ "backoff": "fixed", "max_delay": 5 }),
        json!({ "max": "1" }),
        json!({ "z": { "run": "x" } }),
        json!({ "z": { "run": "x", "runs": "x" } }),
        json!({ "z": { "run": "x", "steps": [{ "run": "x" }] } }),
        json!({ "z": { "run": "x", "retries": 1, "retry": {} } }),
        json!({ "z": {} }),
        json!({ "a/b": { "run": "x" } }),
        json!({ "run": "x" }),
        json!({ "run": "x", "needs": "b" }),
        json!([{ "run": "x" }]),
        json!([{ "run": "x", "id": "s", "name": 1, "env": { "A": 1 } }]),
        json!([{ "id": "s" }]),
        json!([{ "run": "x", "if": true }]),
        json!([{ "id": "z", "name": "z", "command": "" }]),
        json!([{ "id": "z", "name": "z" }]),
        json!([{ "id": 1, "name": "z", "command": "" }]),
        json!([{ "A": 1 }]),
        json!([{ "A": 1, "id": "one" }]),
        json!([{ "A": [] }]),
        json!([{ "1a": 1 }]),
        json!({ "arch": [1, "x"], "mode": ["b"] }),
        json!({ "1a": [1] }),
        json!({ "arch": [1], "include": [{ "arch": 2, "id": "two" }], "exclude": [{ "arch": 1 }] }),
        json!({ "shell": ["python3", "-u"], "before": "x", "labels": "a", "retries": 1, "timeout": 5 }),
        json!({ "i": null, "j": { "type": "number", "choices": [1, 2], "default": 1 } }),
        json!({ "i": { "required": true, "default": "x" } }),
        json!(["python3", "-u"]),
        json!("wait"),
        json!({ "group": "G", "per": ["i"], "when_newer": "cancel" }),
        json!({ "group": "g", "per": 1 }),
        json!({ "per": [] }),
        json!({ "depth": 0, "submodules": true, "lfs": false, "paths": "src/a", "credentials": "keep" }),
        json!({ "depth": -1 }),
        json!({ "paths": ["../a"] }),
        json!("none"),
        json!({ "push": { "branches": ["main", "!x"], "paths": "src/**" }, "merge_group": null }),
        json!({ "branches": ["main"] }),
        json!({ "branches": [] }),
    ];
    let texts = texts.iter().chain(&times).map(|text| json!(text));
    texts.chain(scalars).chain(long).chain(lists).chain(objects).collect()
}

/// A good document in which one value of `key` is replaced.
fn document(level: Level, key: &str, value: Value) -> Value {
    let mut job = json!({ "run": "x", "needs": "b" });
    let mut workflow = json!({ "jobs": { "b": { "run": "x" } } });
    let mut listed = json!({ "id": "a", "name": "a", "command": "x" });
    match level {
        Level::Workflow => {
            workflow[key] = value;
            return workflow;
        }
        Level::ListedWorkflow => {
            let mut workflow = json!({ "jobs": [listed] });
            workflow[key] = value;
            return workflow;
        }
        Level::ListedJob => {
            listed[key] = value;
            let b = json!({ "id": "b", "name": "b", "command": "x" });
            return json!({ "jobs": [listed, b] });
        }
        Level::Job => {
            if key == "steps" {
                job = json!({});
            }
            job[key] = value;
        }
        Level::OnFailure => {
            let mut handler = if key == "steps" { json!({}) } else { json!({ "run": "x" }) };
            handler[key] = value;
            workflow["on_failure"] = handler;
            return workflow;
        }
        Level::Retry => {
            job["retry"] = json!({ "backoff": "exponential" });
            job["retry"][key] = value;
        }
        Level::Step => {
            job = json!({ "steps": [{ "run": "x" }] });
            job["steps"][0][key] = value;
        }
        Level::Reference => {
            workflow["inputs"] = json!({ "b": null, "A_1": null, "x": null });
            job["matrix"] = json!({ "b": [1], "A_1": [1], "x": [1] });
            job["env"] = json!({ "A": { key: value } });
        }
        Level::LabelReference => {
            job["matrix"] = json!({ "b": [1], "A_1": [1], "x": [1] });
            job["labels"] = json!([{ key: value }]);
        }
        Level::Defaults => workflow["defaults"] = json!({ key: value }),
        Level::Checkout => job["checkout"] = json!({ key: value }),
        Level::Concurrency => {
            workflow["inputs"] = json!({ "b": null, "A_1": null, "x": null });
            workflow["concurrency"] = json!({ "group": "g" });
            workflow["concurrency"][key] = value;
        }
        Level::On => workflow["on"] = json!({ key: value }),
        Level::Push => workflow["on"] = json!({ "push": { key: value } }),
        Level::PullRequest => workflow["on"] = json!({ "pull_request": { key: value } }),
        Level::MergeGroup => workflow["on"] = json!({ "merge_group": { key: value } }),
        Level::Input => workflow["inputs"] = json!({ "i": { key: value } }),
        Level::Matrix => {
            job["matrix"] = json!({ "A": [1, 2] });
            job["matrix"][key] = value;
        }
    }
    workflow["jobs"]["a"] = job;
    workflow
}

/// Codes of rules that a schema cannot express: about other parts of the document, or numbers written as text.
const BEYOND_A_SCHEMA: [&str; 14] = [
    "only_excludes",
    "unknown_job",
    "unknown_need",
    "self_need",
    "bad_reference",
    "secret_is_set",
    "duplicate_job",
    "duplicate_need",
    "unknown_axis",
    "unknown_input",
    "excludes_nothing",
    "empty_matrix",
    "same_variable",
    "bad_input",
];

/// Whether the parser accepts a document; `None` where it refuses it only by a rule that a schema cannot express.
fn accepts(document: &Value) -> Option<bool> {
    let Err(problems) = from_json(&document.to_string()) else { return Some(true) };
    problems.iter().any(|problem| !BEYOND_A_SCHEMA.contains(&problem.code)).then_some(false)
}

fn validators() -> [Validator; 2] {
    [json_schema(), list_schema()].map(|schema| jsonschema::draft202012::new(&schema).expect("a schema"))
}

fn levels() -> impl Iterator<Item = Level> {
    Level::WRITTEN.into_iter().chain([Level::ListedWorkflow, Level::ListedJob])
}

fn is_listed(level: Level) -> bool {
    matches!(level, Level::ListedWorkflow | Level::ListedJob)
}

#[test]
fn the_parser_and_the_schema_accept_the_same_values_of_every_key() {
    let [written, listed] = validators();
    for level in levels() {
        for Key { name, .. } in level.keys() {
            let mut outcomes = [0, 0];
            for value in values() {
                let document = document(level, name, value.clone());
                // A list of jobs is the other form, whatever else the document says.
                if document["jobs"].is_array() != is_listed(level) {
                    continue;
                }
                let Some(accepted) = accepts(&document) else { continue };
                let schema = if is_listed(level) { &listed } else { &written };
                let problems = from_json(&document.to_string()).err();
                assert_eq!(accepted, schema.is_valid(&document), "{level:?} {name} {value:.200}: {problems:?}");
                outcomes[usize::from(accepted)] += 1;
            }
            assert!(outcomes[1] > 0, "{level:?} {name}: no value was accepted, so nothing was compared");
        }
    }
}

/// A key in the table that the parser never reads would accept any value.
#[test]
fn every_key_of_the_table_is_read_by_the_parser() {
    for level in levels() {
        for Key { name, form, .. } in level.keys().iter().filter(|key| key.form != Form::Any) {
            let refused = values().into_iter().any(|value| accepts(&document(level, name, value)) == Some(false));
            assert!(refused, "{level:?} {name}: {form:?} is in the table, but the parser accepts any value");
        }
    }
    let kept = document(Level::Job, "metadata", json!("x".repeat(limits::KEPT)));
    assert_eq!(accepts(&kept), Some(false), "metadata is read");
}

#[test]
fn a_key_that_is_not_in_the_table_is_refused_by_both() {
    let [written, _] = validators();
    for level in Level::WRITTEN {
        let unknown = document(level, "unheard_of", json!("x"));
        assert_eq!(accepts(&unknown), Some(false), "{level:?}");
        assert!(!written.is_valid(&unknown), "{level:?}");
    }
}

#[test]
fn a_document_without_a_required_key_is_refused_by_both() {
    let [written, listed] = validators();
    for level in [Level::Workflow, Level::Step, Level::LabelReference, Level::Concurrency, Level::ListedJob] {
        for key in level.keys().iter().filter(|key| key.required) {
            let whole = document(level, "name", json!("n")).to_string();
            let without: Value = match level {
                Level::Workflow => json!({ "name": "n" }),
                Level::Step => json!({ "jobs": { "a": { "steps": [{ "name": "n" }] } } }),
                Level::Concurrency => json!({ "concurrency": {}, "jobs": { "a": { "run": "x" } } }),
                Level::LabelReference => json!({ "jobs": { "a": { "run": "x", "labels": [{}] } } }),
                _ => {
                    let mut document: Value = serde_json::from_str(&whole).expect("JSON");
                    document["jobs"][0].as_object_mut().expect("a job").remove(key.name);
                    document
                }
            };
            let schema = if is_listed(level) { &listed } else { &written };
            assert_eq!(accepts(&without), Some(false), "{level:?} {}", key.name);
            assert!(!schema.is_valid(&without), "{level:?} {}", key.name);
        }
    }
}

#[test]
fn the_schema_file_in_docs_is_the_schema() {
    let text = serde_json::to_string_pretty(&json_schema()).expect("JSON") + "\n";
    up_to_date("workflow.schema.json", |_| text.clone());
}

#[test]
fn the_table_of_keys_in_docs_is_the_table() {
    const BEGIN: &str = "<!-- keys: begin (generated; BLESS=1 cargo test -p workflow-graph-workflow) -->\n";
    const END: &str = "<!-- keys: end -->";
    up_to_date("workflow-file.md", |text| {
        let (before, rest) = text.split_once(BEGIN).expect("the marker at the table's begin");
        let (_, after) = rest.split_once(END).expect("the marker at the table's end");
        format!("{before}{BEGIN}{}{END}{after}", table())
    });
}

/// Compares a file in `docs/` with what it should be; with `BLESS=1` in the environment, writes it.
fn up_to_date(file: &str, expected: impl Fn(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let expected = expected(&text);
    if env::var_os("BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, expected).expect("the file can be written");
    } else {
        assert!(
            text == expected,
            "docs/{file} is not up to date; write it with `BLESS=1 cargo test -p workflow-graph-workflow`"
        );
    }
}

fn table() -> String {
    let mut text = String::new();
    for (level, title) in [
        (Level::Workflow, "The workflow"),
        (Level::Input, "An input: `inputs.<name>`"),
        (Level::Defaults, "Defaults: `defaults`"),
        (Level::Job, "A job: `jobs.<id>`"),
        (Level::Checkout, "A checkout: `jobs.<id>.checkout`"),
        (Level::Matrix, "A matrix, beside its axes: `jobs.<id>.matrix`"),
        (Level::Concurrency, "A group of runs: `concurrency`"),
        (Level::On, "Events: `on`"),
        (Level::Push, "A push: `on.push`"),
        (Level::PullRequest, "A pull request: `on.pull_request`"),
        (Level::MergeGroup, "A merge queue: `on.merge_group`"),
        (Level::Retry, "Retry: `jobs.<id>.retry`"),
        (Level::Step, "A step: `jobs.<id>.steps[]`"),
        (Level::Reference, "A value from elsewhere, one of: `env.<NAME>`"),
        (Level::LabelReference, "A label from the matrix: `jobs.<id>.labels[]`"),
    ] {
        let _ = write!(text, "\n### {title}\n\n| key | accepts | meaning |\n| --- | --- | --- |\n");
        for Key { name, form, required, about } in level.keys() {
            let required = if *required { " (required)" } else { "" };
            let _ = writeln!(text, "| `{name}`{required} | {} | {about} |", in_words(*form));
        }
    }
    text + "\n"
}

fn in_words(form: Form) -> String {
    match form {
        Form::Shown => format!("text, up to {} bytes", limits::NAME),
        Form::Events => "an event, a list of events, or a mapping, see below".to_owned(),
        Form::Event(_) => "nothing, or a mapping, see below".to_owned(),
        Form::Patterns => {
            format!("a pattern or a list of up to {}, up to {} bytes each", limits::PATTERNS, limits::PATTERN)
        }
        Form::States => format!("`run`, or a list of up to {} jobs", limits::STATES),
        Form::Env { references: false } => format!("up to {} names with texts", limits::ENV),
        Form::Env { references: true } => {
            format!("up to {} names with texts or `{{from: <job>.<output>}}`", limits::ENV)
        }
        Form::Jobs => format!("1 to {} jobs, by id", limits::JOBS),
        Form::JobId => format!("text, 1 to {} bytes without `/?#` and white space", limits::ID),
        Form::JobIds => "a job's id or a list of ids".to_owned(),
        Form::Labels => format!("a label or a list of up to {}", limits::LABELS_PER_JOB),
        Form::Secrets => format!("a secret's name or a list of up to {}", limits::SECRETS_PER_JOB),
        Form::Script | Form::Command => "a shell script".to_owned(),
        Form::Steps => format!("a list of 1 to {} steps", limits::STEPS),
        Form::ExitBudgets => {
            format!("up to {} exit codes or ranges with tries, such as `{{75: 5}}`", limits::EXIT_BUDGETS)
        }
        Form::Workdir => format!("`shared`, `fresh`, or a relative path, up to {} bytes", limits::WORKDIR),
        Form::Checkout => "true, false, or a mapping, see below".to_owned(),
        Form::Depth => format!("a whole number up to {}", limits::CHECKOUT_DEPTH),
        Form::Folders => format!("a relative path or a list of up to {}", limits::CHECKOUT_PATHS),
        Form::Tries => format!("a whole number up to {}", limits::RETRIES),
        Form::Time { .. } => "seconds, or `90s`, `30m`, `1h30m`; up to 14 days".to_owned(),
        Form::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Form::OutputOfJob => "`<job>.<output>`".to_owned(),
        Form::Shell => "`bash`, `sh`, or a program as a list, such as `[python3, -u]`".to_owned(),
        Form::Retry | Form::Defaults | Form::Inputs => "a mapping, see below".to_owned(),
        Form::OnFailure => "a job".to_owned(),
        Form::Matrix => format!("up to {} lists of values, by axis", limits::MATRIX_AXES),
        Form::Legs { .. } => "a list of mappings of axes to values".to_owned(),
        Form::InputType => "`text`, `number`, `boolean`".to_owned(),
        Form::InputValue => "text, a number, true or false".to_owned(),
        Form::InputValues => format!("a list of 1 to {} values", limits::CHOICES),
        Form::Boolean => "true or false".to_owned(),
        Form::Group => format!("a name, up to {} bytes without commas and white space", limits::LABEL),
        Form::RunGroup => "a name, or a mapping, see below".to_owned(),
        Form::InputNames => "an input or a list of inputs".to_owned(),
        Form::ExitCode => "an exit code, 1 to 255".to_owned(),
        Form::Axis => format!("a name, up to {} bytes", limits::AXIS_NAME),
        Form::Any => format!("anything, up to {} KiB as JSON", limits::KEPT / 1024),
    }
}
