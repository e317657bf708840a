//! What AWS charges for: counts of what was used, the price list, the measured figures, and the estimate of a run.

mod calls;
mod prices;
mod usage;

mod figures;

mod estimate;

pub use calls::Call;
pub use estimate::{Estimate, JobShape, Part, RunShape};
pub use figures::{CallFigures, Figures, GraphFigures, Scaling, WORKERS_GATEWAY, rounded};
pub use prices::{Price, Prices};
pub use usage::Usage;
