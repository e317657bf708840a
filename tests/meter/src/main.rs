//! Measures the cost of graphs on the stack that `WFG_TEST_URL` and the other variables name. `cargo xtask cost` runs it.

use cost::Prices;
use meter::driver::Driver;
use meter::graphs::Graph;

#[tokio::main]
async fn main() {
    let mut driver = Driver::start().await;
    let prices = Prices::us_east_1();
    Graph::Single.run(&mut driver).await;
    for graph in [Graph::Single, Graph::Chain, Graph::ChainNext, Graph::FanOut(100), Graph::FanIn(100)] {
        let began = std::time::Instant::now();
        let ledger = graph.run(&mut driver).await;
        let jobs = graph.jobs() as f64;
        let total = ledger.total() * (1.0 / jobs);
        println!("{} {:.2} {:?} {:.1} s", graph.name(), total.usd(&prices) * 1e6, total, began.elapsed().as_secs_f32());
        for (step, usage) in ledger.by_step() {
            println!("   {step} {:.2} {:?}", usage.usd(&prices) * 1e6 / jobs, usage);
        }
        for (item, usage) in ledger.by_item() {
            println!("   {item} {:.2} w {} r {}", usage.usd(&prices) * 1e6 / jobs, usage.write_units, usage.read_units);
        }
    }
}
