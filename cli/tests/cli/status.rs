//! `status`, `why`, `cancel` and `rerun` against a real server.

use std::time::Duration;

use crate::common::{Running, World, in_order};
use client::Client;
use worker::protocol::requests::Claim;
use worker::protocol::{LabelSet, WorkerId};

#[tokio::test]
async fn why_names_the_missing_labels_and_the_nearest_worker() {
    let definition = "jobs:\n  train: {labels: [gpu, linux], run: x}\n  report: {needs: train, run: x}\n";
    let mut world = World::with("train.yml", definition).await;
    world.worker("near", "linux");
    world.worker("far", "");
    let id = world.submit("train.yml").await;
    world.until_known(&["near", "far"]).await;
    let said = world.good(&["why", &id, "train"]).await;
    in_order(
        &said,
        &[
            "no worker online has all its labels (gpu, linux); near comes nearest and lacks gpu.",
            "start one: wfg worker --labels gpu,linux",
        ],
    );
    in_order(&said, &["  near (linux) lacks gpu"]);
    in_order(&said, &["  far (no labels) lacks gpu, linux"]);
    let all = world.good(&["why", &id]).await;
    in_order(&all, &["train has waited for", "report has waited for", "  train waits: no worker online"]);
    let wrong = world.run(&["why", &id, "trian"]).await;
    assert_eq!(wrong.code, Some(2));
    assert_eq!(wrong.err, format!("error: workflow `{id}` has no job `trian`; it has train and report.\n"));
    let pools = world.good(&["pools"]).await;
    in_order(&pools, &["LABELS", "gpu, linux"]);
    world.good(&["cancel", &id]).await;
}

#[tokio::test]
async fn why_shows_busy_workers_and_their_jobs() {
    let mut world = World::with(
        "train.yml",
        "jobs:\n  train: {labels: [gpu], run: 'echo begun; while ! test -e go; do sleep 0.05; done'}\n",
    )
    .await;
    world.write("eval.yml", "jobs:\n  eval: {labels: [gpu], run: 'true'}\n");
    world.lease_ttl_secs = 60;
    world.worker("only", "gpu");
    let mut watching = Running::start(world.command(&["submit", "--watch", "train.yml"]));
    watching.until("train | begun").await;
    let eval = world.submit("eval.yml").await;
    // What workers do is known to the server with a delay.
    world.advance(Duration::from_secs(6)).await;
    let said = world.good(&["why", &eval]).await;
    in_order(&said, &[": 1 of 1 worker online with all its labels (gpu) is busy.", "  only runs train"]);
    in_order(&world.good(&["workers"]).await, &["WORKER  STATUS  LABELS  JOB", "only    busy    gpu     train"]);
    world.write("go", "");
    assert!(watching.end().await.0.success());
    world.ended(&eval).await;
    assert_eq!(world.good(&["why", &eval]).await, "No job of eval waits: 1 success.\n");
}

#[tokio::test]
async fn cost_of_a_run_is_named_an_estimate_and_grows_with_its_jobs() {
    let mut world = World::with("one.yml", "jobs:\n  a: {run: 'true'}\n").await;
    world.write("two.yml", "jobs:\n  a: {run: 'true'}\n  b: {needs: a, run: 'true'}\n");
    world.worker("only", "");
    let mut costs = Vec::new();
    for file in ["one.yml", "two.yml"] {
        let id = world.submit(file).await;
        world.ended(&id).await;
        let said = world.good(&["cost", &id]).await;
        in_order(&said, &["costs about $0.0000", "jobs that were begun"]);
        assert!(said.contains("This is an estimate"), "{said}");
        let json: serde_json::Value = serde_json::from_str(&world.good(&["cost", &id, "--json"]).await).unwrap();
        costs.push(json["usd"].as_f64().unwrap());
    }
    assert!(costs[0] > 0.000_005 && costs[1] > costs[0] + 0.000_002, "{costs:?}");
}

#[tokio::test]
async fn logs_follow_a_job_to_its_end() {
    // What goes to two streams at once may arrive in either order.
    let until = |file| format!("while ! test -e {file}; do sleep 0.05; done");
    let run = format!("echo one; {}; echo two >&2; {}; printf three", until("go"), until("more"));
    let mut world = World::with("talk.yml", &format!("jobs:\n  a: {{run: '{run}'}}\n")).await;
    let id = world.submit("talk.yml").await;
    let before = world.run(&["logs", &id, "a"]).await;
    assert_eq!((before.code, before.out.as_str()), (Some(0), ""));
    assert_eq!(before.err, "a waits: no worker is online\n");
    let mut following = Running::start(world.command(&["logs", &id, "a", "-f"]));
    world.worker("w1", "");
    following.until("one").await;
    world.write("go", "");
    following.until("two").await;
    world.write("more", "");
    following.until("three").await;
    assert_eq!(following.seen, ["one", "two", "three"]);
    let (status, said) = following.end().await;
    assert!(status.success());
    assert!(said.lines().all(|line| line.starts_with("a waits: ")), "{said}");
    assert_eq!(world.good(&["logs", &id, "a"]).await, "one\ntwo\nthree\n");
    assert_eq!(world.good(&["logs", &id, "a", "--attempt", "1"]).await, "one\ntwo\nthree\n");
    let none = world.run(&["logs", &id, "a", "--attempt", "4"]).await;
    assert_eq!(none.err, "a has had no attempt 4; the latest is 1\n");
}

#[tokio::test]
async fn logs_follow_every_try_and_show_how_each_failed() {
    let run = "echo try $JOB_ATTEMPT; while ! test -e go; do sleep 0.05; done; test $JOB_ATTEMPT = 2";
    let mut world = World::with("again.yml", &format!("jobs:\n  a: {{retries: 2, run: '{run}'}}\n")).await;
    world.worker("w1", "");
    let id = world.submit("again.yml").await;
    let mut following = Running::start(world.command(&["logs", &id, "a", "-f"]));
    following.until("try 0").await;
    world.write("go", "");
    following.until("try 2").await;
    assert_eq!(following.seen, ["try 0", "try 1", "try 2"]);
    let (status, said) = following.end().await;
    assert!(status.success());
    let failed = |line: &str, attempt| {
        let begins = format!("attempt {attempt}: failed after ");
        assert!(line.trim_start_matches("-- ").trim_start().starts_with(&begins), "{line}");
        assert!(line.contains(" on w1: exit code 1"), "{line}");
    };
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("-- ")).collect();
    let [first, second] = lines[..] else { panic!("{said}") };
    failed(first, 1);
    failed(second, 2);
    assert!(first.ends_with("; attempt 2 follows --") && second.ends_with("; attempt 3 follows --"), "{said}");

    world.ended(&id).await;
    for (number, follow) in [(1, true), (2, false)] {
        let attempt = &number.to_string();
        let args = ["logs", &id, "a", "--attempt", attempt, "-f"];
        let one = world.run(if follow { &args } else { &args[..5] }).await;
        assert_eq!(one.out, format!("try {}\n", number - 1));
        failed(&one.err, number);
        assert_eq!(one.err.lines().count(), 1, "{}", one.err);
    }
    for args in [&["logs", &id, "a"][..], &["logs", &id, "a", "-f"]] {
        let latest = world.run(args).await;
        assert_eq!(latest.out, "try 2\n");
        in_order(&latest.err, &["-- attempt 1: failed", "-- attempt 2: failed"]);
        assert_eq!(latest.err.lines().count(), 2, "{}", latest.err);
    }
    let status = world.good(&["status", &id]).await;
    let under: Vec<&str> = status.lines().skip_while(|line| !line.starts_with("a ")).skip(1).collect();
    let [first, second] = under[..] else { panic!("{status}") };
    failed(first, 1);
    failed(second, 2);
}

#[tokio::test]
async fn lost_and_timed_out_attempts_are_shown() {
    let world = World::with("lost.yml", "jobs:\n  a: {retries: 2, timeout: 5s, run: x}\n").await;
    let id = world.submit("lost.yml").await;
    let client = Client::new(&world.server.url(), None).expect("an address");
    for lease_ttl_secs in [2, 60] {
        let worker_id = WorkerId::new("silent").expect("a good id");
        let claim = Claim {
            worker_id,
            labels: LabelSet::default(),
            lease_ttl_secs,
            wait_secs: 20,
            exclusive: false,
            ticket: None,
        };
        client.claim(&claim).await.expect("an answer").expect("a job");
        world.advance(Duration::from_secs(6)).await;
    }
    let status = world.good(&["status", &id]).await;
    in_order(&status, &["a    queued  3 of 3", "  attempt 1: lost after ", "  attempt 2: timed out after "]);
    in_order(&status, &[" on silent: the worker was lost", " on silent: it ran longer than its timeout of 5 s"]);
    let none = world.run(&["logs", &id, "a", "--attempt", "2"]).await;
    in_order(&none.err, &["a waits: ", "-- attempt 2: timed out after "]);
    world.good(&["cancel", &id]).await;
}

#[tokio::test]
async fn a_cancelled_workflow_ends_and_stops_what_runs() {
    let mut world =
        World::with("slow.yml", "jobs:\n  a: {run: 'echo begun; sleep 600'}\n  b: {needs: a, run: x}\n").await;
    world.worker("w1", "");
    let mut watching = Running::start(world.command(&["submit", "--watch", "slow.yml"]));
    watching.until("a | begun").await;
    let id = watching.seen[0].rsplit(' ').next().expect("an id").to_owned();
    let done = world.run(&["cancel", &id]).await;
    assert_eq!((done.code, done.out.as_str()), (Some(0), ""), "{}", done.err);
    watching.until("b   cancelled").await;
    watching.until("slow was cancelled").await;
    assert_eq!(watching.end().await.0.code(), Some(1));
    assert_eq!(world.run(&["cancel", &id]).await.err, format!("{id} has ended: cancelled\n"));
}

#[tokio::test]
async fn a_workflow_that_is_cancelled_before_any_job_began_does_not_count_as_started() {
    let world = World::with("flow.yml", "jobs: {a: {run: x}}\n").await;
    let id = world.good(&["submit", "flow.yml", "--no-run"]).await;
    let id = id.trim();
    world.good(&["cancel", id]).await;
    world.ended(id).await;
    let status = world.good(&["status", id]).await;
    let line = status.lines().nth(1).expect("a line with the times");
    assert!(line.starts_with("run 1, submitted ") && line.ends_with(" before any of its jobs began"), "{line}");
    assert!(line.contains(", cancelled ") && !line.contains("took"), "{line}");
}

#[tokio::test]
async fn a_rerun_of_what_failed_keeps_what_succeeded_with_its_outputs() {
    let definition = "jobs:\n  good: {run: 'echo ran >> good.log; echo ::set-output v=1'}\n  bad: {needs: good, run: 'test -e mended'}\n";
    let mut world = World::with("mend.yml", definition).await;
    world.worker("w1", "");
    let failed = world.run(&["submit", "mend.yml", "--watch"]).await;
    assert_eq!(failed.code, Some(1), "{}", failed.out);
    let id = failed.out.lines().next().and_then(|line| line.rsplit(' ').next()).expect("an id").to_owned();
    world.write("mended", "");
    let rerun = world.run(&["rerun", &id, "--failed", "--watch"]).await;
    assert_eq!(rerun.code, Some(0), "{}\n{}", rerun.out, rerun.err);
    in_order(&rerun.out, &["mend: 2 jobs, workflow", "bad    started on w1", "bad    succeeded", "mend succeeded"]);
    in_order(&rerun.out, &["good   reused from an earlier run"]);
    assert_eq!(std::fs::read_to_string(world.path("good.log")).expect("a log"), "ran\n");
    assert_eq!(world.good(&["outputs", &id, "good"]).await, "v = 1\n");
    assert_eq!(world.good(&["outputs", &id, "good", "--json"]).await, "{\n  \"v\": \"1\"\n}\n");
    in_order(
        &world.good(&["status", &id]).await,
        &["mend  success", "run 2, started", "good  success", "bad   success"],
    );
}

#[tokio::test]
async fn lists_can_be_cut_and_filtered_and_shrink_when_something_is_deleted() {
    let mut world = World::with("one.yml", "jobs:\n  a: {run: 'true'}\n").await;
    world.write("other.yml", "jobs:\n  a: {labels: [nobody], run: 'true'}\n");
    world.worker("w1", "");
    let one = world.submit("one.yml").await;
    world.ended(&one).await;
    let other = world.submit("other.yml").await;
    let all = world.good(&["list"]).await;
    in_order(
        &all,
        &["ID ", &format!("{other}  other  running  1    0 of 1"), &format!("{one}  one    success  1    1 of 1")],
    );
    let succeeded = world.good(&["list", "--status", "success"]).await;
    assert!(succeeded.contains(&one) && !succeeded.contains(&other), "{succeeded}");
    let newest = world.run(&["list", "-n", "1"]).await;
    assert_eq!((newest.out.lines().count(), newest.err.as_str()), (2, "these are the newest 1; --limit shows more\n"));
    let json = world.good(&["list", "--json"]).await;
    assert!(json.starts_with("[\n  {\n    \"id\""), "{json}");

    let refused = world.run(&["delete", &other]).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.starts_with(&format!("error: workflow `{other}` is running; ")), "{}", refused.err);
    world.good(&["delete", &one]).await;
    let gone = world.run(&["status", &one]).await;
    assert_eq!(gone.code, Some(2));
    assert_eq!(gone.err, format!("error: there is no workflow `{one}`; `wfg list` shows those there are.\n"));
}

#[tokio::test]
async fn ids_may_be_abbreviated() {
    let mut world =
        World::with("two.yml", "jobs:\n  build-a: {run: 'echo a'}\n  build-b: {run: 'echo ::set-output v=1'}\n").await;
    world.worker("w1", "");
    let first = world.submit("two.yml").await;
    world.ended(&first).await;
    world.advance(Duration::from_secs(2)).await;
    let second = world.submit("two.yml").await;
    world.ended(&second).await;

    let line = |id: &str| format!("  {id}");
    assert!(world.good(&["status", "last"]).await.lines().next().is_some_and(|text| text.ends_with(&line(&second))));
    for abbreviated in [&first[..22], &first[3..23]] {
        let status = world.good(&["status", abbreviated]).await;
        assert!(status.lines().next().is_some_and(|text| text.ends_with(&line(&first))), "{status}");
    }
    assert_eq!(world.good(&["logs", "last", "build-a"]).await, "a\n");
    assert_eq!(world.good(&["outputs", "last", "build-b"]).await, "v = 1\n");
    world.write("one.yml", "jobs: {build: {run: 'echo ::set-output v=2'}, build-more: {run: 'true'}}\n");
    let third = world.submit("one.yml").await;
    world.ended(&third).await;
    assert_eq!(world.good(&["outputs", &third, "build-"]).await, "");
    assert_eq!(world.good(&["outputs", &third, "build"]).await, "v = 2\n", "a whole id is not ambiguous");

    let job = world.run(&["outputs", &second, "build"]).await;
    assert_eq!(
        (job.code, job.err.as_str()),
        (Some(2), "error: `build` may be the job build-a or build-b; write more of its id.\n")
    );
    let workflow = world.run(&["cancel", "wf-"]).await;
    assert_eq!(workflow.code, Some(2));
    assert!(
        workflow.err.starts_with("error: `wf-` may be the workflow wf-") && workflow.err.contains(&second),
        "{}",
        workflow.err
    );
    let none = world.run(&["status", "wf-none"]).await;
    assert!(none.err.contains("`wf-none`") && none.err.contains("`wfg list` shows those there are"), "{}", none.err);
}

#[tokio::test]
async fn graph_of_a_submitted_workflow_is_that_of_its_file_and_submit_names_its_page() {
    let world = World::with("two.yml", "jobs:\n  a: {run: x}\n  b: {run: x, needs: a}\n").await;
    let said = world.run(&["submit", "two.yml"]).await;
    let id = said.out.trim();
    assert!(said.err.contains(&format!("its page: {}/#/runs/{id}", world.server.url())), "{}", said.err);
    let graph = world.good(&["graph", id]).await;
    assert_eq!(graph, "flowchart LR\n  n0[\"a\"]\n  n1[\"b\"]\n  n0 --> n1\n");
    let none = world.run(&["graph", "wf-none"]).await;
    assert_eq!((none.code, none.out.as_str()), (Some(2), ""), "{}", none.err);
}

#[tokio::test]
async fn healthy_server_says_so_with_its_version() {
    let world = World::new().await;
    assert_eq!(world.good(&["health"]).await, format!("ok, version {}\n", env!("CARGO_PKG_VERSION")));
}
