//! What can only be seen from inside: how statements are carried out, and which writes share a transaction.

mod claims;
pub(crate) mod examined;
mod expired;
mod full;
mod kept;
mod reads;
mod together;
