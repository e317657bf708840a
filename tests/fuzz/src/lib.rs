//! Properties that hold for arbitrary input. Each function is the body of the fuzz target of its name in `targets/`. The
//! test `tests/corpus.rs` runs every file of that target's corpus through it.
//!
//! A function panics if a property is broken.

mod definition;
mod delivery;
mod lease;
mod outputs;
mod patterns;
mod request;
mod signature;

pub use definition::definition;
pub use delivery::delivery;
pub use lease::lease;
pub use outputs::outputs;
pub use patterns::patterns;
pub use request::request;
pub use signature::signature;
