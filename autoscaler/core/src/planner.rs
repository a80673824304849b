//! From what was seen to what will be done.

mod act;
mod alarms;
mod blocked;
mod draft;
mod drain;
mod fallback;
mod fits;
mod ground;
mod groups;
mod herd;
mod idle;
mod ledger;
mod notices;
mod parts;
mod pools;
mod repair;
mod replace;
mod rollout;
mod victims;
mod wish;

use crate::sizing::{self, Sizing};
use crate::{Decision, FailingRead, Learned, Memory, Plan, Planned, Policy, Remark, Snapshot};
use draft::Draft;
pub use fallback::{Prices, cost_of};
use fleet::{CapacityUnits, FleetState, FleetView, Timestamp};
pub use ground::RESPITE;
use herd::Herd;
pub use wish::{TargetStep, Way, step_target};

/// Plans one cycle of one fleet.
///
/// * `seen`: what was seen, with ages; its samples already folded into `learned`.
/// * `memory`: what the cycle before left; journaled before its plan was carried out.
/// * returns: the next step towards what is wanted, why, and what to remember. A cycle takes one step: a fleet
///   that is being modified, or a write that has not shown yet, is waited for.
///
/// Pure and total: the same arguments give the same plan, odd input becomes a [`crate::Hold`]. Never panics.
pub fn plan(policy: &Policy, seen: &Snapshot, memory: &Memory, learned: &Learned, now: Timestamp) -> Planned {
    let mut draft = Draft::new(policy, seen, memory, now);
    draft.memory.forget_the_future(now);
    note_failing(&mut draft);
    let herd = Herd::of(&draft);
    herd::describe(&mut draft, herd.as_ref());
    let Some(ground) = ground::survey(&mut draft) else {
        empty_unseen(&mut draft, herd.as_ref());
        return finish(draft);
    };
    let base = ledger::base(&mut draft, ground);
    let sizing = size(&mut draft, learned, herd.as_ref(), ground.view);
    let blocked = blocked::needs(&mut draft, herd.as_ref());
    let wish = wish::wish(&mut draft, sizing.as_ref(), herd.as_ref(), base.total(), blocked);
    note_bounds(&mut draft, ground.view, herd.as_ref(), base.total());
    if ground.ours {
        ledger::strike_off(&mut draft, herd.as_ref());
        let before_acting = as_it_was(&draft);
        pools::remember(&mut draft);
        notices::heed(&mut draft, herd.as_ref(), Some(ground.view));
        idle::find(&mut draft, herd.as_ref());
        rollout::watch(&mut draft, ground, herd.as_ref());
        fallback::watch(&mut draft, ground, herd.as_ref(), sizing.map(|sizing| sizing.needed.get()));
        act::act(&mut draft, ground, herd.as_ref(), base, wish);
        rollout::tell(&mut draft, ground);
        idle::reuse(&mut draft);
        drain::begin(&mut draft, herd.as_ref(), base.total());
        drain::tell_nodes(&mut draft, herd.as_ref());
        groups::scale(&mut draft, herd.as_ref());
        undo_if_dry(&mut draft, before_acting);
    } else {
        notices::leave_unheeded(&mut draft, herd.as_ref());
        if wish.target != base.total() {
            draft.report.decision = Decision::Held;
        }
    }
    finish(draft)
}

/// Empties what goes though nobody has seen lately how the fleet stands: that takes Nomad alone. What is announced enters the
/// ledger, and its capacity waits until the fleet is seen. What serves in its place nobody can tell, so each is asked to let go at
/// its latest safe moment.
fn empty_unseen(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) {
    if !ground::was_ours(draft) {
        return notices::leave_unheeded(draft, herd);
    }
    let before_acting = as_it_was(draft);
    notices::heed(draft, herd, None);
    drain::begin(draft, herd, u32::MAX);
    drain::tell_nodes(draft, herd);
    undo_if_dry(draft, before_acting);
}

/// What is remembered before anything is done, where nothing will be.
fn as_it_was(draft: &Draft<'_>) -> Option<Memory> {
    draft.policy.dry_run.then(|| draft.memory.clone())
}

/// What is not done is not remembered as done.
fn undo_if_dry(draft: &mut Draft<'_>, before_acting: Option<Memory>) {
    if let Some(before) = before_acting {
        draft.memory = before;
        draft.remark(Remark::DryRun);
    }
}

/// Says what could not be asked: first of all remarks, for it explains what else is said.
fn note_failing(draft: &mut Draft<'_>) {
    for FailingRead { operation, class } in &draft.seen.failing {
        draft.remark(Remark::ReadFails { operation: operation.clone(), class: *class });
    }
}

/// Asks sizing, and writes its arithmetic down.
fn size(
    draft: &mut Draft<'_>,
    learned: &Learned,
    herd: Option<&Herd<'_>>,
    view: &FleetView,
) -> Option<Sizing> {
    let power_per_unit = Herd::power_per_unit(herd, draft, view);
    let report = &mut draft.report;
    report.target = Some(view.target);
    report.goal = Some(draft.policy.target);
    report.power_per_unit = Some(power_per_unit);
    if let Some(latest) = &draft.seen.latest {
        report.utilization = Some(latest.utilization);
        report.source = Some(latest.source);
        report.sample_age = Some(draft.now.since(latest.end));
        report.power = Some(latest.power);
    }
    let sizing = sizing::size(draft.policy, learned, power_per_unit, draft.now)?;
    report.demand = Some(sizing.demand);
    report.saturated = sizing.saturated;
    report.opinions = sizing.opinions.iter().copied().filter(|o| o.weight > 0.0).collect();
    report.forecast = Some(sizing.forecast);
    report.horizon = Some(sizing.horizon);
    report.headroom = sizing.headroom;
    report.needed = Some(sizing.needed);
    Some(sizing)
}

/// Says what is out of bounds or missing, whoever may do something about it.
///
/// * `base`: the target without what replacements and victims hold of it for a while.
fn note_bounds(draft: &mut Draft<'_>, view: &FleetView, herd: Option<&Herd<'_>>, base: u32) {
    let (min, max) = (draft.policy.capacity.min, draft.policy.capacity.max);
    if !(min..=max).contains(&base) {
        draft.remark(Remark::OutOfBounds { target: base, min, max });
    }
    // What a modification asks for is on its way until it has ended.
    if view.state == FleetState::Modifying {
        return;
    }
    let there = herd.map(|h| herd::units(h.alive.iter().copied()).sum());
    let missing = there.map_or(0.0, |there| f64::from(view.target) - there);
    if missing > herd::LEEWAY {
        draft.remark(Remark::Missing { units: CapacityUnits::new(missing) });
    }
}

fn finish(draft: Draft<'_>) -> Planned {
    let Draft { policy, now, mut memory, mut report, actions, due, look, .. } = draft;
    if !policy.dry_run {
        memory.note_writes(actions.iter().filter(|action| action.is_of_fleet()).count(), now);
    }
    report.removals = memory.removals.iter().map(|(id, r)| (id.clone(), r.step)).collect();
    report.replacements = memory.replacements.iter().map(|(id, r)| (id.clone(), r.step)).collect();
    Planned { plan: Plan { actions }, report, memory, due, look }
}
