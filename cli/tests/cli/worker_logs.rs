//! What a job writes arrives, whatever it writes; with the worker as a process of its own.

use std::fmt::Write;

use crate::common::World;
use crate::common::process::{WorkerProcess, lives, until, until_written};

struct Ran {
    world: World,
    id: String,
    status: String,
    _worker: WorkerProcess,
}

impl Ran {
    /// Runs a workflow with this one job to its end.
    async fn job(run: &str) -> Self {
        let world = World::new().await;
        world.write("one.yml", &format!("jobs:\n  a:\n    run: |\n      {}\n", run.replace('\n', "\n      ")));
        let worker = WorkerProcess::start(&world, "w1", &[]);
        let id = world.submit("one.yml").await;
        world.ended(&id).await;
        let status = world.good(&["status", &id]).await;
        Self { world, id, status, _worker: worker }
    }

    async fn log(&self) -> String {
        self.world.good(&["logs", &self.id, "a"]).await
    }

    fn succeeded(&self) {
        assert!(self.status.contains("success"), "{}", self.status);
    }
}

#[tokio::test]
async fn three_megabytes_in_one_line_arrive_as_one_line() {
    let ran = Ran::job("head -c 3000000 /dev/zero | tr '\\0' x").await;
    ran.succeeded();
    assert!(ran.log().await == "x".repeat(3_000_000) + "\n");
}

#[tokio::test]
async fn two_hundred_thousand_lines_arrive_in_order() {
    let ran = Ran::job("seq -f 'line %.0f' 1 200000").await;
    ran.succeeded();
    let expected = (1..=200_000).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "line {n}");
        text
    });
    assert!(ran.log().await == expected);
}

#[tokio::test]
async fn a_job_that_writes_only_to_stderr_has_a_log() {
    let ran = Ran::job("echo one >&2; echo two >&2").await;
    ran.succeeded();
    assert_eq!(ran.log().await, "one\ntwo\n");
}

#[tokio::test]
async fn a_job_that_closes_its_stdout_is_waited_for_and_what_it_writes_to_stderr_arrives() {
    let ran = Ran::job("exec >&-\nsleep 0.3\necho still here >&2\nexit 4").await;
    assert!(ran.status.contains("failure") && ran.status.contains("exit code 4"), "{}", ran.status);
    assert_eq!(ran.log().await, "still here\n");
}

#[tokio::test]
async fn what_is_not_utf_8_is_replaced_and_the_rest_arrives() {
    let ran = Ran::job("printf 'a\\377b\\n\\303(\\nend\\n'").await;
    ran.succeeded();
    assert_eq!(ran.log().await, "a\u{fffd}b\n\u{fffd}(\nend\n");
}

#[tokio::test]
async fn a_background_child_that_holds_the_output_is_ended_and_the_job_succeeds() {
    let ran = Ran::job("(echo x > up; sleep 0.2; echo late) &\nsleep 600 & echo $! > pid\nuntil [ -e up ]; do sleep 0.01; done; echo done").await;
    ran.succeeded();
    let log = ran.log().await;
    assert!(log.starts_with("done\nlate\n") && log.contains("left processes running"), "{log}");
    let pid = until_written(&ran.world.path("pid")).await;
    until("the child is gone", || !lives(&pid)).await;
}
