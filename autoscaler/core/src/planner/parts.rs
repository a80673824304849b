//! A target by its parts: what is bought of spot and on demand, what is wanted, and what the ledger has on top.

use super::herd::ByMarket;
use crate::number::{full_units, units};
use crate::{Memory, RemovalStep, ReplacementStep};
use fleet::ports::Change;
use fleet::{FleetView, Market};

/// A target in its two parts: the fleet keeps each by itself.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub spot: u32,
    pub on_demand: u32,
}

impl Parts {
    /// A total, of which so much is on demand: all of it, where it is not more than that.
    pub fn of(total: u32, on_demand: u32) -> Self {
        let on_demand = on_demand.min(total);
        Self { spot: total - on_demand, on_demand }
    }
    /// The target that a fleet shows.
    pub fn shown(view: &FleetView) -> Self {
        Self::of(view.target, view.on_demand_target)
    }
    pub fn total(self) -> u32 {
        self.spot.saturating_add(self.on_demand)
    }
    pub fn plus(self, other: Self) -> Self {
        Self {
            spot: self.spot.saturating_add(other.spot),
            on_demand: self.on_demand.saturating_add(other.on_demand),
        }
    }
    pub fn less(self, other: Self) -> Self {
        Self {
            spot: self.spot.saturating_sub(other.spot),
            on_demand: self.on_demand.saturating_sub(other.on_demand),
        }
    }
    pub fn change(self) -> Change {
        Change::of_target(self.total(), self.on_demand)
    }
    pub fn real(self) -> ByMarket {
        ByMarket { spot: f64::from(self.spot), on_demand: f64::from(self.on_demand) }
    }
}

/// What the target holds for replacements that were asked for, in whole units that suffice.
pub(super) fn surge(memory: &Memory) -> Parts {
    let asked = memory
        .replacements
        .values()
        .filter(|r| matches!(r.step, ReplacementStep::Raising | ReplacementStep::Raised));
    let ByMarket { spot, on_demand } = sum(asked.map(|r| (r.market, r.weight.get())));
    Parts { spot: units(spot), on_demand: units(on_demand) }
}

/// What the target still counts of victims whose work is leaving, in whole units that can be taken out.
pub(super) fn leaving(memory: &Memory) -> Parts {
    let counted = memory.removals.values().filter(|r| r.step == RemovalStep::Draining);
    let ByMarket { spot, on_demand } = sum(counted.map(|r| (r.market, r.weight.get())));
    Parts { spot: full_units(spot), on_demand: full_units(on_demand) }
}

/// What the ledger has in the target on top of what is wanted.
pub(super) fn on_top(memory: &Memory) -> Parts {
    surge(memory).plus(leaving(memory))
}

fn sum(weights: impl Iterator<Item = (Market, f64)>) -> ByMarket {
    weights.fold(ByMarket::default(), |mut sum, (market, weight)| {
        *sum.of_mut(market) += weight;
        sum
    })
}
