//! Measures costs on the stack that `WFG_TEST_URL` and the other variables name. `cargo xtask cost` runs it in the repository.

use std::fs;
use std::process::ExitCode;

use clap::Parser;
use cost::{Figures, GraphFigures, Prices};
use meter::driver::Driver;
use meter::graphs::Graph;
use meter::singles::{self, Idle};
use meter::{pushes, report, scale, watching};

/// The figures that mustn't rise.
const BUDGET: &str = "infra/cost-budget.json";
/// The graphs that every run of the tests measures.
const QUICK: [Graph; 5] = [Graph::Single, Graph::Chain, Graph::ChainNext, Graph::FanOut(100), Graph::FanIn(100)];
/// The graphs that take minutes.
const WIDE: [Graph; 2] = [Graph::FanOut(1000), Graph::FanIn(1000)];

/// Measures what jobs cost.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
struct Args {
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Write the measured figures to the budget, instead of failing if one exceeds it.
    #[arg(long)]
    bless: bool,
    /// Leave out the graphs that take minutes.
    #[arg(long)]
    quick: bool,
    /// Print at which rate which key is throttled, instead of costs.
    #[arg(long)]
    scale: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let args = Args::parse();
    let prices = Prices::us_east_1();
    if args.scale {
        println!("{}", scale::table(&mut Driver::start().await).await);
        return Ok(ExitCode::SUCCESS);
    }
    let figures = measure(&prices, args.quick).await;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        println!("{}", report::tables(&figures, &prices));
    }
    let mut budget: Figures = serde_json::from_slice(&fs::read(BUDGET)?)?;
    if args.bless {
        budget.replace(figures);
        fs::write(BUDGET, serde_json::to_string_pretty(&budget)? + "\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut over = figures.over(&budget);
    let uneven = figures.scaling().into_iter().filter(|one| !one.is_level());
    over.extend(uneven.map(|one| {
        format!("a job of {} costs {:.2} times as much in a run of 1,000 as in one of 100", one.graph, one.ratio)
    }));
    for line in &over {
        eprintln!("over the budget of {BUDGET}: {line}");
    }
    if over.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("Find out why. If the rise is right, run `cargo xtask cost --bless`.");
    Ok(ExitCode::FAILURE)
}

async fn measure(prices: &Prices, quick: bool) -> Figures {
    let mut driver = Driver::start().await;
    let idle = Idle::begin(&driver).await;
    let mut figures = Figures::default();
    // The first run starts the processes and fills their caches.
    Graph::Single.run(&mut driver).await;
    graphs(&mut driver, &QUICK, prices, &mut figures).await;
    singles::measure(&mut driver, idle, prices, &mut figures).await;
    watching::measure(&mut driver, prices, &mut figures).await;
    pushes::measure(&mut driver, prices, &mut figures).await;
    if !quick {
        graphs(&mut driver, &WIDE, prices, &mut figures).await;
    }
    let retries = driver.proxy.retries();
    if retries > 0 {
        eprintln!("{retries} calls were repeated by the client library, and not counted");
    }
    figures
}

async fn graphs(driver: &mut Driver, graphs: &[Graph], prices: &Prices, figures: &mut Figures) {
    for graph in graphs {
        let began = std::time::Instant::now();
        let ledger = graph.run(driver).await;
        let of_graph = GraphFigures::of(graph.jobs(), &ledger.by_item(), &ledger.by_step(), prices);
        let (name, usd, secs) = (graph.name(), of_graph.usd_per_million_jobs, began.elapsed().as_secs_f32());
        eprintln!("{name}: ${usd:.2} per million jobs, measured in {secs:.0} s");
        figures.graphs.insert(name, of_graph);
    }
}
