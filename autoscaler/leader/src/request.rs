//! What an elector asks of Consul, and what it makes of the answers.

use fleet::{ApiError, Shared};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The id of a Consul session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub Shared<String>);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A question or an order. All are safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Register our service with its TTL check, passing; takes the place of an earlier registration.
    Register,
    /// Make a session that ends with our check or with our node, after ending the one before: what is still under
    /// way in its name can then take no lock.
    CreateSession {
        /// The one before, where there was one. That it has ended already is no failure.
        instead_of: Option<SessionId>,
    },
    /// Read the lock consistently, within half of [`crate::ANSWER_WITHIN`], and then feed the check: in this
    /// order, and the second only if the first succeeded. Who cannot tell whose the lock is must not keep it.
    Renew,
    /// Take the lock, if nobody has it and no delay keeps it.
    Acquire {
        /// For whom.
        session: SessionId,
    },
    /// Read the lock once it is newer than `after`, or when `wait` has passed.
    Watch {
        /// The last [`Lock::index`] that was seen; 0: answer at once.
        after: u64,
        /// For how long at most.
        wait: Duration,
    },
    /// Give the lock back if we have it, then end the session, then remove the registration: in this order, so
    /// that no delay keeps the lock from the next. Later steps are tried even if an earlier one failed.
    Withdraw {
        /// Ours, where we have one.
        session: Option<SessionId>,
    },
}

impl Request {
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::CreateSession { .. } => "create_session",
            Self::Renew => "renew",
            Self::Acquire { .. } => "acquire",
            Self::Watch { .. } => "watch",
            Self::Withdraw { .. } => "withdraw",
        }
    }
}

/// How a request ended. Must be of the kind that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Request::Register`].
    Registered(Result<(), Failure>),
    /// To [`Request::CreateSession`].
    SessionCreated(Result<SessionId, Failure>),
    /// To [`Request::Renew`]: the lock as it was, if the check was fed after that.
    Renewed(Result<Lock, Failure>),
    /// To [`Request::Acquire`]: whether the lock is ours.
    Acquired(Result<bool, Failure>),
    /// To [`Request::Watch`].
    Watched(Result<Lock, Failure>),
    /// To [`Request::Withdraw`]. The first failure, if any.
    Withdrawn(Result<(), Failure>),
}

/// The lock, as it was at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// Whose it is.
    pub session: Option<SessionId>,
    /// What its holder, or its last one, wrote about itself; at most [`Lock::MAX_HOLDER`] bytes.
    pub holder: Option<Shared<String>>,
    /// Consul's index, to wait for something newer.
    pub index: u64,
}

impl Lock {
    /// The most that a holder may say of itself, in bytes.
    pub const MAX_HOLDER: usize = 256;
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The agent does not know our check: it was restarted, or somebody deregistered us.
    #[error("the agent does not know our check")]
    CheckGone,
    /// The session has ended.
    #[error("the session has ended")]
    SessionGone,
    /// Anything else.
    #[error(transparent)]
    Api(#[from] ApiError),
}
