//! The rate at which `DynamoDB` throttles a partition key, for each kind of growth.
//!
//! The units that one run, job, look, poll or pool uses of each key are measured. A key serves 1,000 write units and 3,000 read units a
//! second, and so does a key of the index, whose throttling holds back the table's writes. So the rate follows by division.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use cost::{Call, Usage};
use tokio::time::{sleep, sleep_until};

use crate::driver::Driver;
use crate::graphs::Graph;
use crate::singles::{POOLS_KNOWN, many_pools, running};

/// Write units a second of one partition key.
const KEY_WRITES: f64 = 1000.0;
/// Read units a second of one partition key.
const KEY_READS: f64 = 3000.0;
/// Write units a second of a new table.
const TABLE_WRITES: f64 = 4000.0;
/// Read units a second of a new table.
const TABLE_READS: f64 = 12_000.0;
/// Jobs of the run whose jobs are counted.
const WIDTH: usize = 100;
/// Seconds between two looks of a timer, while the workers have the default lease.
const LOOK_EVERY: f64 = 25.0;
/// Seconds between two claims of an idle worker.
const POLL_EVERY: f64 = 2.0;
/// A process reads the list of pools once in this time, in seconds.
const POOLS_EVERY: f64 = 1.0;
/// Processes of one function that read the list of pools.
const PROCESSES: f64 = 100.0;

/// Units by key, of one of what grows.
type Units = BTreeMap<String, Usage>;

/// A kind of growth.
struct Growth {
    what: &'static str,
    units: Units,
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
    let mut text =
        String::from("| what grows | throttled at | first key | a new table at |\n| --- | --- | --- | --- |\n");
    for growth in growths(driver).await {
        let keys = limits(&growth.units);
        let first = keys.into_iter().min_by(|one, other| one.at.total_cmp(&other.at));
        let table = of_table(&growth.units);
        let key = first.map_or(("-".to_owned(), "-".to_owned()), |limit| {
            (rate(limit.at), format!("`{}`, {}", limit.key, limit.units))
        });
        let _ = writeln!(text, "| {} | {} | {} | {}, {} |", growth.what, key.0, key.1, rate(table.at), table.units);
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
    let looks = scaled(look(driver).await, 1.0 / LOOK_EVERY);
    let (claim, list) = polls(driver).await;
    vec![
        Growth { what: "runs of one job, a second", units: runs },
        Growth { what: "jobs of one run, a second", units: jobs },
        Growth { what: "open runs with running jobs", units: looks },
        Growth { what: "workers that poll over HTTP", units: scaled(claim, 1.0 / POLL_EVERY) },
        Growth { what: "pools, with 100 processes that list them", units: scaled(list, PROCESSES / POOLS_EVERY) },
    ]
}

/// The units of one look at an open run.
async fn look(driver: &mut Driver) -> Units {
    const LEASE: u32 = 4;
    let (held, due) = running(driver, LEASE).await;
    sleep_until(due - Duration::from_secs(LEASE.into()) / 2).await;
    driver.heartbeat(&held).await;
    sleep_until(due).await;
    let _ = driver.proxy.take_keys();
    driver.fire_timers(Call::Look).await;
    let units = names(driver.proxy.take_keys(), |key| !is_of_a_run(key));
    driver.complete(&held, &[]).await;
    driver.settle(1).await;
    units
}

/// The units of a claim that finds nothing, without the list of pools, and those of the list for each of its pools.
async fn polls(driver: &mut Driver) -> (Units, Units) {
    const POOLS: usize = 20;
    many_pools(driver, POOLS).await;
    let worker = driver.worker();
    driver.claim_nothing(&worker).await;
    sleep(POOLS_KNOWN).await;
    let _ = driver.proxy.take_keys();
    driver.claim_nothing(&worker).await;
    let all = names(driver.proxy.take_keys(), |_| true);
    let (list, claim): (Units, Units) = all.into_iter().partition(|(key, _)| key.starts_with("POOL"));
    let each = 1.0 / u32::try_from(POOLS + 1).map_or(f64::MAX, f64::from);
    (claim, scaled(list, each))
}

/// True for a key that only one run has.
fn is_of_a_run(key: &str) -> bool {
    ["R#", "WF#", "IDEM#"].iter().any(|prefix| key.starts_with(prefix)) || key.len() > 32 && !key.starts_with("index ")
}

/// The keys under names that are the same in every measurement. Keys with a number at the end, as those of `OPEN#7`, are spread evenly
/// over 16.
fn names(keys: Units, stays: impl Fn(&str) -> bool) -> Units {
    const SPREAD: f64 = 16.0;
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

fn of_table(units: &Units) -> Limit {
    let sum: Usage = units.values().copied().sum();
    let (writes, reads) = (TABLE_WRITES / sum.write_units, TABLE_READS / sum.read_units);
    let key = String::new();
    if writes < reads { Limit { at: writes, key, units: "writes" } } else { Limit { at: reads, key, units: "reads" } }
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
    fn a_key_that_is_spread_takes_sixteen_times_as_much() {
        let keys =
            Units::from([("index OPEN#3".to_owned(), units(4.0, 0.0)), ("index OPEN#9".to_owned(), units(4.0, 0.0))]);
        assert_eq!(names(keys, |_| true), Units::from([("index OPEN#<n>".to_owned(), units(0.5, 0.0))]));
    }
}
