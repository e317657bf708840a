//! The shell executor with real processes.

use std::path::Path;
use std::time::Duration;

use protocol::script::{BashScript, CHOOSE_SHELL, FIND_BASH, FIND_SH, quoted};
use serde_json::json;
use tokio::time::{Instant, sleep};
use workflow_graph_worker_sdk::Detached;
use workflow_graph_worker_sdk::{Context, Executor, Failure, Job, Outputs, ShellExecutor, StopReason, Stream};

struct Ran {
    result: Result<Outputs, Failure>,
    log: Vec<(Stream, String)>,
    took: Duration,
}

impl Ran {
    fn text(&self, stream: Stream) -> String {
        self.log.iter().filter(|(of, _)| *of == stream).map(|(_, data)| data.as_str()).collect()
    }

    fn outputs(&self) -> Vec<(&str, &str)> {
        let outputs = self.result.as_ref().expect("success");
        outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn failure(&self) -> &Failure {
        self.result.as_ref().expect_err("failure")
    }
}

fn job(command: &str) -> Job {
    serde_json::from_value(crate::common::job(command)).expect("a job")
}

fn job_with(command: &str, outputs_from: &str) -> Job {
    let mut job = crate::common::job(command);
    job["outputs_from"] = json!(outputs_from);
    serde_json::from_value(job).expect("a job")
}

async fn read_all(mut detached: Detached) -> Vec<(Stream, String)> {
    let mut log = Vec::new();
    while let Some(written) = detached.written().await {
        log.push(written);
    }
    log
}

async fn run_in(dir: &Path, job: Job) -> Ran {
    let (context, detached) = Context::detached(dir, Duration::from_secs(5));
    let began = Instant::now();
    let (result, log) = tokio::join!(ShellExecutor.execute(job, context), read_all(detached));
    Ran { result, log, took: began.elapsed() }
}

async fn run(command: &str) -> Ran {
    run_in(Path::new("."), job(command)).await
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not in 10 s");
}

/// Whether the process runs. A zombie doesn't.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn a_job_sees_its_environment_and_runs_in_the_workers_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let command = r#"printf '%s\n' "$GREETING" $WORKFLOW_ID $JOB_ID $JOB_ATTEMPT $WORKER_SLOT
        ls -A "$JOB_DIR" | wc -l; pwd; cat "$UPSTREAM_OUTPUTS"; cat; echo end-of-input"#;
    let ran = run_in(dir.path(), job(command)).await;
    let out = ran.text(Stream::Stdout);
    let lines: Vec<_> = out.lines().map(str::trim).collect();
    let dir = dir.path().canonicalize().expect("exists").display().to_string();
    let upstream = r#"{"build":{"artifact_url":"s3://bucket/a b"}}"#;
    assert_eq!(lines, ["it's \"me\"", "wf1", "deploy", "2", "0", "0", &dir, upstream, "end-of-input"]);
}

#[tokio::test]
async fn job_in_bash_is_the_same_with_and_without_the_sh_that_looks_for_bash() {
    // Where the job's own folder is differs.
    let shown = "env | grep -v -e '^_=' -e workflow-graph- | sort; echo \"$0 $# $- $PWD\"; cat; kill -0 -- \"-$$\" && echo leads";
    for (variables, script, code) in [
        ("", shown, 0),
        ("export A='it'\\''s'\nexport WORKER_SLOT='7'\nexport B='two\nlines'\n", shown, 0),
        ("", "echo before; false | true; echo after", 1),
        ("", " -x is no option", 127),
        ("", "exit 3", 3),
        ("", "kill -TERM $$", 143),
    ] {
        let exec = format!("exec \"$@\" -c {}", quoted(script));
        let command = format!("{FIND_BASH}\n{FIND_SH}\n{CHOOSE_SHELL}\n{variables}{exec}\n");
        assert!(BashScript::of(&command).is_some(), "{command}");
        // With a line more, the worker leaves it to `sh`.
        let [direct, by_sh] = [run(&command).await, run(&(command.clone() + "exit\n")).await];
        for stream in [Stream::Stdout, Stream::Stderr] {
            assert_eq!(direct.text(stream), by_sh.text(stream), "{script}");
        }
        let ends = [&direct, &by_sh].map(|ran| ran.result.as_ref().err().map_or(Some(0), |failure| failure.exit_code));
        assert_eq!(ends, [Some(code); 2], "{script}");
        assert_eq!(direct.text(Stream::Stdout).contains("leads"), script == shown);
    }
}

#[tokio::test]
async fn both_forms_on_stdout_and_both_in_the_file_give_outputs() {
    let command = r#"echo "::set-output url=s3://a=b%20"; echo '::set-output name=old::x "y" ::z'
        echo "file=1" >> "$WORKFLOW_OUTPUT"; printf 'notes<<E\none\n\ntwo 🦀\nE\n' >> "$WORKFLOW_OUTPUT"
        echo "::set-output url=second" ; printf '::set-output last=no line end'"#;
    let ran = run(command).await;
    let expected =
        [("file", "1"), ("last", "no line end"), ("notes", "one\n\ntwo 🦀"), ("old", "x \"y\" ::z"), ("url", "second")];
    assert_eq!(ran.outputs(), expected);
}

#[tokio::test]
async fn a_job_that_reads_outputs_from_the_file_takes_none_from_stdout_and_the_reverse() {
    let command = "echo '::set-output a=stdout'; echo '::set-output broken'; echo b=file > $WORKFLOW_OUTPUT";
    assert_eq!(run_in(Path::new("."), job_with(command, "file")).await.outputs(), [("b", "file")]);
    let command = "echo '::set-output a=stdout'; echo broken > $WORKFLOW_OUTPUT";
    assert_eq!(run_in(Path::new("."), job_with(command, "stdout")).await.outputs(), [("a", "stdout")]);
}

#[tokio::test]
async fn a_malformed_output_fails_the_job_for_good_and_names_its_line() {
    let ran = run("echo fine; echo '::set-output nothing'").await;
    let failure = ran.failure();
    assert!(failure.error.contains("line 2") && failure.error.contains("nothing"), "{}", failure.error);
    assert!(!failure.retryable);

    let ran = run("printf 'a=1\\nwhat\\n' > $WORKFLOW_OUTPUT").await;
    assert!(ran.failure().error.contains("line 2") && !ran.failure().retryable, "{}", ran.failure().error);

    let ran = run("printf 'a=1\\nb=\\377\\n' > $WORKFLOW_OUTPUT").await;
    assert!(ran.failure().error.contains("line 2") && !ran.failure().retryable, "{}", ran.failure().error);

    let ran = run("rm $WORKFLOW_OUTPUT; mkfifo $WORKFLOW_OUTPUT").await;
    assert!(ran.failure().error.contains("not a file"), "{}", ran.failure().error);
}

#[tokio::test]
async fn an_output_of_a_megabyte_comes_whole_and_a_larger_one_is_refused_by_name() {
    let line = |size| format!("printf '::set-output big='; head -c {size} /dev/zero | tr '\\0' x; echo");
    let ran = run(&line(1024 * 1024)).await;
    assert_eq!(ran.outputs()[0].1.len(), 1024 * 1024);
    let ran = run(&line(1024 * 1024 + 1)).await;
    assert!(ran.failure().error.contains("`big` is 1048577 bytes"), "{}", ran.failure().error);
    assert!(!ran.failure().retryable);
}

#[tokio::test]
async fn a_nonzero_exit_code_is_a_retryable_failure_with_the_last_line_of_stderr() {
    let ran = run("echo first >&2; echo 'no such bucket' >&2; echo >&2; exit 3").await;
    let failure = ran.failure();
    assert_eq!((failure.error.as_str(), failure.exit_code), ("exit code 3: no such bucket", Some(3)));
    assert!(failure.retryable);
    let ran = run("kill -KILL $$").await;
    assert_eq!((ran.failure().error.as_str(), ran.failure().exit_code), ("killed by SIGKILL", Some(137)));
}

#[tokio::test]
async fn three_megabytes_in_one_line_arrive() {
    let ran = run("head -c 3000000 /dev/zero | tr '\\0' x").await;
    assert_eq!(ran.text(Stream::Stdout), "x".repeat(3_000_000) + "\n");
    assert!(ran.log.iter().all(|(_, data)| data.len() <= 128 * 1024));
}

#[tokio::test]
async fn invalid_utf_8_is_replaced() {
    let ran = run("printf 'a\\377b\\n\\303('").await;
    assert_eq!(ran.text(Stream::Stdout), "a\u{fffd}b\n\u{fffd}(\n");
}

#[tokio::test]
async fn a_job_that_writes_only_to_stderr_has_a_log() {
    let ran = run("exec >&-; echo only >&2").await;
    assert_eq!((ran.text(Stream::Stderr).as_str(), ran.text(Stream::Stdout).as_str()), ("only\n", ""));
}

#[tokio::test]
async fn a_job_that_closes_its_output_is_waited_for() {
    let ran = run("exec >&- 2>&-; sleep 0.3; exit 4").await;
    assert_eq!(ran.failure().exit_code, Some(4));
}

#[tokio::test]
async fn many_lines_keep_their_order() {
    let ran = run("i=0; while [ $i -lt 50000 ]; do echo line $i; i=$((i+1)); done").await;
    let expected: String = crate::common::numbered("line ", 0..50_000);
    assert!(ran.text(Stream::Stdout) == expected);
    assert!(ran.log.len() < 25_000, "many lines share a chunk");
}

#[tokio::test]
async fn stdout_and_stderr_come_in_the_order_of_arrival() {
    let dir = tempfile::tempdir().expect("a directory");
    // Each line is written only when the one before has been seen.
    let command =
        "echo 1; until [ -e s1 ]; do sleep 0.01; done; echo 2 >&2; until [ -e s2 ]; do sleep 0.01; done; echo 3";
    let (context, mut detached) = Context::detached(dir.path(), Duration::from_secs(5));
    let log = async {
        let mut log = Vec::new();
        while let Some((_, data)) = detached.written().await {
            std::fs::write(dir.path().join(format!("s{}", data.trim())), "").expect("written");
            log.push(data);
        }
        log
    };
    let (result, log) = tokio::join!(ShellExecutor.execute(job(command), context), log);
    result.expect("success");
    assert_eq!(log, ["1\n", "2\n", "3\n"]);
}

#[tokio::test]
async fn a_flood_on_stdout_does_not_hide_stderr() {
    let ran = run("yes | head -c 20000000 & echo seen >&2; wait").await;
    let position = ran.log.iter().position(|(stream, _)| *stream == Stream::Stderr).expect("it is there");
    assert!(position < ran.log.len() / 2, "{position} of {}", ran.log.len());
}

#[tokio::test]
async fn a_background_child_with_the_output_open_does_not_delay_the_report() {
    let dir = tempfile::tempdir().expect("a directory");
    let ran = run_in(dir.path(), job("(sleep 0.2; echo late) & sleep 600 & echo $! > pid; echo done")).await;
    assert!(ran.took < Duration::from_secs(8), "{:?}", ran.took);
    assert_eq!(ran.text(Stream::Stdout), "done\nlate\n");
    ran.result.as_ref().expect("success");
    assert!(ran.text(Stream::Stderr).contains("left processes running"));
    let pid = std::fs::read_to_string(dir.path().join("pid")).expect("written");
    until("the child is gone", || !lives(&pid)).await;
}

#[tokio::test]
async fn a_child_that_never_stops_writing_does_not_delay_the_report() {
    let ran = run("yes & echo done").await;
    assert!(ran.took < Duration::from_secs(10), "{:?}", ran.took);
    ran.result.expect("success");
}

#[tokio::test]
async fn a_process_tree_of_three_levels_is_gone_after_a_cancel() {
    let dir = tempfile::tempdir().expect("a directory");
    let command = "sh -c 'sh -c \"echo \\$\\$ > three; sleep 600; true\" & echo $$ > two; wait; true' & \
                   echo $$ > one; wait; true";
    let (context, detached) = Context::detached(dir.path(), Duration::from_secs(20));
    let began = Instant::now();
    let cancel = async {
        let pids = ["one", "two", "three"].map(|name| dir.path().join(name));
        let written = || pids.iter().all(|pid| std::fs::read_to_string(pid).is_ok_and(|text| text.ends_with('\n')));
        until("the tree stands", written).await;
        detached.stop(StopReason::Cancelled);
        let pids = pids.map(|pid| std::fs::read_to_string(pid).expect("written"));
        read_all(detached).await;
        pids
    };
    let (result, pids) = tokio::join!(ShellExecutor.execute(job(command), context), cancel);
    assert!(result.is_err());
    assert!(began.elapsed() < Duration::from_secs(15), "SIGTERM was enough");
    until("the tree is gone", || !pids.iter().any(|pid| lives(pid))).await;
}

#[tokio::test]
async fn a_job_that_ignores_sigterm_is_killed_after_the_grace_and_may_clean_up_within_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let stop_when_ready = async |command: &str, grace| {
        let ready = dir.path().join("ready");
        let _ = std::fs::remove_file(&ready);
        let (context, detached) = Context::detached(dir.path(), grace);
        let stop = async {
            until("ready", || ready.exists()).await;
            detached.stop(StopReason::LeaseLost);
            read_all(detached).await
        };
        let began = Instant::now();
        let (result, _) = tokio::join!(ShellExecutor.execute(job(command), context), stop);
        (result, began.elapsed())
    };
    let stubborn = "trap '' TERM; touch ready; while :; do sleep 0.1; done";
    let (result, took) = stop_when_ready(stubborn, Duration::from_millis(400)).await;
    assert_eq!(result.expect_err("killed").error, "killed by SIGKILL");
    assert!(took >= Duration::from_millis(400));

    let tidy = "trap 'sleep 0.2; touch cleaned; exit 7' TERM; touch ready; while :; do sleep 0.1; done";
    let (result, _) = stop_when_ready(tidy, Duration::from_secs(20)).await;
    assert_eq!(result.expect_err("stopped").exit_code, Some(7));
    assert!(dir.path().join("cleaned").exists());
}

#[tokio::test]
async fn dropping_a_job_kills_its_processes() {
    let dir = tempfile::tempdir().expect("a directory");
    let (context, _detached) = Context::detached(dir.path(), Duration::from_secs(5));
    let execution = ShellExecutor.execute(job("sleep 600 & echo $! > pid; wait"), context);
    let file = dir.path().join("pid");
    tokio::select! {
        _ = execution => panic!("it doesn't end"),
        () = until("it runs", || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))) => {}
    }
    let pid = std::fs::read_to_string(&file).expect("written");
    until("it is gone", || !lives(&pid)).await;
}

#[tokio::test]
async fn a_jobs_directory_is_removed_even_with_read_only_parts() {
    let ran = run("cd $JOB_DIR; mkdir -p a/b; echo x > a/b/c; chmod 500 a/b a; echo $JOB_DIR").await;
    let dir = ran.text(Stream::Stdout);
    assert!(dir.starts_with('/') && !Path::new(dir.trim()).exists());
    assert!(!Path::new(dir.trim()).parent().expect("has one").exists());
    ran.result.expect("success");
}

#[tokio::test]
async fn a_jobs_directory_is_removed_whatever_the_job_left_or_took_of_it() {
    let long = format!("echo $JOB_DIR: '{}' >/dev/null; echo $JOB_DIR", "x".repeat(200_000));
    for command in [
        "echo $JOB_DIR",
        "echo $JOB_DIR; rm $WORKFLOW_OUTPUT; touch $JOB_SCRIPTS/own",
        "echo $JOB_DIR; rmdir $JOB_DIR",
        &long,
    ] {
        let ran = run(command).await;
        let dir = ran.text(Stream::Stdout);
        ran.result.expect("success");
        let dir = Path::new(dir.trim()).parent().expect("has one");
        assert!(dir.is_absolute() && !dir.exists(), "{}", &command[..command.len().min(80)]);
    }
}

#[tokio::test]
async fn a_command_too_long_for_an_argument_runs() {
    let ran = run(&format!(": '{}'\necho ran", "x".repeat(500_000))).await;
    assert_eq!(ran.text(Stream::Stdout), "ran\n");
}

#[tokio::test]
async fn a_command_that_cannot_start_names_the_reason() {
    let ran = run("echo \0").await;
    assert!(ran.failure().error.contains("NUL") && !ran.failure().retryable, "{}", ran.failure().error);
    let ran = run_in(Path::new("/nowhere/at/all"), job("true")).await;
    assert!(ran.failure().error.contains("/nowhere/at/all") && ran.failure().retryable, "{}", ran.failure().error);
}

fn job_with_env(command: &str, name: &str, value: &str) -> Job {
    let mut job = job(command);
    job.env.insert(name.to_owned(), value.to_owned());
    job
}

#[tokio::test]
async fn a_jobs_path_does_not_hide_the_shell_and_its_job_id_is_the_workers() {
    let ran = run_in(Path::new("."), job_with_env("echo $PATH", "PATH", "/opt/tools/bin")).await;
    assert!(ran.text(Stream::Stdout).starts_with("/opt/tools/bin:"), "{:?}", ran.result);
    let ran = run_in(Path::new("."), job_with_env("echo $JOB_ID", "JOB_ID", "mine")).await;
    assert_eq!(ran.text(Stream::Stdout), "deploy\n");
}

#[tokio::test]
async fn a_variable_that_no_program_can_have_is_named_with_its_size_and_the_limit() {
    let error = async |value: &str| {
        let ran = run_in(Path::new("."), job_with_env("true", "BIG", value)).await;
        assert!(!ran.failure().retryable && !ran.failure().of_worker);
        ran.failure().error.clone()
    };
    let text = error(&"x".repeat(200_000)).await;
    assert!(text.contains("`BIG` has 200005 bytes") && text.contains("131072 (limit ENV_VALUE)"), "{text}");
    let text = error("a\0b").await;
    assert!(text.contains("\"BIG\"") && text.contains("NUL"), "{text}");
    // The longest variable that the system takes.
    let ran = run_in(Path::new("."), job_with_env("true", "BIG", &"x".repeat(131_072 - 5))).await;
    ran.result.expect("success");
}

#[tokio::test]
async fn the_workers_own_trouble_is_not_the_jobs() {
    let dir = tempfile::tempdir().expect("a directory");
    let gone = dir.path().join("gone");
    let ran = run_in(&gone, job("true")).await;
    assert!(ran.failure().of_worker && ran.failure().error.contains(&gone.display().to_string()), "{:?}", ran.result);
    let checked = ShellExecutor.check(&gone).await.expect_err("it is gone");
    assert!(checked.of_worker && checked.error.contains("gone"), "{checked:?}");
    std::fs::create_dir(&gone).expect("made");
    assert_eq!(ShellExecutor.check(&gone).await, Ok(()));
}

#[tokio::test]
async fn a_byte_order_mark_is_skipped_and_utf_16_is_named() {
    let ran = run(r"printf '\357\273\277a=1\n' > $WORKFLOW_OUTPUT; printf '\357\273\277::set-output b=2\n'").await;
    assert_eq!(ran.outputs(), [("a", "1"), ("b", "2")]);
    let ran = run(r"printf '\377\376a\0=\0' > $WORKFLOW_OUTPUT").await;
    assert!(ran.failure().error.contains("UTF-16"), "{}", ran.failure().error);
}

#[tokio::test]
async fn a_leftover_that_goes_on_writing_is_ended_after_a_second() {
    let ran = run("(while :; do echo x; sleep 0.05; done) & echo done").await;
    assert!(ran.took < Duration::from_millis(3500), "{:?}", ran.took);
    assert!(ran.text(Stream::Stderr).contains("left processes running"));
    ran.result.expect("success");
}

#[tokio::test]
async fn a_job_waits_while_nobody_reads_its_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let command = "head -c 50000000 /dev/zero | tr '\\0' '\\n' | tee progress; touch ended";
    let (context, mut detached) = Context::detached(dir.path(), Duration::from_secs(5));
    let size = || std::fs::metadata(dir.path().join("progress")).map_or(0, |file| file.len());
    let slow_reader = async {
        until("it writes", || size() > 0).await;
        let mut before = 0;
        while size() > before {
            before = size();
            sleep(Duration::from_millis(200)).await;
        }
        assert!(before < 8_000_000, "{before} bytes ahead of its reader");
        let mut total = 0;
        while let Some((_, data)) = detached.written().await {
            total += data.len();
        }
        assert_eq!(total, 50_000_000);
    };
    let (result, ()) = tokio::join!(ShellExecutor.execute(job(command), context), slow_reader);
    result.expect("success");
}

#[tokio::test]
async fn a_job_whose_shell_is_missing_fails_for_good_and_names_it() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::copy("/bin/sh", dir.path().join("own-shell")).expect("a program");
    let ran = async |program: &str| {
        let mut job = job_with_env("echo ran", "PATH", "/nowhere");
        job.programs.insert(program.to_owned());
        run_in(dir.path(), job).await
    };
    for there in ["bash", "./own-shell"] {
        assert_eq!(ran(there).await.text(Stream::Stdout), "ran\n", "{there}");
    }
    // The worker's own PATH has it, but the job's has not.
    for missing in ["python3", "./no-shell"] {
        let ran = ran(missing).await;
        let failure = ran.failure();
        assert!(!failure.retryable && failure.error.contains(&format!("`{missing}`")), "{failure:?}");
        assert_eq!(ran.text(Stream::Stdout), "");
    }
}
