//! `completions` and `man`: made from the command line itself, so that they are never old.

use crate::exit::{Exit, OrExit, Outcome};
use crate::out;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;

/// Prints the completions of a shell.
pub fn completions<C: CommandFactory>(shell: Shell) -> Outcome {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    out::print(&String::from_utf8_lossy(&text)).or_exit(Exit::Unavailable, "print the completions")?;
    Ok(Exit::Success)
}

/// Writes the manual pages into a directory, which is made where it is missing.
pub fn manual<C: CommandFactory>(directory: &Path) -> Outcome {
    let what = format!("write manual pages into {}", directory.display());
    std::fs::create_dir_all(directory).or_exit(Exit::Configuration, &what)?;
    clap_mangen::generate_to(C::command(), directory).or_exit(Exit::Configuration, what)?;
    out::say(format_args!("wrote the manual pages into {}", directory.display()));
    Ok(Exit::Success)
}
