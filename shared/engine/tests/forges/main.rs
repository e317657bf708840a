//! What deliveries of a forge start, and what the forge is told: the use cases on a store in memory and a forge that a test moves, and the
//! rules as worlds with planted faults.

#[path = "../common/mod.rs"]
mod common;

mod fake;
mod world;

mod forks;
mod pushes;
mod redelivered;
mod reruns;
mod ref_rule;
mod states;
mod reporting;
