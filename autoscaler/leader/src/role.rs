//! What an elector is, and what it shows of itself.

use crate::{Failure, SessionId};
use fleet::Shared;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A time of leadership that nobody interrupted. Counted by each process for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Term(pub u64);

/// What we are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// We lead and can prove it. A new term begins with the ledger: somebody else may have written it.
    Leader {
        /// Since when, as a number.
        term: Term,
    },
    /// Somebody else leads, or nobody yet: observe, and be ready.
    Standby {
        /// What the leader says of itself, as far as we know.
        leader: Option<Shared<String>>,
    },
    /// We led and cannot prove that we still do: no write begins. Observe, and say so.
    Lost {
        /// The term that goes on if the lock proves to have been ours all the time.
        term: Term,
    },
    /// We gave it up for good.
    Resigned,
}

impl Role {
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Leader { .. } => "leader",
            Self::Standby { .. } => "standby",
            Self::Lost { .. } => "lost",
            Self::Resigned => "resigned",
        }
    }
}

/// What keeps failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Which request ([`crate::Request::label`]).
    pub operation: &'static str,
    /// Since when, in monotonic time.
    pub since: Duration,
    /// How often in a row.
    pub failures: u32,
    /// Why, the last time.
    pub failure: Failure,
}

/// An elector at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What we are.
    pub role: Role,
    /// Until when a write may be begun, in monotonic time; `None`: none may.
    pub lease_until: Option<Duration>,
    /// When the last lease ended, in monotonic time, where we led and cannot prove any more that we do.
    pub lost_at: Option<Duration>,
    /// Our session, where we have one.
    pub session: Option<SessionId>,
    /// What keeps failing, oldest first; empty when all is well.
    pub troubles: Vec<Trouble>,
}
