//! Submitting and watching, against a real server with real workers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::common::{Running, World, finish, in_order, wfg};

const DEPLOY: &str = r#"
jobs:
  build:
    run: |
      echo compiling
      echo "a warning" >&2
      echo "::set-output version=1.2.3"
  staging:
    needs: [build]
    labels: [staging]
    run: echo to staging
  production:
    needs: [build]
    labels: [production]
    run: echo to production
"#;

#[tokio::test]
async fn a_workflow_that_succeeds_is_shown_as_it_goes_and_exits_with_0() {
    let mut world = World::with("multi-deploy.yml", DEPLOY).await;
    world.worker("w-staging", "staging");
    world.worker("w-production", "production");
    let done = world.run(&["submit", "multi-deploy.yml", "--watch"]).await;
    assert_eq!(done.code, Some(0), "{}\n{}", done.out, done.err);
    in_order(
        &done.out,
        &[
            "multi-deploy: 3 jobs, workflow wf-",
            "build        started on w-",
            "build      | compiling",
            "build        output version = 1.2.3",
            "build        succeeded after ",
            "JOB         STATUS",
            "build       success",
            "staging     success",
            "production  success",
            "multi-deploy succeeded after ",
        ],
    );
    in_order(&done.out, &["build        started", "build      | a warning", "build        succeeded"]);
    in_order(&done.out, &["staging      started on w-staging", "staging    | to staging", "staging      succeeded"]);
    in_order(&done.out, &["production   started on w-production", "production | to production"]);
    assert_eq!(done.out.matches("| compiling").count(), 1, "{}", done.out);
    assert!(!done.out.contains('\x1b'), "no colours for a pipe: {:?}", done.out);
    assert_eq!(done.err, "");
}

#[tokio::test]
async fn a_workflow_that_fails_tells_every_try_and_exits_with_1() {
    let definition = "jobs:\n  a: {retries: 1, run: 'echo try $JOB_ATTEMPT; exit 7'}\n  b: {needs: a, run: 'true'}\n";
    let mut world = World::with("fails.yml", definition).await;
    world.worker("w1", "");
    let done = world.run(&["submit", "fails.yml", "--watch"]).await;
    assert_eq!(done.code, Some(1), "{}\n{}", done.out, done.err);
    in_order(
        &done.out,
        &[
            "a | try 0",
            "a   try 1 of 2 failed",
            "a   started on w1, try 2 of 2",
            "a | try 1",
            "a   failed after ",
            "b   skipped, as a failed",
            "a    failure  2 of 2",
            "fails failed after ",
        ],
    );
    assert!(done.out.contains("exit code 7"), "{}", done.out);
}

#[tokio::test]
async fn a_long_wait_is_explained_and_ends_when_a_worker_comes() {
    let mut world = World::with("deploy.yml", "jobs:\n  deploy: {labels: [gpu, linux], run: echo done}\n").await;
    let mut watching = Running::start(world.command(&["submit", "--watch", "deploy.yml"]));
    watching.until("deploy   waits: no worker is online").await;
    world.worker("near", "linux");
    watching.until("waits: no worker online has all its labels (gpu, linux); near comes nearest and lacks gpu").await;
    world.worker("able", "gpu,linux");
    watching.until("deploy   started on able").await;
    watching.until("deploy | done").await;
    let (status, said) = watching.end().await;
    assert!(status.success(), "{said}");
}

#[tokio::test]
async fn ctrl_c_stops_watching_and_the_workflow_goes_on() {
    let mut world =
        World::with("slow.yml", "jobs:\n  a: {run: 'echo begun; while ! test -e go; do sleep 0.05; done'}\n").await;
    world.worker("w1", "");
    let mut watching = Running::start(world.command(&["submit", "--watch", "slow.yml"]));
    watching.until("a | begun").await;
    let id = watching.seen[0].rsplit(' ').next().expect("an id").to_owned();
    watching.interrupt().await;
    let (status, said) = watching.end().await;
    assert_eq!(status.code(), Some(1));
    let expected = format!(
        "\nNot watched any more; the workflow goes on. `wfg cancel {id}` cancels it, `wfg watch {id}` shows it again.\n"
    );
    assert_eq!(said, expected);
    assert!(world.good(&["status", &id]).await.contains("running"));
    world.write("go", "");
    assert!(world.good(&["watch", &id]).await.contains("slow succeeded"));
}

#[tokio::test]
async fn a_definition_comes_from_standard_input_too_and_is_only_submitted_if_asked() {
    let world = World::new().await;
    let command = world.command(&["submit", "-", "--no-run"]);
    let done = finish(command, r#"{"jobs": {"b": {"run": "x"}, "a": {"run": "y"}}}"#).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let id = done.out.trim();
    let page = format!("its page: {}/#/runs/{id}", world.server.url());
    assert_eq!(done.err, format!("submitted workflow (2 jobs); `wfg rerun {id}` starts it\n{page}\n"));
    let status = world.good(&["status", id]).await;
    in_order(&status, &["workflow  queued", "not started", "b    queued  waits for the workflow", "a    queued"]);
    world.good(&["rerun", id]).await;
    assert!(world.good(&["status", id]).await.starts_with("workflow  running"));
}

#[tokio::test]
async fn a_definition_with_problems_is_not_sent() {
    let world = World::with("bad.yml", "jobs:\n  a: {run: x, needs: [b]}\n").await;
    let done = world.run(&["submit", "bad.yml", "--watch"]).await;
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{}", done.err);
    in_order(&done.err, &["there is no job `b`", "bad.yml:2:23", "bad.yml: 1 problem; nothing was sent"]);
    assert_eq!(world.run(&["list"]).await.err, "there are no such workflows\n");
}

/// A server that refuses its first request as a busy proxy does, and answers all others with this JSON. Its URL.
async fn busy_at_first(json: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        let mut status = "502 Bad Gateway";
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let size = json.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {size}");
            let _ = stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{json}").as_bytes()).await;
            status = "200 OK";
        }
    });
    url
}

#[tokio::test]
async fn the_first_read_of_a_watched_workflow_is_tried_again() {
    let world = World::with("flow.yml", "jobs: {a: {run: x}}\n").await;
    let id = world.submit("flow.yml").await;
    world.good(&["cancel", &id]).await;
    world.ended(&id).await;
    let url = busy_at_first(world.good(&["status", &id, "--json"]).await).await;
    let done = finish(wfg(&["watch", &id, "--server", &url]), "").await;
    assert_eq!(done.code, Some(1), "{}\n{}", done.out, done.err);
    in_order(&done.err, &["502", "the server answers again"]);
    in_order(&done.out, &[&format!("flow: 1 job, workflow {id}"), "flow was cancelled"]);
}
