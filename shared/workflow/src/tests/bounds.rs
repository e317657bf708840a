//! What is too large, too deep or too much is named, and costs little.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::super::*;
use super::{problems, repeat, yaml};

#[test]
fn the_size_is_checked_before_anything_is_read() {
    let filled = |size: usize| {
        let start = "jobs: {a: {run: x}} #";
        format!("{start}{}", "x".repeat(size - start.len()))
    };
    assert!(from_yaml(&filled(limits::DEFINITION)).is_ok());
    let problem = &problems(&filled(limits::DEFINITION + 1))[0];
    assert_eq!(problem.code, "too_large");
    assert!(problem.message.contains("1048577") && problem.message.contains("1048576"), "{problem}");
    assert_eq!(from_json(&" ".repeat(limits::DEFINITION + 1)).expect_err("large")[0].code, "too_large");
}

#[test]
fn aliases_are_followed_and_cannot_grow_without_bound() {
    let definition = yaml("jobs:\n  a: {run: &r make, labels: &l [x]}\n  b: {run: *r, labels: *l}\n");
    assert_eq!(
        (&definition.jobs[1].settings.script, &definition.jobs[1].settings.labels),
        (&"make".into(), &definition.jobs[0].settings.labels)
    );
    let mut bomb = "jobs: {a: {run: x, metadata: {a0: &a0 [x]".to_owned();
    for n in 0..30 {
        let _ = write!(bomb, ", a{}: &a{} [*a{n}, *a{n}]", n + 1, n + 1);
    }
    assert_eq!(problems(&(bomb + "}}}"))[0].code, "too_large");
    let script = format!("jobs:\n  a: {{run: &r {}}}\n", "x".repeat(500_000));
    let many = repeat(100, |n| format!("  a{n}: {{run: *r}}\n"));
    assert_eq!(problems(&(script + &many))[0].code, "too_large");
    let env = format!("env: {{A: {}}}\njobs:\n", "x".repeat(100_000));
    let many = repeat(1000, |n| format!("  a{n}: {{run: x}}\n"));
    assert_eq!(problems(&(env + &many))[0].code, "too_large");
}

#[test]
fn depth_is_bounded_in_both_formats() {
    for depth in [100, 10_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!("{{\"jobs\": {{\"a\": {{\"run\": \"x\", \"metadata\": {deep}}}}}}}");
        assert_eq!(problems(&body)[0].code, "too_deep");
        assert_eq!(from_json(&body).expect_err("deep")[0].code, "too_deep");
        let block = repeat(depth / 10, |n| format!("{}a:\n", " ".repeat(n)));
        assert!(from_yaml(&block).is_err());
    }
}

#[test]
fn graph_limits_are_named() {
    let jobs = |count: usize| (0..count).fold("jobs:\n".to_owned(), |text, n| text + &format!(" j{n}: {{run: x}}\n"));
    assert_eq!(yaml(&jobs(limits::JOBS)).jobs.len(), limits::JOBS);
    assert_eq!(problems(&jobs(limits::JOBS + 1))[0].code, "too_many_jobs");
    let mut text = jobs(400);
    let all: Vec<_> = (0..400).map(|n| format!("j{n}")).collect();
    for n in 0..250 {
        let _ = writeln!(text, " k{n}: {{run: x, needs: [{}]}}", all.join(","));
    }
    assert_eq!(yaml(&text).jobs.len(), 650);
    text.push_str(" one: {run: x, needs: j0}\n");
    assert_eq!(problems(&text).iter().map(|problem| problem.code).collect::<Vec<_>>(), ["too_many_needs"]);
}

#[test]
fn a_chain_and_a_cycle_of_every_job_fit_a_small_stack() {
    let chain = |first: &str| {
        (1..limits::JOBS).fold(format!("jobs:\n j0: {{run: x{first}}}\n"), |text, n| {
            text + &format!(" j{n}: {{run: x, needs: j{}}}\n", n - 1)
        })
    };
    let check = move || {
        let order = yaml(&chain("")).topological_order();
        assert_eq!(order, (0..limits::JOBS).collect::<Vec<_>>());
        let problems = problems(&chain(", needs: j9999"));
        assert_eq!((problems.len(), problems[0].code), (1, "cycle"));
        assert!(problems[0].message.contains("j0 -> j9999 -> j9998"), "{}", problems[0]);
        assert!(problems[0].message.len() < 1000, "{}", problems[0]);
    };
    std::thread::Builder::new().stack_size(512 * 1024).spawn(check).expect("a thread").join().expect("no overflow");
}

#[test]
fn very_many_problems_are_cut_with_a_count_and_found_quickly() {
    let needs = repeat(90_000, |n| format!("x{n},"));
    let mut text = format!("jobs:\n a: {{run: x, needs: [{needs}]}}\n");
    for n in 0..5_000 {
        let _ = writeln!(text, " job{n}: {{run: x}}");
    }
    let problems = problems(&text);
    assert_eq!(problems.len(), 1001);
    assert!(problems[1000].message.starts_with("89000 more"), "{}", problems[1000]);
}

#[test]
fn messages_and_paths_stay_short_whatever_the_file_holds() {
    let long = "y".repeat(1000);
    let text = format!(
        "{long}: 1\njobs:\n  {long}: {{run: x, needs: {long}z, labels: {long}, {long}: 1, env: {{{long}-: x}}}}\n"
    );
    let problems = problems(&text);
    assert_eq!(problems.len(), 6, "{problems:#?}");
    assert!(problems.iter().all(|problem| problem.message.len() < 400 && problem.path.len() < 400), "{problems:#?}");
}

/// The code, the value and the limit that the first problem names.
fn refused(text: &str) -> (&'static str, String) {
    let problem = problems(text).swap_remove(0);
    (problem.code, problem.message)
}

#[test]
fn what_a_job_may_have_is_refused_over_its_limit_with_value_and_limit() {
    type Writer<'a> = &'a dyn Fn(usize) -> String;
    let job = |rest: &str| format!("jobs: {{a: {{{rest}}}}}");
    let env = |count: usize| repeat(count, |n| format!("V{n}: x,"));
    let text = |size: usize| "x".repeat(size);
    let steps = |count: usize| job(&format!("steps: [{}]", repeat(count, |_| "{run: x},".to_owned())));
    let with_env = |count: usize| job(&format!("run: x, env: {{{}}}", env(count)));
    let with_value = |size: usize| job(&format!("run: x, env: {{A: {}}}", text(size)));
    let named = |size: usize| job(&format!("run: x, name: {}", text(size)));
    let step_named = |size: usize| job(&format!("steps: [{{run: x, name: {}}}]", text(size)));
    // With its two quotes, as JSON.
    let kept = |size: usize| job(&format!("run: x, metadata: {}", text(size - 2)));
    let cases: [(Writer, usize, &str); 6] = [
        (&steps, limits::STEPS, "too_many"),
        (&with_env, limits::ENV, "too_many"),
        (&with_value, limits::ENV_VALUE, "too_long"),
        (&named, limits::NAME, "too_long"),
        (&step_named, limits::NAME, "too_long"),
        (&kept, limits::KEPT, "too_long"),
    ];
    for (write, limit, code) in cases {
        assert_eq!(yaml(&write(limit)).jobs.len(), 1);
        let (found, message) = refused(&write(limit + 1));
        assert_eq!(found, code, "{message}");
        assert!(message.contains(&limit.to_string()) && message.contains(&(limit + 1).to_string()), "{message}");
    }
    let list = format!(
        r#"{{"jobs": [{{"id": "a", "name": "{}", "command": "x", "ports": "{}"}}]}}"#,
        text(1001),
        text(limits::KEPT)
    );
    let found = from_json(&list).expect_err("too long");
    assert_eq!(
        found.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(),
        ["jobs[0].name", "jobs[0].ports"]
    );
}

#[test]
fn variables_of_the_workflow_are_counted_for_every_job() {
    let workflow = |jobs: usize| {
        let env = repeat(100, |n| format!("V{n}: x,"));
        format!("env: {{{env}}}\njobs:\n{}", repeat(jobs, |n| format!(" j{n}: {{run: x}}\n")))
    };
    assert_eq!(yaml(&workflow(5000)).jobs.len(), 5000);
    let (code, message) = refused(&workflow(5001));
    assert_eq!(code, "too_many", "{message}");
    assert!(message.contains("500100") && message.contains("500000"), "{message}");
}

#[test]
fn a_command_that_quoting_makes_too_long_is_refused() {
    // Longer scripts are not quoted.
    let quotes = "'".repeat(90_000);
    let steps =
        |count: usize| format!("jobs: {{a: {{steps: [{{run: &r \"{quotes}\"}}{}]}}}}", ", {run: *r}".repeat(count));
    assert_eq!(yaml(&steps(1)).jobs.len(), 1);
    let (code, message) = refused(&steps(2));
    assert!(code == "too_long" && message.contains("1048576"), "{message}");
    // Short as they stand, by aliases, and long together.
    let jobs = repeat(30, |n| format!("  j{n}: {{steps: *s}}\n"));
    let together = format!("jobs:\n  a: {{steps: &s [{{run: &r \"{quotes}\"}}, {{run: *r}}]}}\n{jobs}");
    let (code, message) = refused(&together);
    assert!(code == "too_large" && message.contains("16777216"), "{message}");
    let raw = format!("jobs: {{a: {{steps: [{{run: &r {}}}, {{run: *r}}, {{run: *r}}]}}}}", "x".repeat(500_000));
    assert_eq!(refused(&raw).0, "too_long");
}

/// Each once took many seconds or minutes, or all the memory of a function.
#[test]
fn no_definition_costs_more_than_a_moment() {
    let dots = format!("jobs: {{a: {{run: x, env: {{A: {{from: '{}'}}}}}}}}", ".".repeat(1_000_000));
    let needs = repeat(90_000, |n| format!("{n},"));
    let values = repeat(20_000, |n| format!("V{n}: {{from: x}},"));
    let references = format!("jobs: {{a: {{run: x, needs: [{needs}], env: {{{values}}}}}}}");
    let long = |n| format!("{n:099}");
    let alike = repeat(4_000, |n| format!(" {}: {{run: x}}\n", long(n)));
    let missing = repeat(4_000, |n| format!("{}x,", long(n)));
    let slips = format!("jobs:\n last: {{run: x, needs: [{missing}]}}\n{alike}");
    let deep: String = (0..60).map(|n| format!("{{{}{n}: ", "k".repeat(100))).collect();
    let same = "a: ,".repeat(200_000);
    let duplicates = format!("jobs: {{a: {{run: x, metadata: {deep}{{{same}}}{}}}}}", "}".repeat(60));
    for (what, text) in [("dots", dots), ("references", references), ("slips", slips), ("duplicates", duplicates)] {
        assert!(text.len() <= limits::DEFINITION, "{what}: {}", text.len());
        let began = Instant::now();
        let found = problems(&text);
        assert!(began.elapsed() < Duration::from_secs(10), "{what} took {:?}", began.elapsed());
        let size: usize = found.iter().map(|problem| problem.path.len() + problem.message.len()).sum();
        assert!(size < 2_000_000, "{what}: {size} bytes of problems");
    }
}

#[test]
fn limits_are_named_with_their_line_and_column() {
    let found = |text: &str| problems(text).iter().map(ToString::to_string).collect::<Vec<_>>();
    let long = "x".repeat(limits::NAME + 1);
    let too_long = |at: &str| format!("{at}: it is 1001 bytes; at most 1000 are allowed (limit NAME)");
    assert_eq!(found(&format!("name: {long}\njobs: {{a: {{run: x}}}}\n")), [too_long("1:7")]);
    let pattern = "x".repeat(limits::PATTERN + 1);
    let message = "1:23: it is 257 bytes; at most 256 are allowed (limit PATTERN)";
    assert_eq!(found(&format!("on: {{push: {{branches: {pattern}}}}}\njobs: {{a: {{run: x}}}}\n")), [message]);
    let list = vec!["x"; limits::PATTERNS + 1].join(", ");
    let message = "1:23: 101 patterns; at most 100 are allowed (limit PATTERNS)";
    assert_eq!(found(&format!("on: {{push: {{branches: [{list}]}}}}\njobs: {{a: {{run: x}}}}\n")), [message]);
    let pools =
        |count: usize| "jobs:\n".to_owned() + &repeat(count, |n| format!("  j{n}: {{labels: [l{n}], run: x}}\n"));
    assert_eq!(yaml(&pools(limits::POOLS_PER_WORKFLOW)).jobs.len(), limits::POOLS_PER_WORKFLOW);
    assert_eq!(
        found(&pools(limits::POOLS_PER_WORKFLOW + 1)),
        [
            "1002:3: with this job the workflow has over 1000 distinct sets of labels and secrets (limit POOLS_PER_WORKFLOW); use fewer"
        ]
    );
}

#[test]
fn a_nul_is_refused_wherever_people_write_text() {
    for (line, at) in
        [(r#"name: "a\0""#, (1, 7)), (r#"on: {push: {tags: "a\0"}}"#, (1, 19)), (r#"env: {A: "a\0"}"#, (1, 10))]
    {
        let problem = &problems(&format!("{line}\njobs: {{a: {{run: x}}}}\n"))[0];
        assert_eq!((problem.code, problem.at.map(|at| (at.line, at.column))), ("bad_character", Some(at)), "{line}");
    }
    for keys in
        [r#"run: "a\0""#, r#"run: x, name: "a\0""#, r#"steps: [{run: "a\0"}]"#, r#"steps: [{run: x, name: "a\0"}]"#]
    {
        assert_eq!(problems(&format!("jobs: {{a: {{{keys}}}}}\n"))[0].code, "bad_character", "{keys}");
    }
    let listed = |key: &str| {
        let text = r#"{"name": "n", "jobs": [{"id": "i", "name": "j", "command": "c"}]}"#;
        from_json(&text.replace(&format!("\"{key}\""), &format!("\"{key}\\u0000\""))).expect_err(key)[0].code
    };
    assert_eq!(["n", "j", "c"].map(listed), ["bad_character"; 3]);
}

#[test]
fn a_variable_that_the_worker_sets_is_refused_in_every_env() {
    for (text, at) in [
        ("env: {JOB_ID: mine}\njobs: {a: {run: x}}\n", (1, 7)),
        ("jobs: {a: {run: x, env: {WORKFLOW_ID: mine}}}\n", (1, 26)),
        ("jobs: {a: {steps: [{run: x, env: {JOB_DIR: mine}}]}}\n", (1, 35)),
    ] {
        let problem = &problems(text)[0];
        assert_eq!(
            (problem.code, problem.at.map(|at| (at.line, at.column))),
            ("reserved_env_name", Some(at)),
            "{text}"
        );
        assert!(problem.message.ends_with("is set by the worker; choose another name"), "{problem}");
    }
    assert!(from_yaml("env: {PATH: /opt/bin}\njobs: {a: {run: x}}\n").is_ok());
    assert_eq!(problems("jobs: {a: {run: x, secrets: [JOB_ID]}}\n")[0].code, "secret_is_set");
    assert_eq!(problems("jobs: {a: {run: x, secrets: [FORGE_APP_KEY_12]}}\n")[0].code, "bad_secret");
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert!(from_yaml("\u{feff}jobs: {a: {run: x}}\n").is_ok());
    assert!(from_json("\u{feff}{\"jobs\": {\"a\": {\"run\": \"x\"}}}").is_ok());
}

#[test]
fn of_lines_that_are_indented_with_tabs_the_first_is_named() {
    for (text, line) in [
        ("jobs:\n\ta:\n\t\trun: x\n", 2),
        ("jobs:\n  a:\n\t\trun: x\n\t\tneeds: b\n", 3),
        ("jobs:\n  a:\n    run: x\n\tneeds: b\n\tlabels: c\n", 4),
        ("name: x\njobs:\n  a:\n    run: |\n      x\n\t\ty\n\t\tz\n", 6),
    ] {
        let problem = &problems(text)[0];
        assert_eq!(problem.at.map(|at| at.line), Some(line), "{text:?}: {problem}");
        assert!(problem.message.contains("tab"), "{problem}");
    }
}
