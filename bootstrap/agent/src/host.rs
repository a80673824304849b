//! What has to be done as root, and who does it.
//!
//! The agent has no rights. What needs them is asked of the [`Host`]: a handful of requests, each of which names
//! something that a file of the image allows. In production [`Spool`] writes the request into a directory that a path
//! unit of systemd watches; the oneshot that it starts ([`serve`]) carries it out with [`Hands`] and writes the answer, and stays for
//! as long as the next one may be a moment away ([`is_asked`]).

mod hands;
mod spool;

pub use hands::{Hands, Systemctl, Units};
pub use spool::{Spool, is_asked, serve};

use bootstrap_core::Failure;
use fleet::{ErrorClass, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use zeroize::Zeroize;

/// What is done to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// `systemctl start`.
    Start,
    /// `systemctl restart`.
    Restart,
    /// `systemctl try-restart`: nothing, where it does not run.
    TryRestart,
    /// `systemctl try-reload-or-restart`: nothing, where it does not run.
    Reload,
    /// `systemctl stop`.
    Stop,
    /// `systemctl kill --signal=SIGTERM`: what Nomad's client leaves upon, after it has drained its node; nobody waits for that.
    Terminate,
}

impl Verb {
    /// A word for it: `systemctl`'s own, where there is one.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::TryRestart => "try-restart",
            Self::Reload => "try-reload-or-restart",
            Self::Stop => "stop",
            Self::Terminate => "terminate",
        }
    }
}

/// A text that may hold secrets: `Debug` does not print it, and it does not outlive its use in memory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contents(pub String);

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}
impl Drop for Contents {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Something that needs root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Writes a file of the `host` block, whole, with its owner and mode. Writing what it holds already changes nothing.
    Place {
        /// Its name there.
        file: String,
        /// What it is to hold.
        contents: Contents,
    },
    /// Does something to a unit of the `host` block, and waits for it.
    Unit {
        /// What.
        verb: Verb,
        /// The unit.
        unit: String,
    },
    /// Installs a package of the `host` block, if it is what that says.
    Install {
        /// Its name there.
        package: String,
    },
    /// Empties a directory of the `host` block.
    Empty {
        /// Its name there.
        directory: String,
    },
    /// Says whether a file of the `host` block is there with its owner and mode, and holds a text. Changes nothing.
    Compare {
        /// Its name there.
        file: String,
        /// The SHA-256 of the text, in hexadecimal.
        sha256: String,
    },
    /// Says whether what a unit of the `host` block runs was started before a time. Changes nothing.
    StartedBefore {
        /// The unit.
        unit: String,
        /// The time.
        at: Timestamp,
    },
    /// Says whether a package of the `host` block is installed, with its files as they came. Changes nothing.
    Inspect {
        /// Its name there.
        package: String,
    },
    /// Powers the instance off.
    PowerOff,
}

impl Request {
    /// Whether it cannot wait for what is under way: an instance that goes leaves two minutes to drain it.
    pub const fn is_urgent(&self) -> bool {
        matches!(self, Self::Unit { verb: Verb::Terminate, .. })
    }

    /// Whether it changes nothing.
    pub const fn is_question(&self) -> bool {
        matches!(self, Self::Compare { .. } | Self::StartedBefore { .. } | Self::Inspect { .. })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { file, contents: _ } => write!(f, "write the file {file}"),
            Self::Unit { verb, unit } => write!(f, "{} {unit}", verb.word()),
            Self::Install { package } => write!(f, "install the package {package}"),
            Self::Empty { directory } => write!(f, "empty the directory {directory}"),
            Self::Compare { file, sha256: _ } => write!(f, "look at the file {file}"),
            Self::StartedBefore { unit, at: _ } => write!(f, "say since when {unit} runs"),
            Self::Inspect { package } => write!(f, "look at the package {package}"),
            Self::PowerOff => f.write_str("power the instance off"),
        }
    }
}

/// Whether it changed anything, or what was asked is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// It was so already; of a question: it is so.
    Unchanged,
    /// It is not so: of a question alone.
    Otherwise,
    /// It is now.
    Changed,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the host did not {request}: {why}")]
pub struct HostError {
    /// What was asked.
    pub request: String,
    /// Why not.
    pub why: String,
    /// What to make of it.
    pub class: ErrorClass,
}

impl HostError {
    pub(crate) fn new(request: &Request, class: ErrorClass, why: impl fmt::Display) -> Self {
        Self { request: request.to_string(), why: why.to_string(), class }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::new(error.class, error)
    }
}

/// An answer that comes later.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Done, HostError>> + Send + 'a>>;

/// Whoever does what needs root.
///
/// Every request may be repeated: what is so already is left as it is, but for restarting, reloading and emptying.
/// `Unclear` means that it may have been done.
pub trait Host: Send + Sync {
    /// Has it done.
    fn ask(&self, request: Request) -> Answering<'_>;
}
