//! What must hold whatever comes in. Each function is the body of the fuzz target of its name in `fuzz/`, and the test
//! in `tests/corpus.rs` runs every file of that target's corpus through it.
//!
//! They panic where a promise is broken, and return where it isn't.

mod definition;
mod lease;
mod outputs;
mod request;

pub use definition::definition;
pub use lease::lease;
pub use outputs::outputs;
pub use request::request;
