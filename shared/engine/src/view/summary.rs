//! The list of workflows without their jobs.

use futures::future::try_join_all;
use protocol::page::Summary;
use protocol::{Status, limits};

use super::status_of;
use crate::Queries;
use crate::error::Result;
use crate::ports::{Consistency, JobStore, ListCursor, RunStore};
use crate::run::{Control, RunState, WorkflowRecord};

/// The records of [`limits::SUMMARY_RECORDS`] that are kept for counting jobs. A control record is read for each workflow that
/// hasn't ended, so the last page of the scan may need as many records as it has workflows.
const FOR_JOBS: usize = 200;
/// Workflows read in one call.
const PAGE: usize = 100;
/// Runs whose jobs are counted at once.
const COUNTED_AT_ONCE: usize = 16;

/// Which workflows a list has.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the name or the id, in any case.
    pub text: Option<String>,
    /// The status.
    pub status: Option<Status>,
}

/// A page of the list.
#[derive(Clone, Debug)]
pub struct SummaryPage {
    /// Newest first.
    pub workflows: Vec<Summary>,
    /// The cursor of the next page.
    pub next: Option<ListCursor>,
    /// The number of workflows that the next page must still skip.
    pub skip: usize,
}

/// A workflow of the page, with its control record if its run hasn't ended.
type Found = (WorkflowRecord, Option<Control>);

impl Filter {
    fn has_text(&self, record: &WorkflowRecord) -> bool {
        let Some(text) = &self.text else { return true };
        let text = text.to_lowercase();
        record.name.to_lowercase().contains(&text) || record.id.as_str().to_lowercase().contains(&text)
    }

    fn has_status(&self, (record, control): &Found) -> bool {
        self.status.is_none_or(|status| status_of(record, control.as_ref()) == status)
    }
}

impl<P: RunStore + JobStore> Queries<'_, P> {
    /// Returns workflows, newest first, after the first `skip` ones. Reads at most [`limits::SUMMARY_RECORDS`] records. Then the
    /// page may have fewer than `limit` workflows, or none, although more follow.
    pub async fn summaries(
        self,
        after: Option<ListCursor>,
        limit: usize,
        skip: usize,
        filter: &Filter,
    ) -> Result<SummaryPage> {
        let (mut found, mut cursor, mut read) = (Vec::new(), after, 0);
        let (scanned, enough) = (limits::SUMMARY_RECORDS - FOR_JOBS, skip + limit);
        let is_filtered = filter.text.is_some() || filter.status.is_some();
        let ended = loop {
            // One more than wanted shows whether more follow.
            let wanted = if is_filtered { PAGE } else { enough + 1 - found.len() };
            let most = wanted.min(PAGE).min(scanned.saturating_sub(read));
            if most == 0 {
                break false;
            }
            let page = self.engine.ports.workflows(cursor.as_ref(), most).await?;
            let Some(last) = page.last() else { break true };
            cursor = Some(position(last));
            read += page.len();
            let matching: Vec<WorkflowRecord> = page.into_iter().filter(|record| filter.has_text(record)).collect();
            read += matching.iter().filter(|record| record.ended.is_none()).count();
            let with_control = try_join_all(matching.into_iter().map(|record| self.with_control(record))).await?;
            found.extend(with_control.into_iter().flatten().filter(|found| filter.has_status(found)));
            if found.len() > enough {
                break false;
            }
        };
        if found.len() > enough {
            found.truncate(enough);
            cursor = found.last().map(|(record, _)| position(record));
        }
        let skipped = skip.min(found.len());
        found.drain(..skipped);
        let workflows = self.counted(found, limits::SUMMARY_RECORDS.saturating_sub(read)).await?;
        Ok(SummaryPage { workflows, next: cursor.filter(|_| !ended), skip: skip - skipped })
    }

    /// Adds the control record to a workflow whose run hasn't ended. Returns `None` if the workflow was deleted.
    async fn with_control(self, record: WorkflowRecord) -> Result<Option<Found>> {
        if record.ended.is_some() {
            return Ok(Some((record, None)));
        }
        let control = self.engine.records().control_surely(&record.run).await?;
        Ok(control.map(|control| (record, Some(control))))
    }

    /// Counts the ended jobs of open runs, with at most `budget` reads of jobs together.
    async fn counted(self, found: Vec<Found>, budget: usize) -> Result<Vec<Summary>> {
        let shares = shares(&found.iter().map(|(_, control)| unknown(control.as_ref())).collect::<Vec<_>>(), budget);
        let mut summaries = Vec::with_capacity(found.len());
        for page in found.into_iter().zip(shares).collect::<Vec<_>>().chunks(COUNTED_AT_ONCE) {
            summaries.extend(try_join_all(page.iter().map(|(found, share)| self.summary(found, *share))).await?);
        }
        Ok(summaries)
    }

    async fn summary(self, (record, control): &Found, share: usize) -> Result<Summary> {
        let unknown = unknown(control.as_ref());
        let done = match (record.ended, control) {
            (Some(end), _) => end.jobs,
            (None, Some(control)) if control.state == RunState::Final => control.jobs,
            (None, Some(control)) => control.done_below + self.ended_among(control, share.min(unknown)).await?,
            (None, None) => 0,
        };
        Ok(Summary {
            status: status_of(record, control.as_ref()),
            id: record.id.clone(),
            name: record.name.clone(),
            run: record.number,
            created_at_ms: record.created_at,
            started_at_ms: record.ended.map_or_else(|| control.as_ref()?.opened_at, |end| end.started_at),
            finished_at_ms: record.ended.map(|end| end.at),
            jobs: record.ended.map_or_else(|| control.as_ref().map_or(0, |control| control.jobs), |end| end.jobs),
            done,
            done_is_least: share < unknown,
        })
    }

    /// The number of ended jobs among the next `most` after those that are known to have ended.
    async fn ended_among(self, control: &Control, most: usize) -> Result<u32> {
        let (mut next, mut left, mut ended) = (control.done_below, most, 0);
        while left > 0 {
            let jobs = self.engine.ports.jobs_from(&control.run, next, left, Consistency::Eventual).await?;
            let Some(last) = jobs.last() else { break };
            next = last.key.index + 1;
            left -= jobs.len().min(left);
            ended += jobs.iter().map(|job| u32::from(job.is_ended())).sum::<u32>();
        }
        Ok(ended)
    }
}

fn position(record: &WorkflowRecord) -> ListCursor {
    ListCursor { created_at: record.created_at, id: record.id.clone() }
}

/// The number of jobs that must be read to know how many have ended.
fn unknown(control: Option<&Control>) -> usize {
    match control {
        Some(control) if control.state.is_active() => (control.jobs - control.done_below.min(control.jobs)) as usize,
        _ => 0,
    }
}

/// Divides a budget so that small demands are met first, and the rest share what is left evenly.
fn shares(demands: &[usize], mut budget: usize) -> Vec<usize> {
    let mut by_size: Vec<usize> = (0..demands.len()).collect();
    by_size.sort_by_key(|&at| demands[at]);
    let mut shares = vec![0; demands.len()];
    for (done, &at) in by_size.iter().enumerate() {
        shares[at] = demands[at].min(budget / (demands.len() - done));
        budget -= shares[at];
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_runs_are_counted_whole_and_large_ones_share_the_rest() {
        assert!(shares(&[], 10).is_empty());
        assert_eq!(shares(&[3, 0, 2], 10), [3, 0, 2]);
        assert_eq!(shares(&[100, 3, 100], 11), [4, 3, 4]);
        assert_eq!(shares(&[7, 7], 0), [0, 0]);
        assert_eq!(shares(&[10_000, 0, 0, 20], 1000), [980, 0, 0, 20]);
    }
}
