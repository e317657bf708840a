//! The two forms of a JSON body.

use serde_json::{Value, json};

use super::super::*;
use super::{env, text};

#[test]
fn a_definition_in_json_is_checked_as_yaml_is_and_keeps_positions() {
    let body =
        "{\n\t\"name\": \"\\ud83e\\udd80\\/\",\n\t\"jobs\": {\"a\": {\"run\": \"x\", \"env\": {\"A\": 1.10}}}\n}";
    let definition = from_json(body).expect("good");
    assert_eq!(definition.name.as_deref(), Some("🦀/"));
    assert_eq!(env(&definition, "A"), Some(&text("1.10")));
    let problems = from_json("{\"jobs\":\n {\"ä\": {\"run\": \"x\", \"nedes\": 1}, \"ä\": {}}}").expect_err("bad");
    let found: Vec<_> = problems.iter().map(|p| (p.at.map(|at| (at.line, at.column)), p.code)).collect();
    assert_eq!(
        found,
        [(Some((2, 21)), "unknown_key"), (Some((2, 34)), "duplicate_key"), (Some((2, 34)), "missing_run")]
    );
    for (body, at) in [("{\"jobs\": {},}", (1, 13)), ("jobs: {}", (1, 1)), ("{\n  'a': 1}", (2, 3)), ("{} x", (1, 4))] {
        let problem = &from_json(body).expect_err(body)[0];
        assert_eq!(
            (problem.code, problem.at.map(|at| (at.line, at.column))),
            ("syntax", Some(at)),
            "{body}: {problem}"
        );
    }
    assert_eq!(from_json("{\"jobs\": {\"a\": {\"run\": \"\\ud800\"}}}").expect_err("lone")[0].code, "syntax");
    assert_eq!(from_json(" \n").expect_err("nothing")[0].code, "empty");
    assert_eq!(from_json("[]").expect_err("a list")[0].code, "wrong_type");
}

#[test]
fn a_list_of_jobs_is_read_as_clients_send_it() {
    let body = json!({
        "name": "ci", "trigger": "push", "id": "ignored", "status": "queued",
        "jobs": [
            {"id": "test", "name": "Test", "command": "make test", "depends_on": ["build"], "status": "queued",
             "required_labels": ["Docker", "gpu"], "max_retries": 2, "metadata": {"n": [1, null]}, "ports": [{"id": "in"}],
             "children": null, "collapsed": true, "output": null, "unheard_of": 1, "duration_secs": null},
            {"id": "build", "name": "Build", "command": "", "depends_on": null, "required_labels": null, "max_retries": null}
        ]
    });
    let definition = from_json(&body.to_string()).expect("good");
    assert_eq!((definition.name.as_deref(), definition.trigger.as_str()), (Some("ci"), "push"));
    let [test, build] = &definition.jobs[..] else { panic!("two jobs") };
    assert_eq!(
        (test.id.as_str(), test.settings.name.as_str(), test.settings.script.as_str()),
        ("test", "Test", "make test")
    );
    assert_eq!(
        (test.needs.as_slice(), test.settings.retry.max, test.settings.labels.to_string()),
        ([1].as_slice(), 2, "docker, gpu".into())
    );
    assert_eq!(
        (&test.settings.passthrough.metadata, &test.settings.passthrough.ports),
        (&json!({"n": [1, null]}), &json!([{"id": "in"}]))
    );
    assert_eq!(
        (&test.settings.passthrough.children, &test.settings.passthrough.collapsed),
        (&Value::Null, &json!(true))
    );
    assert_eq!((build.settings.script.as_str(), build.settings.retry.max, build.needs.len()), ("", 0, 0));
}

#[test]
fn problems_in_a_list_of_jobs_have_paths_instead_of_positions() {
    let body = json!({
        "name": 5,
        "jobs": [
            {"id": "a", "name": "A", "command": "x", "depends_on": ["b", "c", "a", "b"]},
            {"id": "b", "name": "B", "command": "x", "depends_on": ["a"], "required_labels": ["a b"], "max_retries": 1000,
             "secrets": ["A", "A", "b c", "PATH"]},
            {"id": "b", "name": "B", "command": "x"},
            {"id": "d/e", "name": 1},
            {"name": "x", "command": ["x"], "secrets": "A", "depends_on": "a", "required_labels": {}, "max_retries": "1"},
            "f",
        ]
    });
    let problems = from_json(&body.to_string()).expect_err("bad");
    assert!(problems.iter().all(|problem| problem.at.is_none()));
    let mut found: Vec<_> = problems.iter().map(|problem| format!("{} {}", problem.path, problem.code)).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "jobs[0].depends_on[0] cycle",
            "jobs[0].depends_on[1] unknown_need",
            "jobs[0].depends_on[2] self_need",
            "jobs[0].depends_on[3] duplicate_need",
            "jobs[1].max_retries out_of_range",
            "jobs[1].required_labels[0] bad_label",
            "jobs[1].secrets[1] duplicate_secret",
            "jobs[1].secrets[2] bad_secret",
            "jobs[1].secrets[3] secret_is_set",
            "jobs[2].id duplicate_job",
            "jobs[3].command missing_field",
            "jobs[3].id bad_id",
            "jobs[3].name wrong_type",
            "jobs[4].command wrong_type",
            "jobs[4].depends_on wrong_type",
            "jobs[4].id missing_field",
            "jobs[4].max_retries wrong_type",
            "jobs[4].required_labels wrong_type",
            "jobs[4].secrets wrong_type",
            "jobs[5] wrong_type",
            "name wrong_type",
        ]
    );
    let twice = "{\"jobs\": [{\"id\": \"a\", \"id\": \"b\", \"name\": \"A\", \"command\": \"x\"}]}";
    let found = from_json(twice).expect_err("twice").remove(0);
    assert_eq!((found.code, found.path.as_str(), found.at), ("duplicate_key", "jobs[0].id", None));
    assert_eq!(from_json("{\"jobs\": []}").expect_err("none")[0].code, "no_jobs");
}
