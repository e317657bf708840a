//! The HTTP API: routes, authorization, request to use case to response, the `OpenAPI` document. The Lambda functions and the
//! server in one process share it.
//!
//! [`Service`] answers requests; [`routes`] is the table. Modules are listed so that each uses only those above it.

pub mod cors;
pub mod error;
mod operation;
pub mod route;

pub mod part;

mod request;

mod response;

mod row;

mod audit;
mod auth;

mod openapi;
mod run_events;

mod stream;

mod handlers;

mod routes;

mod router;

mod service;

pub use auth::Admission;
pub use route::Function;
pub use routes::routes;
pub use service::{Accepted, Matched, Service};
pub use stream::Events;
