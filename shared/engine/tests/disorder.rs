//! Random graphs under a feed and queues that lose, repeat, delay and reorder, with workers that fail, fall silent and
//! wake up late: the promises hold, and every run ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use common::{Dice, World};
use engine::notice::Notice;
use engine::ports::Local as _;
use engine::ports::{Surroundings, Walk};
use protocol::wire::{Claimed, Job, Lease};
use protocol::{Millis, Status, limits};

mod common;

const SEEDS: u64 = 300;

/// `WFG_SEEDS` makes it more, for a soak.
fn seeds() -> u64 {
    std::env::var("WFG_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("WFG_SEEDS is a number"))
}

/// What waits to be told or done.
enum Message {
    Notice(Box<Notice>),
    Walk(Walk),
}

/// What the outside knows of a run.
#[derive(Default)]
struct Outside {
    /// Every lease ever given, also to workers that have fallen silent since, and until when it runs.
    leases: Vec<(Claimed, Millis)>,
    /// Jobs whose completion was accepted, with how often.
    completed: BTreeMap<String, usize>,
    cancelled: bool,
}

fn random_graph(dice: &mut Dice) -> String {
    let jobs = 1 + dice.below(14);
    let mut text = String::from("jobs:\n");
    for n in 0..jobs {
        let needs: Vec<String> = (0..n).filter(|_| dice.one_in(3)).map(|need| format!("j{need}")).collect();
        let _ = writeln!(text, "  j{n}: {{run: x, retries: {}, needs: [{}]}}", dice.below(3), needs.join(", "));
    }
    text
}

/// Tells or does some of what waits: late, in any order, twice, or never.
async fn deliver(world: &World, waiting: &mut Vec<Message>, dice: &mut Dice, losing: bool) {
    waiting.extend(world.notices().into_iter().map(|notice| Message::Notice(Box::new(notice))));
    waiting.extend(std::iter::from_fn(|| world.engine.ports().next_walk()).map(Message::Walk));
    for _ in 0..dice.below(4) {
        if waiting.is_empty() {
            return;
        }
        let at = dice.below(waiting.len());
        if losing && dice.one_in(6) {
            waiting.swap_remove(at);
            continue;
        }
        match &waiting[at] {
            Message::Notice(notice) => world.engine.on_notice(notice).await.expect("memory answers"),
            Message::Walk(walk) => world.engine.walk_step(walk.clone()).await.expect("memory answers"),
        }
        if !dice.one_in(4) {
            waiting.swap_remove(at);
        }
    }
}

async fn claim(world: &World, outside: &mut Outside, seed: u64) {
    let Some(claimed) = world.claim("w").await else { return };
    let now = world.now().await;
    let of = |id: &str| now.jobs.iter().find(|job| job.id.as_str() == id).expect("a job of the graph");
    let job = of(claimed.job.job_id.as_str());
    assert!(!outside.cancelled, "seed {seed}: {} started after the cancel", job.id);
    assert!(
        job.depends_on.iter().all(|need| of(need.as_str()).status == Status::Success),
        "seed {seed}: {} started before its needs",
        job.id
    );
    assert!(claimed.job.upstream_outputs.keys().eq(job.depends_on.iter().collect::<BTreeSet<_>>()), "seed {seed}");
    let until = end_of(&claimed.lease);
    outside.leases.push((claimed, until));
}

fn end_of(lease: &Lease) -> Millis {
    lease.granted_at_ms + Duration::from_secs(lease.ttl_secs.into())
}

/// Some lease's holder, maybe one that should have given up long ago, reports.
async fn report(world: &World, outside: &mut Outside, dice: &mut Dice, seed: u64) {
    if outside.leases.is_empty() {
        return;
    }
    let at = dice.below(outside.leases.len());
    let (claimed, until) = &outside.leases[at];
    let id = claimed.job.job_id.to_string();
    let before = world.now().await;
    let job = before.jobs.iter().find(|job| job.id == claimed.job.job_id).expect("a job of the graph");
    let running = job.status == Status::Running && job.attempt == claimed.job.attempt;
    let counts = running && *until > world.engine.ports().now() && !outside.cancelled;
    let say = format!("seed {seed}: {id}, attempt {}, counts: {counts}", claimed.job.attempt);
    match dice.below(4) {
        0 => {
            let told = world.engine.heartbeat(&claimed.lease.lease_id.0).await;
            assert_eq!(told.as_ref().is_ok_and(|told| !told.cancelled), counts, "{say}: {told:?}");
            if let (true, Ok(told)) = (counts, told) {
                outside.leases[at].1 = end_of(&told.lease);
            }
        }
        1 => {
            let accepted = world.fail(claimed, dice.one_in(2)).await.is_ok();
            assert!(accepted || !counts, "{say}");
        }
        _ => {
            // What doesn't count may still be the repeat of what did.
            let accepted = world.complete(claimed).await.is_ok();
            assert!(accepted || !counts, "{say}");
            let repeat = job.status == Status::Success && job.attempt == claimed.job.attempt;
            assert!(!accepted || counts || repeat, "{say}");
            if accepted && counts {
                *outside.completed.entry(id).or_default() += 1;
            }
        }
    }
}

fn expected(job: &Job, jobs: &BTreeMap<&str, &Job>) -> bool {
    let poisoned =
        job.depends_on.iter().any(|need| matches!(jobs[need.as_str()].status, Status::Failure | Status::Skipped));
    match job.status {
        Status::Skipped => poisoned,
        Status::Success | Status::Failure => !poisoned,
        Status::Cancelled => true,
        Status::Queued | Status::Running => false,
    }
}

async fn one_seed(seed: u64) {
    let mut dice = Dice(seed);
    let yaml = random_graph(&mut dice);
    let world = World::started(&yaml).await;
    let mut outside = Outside::default();
    let mut waiting = Vec::new();
    let will_cancel = dice.one_in(4);
    for step in 0..3000 {
        // At last the feed loses nothing more; repeats and disorder go on.
        deliver(&world, &mut waiting, &mut dice, step < 2000).await;
        match dice.below(8) {
            0..3 => claim(&world, &mut outside, seed).await,
            3..6 => report(&world, &mut outside, &mut dice, seed).await,
            6 => world.engine.ports().pass(Duration::from_secs(dice.below(40) as u64)),
            _ => drop(world.engine.run_timers().await.expect("memory answers")),
        }
        if will_cancel && step > 5 && dice.one_in(30) {
            world.engine.cancel(&world.id).await.expect("memory answers");
            outside.cancelled |= !world.status().await.is_final() || outside.cancelled;
        }
        if world.status().await.is_final() {
            break;
        }
    }
    let ended = world.now().await;
    assert!(ended.status.is_final(), "seed {seed}: it never ended: {ended:#?}");

    // What is still under way, and every holder's last word, changes nothing.
    for (claimed, _) in &outside.leases {
        let heartbeat = world.engine.heartbeat(&claimed.lease.lease_id.0).await;
        assert!(
            heartbeat.is_err() || heartbeat.is_ok_and(|told| told.cancelled),
            "seed {seed}: a lease outlived its run"
        );
        drop(world.complete(claimed).await);
    }
    for _ in 0..50 {
        deliver(&world, &mut waiting, &mut dice, false).await;
    }
    world.engine.ports().pass(limits::WORKER_SILENCE);
    world.engine.run_timers().await.expect("memory answers");
    assert_eq!(world.claim("w").await, None, "seed {seed}");
    assert_eq!(world.now().await, ended, "seed {seed}: final is not final");

    let jobs: BTreeMap<&str, &Job> = ended.jobs.iter().map(|job| (job.id.as_str(), job)).collect();
    for job in &ended.jobs {
        let id = job.id.as_str();
        assert!(expected(job, &jobs), "seed {seed}: {id} ended as {}", job.status);
        let completions = outside.completed.get(id).copied().unwrap_or_default();
        assert_eq!(completions, usize::from(job.status == Status::Success), "seed {seed}: {id} is {}", job.status);
        assert!(job.status != Status::Cancelled || outside.cancelled, "seed {seed}: {id} was cancelled by nobody");
    }
    let any = |status| ended.jobs.iter().any(|job| job.status == status);
    let status = match (any(Status::Failure), any(Status::Cancelled)) {
        (true, _) => Status::Failure,
        (false, true) => Status::Cancelled,
        (false, false) => Status::Success,
    };
    assert_eq!(ended.status, status, "seed {seed}");
}

#[tokio::test]
async fn whatever_is_lost_repeated_delayed_or_reordered_the_promises_hold_and_the_run_ends() {
    for seed in 0..seeds() {
        one_seed(seed).await;
    }
}
