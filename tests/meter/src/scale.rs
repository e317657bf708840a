//! The rate at which `DynamoDB` throttles a partition key, for each kind of growth.
//!
//! Twice: by division, from the units that one run, job, look, poll or pool uses of each key; and by a load that grows until the
//! [model](crate::limits) of the limits refuses a call. The model sees how uneven a load is: of 16 keys that share it, one is used up first.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use cost::{Call, Usage};
use harness::HeldLease;
use tokio::time::{sleep, sleep_until};

use crate::driver::{Driver, LEASE};
use crate::graphs::Graph;
use crate::limits::{self, KEY_READS, KEY_WRITES, Limits, Refusal};
use crate::singles::{POOLS_KNOWN, make_pools, running};

/// Jobs of the run whose jobs are counted.
const WIDTH: usize = 100;
/// Seconds between two claims of an idle worker.
const POLL_EVERY: f64 = 2.0;
/// A process reads the list of pools once in this time, in seconds.
const POOLS_EVERY: f64 = 1.0;
/// Processes of one function that read the list of pools.
const PROCESSES: u32 = 100;

/// The keys over which a list is spread.
const SPREAD: f64 = 16.0;
/// Seconds of the model's clock for which a load grows at most.
const SECONDS: u32 = 40;

/// Units by key, of one of what grows.
type Units = BTreeMap<String, Usage>;

/// A kind of growth.
struct Growth {
    what: &'static str,
    /// Units by key, of one of what grows.
    units: Units,
    modelled: Modelled,
}

/// How much of what grows used something up in the model.
#[derive(Default)]
struct Modelled {
    /// A key, which the model refused.
    key: Option<(f64, Refusal)>,
    /// A new table.
    table: Option<(f64, limits::Units)>,
}

impl Modelled {
    fn scaled(self, by: f64) -> Self {
        let Self { key, table } = self;
        Self { key: key.map(|(at, what)| (at * by, what)), table: table.map(|(at, what)| (at * by, what)) }
    }
}

/// A limit that is reached.
struct Limit {
    /// How much of what grows reaches it.
    at: f64,
    key: String,
    units: &'static str,
}

/// Measures and prints the limits.
pub async fn table(driver: &mut Driver) -> String {
    let mut text = String::from(
        "| what grows | throttled at, by division | first key | refused by the model at | used up key | a new table is used up at |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for growth in growths(driver).await {
        let first = limits(&growth.units).into_iter().min_by(|one, other| one.at.total_cmp(&other.at));
        let divided =
            first.map_or("- | -".to_owned(), |limit| format!("{} | `{}`, {}", rate(limit.at), limit.key, limit.units));
        let Modelled { key, table } = growth.modelled;
        let key = key.map_or("- | -".to_owned(), |(at, refusal)| format!("{} | {}", rate(at), used_up(&refusal)));
        let table = table.map_or("-".to_owned(), |(at, units)| format!("{}, {}", rate(at), units.name()));
        let _ = writeln!(text, "| {} | {divided} | {key} | {table} |", growth.what);
    }
    text
}

async fn growths(driver: &mut Driver) -> Vec<Growth> {
    // The first run starts the processes and fills their caches.
    Graph::Single.run(driver).await;
    let _ = driver.proxy.take_keys();
    Graph::Single.run(driver).await;
    let runs = names(driver.proxy.take_keys(), |key| !is_of_a_run(key));
    Graph::FanOut(WIDTH).run(driver).await;
    let each = 1.0 / u32::try_from(WIDTH + 1).map_or(f64::MAX, f64::from);
    let jobs = scaled(names(driver.proxy.take_keys(), |_| true), each);
    // Seconds between two looks of a timer, while the workers have the recommended lease.
    let look_every = f64::from(LEASE) * 5.0 / 6.0;
    let looks = scaled(look(driver).await, 1.0 / look_every);
    let (claim, list) = polls(driver).await;
    let polls = scaled(claim.clone(), 1.0 / POLL_EVERY);
    let growth = |what, units, modelled| Growth { what, units, modelled };
    let of_runs = grow_runs(driver).await;
    let of_jobs = grow_jobs(driver).await;
    let of_workers = grow_polls(driver).await.scaled(POLL_EVERY);
    let of_pools = grow_pools(driver).await;
    let of_looks = replay(&scaled(looks.clone(), look_every)).scaled(look_every);
    vec![
        growth("runs of one job, a second", runs, of_runs),
        growth("jobs of one run, a second", jobs, of_jobs),
        growth("open runs with running jobs", looks, of_looks),
        growth("workers that poll over HTTP", polls, of_workers),
        growth("pools, with 100 processes that list them", scaled(list, f64::from(PROCESSES) / POOLS_EVERY), of_pools),
    ]
}

/// Raises a load until the model refuses a call: in each second of its clock `more` calls of `one` more than in the one before, each of which
/// stands for `weight`. Returns the rate of the second in which it did.
async fn grow(driver: &mut Driver, weight: u32, more: u32, mut one: impl AsyncFnMut(&mut Driver)) -> Modelled {
    driver.proxy.limit(Some(Limits::new(f64::from(weight))));
    let mut found = Modelled::default();
    'load: for second in 1..=SECONDS {
        let rate = f64::from(second * more * weight);
        for _ in 0..second * more {
            one(driver).await;
            let (refusal, table) = driver.proxy.used_up();
            found.table = found.table.or(table.map(|units| (rate, units)));
            found.key = refusal.map(|refusal| (rate, refusal));
            if found.key.is_some() {
                break 'load;
            }
        }
        driver.proxy.tick();
    }
    driver.proxy.limit(None);
    found
}

/// Runs of one job.
async fn grow_runs(driver: &mut Driver) -> Modelled {
    grow(driver, 50, 2, async |driver| drop(Graph::Single.run(driver).await)).await
}

/// Jobs of one run, in its first partition, one after the other.
async fn grow_jobs(driver: &mut Driver) -> Modelled {
    const JOBS: usize = 200;
    driver.begin();
    let mut definition = String::from("jobs:\n  job-0: {run: 'true', labels: {label}}\n");
    for job in 1..JOBS {
        let _ = writeln!(definition, "  job-{job}: {{run: 'true', labels: {{label}}, needs: job-{}}}", job - 1);
    }
    let run = driver.submit(&definition).await;
    driver.settle(1).await;
    let worker = driver.worker();
    let found = grow(driver, 25, 2, async |driver| {
        let held: HeldLease = driver.claim(&worker).await;
        driver.complete(&held, &[]).await;
        driver.settle(1).await;
    })
    .await;
    run.cancel().await;
    driver.settle(1).await;
    driver.forget_timers();
    found
}

/// Claims that find nothing.
async fn grow_polls(driver: &mut Driver) -> Modelled {
    let worker = driver.worker();
    grow(driver, 200, 4, async |driver| driver.claim_nothing(&worker).await).await
}

/// Pools, in steps of 100. After each step function `claim` lists them once. The model then serves this list for each process, in one second.
async fn grow_pools(driver: &mut Driver) -> Modelled {
    const MORE: usize = 100;
    let worker = driver.worker();
    let mut limits = Limits::new(1.0);
    let mut found = Modelled::default();
    let mut pools = 0;
    for _ in 0..SECONDS {
        make_pools(driver, pools..pools + MORE).await;
        pools += MORE;
        sleep(POOLS_KNOWN).await;
        let _ = driver.proxy.take_keys();
        driver.claim_nothing(&worker).await;
        let list = driver.proxy.take_keys().into_iter().filter(|(key, _)| key.starts_with("POOL"));
        let list: Vec<(String, Usage)> = list.collect();
        let rate = u32::try_from(pools).map_or(f64::MAX, f64::from);
        for _ in 0..PROCESSES {
            if !limits.admits(limits::Units::Reads, list.iter().map(|(key, _)| key.as_str())) {
                found.key = limits.refusal().map(|refusal| (rate, refusal.clone()));
                return found;
            }
            for (key, usage) in &list {
                limits.use_up(key, *usage);
            }
            found.table = found.table.or(limits.table_used_up().map(|units| (rate, units)));
        }
        limits.tick();
    }
    found
}

/// A load of the measured units, without the functions: each call uses one of the 16 keys of a spread list, drawn at random.
fn replay(units: &Units) -> Modelled {
    let mut limits = Limits::new(1.0);
    let mut random = fastrand::Rng::with_seed(1);
    for calls in (100_u32..).step_by(100).take(1000) {
        for _ in 0..calls {
            let drawn = random.u8(0..16);
            for (key, usage) in units {
                let is_spread = key.ends_with("#<n>");
                let key = if is_spread { key.replace("<n>", &format!("{drawn:x}")) } else { key.clone() };
                let usage = if is_spread { *usage * SPREAD } else { *usage };
                if !limits.admits(limits::Units::Writes, [key.as_str()])
                    || !limits.admits(limits::Units::Reads, [key.as_str()])
                {
                    let key = limits.refusal().map(|refusal| (f64::from(calls), refusal.clone()));
                    return Modelled { key, table: None };
                }
                limits.use_up(&key, usage);
            }
        }
        limits.tick();
    }
    Modelled::default()
}

/// What is used up, under a name that is the same in every measurement.
fn used_up(refusal: &Refusal) -> String {
    let key = names(Units::from([(refusal.key.clone(), Usage::default())]), |_| true).into_keys().next();
    format!("`{}`, {}", key.unwrap_or_default(), refusal.units.name())
}

/// The units of one look at an open run.
async fn look(driver: &mut Driver) -> Units {
    const SHORT_LEASE: u32 = 4;
    let (held, due) = running(driver, SHORT_LEASE).await;
    sleep_until(due - Duration::from_secs(SHORT_LEASE.into()) / 2).await;
    driver.heartbeat(&held).await;
    sleep_until(due).await;
    let _ = driver.proxy.take_keys();
    driver.fire_timers(Call::Look).await;
    let units = names(driver.proxy.take_keys(), |key| !is_of_a_run(key) && !is_read_now_and_then(key));
    driver.complete(&held, &[]).await;
    driver.settle(1).await;
    units
}

/// The units of a claim that finds nothing, without the list of pools, and those of the list for each of its pools.
async fn polls(driver: &mut Driver) -> (Units, Units) {
    const POOLS: usize = 20;
    make_pools(driver, 0..POOLS).await;
    let worker = driver.worker();
    driver.claim_nothing(&worker).await;
    sleep(POOLS_KNOWN).await;
    let _ = driver.proxy.take_keys();
    driver.claim_nothing(&worker).await;
    let all = names(driver.proxy.take_keys(), |key| !is_read_now_and_then(key));
    let (list, claim): (Units, Units) = all.into_iter().partition(|(key, _)| key.starts_with("POOL"));
    let each = 1.0 / u32::try_from(POOLS + 1).map_or(f64::MAX, f64::from);
    (claim, scaled(list, each))
}

/// True for a key that a process uses once in half a minute or less often, however many calls it serves. Whether a single call uses it is chance.
fn is_read_now_and_then(key: &str) -> bool {
    ["SCHEMA", "TOKEN", "WORKER#"].iter().any(|kind| key.strip_prefix("index ").unwrap_or(key).starts_with(kind))
}

/// True for a key that only one run has.
fn is_of_a_run(key: &str) -> bool {
    ["R#", "WF#", "IDEM#"].iter().any(|prefix| key.starts_with(prefix)) || key.len() > 32 && !key.starts_with("index ")
}

/// The keys under names that are the same in every measurement. Keys with a number at the end, as those of `OPEN#7`, are spread evenly
/// over 16.
fn names(keys: Units, stays: impl Fn(&str) -> bool) -> Units {
    let mut named = Units::new();
    for (key, usage) in keys.into_iter().filter(|(key, _)| stays(key)) {
        let bare = key.strip_prefix("index ").unwrap_or(&key);
        let parts: Vec<&str> = bare.split('#').collect();
        let index = if bare.len() < key.len() { "index " } else { "" };
        let (name, share) = match parts[..] {
            ["R", _] => ("R#<run>".to_owned(), 1.0),
            ["R", _, part] => (format!("R#<run>#{part}"), 1.0),
            ["READY", ..] => ("READY#<pool>#<part>".to_owned(), 1.0),
            [kind @ ("OPEN" | "WORKER" | "AUDIT"), _] => (format!("{kind}#<n>"), 1.0 / SPREAD),
            [kind, ..] => (kind.to_owned(), 1.0),
            [] => continue,
        };
        *named.entry(format!("{index}{name}")).or_default() += usage * share;
    }
    named
}

fn scaled(units: Units, by: f64) -> Units {
    units.into_iter().map(|(key, usage)| (key, usage * by)).collect()
}

fn limits(units: &Units) -> Vec<Limit> {
    let limits = units.iter().flat_map(|(key, usage)| {
        let of = |each: f64, limit: f64, units| Limit { at: limit / each, key: key.clone(), units };
        [of(usage.write_units, KEY_WRITES, "writes"), of(usage.read_units, KEY_READS, "reads")]
    });
    limits.filter(|limit| limit.at.is_finite()).collect()
}

fn rate(at: f64) -> String {
    if at.is_finite() { format!("{at:.0}") } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(write_units: f64, read_units: f64) -> Usage {
        Usage { write_units, read_units, ..Usage::default() }
    }

    #[test]
    fn the_key_with_the_fewest_of_what_grows_is_throttled_first() {
        let keys = Units::from([
            ("index OPEN".to_owned(), units(4.0, 0.0)),
            ("AUDIT".to_owned(), units(1.0, 0.0)),
            ("R#00".to_owned(), units(1.0, 4.0)),
        ]);
        let limits = limits(&names(keys, |_| true));
        let first = limits.iter().min_by(|one, other| one.at.total_cmp(&other.at)).expect("a limit");
        assert_eq!((first.key.as_str(), first.units, rate(first.at).as_str()), ("index OPEN", "writes", "250"));
        let run = limits.iter().find(|limit| limit.key == "R#<run>" && limit.units == "reads").expect("a limit");
        assert_eq!(rate(run.at), "750");
    }

    #[test]
    fn replayed_load_is_refused_below_the_average_of_its_sixteen_keys() {
        let (at, refusal) =
            replay(&Units::from([("index OPEN#<n>".to_owned(), units(0.25, 0.0))])).key.expect("refused");
        assert!((2000.0..4000.0).contains(&at), "{at}");
        assert_eq!(used_up(&refusal), "`index OPEN#<n>`, writes");
    }

    #[test]
    fn a_key_that_is_spread_takes_sixteen_times_as_much() {
        let keys =
            Units::from([("index OPEN#3".to_owned(), units(4.0, 0.0)), ("index OPEN#9".to_owned(), units(4.0, 0.0))]);
        assert_eq!(names(keys, |_| true), Units::from([("index OPEN#<n>".to_owned(), units(0.5, 0.0))]));
    }
}
