//! What works, or fails well, without a server.

use crate::common::{Done, World, finish, in_order, wfg};
use tempfile::TempDir;
use tokio::net::TcpListener;

async fn validate(file: &str, text: &str) -> Done {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join(file), text).expect("written");
    let mut command = wfg(&["validate", file]);
    command.current_dir(dir.path());
    finish(command, "").await
}

#[tokio::test]
async fn all_problems_of_a_file_are_shown_with_their_lines() {
    let text = "\
name: deploy
jobs:
  build:
    runs-on: ubuntu
    run: make
  test:
    needs: [biuld, test]
    labels: ['has space']
  a: {run: x, needs: b}
  b: {run: x, needs: a}
  build: {run: again}
";
    let done = validate("deploy.yml", text).await;
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{}", done.err);
    in_order(
        &done.err,
        &[
            "`runs-on` is not a key of a job",
            "--> deploy.yml:4:5",
            "4 |     runs-on: ubuntu",
            "  |     ^^^^^^^ jobs.build.runs-on",
            "missing_run",
            "--> deploy.yml:6:3",
            "there is no job `biuld`; did you mean `build`?",
            "7 |     needs: [biuld, test]",
            "  |             ^^^^^ jobs.test.needs[0]",
            "has space",
            "could never start",
            "deploy.yml: 7 problems",
        ],
    );
    assert!(!done.err.contains('\x1b'), "no colours for a pipe");
}

#[tokio::test]
async fn a_valid_file_is_reported_with_its_notes() {
    let done = validate("ci.yml", "on: push\njobs:\n  a: {run: x}\n").await;
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    in_order(&done.out, &["note[on_needs_a_link]: ", "--> ci.yml:1:1", "ci.yml: 1 job, no problems"]);
}

#[tokio::test]
async fn json_and_broken_syntax_are_checked_too() {
    let done = validate("a.json", r#"{"jobs": [{"id": "a", "name": "A", "command": "x", "depends_on": ["b"]}]}"#).await;
    assert_eq!(done.code, Some(1));
    in_order(&done.err, &["`b`", "a.json: 1 problem"]);
    let done = validate("a.yml", "jobs: [\n").await;
    assert_eq!(done.code, Some(1));
    in_order(&done.err, &["syntax", "a.yml:", "a.yml: 1 problem"]);
    let done = validate("empty.yml", "").await;
    assert_eq!(done.code, Some(1));
    in_order(&done.err, &["there is nothing in it", "empty.yml: 1 problem"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_what_to_do() {
    // Bound and not listening any more: nobody else gets it at once.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let done = finish(wfg(&["--server", &url, "list"]), "").await;
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    assert!(done.err.starts_with(&format!("error: can't reach {url}: ")), "{}", done.err);
    assert!(
        done.err.ends_with("Is the server running? Say where it is with --server or SERVER_URL.\n"),
        "{}",
        done.err
    );
    let unhealthy = finish(wfg(&["--server", &url, "health"]), "").await;
    assert_eq!((unhealthy.code, unhealthy.out.as_str()), (Some(1), ""));
    assert!(unhealthy.err.starts_with(&format!("error: can't reach {url}: ")), "{}", unhealthy.err);
    let done = finish(wfg(&["list", "--server", "ftp://x"]), "").await;
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("expected http://host or https://host"), "{}", done.err);
}

#[tokio::test]
async fn what_can_not_be_read_or_understood_is_an_error_of_usage() {
    let done = finish(wfg(&["validate", "/no/such/file.yml"]), "").await;
    assert_eq!(done.code, Some(2));
    assert_eq!(done.err, "error: can't read /no/such/file.yml: No such file or directory (os error 2).\n");
    for args in [&["status"][..], &["status", "a b"], &["list", "--status", "done"], &["list", "-n", "0"], &["nothing"]]
    {
        let done = finish(wfg(args), "").await;
        assert_eq!(done.code, Some(2), "{args:?}: {}", done.err);
        assert!(done.err.starts_with("error: "), "{args:?}: {}", done.err);
    }
}

#[tokio::test]
async fn graph_of_a_file_is_printed_without_a_server() {
    let dir = TempDir::new().expect("a directory");
    let shards: String = (0..6).map(|n| format!("  shard-{n}: {{run: x, needs: plan}}\n")).collect();
    std::fs::write(dir.path().join("fan.yml"), format!("jobs:\n  plan: {{run: x}}\n{shards}")).expect("written");
    let graph = async |more: &[&str]| {
        let mut command = wfg(&[&["graph", "fan.yml"], more].concat());
        command.current_dir(dir.path());
        finish(command, "").await
    };
    let stacked = graph(&[]).await;
    assert_eq!(stacked.code, Some(0), "{}", stacked.err);
    assert_eq!(stacked.out, "flowchart LR\n  n0[\"plan\"]\n  n1[[\"shard-* ×6\"]]\n  n0 --> n1\n");
    assert_eq!(graph(&["--all"]).await.out.matches(" --> ").count(), 6);
    assert!(graph(&["--format", "dot"]).await.out.starts_with("digraph {\n"));
    assert!(graph(&["--format", "svg"]).await.out.contains("</svg>"));
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let done = finish(wfg(&["completions", shell]), "").await;
        assert_eq!(done.code, Some(0), "{shell}: {}", done.err);
        assert!(done.out.contains("submit"), "{shell}: {}", done.out);
    }
}

#[tokio::test]
async fn every_command_has_a_manual_page() {
    let dir = TempDir::new().expect("a directory");
    let folder = dir.path().join("man1");
    let done = finish(wfg(&["man", folder.to_str().expect("UTF-8")]), "").await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    for page in ["wfg.1", "wfg-run.1", "wfg-worker.1", "wfg-token-create.1"] {
        let text = std::fs::read_to_string(folder.join(page)).expect(page);
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    let done = finish(wfg(&["man", "/dev/null/man1"]), "").await;
    assert_eq!(done.code, Some(2));
    assert!(done.err.starts_with("error: the manual pages can't be written to /dev/null/man1: "), "{}", done.err);
}

#[tokio::test]
async fn a_token_that_can_not_be_sent_is_blamed_on_the_setting_that_it_comes_from() {
    for (command, variable) in [("list", "WFG_TOKEN"), ("worker", "WORKER_TOKEN")] {
        let mut command = wfg(&[command]);
        command.env("SERVER_URL", "http://127.0.0.1:1").env(variable, "se\ncret");
        let done = finish(command, "").await;
        assert_eq!(done.code, Some(2), "{}", done.err);
        let says = done.err.contains("the token can't be used: it has a line end")
            && done.err.contains(&format!("comes from --token or {variable}"));
        assert!(says && !done.err.contains("SERVER_URL") && !done.err.contains("cret"), "{}", done.err);
    }
    let done = finish(wfg(&["worker", "--server", "ftp://x"]), "").await;
    assert!(done.code == Some(2) && done.err.contains("--server or SERVER_URL"), "{}", done.err);
}

/// Of nobody. Without any certificate the program doesn't connect.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBdjCCARugAwIBAgIUK76Dk0dA6XlFlMH56d6k2pH/jIswCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMzAyMDMyNDhaGA8yMTI2MTEwNjIwMzI0
OFowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMZz
juHD7RY6ywCjkbu91jqokYtcZrSWXXVc1LPHeyvnPBj2ds1br8eN6R1LwKnegUSG
QU8m2IHBLMFS9C/tnbWjUzBRMB0GA1UdDgQWBBQ9dssis6UgKtrxlmHCsPpN6bVI
fzAfBgNVHSMEGDAWgBQ9dssis6UgKtrxlmHCsPpN6bVIfzAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0kAMEYCIQCXtNc6k2jQ8szvR0176eWdc0ugsSnYIGfB
3WHV66COSwIhAO1bXnYv4ldJHaxpFaIG4fQO9PPafzYEZ+tWRUh4WxaQ
-----END CERTIFICATE-----
";

#[tokio::test]
async fn https_to_a_server_of_plain_http_is_recognized() {
    let world = World::new().await;
    let certificates = world.path("certificates.pem");
    world.write("certificates.pem", CERTIFICATE);
    let url = world.server.url().replace("http://", "https://");
    let mut command = wfg(&["--server", &url, "list"]);
    command.env("SSL_CERT_FILE", certificates).env_remove("SSL_CERT_DIR");
    let done = finish(command, "").await;
    assert_eq!(done.code, Some(2), "{}", done.err);
    assert!(done.err.starts_with(&format!("error: can't reach {url}: ")), "{}", done.err);
    assert!(done.err.ends_with("write http:// in --server or SERVER_URL.\n"), "{}", done.err);
}
