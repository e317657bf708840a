//! `shell` and `defaults`: what reads a script. The scripts are run as by a worker that knows only `sh -c`.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use super::*;

struct Ran {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Ran {
    fn printed(&self) -> (&str, Option<i32>) {
        (&self.stdout, self.code)
    }
}

/// The command of the only job, which has these lines. `before` is at the begin of the file.
fn command_of(before: &str, lines: &str) -> String {
    let definition = yaml(&format!("{before}\njobs:\n  a:\n    {}\n", lines.replace('\n', "\n    ")));
    let settings = &definition.jobs[0].settings;
    let value = |value: &EnvValue| match value {
        EnvValue::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let env: Vec<_> = settings.env.iter().map(|(name, of)| (name.clone(), value(of))).collect();
    settings.command(&env)
}

/// Runs the text with `sh`: as an argument, or if it is long from a file, as workers do.
fn run_text(text: &str, set: impl FnOnce(&mut Command)) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("command");
    let mut sh = Command::new("/bin/sh");
    if text.len() > 100_000 {
        fs::write(&file, text).expect("a file");
        sh.arg(&file);
    } else {
        sh.args(["-c", text]);
    }
    set(&mut sh);
    let Output { status, stdout, stderr } = sh.stdin(Stdio::null()).output().expect("sh");
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    Ran { stdout, stderr, code: status.code() }
}

fn run(lines: &str) -> Ran {
    run_text(&command_of("", lines), |_| {})
}

#[test]
fn a_script_ends_at_the_first_line_or_pipe_that_fails() {
    assert_eq!(run("run: \"false\\necho on\"").printed(), ("", Some(1)));
    assert_eq!(run("run: exit 3 | tee /dev/null").printed(), ("", Some(3)));
    assert_eq!(run("steps: [{run: \"false\\necho on\"}]").code, Some(1));
    assert_eq!(run("steps: [{run: exit 3 | tee /dev/null}]").code, Some(3));
    assert_eq!(run("run: echo a; echo b").printed(), ("a\nb\n", Some(0)));
}

#[test]
fn an_error_names_the_line_of_the_script() {
    let ran = run_text(&command_of("env: {A: x}", "run: |\n  true\n  no-such-program"), |_| {});
    assert!(ran.stderr.contains("line 2") && ran.code == Some(127), "{}", ran.stderr);
}

#[test]
fn a_pinned_shell_reads_the_script() {
    assert_eq!(run("run: echo ${BASH_VERSION:+bash}\nshell: bash").printed(), ("bash\n", Some(0)));
    assert_eq!(run("run: \"false\\necho on\"\nshell: sh").printed(), ("", Some(1)));
    let python = "run: |\n  import sys\n  print(sys.argv[0].endswith('.py'), len(sys.argv))\n  sys.exit(4)\nshell: [python3, -u]";
    assert_eq!(run(python).printed(), ("True 1\n", Some(4)));
    let steps =
        "shell: sh\nsteps:\n- {run: echo sh}\n- {run: print('python'), shell: [python3]}\n- {run: echo on; exit 5}";
    let printed = "--- step 1\nsh\n\n--- step 2\npython\n\n--- step 3\non\n";
    assert_eq!(run(steps).printed(), (printed, Some(5)));
}

/// Runs the text with bash, which prefixes each command that it runs in a process for `$(...)` with `++`.
fn is_substituted(text: &str) -> bool {
    let bash = Command::new("bash").args(["--posix", "-xc", text]).stdin(Stdio::null()).output().expect("bash");
    assert!(bash.status.success(), "{bash:?}");
    String::from_utf8_lossy(&bash.stderr).lines().any(|line| line.starts_with("++"))
}

#[test]
fn no_process_is_started_to_find_a_shell_unless_the_job_sets_path() {
    assert!(!is_substituted(&command_of("", "run: 'true'")));
    assert!(!is_substituted(&command_of(
        "env: {A: x}",
        "steps: [{run: 'true', env: {B: y}}, {run: 'true', shell: sh}]"
    )));
    let path = "env: {PATH: /nowhere}";
    assert!(is_substituted(&command_of(path, "run: ':'")));
    assert_eq!(run_text(&command_of(path, "run: echo $PATH"), |_| {}).printed(), ("/nowhere\n", Some(0)));
    let step = format!("steps: [{{run: echo $PATH, {path}}}]");
    assert_eq!(run(&step).printed(), ("--- step 1\n/nowhere\n", Some(0)));
}

/// Runs a job, with a folder of its own as a worker gives it. Returns what it printed, with that folder as `OWN`.
fn run_in_own(lines: &str) -> String {
    let own = tempfile::tempdir().expect("a folder");
    let ran = run_text(&command_of("", lines), |sh| {
        sh.env("JOB_DIR", own.path()).current_dir("/");
    });
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout.replace(own.path().to_str().expect("text"), "OWN")
}

#[test]
fn a_script_begins_in_the_folder_that_the_job_names() {
    assert_eq!(run_in_own("run: pwd"), "/\n");
    assert_eq!(run_in_own("run: pwd\nworkdir: shared"), "/\n");
    assert_eq!(run_in_own("run: pwd\nworkdir: fresh"), "OWN\n");
    assert_eq!(run_in_own("run: pwd\nworkdir: -a/it's $x"), "OWN/-a/it's $x\n");
    let python = "run: import os; print(os.getcwd(), os.listdir())\nworkdir: fresh\nshell: [python3]";
    assert_eq!(run_in_own(python), "OWN []\n");
    let steps = "workdir: a\nsteps: [{run: pwd}, {run: pwd, workdir: shared}, {run: pwd, workdir: fresh}, {run: ls, workdir: .}]";
    let printed = ["--- step 1\nOWN/a\n", "--- step 2\n/\n", "--- step 3\nOWN\n", "--- step 4\na\n"];
    assert_eq!(run_in_own(steps), printed.join("\n"));
    let long = format!("# {}\npwd", "x".repeat(150_000));
    assert_eq!(run_in_own(&format!("workdir: a\nrun: {}", json!(long))), "OWN/a\n");
}

#[test]
fn a_worker_that_gives_no_folder_gets_one_that_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    for lines in [
        "workdir: fresh\nrun: pwd >there; pwd",
        "workdir: a/b\nrun: pwd; exit 3",
        "workdir: a\nshell: [python3]\nrun: import os; print(os.getcwd())",
    ] {
        let ran = run_text(&command_of("", lines), |sh| {
            sh.env("TMPDIR", folder.path()).env_remove("JOB_DIR");
        });
        assert!(ran.stdout.starts_with(folder.path().to_str().expect("text")), "{}: {}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, Some(if lines.contains("exit") { 3 } else { 0 }), "{}", ran.stderr);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0, "{lines}");
    }
}

#[test]
fn a_workdir_is_a_word_or_a_path_below_the_jobs_own_folder() {
    let workdir =
        |text: &str| yaml(&format!("jobs: {{a: {{run: x, workdir: {text}}}}}")).jobs.remove(0).settings.workdir;
    let own = |path: &str| Workdir::Own(path.to_owned());
    assert_eq!(
        ["shared", "fresh", "./fresh", "a/b/", "..a", "1"].map(workdir),
        [Workdir::Shared, own(""), own("./fresh"), own("a/b/"), own("..a"), own("1")]
    );
    for bad in ["/tmp", "..", "a/../b", "../a", "''", "a/.."] {
        assert_eq!(codes(&format!("run: x\nworkdir: {bad}")), ["bad_workdir"], "{bad}");
    }
    assert_eq!(codes(&format!("run: x\nworkdir: {}", "x".repeat(limits::WORKDIR))), [""; 0]);
    assert_eq!(codes(&format!("run: x\nworkdir: {}", "x".repeat(limits::WORKDIR + 1))), ["too_long"]);
    assert_eq!(codes("run: x\nworkdir: [a]"), ["wrong_type"]);
    assert_eq!(codes("steps: [{run: x, workdir: /a}]"), ["bad_workdir"]);
}

#[test]
fn a_missing_program_is_named() {
    let ran = run("run: echo on\nshell: [no-such-shell, -x]");
    assert!(ran.stderr.contains("has no no-such-shell"), "{}", ran.stderr);
    assert_eq!(ran.printed(), ("", Some(127)));
}

#[test]
fn programs_that_the_file_names_are_listed_for_the_worker() {
    let programs = |lines: &str| {
        let definition = yaml(&format!("jobs:\n  a:\n    {}\n", lines.replace('\n', "\n    ")));
        definition.jobs[0].settings.programs.iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(programs("run: x"), [""; 0]);
    assert_eq!(programs("run: x\nshell: bash"), ["bash"]);
    assert_eq!(programs("run: x\nshell: [./tool]"), ["./tool"]);
    assert_eq!(programs("run: x\nshell: [./tool]\nworkdir: fresh"), [""; 0], "the folder is empty before the job");
    assert_eq!(programs("steps: [{run: x, shell: [node]}, {run: y, shell: bash}, {run: z}]"), ["bash", "node"]);
}

#[test]
fn a_script_reaches_its_shell_however_long() {
    let long = format!("# {}\necho \"it's on\"", "x'".repeat(150_000));
    for shell in ["", "\nshell: sh", "\nshell: bash"] {
        assert_eq!(run(&format!("run: {}{shell}", json!(long))).printed(), ("it's on\n", Some(0)), "{shell}");
    }
    let marker = "import sys\nprint(open(sys.argv[0]).read().count('WFG_END_0'))\nx = \"\"\"\nWFG_END_0\n\"\"\"\n";
    assert_eq!(run(&format!("shell: [python3]\nrun: {}", json!(marker))).printed(), ("2\n", Some(0)));
}

#[test]
fn files_of_scripts_are_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = command_of("", "run: import os; os.kill(os.getpid(), 9)\nshell: [python3]");
    let ran = run_text(&text, |sh| {
        sh.env("TMPDIR", folder.path());
    });
    assert_eq!(ran.code, Some(137));
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[test]
fn defaults_apply_where_a_job_has_no_key_of_its_own() {
    let definition = yaml(
        "defaults:
  {shell: sh, timeout: 30m, queue_timeout: 1h, retry: {max: 3, lost: 2}, outputs_from: file, labels: linux, before: set -u, workdir: fresh}
jobs:
  a: {run: x}
  b: {run: x, workdir: shared, timeout: 5, retries: 1, labels: mac, outputs_from: both, shell: bash}
",
    );
    let [a, b] = [0, 1].map(|n| &definition.jobs[n].settings);
    assert_eq!((&a.shell, a.script.as_str()), (&Shell::Sh, "set -u\nx"));
    assert_eq!((&a.workdir, &b.workdir), (&Workdir::Own(String::new()), &Workdir::Shared));
    assert_eq!((a.retry.max, a.retry.budgets.lost), (3, Some(2)));
    assert_eq!(a.limits, TimeLimits { timeout: Some(1800), queue_timeout: Some(3600) });
    assert_eq!((a.outputs_from, a.labels.to_string()), (OutputsFrom::File, "linux".into()));
    assert_eq!((&b.shell, b.retry.max, b.retry.budgets.lost), (&Shell::Bash, 1, None));
    assert_eq!(b.limits, TimeLimits { timeout: Some(5), queue_timeout: Some(3600) });
    assert_eq!((b.outputs_from, b.labels.to_string()), (OutputsFrom::Both, "mac".into()));
}

#[test]
fn lines_before_are_in_the_same_shell_of_every_run_and_step() {
    let ran = |before: &str, lines: &str| run_text(&command_of(before, lines), |_| {}).stdout;
    assert_eq!(ran("defaults: {before: X=1}", "run: echo $X"), "1\n");
    let steps = "steps: [{run: 'echo $X; X=2'}, {run: echo $X, shell: sh}]";
    assert_eq!(ran("defaults: {before: \"X=1\\n\"}", steps), "--- step 1\n1\n\n--- step 2\n1\n");
    assert_eq!(ran("defaults: {before: X=1}", "run: print(1)\nshell: [python3]"), "1\n");
    let python = "defaults: {before: x = 1, shell: [python3]}";
    assert_eq!(
        ran(python, "steps: [{run: print(x)}, {run: 'echo ${x-none}', shell: sh}]"),
        "--- step 1\n1\n\n--- step 2\nnone\n"
    );
}

#[test]
fn a_path_of_the_job_need_not_have_a_shell() {
    let ran = run_text(&command_of("env: {PATH: /nowhere}", "run: echo on"), |_| {});
    assert_eq!(ran.printed(), ("on\n", Some(0)), "{}", ran.stderr);
    let ran = run_text(&command_of("", "run: echo on"), |sh| {
        sh.env("PATH", "/nowhere");
    });
    assert_eq!(ran.printed(), ("on\n", Some(0)), "{}", ran.stderr);
}

/// `command -p` finds the system's bash, so the test replaces that by a search that finds none.
#[test]
fn without_bash_sh_runs_the_script_and_the_log_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let sh = ["/bin/sh", "/usr/bin/sh"].into_iter().find(|path| fs::exists(path).unwrap_or(false)).expect("sh");
    symlink(sh, folder.path().join("sh")).expect("a link");
    let text = command_of("", "run: \"echo on\\nfalse\\necho off\"").replace("command -pv bash", "false");
    let ran = run_text(&text, |sh| {
        sh.env("PATH", folder.path());
    });
    assert_eq!(ran.printed(), ("on\n", Some(1)));
    assert!(ran.stderr.contains("no bash"), "{}", ran.stderr);
    let text = command_of("", "run: echo on\nshell: bash").replace("command -pv bash", "false");
    let ran = run_text(&text, |sh| {
        sh.env("PATH", folder.path());
    });
    assert!(ran.stderr.contains("has no bash"), "{}", ran.stderr);
    assert_eq!(ran.printed(), ("", Some(127)));
}
