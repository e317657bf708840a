//! `wfg completions` and `wfg man`: texts made from the definition of the command line.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::context::Context;
use crate::failure::Failure;

#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the completions of `command`.
    pub fn run(&self, context: &Context, mut command: Command) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "wfg", &mut text);
        context.screen.print(&String::from_utf8_lossy(&text))
    }
}

#[derive(Args)]
pub struct ManArgs {
    /// Folder in which the pages are written; made if it is missing
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl ManArgs {
    /// Writes a page for `command`, and one for each command in it.
    pub fn run(&self, command: Command) -> Result<(), Failure> {
        let written = fs::create_dir_all(&self.folder).and_then(|()| clap_mangen::generate_to(command, &self.folder));
        written.map_err(|error| {
            Failure::Usage(format!("the manual pages can't be written to {}: {error}.", self.folder.display()))
        })
    }
}
