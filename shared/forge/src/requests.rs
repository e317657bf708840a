//! Requests to forges. Each module uses only those above it.

mod http;
mod jwt;
mod states;

mod api;

mod access;

// `Asking` of `forges` has a file for each forge, and `Forges` calls these.
mod forges;
mod gitea;
mod github;
mod gitlab;

pub use access::app_key_name;
pub use forges::Forges;
