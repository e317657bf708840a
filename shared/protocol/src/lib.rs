//! The wire types of the protocol, with labels, parsing of outputs, masking of secrets, and limits. No I/O.
//!
//! A worker in Rust needs only this crate and an HTTP client. A worker in another language needs only the JSON that these
//! types describe. Each module uses only modules above it.

pub mod host;
pub mod limits;
pub mod script;
pub mod text;

pub mod limit;

pub mod ids;
pub mod labels;
pub mod time;

pub mod outputs;
pub mod secrets;

pub mod mask;
#[cfg(feature = "schema")]
mod schema;

mod errors;

pub mod access;
pub mod wire;

pub mod forge;
pub mod page;

pub mod requests;

pub use ids::{BadId, JobId, LeaseId, LinkName, OutputName, SecretName, TokenName, WorkerId, WorkflowId};
pub use labels::{BadLabel, Label, LabelSet};
pub use limit::Limit;
pub use outputs::Outputs;
pub use secrets::{BadSecret, SecretValue, Secrets};
pub use time::Millis;
pub use wire::Status;
