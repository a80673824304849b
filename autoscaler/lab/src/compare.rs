//! Policies side by side: who is cheaper at the same breach, and the table of all of them.

use crate::oracle::Point;
use crate::{Outcome, Runner, Setting, Trace};
use autoscaler_core::Policy;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The whole table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// One run a trace, setting and runner, in this order.
    pub outcomes: Vec<Outcome>,
    /// Our cost over the rivals' at the same breach, one entry a trace, setting and rival.
    pub at_equal_breach: Vec<EqualBreach>,
    /// Geometric means of it over the traces, one entry a setting and rival.
    pub means: Vec<(u32, Runner, f64)>,
    /// Simulated days per second on one core, by runner, oracle and clauses included.
    pub days_per_second: Vec<(Runner, f64)>,
}

/// Our cost over a rival's at the breach that we had.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EqualBreach {
    /// The trace.
    pub trace: String,
    /// From request to serving, in seconds.
    pub boot: u32,
    /// The rival, tuned in hindsight by its target.
    pub rival: Runner,
    /// Our cost over its cost; `None` where it cannot have so little breach at any target.
    pub ratio: Option<f64>,
    /// Its front.
    pub front: Vec<Point>,
}

/// What a rival would have cost at a breach, by its front: linear between its points in the logarithm of breach.
///
/// * returns: `None` where it never has so little.
pub fn cost_at_breach(front: &[Point], breach80_ratio: f64) -> Option<f64> {
    let _ = (front, breach80_ratio);
    None
}

/// Runs all of `runners` over all traces in all settings, and our policy against AWS target tracking and Nomad
/// Autoscaler, each tuned in hindsight.
///
/// * `traces`: each with what may be learned from before.
/// * `clock`: time since some moment, for the figures per core.
pub fn table(
    traces: &[(Trace, Option<Trace>)],
    runners: &[Runner],
    policy: &Policy,
    settings: &[Setting],
    threads: NonZeroUsize,
    stop: &AtomicBool,
    clock: &(dyn Fn() -> Duration + Sync),
) -> Table {
    let _ = (traces, runners, policy, settings, threads, stop, clock);
    Table::default()
}
