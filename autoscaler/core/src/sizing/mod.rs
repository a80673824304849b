//! Sizing: estimate demand, forecast it, decide how much capacity keeps the promise.
//!
//! One sample after the other goes through small pieces, each with one question:
//! * `estimator`: how much work was there, beyond what a saturated CPU can show?
//! * `history`, `tempo`: what was it when, and how far ahead must a decision look?
//! * `forecaster` (with `regression`): where will demand be then?
//! * `errors` (with `ratios`, `phases`): how far may it come out above that, in this situation?
//! * `grain`: how much do the means of samples hide?
//! * `prices`, `rises`: what does each size of the fleet cost, its risk included, now and in the minutes after?
//! * `rest`: does load stay where it is, so that the fleet is best left alone?
//! * `trials`: which price of breach and which patience keep the promise most cheaply?
//!
//! Nothing here allocates once [`Learned`] exists.

mod errors;
mod estimator;
mod forecaster;
mod grain;
mod history;
mod learned;
mod phases;
mod prices;
mod promise;
mod ratios;
mod regression;
mod rest;
mod rises;
mod tempo;
mod trials;

use crate::{Opinion, Policy};
pub use errors::Situation;
use fleet::{CapacityUnits, Power, Timestamp};
pub use learned::Learned;
use serde::{Deserialize, Serialize};
use std::time::Duration;
pub use trials::Tried;

/// A forecaster of the ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expert {
    /// As it is now.
    Level,
    /// As it was over the last ten minutes.
    Mean,
    /// As it has been going, half as fast.
    Trend,
    /// A regression that learns how slopes go on and how far levels return to the mean.
    Regression,
    /// As it went on in the rounds before, of a short period that the load has been found to have.
    Cycle,
    /// As yesterday at that time, at today's level.
    Yesterday,
    /// As a week ago at that time, at today's level.
    LastWeek,
}

/// What is kept above the forecast, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Headroom {
    /// As a share of the forecast, 0 or more: how far demand may come out above it without breaching the level.
    pub share: f64,
    /// What the load is like just now: errors are looked up by it.
    pub situation: Situation,
    /// The setting in use, and how it has fared on the demand of the last days.
    pub tried: Tried,
    /// The share of time above the level as it really was, 0..=1.
    pub seen: f64,
}

/// How much capacity keeps the promise, and the arithmetic behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizing {
    /// Demand now.
    pub demand: Power,
    /// Whether the fleet was saturated, so that demand is more than was measured.
    pub saturated: bool,
    /// What the forecasters say.
    pub opinions: [Opinion; forecaster::EXPERTS],
    /// Demand at the horizon.
    pub forecast: Power,
    /// How far ahead that is.
    pub horizon: Duration,
    /// What is kept above the forecast.
    pub headroom: Headroom,
    /// Units needed now, before bounds and holds.
    pub needed: CapacityUnits,
    /// The least that the target may be: below it, buy.
    pub buy: u32,
    /// The most that the target need be: above it, give back. At least `buy`.
    pub keep: u32,
    /// For how long demand has been followed without a longer break: what is given back must have been superfluous
    /// for `scale_in.hold`, and nobody knows that sooner.
    pub followed: Duration,
}

/// How large the fleet should be by what has been learned.
///
/// * `power_per_unit`: what a unit of the fleet buys, more than 0.
/// * returns: `None` before the first usable sample.
///
/// O(1), no allocation: all work was done when the newest sample was learned.
pub fn size(policy: &Policy, learned: &Learned, power_per_unit: Power, now: Timestamp) -> Option<Sizing> {
    learned.size(policy, power_per_unit, now)
}
