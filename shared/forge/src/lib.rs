//! Forges, seen from outside: whether a delivery is signed, what its payload says, and requests to the APIs of GitHub, GitLab, Gitea
//! and Forgejo. The rules are in `engine::forge`.

pub mod payload;
pub mod signature;

#[cfg(feature = "requests")]
mod requests;

#[cfg(feature = "requests")]
pub use requests::{Forges, app_key_name};

/// The identifier of the button with which a commit of a fork is approved.
pub(crate) const APPROVE: &str = "approve";
