//! What workers, clients and the engine say to each other: wire types, labels, output parsing, limits.
//!
//! No I/O happens here. A worker in Rust needs only this crate and an HTTP client; one in another language needs
//! only the JSON these types describe.

pub mod access;
mod errors;
pub mod ids;
pub mod labels;
pub mod limits;
pub mod mask;
pub mod outputs;
pub mod requests;
#[cfg(feature = "schema")]
mod schema;
pub mod secrets;
pub mod time;
pub mod wire;

pub use ids::{BadId, JobId, LeaseId, OutputName, SecretName, TokenName, WorkerId, WorkflowId};
pub use labels::{BadLabel, Label, LabelSet};
pub use outputs::Outputs;
pub use secrets::{BadSecret, SecretValue, Secrets};
pub use time::Millis;
pub use wire::Status;
