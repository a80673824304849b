//! What a plan stands on: whether the fleet is known well enough, may be touched, and has settled.

use super::draft::Draft;
use super::ledger;
use crate::number::millionths;
use crate::{Expected, Hold, Remark, Unholdable};
use fleet::ports::Change;
use fleet::{Backend, ExcessCapacity, FleetKind, FleetState, FleetView, Timestamp, Utilization, Zone};
use std::collections::BTreeSet;
use std::time::Duration;

/// Beyond this nothing is known of a fleet any more. Steady fleets are described every three minutes, and a
/// describe that fails is tried again within half a minute: this is four in a row that failed.
pub(super) const FLEET_STALE: Duration = Duration::from_secs(300);
/// A write needs a younger look than this: long enough for a call that is retried, short enough that nobody
/// else's write goes unseen for long.
pub(super) const LOOK_BEFORE_WRITE: Duration = Duration::from_secs(30);
/// For this long after a write, describes may still show what was before it. They have been seen to lag by
/// 30 s; a write that has not shown after three times that did not happen.
pub(super) const LAG: Duration = Duration::from_secs(90);
/// What somebody else set is not lowered for this long: they had a reason, and may be about to give it to us as
/// an override.
pub const RESPITE: Duration = Duration::from_secs(900);
/// A modification that takes longer than this is worth a word; EC2's usually take seconds.
const MODIFYING_LONG: Duration = Duration::from_secs(20 * 60);
/// A fleet that ends by itself is announced this long before.
const END_ANNOUNCED: Duration = Duration::from_secs(24 * 3600);

/// The fleet as seen, and what may be done to it.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub view: &'a FleetView,
    pub at: Timestamp,
    /// Whether it is ours to change: not paused, not ceded, not of a kind that cannot be held.
    pub ours: bool,
    /// Whether a write may follow now: nothing of ours or theirs is under way.
    pub settled: bool,
}

/// Finds out what the plan stands on, and keeps account of what we and others wrote.
///
/// * returns: `None` when the fleet is unknown or known too long ago to say anything.
pub(super) fn survey<'a>(draft: &mut Draft<'a>) -> Option<Ground<'a>> {
    let Some(observed) = &draft.seen.fleet else {
        draft.hold(Hold::FleetUnseen);
        return None;
    };
    let (view, at) = (&observed.what, observed.at);
    let age = draft.age(at);
    if age > FLEET_STALE {
        draft.hold(Hold::FleetStale { age });
        draft.look = true;
        return None;
    }
    let ours = may_be_held(draft, view);
    let settled = if ours {
        let shown = account(draft, view, at);
        rests(draft, view) && shown && !draft.memory.ceded
    } else {
        // Whoever works on the fleet meanwhile is meant to: what they leave is taken over as found. A write of
        // ours that may still be under way is waited for.
        let under_way = |e: Expected| !e.shown && e.written.is_some_and(|w| draft.age(w) <= LAG);
        if !draft.memory.expected.is_some_and(under_way) {
            draft.memory.expected = None;
        }
        false
    };
    if draft.memory.expected.is_some_and(|expected| expected.shown) {
        draft.memory.take_steps_on();
    }
    warn(draft, view);
    Some(Ground { view, at, ours: ours && !draft.memory.ceded, settled })
}

/// Whether the fleet was ours to change when it was last seen, and nobody has told us since to let it be. Where we have never seen
/// anything of it, it was if the leader before us held it.
pub(super) fn was_ours(draft: &mut Draft<'_>) -> bool {
    let held = match &draft.seen.fleet {
        Some(observed) => may_be_held(draft, &observed.what),
        None if draft.seen.members.is_some() || draft.memory.expected.is_none() => return false,
        None => !is_let_be(draft),
    };
    held && !draft.memory.ceded
}

/// Whether the fleet can be held, and nobody has told us not to.
fn may_be_held(draft: &mut Draft<'_>, view: &FleetView) -> bool {
    let why = match (view.kind, view.state) {
        (FleetKind::Request, _) => Some(Unholdable::AsksOnce),
        (FleetKind::Instant, _) => Some(Unholdable::LaunchesOnce),
        (_, FleetState::Deleted) => Some(Unholdable::Deleted),
        (_, FleetState::Failed) => Some(Unholdable::Failed),
        // Only an EC2 Fleet can be modified before it is at work.
        (_, FleetState::Submitted) if view.backend == Backend::SpotFleet => Some(Unholdable::Submitted),
        _ if draft.seen.scalable_target => Some(Unholdable::ScalableTarget),
        _ => None,
    };
    if let Some(why) = why {
        draft.hold(Hold::NotHoldable { why });
        return false;
    }
    !is_let_be(draft)
}

/// Whether somebody has told us to let the fleet be.
fn is_let_be(draft: &mut Draft<'_>) -> bool {
    let paused = draft.seen.pause.as_ref().filter(|p| p.until > draft.now).map(|p| p.until);
    if let Some(until) = paused {
        draft.hold(Hold::Paused { until });
    }
    if draft.policy.observe_only {
        draft.hold(Hold::ObserveOnly);
    }
    paused.is_some() || draft.policy.observe_only
}

/// Whether the fleet is at rest: not carrying out a modification, ours or anybody's.
fn rests(draft: &mut Draft<'_>, view: &FleetView) -> bool {
    if view.state != FleetState::Modifying {
        draft.memory.modifying_since = None;
        return true;
    }
    let since = *draft.memory.modifying_since.get_or_insert(draft.now);
    draft.hold(Hold::Modifying { since });
    if draft.age(since) >= MODIFYING_LONG {
        draft.remark(Remark::StuckModifying { since });
    }
    false
}

/// Compares what is seen with what we left: our write shows, shows not yet, was lost, or somebody else wrote.
///
/// * returns: whether the books agree, so that the next write may follow.
fn account(draft: &mut Draft<'_>, view: &FleetView, at: Timestamp) -> bool {
    let found = Change::of_target(view.target, view.on_demand_target);
    let Some(expected) = draft.memory.expected else {
        draft.remark(Remark::Adopted { target: view.target });
        draft.memory.expected = Some(adopted(found));
        return true;
    };
    if draft.memory.ceded {
        draft.hold(Hold::Ceded { foreign_writes: draft.memory.foreign_writes });
        return false;
    }
    let ours = Change::of_target(expected.target, expected.on_demand_target);
    // A fleet that we have written once is ours to the excess policy, too.
    let keeps_policy = expected.written.is_none() || view.excess == ExcessCapacity::NoTermination;
    let lag_over = expected.written.is_none_or(|written| at > written + LAG);
    if found == ours && keeps_policy {
        // Of the same size as before, the size says nothing of the write. Nor does it where the write has shown before, by a describe that
        // was ahead of this one: what is launched tells.
        let says_nothing = expected.shown || expected.before == Some(ours);
        if !lag_over && says_nothing && !shows_launch(draft, view, expected) {
            draft.hold(Hold::WriteNotShown { written: expected.written.unwrap_or(draft.now) });
            return false;
        }
        return shows(draft, expected, at);
    }
    if !expected.shown {
        let written = expected.written.unwrap_or(draft.now);
        if !lag_over {
            draft.hold(Hold::WriteNotShown { written });
            return false;
        }
        if Some(found) == expected.before {
            lose_write(draft, expected, written);
            return true;
        }
    } else if Some(found) == expected.before {
        // A write that was given up as lost has come true after all.
        draft.memory.expected = Some(Expected { written: Some(at), ..adopted(found) });
        return true;
    } else if !lag_over {
        draft.hold(Hold::Unsettled { found: found.target });
        return false;
    }
    foreign_write(draft, expected, found)
}

/// Whether a fleet launches what it was told to with a write, if it was told of that.
fn shows_launch(draft: &Draft<'_>, view: &FleetView, expected: Expected) -> bool {
    let rollout = draft.memory.rollout.as_ref();
    let asked = rollout.and_then(|rollout| rollout.asked).filter(|asked| expected.written == Some(asked.at));
    let version = view.launch.as_ref().and_then(|launch| launch.version);
    asked.is_none_or(|asked| version == Some(asked.version))
}

/// The fleet shows what we expect: from a describe that was begun after the write, that settles it.
fn shows(draft: &mut Draft<'_>, expected: Expected, at: Timestamp) -> bool {
    if expected.shown {
        return true;
    }
    let written = expected.written.unwrap_or(at);
    if at <= written {
        draft.hold(Hold::WriteNotShown { written });
        return false;
    }
    draft.memory.expected = Some(Expected { shown: true, before: None, ..expected });
    true
}

/// A write that has not shown for longer than describes lag did not happen.
///
/// What it would have set is kept as `before`: should it come true later, it is ours, not somebody else's.
fn lose_write(draft: &mut Draft<'_>, expected: Expected, written: Timestamp) {
    draft.remark(Remark::WriteLost { written, target: expected.target });
    let lost = Change::of_target(expected.target, expected.on_demand_target);
    if let Some(found) = expected.before {
        draft.memory.expected = Some(Expected { before: Some(lost), ..adopted(found) });
    }
    draft.memory.take_steps_back();
}

/// Somebody else wrote: taken over the first time, left to them from the second time on.
fn foreign_write(draft: &mut Draft<'_>, expected: Expected, found: Change) -> bool {
    draft.memory.foreign_writes = draft.memory.foreign_writes.saturating_add(1);
    let count = draft.memory.foreign_writes;
    draft.remark(Remark::ForeignWrite { was: expected.target, found: found.target, count });
    draft.memory.expected = Some(adopted(found));
    draft.memory.foreign_write_at = Some(draft.now);
    ledger::start_over(draft);
    if count >= 2 {
        draft.memory.ceded = true;
        draft.hold(Hold::Ceded { foreign_writes: count });
        return false;
    }
    true
}

/// A target as found, written by nobody we know.
fn adopted(found: Change) -> Expected {
    Expected {
        target: found.target,
        on_demand_target: found.on_demand_target,
        written: None,
        shown: true,
        before: None,
    }
}

/// What an operator should know of the fleet, whatever is decided.
fn warn(draft: &mut Draft<'_>, view: &FleetView) {
    if let Some(at) = view.valid_until.filter(|at| draft.now + END_ANNOUNCED > *at) {
        draft.remark(Remark::Ends { at });
    }
    if view.capacity_rebalance {
        draft.remark(Remark::CapacityRebalanceOn);
    }
    let mut families: Vec<_> = view.overrides.iter().map(|o| fleet::Family::of(&o.instance_type)).collect();
    families.sort_unstable();
    families.dedup();
    let configured = u32::try_from(families.len()).unwrap_or(u32::MAX);
    let wanted = draft.policy.diversification.families;
    if configured < wanted {
        draft.remark(Remark::FewFamilies { configured, wanted });
    }
    warn_of_zones(draft, view);
}

/// Says so where the shopping list names so few zones that one of them has to hold more than the policy allows. A line
/// without a zone may buy in any.
fn warn_of_zones(draft: &mut Draft<'_>, view: &FleetView) {
    let zones: Option<BTreeSet<&Zone>> = view.overrides.iter().map(|o| o.zone.as_ref()).collect();
    let Some(configured) = zones.map(|zones| zones.len()).filter(|count| *count > 0) else { return };
    let largest = draft.policy.diversification.max_zone_share;
    let configured = u32::try_from(configured).unwrap_or(u32::MAX);
    if millionths(1.0 / f64::from(configured)) > millionths(largest) {
        draft.remark(Remark::FewZones { configured, largest: Utilization::new(largest) });
    }
}
