//! The table for people.

use std::fmt::Write;

use cost::{Figures, GraphFigures, Prices};

/// The goals of a graph in dollars for a million jobs: with the gateway `http`, and with `url`.
const GOALS: [(&str, f64, f64); 4] =
    [("single", 21.0, 18.0), ("chain20", 8.5, 6.5), ("chain20_next", 5.2, 4.2), ("fanout1000", 8.2, 6.2)];
/// The goals of jobs of ten minutes, in dollars for a million.
const TEN_MINUTES: [(&str, f64); 2] = [("silent", 110.0), ("chatty", 300.0)];

/// The figures as tables in Markdown, with the goals.
#[must_use]
pub fn tables(figures: &Figures, prices: &Prices) -> String {
    let mut text =
        format!("Prices of {}, {}. Everything ran on an emulator, and nothing on AWS.\n\n", prices.region, prices.date);
    graphs(&mut text, figures, prices);
    text.push_str("\n| adds, $ per million | | write units | read units | SQS |\n| --- | --- | --- | --- | --- |\n");
    for (name, call) in &figures.calls {
        let (usd, writes, reads, sqs) = (call.usd_per_million, call.write_units, call.read_units, call.sqs_requests);
        let _ = writeln!(text, "| {} | {usd:.2} | {writes:.1} | {reads:.1} | {sqs:.1} |", name.replace('_', " "));
    }
    text.push_str("\n| job of ten minutes, $ per million | | goal |\n| --- | --- | --- |\n");
    for (name, usd) in &figures.ten_minutes_usd_per_million {
        let goal = TEN_MINUTES.iter().find(|(of, _)| of == name).map(|(_, goal)| goal_text(*usd, *goal));
        let _ = writeln!(text, "| {name} | {usd:.0} | {} |", goal.unwrap_or_default());
    }
    text.push_str("\n| idle, $ a month | |\n| --- | --- |\n");
    for (name, usd) in &figures.idle_usd_per_month {
        let _ = writeln!(text, "| {name} | {usd:.2} |");
    }
    text.push_str("\n| an hour of watching a run in the page, half of whose jobs have ended | $ |\n| --- | --- |\n");
    for (jobs, usd) in &figures.watching_usd_per_1000_hours {
        let _ = writeln!(text, "| {jobs} | {:.4} |", usd / 1000.0);
    }
    text.push_str("\n| what a forge adds to a push, $ per million | |\n| --- | --- |\n");
    for (part, usd) in &figures.pushes_usd_per_million {
        let _ = writeln!(text, "| {part} | {usd:.2} |");
    }
    for one in figures.scaling() {
        let (graph, ratio, met) = (&one.graph, one.ratio, verdict(one.is_level()));
        let _ = writeln!(text, "\n{graph}: a job of 1,000 costs {ratio:.2} times one of 100: within 10 % {met}");
    }
    text
}

fn graphs(text: &mut String, figures: &Figures, prices: &Prices) {
    let step_functions = prices.step_functions_transition.usd * 1e6;
    text.push_str(
        "| $ per million jobs | `http` | goal | `url` | goal | Step Functions Standard | write units | read units | HTTP | functions | SQS | log bytes |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (name, graph) in &figures.graphs {
        let goals = GOALS.iter().find(|(of, _, _)| of == name);
        let goal =
            |pick: fn(&(&str, f64, f64)) -> f64, usd| goals.map_or_else(String::new, |all| goal_text(usd, pick(all)));
        let GraphFigures { usd_per_million_jobs: now, usd_per_million_jobs_url: url, .. } = graph;
        let _ = writeln!(
            text,
            "| {name} | {now:.2} | {} | {url:.2} | {} | {step_functions:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} |",
            goal(|all| all.1, *now),
            goal(|all| all.2, *url),
            graph.write_units,
            graph.read_units,
            graph.http_requests,
            graph.lambda_invocations,
            graph.sqs_requests,
            graph.log_bytes,
        );
    }
    for (title, parts) in [("step", 0), ("item", 1)] {
        let _ = writeln!(text, "\n| {title} | $ per million jobs |\n| --- | --- |");
        for (name, graph) in &figures.graphs {
            let parts = if parts == 0 { &graph.by_step } else { &graph.by_item };
            let mut parts: Vec<(&String, &f64)> = parts.iter().collect();
            parts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
            let parts: Vec<String> = parts.iter().map(|(part, usd)| format!("{part} {usd:.2}")).collect();
            let _ = writeln!(text, "| {name} | {} |", parts.join(", "));
        }
    }
}

fn goal_text(usd: f64, goal: f64) -> String {
    format!("{goal} {}", verdict(usd <= goal))
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}
