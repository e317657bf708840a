//! `inputs`: what may be declared, and which values a run may have.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

const RELEASE: &str = "
inputs:
  version: {required: true}
  region: {choices: [eu, us], default: eu}
  count: {type: number}
  dry-run: {type: boolean, default: false}
  note:
jobs: {a: {run: x, env: {TAG: {input: version}}}}
";

fn resolved(given: &Value) -> Result<BTreeMap<String, String>, Vec<&'static str>> {
    let given = given.as_object().expect("an object").clone().into_iter().collect();
    let codes = |problems: Vec<Problem>| problems.iter().map(|problem| problem.code).collect();
    resolve_inputs(&yaml(RELEASE).inputs, &given).map_err(codes)
}

#[test]
fn values_are_those_given_else_the_defaults_else_empty() {
    let values = resolved(&json!({ "version": "1.2", "count": -1.5 })).expect("good values");
    let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [("count", "-1.5"), ("dry-run", "false"), ("note", ""), ("region", "eu"), ("version", "1.2")];
    assert_eq!(values, expected);
    let bytes = "\"; $(id) \\ ä\n";
    assert_eq!(resolved(&json!({ "version": bytes })).expect("any text")["version"], bytes);
    assert_eq!(resolved(&json!({ "version": "1", "dry-run": true })).expect("a boolean")["dry-run"], "true");
}

#[test]
fn values_that_do_not_fit_are_refused_all_at_once() {
    assert_eq!(resolved(&json!({})), Err(vec!["missing_input"]));
    assert_eq!(resolved(&json!({ "version": "" })), Err(vec!["missing_input"]));
    for (name, value) in [
        ("dry-run", json!("False")),
        ("dry-run", json!("yes")),
        ("count", json!("three")),
        ("count", json!("inf")),
        ("region", json!("asia")),
        ("region", json!("")),
        ("note", json!(["x"])),
        ("note", json!("a\u{0}b")),
        ("note", json!("x".repeat(limits::INPUTS_SIZE))),
    ] {
        let given = json!({ "version": "1", name: value.clone() });
        assert_eq!(resolved(&given), Err(vec!["bad_input"]), "{name} {value:.40}");
    }
    assert_eq!(resolved(&json!({ "regoin": "eu" })), Err(vec!["unknown_input", "missing_input"]));
    let given = [("regoin".to_owned(), json!("eu"))].into();
    let problems = resolve_inputs(&yaml(RELEASE).inputs, &given).expect_err("unknown");
    assert!(problems[0].message.contains("`region`") && problems[0].path == "inputs.regoin", "{}", problems[0]);
}

#[test]
fn inputs_that_make_no_sense_are_refused() {
    for (inputs, code) in [
        ("{1a: }", "bad_input_name"),
        ("{a-b: , a_b: }", "same_variable"),
        ("{a: {default: x, required: true}}", "required_default"),
        ("{a: {default: x, choices: [y]}}", "bad_input"),
        ("{a: {type: number, default: x}}", "bad_input"),
        ("{a: {type: date}}", "unknown_value"),
        ("{a: {choices: []}}", "no_choices"),
        ("{a: {required: 'true'}}", "wrong_type"),
        ("[a]", "wrong_type"),
    ] {
        let found = problems(&format!("inputs: {inputs}\njobs: {{j: {{run: x}}}}"));
        assert_eq!(found.iter().map(|problem| problem.code).collect::<Vec<_>>(), [code], "{inputs}");
    }
    yaml("inputs: {a: {default: '', choices: ['', x]}}\njobs: {j: {run: x}}");
}

#[test]
fn a_variable_may_be_an_input_that_is_declared() {
    let definition = yaml(RELEASE);
    assert_eq!(env(&definition, "TAG"), Some(&EnvValue::Input("version".to_owned())));
    assert!(definition.jobs[0].settings.has_inputs);
    let unknown = problems("inputs: {version: }\njobs: {a: {run: x, env: {TAG: {input: verison}}}}");
    assert!(unknown[0].code == "unknown_input" && unknown[0].message.contains("`version`"), "{}", unknown[0]);
    assert_eq!(codes("run: x\nenv: {INPUT_X: 1}"), ["reserved_env_name"]);
    let secret = problems("inputs: {x: }\njobs: {a: {run: x, secrets: INPUT_X}}");
    assert!(secret[0].code == "secret_is_set" && secret[0].message.contains("an input"), "{}", secret[0]);
    assert_eq!(codes("run: x\nsecrets: MATRIX_A\nmatrix: {a: [1]}"), ["secret_is_set"]);
    assert_eq!(codes("run: x\nenv: {A: {from: other.x, input: y}}\nneeds: other"), ["wrong_type"]);
}
