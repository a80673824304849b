//! `muster-image`: bakes images of nodes, proves them, publishes them, moves channels, and removes what nothing refers to.

mod cli;
mod commands;
mod place;

use fleet_program::{exit, out};
use std::process::ExitCode;

fn main() -> ExitCode {
    fleet_program::run(cli::Cli::run)
}
