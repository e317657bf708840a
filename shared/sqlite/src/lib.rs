//! The engine's ports on a SQLite file, for one process.
//!
//! A file is in write-ahead mode. One thread writes ([`writer`]): it runs the waiting writes in one transaction, so that many
//! requests share one sync, and answers them when the transaction is on the disk. Reads run on the caller's thread, on
//! connections of their own: a row in the file system's cache is read faster than another thread answers. What changed
//! lately is read from memory ([`recent`]). A change loads a record, applies the engine's own rule and stores the result,
//! inside the transaction.
//!
//! A module uses only modules above it.

mod rows;

mod recent;

mod writer;

mod migrations;
mod open;

mod store;

// The ports.
mod access;
mod artifacts;
mod forges;
mod group;
mod local;
mod registry;

mod jobs;

mod runs;

#[cfg(test)]
mod tests;

pub use open::OpenError;
pub use store::Sqlite;
