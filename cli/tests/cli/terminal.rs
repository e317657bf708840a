//! What is printed is bounded, and a program goes on or ends quietly if it can't be printed.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::common::process::lives;
use crate::common::{Done, Running, World, finish, in_order, wfg};

/// A directory with a file in it.
fn with_file(name: &str, text: impl AsRef<[u8]>) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join(name), text).expect("written");
    dir
}

fn command(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = wfg(args);
    command.current_dir(dir.path());
    command
}

async fn validate(text: impl AsRef<[u8]>) -> Done {
    finish(command(&with_file("a.yml", text), &["validate", "a.yml"]), "").await
}

/// Runs a command whose output has a reader that has gone away. Returns its exit code and standard error.
async fn unread(mut command: Command) -> (Option<i32>, String) {
    // It is gone before the command writes anything.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let child = command.stdout(writer).spawn().expect("wfg is built");
    let output = timeout(Duration::from_mins(1), child.wait_with_output()).await.expect("wfg ends").expect("wfg ran");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[tokio::test]
async fn a_problem_far_to_the_right_is_shown_in_a_short_line() {
    let long = "x".repeat(65_600);
    for (text, column) in [
        (format!("jobs: {{a: {{run: \"{long}\", needz: b}}}}\n"), 65_621),
        (format!("jobs: {{a: {{run: \"{}\", needz: b}}}}\n", "日".repeat(65_600)), 65_621),
        (format!("jobs: {{a: {{needz: {long}, run: x}}}}\n"), 12),
        (format!("{}jobs: {{a: {{needz: b, run: x}}}}\n", " ".repeat(70_000)), 70_012),
    ] {
        let done = validate(&text).await;
        assert_eq!(done.code, Some(1), "{}", done.err);
        in_order(
            &done.err,
            &["`needz` is not a key of a job", &format!("a.yml:1:{column}"), "needz", "^^^^^ jobs.a.needz"],
        );
        assert!(done.err.len() < 2000, "{} bytes", done.err.len());
    }
    let done = validate(format!("jobs: {{a: {{run: x, {long}: b}}}}\n")).await;
    assert!(done.code == Some(1) && done.err.len() < 3000, "{}", done.err);
}

#[tokio::test]
async fn thousands_of_problems_are_counted_and_a_thousand_shown() {
    let jobs: String = (0..5000).map(|n| format!("  j{n}: {{run: x, needs: nothing{n}}}\n")).collect();
    let done = validate(format!("jobs:\n{jobs}")).await;
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("4000 more problems are not listed"), "{}", &done.err[done.err.len() - 500..]);
    assert!(done.err.len() < 1_000_000, "{} bytes", done.err.len());
}

#[tokio::test]
async fn control_characters_of_a_file_do_not_reach_the_terminal() {
    for text in [
        &b"jobs: {a: {run: \"x\\e[2J\", \"\\e[31mred\": b}}\n"[..],
        b"jobs: {a: {run: x\x1b[2J}}\n",
        b"jobs: {a: {run: x\0}}\n",
        b"jobs: {\"\xe2\x80\xaea\": {rum: x}}\n",
    ] {
        let done = validate(text).await;
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert!(!done.err.contains(['\x1b', '\0', '\u{202e}']), "{:?}", done.err);
    }
}

#[tokio::test]
async fn a_command_whose_output_nobody_reads_ends_as_by_sigpipe() {
    let dir = with_file("a.yml", "jobs: {a: {run: x}}\n");
    assert_eq!(unread(command(&dir, &["validate", "a.yml"])).await, (Some(141), String::new()));
}

#[tokio::test]
async fn a_run_whose_output_nobody_reads_goes_on() {
    for (script, args, code) in [
        ("touch done", &["run", "a.yml"][..], 0),
        ("touch done; exit 3", &["run", "a.yml"], 1),
        ("touch done", &["run", "--json", "a.yml"], 0),
    ] {
        let dir = with_file("a.yml", format!("jobs: {{a: {{run: 'echo x'}}, b: {{needs: a, run: '{script}'}}}}\n"));
        assert_eq!(unread(command(&dir, args)).await, (Some(code), String::new()), "{args:?}");
        assert!(dir.path().join("done").exists());
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_where_the_output_is_the_result() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").expect("a device that is always full"));
    let dir = with_file("a.yml", "jobs: {a: {run: touch done}}\n");
    let run = async |args: &[&str]| {
        let mut command = command(&dir, args);
        command.stdout(full());
        finish(command, "").await
    };
    let done = run(&["validate", "a.yml"]).await;
    assert_eq!(done.code, Some(2));
    assert!(done.err.starts_with("error: can't write to standard output: No space left on device"), "{}", done.err);
    let done = run(&["run", "a.yml"]).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("can't write to standard output: No space left on device"), "{}", done.err);
    assert!(dir.path().join("done").exists());
    assert_eq!(run(&["run", "--json", "a.yml"]).await.code, Some(2));
    let mut closed = command(&dir, &["validate", "b.yml"]);
    closed.stderr(full());
    assert_eq!(finish(closed, "").await.code, Some(2), "an error that can't be reported is still that error");
}

#[tokio::test]
async fn a_submission_whose_id_can_not_be_written_names_it_on_standard_error() {
    let world = World::with("a.yml", "jobs: {a: {run: 'true'}}\n").await;
    for args in [&["submit", "a.yml"][..], &["submit", "a.yml", "--watch"]] {
        let mut command = world.command(args);
        command.stdout(File::options().write(true).open("/dev/full").expect("a device that is always full"));
        let done = finish(command, "").await;
        assert_eq!(done.code, Some(2), "{args:?}: {}", done.err);
        let listed = world.good(&["list", "-n", "1"]).await;
        let id = listed.split_whitespace().find(|word| word.starts_with("wf-")).expect("it was submitted");
        in_order(&done.err, &[id, "error: can't write to standard output: No space left on device"]);
    }
}

#[tokio::test]
async fn colours_are_forced_and_forbidden_by_variables() {
    let dir = with_file("a.yml", "jobs: {a: {rum: x}}\n");
    let coloured = async |variables: &[(&str, &str)]| {
        let mut command = command(&dir, &["validate", "a.yml"]);
        command.envs(variables.iter().copied());
        finish(command, "").await.err.contains('\x1b')
    };
    assert!(!coloured(&[]).await);
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]).await);
    assert!(coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "")]).await);
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).await);
    assert!(!coloured(&[("CLICOLOR_FORCE", "0")]).await);
    assert!(!coloured(&[("CLICOLOR_FORCE", "")]).await);
}

#[tokio::test]
async fn a_server_listens_on_the_addresses_of_a_name() {
    let mut command = wfg(&["serve", "--listen", "localhost:0"]);
    command.env("RUST_LOG", "");
    let mut serving = Running::start(command);
    let url = serving.url().await;
    let listed = finish(wfg(&["list", "--server", &url]), "").await;
    assert_eq!((listed.code, listed.err.as_str()), (Some(0), "there are no such workflows\n"));
    serving.signal("QUIT").await;
    assert_eq!(serving.ends().await.0.code(), Some(0));

    let nonsense = finish(wfg(&["serve", "--listen", "no.such.host.invalid:0", "--insecure-no-auth"]), "").await;
    assert_eq!(nonsense.code, Some(2));
    assert!(nonsense.err.contains("can't listen on no.such.host.invalid:0"), "{}", nonsense.err);
    let mut command = wfg(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("RUST_LOG", "a=b=c");
    let nonsense = finish(command, "").await;
    assert!(nonsense.code == Some(2) && nonsense.err.starts_with("error: RUST_LOG can't be used"), "{}", nonsense.err);
}

#[tokio::test]
async fn text_of_a_server_does_not_move_the_cursor() {
    let world = World::with("a.yml", "name: \"a\\e[2Jb\"\njobs: {a: {run: x}}\n").await;
    let id = world.submit("a.yml").await;
    for args in [&["status", &id][..], &["list"]] {
        let shown = world.good(args).await;
        assert!(!shown.contains('\x1b') && shown.contains("a\\u{1b}[2Jb"), "{shown:?}");
    }
}

#[tokio::test]
async fn a_server_that_answers_nonsense_is_an_error_without_control_characters() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let answering = tokio::spawn(async move {
        let body = r#"{"error": {"code": "x", "message": "red\u001b[31m"}}"#;
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let done = finish(wfg(&["workers", "--server", &url]), "").await;
    answering.abort();
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("red\\u{1b}[31m"), "{:?}", done.err);
}

#[tokio::test]
async fn an_empty_variable_or_option_counts_as_absent() {
    let dir = with_file("a.yml", "jobs: {a: {run: 'true'}}\n");
    for args in [&["run", "a.yml"][..], &["run", "a.yml", "--concurrency", "", "--secrets="]] {
        let mut command = command(&dir, args);
        command.envs(
            ["SERVER_URL", "WFG_TOKEN", "WFG_SECRETS_FILE", "RUST_LOG", "NO_COLOR", "TERM"].map(|name| (name, "")),
        );
        let done = finish(command, "").await;
        assert_eq!(done.code, Some(0), "{}", done.err);
    }
    let mut command = command(&dir, &["list", "--token", "", "--limit", ""]);
    command.env("SERVER_URL", "not a URL");
    let done = finish(command, "").await;
    assert!(done.code == Some(2) && done.err.contains("SERVER_URL"), "{}", done.err);
}

#[tokio::test]
async fn every_signal_ends_a_run_after_what_it_started() {
    for name in ["HUP", "QUIT", "USR1", "ALRM"] {
        let dir = with_file("a.yml", "jobs: {a: {run: 'echo $$ > pid; echo begun; exec sleep 600'}}\n");
        let mut running = Running::start(command(&dir, &["run", "a.yml"]));
        running.until("begun").await;
        running.signal(name).await;
        let code = running.ends().await.0.code();
        assert!(code > Some(128), "{name}: {code:?}");
        let pid = std::fs::read_to_string(dir.path().join("pid")).expect("written");
        assert!(!lives(pid.trim()), "{name}");
    }
}

#[tokio::test]
async fn a_server_whose_output_nobody_reads_serves() {
    let mut command = wfg(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("RUST_LOG", "debug");
    let mut child = command.spawn().expect("wfg is built");
    drop(child.stdout.take());
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let line = timeout(Duration::from_mins(1), lines.next_line()).await.expect("a line").expect("text");
    assert_eq!(line.as_deref(), Some("standard output is closed; the server runs all the same"));
    // Now its log has no reader either.
    drop(lines);
    let pid = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().await.expect("kill").success());
    let status = timeout(Duration::from_mins(1), child.wait()).await.expect("it ends").expect("it ran");
    assert_eq!(status.code(), Some(0));
}
