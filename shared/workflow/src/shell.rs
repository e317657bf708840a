//! What reads a script.

use serde::{Deserialize, Serialize};

use super::workdir::Workdir;

/// What reads a script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shell {
    /// The `sh` that runs the command, without options. It reads the scripts of the list form, and those that are made of
    /// steps, which begin shells of their own.
    #[default]
    Plain,
    /// `bash --noprofile --norc -eo pipefail`, or `sh -e` where there is no bash.
    Strict,
    /// The same bash. The job fails where there is none.
    Bash,
    /// `sh -e`.
    Sh,
    /// A program with its arguments, at least one word. The path of a file with the script is its last argument.
    Program(Vec<String>),
}

impl Shell {
    /// The program that a machine must have, if the workflow file names one.
    #[must_use]
    pub fn program(&self) -> Option<&str> {
        match self {
            Self::Plain | Self::Strict | Self::Sh => None,
            Self::Bash => Some("bash"),
            Self::Program(words) => words.first().map(String::as_str),
        }
    }

    /// The program that can be looked for before the script begins: not one at a path below the job's own folder, which is empty
    /// until then, or below its checkout.
    pub(super) fn program_to_find(&self, workdir: &Workdir) -> Option<&str> {
        let is_below = |program: &str| program.contains('/') && !program.starts_with('/');
        self.program().filter(|program| *workdir == Workdir::Shared || !is_below(program))
    }

    /// How the name of a file with a script must end, for programs that look at it.
    pub(super) fn suffix(&self) -> &'static str {
        let name = self.program().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
        match name {
            "pwsh" | "powershell" => ".ps1",
            name if name.starts_with("python") => ".py",
            _ => "",
        }
    }
}
