//! A worker that polls queues: its calls, and that a lost ticket only delays a job.

use std::collections::BTreeSet;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::common::queues::Queues;
use crate::common::{Answer, Fake, job, lease};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// A receive of 20 s waits half a second.
const SECOND: Duration = Duration::from_millis(25);
/// A receive waits longer than any test.
const LONG_SECOND: Duration = Duration::from_mins(1);
/// Longest time that an ending worker takes to delete or release its messages.
const LAST_WORDS: Duration = Duration::from_secs(5);

const RECEIVE: &str = "ReceiveMessage";
const DELETE: &str = "DeleteMessage";
const RELEASE: &str = "ChangeMessageVisibility";

/// The queues that the server lists; may change.
#[derive(Clone)]
struct Listed(Arc<Mutex<Vec<Value>>>);

impl Listed {
    fn of(queues: &Queues, names: &[&str]) -> Self {
        let listed = Self(Arc::default());
        listed.set(queues, names);
        listed
    }

    fn set(&self, queues: &Queues, names: &[&str]) {
        *self.0.lock().expect("no panic") = names.iter().map(|name| queues.info(name)).collect();
    }
}

/// A server that lists these queues, asks for a heartbeat each second, and answers claims with `claims`.
async fn api(listed: &Listed, claim: impl Fn(Option<&str>) -> Value + Send + Sync + 'static) -> Fake {
    let listed = listed.clone();
    Fake::start(move |request| match request.path.as_str() {
        "/api/jobs/claim" => Some(Answer::Json(200, claim(request.json()["ticket"].as_str()))),
        "/api/workers/register" | "/api/workers/w1/heartbeat" => {
            let queues = listed.0.lock().expect("no panic").clone();
            Some(Answer::Json(200, json!({"queues": queues, "heartbeat_secs": 1})))
        }
        _ => None,
    })
    .await
}

fn granted(command: &str) -> Value {
    json!({"job": job(command), "lease": lease(3)})
}

/// Answers every claim with a ticket with a job, and no other claim.
fn by_ticket(command: &'static str) -> impl Fn(Option<&str>) -> Value {
    move |ticket| ticket.map_or(Value::Null, |_| granted(command))
}

/// The tickets of the claims that had one.
fn tickets(server: &Fake) -> Vec<String> {
    let claims = server.seen("/claim");
    claims.iter().filter_map(|claim| claim.json()["ticket"].as_str().map(str::to_owned)).collect()
}

/// Claims without a ticket once an hour.
fn worker(queues: &Queues, server: &Fake) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_workflow-graph-worker"));
    command
        .env("SERVER_URL", &server.url)
        .env("WORKER_ID", "w1")
        .env("WORKER_LABELS", "staging")
        .env("WORKER_TRANSPORT", "sqs")
        .env("WORKER_RECHECK", "1h")
        .env("WORKER_POLL", "20ms")
        .env("AWS_ENDPOINT_URL", &queues.url)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn starts(command: &mut Command) -> Child {
    command.spawn().expect("starts")
}

fn terminate(child: &Child) {
    let id = child.id().expect("it runs").try_into().expect("a pid");
    kill(Pid::from_raw(id), Signal::SIGTERM).expect("sent");
}

async fn end(child: Child) -> (ExitStatus, String) {
    let output = timeout(Duration::from_secs(30), child.wait_with_output()).await.expect("ends").expect("waited for");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Waits until standard error contains this text.
async fn says(child: &mut Child, text: &str) {
    let mut lines = BufReader::new(child.stderr.as_mut().expect("piped")).lines();
    let said = async {
        while let Some(line) = lines.next_line().await.expect("a line") {
            if line.contains(text) {
                return true;
            }
        }
        false
    };
    assert_eq!(timeout(Duration::from_secs(30), said).await, Ok(true), "{text}");
}

#[tokio::test]
async fn a_job_is_taken_by_its_ticket_and_the_message_is_deleted() {
    let queues = Queues::start(LONG_SECOND, &["a"]).await;
    let server = api(&Listed::of(&queues, &["a"]), by_ticket("true")).await;
    let _worker = starts(&mut worker(&queues, &server));
    queues.until(RECEIVE, "a", 1).await;
    queues.send(&[("a", "ticket-1")]);
    server.until("/complete", 1).await;
    queues.until(DELETE, "a", 1).await;
    queues.until(RECEIVE, "a", 2).await;
    assert_eq!(tickets(&server), ["ticket-1"]);
    assert_eq!((queues.tickets("a"), queues.count(RELEASE, "a")), ((vec![], vec![]), 0));
    assert_eq!(server.seen("/register")[0].json()["transport"], "sqs");
}

#[tokio::test]
async fn a_ticket_without_a_job_is_deleted() {
    let queues = Queues::start(LONG_SECOND, &["a"]).await;
    let server = api(&Listed::of(&queues, &["a"]), |_| Value::Null).await;
    queues.send(&[("a", "stale-1"), ("a", "stale-2")]);
    let _worker = starts(&mut worker(&queues, &server));
    queues.until(DELETE, "a", 2).await;
    queues.until(RECEIVE, "a", 3).await;
    assert_eq!(tickets(&server), ["stale-1", "stale-2"]);
    assert_eq!(queues.tickets("a"), (vec![], vec![]));
    assert!(server.seen("/complete").is_empty());
}

#[tokio::test]
async fn the_message_of_an_unanswered_claim_becomes_visible_again() {
    let queues = Queues::start(SECOND, &["a"]).await;
    let claims = AtomicUsize::new(0);
    let server = Fake::start({
        let listed = Listed::of(&queues, &["a"]);
        move |request| match request.path.as_str() {
            "/api/workers/register" => {
                Some(Answer::Json(200, json!({"queues": *listed.0.lock().expect("no panic"), "heartbeat_secs": 30})))
            }
            "/api/jobs/claim" if request.json()["ticket"].is_string() => match claims.fetch_add(1, Ordering::SeqCst) {
                0 => Some(Answer::Drop),
                1 => crate::common::refuse(503),
                _ => Some(Answer::Json(200, granted("true"))),
            },
            _ => None,
        }
    })
    .await;
    queues.send(&[("a", "ticket-1")]);
    let _worker = starts(&mut worker(&queues, &server));
    for seen in 1..=2 {
        server.until("/claim", seen).await;
        let polled = queues.count(RECEIVE, "a");
        queues.until(RECEIVE, "a", polled + 2).await;
        assert_eq!(queues.tickets("a"), (vec![], vec!["ticket-1".to_owned()]));
        queues.reveal("a");
        queues.until(RECEIVE, "a", polled + 3).await;
    }
    server.until("/complete", 1).await;
    queues.until(DELETE, "a", 1).await;
    assert_eq!(tickets(&server), ["ticket-1"; 3]);
}

#[tokio::test]
async fn a_lost_ticket_only_delays_the_job() {
    let queues = Queues::start(SECOND, &["a"]).await;
    let claims = AtomicUsize::new(0);
    let server = api(&Listed::of(&queues, &["a"]), move |ticket| {
        assert_eq!(ticket, None);
        if claims.fetch_add(1, Ordering::SeqCst) == 4 { granted("true") } else { Value::Null }
    })
    .await;
    let _worker = starts(worker(&queues, &server).args(["--recheck", "200ms"]));
    server.until("/complete", 1).await;
}

#[tokio::test]
async fn jobs_that_became_ready_before_there_was_a_queue_are_all_taken_without_waiting() {
    let queues = Queues::start(LONG_SECOND, &["a"]).await;
    let claims = AtomicUsize::new(0);
    let give = move |_: Option<&str>| match claims.fetch_add(1, Ordering::SeqCst) {
        0..5 => granted("true"),
        _ => Value::Null,
    };
    let server = api(&Listed::of(&queues, &["a"]), give).await;
    let _worker = starts(&mut worker(&queues, &server));
    server.until("/complete", 5).await;
}

#[tokio::test]
async fn an_idle_worker_asks_each_queue_three_times_a_minute_and_the_server_once_an_hour() {
    let queues = Queues::start(SECOND, &["a", "b"]).await;
    let server = api(&Listed::of(&queues, &["a", "b"]), |_| Value::Null).await;
    let _worker = starts(&mut worker(&queues, &server));
    // At the start, and when every function knows the queues.
    server.until("/claim", 2).await;
    for queue in ["a", "b"] {
        let before = queues.count(RECEIVE, queue);
        queues.until(RECEIVE, queue, before + 5).await;
        let calls: Vec<_> = queues.calls().into_iter().filter(|call| call.queue == queue).collect();
        assert!(calls.iter().all(|call| call.action == RECEIVE && call.input["WaitTimeSeconds"] == 20), "{calls:#?}");
        for pair in calls.windows(2) {
            let apart = pair[1].at - pair[0].at;
            assert!(apart >= 20 * SECOND, "the next came {apart:?} after one that was told to wait {:?}", 20 * SECOND);
        }
        let minutes = (calls[calls.len() - 1].at - calls[0].at).as_secs_f64() / (60 * SECOND).as_secs_f64();
        println!("queue {queue}: {} receives in {minutes:.2} minutes of its clock", calls.len() - 1);
    }
    assert_eq!(server.seen("/claim").len(), 2);
}

#[tokio::test]
async fn tickets_without_a_free_slot_are_released_at_once_and_no_more_are_asked_for() {
    let queues = Queues::start(LONG_SECOND, &["a", "b"]).await;
    let server = api(&Listed::of(&queues, &["a", "b"]), by_ticket("until [ -e go ]; do sleep 0.02; done")).await;
    let dir = tempfile::tempdir().expect("a directory");
    let _worker = starts(worker(&queues, &server).current_dir(&dir));
    queues.until(RECEIVE, "a", 1).await;
    queues.until(RECEIVE, "b", 1).await;
    queues.send(&[("a", "ticket"), ("b", "ticket")]);
    // The job's own, which comes after a third of its lease.
    server.until("/L1/heartbeat", 1).await;
    assert_eq!((tickets(&server).len(), queues.count(RECEIVE, "a") + queues.count(RECEIVE, "b")), (1, 2));
    let (taken, other) = if queues.count(DELETE, "a") == 1 { ("a", "b") } else { ("b", "a") };
    assert_eq!((queues.count(DELETE, taken), queues.count(DELETE, other)), (1, 0));
    assert_eq!((queues.count(RELEASE, taken), queues.count(RELEASE, other)), (0, 1));
    assert_eq!(queues.tickets(other), (vec!["ticket".to_owned()], vec![]));
    std::fs::write(dir.path().join("go"), "").expect("written");
    server.until("/complete", 2).await;
    queues.until(DELETE, other, 1).await;
    let calls = queues.calls();
    assert!(calls.iter().filter(|call| call.action == RECEIVE).all(|call| call.input["MaxNumberOfMessages"] == 1));

    let called: BTreeSet<String> = calls.iter().map(|call| format!("sqs:{}", call.action)).collect();
    assert_eq!(called, allowed(), "the policy in infra/template.yaml lets a worker do what it does, and no more");
}

/// The actions that the template's policy for workers allows.
fn allowed() -> BTreeSet<String> {
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/template.yaml");
    let template = std::fs::read_to_string(template).expect("the template");
    let (_, policy) = template.split_once("\n  SqsWorkerPolicy:\n").expect("the policy");
    let (_, actions) = policy.split_once("Action: [").expect("its actions");
    let (actions, _) = actions.split_once(']').expect("their end");
    actions.split(", ").map(str::to_owned).collect()
}

#[tokio::test]
async fn a_new_queue_is_polled_and_a_queue_that_is_no_longer_listed_is_not() {
    let queues = Queues::start(SECOND, &["a", "b"]).await;
    let listed = Listed::of(&queues, &["a"]);
    let server = api(&listed, by_ticket("true")).await;
    let _worker = starts(&mut worker(&queues, &server));
    server.until("/claim", 2).await;
    assert_eq!(queues.count(RECEIVE, "b"), 0);
    queues.send(&[("b", "ticket-b")]);
    listed.set(&queues, &["a", "b"]);
    server.until("/complete", 1).await;
    assert_eq!(tickets(&server), ["ticket-b"]);
    // A job that became ready before functions knew the queue has no ticket, so there are two claims: at once, and a little later.
    server.until("/claim", 5).await;

    listed.set(&queues, &["b"]);
    let heard = server.seen("/w1/heartbeat").len();
    server.until("/w1/heartbeat", heard + 3).await;
    let (a, b) = (queues.count(RECEIVE, "a"), queues.count(RECEIVE, "b"));
    queues.until(RECEIVE, "b", b + 3).await;
    assert_eq!(queues.count(RECEIVE, "a"), a);
    listed.set(&queues, &["a", "b"]);
    queues.until(RECEIVE, "a", a + 1).await;
}

#[tokio::test]
async fn a_deleted_queue_is_logged_once_and_polled_again_after_each_heartbeat() {
    let queues = Queues::start(LONG_SECOND, &["a", "b"]).await;
    let server = api(&Listed::of(&queues, &["a", "b"]), by_ticket("true")).await;
    let child = starts(&mut worker(&queues, &server));
    queues.until(RECEIVE, "a", 1).await;
    queues.delete("a");
    queues.until(RECEIVE, "a", 4).await;
    let heard = server.seen("/w1/heartbeat").len();
    assert!(queues.count(RECEIVE, "a") <= 1 + heard, "{heard} heartbeats and {:#?}", queues.calls());
    queues.send(&[("b", "ticket-b")]);
    server.until("/complete", 1).await;
    queues.create("a");
    queues.send(&[("a", "ticket-a")]);
    server.until("/complete", 2).await;
    assert_eq!(tickets(&server), ["ticket-b", "ticket-a"]);
    terminate(&child);
    let (status, stderr) = end(child).await;
    let warnings: Vec<_> = stderr.lines().filter(|line| line.contains("WARN")).collect();
    assert!(status.success() && warnings.len() == 1, "{stderr}");
    assert!(warnings[0].contains("the queue of pool [staging] can't be polled: the queue is gone"), "{stderr}");
}

#[tokio::test]
async fn where_there_are_no_queues_the_server_is_asked() {
    let queues = Queues::start(SECOND, &[]).await;
    let claims = AtomicUsize::new(0);
    let give = move |_: Option<&str>| {
        if claims.fetch_add(1, Ordering::SeqCst) == 4 { granted("true") } else { Value::Null }
    };
    let server = api(&Listed::of(&queues, &[]), give).await;
    let _worker = starts(worker(&queues, &server).args(["--recheck", "200ms"]));
    server.until("/complete", 1).await;
    assert!(queues.calls().is_empty());
}

#[tokio::test]
async fn a_worker_that_shuts_down_does_not_wait_for_a_queue() {
    let queues = Queues::start(LONG_SECOND, &["a"]).await;
    let server = api(&Listed::of(&queues, &["a"]), |_| Value::Null).await;
    let child = starts(&mut worker(&queues, &server));
    queues.until(RECEIVE, "a", 1).await;
    terminate(&child);
    let told = Instant::now();
    let (status, stderr) = end(child).await;
    assert!(status.success(), "{stderr}");
    assert!(told.elapsed() < LAST_WORDS, "it waited as long as it may");
    assert!(server.all().last().is_some_and(|request| request.method == "DELETE"), "it says deregister");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_releases_unused_messages() {
    let queues = Queues::start(LONG_SECOND, &["a"]).await;
    let (go, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let asked = Arc::new(Notify::new());
    let is_asked = Arc::clone(&asked);
    let server = api(&Listed::of(&queues, &["a"]), move |ticket| {
        if ticket.is_none() {
            return Value::Null;
        }
        is_asked.notify_one();
        tokio::task::block_in_place(|| gate.lock().expect("no panic").recv()).expect("told to go on");
        granted("true")
    })
    .await;
    let mut child = starts(worker(&queues, &server).args(["--concurrency", "3"]));
    queues.until(RECEIVE, "a", 1).await;
    queues.send(&[("a", "1"), ("a", "2"), ("a", "3")]);
    timeout(Duration::from_secs(30), asked.notified()).await.expect("a claim");
    terminate(&child);
    says(&mut child, "shutting down").await;
    go.send(()).expect("it waits");
    let (status, stderr) = end(child).await;
    assert!(status.success(), "{stderr}");
    assert_eq!((tickets(&server), server.seen("/complete").len()), (vec!["1".to_owned()], 1));
    assert_eq!(queues.tickets("a"), (vec!["2".to_owned(), "3".to_owned()], vec![]));
}

#[tokio::test]
async fn a_worker_for_one_job_takes_one_and_releases_the_rest() {
    let queues = Queues::start(LONG_SECOND, &["a"]).await;
    let server = api(&Listed::of(&queues, &["a"]), by_ticket("true")).await;
    let child = starts(worker(&queues, &server).args(["--once", "--concurrency", "3"]));
    queues.until(RECEIVE, "a", 1).await;
    queues.send(&[("a", "1"), ("a", "2")]);
    let (status, stderr) = end(child).await;
    assert!(status.success(), "{stderr}");
    assert_eq!((tickets(&server).len(), server.seen("/complete").len()), (1, 1));
    assert_eq!(queues.tickets("a"), (vec!["2".to_owned()], vec![]));
}

#[tokio::test]
async fn an_idle_worker_claims_once_more_before_it_ends() {
    let queues = Queues::start(LONG_SECOND, &["a"]).await;
    let ends = [["--idle-exit", "16s"], ["--drain", "--once"]].map(async |arguments| {
        let claims = AtomicUsize::new(0);
        // Ready after the claims with which a worker begins, and without a ticket.
        let give = move |_: Option<&str>| match claims.fetch_add(1, Ordering::SeqCst) {
            2 => granted("true"),
            _ => Value::Null,
        };
        let server = api(&Listed::of(&queues, &["a"]), give).await;
        let (status, stderr) = end(starts(worker(&queues, &server).args(arguments))).await;
        assert!(status.success() && server.seen("/complete").len() == 1, "{arguments:?}: {stderr}");
    });
    let [idle, drained] = ends;
    tokio::join!(idle, drained);
}

#[tokio::test]
async fn without_a_region_the_error_names_the_variable() {
    let queues = Queues::start(SECOND, &[]).await;
    let server = api(&Listed::of(&queues, &[]), |_| Value::Null).await;
    for empty in [false, true] {
        let mut command = worker(&queues, &server);
        command.env_remove("AWS_REGION").env_remove("AWS_DEFAULT_REGION").env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        command.envs(empty.then_some(("AWS_REGION", "")));
        let (status, stderr) = end(starts(&mut command)).await;
        assert!(status.code() == Some(2) && stderr.contains("AWS_REGION"), "{stderr}");
    }
}
