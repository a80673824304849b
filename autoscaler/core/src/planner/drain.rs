//! Emptying nodes: who is asked to let go of its work, until when, and who has.
//!
//! Node actions are idempotent. They are planned again each cycle until what is seen shows them, whatever the fleet is
//! doing meanwhile.

use super::draft::Draft;
use super::herd::{Herd, LEEWAY};
use super::{groups, ledger, replace, rollout};
use crate::{
    Action, DrainBy, DrainCause, Hold, Member, Memory, Phase, Rebalance, Remark, Removal, RemovalStep,
    Replacement, ReplacementCause, ReplacementStep,
};
use fleet::{InstanceId, NodeView, NoticeKind, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// What was seen of the nodes holds for this long: Nomad's event stream speaks every ten seconds, and a listing that
/// takes its place is made every half minute.
const NODES_STALE: Duration = Duration::from_secs(60);
/// Who has no node yet may get one, and work on it, at any moment: that there is none holds for a cycle, in which the
/// nodes are looked at while anybody drains.
const NO_NODE_STALE: Duration = Duration::from_secs(15);
/// A drain's deadline as Nomad tells it may differ by this much from the one that was asked for: it counts from when
/// it hears of it.
const ABOUT: Duration = Duration::from_secs(5);
/// Why those go that a roll-out replaces.
const ROLLED_OUT: DrainCause = DrainCause::Replaced(ReplacementCause::Rollout);
/// Who goes waits so long for groups that become smaller with the fleet: Nomad takes a second, and a count that somebody else
/// sets, too, is never as it should be.
const SETTLES: Duration = Duration::from_secs(60);
/// What an interruption leaves work to end in, the margin aside.
const INTERRUPTED_AFTER: Duration = Duration::from_secs(120);

/// Whether an instance serves and no node of it is shown: there are several, of which none can be told to be it, or it
/// is of a pool that is not asked for. Nobody can empty it, so it goes when its drain's deadline has passed.
pub(super) fn is_hidden(draft: &Draft<'_>, member: &Member) -> bool {
    draft.policy.drain.by == DrainBy::Nomad
        && draft.seen.nodes.is_some()
        && member.phase == Phase::InService
        && draft.node_of(&member.id).is_none()
}

/// Names those whose node is hidden.
fn note_hidden(draft: &mut Draft<'_>, herd: &Herd<'_>) {
    let hidden: Vec<InstanceId> =
        herd.alive.iter().filter(|m| is_hidden(draft, m)).map(|m| m.id.clone()).collect();
    for instance in hidden {
        draft.remark(Remark::NodeHidden { instance });
    }
}

/// The latest safe moment to tell the work of an instance to stop that goes at `deadline`.
pub(super) fn latest(draft: &Draft<'_>, id: &InstanceId, deadline: Timestamp) -> Timestamp {
    let drain = draft.policy.drain;
    let grace = draft.node_of(id).map_or(Duration::ZERO, |node| node.grace(drain.ignore_system_jobs));
    deadline - drain.margin - grace
}

/// Whether the nodes are known well enough to choose among them, or to take one for empty. Without Nomad there is
/// nothing to know.
pub(super) fn knows_nodes(draft: &mut Draft<'_>) -> bool {
    if draft.policy.drain.by != DrainBy::Nomad {
        return true;
    }
    let Some(nodes) = &draft.seen.nodes else {
        draft.hold(Hold::NodesUnseen);
        return false;
    };
    let age = draft.age(nodes.at);
    if age > NODES_STALE {
        draft.hold(Hold::NodesStale { age });
        return false;
    }
    true
}

/// Whether the work of a victim has left, or its time is over.
///
/// Whoever has never been asked has not let go. What nobody has seen lately may still work.
pub(super) fn has_left(draft: &Draft<'_>, id: &InstanceId, removal: &Removal, phase: Option<Phase>) -> bool {
    let over = |grace| removal.drain_until.is_some_and(|until| until + grace < draft.now);
    match draft.policy.drain.by {
        DrainBy::Nobody if removal.cause == ROLLED_OUT => {
            // Nobody waits for its work, but others are to serve in its place.
            phase != Some(Phase::Draining) && removal.drain_until.is_some()
        }
        DrainBy::Nobody => phase != Some(Phase::Draining),
        DrainBy::Hook => draft.seen.emptied.contains(id) || over(Duration::ZERO),
        DrainBy::Nomad => {
            let Some(nodes) = &draft.seen.nodes else { return false };
            if draft.age(nodes.at) > NODES_STALE {
                return false;
            }
            let ignore = draft.policy.drain.ignore_system_jobs;
            match draft.node_of(id) {
                Some(node) => is_empty(node, ignore) || (was_asked(node, ignore) && over(node.grace(ignore))),
                // It serves, on a node that is not shown: of two, or of a pool that we do not ask for.
                None if phase == Some(Phase::InService) => over(Duration::ZERO),
                None => draft.age(nodes.at) <= NO_NODE_STALE,
            }
        }
    }
}

/// Whether a node shows that its work has been asked to leave; of one that does not answer nothing more is to be had.
fn was_asked(node: &NodeView, ignore_system_jobs: bool) -> bool {
    !node.eligible && (node.draining || !node.ready || all_told(node, ignore_system_jobs))
}

/// Whether all that a drain would move has been told to end. Nomad takes the drain for ended then, whether the work has
/// or not.
fn all_told(node: &NodeView, ignore_system_jobs: bool) -> bool {
    node.movable(ignore_system_jobs).all(|work| work.stopping)
}

/// Whether nothing runs on a node that a drain would move, and nothing can come. Nomad ends a drain when all has been
/// told to stop: until then something is there, seen or not.
fn is_empty(node: &NodeView, ignore_system_jobs: bool) -> bool {
    !node.eligible && !node.draining && node.movable(ignore_system_jobs).next().is_none()
}

/// Whether one that goes has work that has not left yet, and does not go because less is enough, in its time.
pub(super) fn is_yet_to_let_go(draft: &Draft<'_>, id: &InstanceId) -> bool {
    let removal = draft.memory.removals.get(id);
    if removal.is_some_and(|r| r.cause == DrainCause::ScaleIn && r.deadline.is_none()) {
        return false;
    }
    let replaced = || draft.memory.replacements.get(id).and_then(|r| r.drain_until);
    let until = removal.map_or_else(replaced, |r| r.drain_until);
    let ignore = draft.policy.drain.ignore_system_jobs;
    draft.policy.drain.by == DrainBy::Nomad
        && draft.node_of(id).is_some_and(|node| {
            let over = until.is_some_and(|until| until + node.grace(ignore) < draft.now);
            let has_let_go = is_empty(node, ignore) || (over && was_asked(node, ignore));
            !has_let_go
        })
}

/// Begins the drains of what goes: as soon as others serve in its place, or at the latest safe moment.
///
/// * `base`: the units that are wanted: what serves beyond them can be spared.
pub(super) fn begin(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>, base: u32) {
    let nobody = draft.policy.drain.by == DrainBy::Nobody;
    ask_again(draft);
    begin_unseen(draft);
    let Some(herd) = herd else { return };
    let settled = groups::are_settled(draft, herd);
    let mut spare = serving(draft, herd, |_| true) - f64::from(base);
    // What is rolled out may come up and be of no use: nobody goes for it before work can be placed there.
    let mut ready = serving(draft, herd, |member| rollout::has_been_ready(draft, member)) - f64::from(base);
    for going in in_order(draft, herd).into_iter().filter(|going| going.rolled_out || !nobody) {
        let weight = going.member.weight.get();
        let latest = going.deadline.map(|deadline| latest(draft, &going.member.id, deadline));
        let presses = latest.is_some_and(|latest| draft.now >= latest);
        let room = if going.rolled_out {
            ready.min(spare) + f64::from(draft.policy.rollout.unavailable)
        } else {
            spare
        };
        // What has never been of use is not missed.
        let idle = going.rolled_out && !rollout::has_been_ready(draft, going.member);
        let waits = !settled
            && going.deadline.is_none()
            && going.since.is_some_and(|since| draft.now < since + SETTLES);
        let may = going.spared || idle || weight <= room + LEEWAY;
        if !presses && (waits || !may) {
            if let Some(latest) = latest {
                draft.falls_due(latest);
            }
            continue;
        }
        if going.member.phase == Phase::InService && !going.spared {
            spare -= weight;
            if rollout::has_been_ready(draft, going.member) {
                ready -= weight;
            }
        }
        let until = if nobody { draft.now } else { draft.now + draft.policy.drain.deadline };
        set_drain(draft, &going.member.id, latest.map_or(until, |latest| until.min(latest).max(draft.now)));
    }
}

/// Those that only the ledger knows of are asked to let go at their latest safe moment: what serves in their place nobody has seen.
fn begin_unseen(draft: &mut Draft<'_>) {
    if draft.policy.drain.by == DrainBy::Nobody {
        return;
    }
    for id in &draft.seen.unseen {
        let Some(deadline) = draft.memory.deadline_of(id).filter(|_| !was_told(draft, id)) else { continue };
        let latest = latest(draft, id, deadline);
        if draft.now >= latest {
            set_drain(draft, id, draft.now);
        } else {
            draft.falls_due(latest);
        }
    }
}

/// Whether one that goes has been asked to let go, as far as the ledger knows.
fn was_told(draft: &Draft<'_>, id: &InstanceId) -> bool {
    let Memory { removals, replacements, .. } = &draft.memory;
    removals.get(id).is_some_and(|r| r.drain_until.is_some())
        || replacements.get(id).is_some_and(|r| r.drain_until.is_some())
}

/// Whose time is over while work runs on their nodes as ever have never been asked: Nomad could not be reached. Their
/// time begins anew.
fn ask_again(draft: &mut Draft<'_>) {
    let over = |until: Option<Timestamp>| until.is_some_and(|until| until <= draft.now);
    let removals = draft.memory.removals.iter();
    let removals = removals.filter(|(_, r)| r.step != RemovalStep::Terminating && over(r.drain_until));
    let replacements = draft.memory.replacements.iter().filter(|(_, r)| over(r.drain_until));
    let ids = removals.map(|(id, _)| id).chain(replacements.map(|(id, _)| id));
    let ignore = draft.policy.drain.ignore_system_jobs;
    let unasked = |id: &&InstanceId| {
        draft.node_of(id).is_some_and(|node| !is_empty(node, ignore) && !was_asked(node, ignore))
    };
    for id in ids.filter(unasked).cloned().collect::<Vec<_>>() {
        if let Some(removal) = draft.memory.removals.get_mut(&id) {
            removal.drain_until = None;
        } else if let Some(replacement) = draft.memory.replacements.get_mut(&id) {
            replacement.drain_until = None;
        }
    }
}

/// One that goes and whose work has not been asked to leave.
struct Going<'a> {
    member: &'a Member,
    deadline: Option<Timestamp>,
    /// Since when groups have been asked to do without it; `None`: they are asked once it is.
    since: Option<Timestamp>,
    /// Nobody serves in its place, because less is enough.
    spared: bool,
    /// It goes for a roll-out.
    rolled_out: bool,
}

/// Whether nobody serves in its place, because less is enough.
const fn is_spared(removal: &Removal) -> bool {
    matches!(
        removal.cause,
        DrainCause::ScaleIn | DrainCause::Replaced(ReplacementCause::Notice(NoticeKind::FleetScaleIn))
    )
}

/// Those that go and have not been asked to let go, the most pressing first.
fn in_order<'a>(draft: &Draft<'_>, herd: &Herd<'a>) -> Vec<Going<'a>> {
    let removals = draft
        .memory
        .removals
        .iter()
        .filter(|(_, r)| r.drain_until.is_none())
        .map(|(id, r)| (id, r.deadline, Some(r.since), is_spared(r), r.cause == ROLLED_OUT));
    // Whoever is rolled out works on as long as the target counts it: nothing presses. Nor does it for one that is asked
    // for only once those before it have gone: it would take the place of what was bought for them, and each wait for
    // the other.
    let next_in_turn = |r: &Replacement| r.step != ReplacementStep::Waiting || !replace::has_time(draft, r);
    let nobody_before = !ledger::somebody_leaves(draft);
    let replacements = draft.memory.replacements.iter();
    let replacements = replacements.filter(|(_, r)| {
        let goes_on = r.drain_until.is_none() && r.cause != ReplacementCause::Rollout;
        goes_on && (nobody_before || next_in_turn(r))
    });
    let replacements = replacements.map(|(id, r)| (id, r.deadline, None, false, false));
    let mut going: Vec<Going<'a>> = removals
        .chain(replacements)
        .filter_map(|(id, deadline, since, spared, rolled_out)| {
            Some(Going { member: herd.get(id)?, deadline, since, spared, rolled_out })
        })
        .filter(|going| !going.member.protected)
        .collect();
    going.sort_by_key(|going| (going.deadline.is_none(), going.deadline, &going.member.id));
    going
}

/// What serves and has not been asked to let go, in units; of those that `counts` says. Who goes because less is enough is no
/// reserve for others, asked already or not.
fn serving(draft: &Draft<'_>, herd: &Herd<'_>, counts: impl Fn(&Member) -> bool) -> f64 {
    let drains =
        |id: &InstanceId| was_told(draft, id) || draft.memory.removals.get(id).is_some_and(is_spared);
    let serves = herd.alive.iter().filter(|m| m.phase == Phase::InService && !drains(&m.id));
    serves.filter(|m| counts(m)).map(|m| m.weight.get()).sum()
}

fn set_drain(draft: &mut Draft<'_>, id: &InstanceId, until: Timestamp) {
    if let Some(removal) = draft.memory.removals.get_mut(id) {
        removal.drain_until = Some(until);
    } else if let Some(replacement) = draft.memory.replacements.get_mut(id) {
        replacement.drain_until = Some(until);
    }
}

/// Plans what nodes are to be told, as far as they do not show it yet.
pub(super) fn tell_nodes(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) {
    match draft.policy.drain.by {
        DrainBy::Nobody => {}
        DrainBy::Hook => {
            run_hooks(draft, herd);
            if let Some(herd) = herd {
                end_hooks(draft, herd);
            }
        }
        DrainBy::Nomad => {
            empty_nodes(draft, herd);
            if let Some(herd) = herd {
                cordon_those_at_risk(draft, herd);
                restore_nodes(draft, herd);
                note_slow_groups(draft);
                note_endless(draft);
                note_hidden(draft, herd);
            }
        }
    }
}

/// What the ledger says of draining: whom, until when, why; of those whose nodes may be touched.
fn ledger(draft: &Draft<'_>, herd: Option<&Herd<'_>>) -> Vec<(InstanceId, Option<Timestamp>, DrainCause)> {
    let may_be_emptied =
        |id: &InstanceId| draft.is_unseen(id) || herd.is_some_and(|herd| herd.may_be_emptied(id));
    let removals = draft.memory.removals.iter().filter(|(_, r)| r.step != RemovalStep::Terminating);
    let removals = removals.map(|(id, r)| (id.clone(), r.drain_until, r.cause));
    let replacements = draft.memory.replacements.iter();
    removals
        .chain(replacements.map(|(id, r)| (id.clone(), r.drain_until, DrainCause::Replaced(r.cause))))
        .filter(|(id, ..)| may_be_emptied(id))
        .collect()
}

fn run_hooks(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) {
    for (instance, until, cause) in ledger(draft, herd) {
        let Some(deadline) = until else { continue };
        if !draft.seen.emptied.contains(&instance) {
            draft.actions.push(Action::Drain { instance, deadline, cause });
        }
    }
}

/// Ends the hooks of those that stay after all. Once: nothing would show it, and a hook ends by itself in the end.
fn end_hooks(draft: &mut Draft<'_>, herd: &Herd<'_>) {
    for instance in std::mem::take(&mut draft.memory.restoring).into_keys() {
        let goes = draft.memory.removals.contains_key(&instance)
            || draft.memory.replacements.contains_key(&instance);
        // Protected or not: it stays.
        if herd.get(&instance).is_some() && !goes {
            draft.actions.push(Action::Restore { instance });
        }
    }
}

/// No new work onto what goes, and what is there is asked to leave when its time has come.
fn empty_nodes(draft: &mut Draft<'_>, herd: Option<&Herd<'_>>) {
    let ignore = draft.policy.drain.ignore_system_jobs;
    for (instance, until, cause) in ledger(draft, herd) {
        let Some(node) = draft.node_of(&instance) else { continue };
        match until {
            // A node that waits for one of the new version works on until that is ready.
            None if cause == ROLLED_OUT => {}
            None if node.eligible => draft.actions.push(Action::Cordon { instance }),
            Some(deadline) if !drains(node, deadline, ignore, draft.now) => {
                draft.actions.push(Action::Drain { instance, deadline, cause });
            }
            None | Some(_) => {}
        }
    }
}

/// Whether a node shows a drain that ends by `deadline`, or has no need of one: nothing is there, or all of it has been
/// told. One that an operator began may have another deadline, or none; one whose time is over cannot end sooner.
fn drains(node: &NodeView, deadline: Timestamp, ignore_system_jobs: bool, now: Timestamp) -> bool {
    let soon_enough = node.drain_until.is_some_and(|until| until <= (deadline + ABOUT).max(now));
    let done = !node.eligible && !node.draining && all_told(node, ignore_system_jobs);
    done || (node.draining && soon_enough)
}

/// No new work onto what AWS calls at risk, where the policy says so.
fn cordon_those_at_risk(draft: &mut Draft<'_>, herd: &Herd<'_>) {
    if !keeps_work_from_risk(draft) {
        return;
    }
    for instance in at_risk(draft) {
        let known =
            draft.memory.removals.contains_key(instance) || draft.memory.replacements.contains_key(instance);
        let eligible = draft.node_of(instance).is_some_and(|node| node.eligible);
        if !known && eligible && herd.may_be_emptied(instance) {
            draft.actions.push(Action::Cordon { instance: instance.clone() });
        }
    }
}

const fn keeps_work_from_risk(draft: &Draft<'_>) -> bool {
    matches!(draft.policy.interruption.rebalance, Rebalance::Cordon | Rebalance::ByRisk)
}

/// Whether an instance is one of those, and its node is ineligible for that.
pub(super) fn is_kept_from_work(draft: &Draft<'_>, id: &InstanceId) -> bool {
    keeps_work_from_risk(draft) && at_risk(draft).contains(id)
}

/// Instances that AWS calls at risk.
pub(super) fn at_risk<'a>(draft: &Draft<'a>) -> BTreeSet<&'a InstanceId> {
    let notices = draft.seen.notices.iter();
    notices.filter(|n| n.kind == NoticeKind::RebalanceRecommendation).map(|n| &n.instance).collect()
}

/// What stays after all takes work again, or none but what it has, where that is kept from it; it is forgotten when its node shows
/// that.
fn restore_nodes(draft: &mut Draft<'_>, herd: &Herd<'_>) {
    let Some(nodes) = &draft.seen.nodes else { return };
    let at = nodes.at;
    let mut restoring = std::mem::take(&mut draft.memory.restoring);
    // Made eligible, it would be made ineligible again.
    let kept = |id: &InstanceId| herd.may_be_emptied(id) && is_kept_from_work(draft, id);
    let is_right = |id: &InstanceId, node: &NodeView| !node.draining && (node.eligible || kept(id));
    restoring.retain(|id, since| {
        let goes = draft.memory.removals.contains_key(id) || draft.memory.replacements.contains_key(id);
        let shows = at > *since && draft.node_of(id).is_none_or(|node| is_right(id, node));
        herd.get(id).is_some() && !goes && !shows
    });
    let wrong = |id: &&InstanceId| draft.node_of(id).is_some_and(|node| !is_right(id, node));
    let told: Vec<InstanceId> = restoring.keys().filter(wrong).cloned().collect();
    draft.actions.extend(told.into_iter().map(|instance| Action::Restore { instance }));
    draft.memory.restoring = restoring;
}

/// Names those that go though work on them has not ended when its time was over.
fn note_endless(draft: &mut Draft<'_>) {
    let ignore = draft.policy.drain.ignore_system_jobs;
    let over = |(id, removal): (&InstanceId, &Removal)| {
        let node = draft.node_of(id)?;
        let until = removal.drain_until? + node.grace(ignore);
        let work = node.movable(ignore).count();
        (work > 0 && until < draft.now && was_asked(node, ignore)).then(|| (id.clone(), work))
    };
    for (instance, work) in draft.memory.removals.iter().filter_map(over).collect::<Vec<_>>() {
        draft.remark(Remark::NeverEnds { instance, work });
    }
}

/// Names the task groups that an interruption would not leave enough time.
fn note_slow_groups(draft: &mut Draft<'_>) {
    let Some(nodes) = &draft.seen.nodes else { return };
    let left = INTERRUPTED_AFTER.saturating_sub(draft.policy.drain.margin);
    let ignore = draft.policy.drain.ignore_system_jobs;
    let work = nodes.what.iter().flat_map(|node| node.movable(ignore)).filter(|work| work.grace > left);
    let slow: BTreeSet<_> = work.map(|work| (&work.job, &work.group, work.grace)).collect();
    for (job, group, grace) in slow {
        draft.remark(Remark::SlowToLeave { job: job.clone(), group: group.clone(), grace });
    }
}
