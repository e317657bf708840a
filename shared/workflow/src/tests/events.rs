//! The keys `on` and `report`.

use super::*;

fn events(on: &str) -> Events {
    yaml(&format!("on: {on}\njobs: {{a: {{run: x}}}}")).events
}

fn refused(on: &str) -> Vec<&'static str> {
    problems(&format!("on: {on}\njobs: {{a: {{run: x}}}}")).iter().map(|problem| problem.code).collect()
}

#[test]
fn the_names_of_the_events_are_the_trigger() {
    for (on, trigger, notes) in [
        ("push", "push", 1),
        ("[push, pull_request]", "push, pull_request", 1),
        ("{push: {branches: [main]}, merge_group: }", "push, merge_group", 1),
        ("manual", "manual", 0),
    ] {
        let definition = yaml(&format!("on: {on}\njobs: {{a: {{run: x}}}}"));
        assert_eq!((definition.trigger.as_str(), definition.notes.len()), (trigger, notes), "{on}");
    }
    let without = yaml("jobs: {a: {run: x}}");
    assert_eq!((without.trigger.as_str(), without.events.is_empty(), without.inputs.len()), ("manual", true, 0));
}

#[test]
fn tags_alone_starts_nothing_for_branches_and_the_other_way_round() {
    let of = |on: &str| {
        let push = events(on).push.expect("a push");
        (push.has_branch("main"), push.has_tag("v1"))
    };
    assert_eq!(of("push"), (true, true));
    assert_eq!(of("{push: {paths: src/**}}"), (true, true));
    assert_eq!(of("{push: {branches: [main]}}"), (true, false));
    assert_eq!(of("{push: {tags: [\"v*\"]}}"), (false, true));
    assert_eq!(of("{push: {branches: [main], tags: \"v*\"}}"), (true, true));
    assert_eq!(of("{push: {branches: [dev], tags: [\"x*\"]}}"), (false, false));
}

#[test]
fn an_event_that_is_not_named_starts_nothing() {
    let only = events("{pull_request: {branches: [main, \"release/**\"]}}");
    assert!(only.push.is_none() && only.merge_group.is_none());
    let pull = only.pull_request.expect("a pull request");
    assert!(pull.has_base("main") && pull.has_base("release/1/2") && !pull.has_base("dev"));
    assert!(events("merge_group").merge_group.expect("a queue").has_base("any"));
}

#[test]
fn an_unknown_event_is_refused() {
    assert_eq!(refused("pusch"), ["unknown_event"]);
    assert_eq!(refused("[push, push]"), ["duplicate_event"]);
    assert_eq!(refused("{pusch: }"), ["unknown_key"]);
    assert_eq!(refused("{push: {branch: main}}"), ["unknown_key"]);
    assert_eq!(refused("{pull_request: {tags: v1}}"), ["unknown_key"]);
    assert_eq!(refused("{push: {branches: [\"!main\"]}}"), ["only_excludes"]);
    assert_eq!(refused("{push: {branches: [\"\", main]}}"), ["empty_pattern"]);
    assert_eq!(refused("[[a]]"), ["wrong_type"]);
}

#[test]
fn schedule_is_refused_with_what_to_do_instead() {
    for on in ["schedule", "{schedule: [{cron: \"* * * * *\"}]}"] {
        let problem = &problems(&format!("on: {on}\njobs: {{a: {{run: x}}}}"))[0];
        assert!(problem.message.contains("let cron or a timer call `wfg submit`"), "{problem}");
    }
}

#[test]
fn a_workflow_with_events_has_the_inputs_of_the_forge() {
    let definition =
        yaml("on: push\ninputs: {mine: {default: m}}\nconcurrency: {group: ci, per: change}\njobs: {a: {run: x}}");
    let names: Vec<_> = definition.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names[0], "mine");
    assert_eq!(names[1..], FORGE_INPUTS);
    assert!(definition.jobs[0].settings.has_inputs);
    let values = resolve_inputs(&definition.inputs, &std::collections::BTreeMap::default()).expect("good");
    assert_eq!((values["ref"].as_str(), values["mine"].as_str()), ("", "m"));
}

#[test]
fn an_input_that_nobody_gives_is_refused_beside_on() {
    let codes = |text: &str| {
        problems(text).iter().map(|problem| (problem.code, problem.at.map(|at| at.line))).collect::<Vec<_>>()
    };
    assert_eq!(
        codes("on: push\ninputs:\n  a: {required: true}\n  ref:\njobs: {a: {run: x}}"),
        [("required_beside_on", Some(3)), ("given_by_forge", Some(4))]
    );
    let without = yaml("inputs: {a: {required: true}, ref: }\njobs: {a: {run: x}}");
    assert_eq!(without.inputs.len(), 2);
}

#[test]
fn report_names_the_run_or_jobs() {
    let states = |report: &str| yaml(&format!("report: {report}\njobs: {{a: {{run: x}}, b: {{run: x}}}}")).states;
    assert_eq!(states("run"), ReportStates::Run);
    assert_eq!(states("[b]"), ReportStates::Jobs(vec!["b".to_owned()]));
    assert_eq!(yaml("jobs: {a: {run: x}}").states, ReportStates::All);
    let codes = |report: &str| problems(&format!("report: {report}\njobs: {{a: {{run: x}}}}"))[0].code;
    assert_eq!([codes("jobs"), codes("[b]"), codes("[a, a]")], ["wrong_type", "unknown_job", "duplicate_job"]);
}
