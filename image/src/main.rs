//! `muster-image`: bakes images of nodes, proves them, publishes them, moves channels, and removes what nothing refers to.

mod cli;
mod commands;
mod exit;
mod out;
mod place;

use clap::Parser;
use exit::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    let terminal = out::Terminal::new(wants_no_colour());
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data, a wrong command line is talk; clap knows where each belongs.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    match cli.run(terminal) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report(terminal);
            failure.exit.into()
        }
    }
}

/// Whether the user wants no colour anywhere. The environment is read here and, for options, by clap.
#[expect(clippy::disallowed_methods, reason = "main is where the environment is read")]
fn wants_no_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    set("NO_COLOR") || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
