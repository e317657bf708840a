//! What AWS charges for: counts of what was used, the price list, and the stated times of calls.

mod calls;
mod prices;
mod usage;

pub use calls::Call;
pub use prices::{Price, Prices};
pub use usage::Usage;
