//! Removals under way: each ends with exactly one instance less, or with its victim kept.

use super::draft::Draft;
use super::ground::{Ground, LOOK_BEFORE_WRITE};
use super::herd::{ByMarket, Herd, LEEWAY, units};
use super::parts::{self, Parts};
use super::{drain, replace};
use crate::{
    Action, DrainBy, DrainCause, Hold, Member, Remark, Removal, RemovalStep, Replacement, ReplacementCause,
    ReplacementStep,
};
use fleet::{InstanceId, NoticeKind};
use std::time::Duration;

/// A victim that still stands there so long after it was terminated is told again: twice what describes have
/// been seen to lag.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// What was replaced is remembered for so long after it is gone: no source repeats a notice for longer.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Strikes off the victims that are gone, by themselves or by us: nothing more is to be done about them.
///
/// A victim that went before the target was lowered, or while it was, needs no other in its place; it is struck off
/// once the target shows it. So is one that was to be replaced.
pub(super) fn strike_off(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) {
    let Some(herd) = herd else { return };
    let now = draft.now;
    let unseen = &draft.seen.unseen;
    let gone = |id: &InstanceId| herd.get(id).is_none() && !unseen.contains(id);
    let memory = &mut draft.memory;
    memory
        .removals
        .retain(|id, r| !gone(id) || matches!(r.step, RemovalStep::Draining | RemovalStep::Lowering));
    let counted = |step| matches!(step, ReplacementStep::Raising | ReplacementStep::Raised);
    let ended: Vec<InstanceId> = memory
        .replacements
        .iter()
        .filter(|(id, r)| gone(id) && !counted(r.step))
        .map(|(id, _)| id.clone())
        .collect();
    for id in ended {
        memory.replacements.remove(&id);
        memory.replaced.insert(id, now);
    }
    memory.replaced.retain(|id, at| !gone(id) || now.since(*at) < REMEMBERED);
    memory.repairs.retain(|at| now.since(*at) < REMEMBERED);
    memory.restoring.retain(|id, _| !gone(id));
}

/// The target is not what the ledger supposes: somebody else has set it. What was asked for or is counted on top of
/// what is wanted is part of it no more, and is decided afresh.
pub(super) fn start_over(draft: &mut Draft<'_>) {
    for replacement in draft.memory.replacements.values_mut() {
        if matches!(replacement.step, ReplacementStep::Raising | ReplacementStep::Raised) {
            replacement.step = ReplacementStep::Waiting;
        }
    }
    let draining = draft.memory.removals.iter().filter(|(_, r)| r.step == RemovalStep::Draining);
    for (id, cause) in draining.map(|(id, r)| (id.clone(), r.cause)).collect::<Vec<_>>() {
        if cause == DrainCause::ScaleIn {
            keep(draft, &id);
        } else if let Some(removal) = draft.memory.removals.get_mut(&id) {
            removal.step = RemovalStep::Lowered;
        }
    }
}

/// What the target holds of what is wanted, without what the ledger has on top.
///
/// As long as a write of ours has not shown, that is the target which was written: the ledger has taken its steps with it. What is
/// shown until then is without what was just asked for, and less would seem to be wanted.
pub(super) fn base(draft: &mut Draft<'_>, ground: Ground<'_>) -> Parts {
    if ground.settled {
        drop_what_never_began(draft);
        let (shown, top) = (Parts::shown(ground.view), parts::on_top(&draft.memory));
        if top.spot > shown.spot || top.on_demand > shown.on_demand {
            start_over(draft);
        }
    }
    let written = draft.memory.expected.filter(|expected| ground.ours && !expected.shown);
    let target = written.map_or_else(
        || Parts::shown(ground.view),
        |expected| Parts::of(expected.target, expected.on_demand_target),
    );
    target.less(parts::on_top(&draft.memory))
}

/// Without drains, removals whose lowering never happened have changed nothing yet: whether they are still wanted is
/// decided afresh.
fn drop_what_never_began(draft: &mut Draft<'_>) {
    if draft.policy.drain.by == DrainBy::Nobody {
        let fresh = |r: &Removal| r.step == RemovalStep::Draining && r.cause == DrainCause::ScaleIn;
        draft.memory.removals.retain(|_, r| !fresh(r));
    }
}

/// Takes out of the target what is on its way out: victims that are empty, and those that go whatever we do, which is
/// to be done before they have gone. Where nothing presses, the instances are looked at first.
///
/// * `may_lower`: whether less is still enough, as far as load is known.
pub(super) fn lower_the_empty(draft: &mut Draft<'_>, herd: &Herd<'_>, may_lower: bool) {
    let lowers = |id: &InstanceId, removal: &Removal| {
        let Some(member) = herd.get(id) else { return true };
        // One that is taken is out of the target before it goes, or the fleet would buy another.
        let goes = removal.cause != DrainCause::ScaleIn;
        let left = || goes || drain::has_left(draft, id, removal, Some(member.phase));
        if was_spare(draft, id, removal) { may_lower && left() } else { goes }
    };
    let draining = draft.memory.removals.iter().filter(|(_, r)| r.step == RemovalStep::Draining);
    let mut due: Vec<(InstanceId, bool)> = draining
        .filter(|(id, r)| lowers(id, r))
        .map(|(id, r)| {
            let presses = !was_spare(draft, id, r) && replace::must_be_lowered(draft, r.deadline);
            (id.clone(), herd.get(id).is_some() && !presses)
        })
        .collect();
    let age = draft.age(herd.at);
    if age > LOOK_BEFORE_WRITE && due.iter().any(|(_, waits)| *waits) {
        draft.hold(Hold::LookFirst { age });
        draft.look = true;
        due.retain(|(_, waits)| !waits);
    }
    for (id, _) in &due {
        lower(draft, id);
    }
}

/// Takes victims out of the target that have not let go yet, as far as the target would be out of bounds with them:
/// the fleet ends nobody for it.
pub(super) fn lower_beyond_bounds(draft: &mut Draft<'_>, base: Parts) {
    let draining = draft.memory.removals.iter().filter(|(_, r)| r.step == RemovalStep::Draining);
    for id in draining.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
        if base.plus(parts::on_top(&draft.memory)).total() <= replace::most(draft) {
            return;
        }
        lower(draft, &id);
    }
}

fn lower(draft: &mut Draft<'_>, id: &InstanceId) {
    let now = draft.now;
    if let Some(removal) = draft.memory.removals.get_mut(id) {
        (removal.step, removal.since) = (RemovalStep::Lowering, now);
    }
}

/// Keeps victims that the target still counts: all whom somebody protects by now, for nobody may empty them any more; and of the
/// others those that have let go of least first, until `wanted` units are there: cheaper than new ones.
///
/// * returns: the units that are wanted with them.
pub(super) fn keep_draining(
    draft: &mut Draft<'_>,
    herd: Option<&Herd<'_>>,
    base: Parts,
    wanted: u32,
) -> Parts {
    let Some(herd) = herd else { return base };
    let shown = base.plus(parts::on_top(&draft.memory));
    let draining =
        |(_, r): &(&InstanceId, &Removal)| r.step == RemovalStep::Draining && r.cause == DrainCause::ScaleIn;
    let all = draft.memory.removals.iter().filter(draining);
    let protected = all.filter(|(id, _)| herd.get(id).is_some_and(|m| m.protected)).map(|(id, _)| id.clone());
    let protected: Vec<InstanceId> = protected.collect();
    for id in &protected {
        keep(draft, id);
    }
    let mut kept = protected.len();
    let mut base = shown.less(parts::on_top(&draft.memory));
    // A hook that has begun cannot be taken back.
    let may = |r: &Removal| draft.policy.drain.by == DrainBy::Nomad || r.drain_until.is_none();
    let mut order: Vec<(usize, InstanceId)> = draft
        .memory
        .removals
        .iter()
        .filter(draining)
        .filter(|(id, r)| may(r) && herd.get(id).is_some())
        .map(|(id, _)| (draft.node_of(id).map_or(0, |node| node.movable(true).count()), id.clone()))
        .collect();
    order.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    for (_, id) in order {
        if base.total() >= wanted {
            break;
        }
        keep(draft, &id);
        kept += 1;
        base = shown.less(parts::on_top(&draft.memory));
    }
    if kept > 0 {
        draft.report.decision = crate::Decision::Keep { instances: kept };
    }
    base
}

/// Victims that went by themselves while the target still counts them, where nobody can tell any more that less is
/// enough: they are forgotten, and the fleet buys others.
///
/// * returns: the units that are wanted with them.
pub(super) fn forget_the_gone(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>, base: Parts) -> Parts {
    let Some(herd) = herd else { return base };
    let shown = base.plus(parts::on_top(&draft.memory));
    let gone = |id: &InstanceId, r: &Removal| {
        r.step == RemovalStep::Draining && herd.get(id).is_none() && was_spare(draft, id, r)
    };
    let all = draft.memory.removals.iter();
    let forgotten: Vec<InstanceId> = all.filter(|(id, r)| gone(id, r)).map(|(id, _)| id.clone()).collect();
    for id in forgotten {
        draft.memory.removals.remove(&id);
    }
    shown.less(parts::on_top(&draft.memory))
}

/// Whether a victim was chosen because less was enough, whatever was heard of it since: nothing was bought in its
/// place.
fn was_spare(draft: &Draft<'_>, id: &InstanceId, removal: &Removal) -> bool {
    removal.cause == DrainCause::ScaleIn || !draft.memory.replaced.contains_key(id)
}

/// Carries the removals on: victims whose weight the target no longer counts, and whose work has left, are terminated.
///
/// A victim that the target does count, because demand came back, somebody raised it or another instance was lost,
/// stays: without it the fleet would buy a replacement. One that AWS takes is left to AWS.
pub(super) fn carry_on(draft: &mut Draft<'_>, ground: Ground<'_>, herd: Option<&Herd<'_>>) {
    let Some(herd) = herd.filter(|_| !draft.memory.removals.is_empty()) else { return };
    draft.hold(Hold::RemovalsInFlight { count: draft.memory.removals.len() });
    let lowered: Vec<&Member> = herd.alive.iter().copied().filter(|m| is_lowered(draft, m, herd)).collect();
    if lowered.is_empty() || !fresh(draft, ground, herd) {
        return;
    }
    // Whoever was told may go at any moment, told again or not: they are nobody's reserve.
    let mut beyond = beyond_target(ground, units(herd.kept(draft)));
    let mut victims = Vec::new();
    for member in lowered {
        let Some(removal) = draft.memory.removals.get(&member.id) else { continue };
        let told = removal.step == RemovalStep::Terminating;
        let takes = if told { 0.0 } else { member.weight.get() };
        let spare = beyond.of_mut(member.pool.market);
        if is_taken_by_aws(draft, removal) {
            *spare -= takes;
        } else if member.protected || takes > *spare + LEEWAY {
            if member.protected || !waits_anew(draft, &member.id) {
                keep(draft, &member.id);
            }
        } else {
            *spare -= takes;
            if drain::has_left(draft, &member.id, removal, Some(member.phase)) {
                victims.push(member);
            } else if told {
                // It was not heard, and work has come meanwhile: that is to leave first.
                empty_again(draft, &member.id);
            }
        }
    }
    terminate(draft, ground, &victims);
}

fn empty_again(draft: &mut Draft<'_>, id: &InstanceId) {
    let now = draft.now;
    if let Some(removal) = draft.memory.removals.get_mut(id) {
        (removal.step, removal.since, removal.drain_until) = (RemovalStep::Lowered, now, None);
    }
}

/// Keeps a victim: its node takes work again, and a hook that empties it is ended.
pub(super) fn keep(draft: &mut Draft<'_>, id: &InstanceId) {
    let removal = draft.memory.removals.remove(id);
    if removal.is_some_and(|r| r.cause == DrainCause::Replaced(ReplacementCause::Rollout)) {
        // Its turn comes again: what was bought in its place is wanted beside it now.
        draft.memory.replaced.remove(id);
    }
    if draft.policy.drain.by != DrainBy::Nobody {
        draft.memory.restoring.insert(id.clone(), draft.now);
    }
    draft.remark(Remark::RemovalUndone { instance: id.clone() });
}

/// A victim that goes for a scheduled event, and that the target counts in place of what was bought for it, is to be replaced once
/// more: what was bought is wanted beside it now, and the event lies ahead still.
///
/// * returns: whether it is one that works on until then; no new work comes to its node. One that has been asked to let go serves again
///   first, see [`keep`].
fn waits_anew(draft: &mut Draft<'_>, id: &InstanceId) -> bool {
    let scheduled = ReplacementCause::Notice(NoticeKind::ScheduledEvent);
    let Some(removal) = draft.memory.removals.get(id) else { return false };
    let is_over = removal.deadline.is_some_and(|deadline| deadline <= draft.now);
    if removal.cause != DrainCause::Replaced(scheduled) || is_over {
        return false;
    }
    let &Removal { step, weight, market, drain_until, deadline, .. } = removal;
    draft.memory.replaced.remove(id);
    let ahead = draft.policy.interruption.replace;
    if !ahead || step == RemovalStep::Terminating || drain_until.is_some() {
        return false;
    }
    let (step, since) = (ReplacementStep::Waiting, draft.now);
    let replacement = Replacement { cause: scheduled, step, since, weight, market, drain_until, deadline };
    draft.memory.removals.remove(id);
    draft.memory.replacements.insert(id.clone(), replacement);
    true
}

/// Whether somebody was kept just now: that is to be seen before they are chosen anew.
pub(super) fn kept_somebody(draft: &Draft<'_>) -> bool {
    draft.memory.restoring.values().any(|since| *since == draft.now)
}

/// Terminates victims, and remembers that they were told.
pub(super) fn terminate(draft: &mut Draft<'_>, ground: Ground<'_>, victims: &[&Member]) {
    if victims.is_empty() {
        return;
    }
    for victim in victims {
        let before = draft.memory.removals.remove(&victim.id);
        if before.as_ref().is_some_and(|r| r.step == RemovalStep::Terminating) {
            draft.remark(Remark::TerminatedAgain { instance: victim.id.clone() });
        }
        let removal = Removal {
            step: RemovalStep::Terminating,
            since: draft.now,
            ..before.unwrap_or_else(|| Removal::of(victim, DrainCause::ScaleIn, draft.now))
        };
        draft.memory.removals.insert(victim.id.clone(), removal);
    }
    let instances = victims.iter().map(|m| m.id.clone()).collect();
    draft.actions.push(Action::Terminate { fleet: ground.view.fleet_ref(), instances });
}

/// What runs beyond the target, by market: what the fleet would not buy again.
pub(super) fn beyond_target(ground: Ground<'_>, alive: ByMarket) -> ByMarket {
    let target = Parts::shown(ground.view).real();
    ByMarket { spot: alive.spot - target.spot, on_demand: alive.on_demand - target.on_demand }
}

/// Whether the target does not count a victim any more, by the ledger; of those that were told, only those that have
/// not listened.
fn is_lowered(draft: &Draft<'_>, victim: &Member, herd: &Herd<'_>) -> bool {
    draft.memory.removals.get(&victim.id).is_some_and(|r| match r.step {
        RemovalStep::Draining | RemovalStep::Lowering => false,
        // Whoever was entered just now is on no disk yet.
        RemovalStep::Lowered => r.since < draft.now,
        RemovalStep::Terminating => herd.at > r.since + TELL_AGAIN_AFTER,
    })
}

/// Whether AWS takes a victim by itself: nothing is gained by being quicker.
fn is_taken_by_aws(draft: &Draft<'_>, removal: &Removal) -> bool {
    let announced = matches!(
        removal.cause,
        DrainCause::Replaced(ReplacementCause::Notice(
            NoticeKind::SpotInterruption | NoticeKind::FleetScaleIn
        ))
    );
    announced
        && removal.deadline.is_some()
        && !replace::has_outlived(draft.now, removal.deadline, removal.since)
}

/// Whether a victim that the target does not count any more is still to be terminated by us.
pub(super) fn somebody_leaves(draft: &Draft<'_>) -> bool {
    let removals = draft.memory.removals.values();
    removals.filter(|r| r.step != RemovalStep::Draining).any(|r| !is_taken_by_aws(draft, r))
}

/// Whether nothing of the target, and no call, waits for a victim: each is out of it already, or AWS's to take.
pub(super) fn asks_nothing_of_the_target(draft: &Draft<'_>) -> bool {
    draft.memory.removals.values().all(|r| r.step == RemovalStep::Lowered || is_taken_by_aws(draft, r))
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
