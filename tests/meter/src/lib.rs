//! Measures what a job costs on AWS.
//!
//! The real functions run on an emulator. A proxy between them and the emulator counts their calls by AWS's own rules, because an
//! emulator's figures can't be trusted. The meter takes the place of the event sources, so that batches and times are the same in
//! every measurement.

pub mod capacity;
mod dynamo;
pub mod item;
pub mod ledger;
pub mod limits;
mod names;

pub mod proxy;
pub mod sources;

pub mod driver;

pub mod graphs;

pub mod report;
pub mod pushes;
pub mod singles;
pub mod watching;

pub mod scale;
