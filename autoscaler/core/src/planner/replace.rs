//! Replacements: ask for capacity in place of what is about to go, and lower the target again before it does.

use super::draft::Draft;
use super::fits::Room;
use super::ground::{Ground, LOOK_BEFORE_WRITE};
use super::herd::{ByMarket, Herd, LEEWAY, units};
use super::parts::{self, Parts};
use super::{ledger, notices, pools, rollout};
use crate::number::units as whole;
use crate::{
    DrainCause, FleetBuys, Hold, Member, Removal, RemovalStep, Replacement, ReplacementCause, ReplacementStep,
};
use fleet::{InstanceId, Market, NoticeKind, Timestamp, Weight};
use std::time::Duration;

/// How long a modification is given to take effect: EC2's take some 15 s, and the cycle that plans it may come 10 s
/// late, or its first try be refused.
const LOWERING_TAKES: Duration = Duration::from_secs(40);
/// Describes have been seen to lag by 30 s: after so long they show what a mark has changed.
const SHOWS_WITHIN: Duration = Duration::from_secs(45);
/// One that AWS announced to take and that lives on for so long is ours again: as long as a notice runs.
pub(super) const OUTLIVED: Duration = Duration::from_secs(120);
/// Whether the fleet has bought by itself is looked up before more is asked for, unless that takes longer than this.
const LOOK_FOR: Duration = Duration::from_secs(2);

/// Takes every replacement as far as this cycle's modification can: what the fleet buys itself is noticed, what has
/// been bought becomes a removal, what is due is asked for, within `max + surge`, the earliest deadline first.
///
/// * `base`: what the target holds of what is wanted; `next`: what will be wanted with this cycle's modification.
pub(super) fn advance(draft: &mut Draft<'_>, ground: Ground<'_>, herd: &Herd<'_>, base: Parts, next: Parts) {
    if draft.memory.replacements.is_empty() {
        return;
    }
    take_back_the_called_off(draft);
    rollout::take_back(draft, herd);
    learn_what_counts(draft, ground, herd);
    see_what_counts_after_all(draft, ground, herd);
    see_purchases(draft, ground, herd);
    complete(draft, ground, herd, base);
    leave_late_ones(draft);
    raise(draft, ground, herd, next);
}

/// Replacements by deadline, those without one last, and among these the riskiest pools first.
fn in_order(draft: &Draft<'_>) -> Vec<(InstanceId, Replacement)> {
    let mut order: Vec<_> = draft.memory.replacements.iter().map(|(id, r)| (id.clone(), r.clone())).collect();
    let risk = |id: &InstanceId| {
        let member = draft.seen.members.iter().flat_map(|members| &members.what).find(|m| m.id == *id);
        member.map_or(0.0, |member| pools::held_against(draft, &member.pool))
    };
    order.sort_by(|(a, x), (b, y)| {
        let pressing = (x.deadline.is_none(), x.deadline).cmp(&(y.deadline.is_none(), y.deadline));
        pressing.then_with(|| risk(b).total_cmp(&risk(a))).then_with(|| a.cmp(b))
    });
    order
}

/// What was asked for in place of one whose scheduled event is called off is not wanted any more: the target comes down
/// with this cycle's modification. What has been bought by then is beyond the target, and given back like all such.
fn take_back_the_called_off(draft: &mut Draft<'_>) {
    let raised = draft.memory.replacements.iter().filter(|(_, r)| r.step == ReplacementStep::Raised);
    let over: Vec<InstanceId> = raised
        .filter(|(id, r)| !notices::still_comes(draft, id, r.cause, r.deadline))
        .map(|(id, _)| id.clone())
        .collect();
    for id in over {
        notices::stay(draft, &id);
    }
}

/// Whether fleet and instances were looked at since then. A look that is begun with the plan that hears of something has
/// its time, and counts for the plans that come after it.
fn looked_since(draft: &Draft<'_>, ground: Ground<'_>, herd: &Herd<'_>, since: Timestamp) -> bool {
    draft.now > since && ground.at >= since && herd.at >= since
}

/// A fleet that does not count a marked instance any more shows it: it counts less than what lives. It buys another
/// by itself then. What was seen of the last ones is supposed of the next, for describes may lag behind the purchase.
fn see_purchases(draft: &mut Draft<'_>, ground: Ground<'_>, herd: &Herd<'_>) {
    let mut uncounted = uncounted(draft, ground, herd);
    let said = draft.policy.interruption.fleet_buys == FleetBuys::AtMarking;
    let bought_at_marking = draft.memory.counts_marked.map_or(said, |counts| !counts);
    for (id, replacement) in in_order(draft) {
        let open = matches!(replacement.step, ReplacementStep::Waiting | ReplacementStep::LeftToFleet);
        let announced = matches!(replacement.cause, ReplacementCause::Notice(_));
        let marked = replacement.cause == ReplacementCause::Notice(NoticeKind::SpotInterruption);
        let weight = replacement.weight.get();
        let fits = weight > 0.0 && weight <= uncounted + LEEWAY;
        let shows = fits && looked_since(draft, ground, herd, replacement.since);
        let supposed = marked && bought_at_marking;
        if open && announced && (shows || supposed) {
            uncounted -= weight;
            set_step(draft, &id, ReplacementStep::BoughtByFleet);
        }
    }
}

/// Learns from those that have been marked for so long that describes must show it whether the fleet counts them. Where
/// it does after all, they are replaced by us.
fn learn_what_counts(draft: &mut Draft<'_>, ground: Ground<'_>, herd: &Herd<'_>) {
    let marked: Vec<_> = in_order(draft)
        .into_iter()
        .filter(|(id, r)| {
            let interrupted = r.cause == ReplacementCause::Notice(NoticeKind::SpotInterruption);
            let known = matches!(r.step, ReplacementStep::Raised | ReplacementStep::BoughtByFleet);
            interrupted
                && known
                && looked_since(draft, ground, herd, r.since + SHOWS_WITHIN)
                && herd.get(id).is_some()
        })
        .collect();
    let weights =
        |step| marked.iter().filter(|(_, r)| r.step == step).map(|(_, r)| r.weight.get()).sum::<f64>();
    let bought = weights(ReplacementStep::BoughtByFleet);
    let weight = bought + weights(ReplacementStep::Raised);
    let missing = uncounted(draft, ground, herd) + bought;
    if weight <= 0.0 {
        return;
    }
    if missing + LEEWAY >= weight {
        draft.memory.counts_marked = Some(false);
    } else if missing + lately_bought(draft, ground, herd) <= LEEWAY {
        draft.memory.counts_marked = Some(true);
        for (id, _) in marked.iter().filter(|(_, r)| r.step == ReplacementStep::BoughtByFleet) {
            set_step(draft, id, ReplacementStep::Waiting);
        }
    }
}

/// What no interruption was announced of and what seemed bought by the fleet, because another that was marked unheard was
/// not counted just then: AWS never takes it, so that it would be on its way for good. Where a fleet at rest counts it
/// after all, it is replaced by us.
fn see_what_counts_after_all(draft: &mut Draft<'_>, ground: Ground<'_>, herd: &Herd<'_>) {
    let told = draft.memory.removals.values().any(|r| r.step == RemovalStep::Terminating);
    if !ground.settled || told {
        return;
    }
    let mut counted = -uncounted(draft, ground, herd) - lately_bought(draft, ground, herd);
    for (id, replacement) in in_order(draft) {
        let weight = replacement.weight.get();
        let seemed = replacement.step == ReplacementStep::BoughtByFleet && replacement.deadline.is_none();
        let known = looked_since(draft, ground, herd, replacement.since + SHOWS_WITHIN);
        if seemed && known && herd.get(&id).is_some() && weight > 0.0 && weight <= counted + LEEWAY {
            counted -= weight;
            set_step(draft, &id, ReplacementStep::Waiting);
        }
    }
}

/// Units of those that are supposed to be bought by the fleet and were heard of too lately for describes to show it for certain:
/// one that lags counts them still, and what it counts beyond the rest may be them.
fn lately_bought(draft: &Draft<'_>, ground: Ground<'_>, herd: &Herd<'_>) -> f64 {
    let late = |id: &InstanceId, r: &Replacement| {
        let supposed = r.step == ReplacementStep::BoughtByFleet && herd.get(id).is_some();
        supposed && !looked_since(draft, ground, herd, r.since + SHOWS_WITHIN)
    };
    let replacements = draft.memory.replacements.iter();
    replacements.filter(|(id, r)| late(id, r)).map(|(_, r)| r.weight.get()).sum()
}

/// Units that live and that the fleet does not count, less those of which that is known.
fn uncounted(draft: &Draft<'_>, ground: Ground<'_>, herd: &Herd<'_>) -> f64 {
    let explained = |m: &&Member| {
        let told = draft.memory.removals.get(&m.id).is_some_and(|r| r.step == RemovalStep::Terminating);
        let bought = draft.memory.replacements.get(&m.id).map(|r| r.step);
        told || bought == Some(ReplacementStep::BoughtByFleet)
    };
    let counted: f64 = herd.alive.iter().copied().filter(|m| !explained(m)).map(|m| m.weight.get()).sum();
    counted - ground.view.fulfilled.get()
}

/// What stands beside the replaced, by market: neither about to go nor told to.
pub(super) fn beside(draft: &Draft<'_>, herd: &Herd<'_>) -> ByMarket {
    units(herd.staying(draft))
}

/// The units of replaced instances that the target counts, by market.
pub(super) fn counted(draft: &Draft<'_>, herd: &Herd<'_>) -> ByMarket {
    let counted = |m: &&Member| {
        let step = draft.memory.replacements.get(&m.id).map(|r| r.step);
        step.is_some_and(|step| step != ReplacementStep::BoughtByFleet)
    };
    units(herd.alive.iter().copied().filter(counted))
}

/// Turns into removals what has been replaced (as much stands beside it as is wanted), what is gone, and what is taken
/// so soon that the target must come down now: one that goes while the target holds a place for another would be
/// bought twice.
fn complete(draft: &mut Draft<'_>, ground: Ground<'_>, herd: &Herd<'_>, base: Parts) {
    let (there, going, wanted) = (beside(draft, herd), counted(draft, herd), base.real());
    let mut bought = ByMarket {
        spot: there.spot - (wanted.spot - going.spot),
        on_demand: there.on_demand - (wanted.on_demand - going.on_demand),
    };
    let mut order = in_order(draft);
    // What was asked for in place of one is not another's that has not been asked for: the target still counts that. So who has time
    // and was not asked for comes last, whenever it goes.
    order.sort_by_key(|(_, r)| {
        let asked = r.step == ReplacementStep::Raised;
        (!asked && has_time(draft, r), r.deadline.is_none(), r.deadline, !asked)
    });
    for (id, replacement) in order {
        let asked = replacement.step == ReplacementStep::Raised;
        if !asked && replacement.step != ReplacementStep::Waiting {
            let stays = has_outlived(draft.now, replacement.deadline, replacement.since);
            if stays && replacement.step != ReplacementStep::Raising {
                become_removal(draft, &id, RemovalStep::Lowered);
            }
            continue;
        }
        let stands = bought.of_mut(replacement.market);
        let gone = herd.get(&id).is_none();
        let replaced = !gone
            && replacement.weight.get() <= *stands + LEEWAY
            && looked_since(draft, ground, herd, replacement.since);
        if replaced {
            *stands -= replacement.weight.get();
        }
        let due = match replacement.cause {
            ReplacementCause::Notice(NoticeKind::FleetScaleIn) => true,
            // Lowered any sooner, the target would count it in place of the next one that is asked for.
            ReplacementCause::Notice(NoticeKind::SpotInterruption) if asked => false,
            ReplacementCause::Notice(_) | ReplacementCause::Spread | ReplacementCause::Rollout => replaced,
        };
        if due || gone || (asked && must_be_lowered(draft, replacement.deadline)) {
            let step = if asked { RemovalStep::Lowering } else { RemovalStep::Lowered };
            become_removal(draft, &id, step);
        }
    }
}

/// Whether one that AWS was to take is still there so long after that it is not going to be taken. By a clock that is
/// wrong its time may be over when it is heard of: `since` then, too.
pub(super) fn has_outlived(now: Timestamp, deadline: Option<Timestamp>, since: Timestamp) -> bool {
    deadline.is_some_and(|deadline| now > deadline.max(since) + OUTLIVED)
}

/// Whether a target that is raised for one that goes then must be lowered now, for that to be done before.
pub(super) fn must_be_lowered(draft: &Draft<'_>, deadline: Option<Timestamp>) -> bool {
    let before = draft.policy.drain.margin + LOWERING_TAKES;
    deadline.is_some_and(|deadline| draft.now >= deadline - before)
}

/// Those that go before a raise could be taken back again are replaced by the fleet, once they have gone. One that seemed to be of
/// them by a clock that ran ahead, or was put off, and has much time after all, waits for its turn.
fn leave_late_ones(draft: &mut Draft<'_>) {
    for (id, replacement) in in_order(draft) {
        match replacement.step {
            ReplacementStep::Waiting if must_be_lowered(draft, replacement.deadline) => {
                set_step(draft, &id, ReplacementStep::LeftToFleet);
            }
            ReplacementStep::LeftToFleet
                if replacement.deadline.is_some()
                    && has_time(draft, &replacement)
                    && draft.policy.interruption.replace
                    && !draft.memory.replaced.contains_key(&id) =>
            {
                set_step(draft, &id, ReplacementStep::Waiting);
            }
            _ => {}
        }
    }
}

/// Asks for what is due, as far as it fits.
///
/// What nothing presses waits until those before it have gone: as long as they live, the fleet counts them in its place. One whose work
/// has left does not: those before it may wait for what is bought for it.
fn raise(draft: &mut Draft<'_>, ground: Ground<'_>, herd: &Herd<'_>, base: Parts) {
    let mut waiting = 0;
    for (id, replacement) in in_order(draft) {
        if replacement.step != ReplacementStep::Waiting {
            continue;
        }
        if !looked_since(draft, ground, herd, replacement.since)
            && draft.now.since(replacement.since) < LOOK_FOR
        {
            draft.look = true;
            continue;
        }
        let waits = has_time(draft, &replacement) && replacement.drain_until.is_none();
        if waits && ledger::somebody_leaves(draft) {
            continue;
        }
        let raising = Replacement { step: ReplacementStep::Raising, since: draft.now, ..replacement.clone() };
        draft.memory.replacements.insert(id.clone(), raising);
        if base.plus(parts::on_top(&draft.memory)).total() > most(draft) {
            let for_rollout = replacement.cause == ReplacementCause::Rollout
                && herd.get(&id).is_some_and(|m| rollout::has_been_ready(draft, m));
            if for_rollout && !has_place(draft, replacement.weight, base.total()) {
                // More is wanted than when it was chosen. Nobody has told it anything yet, and others may have a place.
                draft.memory.replacements.remove(&id);
                rollout::leave(draft);
            } else {
                draft.memory.replacements.insert(id, replacement);
                waiting += 1;
            }
        }
    }
    if waiting > 0 {
        draft.hold(Hold::SurgeFull { waiting });
    }
}

/// Whether one can wait for its turn: nothing says when it goes, or that is so far off that whoever is before it has gone long before.
pub(super) fn has_time(draft: &Draft<'_>, replacement: &Replacement) -> bool {
    let needed = draft.policy.boot + draft.policy.drain.deadline + notices::IN_TIME / 2;
    replacement.deadline.is_none_or(|deadline| deadline > draft.now + needed)
}

/// Takes those out of the target that have never been of use and in whose place nobody can be asked for, because nothing has room
/// beside them: they serve nobody, and would hold their places for good. Spot alone, for what is bought again is.
///
/// * `wanted`: the units that are wanted; where that is not what there is, more is bought, or whoever is too much goes.
/// * returns: what is wanted without them, until they have gone.
pub(super) fn let_the_useless_go_first(
    draft: &mut Draft<'_>,
    herd: &Herd<'_>,
    base: Parts,
    wanted: u32,
) -> Parts {
    // As long as one is asked for, the others wait for their turn.
    let others_go_first = wanted != base.total() || parts::surge(&draft.memory) != Parts::default();
    if others_go_first || ledger::somebody_leaves(draft) || draft.age(herd.at) > LOOK_BEFORE_WRITE {
        return base;
    }
    let min = draft.policy.capacity.min;
    let mut left = base;
    for (id, replacement) in in_order(draft) {
        let Replacement { cause, step, since, weight, market, .. } = replacement;
        let waits = cause == ReplacementCause::Rollout && step == ReplacementStep::Waiting;
        let useless = herd.get(&id).is_some_and(|m| !rollout::has_been_ready(draft, m));
        let no_room = !has_place(draft, weight, base.plus(parts::on_top(&draft.memory)).total());
        let weight = whole(weight.get());
        let may = left.total() >= min.saturating_add(weight);
        // One that is out of the target is beyond it only where as much lives as the target asks for.
        let lives = units(herd.alive.iter().copied()).spot + LEEWAY >= base.real().spot;
        if waits
            && useless
            && no_room
            && may
            && lives
            && market == Market::Spot
            && draft.now > since
            && herd.at >= since
        {
            left.spot = left.spot.saturating_sub(weight);
            become_removal(draft, &id, RemovalStep::Lowering);
        }
    }
    left
}

/// What is wanted at most as long as those live that have never been of use and are on their way out: bought again sooner, they
/// would be counted by the target, and stay.
pub(super) fn without_places_of_the_useless(
    draft: &Draft<'_>,
    herd: &Herd<'_>,
    base: Parts,
    wanted: u32,
) -> u32 {
    let removals = draft.memory.removals.iter();
    let rolled_out = removals.filter(|(_, r)| r.cause == DrainCause::Replaced(ReplacementCause::Rollout));
    let useless =
        rolled_out.filter(|(id, _)| herd.get(id).is_some_and(|m| !rollout::has_been_ready(draft, m)));
    let places = useless.map(|(_, r)| whole(r.weight.get())).fold(0, u32::saturating_add);
    if places == 0 {
        return wanted;
    }
    let capacity = draft.policy.capacity;
    let without = wanted.min(capacity.max).saturating_sub(places);
    wanted.min(without.max(capacity.min).max(base.total()))
}

/// Whether all who are to be replaced wait, for less to be wanted, and nothing presses: they hold up no roll-out, of which they are not.
pub(super) fn hold_up_nobody(draft: &Draft<'_>, wanted: u32) -> bool {
    draft.memory.replacements.values().all(|r| {
        let waits = r.step == ReplacementStep::Waiting && r.deadline.is_none();
        waits && r.cause != ReplacementCause::Rollout && !has_place(draft, r.weight, wanted)
    })
}

/// Whether one of that weight has a place beside `wanted` units while nobody else is replaced.
pub(super) fn has_place(draft: &Draft<'_>, weight: Weight, wanted: u32) -> bool {
    let capacity = draft.policy.capacity;
    let most = capacity.max.max(capacity.min).saturating_add(capacity.surge);
    wanted.saturating_add(whole(weight.get())) <= most
}

/// The most that may be asked for: `max`, and what of `surge` replacements explain.
pub(super) fn most(draft: &Draft<'_>) -> u32 {
    let capacity = draft.policy.capacity;
    let surge = capacity.surge.min(parts::surge(&draft.memory).total());
    capacity.max.max(capacity.min).saturating_add(surge)
}

/// When less is enough, what goes anyway goes first, and is not replaced; one that goes for a roll-out alone only where its
/// work has a place without another in its stead.
///
/// * `spare`: the units that are not wanted any more, by market.
/// * returns: the units that are given back with it.
pub(super) fn give_up(draft: &mut Draft<'_>, herd: &Herd<'_>, mut spare: ByMarket) -> ByMarket {
    let mut given = ByMarket::default();
    for (id, replacement) in in_order(draft) {
        let weight = replacement.weight.get();
        let counts = replacement.step != ReplacementStep::BoughtByFleet && herd.get(&id).is_some();
        let goes_anyway = replacement.cause != ReplacementCause::Rollout
            || Room::of(draft, herd).is_none_or(|mut room| room.let_go(&id));
        if counts && goes_anyway && weight > 0.0 && weight <= spare.of(replacement.market) + LEEWAY {
            *spare.of_mut(replacement.market) -= weight;
            *given.of_mut(replacement.market) += weight;
            become_removal(draft, &id, RemovalStep::Lowering);
        }
    }
    given
}

/// From a replacement to the removal that it ends with.
fn become_removal(draft: &mut Draft<'_>, id: &InstanceId, step: RemovalStep) {
    let Some(replacement) = draft.memory.replacements.remove(id) else { return };
    let Replacement { cause, step: _, since: _, weight, market, drain_until, deadline } = replacement;
    let cause = DrainCause::Replaced(cause);
    let removal = Removal { step, since: draft.now, weight, market, cause, drain_until, deadline };
    draft.memory.removals.insert(id.clone(), removal);
    draft.memory.replaced.insert(id.clone(), draft.now);
}

fn set_step(draft: &mut Draft<'_>, id: &InstanceId, step: ReplacementStep) {
    if let Some(replacement) = draft.memory.replacements.get_mut(id) {
        replacement.step = step;
    }
}
