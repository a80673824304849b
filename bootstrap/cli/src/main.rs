//! `muster-bootstrap`: the agent of a node, and the commands around it.

mod aws;
mod cli;
mod commands;
mod exit;
mod log;
mod memory;
mod out;
mod run;
mod service;

use clap::Parser as _;
use exit::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data, a wrong command line is talk; clap knows where each belongs.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    match cli.run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            out::say(format_args!("muster-bootstrap: {failure}"));
            failure.exit.into()
        }
    }
}
