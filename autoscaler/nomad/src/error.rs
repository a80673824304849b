//! What can go wrong with a call to Nomad.

pub(crate) use fleet::chain;
use fleet::{ApiError, ErrorClass};
use std::path::PathBuf;
use std::time::Duration;

/// The service's name in errors and metrics.
const SERVICE: &str = "nomad";

/// A call, for an error to say which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was asked, in Nomad's words: `drain node`.
    pub operation: &'static str,
    /// Whether it changes something.
    pub write: bool,
}

/// A failed call: fits after "failed to ".
#[derive(Debug, thiserror::Error)]
pub enum NomadError {
    /// Nomad answered, but not with success.
    #[error("{}: Nomad answered {status}: {message}", call.operation)]
    Status {
        /// The call.
        call: Call,
        /// The status code.
        status: u16,
        /// Nomad's words, bounded.
        message: String,
        /// When it said to come back, if it did.
        retry_after: Option<Duration>,
    },
    /// No connection: nothing was sent.
    #[error("{}: no connection to Nomad", call.operation)]
    Unreachable {
        /// The call.
        call: Call,
        /// Why; without the address, which may carry a password.
        source: reqwest::Error,
    },
    /// It was sent, and no whole answer came: cut off, or too late.
    #[error("{}: no whole answer from Nomad", call.operation)]
    Cut {
        /// The call.
        call: Call,
        /// Why.
        source: reqwest::Error,
    },
    /// Leadership was lost before it was sent: nothing was.
    #[error("{}: leadership was lost before it was sent", call.operation)]
    Fenced {
        /// The call.
        call: Call,
    },
    /// The answer is larger than any that is expected.
    #[error("{}: the answer is larger than {limit} bytes", call.operation)]
    TooLarge {
        /// The call.
        call: Call,
        /// The bound.
        limit: usize,
    },
    /// The answer is not what Nomad's API says.
    #[error("{}: the answer cannot be read", call.operation)]
    Malformed {
        /// The call.
        call: Call,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The file of the token cannot be used.
    #[error("{}: the token in {} cannot be used: {why}", call.operation, path.display())]
    Token {
        /// The call.
        call: Call,
        /// The file.
        path: PathBuf,
        /// Why not; never what it holds.
        why: String,
    },
    /// The options name no server that could be asked.
    #[error("ask Nomad at {address}: {why}")]
    Address {
        /// What is named, without user and password.
        address: String,
        /// Why not.
        why: String,
    },
    /// The files of TLS cannot be used.
    #[error("speak TLS with {}: {why}", path.display())]
    Tls {
        /// The file at fault.
        path: PathBuf,
        /// Why; never what it holds.
        why: String,
    },
    /// The token may not read the work of every namespace: a node could look empty and not be.
    #[error("list allocations: the token needs read-job in all namespaces (namespace \"*\")")]
    NotAllNamespaces {
        /// Nomad's answer.
        #[source]
        denied: Box<NomadError>,
    },
}

impl NomadError {
    /// What to make of it.
    ///
    /// A write whose answer did not come, or not whole, is `Unclear`; so is one that failed inside Nomad, unless
    /// Nomad's words say that nothing was done. All writes here set and never add, so that repeating one is safe.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Status { call, status, message, retry_after } => {
                class_of(call.write, *status, message, *retry_after)
            }
            Self::Unreachable { .. } => ErrorClass::Transient,
            Self::Cut { call, .. } if !call.write => ErrorClass::Transient,
            Self::TooLarge { call, .. } | Self::Malformed { call, .. } if !call.write => {
                ErrorClass::Malformed
            }
            Self::Cut { .. } | Self::TooLarge { .. } | Self::Malformed { .. } => ErrorClass::Unclear,
            Self::Token { .. } | Self::Tls { .. } | Self::NotAllNamespaces { .. } => ErrorClass::Denied,
            Self::Address { .. } => ErrorClass::Malformed,
            Self::Fenced { .. } => ErrorClass::Conflict,
        }
    }

    /// The call's name in metrics.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Status { call, .. }
            | Self::Unreachable { call, .. }
            | Self::Cut { call, .. }
            | Self::TooLarge { call, .. }
            | Self::Malformed { call, .. }
            | Self::Fenced { call }
            | Self::Token { call, .. } => call.operation,
            Self::Address { .. } | Self::Tls { .. } => "connect",
            Self::NotAllNamespaces { denied } => denied.operation(),
        }
    }

    /// Whether another server may answer: nothing was done, and not because of what was asked.
    pub(crate) fn elsewhere(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { message, .. } => knows(NOT_DONE, message),
            Self::Cut { call, .. } => !call.write,
            _ => false,
        }
    }
}

impl From<&NomadError> for ApiError {
    /// As the engine's events carry it.
    fn from(error: &NomadError) -> Self {
        let code = match error {
            NomadError::Status { status, .. } => Some(status.to_string()),
            _ => None,
        };
        Self::new(error.class(), SERVICE, error.operation(), code.as_deref(), &chain(error))
    }
}

/// Nomad's words when no server could take the call: nothing was done, and another may take it.
const NOT_DONE: &[&str] = &[
    "No cluster leader",
    "Not ready to serve consistent reads",
    "No path to region",
    "node is not the leader",
];

/// What Nomad answers with 500 although nothing is wrong with it, from its source (1.10).
const NOT_FOUND: &[&str] = &["node not found", "Unknown node", "Unknown job", "Unknown allocation"];

/// What is refused for the state that something is in.
const CONFLICT: &[&str] = &[
    "can not set node's scheduling eligibility to eligible while it is draining",
    "job scaling blocked due to active deployment",
    "job exists with conflicting job modify index",
];

/// What is refused for the token; a server that forwards the call may answer so with 500.
const DENIED: &[&str] =
    &["Permission denied", "ACL token not found", "ACL token expired", "ACL token is invalid"];

fn knows(table: &[&str], message: &str) -> bool {
    table.iter().any(|words| message.contains(words))
}

fn class_of(write: bool, status: u16, message: &str, retry_after: Option<Duration>) -> ErrorClass {
    match status {
        401 | 403 => ErrorClass::Denied,
        404 => ErrorClass::NotFound,
        409 => ErrorClass::Conflict,
        429 => ErrorClass::Throttled { retry_after },
        _ if knows(CONFLICT, message) => ErrorClass::Conflict,
        500..=599 if knows(DENIED, message) => ErrorClass::Denied,
        500..=599 if knows(NOT_FOUND, message) => ErrorClass::NotFound,
        500..=599 if write && !knows(NOT_DONE, message) => ErrorClass::Unclear,
        408 | 500..=599 => ErrorClass::Transient,
        _ => ErrorClass::Malformed,
    }
}
