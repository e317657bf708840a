//! The workloads. Each measures all targets in turns, so that what else the machine does meets all of them.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use protocol::limits::REQUESTS_PER_SECOND;

use crate::http::Connection;
use crate::load::{Claimer, Times, chain, claim_and_complete, fan, not_succeeded, roots, run, start_roots, submit};
use crate::report::{Row, Sample, median};
use crate::sync::sync_times;
use crate::target::{Running, Target};

/// Jobs or requests of which the times of one claim, report or submission are taken.
const TIMED: usize = 200;
/// A completed job on a disk is two changes that are acknowledged: the claim's and the report's.
const SYNCS_PER_JOB: f64 = 2.0;

/// A claim and a report, and some room for claims that found nothing.
const REQUESTS_PER_JOB: usize = 3;

/// The targets, and where and how often they are measured.
pub struct Bench<'a> {
    /// What is measured.
    pub targets: &'a [Target],
    /// Where servers keep their files.
    pub folder: &'a Path,
    /// How often each figure is taken.
    pub rounds: usize,
}

/// A label that no other measurement of this process uses.
fn label(of: &str, round: usize) -> String {
    format!("bench-{}-{of}-{round}", std::process::id())
}

/// The time in which one address may send so many requests.
fn least_time(requests: usize) -> Duration {
    let requests = u32::try_from(requests).unwrap_or(u32::MAX);
    Duration::from_secs(1) * requests / REQUESTS_PER_SECOND
}

impl Bench<'_> {
    fn start(&self) -> Result<Vec<Running>> {
        self.targets.iter().map(|target| target.start(self.folder)).collect()
    }

    /// Measures each target once in each round. `measure` gets the server and a number that is another one each time.
    fn measure(
        &self,
        workload: &'static str,
        size: &str,
        servers: &[Running],
        mut measure: impl FnMut(&Target, &Running, usize) -> Result<Times>,
    ) -> Result<Vec<Row>> {
        let mut samples = vec![Vec::new(); self.targets.len()];
        for round in 0..self.rounds {
            for ((target, server), samples) in self.targets.iter().zip(servers).zip(&mut samples) {
                let before = server.cpu();
                let times = measure(target, server, round).with_context(|| format!("{workload}, {}", target.name()))?;
                let cpu = before.zip(server.cpu()).map(|(before, after)| after.saturating_sub(before));
                samples.push(Sample::of(times, cpu));
            }
        }
        let rows = self.targets.iter().zip(samples);
        Ok(rows.map(|(of, samples)| Row::of(workload, size.to_owned(), of.name(), &samples, String::new())).collect())
    }

    /// Claims and completes jobs that need nothing, with so many clients at a time.
    pub fn claims(&self, threads: usize, jobs: usize) -> Result<Vec<Row>> {
        let servers = self.start()?;
        let mut wrong = vec![0; self.targets.len()];
        let mut syncs = Vec::new();
        let size = format!("{threads} threads");
        let mut rows = self.measure("claim and complete", &size, &servers, |target, server, _| {
            let mut client = Connection::open(&server.host)?;
            let workflows = start_roots(&mut client, jobs, None)?;
            let times = claim_and_complete(&server.host, threads, jobs, &[])?;
            ensure!(times.each.len() == jobs, "{} jobs were completed, not {jobs}", times.each.len());
            if let ([workflow], Some(at)) =
                (&workflows[..], self.targets.iter().position(|of| of.name() == target.name()))
            {
                let missing = not_succeeded(&mut client, workflow, jobs)?;
                ensure!(missing == 0 || !target.is_exact(), "the status shows {missing} of {jobs} jobs wrong");
                wrong[at] += missing;
            }
            if matches!(target, Target::Disk(_)) {
                syncs.extend(sync_times(self.folder, TIMED)?);
            }
            Ok(times)
        })?;
        let sync = median(syncs.iter().map(Duration::as_secs_f64));
        for ((row, target), wrong) in rows.iter_mut().zip(self.targets).zip(wrong) {
            if matches!(target, Target::Disk(_)) {
                let allowed = 1.0 / (SYNCS_PER_JOB * sync);
                let share = row.per_second / allowed * 100.0;
                row.note = format!("a sync takes {:.3} ms; {share:.0} % of what two for each job allow", sync * 1000.0);
            } else if wrong > 0 {
                row.note = format!("{wrong} jobs wrong in the status");
            }
        }
        Ok(rows)
    }

    /// Submits and starts workflows of ten jobs.
    pub fn submissions(&self, count: usize) -> Result<Vec<Row>> {
        let servers = self.start()?;
        self.measure("submit and run", "10 jobs", &servers, |_, server, round| {
            let label = label("submit", round);
            let (mut client, jobs) = (Connection::open(&server.host)?, roots(10, Some(&label)));
            timed(count, |_| {
                let workflow = submit(&mut client, &jobs)?;
                run(&mut client, &workflow)
            })
        })
    }

    /// Claims one job after the other while so many wait.
    pub fn waiting_jobs(&self, waiting: usize) -> Result<Vec<Row>> {
        let servers = self.start()?;
        for server in &servers {
            start_roots(&mut Connection::open(&server.host)?, waiting, Some(&label("waiting", 0)))?;
        }
        self.measure("claim", &format!("{waiting} jobs wait"), &servers, |_, server, _| {
            let label = label("waiting", 0);
            let claimed = timed_claims(server, &label, TIMED.min(waiting))?;
            // As many wait in the next round: the first one isn't timed.
            start_roots(&mut Connection::open(&server.host)?, claimed.each.len() + 1, Some(&label))?;
            Ok(claimed)
        })
    }

    /// Claims jobs of one pool while so many pools have ready jobs.
    pub fn pools(&self, pools: usize) -> Result<Vec<Row>> {
        let servers = self.start()?;
        for server in &servers {
            let mut client = Connection::open(&server.host)?;
            let labels: Vec<String> = (1..pools).map(|number| label("pool", number)).collect();
            let mut jobs = roots(labels.len(), None);
            jobs.iter_mut().zip(&labels).for_each(|(job, label)| job.label = Some(label));
            if !jobs.is_empty() {
                let workflow = submit(&mut client, &jobs)?;
                run(&mut client, &workflow)?;
            }
        }
        self.measure("claim", &format!("{pools} pools"), &servers, |_, server, round| {
            let label = label("own", round);
            start_roots(&mut Connection::open(&server.host)?, TIMED, Some(&label))?;
            timed_claims(server, &label, TIMED)
        })
    }

    /// Claims jobs while so many other workers wait at the server for jobs of another kind.
    pub fn waiting_workers(&self, workers: usize) -> Result<Vec<Row>> {
        let servers = self.start()?;
        self.measure("claim", &format!("{workers} workers wait"), &servers, |_, server, round| {
            let mut waiting = Vec::with_capacity(workers);
            for number in 0..workers {
                let mut worker = Claimer::new(&server.host, &format!("waits-{number}"), &["bench-nothing"])?;
                worker.wait()?;
                waiting.push(worker);
            }
            let label = label("beside", round);
            start_roots(&mut Connection::open(&server.host)?, TIMED, Some(&label))?;
            timed_claims(server, &label, TIMED)
        })
    }

    /// Completes a job that so many others need, then claims and completes these.
    pub fn dependents(&self, dependents: usize) -> Result<Vec<Row>> {
        let servers = self.start()?;
        self.measure("a root's dependents", &dependents.to_string(), &servers, |_, server, _| {
            let mut client = Connection::open(&server.host)?;
            let workflow = submit(&mut client, &fan(dependents))?;
            run(&mut client, &workflow)?;
            let mut root = Claimer::new(&server.host, "bench-root", &[])?;
            let lease = root.claim_surely()?;
            root.complete(&lease)?;
            claim_and_complete(&server.host, 2, dependents, &[])
        })
    }

    /// Completes jobs of a chain. A time is that from a report to the lease of the next job.
    pub fn next_jobs(&self, jobs: usize) -> Result<Vec<Row>> {
        let servers = self.start()?;
        self.measure("complete to next", &format!("chain of {jobs}"), &servers, |_, server, round| {
            let label = label("next", round);
            let mut client = Connection::open(&server.host)?;
            let workflow = submit(&mut client, &chain(jobs, Some(&label)))?;
            run(&mut client, &workflow)?;
            let mut worker = Claimer::new(&server.host, "bench-next", &[&label])?;
            let mut lease = worker.claim_surely()?;
            let times = timed(jobs - 1, |_| {
                lease = worker.complete_for_next(&lease)?;
                Ok(())
            })?;
            worker.complete(&lease)?;
            Ok(times)
        })
    }

    /// Finishes many jobs, and tells what the server then has in memory and on the disk, and how long it takes to start again.
    pub fn finished(&self, jobs: usize) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for target in self.targets {
            let server = target.start(self.folder)?;
            let (mut client, mut samples) = (Connection::open(&server.host)?, Vec::new());
            let step = jobs.min(10_000);
            for _ in 0..jobs / step {
                let (before, began) = (server.cpu(), Instant::now());
                start_roots(&mut client, step, None)?;
                let times = claim_and_complete(&server.host, 4, step, &[])?;
                // A server in memory finishes more than one address may ask for.
                sleep(least_time(REQUESTS_PER_JOB * step).saturating_sub(began.elapsed()));
                let cpu = before.zip(server.cpu()).map(|(before, after)| after.saturating_sub(before));
                samples.push(Sample::of(times, cpu));
            }
            let memory =
                server.memory().map_or_else(String::new, |bytes| format!("{} MB in memory", bytes / 1_000_000));
            let mut row = Row::of("finish jobs", jobs.to_string(), target.name(), &samples, memory);
            if let Target::Disk(program) = target {
                let stored = server.stored().unwrap_or_default() / jobs as u64;
                let (server, started) = server.restarted(program)?;
                let memory = server.memory().unwrap_or_default() / 1_000_000;
                let started = started.as_secs_f64() * 1000.0;
                row.note +=
                    &format!("; {stored} bytes a job on the disk; starts again in {started:.0} ms with {memory} MB");
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

fn timed(count: usize, mut request: impl FnMut(usize) -> Result<()>) -> Result<Times> {
    let (all, mut each) = (Instant::now(), Vec::with_capacity(count));
    for number in 0..count {
        let began = Instant::now();
        request(number)?;
        each.push(began.elapsed());
    }
    Ok(Times { each, all: all.elapsed() })
}

/// The times of claims alone. Each claimed job is completed.
fn timed_claims(server: &Running, label: &str, count: usize) -> Result<Times> {
    let mut worker = Claimer::new(&server.host, "bench-claims", &[label])?;
    // Its jobs may not be ready yet, and the worker isn't known.
    let first = worker.claim_surely()?;
    worker.complete(&first)?;
    let mut times = Times::default();
    while times.each.len() < count - 1 {
        let began = Instant::now();
        let lease = worker.claim()?;
        let took = began.elapsed();
        let Some(lease) = lease else { continue };
        times.each.push(took);
        times.all += took;
        worker.complete(&lease)?;
    }
    Ok(times)
}
