//! The graphs whose cost is measured.

use std::fmt::Write;

use cost::Call;

use crate::driver::Driver;
use crate::ledger::Ledger;

/// Jobs of a fan that run at once.
const WINDOW: usize = 16;
/// Records of the stream in a batch, while the jobs of a fan end.
const FAN_BATCH: usize = 2;

/// A graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graph {
    /// One job.
    Single,
    /// Twenty jobs, one after the other.
    Chain,
    /// The same, where the worker takes each next job with the report of the last.
    ChainNext,
    /// A job, and this many that need it.
    FanOut(usize),
    /// This many jobs, and one that needs them all.
    FanIn(usize),
}

/// The length of the chains.
const CHAIN: usize = 20;

impl Graph {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Single => "single".to_owned(),
            Self::Chain => format!("chain{CHAIN}"),
            Self::ChainNext => format!("chain{CHAIN}_next"),
            Self::FanOut(width) => format!("fanout{width}"),
            Self::FanIn(width) => format!("fanin{width}"),
        }
    }

    /// The number of its jobs.
    #[must_use]
    pub fn jobs(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Chain | Self::ChainNext => CHAIN,
            Self::FanOut(width) | Self::FanIn(width) => width + 1,
        }
    }

    fn definition(self) -> String {
        let mut text = String::from("jobs:\n");
        let mut job = |number: usize, needs: &str| {
            let _ = writeln!(text, "  job-{number:05}: {{run: 'true', labels: {{label}}, needs: [{needs}]}}");
        };
        let name = |number: usize| format!("job-{number:05}");
        match self {
            Self::Single => job(0, ""),
            Self::Chain | Self::ChainNext => {
                for number in 0..CHAIN {
                    job(number, &number.checked_sub(1).map(name).unwrap_or_default());
                }
            }
            Self::FanOut(width) => {
                job(0, "");
                for number in 1..=width {
                    job(number, &name(0));
                }
            }
            Self::FanIn(width) => {
                for number in 0..width {
                    job(number, "");
                }
                job(width, &(0..width).map(name).collect::<Vec<_>>().join(", "));
            }
        }
        text
    }

    /// Runs it once. Its timers fire after its end, since its jobs take no time.
    pub async fn run(self, driver: &mut Driver) -> Ledger {
        driver.begin();
        let worker = driver.worker();
        driver.submit(&self.definition()).await;
        driver.settle(1).await;
        match self {
            Self::Single => one_by_one(driver, 1).await,
            Self::Chain => one_by_one(driver, CHAIN).await,
            Self::ChainNext => {
                let mut held = driver.claim(&worker).await;
                for _ in 1..CHAIN {
                    held = driver.complete_for_next(&held, &worker).await;
                    driver.settle(1).await;
                }
                driver.complete(&held, &[]).await;
                driver.settle(1).await;
            }
            Self::FanOut(width) => {
                one_by_one(driver, 1).await;
                in_windows(driver, width).await;
            }
            Self::FanIn(width) => {
                in_windows(driver, width).await;
                one_by_one(driver, 1).await;
            }
        }
        driver.fire_timers(Call::Timer).await;
        driver.end()
    }
}

async fn one_by_one(driver: &mut Driver, jobs: usize) {
    let worker = driver.worker();
    for _ in 0..jobs {
        let held = driver.claim(&worker).await;
        driver.complete(&held, &[]).await;
        driver.settle(1).await;
    }
}

/// Jobs that run side by side: the later half of a window ends before the earlier half. So half of the reports find that the first unended
/// job of the run has ended, and half don't.
async fn in_windows(driver: &mut Driver, jobs: usize) {
    let worker = driver.worker();
    let mut left = jobs;
    while left > 0 {
        let width = left.min(WINDOW);
        let mut held = Vec::with_capacity(width);
        for _ in 0..width {
            held.push(driver.claim(&worker).await);
        }
        // Claims take one of the oldest jobs at random.
        held.sort_by(|one, other| one.job.job_id.cmp(&other.job.job_id));
        held.rotate_left(width / 2);
        for some in held.chunks(FAN_BATCH) {
            for held in some {
                driver.complete(held, &[]).await;
            }
            driver.settle(FAN_BATCH).await;
        }
        left -= width;
    }
}
