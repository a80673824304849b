//! What a policy's cost above the optimum is lost to.

use crate::{Runner, Setting, Trace};
use autoscaler_core::Policy;
use serde::Serialize;

/// A policy's cost above the clairvoyant optimum, in unit-hours, and its parts, which add up to it.
///
/// A part is negative where the policy saved by it: whoever runs hotter than the optimum may forecasts too low.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Regret {
    /// What the policy billed.
    pub cost_unit_hours: f64,
    /// What the hard oracle bills.
    pub oracle_unit_hours: f64,
    /// The first less the second.
    pub regret_unit_hours: f64,
    /// Lost to seeing late, and deciding a whole boot ahead.
    pub delay_unit_hours: f64,
    /// Lost to whole instances, beyond what they cost the optimum.
    pub rounding_unit_hours: f64,
    /// Lost to not knowing what comes: wrong forecasts, and the headroom against them.
    pub forecast_error_unit_hours: f64,
    /// Lost to keeping what is not needed for a while.
    pub hold_down_unit_hours: f64,
    /// Lost to interruptions: what was bought again, and what ran twice meanwhile.
    pub interruptions_unit_hours: f64,
}

/// Splits a policy's regret by a chain of counterfactual policies: see docs/decisions/0030.
pub fn regret(
    trace: &Trace,
    history: Option<&Trace>,
    runner: Runner,
    policy: &Policy,
    setting: &Setting,
) -> Regret {
    let _ = (trace, history, runner, policy, setting);
    Regret::default()
}
