//! The HTTP API: a request in, a response out. What the routes are, how bodies are read, which limits hold and what an
//! error looks like is decided here, for the Lambda functions and for the server in one process alike.
//!
//! [`routes`] is the table; [`Service`] answers.

mod auth;
pub mod cors;
pub mod error;
mod handlers;
mod openapi;
mod read;
pub mod routes;
mod service;
mod stream;

pub use auth::Admission;
pub use routes::Function;
pub use service::{Body, Service};
pub use stream::LogEvents;
