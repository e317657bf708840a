//! Sizes and limits to the byte, and how problems are collected.

use protocol::{JobId, OutputName, limits};
use serde_json::json;

use super::super::builder::{Builder, DEPTH, EXPANDED};
use super::super::env::weight;
use super::super::node::{Entry, Kind, Node};
use super::super::report::{LISTED, Report, nearest};
use super::super::script::{Step, StepValue};
use super::super::*;
use super::{problems, repeat, text, yaml};

fn scalar(text: &str) -> Node {
    Node { kind: Kind::Scalar { text: text.to_owned(), plain: true }, at: Position::default() }
}

#[test]
fn weight_of_a_tree_grows_with_every_byte_of_its_keys_and_values() {
    let map = |key: &str, value: Node| {
        let entry = Entry { key: key.to_owned(), key_at: Position::default(), value };
        Node { kind: Kind::Map(vec![entry]), at: Position::default() }.weight()
    };
    let nothing = scalar("").weight();
    assert_eq!(scalar("abc").weight(), nothing + 3);
    assert_eq!(map("", scalar("")), 3 * nothing, "the mapping, its entry and the value");
    assert_eq!(map("key", scalar("value")), 3 * nothing + 8);
    assert_eq!(map("key", Node { kind: Kind::List(vec![scalar("a"); 2]), at: Position::default() }), 5 * nothing + 5);
}

#[test]
fn definition_may_grow_to_exactly_its_limit_with_aliases() {
    let nothing = scalar("").weight();
    let at = Position::default();
    let value = "x".repeat(EXPANDED / 2 - nothing);
    let mut builder = Builder::new();
    assert!(builder.open(Kind::List(Vec::new()), 0, at).is_ok());
    assert!(builder.scalar(value.clone(), true, 1, at).is_ok());
    assert!(builder.alias(1, at).is_ok(), "exactly the limit");
    assert!(builder.scalar(String::new(), true, 2, at).is_err(), "an anchored value counts too");
    assert!(builder.alias(1, at).is_err());
    let mut whole = Builder::new();
    assert!(whole.scalar("x".repeat(EXPANDED - nothing), true, 1, at).is_ok());
    assert!(Builder::new().scalar("x".repeat(EXPANDED - nothing + 1), true, 1, at).is_err());
}

#[test]
fn lists_and_mappings_may_be_64_deep_in_both_formats() {
    // Three mappings are around the lists.
    let nested = |lists: usize| {
        let deep = format!("{}{}", "[".repeat(lists), "]".repeat(lists));
        format!("{{\"jobs\": {{\"a\": {{\"run\": \"x\", \"metadata\": {deep}}}}}}}")
    };
    for read in [from_yaml, from_json] {
        assert!(read(&nested(DEPTH - 3)).is_ok());
        let problem = &read(&nested(DEPTH - 2)).expect_err("too deep")[0];
        assert_eq!(problem.code, "too_deep");
        assert_eq!(problem.message, "lists and mappings are over 64 deep inside one another; flatten them");
    }
}

#[test]
fn size_of_a_step_is_that_of_its_texts() {
    let text = |text: &str| StepValue::Text(text.to_owned());
    let env = vec![("V".to_owned(), text("12345")), ("LONG".to_owned(), text("1"))];
    let step = |title: &str, run: &str| Step {
        title: title.to_owned(),
        env: Vec::new(),
        run: run.to_owned(),
        shell: Shell::default(),
        workdir: Workdir::Shared,
    };
    assert_eq!(Step { env, ..step("abc", "xy") }.size(), 3 + 6 + 5 + 2);
    assert_eq!(step("abc", "xy").size(), 5);
    assert_eq!(Step { workdir: Workdir::Own("src".to_owned()), ..step("abc", "xy") }.size(), 8);
}

#[test]
fn weight_of_variables_is_that_of_names_and_values() {
    let output =
        EnvValue::Output { job: JobId::new("job").expect("an id"), output: OutputName::new("value").expect("a name") };
    assert_eq!(weight(&[("ab".to_owned(), text("xyz")), ("c".to_owned(), output)]), 5 + 1 + 8);
}

#[test]
fn commands_of_all_jobs_may_have_exactly_their_limit() {
    assert_eq!(EXPANDED, 16_777_216);
    let jobs = 32;
    let each = EXPANDED / jobs;
    let variables: String = (0..4).map(|n| format!("  V{n}: {}\n", "x".repeat(limits::ENV_VALUE - 2000))).collect();
    let weight = 4 * (limits::ENV_VALUE - 2000 + 2);
    let file = |more: &str| {
        let run = "x".repeat(each - weight);
        let jobs: String = (1..jobs).map(|n| format!("  j{n}: {{run: {run}}}\n")).collect();
        format!("env:\n{variables}jobs:\n  j0: {{run: {run}{more}}}\n{jobs}")
    };
    assert_eq!(yaml(&file("")).jobs.len(), jobs);
    assert_eq!(problems(&file("x"))[0].code, "too_large");
}

#[test]
fn variables_of_all_jobs_may_have_exactly_their_limit() {
    let jobs = 128;
    let of_env = |value: usize| {
        let jobs = repeat(jobs, |n| format!("  j{n}: {{run: x}}\n"));
        let text = format!("env: {{V: {}}}\njobs:\n{jobs}", "x".repeat(value));
        problems(&text).iter().any(|problem| problem.path == "env")
    };
    let most = EXPANDED / jobs - 1;
    assert!(!of_env(most), "the commands are over their limit, and the variables are not");
    assert!(of_env(most + 1));
}

#[test]
fn command_is_noted_as_long_from_one_byte_over_the_longest_argument_on() {
    let notes = |size: usize| yaml(&format!("jobs: {{a: {{run: {}}}}}", "x".repeat(size))).notes.len();
    assert_eq!([notes(131_071), notes(131_072)], [0, 1]);
}

#[test]
fn cycle_of_over_forty_names_is_cut_in_the_middle() {
    let names = |jobs: usize| {
        let jobs = repeat(jobs, |n| format!("  j{n}: {{run: x, needs: j{}}}\n", (n + 1) % jobs));
        let message = problems(&format!("jobs:\n{jobs}")).swap_remove(0).message;
        let (_, way) = message.split_once(": ").expect("a way");
        way.split(" -> ").map(str::to_owned).collect::<Vec<_>>()
    };
    let all = names(39);
    assert_eq!((all.len(), all[20].as_str()), (40, "j20"));
    let cut = names(60);
    assert_eq!(cut.len(), 41);
    assert_eq!([cut[19].as_str(), &cut[20], &cut[21]], ["j19", "(21 more)", "j41"]);
}

fn report(paths: &[(&'static str, &str, &str)]) -> Vec<Problem> {
    let mut report = Report::default();
    for (code, path, message) in paths {
        report.add(code, Position { line: 1, column: 1, offset: 0, len: 0 }, path, *message);
    }
    report.into_problems()
}

#[test]
fn problem_is_listed_once_and_others_at_its_place_too() {
    assert_eq!(report(&[("a", "", "x"), ("a", "", "x")]).len(), 1);
    assert_eq!(report(&[("a", "", "x"), ("b", "", "x")]).len(), 2);
    assert_eq!(report(&[("a", "", "x"), ("a", "", "y")]).len(), 2);
}

#[test]
fn long_path_is_shown_by_its_first_and_last_150_bytes() {
    let path = format!("{}{}{}", "a".repeat(150), "b".repeat(1000), "c".repeat(150));
    assert_eq!(report(&[("a", &path, "x")])[0].path, format!("{}…{}", "a".repeat(150), "c".repeat(150)));
}

#[test]
fn problem_after_very_many_others_gets_no_advice() {
    let keys = repeat(4 * LISTED + 1, |n| format!("x{n}: 1\n"));
    let found = problems(&format!("jobs: {{a: {{run: x, nedes: b}}}}\n{keys}"));
    let about = found.iter().find(|problem| problem.path == "jobs.a.nedes").expect("listed");
    assert_eq!(about.message, "`nedes` is not a key of a job");
    let few = problems("jobs: {a: {run: x, nedes: b}}\nx1: 1\n");
    let about = few.iter().find(|problem| problem.path == "jobs.a.nedes").expect("listed");
    assert_eq!(about.message, "`nedes` is not a key of a job; did you mean `needs`?");
}

#[test]
fn nearest_word_is_within_one_slip_and_one_more_for_every_four_letters() {
    let near = |text: &str, candidates: &[&'static str]| nearest(text, candidates.iter().copied(), &mut 100_000);
    assert_eq!([near("abd", &["abc"]), near("axy", &["abc"])], [Some("abc"), None]);
    assert_eq!([near("abxy", &["abcd"]), near("axyz", &["abcd"])], [Some("abcd"), None]);
    assert_eq!(near("abcd", &["abce", "abcf"]), Some("abce"), "the first of equally near ones");
    assert_eq!(near("abcd", &["abxy", "abce"]), Some("abce"), "the nearer one");
    assert_eq!([near("a", &["a🦀"]), near("abcd", &["abcd🦀🦀"])], [Some("a🦀"), Some("abcd🦀🦀")]);
    let (long, longer) = ("x".repeat(limits::ID), "x".repeat(limits::ID + 1));
    let most: &'static str = Box::leak(format!("{}y", "x".repeat(limits::ID - 1)).into_boxed_str());
    assert_eq!([near(&long, &[most]), near(&longer, &[most])], [Some(most), None]);
}

#[test]
fn search_for_a_near_word_costs_one_and_the_product_of_the_lengths() {
    let mut work = 1 + 5 * 6;
    assert_eq!(nearest("abcde", ["abcdef"], &mut work), Some("abcdef"));
    assert_eq!(work, 0);
    assert_eq!(nearest("abcde", ["abcdef"], &mut (5 * 6)), None, "one too few");
}

#[test]
fn settings_are_stored_without_their_default_values() {
    let mut settings = JobSettings::new("a", "x");
    let stored = |settings: &JobSettings| serde_json::to_value(settings).expect("JSON");
    assert_eq!(stored(&settings), json!({ "name": "a", "script": "x" }));
    settings.retry.max = 1;
    settings.passthrough.metadata = json!(5);
    let expected = json!({ "name": "a", "script": "x", "retry": { "max": 1 }, "passthrough": { "metadata": 5 } });
    assert_eq!(stored(&settings), expected);
    assert_eq!(serde_json::from_value::<JobSettings>(expected).expect("settings"), settings);
}

#[test]
fn value_that_is_nothing_is_no_list_of_one() {
    for (key, expected) in [("needs", "a job or a list of jobs"), ("labels", "a label or a list of labels")] {
        let problem = problems(&format!("jobs: {{a: {{run: x, {key}: }}}}")).swap_remove(0);
        assert_eq!(problem.message, format!("expected {expected}, but here is nothing"));
    }
}
