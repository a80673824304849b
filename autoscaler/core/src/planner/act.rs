//! From a wish to the steps of this cycle.

use super::draft::Draft;
use super::ground::{Ground, LAG, LOOK_BEFORE_WRITE, RESPITE};
use super::herd::{ByMarket, Herd, LEEWAY, clear_sight, units};
use super::wish::Wish;
use super::{ledger, victims};
use crate::number;
use crate::{Decision, Hold, Member, Remark, Removal, RemovalStep};
use fleet::ports::Change;
use fleet::{CapacityUnits, ExcessCapacity};

/// Takes the one step that comes next: buy, give back, set right, trim, or carry removals on.
pub(super) fn act(draft: &mut Draft<'_>, ground: Ground<'_>, herd: Option<&Herd<'_>>, wish: Wish) {
    let target = ground.view.target;
    if !ground.settled {
        note_held(draft, wish.target != target);
        return;
    }
    if wish.target > target {
        buy(draft, ground, wish.target);
        return;
    }
    ledger::carry_on(draft, ground, herd);
    if !draft.memory.removals.is_empty() {
        note_held(draft, wish.target != target);
        return;
    }
    if wish.target < target {
        if respected(draft, target) {
            give_back(draft, ground, herd, wish);
        }
    } else if !set_right(draft, ground) {
        trim(draft, ground, herd, wish.may_trim);
    }
}

/// Whether nobody else's recent write would be taken back by lowering the target; one out of bounds is.
fn respected(draft: &mut Draft<'_>, target: u32) -> bool {
    let until = draft.memory.foreign_write_at.map(|at| at + RESPITE).filter(|until| *until > draft.now);
    let Some(until) = until.filter(|_| target <= draft.policy.capacity.max) else { return true };
    draft.hold(Hold::ForeignWrite { until });
    note_held(draft, true);
    false
}

/// Something is wanted, and not now.
fn note_held(draft: &mut Draft<'_>, wanted: bool) {
    if wanted && draft.report.decision == Decision::Steady {
        draft.report.decision = Decision::Held;
    }
}

/// Whether the fleet was looked at lately enough to write upon.
fn looked_lately(draft: &mut Draft<'_>, ground: Ground<'_>) -> bool {
    let age = draft.age(ground.at);
    if age > LOOK_BEFORE_WRITE {
        draft.hold(Hold::LookFirst { age });
        draft.look = true;
        note_held(draft, true);
        return false;
    }
    true
}

/// Raises the target. Victims that were not told yet are counted by it again, and stay; what is bought beside them
/// is spot.
fn buy(draft: &mut Draft<'_>, ground: Ground<'_>, to: u32) {
    if !looked_lately(draft, ground) {
        return;
    }
    let from = ground.view.target;
    draft.report.decision = Decision::ScaleOut { from, to };
    draft.memory.last_scale_out = Some(draft.now);
    draft.modify(ground.view, Change { target: to, on_demand_target: ground.view.on_demand_target.min(to) });
}

/// Lowers the target by the weight of whole victims, or by what is missing anyway.
///
/// Where load is not known nobody is chosen: a target beyond `max` comes down, what runs stays.
fn give_back(draft: &mut Draft<'_>, ground: Ground<'_>, herd: Option<&Herd<'_>>, wish: Wish) {
    let view = ground.view;
    if !looked_lately(draft, ground) {
        return;
    }
    if !wish.may_trim {
        return lower(draft, ground, wish.target, view.on_demand_target.min(wish.target));
    }
    if !clear_sight(draft, herd, view) {
        note_held(draft, true);
        return;
    }
    let Some(herd) = herd else { return };
    let to = wish.target;
    let on_demand_target = view.on_demand_target.min(to);
    let wanted = ByMarket { spot: f64::from(to - on_demand_target), on_demand: f64::from(on_demand_target) };
    let alive = units(herd.kept(draft));
    let spare = ByMarket { spot: alive.spot - wanted.spot, on_demand: alive.on_demand - wanted.on_demand };
    let victims = victims::choose(draft, herd, spare);
    let going = units(victims.iter().copied());
    // The target follows the victims, whole as they are: never below what is wanted, never up.
    let follow = |wanted: u32, now: u32, left: f64| wanted.max(number::units(left).min(now));
    let spot_now = view.target.saturating_sub(view.on_demand_target);
    let spot = follow(to - on_demand_target, spot_now, alive.spot - going.spot);
    let target = on_demand_target.saturating_add(spot).min(draft.policy.capacity.max.max(to));
    if target >= view.target {
        draft.hold(Hold::NoVictim);
        note_held(draft, true);
        return;
    }
    remember_victims(draft, &victims);
    lower(draft, ground, target, on_demand_target);
}

/// Lowers the target.
fn lower(draft: &mut Draft<'_>, ground: Ground<'_>, target: u32, on_demand_target: u32) {
    draft.report.decision = Decision::ScaleIn { from: ground.view.target, to: target };
    draft.memory.last_scale_in = Some(draft.now);
    draft.modify(ground.view, Change { target, on_demand_target });
}

/// Enters victims into the ledger. Nothing asks their work to leave yet, so that the step before passes at once.
fn remember_victims(draft: &mut Draft<'_>, victims: &[&Member]) {
    for victim in victims {
        let removal =
            Removal { step: RemovalStep::Lowering, since: draft.now, weight: victim.weight, deadline: None };
        draft.memory.removals.insert(victim.id.clone(), removal);
    }
}

/// Sets the fleet's settings right where they are not ours, at the same size.
///
/// * returns: whether that is this cycle's step.
fn set_right(draft: &mut Draft<'_>, ground: Ground<'_>) -> bool {
    let view = ground.view;
    if view.excess == ExcessCapacity::NoTermination {
        return false;
    }
    draft.remark(Remark::WouldTerminate);
    if looked_lately(draft, ground) {
        draft.report.decision = Decision::SetRight { target: view.target };
        let change = Change { target: view.target, on_demand_target: view.on_demand_target.min(view.target) };
        draft.modify(view, change);
    }
    true
}

/// Gives back what runs beyond the target with no removal to explain it: weights that overshot, or a process
/// that stopped between its steps.
fn trim(draft: &mut Draft<'_>, ground: Ground<'_>, herd: Option<&Herd<'_>>, may_trim: bool) {
    let Some(herd) = herd else { return };
    let beyond = ledger::beyond_target(ground, units(herd.kept(draft)));
    let could_go = |m: &Member| m.weight.get() > 0.0 && m.weight.get() <= beyond.of(m.pool.market) + LEEWAY;
    if !herd.kept(draft).any(could_go) {
        draft.memory.excess_since = None;
        return;
    }
    let since = *draft.memory.excess_since.get_or_insert(draft.now);
    draft.remark(Remark::Excess { units: CapacityUnits::new(beyond.sum()) });
    if !may_trim || !draft.policy.scale_in.enabled {
        return;
    }
    // Describes lag behind each other: what is seen of the fleet must be settled before it is believed.
    if draft.age(since) < LAG {
        draft.hold(Hold::ExcessHeld { since });
        return;
    }
    if !looked_lately(draft, ground) || !clear_sight(draft, Some(herd), ground.view) {
        return;
    }
    let victims = victims::choose(draft, herd, beyond);
    if victims.is_empty() {
        draft.hold(Hold::NoVictim);
        return;
    }
    draft.report.decision = Decision::Trim { instances: victims.len() };
    draft.memory.excess_since = None;
    ledger::terminate(draft, ground, &victims);
}
