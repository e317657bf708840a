//! Partition keys, sort keys and index keys of every record.

use engine::ids::{self, GroupKey, JobIndex, JobKey, PoolId, RunKey, Unit};
use engine::ports::{AuditCursor, Place};
use protocol::{Millis, TokenName, WorkerId, WorkflowId};

/// A partition key and a sort key.
pub(crate) type Key = (String, String);

/// The number of jobs in one partition.
pub(crate) const PARTITION: JobIndex = 256;
/// The partition of all pools.
pub(crate) const POOLS: &str = "POOL";
/// The partition of all tokens.
pub(crate) const TOKENS: &str = "TOKEN";
/// Over how many partitions a list is spread to which every run, worker or request writes: one for each hexadecimal digit.
pub(crate) const SPREAD: usize = 16;
/// The index partition of all workflows, by age.
pub(crate) const WORKFLOWS: &str = "WORKFLOWS";

/// The partition of a spread list that has the entries with this digit.
fn part(list: &str, digits: &str) -> String {
    format!("{list}#{}", digits.get(..1).unwrap_or("0"))
}

fn parts(list: &str) -> Vec<String> {
    (0..SPREAD).map(|digit| format!("{list}#{digit:x}")).collect()
}

/// The index partition of a run that is open or cancelling. The digits of run keys are random.
pub(crate) fn open(run: &RunKey) -> String {
    part("OPEN", run.as_str())
}

/// The index partitions of all runs that are open or cancelling.
pub(crate) fn all_open() -> Vec<String> {
    parts("OPEN")
}

/// The partitions of all workers, in the table and in the index.
pub(crate) fn all_workers() -> Vec<String> {
    parts("WORKER")
}

/// The partitions of the audit log.
pub(crate) fn all_audit() -> Vec<String> {
    parts("AUDIT")
}

/// The item that says which schema the tables have.
pub(crate) fn schema() -> Key {
    ("SCHEMA".to_owned(), "SCHEMA".to_owned())
}

pub(crate) fn workflow(id: &WorkflowId) -> Key {
    (format!("WF#{id}"), "META".to_owned())
}

/// The key begins with the name of the client's token, so each token has a name space of its own.
pub(crate) fn idempotency(key: &str) -> Key {
    (format!("IDEM#{key}"), "IDEM".to_owned())
}

pub(crate) fn pool(id: &PoolId) -> Key {
    (POOLS.to_owned(), id.as_str().to_owned())
}

pub(crate) fn worker(id: &WorkerId) -> Key {
    (part("WORKER", &ids::hash_of(id.as_str())), id.as_str().to_owned())
}

pub(crate) fn token(name: &TokenName) -> Key {
    (TOKENS.to_owned(), name.as_str().to_owned())
}

pub(crate) fn audit(entry: &AuditCursor) -> Key {
    let id = hex::encode(entry.id);
    (part("AUDIT", &id), format!("{:013}#{id}", entry.at.0))
}

/// Parses an audit entry's sort key.
pub(crate) fn parse_audit(sk: &str) -> Option<AuditCursor> {
    let (at, id) = sk.split_once('#')?;
    Some(AuditCursor { at: Millis(at.parse().ok()?), id: hex::decode(id).ok()?.try_into().ok()? })
}

pub(crate) fn run_partition(run: &RunKey) -> String {
    format!("R#{run}")
}

pub(crate) fn control(run: &RunKey) -> Key {
    (run_partition(run), "CTL".to_owned())
}

pub(crate) fn definition(run: &RunKey) -> Key {
    (run_partition(run), "DEF".to_owned())
}

pub(crate) fn inputs(run: &RunKey) -> Key {
    (run_partition(run), "INPUTS".to_owned())
}

pub(crate) fn job_partition(run: &RunKey, index: JobIndex) -> String {
    format!("R#{run}#{}", index / PARTITION)
}

/// The partitions of a run's jobs.
pub(crate) fn job_partitions(run: &RunKey, jobs: u32) -> impl DoubleEndedIterator<Item = String> {
    (0..=jobs / PARTITION).map(|n| job_partition(run, n * PARTITION))
}

/// The first possible sort key after this one.
pub(crate) fn after(sort: &str) -> String {
    format!("{sort} ")
}

pub(crate) fn job_sort(index: JobIndex) -> String {
    format!("JOB#{index:05}")
}

pub(crate) fn job(key: &JobKey) -> Key {
    (job_partition(&key.run, key.index), job_sort(key.index))
}

pub(crate) fn spec(key: &JobKey) -> Key {
    (job_partition(&key.run, key.index), format!("SPEC#{:05}", key.index))
}

pub(crate) fn wait_shard(key: &JobKey, shard: u32) -> Key {
    (job_partition(&key.run, key.index), format!("WAIT#{:05}#{shard}", key.index))
}

pub(crate) fn outputs(key: &JobKey, id: &str) -> Key {
    (job_partition(&key.run, key.index), format!("OUT#{:05}#{id}", key.index))
}

/// The partition of a group of jobs or of runs.
pub(crate) fn group(group: &GroupKey) -> String {
    format!("GROUP#{}", group.as_str())
}

pub(crate) fn holder(of: &GroupKey) -> Key {
    (group(of), "HOLDER".to_owned())
}

pub(crate) fn place(of: &GroupKey, place: &Place) -> Key {
    (group(of), format!("Q#{:013}#{}", place.at.0, place.unit.text()))
}

/// Bounds of the sort keys of all places of a group.
pub(crate) fn places() -> (String, String) {
    // `$` is the character after `#`.
    ("Q#".to_owned(), "Q$".to_owned())
}

/// Parses the sort key of a place.
pub(crate) fn parse_place(sort: &str) -> Option<(Millis, Unit)> {
    let (at, unit) = sort.strip_prefix("Q#")?.split_once('#')?;
    Some((Millis(at.parse().ok()?), Unit::parse(unit)?))
}

/// Parses a job's keys.
pub(crate) fn parse_job(pk: &str, sk: &str) -> Option<JobKey> {
    let (run, _) = pk.strip_prefix("R#")?.split_once('#')?;
    let index = sk.strip_prefix("JOB#")?.parse().ok()?;
    Some(JobKey { run: RunKey::from_stored(run.to_owned()), index })
}

/// Parses the partition key of a control record.
pub(crate) fn parse_run(pk: &str) -> Option<RunKey> {
    let run = pk.strip_prefix("R#")?;
    (!run.contains('#')).then(|| RunKey::from_stored(run.to_owned()))
}

/// The index partition of one shard of a pool's ready list.
pub(crate) fn ready(pool: &PoolId, shard: u32) -> String {
    format!("READY#{}#{shard}", pool.as_str())
}

/// The shard of its pool's ready list that a job belongs to.
pub(crate) fn ready_shard(key: &JobKey, shards: u32) -> u32 {
    // The run key's digits are random and spread runs; the index spreads the jobs of a run.
    let run = key.run.as_str().get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0);
    run.wrapping_add(key.index) % shards
}

pub(crate) fn ready_sort(at: Millis, key: &JobKey) -> String {
    format!("{:013}#{}#{:05}", at.0, key.run, key.index)
}

/// A bound of sort keys: after all entries that became ready by `now`, before all later ones.
pub(crate) fn ready_until(now: Millis) -> String {
    // `$` is the character after `#`.
    format!("{:013}$", now.0)
}

/// Parses when an entry of a ready list became ready.
pub(crate) fn parse_ready_at(sort: &str) -> Option<Millis> {
    sort.split('#').next()?.parse().ok().map(Millis)
}

pub(crate) fn by_age(created_at: Millis, id: &str) -> String {
    format!("{:013}#{id}", created_at.0)
}

#[cfg(test)]
mod tests {
    use protocol::Label;

    use super::*;

    #[test]
    fn keys_parse_back() {
        let key = JobKey::new(&RunKey::new([3; 16]), 1234);
        let (pk, sk) = job(&key);
        assert_eq!(parse_job(&pk, &sk), Some(key.clone()));
        assert_eq!(parse_run(&control(&key.run).0), Some(key.run.clone()));
        assert_eq!(parse_run(&pk), None, "a job's partition is not a run's");
        let of = GroupKey::of_jobs(&Label::new("d#b").expect("a label"));
        for unit in [Unit::Job(key.clone()), Unit::Run(key.run.clone())] {
            let (_, sk) = place(&of, &Place { at: Millis(7), unit: unit.clone(), yields: false });
            assert_eq!(parse_place(&sk), Some((Millis(7), unit)));
            assert!(places().0 < sk && sk < places().1);
        }
        assert_eq!(parse_ready_at(&ready_sort(Millis(77), &key)), Some(Millis(77)));
    }

    #[test]
    fn keys_of_spread_lists_are_among_those_that_are_read() {
        for n in 0..=255 {
            assert!(all_open().contains(&open(&RunKey::new([n; 16]))));
            assert!(all_workers().contains(&worker(&WorkerId::new(format!("w-{n}")).expect("an id")).0));
            assert!(all_audit().contains(&audit(&AuditCursor { at: Millis(1), id: [n; 16] }).0));
        }
        assert_eq!(all_open().len(), SPREAD);
    }

    #[test]
    fn entry_is_due_from_its_own_millisecond_on() {
        let key = JobKey::new(&RunKey::new([255; 16]), 99_999);
        assert!(ready_sort(Millis(1000), &key) <= ready_until(Millis(1000)));
        assert!(ready_sort(Millis(1001), &key) > ready_until(Millis(1000)));
    }
}
