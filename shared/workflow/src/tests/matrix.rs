//! `matrix`: which jobs it is written out to.

use super::*;

fn ids(text: &str) -> Vec<String> {
    yaml(text).jobs.iter().map(|job| job.id.to_string()).collect()
}

fn of_job(matrix: &str) -> String {
    format!("jobs: {{t: {{run: x, matrix: {matrix}}}}}")
}

#[test]
fn each_combination_is_a_job_with_its_values_as_variables() {
    let definition = yaml(
        "jobs:
  build:
    matrix: {arch: [amd64, arm64], mode: [release, debug], exclude: [{arch: arm64, mode: debug}]}
    labels: [linux, {matrix: arch}]
    env: {KIND: {matrix: mode}}
    run: make
  one: {needs: 'build@amd64,debug', run: x}
  all: {needs: build, env: {V: {from: 'build@arm64,release.v'}}, run: x}
",
    );
    let ids: Vec<_> = definition.jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["build@amd64,release", "build@amd64,debug", "build@arm64,release", "one", "all"]);
    let settings = &definition.jobs[2].settings;
    assert_eq!(settings.labels.to_string(), "arm64, linux");
    assert_eq!(settings.env, [("KIND".to_owned(), text("release"))]);
    let variables: Vec<_> = settings.matrix_variables().collect();
    assert_eq!(variables, [("MATRIX_ARCH".to_owned(), "arm64"), ("MATRIX_MODE".to_owned(), "release")]);
    assert_eq!(definition.jobs[3].needs, [1]);
    assert_eq!(definition.jobs[4].needs, [0, 1, 2]);
}

#[test]
fn values_stay_as_written_and_ids_have_only_those_that_tell_the_legs_apart() {
    assert_eq!(ids(&of_job("{py: [3.9, 3.10]}")), ["t@3.9", "t@3.10"]);
    assert_eq!(ids(&of_job("{os: [linux], py: [1, 2]}")), ["t@1", "t@2"]);
    assert_eq!(ids(&of_job("{os: [linux]}")), ["t@linux"]);
    assert_eq!(ids(&of_job("{image: ['ghcr.io/a/b:1', 'ä b']}")), ["t@ghcr.io_a_b_1", "t@__b"]);
}

#[test]
fn included_legs_are_whole_and_may_have_ids_and_axes_of_their_own() {
    let definition = yaml(&of_job("{include: [{os: linux, id: first}, {os: mac, sdk: 14}]}"));
    let ids: Vec<_> = definition.jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["t@first", "t@mac,14"]);
    let first = &definition.jobs[0].settings.matrix;
    assert_eq!((first["os"].as_str(), first["sdk"].as_str()), ("linux", ""));
}

#[test]
fn an_output_of_a_matrix_names_one_leg() {
    let text = "jobs: {b: {run: x, matrix: {a: [1, 2]}}, u: {run: x, needs: b, env: {V: {from: b.v}}}}";
    let problem = &problems(text)[0];
    assert!(problem.code == "bad_reference" && problem.message.contains("`b@1.v`"), "{problem}");
}

#[test]
fn a_matrix_that_makes_no_sense_is_refused_with_its_reason() {
    for (matrix, code) in [
        ("{a: [1, 2], exclude: [{a: 3}]}", "excludes_nothing"),
        ("{a: [1], exclude: [{a: 1}]}", "empty_matrix"),
        ("{a: []}", "empty_matrix"),
        ("{}", "empty_matrix"),
        ("{a: [1, 1]}", "duplicate_job"),
        ("{a: ['x y', 'x/y']}", "duplicate_job"),
        ("{a: [1, 2], include: [{a: 1}]}", "duplicate_job"),
        ("{1a: [1]}", "bad_axis"),
        ("{a-b: [1], a_b: [2]}", "same_variable"),
        ("{a: 1}", "wrong_type"),
        ("{a: [[1]]}", "wrong_type"),
        ("{a: ['']}", "bad_id"),
    ] {
        let found = from_yaml(&of_job(matrix)).err().unwrap_or_default();
        assert_eq!(found.iter().map(|problem| problem.code).collect::<Vec<_>>(), [code], "{matrix}");
    }
    let long = |size: usize| format!("{{a: ['{}', b]}}", "x".repeat(size));
    assert_eq!(ids(&of_job(&long(limits::MATRIX_VALUE))).len(), 2);
    assert_eq!(problems(&of_job(&long(limits::MATRIX_VALUE + 1)))[0].code, "too_long");
    let values = |count: usize| format!("{{a: {:?}}}", (0..count).collect::<Vec<_>>());
    assert_eq!(ids(&of_job(&values(limits::MATRIX_LEGS))).len(), limits::MATRIX_LEGS);
    assert!(problems(&of_job(&values(limits::MATRIX_LEGS + 1)))[0].message.contains("MATRIX_LEGS"));
    let axes = |count: usize| format!("{{{}}}", repeat(count, |n| format!("a{n}: [{n}],")));
    assert_eq!(ids(&of_job(&axes(limits::MATRIX_AXES))).len(), 1);
    let too_many = problems(&of_job(&axes(limits::MATRIX_AXES + 1)));
    assert!(too_many.len() == 1 && too_many[0].message.contains("MATRIX_AXES"), "{too_many:?}");
    // An id of all their values would be too long, but is only a consequence.
    let many_more = problems(&of_job(&axes(1000)));
    assert!(many_more.len() == 1 && many_more[0].message.contains("MATRIX_AXES"), "{many_more:?}");
}

#[test]
fn combination_that_an_empty_value_leaves_without_a_name_is_refused_for_that_reason() {
    let of_axis = "the value of `a` is empty in one combination, so that the combination has no name; write a value, or list the \
                   combination under `include` with an `id`";
    let of_none = "one combination has no values, so that it has no name; write a value for an axis, or an `id`";
    let of_id = "the `id` of this combination is empty; write one, or leave it out";
    for (matrix, path, message) in [
        ("{a: ['', b]}", "", of_axis),
        ("{a: ['']}", "", of_axis),
        ("{a: ['', b], os: [linux]}", "", of_axis),
        ("{include: [{a: b}, {}]}", "", of_axis),
        ("{include: [{}]}", "", of_none),
        ("{a: [b], include: [{a: c, id: ''}]}", ".include[0].id", of_id),
    ] {
        let found = problems(&of_job(matrix));
        let found: Vec<_> = found.iter().map(|p| (p.code, p.path.as_str(), p.message.as_str())).collect();
        assert_eq!(found, [("bad_id", format!("jobs.t.matrix{path}").as_str(), message)], "{matrix}");
    }
    assert_eq!(ids(&of_job("{include: [{a: b}, {a: '', id: none}]}")), ["t@b", "t@none"]);
    let long =
        problems(&format!("jobs: {{{}: {{run: x, matrix: {{a: [b]}}}}}}", "t".repeat(limits::ID))).swap_remove(0);
    assert!(long.code == "bad_id" && long.message.contains("at most 100 bytes long (limit ID)"), "{long}");
}

#[test]
fn empty_value_beside_another_that_differs_leaves_its_place_in_the_id_empty() {
    assert_eq!(ids(&of_job("{a: ['', b], n: [1, 2]}")), ["t@,1", "t@,2", "t@b,1", "t@b,2"]);
    assert_eq!(ids(&of_job("{n: [1, 2], a: ['', b]}")), ["t@1,", "t@1,b", "t@2,", "t@2,b"]);
}

#[test]
fn problems_of_all_parts_of_a_matrix_are_reported_at_once() {
    for (matrix, expected) in [
        (
            "{a: [], b: x, include: [{c: 1}], exclude: [{a: 9}]}",
            &[("a", "empty_matrix"), ("b", "wrong_type")] as &[(&str, &str)],
        ),
        ("{a: [], b: [x], include: [{c: 1}], exclude: [{a: 9}]}", &[("a", "empty_matrix")]),
        ("{a: [], include: [{a: 1}]}", &[("a", "empty_matrix")]),
        ("{a: [], b: []}", &[("a", "empty_matrix"), ("b", "empty_matrix")]),
        (
            "{a: x, 1b: y, c: [[1], {}]}",
            &[
                ("a", "wrong_type"),
                ("1b", "bad_axis"),
                ("1b", "wrong_type"),
                ("c[0]", "wrong_type"),
                ("c[1]", "wrong_type"),
            ],
        ),
        (
            "{a: x, include: y, exclude: z}",
            &[("a", "wrong_type"), ("include", "wrong_type"), ("exclude", "wrong_type")],
        ),
        (
            "{a: [1], include: [2, {b: [], 3c: {}}, {id: []}]}",
            &[
                ("include[0]", "wrong_type"),
                ("include[1].b", "wrong_type"),
                ("include[1].3c", "bad_axis"),
                ("include[1].3c", "wrong_type"),
                ("include[2].id", "wrong_type"),
            ],
        ),
        (
            "{a: x, b: [1], exclude: [{b: 2}, {c: 1}, {a: 9, b: 1}, {a: 9, b: 3}]}",
            &[
                ("a", "wrong_type"),
                ("exclude[0]", "excludes_nothing"),
                ("exclude[1]", "excludes_nothing"),
                ("exclude[3]", "excludes_nothing"),
            ],
        ),
        (
            "{a: [1], exclude: [{a: 3}, 5, {a: [], id: 1}, {a: 4}]}",
            &[
                ("exclude[0]", "excludes_nothing"),
                ("exclude[1]", "wrong_type"),
                ("exclude[2].a", "wrong_type"),
                ("exclude[2].id", "bad_axis"),
                ("exclude[3]", "excludes_nothing"),
            ],
        ),
        (
            "{include: [{a: 1}], exclude: [5, {a: 1}]}",
            &[("exclude[0]", "wrong_type"), ("exclude[1]", "excludes_nothing")],
        ),
        ("{a-b: x, include: [{a_b: 1}]}", &[("a_b", "same_variable"), ("a-b", "wrong_type")]),
    ] {
        let found = problems(&of_job(matrix));
        let in_matrix = |problem: &Problem| problem.path.strip_prefix("jobs.t.matrix.").map(str::to_owned);
        let mut found: Vec<_> =
            found.iter().map(|problem| (in_matrix(problem).expect("a path"), problem.code)).collect();
        let mut expected: Vec<_> = expected.iter().map(|(path, code)| ((*path).to_owned(), *code)).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{matrix}");
    }
}

#[test]
fn what_names_axes_and_legs_of_a_matrix_with_a_problem_is_not_reported_as_well() {
    let values = repeat(limits::MATRIX_LEGS + 1, |n| format!("{n},"));
    let axes = repeat(limits::MATRIX_AXES + 1, |n| format!("a{n}: [1],"));
    for (matrix, code) in [
        ("{a: []}", "empty_matrix"),
        ("{a: [], include: [{a: 1}]}", "empty_matrix"),
        ("{a: x}", "wrong_type"),
        ("x", "wrong_type"),
        ("{a: ['', x]}", "bad_id"),
        ("{a: [1], a: [2], exclude: [{a: 1}, {a: 2}]}", "duplicate_key"),
        (&format!("{{a: [{values}]}}"), "too_many"),
        (&format!("{{{axes}}}"), "too_many"),
    ] {
        let text = format!(
            "env: {{E: {{matrix: a}}}}
jobs:
  t: {{matrix: {matrix}, labels: [{{matrix: a}}], env: {{A: {{matrix: a}}}}, steps: [{{run: x, env: {{S: {{matrix: a}}}}}}]}}
  u: {{run: x, needs: t@1, env: {{V: {{from: t@1.v}}}}}}
"
        );
        let codes: Vec<_> = problems(&text).iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [code], "{text}");
    }
    let others = "jobs: {t: {run: x, matrix: {a: x}}, u: {run: x, needs: [v@1, tt@1, t], labels: [{matrix: a}]}}";
    let codes: Vec<_> = problems(others).iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["wrong_type", "unknown_need", "unknown_need", "unknown_axis"]);
}

#[test]
fn too_many_combinations_are_reported_beside_an_axis_with_a_problem() {
    let matrix = |count: usize| format!("{{a: x, b: {:?}}}", (0..count).collect::<Vec<_>>());
    let codes = |count| problems(&of_job(&matrix(count))).iter().map(|problem| problem.code).collect::<Vec<_>>();
    assert_eq!(codes(limits::MATRIX_LEGS), ["wrong_type"]);
    assert_eq!(codes(limits::MATRIX_LEGS + 1), ["too_many", "wrong_type"]);
}

#[test]
fn axis_without_values_is_named() {
    let problem = problems(&of_job("{b: [1], a: [], include: [{c: 1}]}")).swap_remove(0);
    assert_eq!(problem.message, "the axis `a` has no values; write at least one, or remove the axis");
}

#[test]
fn jobs_and_needs_are_counted_after_a_matrix_is_written_out() {
    let values = format!("{:?}", (0..limits::MATRIX_LEGS).collect::<Vec<_>>());
    let jobs = |count: usize| repeat(count, |n| format!("  j{n}: {{run: x, matrix: {{a: {values}}}}}\n"));
    assert_eq!(yaml(&format!("jobs:\n{}", jobs(39))).jobs.len(), 39 * limits::MATRIX_LEGS);
    assert!(problems(&format!("jobs:\n{}", jobs(40)))[0].message.contains("limit JOBS"));
    let needs = format!("jobs:\n{}  u: {{run: x, matrix: {{a: {values}}}, needs: [j0, j1]}}\n", jobs(2));
    assert!(problems(&needs)[0].message.contains("limit NEEDS"));
}

#[test]
fn a_leg_and_a_job_with_the_same_id_are_refused() {
    let codes = |text: &str| problems(text).iter().map(|problem| problem.code).collect::<Vec<_>>();
    assert_eq!(codes("jobs: {t: {run: x, matrix: {a: [1]}}, t@1: {run: x}}"), ["duplicate_job"]);
    assert_eq!(codes("jobs: {t: {run: x, needs: t@1, matrix: {a: [1]}}}"), ["self_need"]);
    assert_eq!(codes("jobs: {t: {run: x, matrix: {a: [1]}}, u: {run: x, needs: [t, t@1]}}"), ["duplicate_need"]);
}

#[test]
fn a_value_that_is_no_label_is_refused_once() {
    let text = "jobs: {t: {run: x, labels: [{matrix: a}], matrix: {a: ['x y', z], b: [1, 2]}}}";
    assert_eq!(problems(text).iter().filter(|problem| problem.code == "bad_label").count(), 1);
    assert_eq!(problems("jobs: {t: {run: x, labels: {matrix: b}, matrix: {a: [1]}}}")[0].code, "unknown_axis");
}

#[test]
fn included_combination_that_lacks_an_axis_is_noted() {
    let notes = |matrix: &str| yaml(&format!("jobs: {{a: {{run: x, matrix: {matrix}}}}}")).notes;
    let found = notes("{os: [mac], py: [3], include: [{os: linux, py: 3}, {os: linux, fast: 1}]}");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].code, found[0].path.as_str()), ("incomplete_combination", "jobs.a.matrix.include[1]"));
    assert!(found[0].message.ends_with("this one has no `py`, so `py` is empty in it"), "{}", found[0].message);
    assert_eq!(notes("{include: [{os: linux}, {fast: 1}]}"), []);
}
