//! `muster-autoscaler`: the daemon, and the commands around it.

mod aws;
mod cli;
mod client;
mod commands;
mod demo;
mod journal;
mod lab;
mod log;
mod render;
mod services;

use fleet_program::{exit, out};
use std::process::ExitCode;

fn main() -> ExitCode {
    fleet_program::run(cli::Cli::run)
}
