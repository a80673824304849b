//! `decide`: the policy in somebody else's simulator.

use crate::commands::run::load;
use crate::exit::{Exit, Failure, Outcome};
use crate::out::Terminal;
use autoscaler_lab::decide::{DriveError, drive};
use std::io;
use std::path::PathBuf;

/// Answer observations with decisions, a line of JSON each, by the very code that `run` runs.
///
/// Reads one observation a line from standard input and writes one decision a line to standard output, at once. There
/// is no clock but the `t` of the observations, so that a simulator may run as fast as it can. A line that cannot be
/// used is answered with {"line": N, "error": "..."}, changes nothing, and the stream goes on. A fleet named `default`
/// in the policies stands for all that have no policy of their own.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  muster-autoscaler decide --config web.hcl < observations.jsonl > decisions.jsonl
  my-simulator | muster-autoscaler decide --config web.hcl

The format, line by line: docs/decide.md")]
pub struct Args {
    /// Policy file, or directory whose *.hcl files are policy files.
    #[arg(long, value_name = "FILE|DIR")]
    config: PathBuf,
}

impl Args {
    /// Answers until the input ends.
    pub fn run(self, terminal: Terminal) -> Outcome {
        let policies = load(&[self.config], terminal)?.set;
        match drive(&policies.fleets, io::stdin().lock(), io::stdout().lock()) {
            Ok(_) => Ok(Exit::Success),
            // Whoever read the answers has seen enough.
            Err(DriveError::Write { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
                Ok(Exit::Success)
            }
            Err(error @ DriveError::Read { .. }) => Err(Failure::because(Exit::Data, "read on", error)),
            Err(error @ DriveError::Write { .. }) => Err(Failure::because(Exit::Unavailable, "go on", error)),
        }
    }
}
