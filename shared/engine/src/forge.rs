//! Forges: what a push starts, and what the commit shows.
//!
//! A delivery is a hint. The forge is asked where the ref is, and the ref's record decides what is new. A report names the run
//! that may tell the states of a file at a commit.
//!
//! Each module uses only those above it.

pub mod names;
pub mod state;

pub mod event;
pub mod link;

pub mod change;

pub mod records;

pub mod ports;
pub mod store;

pub mod redelivery;
pub mod ref_rule;
pub mod rights;
pub mod wanted;

pub mod reporting;

pub mod checkout;
