//! What a job says about its checkout, and what a run knows about the commit.

use serde::{Deserialize, Serialize};

use super::bounds::is_default;

/// A job's checkout: the commit of its run is put into `$JOB_DIR/src` before the script begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkout {
    /// Commits of the history that are fetched. 0: all of it, with all branches and tags.
    pub depth: u32,
    /// Whether submodules are checked out too, with their own.
    #[serde(skip_serializing_if = "is_default")]
    pub submodules: bool,
    /// Whether the files of Git LFS are fetched. Otherwise their pointers stay.
    #[serde(skip_serializing_if = "is_default")]
    pub lfs: bool,
    /// The folders that are checked out. Empty: everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// What becomes of the credential.
    #[serde(skip_serializing_if = "is_default")]
    pub credentials: Credentials,
}

impl Default for Checkout {
    fn default() -> Self {
        Self { depth: 1, submodules: false, lfs: false, paths: Vec::new(), credentials: Credentials::Drop }
    }
}

/// What becomes of the credential of a checkout.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, strum::EnumString, strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Credentials {
    /// It is gone when the script begins.
    #[default]
    Drop,
    /// The script has it, and so has its git.
    Keep,
    /// The checkout has none.
    None,
}

/// What a run checks out, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckoutFrom {
    /// The repository's address, without a user or a password.
    pub url: String,
    /// The full id of the commit. Empty: the commit that the first of `refs` shows.
    pub commit: String,
    /// Refs that lead to the commit, for a server that doesn't give a commit by its id.
    pub refs: Vec<String>,
    /// The credential, if there is one. It is in the variable [`protocol::wire::CHECKOUT_TOKEN`].
    pub credential: Option<CheckoutCredential>,
}

/// How a checkout's credential is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckoutCredential {
    /// The user's name that the forge expects with it.
    pub user: String,
    /// The value, for a command that sets the variable itself. `None`: the worker sets it.
    pub set: Option<protocol::SecretValue>,
}
