//! Sizing: estimate demand, forecast it, decide how much capacity keeps the promise.

use crate::Opinion;
use crate::{Member, Memory, Policy, Snapshot};
use fleet::{CapacityUnits, Power, Sample, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What has been learned of a fleet's demand: bounded (32 KiB serialised), folded from samples, rebuilt from
/// the journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    latest: Option<Sample>,
}

impl Learned {
    /// Folds what one cycle has seen: its samples, and how long its instances took to serve. To be called once
    /// a cycle, before [`crate::plan`].
    pub fn learn(&mut self, policy: &Policy, seen: &Snapshot, memory: &Memory, now: Timestamp) {
        for sample in &seen.samples {
            self.observe(policy, sample);
        }
        if let Some(members) = &seen.members {
            self.observe_members(policy, &members.what, memory, now);
        }
    }

    /// Folds one sample, from history (oldest first) or just come in. Unusable ones are left out; one that is
    /// late or known already changes nothing but what is not known yet.
    pub fn observe(&mut self, _policy: &Policy, sample: &Sample) {
        self.latest = Some(*sample);
    }

    /// Takes note of how long instances took from request to serving, and of the power that a unit buys.
    pub fn observe_members(
        &mut self,
        _policy: &Policy,
        _members: &[Member],
        _memory: &Memory,
        _now: Timestamp,
    ) {
    }

    /// Demand by the minute, oldest first, as far as it is kept: for charts.
    pub fn history(&self) -> impl Iterator<Item = (Timestamp, Power)> + '_ {
        self.latest.iter().map(|s| (s.end, s.served()))
    }
}

/// A forecaster of the ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expert {
    /// As it is now.
    Level,
    /// As it has been going, less and less.
    Trend,
    /// A regression that learns how slopes go on and how far levels return to the mean.
    Regression,
    /// As yesterday at that time, at today's level.
    Yesterday,
    /// As a week ago at that time, at today's level.
    LastWeek,
}

/// What is kept above the forecast, as a share of it, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Headroom {
    /// The share, 0 or more.
    pub share: f64,
}

/// How much capacity keeps the promise, and the arithmetic behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizing {
    /// Demand now.
    pub demand: Power,
    /// Whether the fleet was saturated, so that demand is more than was measured.
    pub saturated: bool,
    /// What the forecasters say.
    pub opinions: [Opinion; 1],
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
}

/// How large the fleet should be by what has been learned.
///
/// * `power_per_unit`: what a unit of the fleet buys, more than 0.
/// * returns: `None` before the first usable sample.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "first form")]
pub fn size(policy: &Policy, learned: &Learned, power_per_unit: Power, _now: Timestamp) -> Option<Sizing> {
    let demand = learned.latest?.served();
    let needed = demand.get() * 1.05 / policy.target.get() / power_per_unit.get();
    let units = needed.ceil() as u32;
    Some(Sizing {
        demand,
        saturated: false,
        opinions: [Opinion { expert: Expert::Level, forecast: demand, weight: 1.0 }],
        forecast: demand,
        horizon: policy.boot,
        headroom: Headroom { share: 0.05 },
        needed: CapacityUnits::new(needed),
        buy: units,
        keep: units + 1,
    })
}
