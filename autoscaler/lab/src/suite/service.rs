//! How a fleet serves its demand, step by step.

use crate::Trace;

/// The longest queue, in seconds of the capacity of the moment.
const LONGEST_QUEUE: f64 = 30.0;
const SECONDS: f64 = Trace::STEP as f64;

/// Work that waits, in unit-seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Queue(f64);

/// What became of the work of a step, in unit-seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// What waited and what came.
    pub offered: f64,
    /// What was done.
    pub served: f64,
    /// What was given up.
    pub dropped: f64,
    /// What waits.
    pub queue: f64,
}

impl Queue {
    /// Serves a step.
    ///
    /// * `demand`, `capacity`: in units.
    #[inline]
    pub fn serve(&mut self, demand: f64, capacity: f64) -> Work {
        let offered = self.0 + demand * SECONDS;
        let served = offered.min(capacity * SECONDS);
        let left = offered - served;
        self.0 = left.min(LONGEST_QUEUE * capacity);
        Work { offered, served, dropped: left - self.0, queue: self.0 }
    }
}
