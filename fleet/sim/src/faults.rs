//! What can be made to go wrong.

use crate::calls::Action;
use crate::rng::Rng;
use fleet::{ErrorClass, Pool};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
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

/// What goes wrong. Read from a file, it concerns every action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Calls are refused before they take effect, with this error.
    Refuse {
        /// Which action; `None`: all.
        #[serde(skip)]
        action: Option<Action>,
        /// Share of the calls, 0..=1.
        share: f64,
        /// What to make of it: by `class`, callers tell the faults apart.
        class: ErrorClass,
        /// EC2's code: `InternalError`, `RequestLimitExceeded`, `UnauthorizedOperation`, …
        code: Cow<'static, str>,
    },
    /// Calls take effect, then their answer is lost: the caller sees `Unclear`.
    LoseAnswer {
        /// Which action; `None`: all.
        #[serde(skip)]
        action: Option<Action>,
        /// Share of the calls, 0..=1.
        share: f64,
    },
    /// Calls take this long. The world itself does not wait; its HTTP face asks [`crate::World::latency`].
    Slow {
        /// Which action; `None`: all.
        #[serde(skip)]
        action: Option<Action>,
        /// How long.
        latency: Duration,
    },
    /// A fleet that is modified stays in `modifying` until the fault ends, and does nothing meanwhile.
    StuckModifying,
    /// Requests are made and stay open: nothing comes, and nothing is said about it. (A pool that says
    /// `InsufficientInstanceCapacity` is one whose depth is used up.)
    NoCapacity {
        /// Which pool; `None`: all.
        pool: Option<Pool>,
    },
    /// EventBridge delivers as badly as it may: at least once is said of it, and in any order.
    Events(Delivery),
}

/// How events are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Share of the events that never come, 0..=1.
    pub lost: f64,
    /// Share of the others that come twice, 0..=1.
    pub doubled: f64,
    /// Share of the deliveries that come late, each by its own time, and so in another order, 0..=1.
    pub late: f64,
    /// How late at most; drawn evenly.
    pub by: Duration,
}

impl Fault {
    /// From now on (the start of the world, in its spec), until it is cleared.
    pub const fn lasting(effect: Effect) -> Self {
        Self { from: Duration::ZERO, until: None, effect }
    }
    fn in_force(&self, offset: Duration) -> bool {
        self.from <= offset && self.until.is_none_or(|until| offset < until)
    }
}

impl Effect {
    /// EC2's own answer to too many calls, for a share of the calls of every action.
    pub const fn throttle(share: f64) -> Self {
        let class = ErrorClass::Throttled { retry_after: None };
        Self::Refuse { action: None, share, class, code: Cow::Borrowed("RequestLimitExceeded") }
    }
}

/// The faults of a world. Times are offsets from its start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    all: Vec<Fault>,
}

impl Faults {
    pub(crate) fn new(all: Vec<Fault>) -> Self {
        Self { all }
    }
    pub(crate) fn add(&mut self, fault: Fault) -> FaultId {
        self.all.push(fault);
        FaultId(self.all.len() - 1)
    }
    pub(crate) fn clear(&mut self, fault: FaultId, offset: Duration) {
        if let Some(fault) = self.all.get_mut(fault.0) {
            fault.until = Some(fault.until.map_or(offset, |until| until.min(offset)));
        }
    }
    fn now(&self, offset: Duration) -> impl Iterator<Item = &Effect> {
        self.all.iter().filter(move |fault| fault.in_force(offset)).map(|fault| &fault.effect)
    }
    /// The error that a call is refused with, if it is. Draws by chance only where a fault concerns the call.
    pub(crate) fn refusal(
        &self,
        action: Action,
        offset: Duration,
        chance: &mut Rng,
    ) -> Option<(ErrorClass, Cow<'static, str>)> {
        self.now(offset).find_map(|effect| match effect {
            Effect::Refuse { action: of, share, class, code } if concerns(*of, action) => {
                chance.chance(*share).then(|| (*class, code.clone()))
            }
            _ => None,
        })
    }
    /// Whether the answer to a call that took effect is lost.
    pub(crate) fn loses_answer(&self, action: Action, offset: Duration, chance: &mut Rng) -> bool {
        self.now(offset).any(|effect| match effect {
            Effect::LoseAnswer { action: of, share } => concerns(*of, action) && chance.chance(*share),
            _ => false,
        })
    }
    /// How long a call takes: the longest of what is in force.
    pub(crate) fn latency(&self, action: Action, offset: Duration) -> Duration {
        let latencies = self.now(offset).map(|effect| match effect {
            Effect::Slow { action: of, latency } if concerns(*of, action) => *latency,
            _ => Duration::ZERO,
        });
        latencies.max().unwrap_or_default()
    }
    /// Whether fleets stay in `modifying`.
    pub(crate) fn stuck(&self, offset: Duration) -> bool {
        self.now(offset).any(|effect| matches!(effect, Effect::StuckModifying))
    }
    /// How events are delivered; `None`: as they should be. The first in force holds.
    pub(crate) fn delivery(&self, offset: Duration) -> Option<Delivery> {
        self.now(offset).find_map(|effect| match effect {
            Effect::Events(delivery) => Some(*delivery),
            _ => None,
        })
    }
    /// Whether requests in a pool stay open.
    pub(crate) fn withheld(&self, pool: &Pool, offset: Duration) -> bool {
        self.now(offset).any(|effect| match effect {
            Effect::NoCapacity { pool: of } => of.as_ref().is_none_or(|of| of == pool),
            _ => false,
        })
    }
}

fn concerns(of: Option<Action>, action: Action) -> bool {
    of.is_none_or(|of| of == action)
}

/// A fault that was injected: to clear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(pub(crate) usize);
