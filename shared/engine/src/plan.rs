//! Plans the records of a run from a definition. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::Millis;
use protocol::wire::Condition;

use crate::ids::{JobIndex, JobKey, PoolId, RunKey, Waits};
use crate::job::{Completion, JobOutcome, JobRecord, JobSpec, NeedResult, Phase};
use crate::ports::{NewItem, Pool};
use workflow::{Definition, JobDefinition};

/// The maximum size in bytes, as JSON, of a spec stored in the job's record. It keeps a record within one write unit.
const SMALL_SPEC: usize = 400;

/// A job as planned for a run.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The id that the author chose.
    pub id: protocol::JobId,
    /// The job's spec.
    pub spec: JobSpec,
    /// For a re-run that keeps the job: how it ended.
    pub kept: Option<Kept>,
}

/// The end of a job that a re-run keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Success, or an allowed failure.
    pub outcome: JobOutcome,
    /// The error text of an allowed failure.
    pub error: Option<String>,
}

/// Returns which jobs a re-run with `only: failed` keeps: those that passed and whose needs are all kept, so that nothing
/// is kept that ran because of a failure. `jobs` are all jobs of the run, in index order.
pub(crate) fn keeps<'a>(
    jobs: impl Iterator<Item = (&'a JobRecord, &'a JobSpec)>,
    regardless_of_needs: bool,
) -> Vec<bool> {
    let mut kept = Vec::new();
    for (job, spec) in jobs {
        let needs_kept = spec.needs.iter().all(|need| kept.get(*need as usize) == Some(&true));
        let passed = job.need_result() == Some(NeedResult::Passed) && !job.waits_for_run();
        kept.push(passed && (needs_kept || regardless_of_needs));
    }
    kept
}

/// Sorts a definition's jobs topologically and resolves needs to indexes.
#[must_use]
pub fn planned(definition: &Definition) -> Vec<Planned> {
    let order = definition.topological_order();
    let mut index_of = vec![0; order.len()];
    for (index, &position) in order.iter().enumerate() {
        index_of[position] = to_index(index);
    }
    let mut jobs: Vec<Planned> =
        order.iter().map(|&position| planned_job(&definition.jobs[position], position, &index_of)).collect();
    for index in 0..jobs.len() {
        for need in jobs[index].spec.needs.clone() {
            let conditional = jobs[index].spec.condition != Condition::Success;
            let spec = &mut jobs[need as usize].spec;
            spec.dependents.push(to_index(index));
            if conditional {
                spec.conditional.push(to_index(index));
            }
        }
    }
    jobs
}

fn planned_job(job: &JobDefinition, position: usize, index_of: &[JobIndex]) -> Planned {
    let needs: BTreeSet<JobIndex> = job.needs.iter().map(|&need| index_of[need]).collect();
    let spec = JobSpec {
        settings: job.settings.clone(),
        needs: needs.into_iter().collect(),
        dependents: Vec::new(),
        conditional: Vec::new(),
        position: to_index(position),
    };
    Planned { id: job.id.clone(), spec, kept: None }
}

fn to_index(n: usize) -> JobIndex {
    JobIndex::try_from(n).expect("a definition has at most 10,000 jobs")
}

/// Builds the initial records of a run. A kept job has ended, and no job waits for it; all other jobs wait. A job with
/// more than `shard` needs stores them in shards of that size.
#[must_use]
pub fn records(run: &RunKey, jobs: &[Planned], shard: usize, now: Millis) -> Vec<NewItem> {
    let kept: BTreeSet<JobIndex> =
        (0..).zip(jobs).filter(|(_, job)| job.kept.is_some()).map(|(index, _)| index).collect();
    let mut items = Vec::with_capacity(jobs.len());
    for (index, job) in (0..).zip(jobs) {
        let key = JobKey::new(run, index);
        let sharded = job.spec.needs.len() > shard;
        let phase = match &job.kept {
            Some(kept) => Phase::Ended(Completion { outcome: kept.outcome.clone(), at: now, lease: None }),
            None => Phase::Waiting { on: initial_waits(&key, &job.spec, &kept, sharded.then_some(shard), &mut items) },
        };
        let small = serde_json::to_string(&job.spec).is_ok_and(|text| text.len() <= SMALL_SPEC);
        if !small {
            items.push(NewItem::Spec(key.clone(), Box::new(job.spec.clone())));
        }
        items.push(NewItem::Job(Box::new(JobRecord {
            pool: PoolId::with_secrets(&job.spec.labels, &job.spec.secrets),
            spec: small.then(|| Arc::new(job.spec.clone())),
            sharded,
            has_secrets: !job.spec.secrets.is_empty() || job.spec.checkout.is_some(),
            group: job.spec.concurrency.clone(),
            limits: job.spec.limits,
            condition: job.spec.condition,
            allow_failure: job.spec.allow_failure,
            error: job.kept.as_ref().and_then(|kept| kept.error.clone()),
            ..JobRecord::first(key, job.id.clone(), phase)
        })));
    }
    items
}

fn initial_waits(
    key: &JobKey,
    spec: &JobSpec,
    kept: &BTreeSet<JobIndex>,
    shard_size: Option<usize>,
    items: &mut Vec<NewItem>,
) -> Waits {
    let open = |needs: &[JobIndex]| -> Waits { needs.iter().copied().filter(|need| !kept.contains(need)).collect() };
    let Some(shard_size) = shard_size else { return open(&spec.needs) };
    let mut shards = Waits::new();
    for (shard, needs) in (0..).zip(spec.needs.chunks(shard_size)) {
        let members = open(needs);
        if !members.is_empty() {
            shards.insert(shard);
            items.push(NewItem::WaitShard(key.clone(), shard, members));
        }
    }
    shards
}

/// Returns the number of the shard that holds `need`.
#[must_use]
pub fn shard_of(spec: &JobSpec, need: JobIndex, shard: usize) -> Option<u32> {
    let position = spec.needs.binary_search(&need).ok()?;
    u32::try_from(position / shard).ok()
}

/// Returns the pools of a graph's jobs, without duplicates.
#[must_use]
pub fn pools(jobs: &[Planned]) -> Vec<Pool> {
    let sets: BTreeSet<_> = jobs.iter().map(|job| (&job.spec.labels, &job.spec.secrets)).collect();
    sets.into_iter().map(|(labels, secrets)| Pool::with_secrets(labels.clone(), secrets.clone())).collect()
}

#[cfg(test)]
mod tests {
    use workflow::from_yaml;

    use super::*;

    fn records_of(yaml: &str, shard: usize) -> Vec<NewItem> {
        let definition = from_yaml(yaml).expect("a definition");
        records(&RunKey::new([1; 16]), &planned(&definition), shard, Millis(1))
    }

    fn sharded(items: &[NewItem]) -> (Vec<bool>, usize) {
        let jobs = items.iter().filter_map(|item| if let NewItem::Job(job) = item { Some(job.sharded) } else { None });
        let shards = items.iter().filter(|item| matches!(item, NewItem::WaitShard(..))).count();
        (jobs.collect(), shards)
    }

    #[test]
    fn needs_are_stored_in_shards_only_if_they_are_more_than_one_shard_holds() {
        let fan_in = "jobs: {a: {run: x}, b: {run: x}, c: {run: x}, end: {run: x, needs: [a, b, c]}}";
        assert_eq!(sharded(&records_of(fan_in, 3)), (vec![false; 4], 0));
        assert_eq!(sharded(&records_of(fan_in, 2)), (vec![false, false, false, true], 2));
    }
}
