//! The clairvoyant optimum: what could have been had at best by whoever knows demand in advance.

use crate::Trace;
use autoscaler_core::Policy;
use serde::Serialize;

/// Capacity by the minute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// What it bills, launches included.
    pub unit_hours: f64,
    /// Units in service, by the minute from the start of the trace.
    pub units: Vec<u32>,
}

/// A point of a front of cost against breach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// What is varied along the front: the price of a missing unit-minute, or a rival's target.
    pub setting: f64,
    /// Unit-hours billed.
    pub cost_unit_hours: f64,
    /// The same over the hard oracle's.
    pub cost_ratio: f64,
    /// Share of time with demand above 0.8 of the capacity in service.
    pub breach80_ratio: f64,
    /// Share of time with demand above the capacity in service.
    pub saturated_ratio: f64,
}

/// The least unit-hours with which demand stays at or below the target in every minute.
///
/// * `boot`: from request to serving, in seconds: billed, and serving nobody.
///
/// O(minutes x max), one row of memory.
pub fn optimum(trace: &Trace, policy: &Policy, boot: u32) -> f64 {
    let _ = (trace, policy, boot);
    f64::NAN
}

/// The same, and what is in service when.
pub fn schedule(trace: &Trace, policy: &Policy, boot: u32) -> Schedule {
    let _ = (trace, policy, boot);
    Schedule { unit_hours: f64::NAN, units: Vec::new() }
}

/// The soft oracle's front: the optimum when a unit that is missing for a minute costs so many unit-minutes, for
/// each of some penalties.
pub fn front(trace: &Trace, policy: &Policy, boot: u32, penalties: &[f64]) -> Vec<Point> {
    let _ = (trace, policy, boot, penalties);
    Vec::new()
}
