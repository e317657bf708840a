//! The engine's ports on DynamoDB, SQS, S3 and the Parameter Store, and operations on a deployed stack.
//!
//! A record's item has the fields of the record ([`item`]). An update of a record is one conditional write ([`update`]).
//! The rules are the engine's. A module uses only modules above it.

mod client;
mod config;
mod environment;
mod error;
mod keys;

mod item;
mod update;

mod endpoints;
mod forge_function;
mod objects;
mod table;

mod spread;

mod aws;
mod schema;

// The ports.
mod access;
mod data;
mod dispatch;
mod registry;

mod forges;

mod groups;
mod jobs;
mod logs;

mod artifacts;
mod runs;

// Operations on a stack, and the start of a process.
mod stack;

#[cfg(feature = "check")]
mod call;
#[cfg(feature = "check")]
mod template;

#[cfg(feature = "check")]
mod cloudformation;

#[cfg(feature = "check")]
pub mod check;
#[cfg(feature = "check")]
pub mod deploy;
pub mod events;
pub mod redrive;
pub mod secrets;
mod tickets;

mod start;

pub use aws::Aws;
#[cfg(feature = "check")]
pub use cloudformation::{Event, Stack, access_of_stack};
pub use config::{BadConfig, Config};
pub use forge_function::ForgeQuestion;
pub use schema::{Access, SchemaError};
pub use stack::{StackError, access_of_table};
pub use start::{SchemaGuard, StartError};
pub use tickets::{TicketError, TicketMessage, TicketQueues};
