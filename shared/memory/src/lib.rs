//! The ports in memory, for tests and for a server without persistence.
//!
//! Every read is strong. The change feed and the queues are lists; `Scheduling::drain` processes them. A module uses only
//! modules above it.

mod store;

// The ports.
mod access;
mod artifacts;
mod forges;
mod group;
mod jobs;
mod queues;
mod registry;
mod runs;

pub use store::Memory;
