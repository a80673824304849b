//! Calls that were handed out and are waited for.

use crate::Request;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A call that was handed out, for its answer. Unique in an elector's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// A call that is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    id: CallId,
    /// When it was handed out: no later than it was begun.
    pub(crate) begun: Duration,
    lost_at: Duration,
    /// [`Request::label`].
    pub(crate) label: &'static str,
}

/// A place for one call at a time.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pending: Option<Pending>,
    /// Before that, no call is made.
    pub(crate) not_before: Duration,
}

impl Slot {
    /// Whether a call can be made now.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.pending.is_none() && now >= self.not_before
    }

    /// Takes note of a call that is handed out at `now`.
    pub(crate) fn open(&mut self, id: CallId, request: &Request, now: Duration, within: Duration) {
        self.pending = Some(Pending { id, begun: now, lost_at: now + within, label: request.label() });
    }

    /// The call that an answer is to, if it is still waited for.
    pub(crate) fn close(&mut self, id: CallId) -> Option<Pending> {
        self.pending.take_if(|pending| pending.id == id)
    }

    /// A call that nobody answered in time.
    pub(crate) fn give_up(&mut self, now: Duration) -> Option<Pending> {
        self.pending.take_if(|pending| pending.lost_at <= now)
    }

    /// When something is to be done here.
    pub(crate) fn next(&self) -> Duration {
        self.pending.map_or(self.not_before, |pending| pending.lost_at)
    }

    /// Whether a call is waited for.
    pub(crate) const fn is_busy(&self) -> bool {
        self.pending.is_some()
    }
}
