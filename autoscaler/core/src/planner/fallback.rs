//! On-demand capacity in place of spot capacity that does not come, and back.
//!
//! The total stays what is wanted: only the part of it that is bought on demand changes. Given back, the other way
//! round: first spot is asked for again, then, once that serves, the on-demand instances are beyond their part and
//! let go like any other excess.

use super::act::{looked_lately, note_held};
use super::draft::Draft;
use super::ground::Ground;
use super::herd::{Herd, LEEWAY, units};
use super::parts::{self, Parts};
use crate::number::{amount, micros, units as whole};
use crate::{Decision, Fallback, Member, Phase, Remark};
use fleet::{InstanceType, Market, Pool, UsdPerHour};
use std::collections::BTreeMap;

/// Takes the step that the on-demand part asks for, if it does.
///
/// * returns: whether that is this cycle's step.
pub(super) fn step(draft: &mut Draft<'_>, ground: Ground<'_>, herd: Option<&Herd<'_>>, base: Parts) -> bool {
    let Some(herd) = herd else { return false };
    let missing = missing_spot(ground, herd);
    let on_demand = match draft.memory.fallback {
        None => fall_back(draft, base, missing, 0),
        Some(fallback) => try_spot(draft, herd, base, fallback, missing),
    };
    let Some((on_demand, after)) = on_demand.filter(|(part, _)| *part != base.on_demand) else {
        return false;
    };
    if !looked_lately(draft, ground) {
        note_held(draft, true);
        return true;
    }
    draft.memory.fallback = after;
    draft.report.decision = Decision::Shift { from: base.on_demand, to: on_demand };
    let parts = Parts::of(base.total(), on_demand).plus(parts::on_top(&draft.memory));
    draft.modify(ground.view, parts.change());
    true
}

/// Spot units that the target asks for and that do not live.
fn missing_spot(ground: Ground<'_>, herd: &Herd<'_>) -> f64 {
    Parts::shown(ground.view).real().spot - units(herd.alive.iter().copied()).spot
}

/// Keeps account of how long spot has not come while it was needed.
///
/// The objective is at risk when what lives, or is on its way, is less than what is needed.
pub(super) fn watch(draft: &mut Draft<'_>, ground: Ground<'_>, herd: Option<&Herd<'_>>, needed: Option<f64>) {
    let (Some(herd), Some(needed)) = (herd, needed) else { return };
    if draft.policy.on_demand.fallback == 0 || !ground.settled {
        return;
    }
    let short =
        missing_spot(ground, herd) > LEEWAY && units(herd.alive.iter().copied()).sum() + LEEWAY < needed;
    draft.memory.spot_short_since = short.then(|| draft.memory.spot_short_since.unwrap_or(draft.now));
}

/// Spot has not come for too long: so much of it is bought on demand.
///
/// * `stands`: the units that stand in already.
fn fall_back(draft: &Draft<'_>, base: Parts, missing: f64, stands: u32) -> Option<(u32, Option<Fallback>)> {
    let rule = &draft.policy.on_demand;
    let since = draft.memory.spot_short_since?;
    if rule.fallback == 0 || draft.now.since(since) < rule.after {
        return None;
    }
    let units = whole(missing).min(rule.fallback.saturating_sub(stands)).min(base.spot);
    let after = Fallback { units: stands + units, since: draft.now, tried: None };
    (units > 0).then(|| (base.on_demand + units, Some(after)))
}

/// After a while spot is asked for again: if it comes, on demand has done; if it does not, on demand is counted again.
fn try_spot(
    draft: &mut Draft<'_>,
    herd: &Herd<'_>,
    base: Parts,
    fallback: Fallback,
    missing: f64,
) -> Option<(u32, Option<Fallback>)> {
    let Fallback { units, since, tried } = fallback;
    let rule = &draft.policy.on_demand;
    note_cost(draft, herd, fallback);
    let Some(tried) = tried else {
        // A drought takes more than it had when this began.
        if let Some(more) = fall_back(draft, base, missing, units) {
            return Some(more);
        }
        let back = base.on_demand.saturating_sub(units);
        let tries = Some(Fallback { tried: Some(draft.now), ..fallback });
        return (draft.now.since(since) >= rule.keep).then_some((back, tries));
    };
    let boots =
        |m: &&&Member| m.pool.market == Market::Spot && matches!(m.phase, Phase::Requested | Phase::Booting);
    if missing <= LEEWAY && herd.alive.iter().find(boots).is_none() {
        draft.memory.fallback = None;
        return None;
    }
    let again = Some(Fallback { units, since: draft.now, tried: None });
    (missing > LEEWAY && draft.now.since(tried) >= rule.after).then_some((base.on_demand + units, again))
}

/// Whether on-demand instances beyond their part are kept still, because spot has been asked for and is not there.
pub(super) fn waits(draft: &Draft<'_>) -> bool {
    draft.memory.fallback.is_some_and(|fallback| fallback.tried.is_some())
}

/// Where less is enough, what stands in for spot goes first: it is the dearest.
///
/// * returns: the on-demand part that is left.
pub(super) fn cut(draft: &mut Draft<'_>, on_demand: u32, spare: u32) -> u32 {
    let Some(fallback) = &mut draft.memory.fallback else { return on_demand };
    if fallback.tried.is_some() {
        return on_demand;
    }
    let cut = fallback.units.min(spare).min(on_demand);
    fallback.units -= cut;
    if fallback.units == 0 {
        draft.memory.fallback = None;
    }
    on_demand - cut
}

/// Says what stands in for spot, and what that costs more, by the prices of the pools that the fleet is in.
fn note_cost(draft: &mut Draft<'_>, herd: &Herd<'_>, fallback: Fallback) {
    let prices = Prices::of(draft);
    let cost = |market| cost_of(fallback.units, market, herd.alive.iter().copied(), prices);
    let more = cost(Market::OnDemand).zip(cost(Market::Spot));
    let extra =
        more.map(|(dear, cheap)| UsdPerHour::from_micros(dear.micros().saturating_sub(cheap.micros())));
    draft.remark(Remark::StandsIn { units: fallback.units, since: fallback.since, extra });
}

/// What is known of prices.
#[derive(Clone, Copy, Debug)]
pub struct Prices<'a> {
    /// What was read of pools.
    pub seen: &'a [(Pool, UsdPerHour)],
    /// What the policy says of types on demand, where nobody has read it.
    pub on_demand: &'a BTreeMap<InstanceType, UsdPerHour>,
}

impl<'a> Prices<'a> {
    fn of(draft: &Draft<'a>) -> Self {
        Self { seen: &draft.seen.prices, on_demand: &draft.policy.on_demand.prices }
    }

    fn of_pool(self, pool: &Pool) -> Option<UsdPerHour> {
        let seen = self.seen.iter().find(|(other, _)| other == pool).map(|(_, price)| *price);
        let said = || self.on_demand.get(&pool.instance_type).filter(|_| pool.market == Market::OnDemand);
        seen.or_else(|| said().copied())
    }
}

/// What units of a market cost at the mean price of those that live; `None` where no price of theirs is known.
pub fn cost_of<'a>(
    units: u32,
    market: Market,
    alive: impl Iterator<Item = &'a Member>,
    prices: Prices<'_>,
) -> Option<UsdPerHour> {
    let of_market = alive.filter(|member| member.pool.market == market);
    let each: Vec<f64> =
        of_market.filter_map(|member| Some(amount(price_per_unit(member, prices)?.micros()))).collect();
    let mean = (!each.is_empty()).then(|| each.iter().sum::<f64>() / amount(each.len() as u64))?;
    Some(UsdPerHour::from_micros(micros(mean * f64::from(units))))
}

/// What an instance costs for each of its units, where the price of its pool is known.
pub(super) fn price_of(draft: &Draft<'_>, member: &Member) -> Option<UsdPerHour> {
    price_per_unit(member, Prices::of(draft))
}

fn price_per_unit(member: &Member, prices: Prices<'_>) -> Option<UsdPerHour> {
    let price = prices.of_pool(&member.pool)?;
    let weight = member.weight.get();
    (weight > 0.0).then(|| UsdPerHour::from_micros(micros(amount(price.micros()) / weight)))
}
