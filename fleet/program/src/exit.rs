//! How the program ends: the exit codes of sysexits, and the one place that prints an error.

use crate::out::Terminal;
use anyhow::Error;
use fleet::{ApiError, ErrorClass};
use std::fmt::{self, Display};
use std::process::ExitCode;

/// What an exit code tells whoever started the program. `RestartPreventExitStatus=64 77 78` in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// The command line, or what it asks for, makes no sense.
    Usage = 64,
    /// What was handed in, such as an image or a recording of load, is not what it should be.
    Data = 65,
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
    /// Somebody ended it before its time.
    Interrupted = 130,
}

impl Exit {
    /// The exit code of a number that another crate gives, where it is one of these.
    pub const fn of(code: u8) -> Self {
        match code {
            0 => Self::Success,
            64 => Self::Usage,
            69 => Self::Unavailable,
            75 => Self::TryAgain,
            77 => Self::Denied,
            78 => Self::Configuration,
            _ => Self::Bug,
        }
    }

    /// What a failed call of a service comes to.
    pub const fn of_class(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Denied => Self::Denied,
            ErrorClass::Throttled { .. }
            | ErrorClass::Transient
            | ErrorClass::Unclear
            | ErrorClass::Conflict => Self::TryAgain,
            ErrorClass::NotFound | ErrorClass::NoCapacity => Self::Unavailable,
            ErrorClass::Malformed => Self::Bug,
        }
    }
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
    error: Error,
}

/// How a command ends. An exit other than success without a failure has been explained already.
pub type Outcome = Result<Exit, Failure>;

impl Failure {
    /// A failure with these words.
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Self { exit, error: Error::msg(message.to_string()) }
    }

    /// A failure that says "failed to `what`: …".
    pub fn because(exit: Exit, what: impl Display, error: impl Into<Error>) -> Self {
        Self { exit, error: error.into().context(format!("failed to {what}")) }
    }

    /// A failed call of a service, with the exit code of its class.
    pub fn of_call(what: impl Display, error: ApiError) -> Self {
        Self::because(Exit::of_class(error.class), what, error)
    }

    /// Prints the error with its causes.
    pub(crate) fn report(&self, program: &str, terminal: Terminal) {
        terminal.complain(program, &self.to_string());
    }
}

/// The error with its causes, as it is reported.
impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

/// Turns errors into failures.
pub trait OrExit<T> {
    /// Ends with `exit`, saying "failed to `what`: …".
    fn or_exit(self, exit: Exit, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Into<Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::because(exit, what, error))
    }
}
