//! Where a script begins.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// The directory in which a script begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workdir {
    /// The worker's directory, which all its jobs share and which stays.
    #[default]
    Shared,
    /// The folder of the job's checkout.
    Checkout,
    /// A folder of the attempt's own: empty at the beginning and removed at the end. Or a folder at this path below it, which is
    /// made if it is missing.
    Own(String),
}

impl Workdir {
    /// Reads `shared`, `fresh`, or a path below the job's own folder. `None` for a path that is absolute or leaves that folder.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "shared" => Some(Self::Shared),
            "fresh" => Some(Self::Own(String::new())),
            path => {
                let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
                let is_below = !path.is_empty() && Path::new(path).components().all(inside);
                is_below.then(|| Self::Own(path.to_owned()))
            }
        }
    }

    /// The path below the job's own folder; empty for that folder itself. `None` if the script begins elsewhere.
    pub(super) fn own(&self) -> Option<&str> {
        match self {
            Self::Shared | Self::Checkout => None,
            Self::Own(path) => Some(path),
        }
    }
}
