//! The figures that are reported, and their comparison with the budget.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::prices::Prices;
use crate::usage::Usage;

/// A figure may exceed its budget by this factor. Times in items have digits more or fewer, and a page may have one block more.
const TOLERANCE: f64 = 1.01;
/// The same for graphs of which many jobs end at once. Function `schedule` handles 16 of their records at a time, and how often it
/// reads the same jobs depends on which is first.
const TOLERANCE_OF_FANS: f64 = 1.1;
/// Smaller differences are rounding.
const ROUNDING: f64 = 0.005;

/// The item of what the gateway costs for the calls of workers: requests, and the lines that it logs. It falls away with function URLs,
/// whose invocations cost what any others do.
pub const WORKERS_GATEWAY: &str = "gateway of workers";
/// The price of a job of a run of 1,000 jobs may differ from that of one of 100 by this factor.
const SCALING: f64 = 1.1;

/// How much more or less a job costs in a wider run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// The kind of graph.
    pub graph: String,
    /// The price of a job in a run of 1,000 jobs, divided by the one in a run of 100.
    pub ratio: f64,
}

impl Scaling {
    /// True if the prices are about equal.
    #[must_use]
    pub fn is_level(&self) -> bool {
        (1.0 / SCALING..=SCALING).contains(&self.ratio)
    }
}

/// Everything that is measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Of runs, by the graph's name.
    pub graphs: BTreeMap<String, GraphFigures>,
    /// Of single calls and what a job may add.
    pub calls: BTreeMap<String, CallFigures>,
    /// Dollars for a million jobs that run for ten minutes, without what a short job costs. Composed from single calls.
    pub ten_minutes_usd_per_million: BTreeMap<String, f64>,
    /// Dollars a month for what does nothing. Composed from single calls.
    pub idle_usd_per_month: BTreeMap<String, f64>,
    /// Dollars for a thousand hours in which the page shows a run half of whose jobs have ended, by the number of its jobs. Composed from single calls.
    #[serde(default)]
    pub watching_usd_per_1000_hours: BTreeMap<String, f64>,
    /// Dollars for what a forge adds to a million pushes that start a run of ten jobs, by part.
    #[serde(default)]
    pub pushes_usd_per_million: BTreeMap<String, f64>,
}

/// The figures of a graph. Counts are for each job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphFigures {
    /// The number of its jobs.
    pub jobs: usize,
    /// Dollars for a million jobs, everything included.
    pub usd_per_million_jobs: f64,
    /// The same on a stack with the gateway `url`: the gateway serves submissions, and workers go past it.
    pub usd_per_million_jobs_url: f64,
    /// Write request units.
    pub write_units: f64,
    /// Read request units.
    pub read_units: f64,
    /// Requests to the API.
    pub http_requests: f64,
    /// Invocations of functions.
    pub lambda_invocations: f64,
    /// Requests to queues.
    pub sqs_requests: f64,
    /// Bytes of logs.
    pub log_bytes: f64,
    /// Dollars for a million jobs, by kind of item.
    pub by_item: BTreeMap<String, f64>,
    /// Dollars for a million jobs, by step.
    pub by_step: BTreeMap<String, f64>,
}

/// The figures of a single call, or of what something adds to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallFigures {
    /// Dollars for a million.
    pub usd_per_million: f64,
    /// Write request units of one.
    pub write_units: f64,
    /// Read request units of one.
    pub read_units: f64,
    /// Requests to queues of one.
    pub sqs_requests: f64,
}

impl GraphFigures {
    /// Of a run of a graph with this many jobs, from all that was used by item and by step.
    #[must_use]
    pub fn of(
        jobs: usize,
        by_item: &BTreeMap<String, Usage>,
        by_step: &BTreeMap<String, Usage>,
        prices: &Prices,
    ) -> Self {
        let each = 1.0 / u32::try_from(jobs).map_or(f64::MAX, f64::from);
        let of_one = by_step.values().copied().sum::<Usage>() * each;
        let usd = |usage: Usage| rounded(usage.usd(prices) * 1e6);
        let parts = |parts: &BTreeMap<String, Usage>| {
            parts.iter().map(|(name, usage)| (name.clone(), usd(*usage * each))).collect()
        };
        Self {
            jobs,
            usd_per_million_jobs: usd(of_one),
            usd_per_million_jobs_url: usd(of_one - by_item.get(WORKERS_GATEWAY).copied().unwrap_or_default() * each),
            write_units: rounded(of_one.write_units),
            read_units: rounded(of_one.read_units),
            http_requests: rounded(of_one.http_requests),
            lambda_invocations: rounded(of_one.lambda_invocations),
            sqs_requests: rounded(of_one.sqs_requests),
            log_bytes: rounded(of_one.log_bytes),
            by_item: parts(by_item),
            by_step: parts(by_step),
        }
    }
}

impl CallFigures {
    /// Of one call.
    #[must_use]
    pub fn of(usage: Usage, prices: &Prices) -> Self {
        Self {
            usd_per_million: rounded(usage.usd(prices) * 1e6),
            write_units: rounded(usage.write_units),
            read_units: rounded(usage.read_units),
            sqs_requests: rounded(usage.sqs_requests),
        }
    }
}

/// A figure with three decimals.
#[must_use]
pub fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

impl Figures {
    /// The figures that were measured last, which are the budget of every later change.
    ///
    /// # Panics
    /// If the file isn't what this program was tested with.
    #[must_use]
    pub fn measured() -> Self {
        serde_json::from_str(include_str!("../../../infra/cost-budget.json")).expect("a test reads the same file")
    }

    /// Takes newer figures. What they lack stays.
    pub fn replace(&mut self, newer: Self) {
        self.graphs.extend(newer.graphs);
        self.calls.extend(newer.calls);
        self.ten_minutes_usd_per_million.extend(newer.ten_minutes_usd_per_million);
        self.idle_usd_per_month.extend(newer.idle_usd_per_month);
        self.watching_usd_per_1000_hours.extend(newer.watching_usd_per_1000_hours);
        self.pushes_usd_per_million.extend(newer.pushes_usd_per_million);
    }

    /// How the price of a job changes from runs of 100 jobs to runs of 1,000, for each kind of graph of which both were measured.
    #[must_use]
    pub fn scaling(&self) -> Vec<Scaling> {
        let usd = |name: String| self.graphs.get(&name).map(|graph| graph.usd_per_million_jobs);
        let kinds = self.graphs.keys().filter_map(|name| name.strip_suffix("1000"));
        kinds
            .filter_map(|graph| {
                let ratio = usd(format!("{graph}1000"))? / usd(format!("{graph}100"))?;
                Some(Scaling { graph: graph.to_owned(), ratio })
            })
            .collect()
    }

    /// The figures that exceed the budget, one line each. A figure that the budget doesn't have is one of them.
    #[must_use]
    pub fn over(&self, budget: &Self) -> Vec<String> {
        let value = |figures: &Self| serde_json::to_value(figures).unwrap_or_default();
        let mut lines = Vec::new();
        compare(&value(self), &value(budget), "", &mut lines);
        lines
    }
}

fn compare(measured: &Value, budget: &Value, name: &str, lines: &mut Vec<String>) {
    if let Value::Object(fields) = measured {
        for (field, measured) in fields {
            let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
            compare(measured, &budget[field], &name, lines);
        }
        return;
    }
    match (measured.as_f64(), budget.as_f64()) {
        (Some(measured), Some(budget)) if measured <= budget * tolerance(name) + ROUNDING => {}
        (Some(measured), Some(budget)) => {
            let percent = (measured / budget - 1.0) * 100.0;
            lines.push(format!("{name} is {measured}, and its budget is {budget} ({percent:+.1} %)"));
        }
        (measured, _) => lines.push(format!("{name} is {}, and has no budget", measured.unwrap_or_default())),
    }
}

fn tolerance(name: &str) -> f64 {
    if name.starts_with("graphs.fan") { TOLERANCE_OF_FANS } else { TOLERANCE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fan_may_vary_by_more() {
        assert!(tolerance("graphs.fanout100.read_units") > tolerance("graphs.chain20.read_units"));
    }

    fn idle(usd: f64) -> Figures {
        Figures { idle_usd_per_month: BTreeMap::from([("stack".to_owned(), usd)]), ..Figures::default() }
    }

    #[test]
    fn a_job_of_a_thousand_costs_about_as_much_as_one_of_a_hundred() {
        let scaling = Figures::measured().scaling();
        assert_eq!(scaling.iter().map(|one| one.graph.as_str()).collect::<Vec<_>>(), ["fanin", "fanout"]);
        for one in scaling {
            assert!(one.is_level(), "{one:?}");
        }
        assert!(!Scaling { graph: "fanin".to_owned(), ratio: 1.11 }.is_level());
    }

    #[test]
    fn only_what_the_gateway_costs_for_workers_falls_away_with_function_urls() {
        let usage = |http_requests| Usage { http_requests, write_units: 1.0, log_bytes: 100.0, ..Usage::default() };
        let items = BTreeMap::from([
            ("gateway".to_owned(), usage(1.0)),
            (WORKERS_GATEWAY.to_owned(), usage(2.0)),
            ("job".to_owned(), usage(0.0)),
        ]);
        let prices = Prices::us_east_1();
        let figures = GraphFigures::of(1, &items, &items, &prices);
        let saved = figures.usd_per_million_jobs - figures.usd_per_million_jobs_url;
        assert!((saved - rounded(usage(2.0).usd(&prices) * 1e6)).abs() < 0.002, "{saved}");
    }

    #[test]
    fn a_figure_may_rise_by_one_percent() {
        assert!(idle(100.9).over(&idle(100.0)).is_empty());
        assert!(idle(50.0).over(&idle(100.0)).is_empty());
        let over = idle(102.0).over(&idle(100.0));
        assert_eq!(
            over,
            ["idle_usd_per_month.stack is 102.0, and its budget is 100.0 (+2.0 %)"
                .replace(".0,", ",")
                .replace("100.0 (", "100 (")]
        );
    }

    #[test]
    fn a_figure_without_a_budget_is_reported_and_an_unmeasured_budget_is_not() {
        assert_eq!(idle(1.0).over(&Figures::default()).len(), 1);
        assert!(Figures::default().over(&idle(1.0)).is_empty());
    }
}
