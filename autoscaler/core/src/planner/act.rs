//! From a wish to the steps of this cycle.

use super::draft::Draft;
use super::ground::{Ground, LAG, LOOK_BEFORE_WRITE, RESPITE};
use super::herd::{ByMarket, Herd, LEEWAY, clear_sight, units};
use super::parts::{self, Parts};
use super::replace::OUTLIVED;
use super::wish::Wish;
use super::{drain, fallback, ledger, repair, replace, rollout, victims};
use crate::number;
use crate::{Decision, DrainBy, DrainCause, Hold, Member, Memory, Remark, Removal, RemovalStep};
use fleet::{CapacityUnits, ExcessCapacity};

/// Takes the one step that comes next: buy, replace, carry removals on, give back, set right, trim.
///
/// * `base`: what the target holds of what was wanted, without what the ledger has on top.
pub(super) fn act(
    draft: &mut Draft<'_>,
    ground: Ground<'_>,
    herd: Option<&Herd<'_>>,
    base: Parts,
    wish: Wish,
) {
    if !ground.settled {
        note_held(draft, wish.target != base.total());
        return;
    }
    // Whoever switches scale-in off keeps what has not gone.
    let wanted = if draft.policy.scale_in.enabled { wish.target } else { u32::MAX };
    let base = ledger::keep_draining(draft, herd, base, wanted);
    let (base, wish) = if wish.known || wish.target > base.total() {
        (base, wish)
    } else {
        // As it was before they were chosen.
        let with_them = ledger::forget_the_gone(draft, herd, base);
        let back = with_them.total() - base.total();
        (with_them, Wish { target: wish.target.saturating_add(back), ..wish })
    };
    let before = draft.memory.clone();
    let (mut base, mut wish) = (base, wish);
    if let Some(herd) = herd {
        wish.target = replace::without_places_of_the_useless(draft, herd, base, wish.target);
        let next = Parts::of(wish.target.max(base.total()), base.on_demand);
        replace::advance(draft, ground, herd, base, next);
        ledger::lower_the_empty(draft, herd, wish.known && wish.target <= base.total());
        base = replace::let_the_useless_go_first(draft, herd, base, wish.target);
        wish.target = replace::without_places_of_the_useless(draft, herd, base, wish.target);
    }
    if wish.target > base.total() {
        return buy(draft, ground, wish.target, base, before);
    }
    ledger::lower_beyond_bounds(draft, base);
    if base.plus(parts::on_top(&draft.memory)) != Parts::shown(ground.view) {
        follow_ledger(draft, ground, base, before);
        return;
    }
    ledger::carry_on(draft, ground, herd);
    if !draft.memory.removals.is_empty() || ledger::kept_somebody(draft) {
        // Where pools are taken back one instance after the other, somebody is always on the way out.
        let shifts = wish.target >= base.total()
            && !ledger::kept_somebody(draft)
            && ledger::asks_nothing_of_the_target(draft)
            && fallback::step(draft, ground, herd, base);
        note_held(draft, !shifts && wish.target != base.total());
        return;
    }
    if wish.target < base.total() {
        if respected(draft, base.total()) && !give_back(draft, ground, herd, base, wish) {
            // Nobody can be spared, perhaps for long. One can go all the same for whom another is bought.
            rollout::step(draft, ground, herd);
        }
    } else if !set_right(draft, ground)
        && !fallback::step(draft, ground, herd, base)
        && !rollout::step(draft, ground, herd)
        && !repair::step(draft, ground, herd, wish.may_trim)
    {
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
pub(super) fn note_held(draft: &mut Draft<'_>, wanted: bool) {
    if wanted && draft.report.decision == Decision::Steady {
        draft.report.decision = Decision::Held;
    }
}

/// Whether the fleet was looked at lately enough to write upon.
pub(super) fn looked_lately(draft: &mut Draft<'_>, ground: Ground<'_>) -> bool {
    let age = draft.age(ground.at);
    if age > LOOK_BEFORE_WRITE {
        draft.hold(Hold::LookFirst { age });
        draft.look = true;
        note_held(draft, true);
        return false;
    }
    true
}

/// What is wanted, as far as it is within bounds together with what the ledger has on top: whatever is written is.
/// Victims leave the target for it before they are empty; of what was wanted, less is.
fn bounded(draft: &mut Draft<'_>, base: Parts) -> Parts {
    ledger::lower_beyond_bounds(draft, base);
    let room = replace::most(draft).saturating_sub(parts::on_top(&draft.memory).total());
    Parts::of(base.total().min(room), base.on_demand)
}

/// Writes what is wanted, and what the ledger has on top of it; a target that is shown already is not written again.
fn write(draft: &mut Draft<'_>, ground: Ground<'_>, base: Parts) {
    let parts = base.plus(parts::on_top(&draft.memory));
    if parts != Parts::shown(ground.view) || ground.view.excess != ExcessCapacity::NoTermination {
        draft.modify(ground.view, parts.change());
    }
}

/// Raises the target. Victims that were not told yet are counted by it again, and stay; what is bought beside them
/// is spot. What the ledger asks for goes with it.
///
/// * `before`: what was remembered before the ledger took its steps.
fn buy(draft: &mut Draft<'_>, ground: Ground<'_>, to: u32, base: Parts, before: Memory) {
    if !looked_lately(draft, ground) {
        draft.memory = before;
        return;
    }
    let base = bounded(draft, Parts::of(to, base.on_demand));
    let to = base.plus(parts::on_top(&draft.memory)).total();
    draft.report.decision = Decision::ScaleOut { from: ground.view.target, to };
    draft.memory.last_scale_out = Some(draft.now);
    write(draft, ground, base);
}

/// Sets the target to what the ledger has come to: raised for what is about to go, lowered by what goes.
fn follow_ledger(draft: &mut Draft<'_>, ground: Ground<'_>, base: Parts, before: Memory) {
    if !looked_lately(draft, ground) {
        draft.memory = before;
        return;
    }
    let base = bounded(draft, base);
    let (from, to) = (ground.view.target, base.plus(parts::on_top(&draft.memory)).total());
    draft.report.decision =
        if to < from { Decision::LowerBack { from, to } } else { Decision::Replace { from, to } };
    write(draft, ground, base);
}

/// Gives back whole victims, or what is missing anyway: the target follows them at once, or once their work has left.
///
/// Where load is not known nobody is chosen: a target beyond `max` comes down, what runs stays.
///
/// * returns: whether that is this cycle's step, or waits for a look; not so where nobody can go.
fn give_back(
    draft: &mut Draft<'_>,
    ground: Ground<'_>,
    herd: Option<&Herd<'_>>,
    base: Parts,
    wish: Wish,
) -> bool {
    if !looked_lately(draft, ground) {
        return true;
    }
    if !wish.may_trim {
        lower(draft, ground, Parts::of(wish.target, base.on_demand));
        return true;
    }
    if !clear_sight(draft, herd, ground.view) || !drain::knows_nodes(draft) {
        note_held(draft, true);
        return true;
    }
    let Some(herd) = herd else { return true };
    let on_demand = fallback::cut(draft, base.on_demand, base.total() - wish.target);
    let wanted = Parts::of(wish.target, on_demand);
    let given = replace::give_up(draft, herd, difference(base.real(), wanted.real()));
    let counted = replace::counted(draft, herd);
    // What is to be replaced has its place in what is wanted.
    let there = replace::beside(draft, herd);
    let spare = difference(there, difference(wanted.real(), counted));
    let victims = victims::choose(draft, herd, spare);
    let going = units(victims.iter().copied());
    // The target follows the victims, whole as they are: never below what is wanted, never up.
    let follow = |wanted: u32, now: u32, left: f64| wanted.max(number::units(left).min(now));
    let spot = follow(wanted.spot, base.spot, there.spot + counted.spot - going.spot);
    let left = Parts { spot, on_demand: wanted.on_demand };
    let total = left.total().min(draft.policy.capacity.max.max(wish.target));
    if total >= base.total() {
        draft.hold(Hold::NoVictim);
        note_held(draft, true);
        return false;
    }
    debug_assert!(given.sum() >= 0.0, "only what counts is given up");
    remember_victims(draft, &victims);
    lower(draft, ground, Parts::of(total, wanted.on_demand));
    true
}

fn difference(a: ByMarket, b: ByMarket) -> ByMarket {
    ByMarket { spot: a.spot - b.spot, on_demand: a.on_demand - b.on_demand }
}

/// Wants less from now on. Victims whose work is leaving stay counted until it has.
fn lower(draft: &mut Draft<'_>, ground: Ground<'_>, base: Parts) {
    let base = bounded(draft, base);
    let (from, to) = (ground.view.target, base.plus(parts::on_top(&draft.memory)).total());
    draft.report.decision = if to == from {
        Decision::Drain { instances: draft.memory.removals.len() }
    } else {
        draft.memory.last_scale_in = Some(draft.now);
        Decision::ScaleIn { from, to }
    };
    write(draft, ground, base);
}

/// Enters victims into the ledger: where nobody empties them, they are taken out of the target at once.
fn remember_victims(draft: &mut Draft<'_>, victims: &[&Member]) {
    for victim in victims {
        let removal = Removal::of(victim, DrainCause::ScaleIn, draft.now);
        let removal = match draft.policy.drain.by {
            DrainBy::Nobody => Removal { step: RemovalStep::Lowering, ..removal },
            // Its drain begins in this cycle, unless something stands against it.
            DrainBy::Nomad | DrainBy::Hook => removal,
        };
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
        draft.modify(view, Parts::shown(view).change());
    }
    true
}

/// The units of spot that the fleet itself counts beyond its target: what is marked to be taken may not be among them.
fn counted_beyond_target(ground: Ground<'_>, herd: &Herd<'_>) -> f64 {
    let on_demand = units(herd.alive.iter().copied()).on_demand;
    ground.view.fulfilled.get() - on_demand - Parts::shown(ground.view).real().spot
}

/// Gives back what runs beyond the target with no removal to explain it: weights that overshot, or a process
/// that stopped between its steps.
fn trim(draft: &mut Draft<'_>, ground: Ground<'_>, herd: Option<&Herd<'_>>, may_trim: bool) {
    let Some(herd) = herd else { return };
    // What is to be replaced is explained: counted by the target, or to be taken while the fleet has bought another.
    let (there, counted) = (replace::beside(draft, herd), replace::counted(draft, herd));
    let there = ByMarket { spot: there.spot + counted.spot, on_demand: there.on_demand + counted.on_demand };
    let mut beyond = ledger::beyond_target(ground, there);
    let could_go = |m: &Member, beyond: ByMarket| {
        m.weight.get() > 0.0 && m.weight.get() <= beyond.of(m.pool.market) + LEEWAY
    };
    if !herd.staying(draft).any(|m| could_go(m, beyond)) {
        draft.memory.excess_since = None;
        return;
    }
    let since = *draft.memory.excess_since.get_or_insert(draft.now);
    draft.remark(Remark::Excess { units: CapacityUnits::new(beyond.sum()) });
    if !may_trim || !draft.policy.scale_in.enabled || fallback::waits(draft) {
        return;
    }
    // One that AWS takes, and nobody has heard of it, lives beside the one that the fleet has bought in its place: it goes by itself,
    // and in place of any other the fleet would buy again. What came last may be such, whatever was beyond the target before.
    let newest = herd.staying(draft).map(|member| member.launched).max().unwrap_or(since);
    if draft.age(since.max(newest)) < LAG + OUTLIVED {
        beyond.spot = beyond.spot.min(counted_beyond_target(ground, herd));
    }
    // Describes lag behind each other: what is seen of the fleet must be settled before it is believed.
    if draft.age(since) < LAG || !herd.staying(draft).any(|m| could_go(m, beyond)) {
        draft.hold(Hold::ExcessHeld { since });
        return;
    }
    let sees = looked_lately(draft, ground) && clear_sight(draft, Some(herd), ground.view);
    if !sees || !drain::knows_nodes(draft) {
        return;
    }
    let victims = victims::choose(draft, herd, beyond);
    if victims.is_empty() {
        draft.hold(Hold::NoVictim);
        return;
    }
    draft.report.decision = Decision::Trim { instances: victims.len() };
    draft.memory.excess_since = None;
    if draft.policy.drain.by == DrainBy::Nobody {
        return ledger::terminate(draft, ground, &victims);
    }
    remember_victims(draft, &victims);
    for removal in draft.memory.removals.values_mut() {
        // The target does not count them: nothing is to be lowered.
        removal.step = RemovalStep::Lowered;
    }
}
