//! The fleet's instances as a whole: what lives, what serves, what weighs how much.

use super::draft::Draft;
use super::ground::LOOK_BEFORE_WRITE;
use crate::{Hold, Member, Memory, Phase, RemovalStep};
use fleet::{CapacityUnits, FleetView, InstanceId, Market, Power, Timestamp, vcpus_by_size};
use std::time::Duration;

/// Weights are decimal fractions: sums of them are compared with this much leeway.
pub(super) const LEEWAY: f64 = 1e-6;

/// Units by market: the fleet replaces what is lost of each by itself.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub(super) struct ByMarket {
    pub spot: f64,
    pub on_demand: f64,
}

impl ByMarket {
    pub fn of(self, market: Market) -> f64 {
        match market {
            Market::Spot => self.spot,
            Market::OnDemand => self.on_demand,
        }
    }
    pub fn of_mut(&mut self, market: Market) -> &mut f64 {
        match market {
            Market::Spot => &mut self.spot,
            Market::OnDemand => &mut self.on_demand,
        }
    }
    pub fn sum(self) -> f64 {
        self.spot + self.on_demand
    }
}

/// The instances, as seen at one time.
pub(super) struct Herd<'a> {
    pub at: Timestamp,
    /// Those that are capacity or will be, by id: without what is leaving.
    pub alive: Vec<&'a Member>,
}

impl<'a> Herd<'a> {
    /// The instances as seen; `None` until a describe has shown them.
    pub fn of(draft: &Draft<'a>) -> Option<Self> {
        let observed = draft.seen.members.as_ref()?;
        let mut alive: Vec<_> = observed.what.iter().filter(|m| m.phase != Phase::Leaving).collect();
        // An instance that was listed twice is still one.
        alive.sort_by(|a, b| a.id.cmp(&b.id));
        alive.dedup_by(|a, b| a.id == b.id);
        Some(Self { at: observed.at, alive })
    }

    /// Those that nobody has told to go.
    pub fn kept<'b>(&'b self, draft: &'b Draft<'_>) -> impl Iterator<Item = &'a Member> + 'b {
        self.alive
            .iter()
            .copied()
            .filter(|m| draft.memory.removals.get(&m.id).is_none_or(|r| r.step != RemovalStep::Terminating))
    }

    /// One of them.
    pub fn get(&self, id: &InstanceId) -> Option<&'a Member> {
        self.alive.binary_search_by(|m| m.id.cmp(id)).ok().map(|index| self.alive[index])
    }

    /// Those that the ledger does not know: neither told to go nor about to.
    pub fn staying<'b>(&'b self, draft: &'b Draft<'_>) -> impl Iterator<Item = &'a Member> + 'b {
        let Memory { removals, replacements, .. } = &draft.memory;
        let stays = |m: &&Member| !removals.contains_key(&m.id) && !replacements.contains_key(&m.id);
        self.alive.iter().copied().filter(stays)
    }

    /// Whether its node may be touched: it is one of the fleet's, and not protected.
    pub fn may_be_emptied(&self, id: &InstanceId) -> bool {
        self.get(id).is_some_and(|m| !m.protected)
    }

    /// The power that a unit buys: the mean over what is there, else over the fleet's shopping list.
    pub fn power_per_unit(herd: Option<&Self>, draft: &Draft<'_>, view: &FleetView) -> Power {
        let seen = herd
            .map(|h| h.alive.iter().fold((0.0, 0.0), |(p, w), m| (p + m.power.get(), w + m.weight.get())));
        let listed = || {
            view.overrides.iter().fold((0.0, 0.0), |(power, weight), o| {
                let told = draft.policy.power.get(&o.instance_type).copied();
                let guess = || vcpus_by_size(&o.instance_type).map(|v| Power::new(f64::from(v)));
                told.or_else(guess).map_or((power, weight), |p| (power + p.get(), weight + o.weight.get()))
            })
        };
        let usable = |(power, weight): &(f64, f64)| *power > 0.0 && *weight > 0.0;
        let (power, weight) = seen.filter(usable).unwrap_or_else(listed);
        if usable(&(power, weight)) { Power::new(power / weight) } else { Power::new(1.0) }
    }
}

/// Units of some instances, by market.
pub(super) fn units<'a>(members: impl Iterator<Item = &'a Member>) -> ByMarket {
    members.fold(ByMarket::default(), |mut sum, m| {
        *sum.of_mut(m.pool.market) += m.weight.get();
        sum
    })
}

/// Fills in what serves and what is on its way.
pub(super) fn describe(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) {
    let Some(herd) = herd else { return };
    let serves = |m: &&Member| matches!(m.phase, Phase::InService | Phase::Draining);
    let sum = |serving: bool| {
        CapacityUnits::new(herd.alive.iter().filter(|m| serves(m) == serving).map(|m| m.weight.get()).sum())
    };
    draft.report.serving = sum(true);
    draft.report.coming = sum(false);
}

/// Whether the instances are known well enough to choose a victim among them.
pub(super) fn clear_sight(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>, view: &FleetView) -> bool {
    let Some(herd) = herd else {
        draft.hold(Hold::MembersUnseen);
        draft.look = true;
        return false;
    };
    let age = draft.age(herd.at);
    if age > LOOK_BEFORE_WRITE {
        draft.hold(Hold::LookFirst { age });
        draft.look = true;
        return false;
    }
    // More than is seen may be booting where no describe shows it yet; less is only the fleet's own lag.
    let seen = units(herd.alive.iter().copied()).sum();
    let smallest = herd.alive.iter().map(|m| m.weight.get()).fold(1.0, f64::min);
    if view.fulfilled.get() - seen > smallest / 2.0 {
        draft.hold(Hold::Contradictory { fulfilled: view.fulfilled, seen: CapacityUnits::new(seen) });
        return false;
    }
    true
}

/// How old the newest sample may be for a scale-in to rest on it: three periods and a minute, so that one lost
/// sample of any source is forgiven, and no more.
pub(super) fn sample_stale_after(period: Duration) -> Duration {
    period.saturating_mul(3).saturating_add(Duration::from_secs(60))
}
