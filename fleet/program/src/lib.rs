//! How muster's programs for operators meet people: what they print and where, how they end, and what is made of their
//! command lines.

pub mod exit;
mod generate;
pub mod out;

use clap::{CommandFactory, Parser};
use exit::{Exit, Outcome};
pub use generate::{completions, manual};
use out::Terminal;
use std::process::ExitCode;

/// Reads the command line, does what it says, and tells whoever started the program how that went.
///
/// * `carry_out`: does it; what it fails with is printed here.
/// * returns: the exit code; 64 where the command line makes no sense.
pub fn run<C: Parser + CommandFactory>(carry_out: impl FnOnce(C, Terminal) -> Outcome) -> ExitCode {
    let cli = match C::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data, a wrong command line is talk; clap knows where each belongs.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    let terminal = Terminal::new(wants_no_colour());
    match carry_out(cli, terminal) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report(C::command().get_name(), terminal);
            failure.exit.into()
        }
    }
}

/// Whether the user wants no colour anywhere. The environment is read here and, for options, by clap.
#[expect(clippy::disallowed_methods, reason = "a program begins by reading its environment")]
fn wants_no_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    set("NO_COLOR") || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
