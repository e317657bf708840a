//! What was answered is there after `kill -9`, at whatever moment, and nobody else can open the file before.
//!
//! The process that is killed is this very test, started again with [`CHILD`] set.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use engine::ids::{JobKey, RunKey};
use engine::job::{Change, JobRecord, JobUpdate, Phase, Precondition};
use engine::ports::{Consistency, JobStore, NewItem, RunStore};
use protocol::{JobId, Millis};
use sqlite::{OpenError, Sqlite};

/// The file to write to, and the first of the places to write at.
const CHILD: &str = "WFG_TEST_KILLED_CHILD";
const KILLS: u32 = 10;
const WRITERS: u32 = 16;

fn run() -> RunKey {
    RunKey::new([5; 16])
}

fn job(place: u32) -> JobRecord {
    let id = JobId::new(format!("job-{place}")).expect("an id");
    JobRecord::first(JobKey::new(&run(), place), id, Phase::Waiting { on: [1].into() })
}

fn ready(place: u32) -> JobUpdate {
    let at = Millis(place.into());
    JobUpdate { expect: Precondition::Waiting, change: Change::BecomeReady { pool: job(place).pool, at, until: None } }
}

/// Writes until it is killed, many at once, and says of each place what was answered: `p` for put, `u` for updated.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn child() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let (path, first) = given.split_once('|').expect("a path and a place");
    let first: u32 = first.parse().expect("a place");
    let store = Arc::new(Sqlite::open(path).expect("nobody else has it"));
    let writers = (0..WRITERS).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for place in (first + writer..).step_by(WRITERS as usize) {
                let told = |what: char| {
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "\n{what} {place}").and_then(|()| out.flush()).expect("somebody listens");
                };
                store.put_new(vec![NewItem::Job(Box::new(job(place)))]).await.expect("written");
                told('p');
                store.update(&JobKey::new(&run(), place), ready(place)).await.expect("written");
                told('u');
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("it doesn't end");
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, hard_link) = (folder.path().join("wfg.db"), folder.path().join("hard.db"));
    let mut all = 0;
    for kill in 0..KILLS {
        let first = kill * 100_000;
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, format!("{}|{first}", path.display()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut answered = Vec::new();
        let mut hear = |line: String| {
            if let Some((what @ ("p" | "u"), place)) = line.split_once(' ')
                && let Ok(place) = place.parse::<u32>()
            {
                answered.push((what.to_owned(), place));
            }
            answered.len()
        };
        while hear(lines.next().expect("it writes").expect("text")) < 20 {}
        if kill == 0 {
            std::fs::hard_link(&path, &hard_link).expect("a link");
        }
        for name in [&path, &hard_link] {
            let error = Sqlite::open(name).err().expect("another process has it");
            assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        }
        tokio::time::sleep(Duration::from_millis(u64::from(20 + kill * 37))).await;
        child.kill().expect("SIGKILL");
        child.wait().expect("it is gone");
        for line in lines.map_while(Result::ok) {
            hear(line);
        }

        let store = Sqlite::open(&path).expect("it is free again");
        for (what, place) in &answered {
            let now = store.job(&JobKey::new(&run(), *place), Consistency::Strong).await.expect("read");
            let updated = ready(*place).apply(&job(*place));
            let right = now == updated || (what == "p" && now == Some(job(*place)));
            assert!(right, "kill {kill}: {what} {place} was answered, and is {now:?}");
        }
        all += answered.len();
    }
    println!("{all} answered writes were there after {KILLS} kills");
    let db = rusqlite::Connection::open(&path).expect("a file of SQLite");
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
    assert_eq!(check, "ok");
}
