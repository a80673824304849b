//! Removals under way: each ends with exactly one instance less, or with its victim kept.

use super::draft::Draft;
use super::ground::{Ground, LOOK_BEFORE_WRITE};
use super::herd::{ByMarket, Herd, LEEWAY, units};
use crate::{Action, Hold, Member, Phase, Remark, Removal, RemovalStep};
use std::time::Duration;

/// A victim that still stands there so long after it was terminated is told again: twice what describes have
/// been seen to lag.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Strikes off the victims that are gone, by themselves or by us: nothing more is to be done about them.
///
/// A victim that went before the target was lowered, or while it was, needs no other in its place.
pub(super) fn strike_off(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) {
    let Some(herd) = herd else { return };
    draft.memory.removals.retain(|id, _| herd.alive.binary_search_by(|m| m.id.cmp(id)).is_ok());
}

/// Carries the removals on: victims whose weight the target no longer counts are terminated.
///
/// A victim that the target does count, because demand came back, somebody raised it or another instance was lost,
/// stays: without it the fleet would buy a replacement.
pub(super) fn carry_on(draft: &mut Draft<'_>, ground: Ground<'_>, herd: Option<&Herd<'_>>) {
    drop_what_never_began(draft);
    let Some(herd) = herd.filter(|_| !draft.memory.removals.is_empty()) else { return };
    let due: Vec<&Member> = herd.alive.iter().copied().filter(|m| is_due(draft, m, herd)).collect();
    draft.hold(Hold::RemovalsInFlight { count: draft.memory.removals.len() });
    if due.is_empty() || !fresh(draft, ground, herd) {
        return;
    }
    // Whoever was told may go at any moment, told again or not: they are nobody's reserve.
    let mut beyond = beyond_target(ground, units(herd.kept(draft)));
    let mut victims = Vec::new();
    for member in due {
        let told = draft.memory.removals.get(&member.id).is_some_and(|r| r.step == RemovalStep::Terminating);
        let takes = if told { 0.0 } else { member.weight.get() };
        let spare = beyond.of_mut(member.pool.market);
        if member.protected || takes > *spare + LEEWAY {
            draft.memory.removals.remove(&member.id);
            draft.remark(Remark::RemovalUndone { instance: member.id.clone() });
            continue;
        }
        *spare -= takes;
        victims.push(member);
    }
    terminate(draft, ground, &victims);
}

/// Terminates victims, and remembers that they were told.
pub(super) fn terminate(draft: &mut Draft<'_>, ground: Ground<'_>, victims: &[&Member]) {
    if victims.is_empty() {
        return;
    }
    for victim in victims {
        let removal = Removal {
            step: RemovalStep::Terminating,
            since: draft.now,
            weight: victim.weight,
            deadline: None,
        };
        let before = draft.memory.removals.insert(victim.id.clone(), removal);
        if before.is_some_and(|r| r.step == RemovalStep::Terminating) {
            draft.remark(Remark::TerminatedAgain { instance: victim.id.clone() });
        }
    }
    let instances = victims.iter().map(|m| m.id.clone()).collect();
    draft.actions.push(Action::Terminate { fleet: ground.view.fleet_ref(), instances });
}

/// What runs beyond the target, by market: what the fleet would not buy again.
pub(super) fn beyond_target(ground: Ground<'_>, alive: ByMarket) -> ByMarket {
    let on_demand_target = ground.view.on_demand_target.min(ground.view.target);
    ByMarket {
        spot: alive.spot - f64::from(ground.view.target - on_demand_target),
        on_demand: alive.on_demand - f64::from(on_demand_target),
    }
}

/// Removals whose lowering never happened have changed nothing yet: whether they are still wanted is decided
/// afresh.
fn drop_what_never_began(draft: &mut Draft<'_>) {
    draft.memory.removals.retain(|_, r| r.step != RemovalStep::Draining);
}

/// Whether a victim is to be told now: its weight is out of the target and its work has left, or it has not
/// listened.
fn is_due(draft: &Draft<'_>, victim: &Member, herd: &Herd<'_>) -> bool {
    draft.memory.removals.get(&victim.id).is_some_and(|r| match r.step {
        RemovalStep::Draining => false,
        RemovalStep::Lowering => victim.phase != Phase::Draining,
        RemovalStep::Terminating => herd.at > r.since + TELL_AGAIN_AFTER,
    })
}

/// Whether fleet and instances were looked at lately enough to terminate upon.
fn fresh(draft: &mut Draft<'_>, ground: Ground<'_>, herd: &Herd<'_>) -> bool {
    let age = draft.age(ground.at).max(draft.age(herd.at));
    if age > LOOK_BEFORE_WRITE {
        draft.hold(Hold::LookFirst { age });
        draft.look = true;
        return false;
    }
    true
}
