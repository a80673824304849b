//! How the program ends: sysexits, and cloud-init's codes for `status`.

use std::fmt;
use std::process::ExitCode;

/// What an exit code tells whoever started the program. `RestartPreventExitStatus=64 78` in the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// `status`: the boot has failed. `verify-image`: something is left.
    Failed = 1,
    /// `status`: the node works, and something is left out.
    Degraded = 2,
    /// The command line makes no sense.
    Usage = 64,
    /// Somebody who is needed cannot be reached.
    Unavailable = 69,
    /// A bug in here.
    Bug = 70,
    /// Not now; again later.
    TryAgain = 75,
    /// Not allowed.
    Denied = 77,
    /// A file is wrong. Again will not help.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, and what that means to whoever started it.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// A failure in these words.
    pub fn new(exit: Exit, words: impl fmt::Display) -> Self {
        Self { exit, error: anyhow::Error::msg(words.to_string()) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

/// How a command ends.
pub type Outcome = Result<Exit, Failure>;

/// Turns errors into failures.
pub trait OrExit<T> {
    /// Ends with `exit`, saying "failed to `what`: …".
    fn or_exit(self, exit: Exit, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into().context(format!("failed to {what}")) })
    }
}
