//! `completions` and `man`: made from the command line itself, so that they are never old.

use crate::cli::Cli;
use crate::exit::Outcome;
use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

/// Print the completions of a shell.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  muster-image completions bash > /etc/bash_completion.d/muster-image
  muster-image completions zsh > ~/.zfunc/_muster-image
  muster-image completions fish > ~/.config/fish/completions/muster-image.fish")]
pub struct Completions {
    /// Which shell.
    shell: Shell,
}

impl Completions {
    /// Prints them.
    pub fn run(self) -> Outcome {
        fleet_program::completions::<Cli>(self.shell)
    }
}

/// Write the manual pages into a directory.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  muster-image man /usr/local/share/man/man1
  muster-image man . && man ./muster-image-promote.1")]
pub struct Man {
    /// The directory; it is made where it is missing.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Man {
    /// Writes them.
    pub fn run(self) -> Outcome {
        fleet_program::manual::<Cli>(&self.directory)
    }
}
