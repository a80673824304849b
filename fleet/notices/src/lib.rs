//! What AWS says about instances that are to go, read from the bodies in which it comes: EventBridge's messages
//! ([`eventbridge`]) and the documents of the instance metadata service ([`imds`]).
//!
//! Pure and total: a body is text from the network, and whatever it holds, it becomes [`fleet::News`] or a reason
//! why it does not. Bodies are read leniently, because AWS's samples differ from its documents and both change:
//! unknown fields are passed over, and only what decides who is meant must be there.

pub mod eventbridge;
pub mod imds;
mod shortage;
mod words;

pub use shortage::{FailedLaunch, Shortage, failed_launch, shortage};

use std::time::Duration;

/// From an interruption's notice to the end of the instance.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>
pub const SPOT_NOTICE: Duration = Duration::from_secs(120);

/// The largest body that is read, in bytes: EventBridge's own limit of an event.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// Why a body says nothing to us. Fits after "failed to read a message: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Larger than [`MAX_BODY_BYTES`].
    #[error("{bytes} bytes are more than {MAX_BODY_BYTES}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// Not JSON, or not the kind of JSON that it should be.
    #[error("not the JSON that was expected: {message}")]
    NotJson {
        /// The reader's words; they name a place, never the content.
        message: String,
    },
    /// Of a kind that is not known here: the rule behind the queue matches more than it should, or AWS has
    /// something new.
    #[error("no kind of event that is known: {detail_type:?} of {origin:?}")]
    Unknown {
        /// The event's `source`, cut to 64 characters.
        origin: String,
        /// Its `detail-type`, cut to 64 characters.
        detail_type: String,
    },
    /// Without a field that decides what is meant.
    #[error("{field} is missing")]
    Missing {
        /// The field's path.
        field: &'static str,
    },
    /// With a field that cannot be what it should be.
    #[error("{field} cannot be {value:?}")]
    Odd {
        /// The field's path.
        field: &'static str,
        /// What it is, cut to 64 characters.
        value: String,
    },
}

impl Unread {
    /// A word for metrics and records of dead letters.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::NotJson { .. } => "not_json",
            Self::Unknown { .. } => "unknown",
            Self::Missing { .. } => "missing",
            Self::Odd { .. } => "odd",
        }
    }
}
