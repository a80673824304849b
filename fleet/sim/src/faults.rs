//! What can be made to go wrong.

use crate::calls::Action;
use fleet::{ErrorClass, Pool};
use std::time::Duration;

/// Something that goes wrong for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// From here on, counted from the start of the world.
    pub from: Duration,
    /// Up to here, not included; `None`: until it is cleared.
    pub until: Option<Duration>,
    /// What goes wrong.
    pub effect: Effect,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Calls are refused before they take effect, with this error.
    Refuse {
        /// Which action; `None`: all.
        action: Option<Action>,
        /// Share of the calls, 0..=1.
        share: f64,
        /// What to make of it: by `class`, callers tell the faults apart.
        class: ErrorClass,
        /// EC2's code: `InternalError`, `RequestLimitExceeded`, `UnauthorizedOperation`, …
        code: &'static str,
    },
    /// Calls take effect, then their answer is lost: the caller sees `Unclear`.
    LoseAnswer {
        /// Which action; `None`: all.
        action: Option<Action>,
        /// Share of the calls, 0..=1.
        share: f64,
    },
    /// Calls take this long. The world itself does not wait; its HTTP face asks [`crate::World::latency`].
    Slow {
        /// Which action; `None`: all.
        action: Option<Action>,
        /// How long.
        latency: Duration,
    },
    /// A fleet that is modified stays in `modifying` until the fault ends, and does nothing meanwhile.
    StuckModifying,
    /// No pool gives anything: requests are made, and nothing comes.
    NoCapacity {
        /// Which pool; `None`: all.
        pool: Option<Pool>,
    },
}

/// A fault that was injected: to clear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(pub(crate) usize);
