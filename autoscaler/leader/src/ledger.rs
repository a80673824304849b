//! The ledger that the next leader carries on with: bytes under a key, written by the leader alone.
//!
//! A write is one transaction of Consul's: the lock is still our session's, and the ledger is still the version
//! that we know. So a stale leader can write nothing, whatever its clock says.

use crate::SessionId;
use fleet::{ApiError, ErrorClass};
use serde::{Deserialize, Serialize};

/// The largest ledger. Consul refuses values above 512 KiB, and a transaction carries them in base64.
pub const MAX_LEDGER_BYTES: usize = 256 * 1024;

/// Consul's index of a ledger's last write: what a compare-and-set compares. 0: there is none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LedgerVersion(pub u64);

/// A question or an order about a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerRequest {
    /// Read it, consistently.
    Read {
        /// Which: a fleet's name, say.
        name: String,
    },
    /// Write it, if we lead and it is still as we know it.
    Write {
        /// Which.
        name: String,
        /// The whole of it; at most [`MAX_LEDGER_BYTES`].
        bytes: Vec<u8>,
        /// What it must be now.
        expected: LedgerVersion,
        /// Who must have the lock: [`crate::Elector::session`].
        session: SessionId,
    },
}

/// A ledger as it was read. None yet: no bytes, version 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerRead {
    /// The whole of it.
    pub bytes: Vec<u8>,
    /// To write over it.
    pub version: LedgerVersion,
}

/// Why a ledger was not read or not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// It is too large to be kept. Nothing was sent.
    #[error("a ledger of {bytes} bytes is larger than {MAX_LEDGER_BYTES}")]
    TooLarge {
        /// How large.
        bytes: usize,
    },
    /// The lock is not ours (FENCE). Nothing was written.
    #[error("the lock is not ours: {message}")]
    Fenced {
        /// Consul's words.
        message: String,
    },
    /// It is not as we know it: read it again. Nothing was written.
    #[error("the ledger is not as it was: {message}")]
    Conflict {
        /// Consul's words.
        message: String,
    },
    /// Anything else. After [`ErrorClass::Unclear`] it may have been written: read it again.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl LedgerError {
    /// What to make of it.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::TooLarge { .. } => ErrorClass::Malformed,
            Self::Fenced { .. } | Self::Conflict { .. } => ErrorClass::Conflict,
            Self::Api(error) => error.class(),
        }
    }
}
