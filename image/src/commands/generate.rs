//! `completions` and `man`: made from the command line itself, so that they are never old.

use crate::cli::Cli;
use crate::exit::{Exit, OrExit, Outcome};
use crate::out;
use clap::{Args, CommandFactory};
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
        let mut command = Cli::command();
        let name = command.get_name().to_owned();
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut text);
        out::print(&String::from_utf8_lossy(&text)).or_exit(Exit::Unavailable, "print the completions")?;
        Ok(Exit::Success)
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
        let directory = &self.directory;
        let what = format!("write manual pages into {}", directory.display());
        std::fs::create_dir_all(directory).or_exit(Exit::Configuration, &what)?;
        clap_mangen::generate_to(Cli::command(), directory).or_exit(Exit::Configuration, what)?;
        out::say(format_args!("wrote the manual pages into {}", directory.display()));
        Ok(Exit::Success)
    }
}
